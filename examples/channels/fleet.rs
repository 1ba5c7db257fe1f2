//! The channels that run, brought to what the file says: only what has changed is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use flowcast::error::chain;
use flowcast::schedule::{Schedule, ScheduleId, Scheduled, When};
use flowcast::source::Replacing;
use flowcast::spec::StreamSpec;
use flowcast::state::{RestoreOptions, Snapshot};
use flowcast::{Engine, Error, EventKind, OutputId, Source, StreamId, StreamRef};

use crate::file::File;
use crate::running::Running;

/// How long a stream may take to say goodbye.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// Waits before a channel that failed is started again: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// What ran for so long begins with the first wait again.
const STABLE: Duration = Duration::from_secs(120);

/// What a new file came to.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) added: usize,
    pub(crate) changed: usize,
    pub(crate) removed: usize,
    pub(crate) untouched: usize,
    /// What could not be done, one line each.
    pub(crate) failed: Vec<String>,
}

/// One channel, as it is shown.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) stream: Option<StreamRef>,
}

struct Channel {
    spec: StreamSpec,
    when: Option<When>,
    run: Run,
}

enum Run {
    /// All the time.
    Always(Box<Always>),
    /// By its schedule.
    Scheduled(ScheduleId),
    /// Its schedule has nothing ahead, or was refused.
    Nothing,
}

struct Always {
    running: Option<Running>,
    began: Instant,
    waits: Waits,
    /// Its source was complete.
    is_complete: bool,
    /// Before outputs that could not be opened are tried again, and what was said of that.
    outputs: Waits,
    said: String,
}

/// Grows with each failure in a row.
struct Waits {
    failures: u32,
    again: Instant,
}

pub(crate) struct Fleet {
    engine: Engine,
    /// Outputs that could not be replaced.
    stayed: Receiver<(StreamId, OutputId)>,
    /// Schedules of the run before this one, or as they were taken out, with the windows in which they ran.
    before: Vec<Schedule>,
    channels: BTreeMap<String, Channel>,
    /// Those that are accepted.
    keys: BTreeMap<String, String>,
}

impl Fleet {
    pub(crate) fn new(engine: Engine) -> Self {
        let (says, stayed) = channel();
        let _ = engine.on_event(move |event| {
            if let EventKind::OutputNotReplaced { output, error } = &event.kind
                // Else something newer is to take its place.
                && !matches!(error, Error::Cancelled { .. })
            {
                // Nobody listens any more.
                let _ = says.send((event.stream, *output));
            }
        });
        Self { engine, stayed, before: Vec::new(), channels: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// Has what ran before, and is still in the file as it was, go on where it was. Says what could not.
    pub(crate) fn resume(&mut self, mut kept: Snapshot, file: &File) -> Vec<String> {
        self.before = std::mem::take(&mut kept.schedules);
        let channel = |spec: &StreamSpec| {
            let name = spec.label.as_deref()?;
            let is_same = file.channels.get(name) == Some(spec) && !file.schedules.contains_key(name);
            is_same.then(|| name.to_owned())
        };
        kept.streams.retain(|saved| channel(&saved.spec).is_some());
        let options = RestoreOptions::default().with(|options| {
            options.resume = file.engine.resume;
            options.spread = Duration::ZERO;
            // What starts this program looks after how often it does.
            options.guard = None;
        });
        let restored = self.engine.restore(kept, &options);
        for stream in restored.started {
            let label = stream.label().map(str::to_owned);
            if let Some((name, spec)) = label.and_then(|label| file.channels.get_key_value(&label)) {
                self.adopt(
                    name,
                    spec,
                    Always { running: Some(Running::begun(stream, spec)), ..Always::default() },
                );
            }
        }
        for over in restored.over {
            if let Some(name) = channel(&over.spec) {
                self.adopt(&name, &over.spec, Always { is_complete: true, ..Always::default() });
            }
        }
        // Those that could not go on are started as if they were new.
        self.engine.forget_unrestored();
        let label = |spec: &StreamSpec| spec.label.clone().unwrap_or_default();
        restored
            .failed
            .iter()
            .map(|(saved, error)| format!("{}: {}", label(&saved.spec), chain(error)))
            .collect()
    }

    fn adopt(&mut self, name: &str, spec: &StreamSpec, always: Always) {
        let channel = Channel { spec: spec.clone(), when: None, run: Run::Always(Box::new(always)) };
        self.channels.insert(name.to_owned(), channel);
    }

    /// With the window in which it ran before, or was complete.
    fn scheduled(&self, spec: &StreamSpec, when: &When) -> Schedule {
        let mut schedule = Schedule::new(spec.clone(), when.clone());
        if let Some(before) = self.before.iter().find(|before| before.spec.label == spec.label) {
            schedule.began = before.began;
            // What is over may have failed: something else, or something that goes elsewhere, has its turn.
            let is_it = before.spec.source == spec.source && before.spec.outputs == spec.outputs;
            schedule.done = before.done.filter(|_| is_it);
        }
        schedule
    }

    /// Brings what runs to what the file says.
    pub(crate) fn apply(&mut self, file: File) -> Changes {
        let mut changes = Changes::default();
        self.apply_keys(file.keys, &mut changes);
        let limits = self.engine.limits().with(|limits| {
            limits.total = file.engine.max_streams;
            limits.per_owner = file.engine.max_streams_per_owner;
        });
        note(&mut changes, "engine", self.engine.set_limits(limits));
        let File { channels: wanted, schedules, admission, .. } = file;
        if self.engine.admission() != admission {
            note(&mut changes, "admission", self.engine.set_admission(admission));
        }
        let (mut stay, over): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.channels).into_iter().partition(|(name, old)| {
                wanted.get(name).is_some_and(|spec| old.goes_on_as(spec, schedules.get(name)))
            });
        changes.removed = over.keys().filter(|name| !wanted.contains_key(*name)).count();
        changes.changed = over.len() - changes.removed;
        // First, so that a file or a key is free for what comes.
        let begins_anew: BTreeSet<_> = over.keys().cloned().collect();
        self.end(over.into_values().collect());
        for (name, old) in &mut stay {
            if let (Run::Always(always), Some(spec)) = (&mut old.run, wanted.get(name))
                && let Some(running) = &mut always.running
            {
                note(&mut changes, name, running.drop_outputs(&spec.outputs));
            }
        }
        let mut coming = Vec::new();
        for (name, spec) in wanted {
            let when = schedules.get(&name).cloned();
            let channel = match stay.remove(&name) {
                Some(old) if old.spec == spec && old.is_whole() => {
                    changes.untouched += 1;
                    old
                }
                Some(old) => {
                    changes.changed += 1;
                    coming.extend(change(&name, old, spec, &mut self.channels, &mut changes));
                    continue;
                }
                None => {
                    changes.added += usize::from(!begins_anew.contains(&name));
                    self.begin(&name, spec, when, &mut changes)
                }
            };
            self.channels.insert(name, channel);
        }
        self.before.clear();
        // All of them come up at the same time.
        for (name, source, replacing) in coming {
            let outcome = replacing.wait();
            let running = self.channels.get_mut(&name).and_then(Channel::running);
            if let (Ok(_), Some(running)) = (&outcome, running) {
                running.source = source;
            }
            note(&mut changes, &name, outcome.map(drop));
        }
        changes
    }

    /// Who publishes stays where a key is another one; where a name is gone, its publisher is taken off the air. A key that is not in the
    /// file any more is not accepted any more, whatever became of the one in its place.
    fn apply_keys(&mut self, keys: BTreeMap<String, String>, changes: &mut Changes) {
        let registry = self.engine.keys();
        self.keys.retain(|name, _| {
            let stays = keys.contains_key(name);
            if !stays {
                // Its end may have removed it.
                let _ = registry.remove(name);
            }
            stays
        });
        let accepted = &mut self.keys;
        let mut open: Vec<_> =
            keys.into_iter().filter(|(name, key)| accepted.get(name) != Some(key)).collect();
        // A key that another name gives up is free once that one has its own.
        let mut left = usize::MAX;
        while open.len() < left {
            left = open.len();
            open.retain(|(name, key)| {
                let outcome = match accepted.get(name) {
                    Some(_) => registry.replace(name, key.as_str(), Duration::ZERO),
                    None => registry.add(name, key.as_str()),
                };
                if outcome.is_ok() {
                    accepted.insert(name.clone(), key.clone());
                }
                outcome.is_err()
            });
        }
        // Names that have swapped their keys, and keys that cannot be.
        for (name, _) in &open {
            if accepted.remove(name).is_some() {
                let _ = registry.remove(name);
            }
        }
        for (name, key) in open {
            match registry.add(&name, key.as_str()) {
                Ok(()) => drop(accepted.insert(name, key)),
                Err(error) => changes.failed.push(format!("keys.{name}: {}", chain(&error))),
            }
        }
    }

    fn begin(&self, name: &str, spec: StreamSpec, when: Option<When>, changes: &mut Changes) -> Channel {
        let run = match &when {
            Some(when) => match self.engine.schedules().add(self.scheduled(&spec, when)) {
                Ok(id) => Run::Scheduled(id),
                Err(error) => {
                    changes.failed.push(format!("schedules.{name}: {}", chain(&error)));
                    Run::Nothing
                }
            },
            None => {
                let mut always = Box::<Always>::default();
                if let Err(error) = always.start(&self.engine, &spec) {
                    changes.failed.push(format!("channels.{name}: {}", chain(&error)));
                }
                Run::Always(always)
            }
        };
        Channel { spec, when, run }
    }

    /// Ends channels, all at the same time. Of those under a schedule, the window in which they ran is kept.
    fn end(&mut self, channels: Vec<Channel>) {
        let mut streams = Vec::new();
        for channel in channels {
            match channel.run {
                Run::Always(always) => streams.extend(always.running.map(|running| running.stream)),
                Run::Scheduled(id) => {
                    let Some(Scheduled { schedule, stream, .. }) = self.engine.schedules().cancel(id) else {
                        continue;
                    };
                    streams.extend(stream.and_then(|stream| self.engine.get(stream)));
                    self.before.push(schedule);
                }
                Run::Nothing => {}
            }
        }
        std::thread::scope(|scope| {
            for stream in &streams {
                // What it ended with has been told by its events.
                scope.spawn(|| drop(stream.stop(DEADLINE)));
            }
        });
    }

    /// What could not go on elsewhere without a gap goes there with one: what the file does not name any more is to be left.
    fn move_outputs(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for (stream, output) in self.stayed.try_iter() {
            for (name, channel) in &mut self.channels {
                if let Run::Always(always) = &mut channel.run
                    && let Some(running) = always.running.as_mut().filter(|has| has.stream.id() == stream)
                    && let Err(error) = running.move_output(output)
                {
                    always.outputs.failed();
                    always.said = chain(&error).to_string();
                    said.push(format!("{name}: {}", chain(&error)));
                }
            }
        }
        said
    }

    /// Starts what failed again, when its wait is over. Says what went wrong.
    pub(crate) fn mend(&mut self) -> Vec<String> {
        let mut said = self.move_outputs();
        for (name, channel) in &mut self.channels {
            let Run::Always(always) = &mut channel.run else { continue };
            if let Some(running) = always.running.take_if(|running| running.stream.has_ended()) {
                if always.began.elapsed() > STABLE {
                    always.waits.failures = 0;
                }
                // It has ended: this only says how.
                match running.stream.stop(Duration::ZERO) {
                    Ok(_) => always.is_complete = true,
                    Err(_) => always.waits.failed(),
                }
            }
            said.extend(always.mend_outputs(&channel.spec).map(|text| format!("{name}: {text}")));
            if always.running.is_none() && !always.is_complete && always.waits.are_over() {
                match always.start(&self.engine, &channel.spec) {
                    Ok(()) => said.push(format!("{name}: started again")),
                    Err(error) => said.push(format!("{name}: {}", chain(&error))),
                }
            }
        }
        said
    }

    /// Each channel, how it runs, and its stream.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let listed = self.engine.schedules().list();
        let state = |run: &Run| match run {
            Run::Always(always) => match &**always {
                Always { running: Some(running), .. } => ("on the air", Some(running.stream.clone())),
                Always { is_complete: true, .. } => ("complete", None),
                _ => ("waits to start again", None),
            },
            Run::Scheduled(id) => {
                let stream = listed.iter().find(|listed| listed.id == *id).and_then(|listed| listed.stream);
                let stream = stream.and_then(|stream| self.engine.get(stream));
                (if stream.is_some() { "on the air" } else { "scheduled" }, stream)
            }
            Run::Nothing => ("nothing ahead", None),
        };
        let rows = self.channels.iter().map(|(name, channel)| {
            let (state, stream) = state(&channel.run);
            Row { name: name.clone(), state, stream }
        });
        rows.collect()
    }
}

impl Default for Always {
    fn default() -> Self {
        let now = Instant::now();
        let waits = || Waits { failures: 0, again: now };
        let (waits, outputs) = (waits(), waits());
        Self { running: None, began: now, waits, is_complete: false, outputs, said: String::new() }
    }
}

impl Waits {
    fn are_over(&self) -> bool {
        Instant::now() >= self.again
    }

    fn failed(&mut self) {
        let (first, most) = WAITS;
        self.again = Instant::now() + (first * 2u32.saturating_pow(self.failures.min(10))).min(most);
        self.failures += 1;
    }
}

impl Always {
    fn start(&mut self, engine: &Engine, spec: &StreamSpec) -> Result<(), Error> {
        match engine.start(spec.clone()) {
            Ok(stream) => {
                self.running = Some(Running::begun(stream.detach(), spec));
                self.began = Instant::now();
                self.outputs.failures = 0;
                Ok(())
            }
            Err(error) => {
                self.waits.failed();
                Err(error)
            }
        }
    }

    /// Tries outputs that could not be opened again, when their wait is over. Says what came of it, the same only once.
    fn mend_outputs(&mut self, spec: &StreamSpec) -> Option<String> {
        let running = self.running.as_mut().filter(|running| !running.has_all(&spec.outputs))?;
        if !self.outputs.are_over() {
            return None;
        }
        let said = match running.add_outputs(&spec.outputs) {
            Ok(()) => {
                self.outputs.failures = 0;
                "all its outputs are there".to_owned()
            }
            Err(error) => {
                self.outputs.failed();
                chain(&error).to_string()
            }
        };
        if said == self.said {
            return None;
        }
        self.said.clone_from(&said);
        Some(said)
    }
}

impl Channel {
    /// Whether it becomes this without ending: outputs and the source are changed on the air; anything else is a new stream.
    fn goes_on_as(&self, spec: &StreamSpec, when: Option<&When>) -> bool {
        let same = |spec: &StreamSpec| (spec.label.clone(), spec.owner.clone(), spec.without_outputs);
        let is_it = self.spec == *spec && self.when.as_ref() == when && self.is_whole();
        let can_change = match &self.run {
            Run::Always(always) => always.running.as_ref().is_some_and(|running| !running.stream.has_ended()),
            _ => false,
        };
        is_it || can_change && when.is_none() && same(&self.spec) == same(spec)
    }

    fn running(&mut self) -> Option<&mut Running> {
        match &mut self.run {
            Run::Always(always) => always.running.as_mut(),
            _ => None,
        }
    }

    /// Whether all that its spec asks for was done.
    fn is_whole(&self) -> bool {
        match &self.run {
            Run::Always(always) => always.running.as_ref().is_none_or(|running| running.is(&self.spec)),
            _ => true,
        }
    }
}

/// Changes outputs and the source on the air: puts the channel among `channels`, and gives the source that is to take over.
fn change(
    name: &str,
    mut old: Channel,
    spec: StreamSpec,
    channels: &mut BTreeMap<String, Channel>,
    changes: &mut Changes,
) -> Option<(String, Source, Replacing)> {
    let mut coming = None;
    if let Run::Always(always) = &mut old.run
        && let Some(running) = &mut always.running
    {
        always.outputs.failures = 0;
        let added = running.add_outputs(&spec.outputs);
        if let Err(error) = &added {
            always.outputs.failed();
            always.said = chain(error).to_string();
        }
        note(changes, name, added);
        if running.source != spec.source {
            match running.begin_source(&spec.source) {
                Ok(replacing) => coming = Some((name.to_owned(), spec.source.clone(), replacing)),
                Err(error) => note(changes, name, Err(error)),
            }
        }
    }
    channels.insert(name.to_owned(), Channel { spec, ..old });
    coming
}

fn note(changes: &mut Changes, what: &str, outcome: Result<(), Error>) {
    changes.failed.extend(outcome.err().map(|error| format!("{what}: {}", chain(&error))));
}
