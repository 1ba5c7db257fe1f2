//! How a stream is described before it starts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::{Ask, CheaperEncoding, Kind, Ways, Work};
use crate::error::Error;
use crate::event::EventKind;
use crate::fence::Fence;
use crate::files::StreamFiles;
use crate::limiter::{Admitted, Permit};
use crate::output::Output;
use crate::source::Source;
use crate::spec::StreamSpec;
use crate::stats::SourceMode;
use crate::stream::{
    Data, FOREVER, Leave, OpenOutput, OpenSource, Parts, Registry, SourceOpening, StreamHandle, StreamRef,
    check_label,
};

/// Describes a stream; see [`Engine::stream`](crate::Engine::stream).
#[derive(Debug)]
#[must_use = "a stream runs only after `start`"]
pub struct StreamBuilder {
    registry: Arc<Registry>,
    source: Box<dyn OpenSource>,
    label: Option<String>,
    owner: Option<String>,
    outputs: Vec<Box<dyn OpenOutput>>,
    /// The stream runs whether or not it has an output.
    without_outputs: bool,
    /// What it goes on with: the source it was made from, which it may begin elsewhere, and the number of what was kept.
    restored: Option<(Data, u64)>,
    /// A schedule starts it, and would do so again.
    is_scheduled: bool,
    /// What it may send within.
    fence: Option<Fence>,
}

/// What a stream may be admitted as.
pub(super) struct Form {
    pub(super) ask: Ask,
    /// What it was brought down to, and its source then.
    pub(super) lowered: Option<(CheaperEncoding, Source)>,
}

/// How long a start by a schedule waits for room at most: few threads start for all schedules, and each schedule tries again by itself.
const SCHEDULED_WAIT: Duration = Duration::from_secs(10);

impl StreamBuilder {
    pub(crate) fn new(registry: Arc<Registry>, source: Box<dyn OpenSource>) -> Self {
        Self {
            registry,
            source,
            label: None,
            owner: None,
            outputs: Vec::new(),
            without_outputs: false,
            restored: None,
            is_scheduled: false,
            fence: None,
        }
    }

    /// Of a stream as data.
    pub(crate) fn of(registry: Arc<Registry>, spec: StreamSpec) -> Self {
        let StreamSpec { label, owner, source, outputs, without_outputs } = spec;
        let stream = Self { label, owner, without_outputs, ..Self::new(registry, Box::new(source)) };
        stream.outputs(outputs)
    }

    /// The stream's owner, for the limit per owner. Without an owner, only the limit of the engine counts.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// What the program calls the stream: its events, log lines and figures show it. 1 to 128 characters, no control
    /// characters. Streams may have equal labels; only their [numbers](crate::StreamId) tell them apart. Default none.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sends the stream to `output`, an [`Output`] or anything else that says how it is opened, besides those given before.
    pub fn to(mut self, output: impl OpenOutput + 'static) -> Self {
        self.outputs.push(Box::new(output));
        self
    }

    /// Sends the stream to each of `outputs`, besides those given before. Outputs of different types go into one list as
    /// `Box<dyn OpenOutput>`.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let urls = ["rtmp://live.twitch.tv/app/a-key", "rtmp://a.rtmp.youtube.com/live2/another-key"];
    /// let show = Source::file("show.mp4").looped();
    /// let live = engine.stream(show).outputs(urls.map(Output::rtmp_url)).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn outputs<O>(mut self, outputs: impl IntoIterator<Item = O>) -> Self
    where
        O: OpenOutput + 'static,
    {
        self.outputs.extend(outputs.into_iter().map(|output| Box::new(output) as Box<dyn OpenOutput>));
        self
    }

    /// Records the stream to an FLV file, besides the other outputs; see [`Output::record`].
    pub fn record(self, path: impl Into<PathBuf>) -> Self {
        self.to(Output::record(path))
    }

    /// Lets the stream run without an output: it may start with none, and it stays up when its last one has failed.
    /// Outputs can be added at any time ([`add_output`](StreamRef::add_output)); each begins with a keyframe. By default,
    /// [`start`](Self::start) refuses a stream without outputs, and a stream ends when its last output has failed.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine.stream(Source::file("show.mp4").looped()).without_outputs().start()?;
    /// live.add_output(Output::record("archive.flv"))?; // at any time
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn without_outputs(mut self) -> Self {
        self.without_outputs = true;
        self
    }

    /// Puts the stream behind `fence` before anything of it is sent; see [`StreamRef::set_fence`]. [`start`](Self::start) fails with [`Error::Fenced`] if
    /// the fence is closed by the time the source is open. Default none.
    pub fn fence(mut self, fence: &Fence) -> Self {
        self.fence = Some(fence.clone());
        self
    }

    /// A schedule starts it: it is kept with that, not by itself.
    #[cfg(feature = "schedule")]
    pub(super) fn scheduled(mut self) -> Self {
        self.is_scheduled = true;
        self
    }

    /// The stream goes on with one of an earlier run: it was made from `source`, wherever it begins now.
    pub(super) fn restored(mut self, source: Data, number: u64) -> Self {
        self.restored = Some((source, number));
        self
    }

    /// Starts the stream. Its media time begins when its outputs are connected, at the latest after five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`], [`Error::CapacityExceeded`]; [`Error::Config`] for a stream without outputs that is not
    /// [`without_outputs`](Self::without_outputs), and for a setting that cannot work or has no effect on such a source or
    /// output; [`Error::LabelInUse`] for two outputs with one label; a name on the hub that is in use; a file that cannot be opened or has nothing to send; a malformed address; a
    /// recording that cannot be created; no thread or descriptor left; [`Error::Ended`] if the engine is shut down meanwhile.
    /// Events report what happens to connections later.
    ///
    /// # Blocking
    ///
    /// On room for it, if starts may wait ([`WhenFull::Queue`](crate::WhenFull::Queue)); on opening the file (at most 10 s) and on creating a
    /// recording. With [`Mode::Auto`](crate::Mode::Auto) also on reading
    /// all of the file, once for each version of it and at most two minutes; [`Engine::shutdown`](crate::Engine::shutdown) on
    /// another thread ends that.
    pub fn start(self) -> Result<StreamHandle, Error> {
        self.start_with(&Leave::default())
    }

    /// Starts it unless `leave` is taken back before it is on the air.
    pub(crate) fn start_with(self, leave: &Leave) -> Result<StreamHandle, Error> {
        let registry = self.registry.clone();
        self.try_start(leave).inspect_err(|error| registry.events().not_started(error))
    }

    fn try_start(mut self, leave: &Leave) -> Result<StreamHandle, Error> {
        self.check()?;
        // What it was asked to be is what it is kept as: there may be more room when it is started again.
        let described = self.source.as_data();
        let (permit, lowered) = self.admit(leave)?;
        let files = StreamFiles::new(self.source.reads());
        let prepared = self.registry.prepare(self.label.map(Arc::from), Some(permit), files)?;
        let shared = prepared.shared.clone();
        let (data, number) = match self.restored {
            Some((source, number)) => (Some(source), Some(number)),
            None => (described, None),
        };
        if !self.is_scheduled {
            shared.described.begin(data, self.without_outputs, number);
        }
        // Recordings are made once the source is known to be good.
        let open = || self.source.open(&SourceOpening::first(&self.registry, &shared));
        let source = match shared.span.run(open) {
            Err(_) if self.registry.is_closed() => return Err(Error::Ended),
            opened => opened?,
        };
        leave.check()?;
        let mode = source.mode();
        shared.with_permit(|permit| permit.correct(|kind| read_by(mode, kind)));
        let stream = StreamRef { shared, registry: self.registry.clone() };
        if let Some(fence) = &self.fence {
            if !fence.is_open() {
                return Err(Error::Fenced);
            }
            // It is new, so it is behind none yet.
            let _ = stream.set_fence(fence);
        }
        for output in self.outputs {
            Registry::add_output(&stream, output)?;
        }
        let needs_outputs = !self.without_outputs;
        let parts = Parts { source, tick: None, keep_gop: false, hold: true, needs_outputs, claim: None };
        let stream = leave.launch(|| self.registry.launch(prepared, parts))?;
        if let Some(lowered) = lowered {
            stream.shared.tell(lowered);
        }
        Ok(StreamHandle::new(stream))
    }

    /// Takes a place for it, and brings its source down to what fits; then with what is told of that.
    fn admit(&mut self, leave: &Leave) -> Result<(Permit, Option<EventKind>), Error> {
        let most = if self.is_scheduled { SCHEDULED_WAIT } else { FOREVER };
        let mut forms = self.forms();
        let asks: Vec<_> = forms.iter().map(|form| form.ask.clone()).collect();
        let admitted = self.registry.admit(self.owner.as_deref(), &asks, most, leave)?;
        let Admitted { permit, form, short } = admitted;
        let lowered = forms.swap_remove(form).lowered.zip(short).map(|((to, source), shortage)| {
            self.source = Box::new(source);
            EventKind::EncodingLowered { to: Arc::new(to), shortage }
        });
        Ok((permit, lowered))
    }

    /// The forms in which it may be admitted: as it was described, and with what it may be brought down to.
    pub(super) fn forms(&self) -> Vec<Form> {
        let mut ways = Ways::default();
        for output in &self.outputs {
            let data = output.as_data();
            let known = data.as_ref().and_then(|data| data.downcast_ref::<Output>()).map(Output::ways);
            ways += known.unwrap_or(Ways { others: 1, ..Ways::default() });
        }
        let has_reels = self.registry.reels().is_some();
        let data = self.source.as_asked();
        let Some(source) = data.as_ref().and_then(|data| data.downcast_ref::<Source>()) else {
            let kind = Kind { work: Work::Other, has_fallback: false, ways };
            return vec![Form { ask: Ask { kind, media: None, is_once: false }, lowered: None }];
        };
        let lowered = self.registry.limiter().lowerings().into_iter().filter_map(|to| {
            let lowered = source.lowered(&to)?;
            Some(Form { ask: lowered.ask(ways, has_reels), lowered: Some((to, lowered)) })
        });
        let as_it_is = Form { ask: source.ask(ways, has_reels), lowered: None };
        std::iter::once(as_it_is).chain(lowered).collect()
    }

    /// Refuses what cannot work, before anything is opened.
    fn check(&self) -> Result<(), Error> {
        if self.outputs.is_empty() && !self.without_outputs {
            let reason = "the stream has no output: add one with `to`, or say `without_outputs`".to_owned();
            return Err(Error::Config { name: "outputs", reason });
        }
        if let Some(label) = &self.label {
            check_label(label)?;
        }
        self.source.check()?;
        let mut labels = HashSet::new();
        for output in &self.outputs {
            output.check()?;
            if let Some(label) = output.label() {
                check_label(label)?;
                if !labels.insert(label) {
                    return Err(Error::LabelInUse { label: label.to_owned() });
                }
            }
        }
        Ok(())
    }
}

/// What a source is, by how it is read once it is open: what is copied may play from a reel after all, or not.
fn read_by(mode: SourceMode, kind: &mut Kind) {
    if let (Work::Reel | Work::Direct, Some(work)) = (&kind.work, copied_by(mode)) {
        kind.work = work;
    }
}

fn copied_by(mode: SourceMode) -> Option<Work> {
    match mode {
        SourceMode::Reel => Some(Work::Reel),
        SourceMode::Direct => Some(Work::Direct),
        SourceMode::Live => None,
    }
}
