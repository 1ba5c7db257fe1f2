//! The channels that run, brought to what the file says: only what has changed is touched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flowcast::error::chain;
use flowcast::schedule::{Schedule, ScheduleId, When};
use flowcast::source::At;
use flowcast::spec::StreamSpec;
use flowcast::state::{RestoreOptions, Snapshot};
use flowcast::{Engine, Error, Output, OutputId, Source, StreamRef};

use crate::file::File;

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
    failures: u32,
    again: Instant,
    /// Its source was complete.
    is_complete: bool,
}

/// A stream, and what it really is made of: not all that the file asks for may have been possible.
struct Running {
    stream: StreamRef,
    source: Source,
    outputs: Vec<(Output, OutputId)>,
}

pub(crate) struct Fleet {
    engine: Engine,
    /// Schedules of the run before this one, with the windows in which they ran.
    before: Vec<Schedule>,
    channels: BTreeMap<String, Channel>,
    /// Those that are accepted.
    keys: BTreeMap<String, String>,
}

impl Fleet {
    pub(crate) const fn new(engine: Engine) -> Self {
        Self { engine, before: Vec::new(), channels: BTreeMap::new(), keys: BTreeMap::new() }
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

    /// With the window in which it ran before.
    fn scheduled(&self, spec: &StreamSpec, when: &When) -> Schedule {
        let before = self.before.iter().find(|before| before.spec == *spec && before.when == *when);
        before.cloned().unwrap_or_else(|| Schedule::new(spec.clone(), when.clone()))
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
        let mut schedules = file.schedules;
        let (mut before, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.channels)
            .into_iter()
            .partition(|(name, _)| file.channels.contains_key(name));
        // First, so that a file or a key is free for what comes.
        for old in gone.into_values() {
            changes.removed += 1;
            self.end(old);
        }
        for (name, spec) in file.channels {
            let when = schedules.remove(&name);
            let channel = match before.remove(&name) {
                Some(old) if old.spec == spec && old.when == when && old.is_whole() => {
                    changes.untouched += 1;
                    old
                }
                Some(old) => {
                    changes.changed += 1;
                    self.change(&name, old, spec, when, &mut changes)
                }
                None => {
                    changes.added += 1;
                    self.begin(&name, spec, when, &mut changes)
                }
            };
            self.channels.insert(name, channel);
        }
        self.before.clear();
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

    /// Outputs and the source are changed on the air; anything else is a new stream.
    fn change(
        &self,
        name: &str,
        mut old: Channel,
        spec: StreamSpec,
        when: Option<When>,
        changes: &mut Changes,
    ) -> Channel {
        let same = |spec: &StreamSpec| (spec.label.clone(), spec.owner.clone(), spec.without_outputs);
        if let (Run::Always(always), None) = (&mut old.run, &when)
            && let Some(running) = &mut always.running
            && same(&old.spec) == same(&spec)
            && !running.stream.has_ended()
        {
            note(changes, name, running.change_outputs(&spec.outputs));
            if running.source != spec.source {
                note(changes, name, running.change_source(&spec.source));
            }
            return Channel { spec, ..old };
        }
        self.end(old);
        self.begin(name, spec, when, changes)
    }

    fn end(&self, channel: Channel) {
        let stream = match channel.run {
            Run::Always(always) => always.running.map(|running| running.stream),
            Run::Scheduled(id) => {
                self.engine.schedules().cancel(id).and_then(|taken| self.engine.get(taken.stream?))
            }
            Run::Nothing => None,
        };
        if let Some(stream) = stream {
            // What it ended with has been told by its events.
            let _ = stream.stop(DEADLINE);
        }
    }

    /// Starts what failed again, when its wait is over. Says what went wrong.
    pub(crate) fn mend(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for (name, channel) in &mut self.channels {
            let Run::Always(always) = &mut channel.run else { continue };
            if let Some(running) = always.running.take_if(|running| running.stream.has_ended()) {
                if always.began.elapsed() > STABLE {
                    always.failures = 0;
                }
                // It has ended: this only says how.
                match running.stream.stop(Duration::ZERO) {
                    Ok(_) => always.is_complete = true,
                    Err(_) => always.failed(),
                }
            }
            if always.running.is_none() && !always.is_complete && Instant::now() >= always.again {
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
        Self { running: None, began: now, failures: 0, again: now, is_complete: false }
    }
}

impl Always {
    fn start(&mut self, engine: &Engine, spec: &StreamSpec) -> Result<(), Error> {
        match engine.start(spec.clone()) {
            Ok(stream) => {
                self.running = Some(Running::begun(stream.detach(), spec));
                self.began = Instant::now();
                Ok(())
            }
            Err(error) => {
                self.failed();
                Err(error)
            }
        }
    }

    /// It waits, longer each time.
    fn failed(&mut self) {
        let (first, most) = WAITS;
        self.again = Instant::now() + (first * 2u32.saturating_pow(self.failures.min(10))).min(most);
        self.failures += 1;
    }
}

impl Channel {
    /// Whether all that its spec asks for was done.
    fn is_whole(&self) -> bool {
        match &self.run {
            Run::Always(always) => always.running.as_ref().is_none_or(|running| running.is(&self.spec)),
            _ => true,
        }
    }
}

impl Running {
    /// A stream that was just started from `spec`: outputs get their numbers in the order of the spec, and players come later.
    fn begun(stream: StreamRef, spec: &StreamSpec) -> Self {
        let mut numbers: Vec<_> = stream.stats().outputs.iter().map(|output| output.id).collect();
        numbers.sort();
        let outputs = spec.outputs.iter().cloned().zip(numbers).collect();
        Self { stream, source: spec.source.clone(), outputs }
    }

    fn is(&self, spec: &StreamSpec) -> bool {
        let has = |output: &Output| self.outputs.iter().any(|(has, _)| has == output);
        self.source == spec.source && self.outputs.len() == spec.outputs.len() && spec.outputs.iter().all(has)
    }

    fn change_source(&mut self, wanted: &Source) -> Result<(), Error> {
        self.stream.replace_source(wanted.clone(), At::NextKeyframe)?.wait()?;
        self.source = wanted.clone();
        Ok(())
    }

    /// Removes the outputs that are gone and adds those that are new; the others keep their connections.
    fn change_outputs(&mut self, wanted: &[Output]) -> Result<(), Error> {
        let mut before = std::mem::take(&mut self.outputs);
        let mut new = Vec::new();
        for output in wanted {
            match before.iter().position(|(has, _)| has == output) {
                Some(place) => self.outputs.push(before.remove(place)),
                None => new.push(output),
            }
        }
        let mut failed = Ok(());
        // First, so that a label, a file or a key is free for what comes.
        for (output, number) in before {
            if let Err(error) = self.stream.remove_output(number) {
                self.outputs.push((output, number));
                failed = Err(error);
            }
        }
        for output in new {
            match self.stream.add_output(output.clone()) {
                Ok(number) => self.outputs.push((output.clone(), number)),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }
}

fn note(changes: &mut Changes, what: &str, outcome: Result<(), Error>) {
    changes.failed.extend(outcome.err().map(|error| format!("{what}: {}", chain(&error))));
}
