//! How a stream is described before it starts.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::{Inner, Parts};
use crate::error::Error;
use crate::event::EventKind;
use crate::output::Output;
use crate::source::{Source, SourceDriver, SourceKind};
use crate::stream::handle::StreamHandle;
use crate::stream::mailbox::Command;
use crate::stream::shared::StreamShared;

/// A stream that has nowhere to go yet, and so cannot be started.
#[derive(Debug)]
pub enum NoOutput {}

/// A stream that can be started.
#[derive(Debug)]
pub enum Ready {}

/// Describes a stream; see [`Engine::stream`](crate::Engine::stream).
#[derive(Debug)]
#[must_use = "a stream runs only after `start`"]
pub struct StreamBuilder<State> {
    engine: Arc<Inner>,
    source: Source,
    owner: Option<String>,
    outputs: Vec<Output>,
    state: PhantomData<State>,
}

impl StreamBuilder<NoOutput> {
    pub(crate) fn new(engine: Arc<Inner>, source: Source) -> Self {
        Self { engine, source, owner: None, outputs: Vec::new(), state: PhantomData }
    }
}

impl<State> StreamBuilder<State> {
    /// Whose stream it is, for the limit per owner. Without an owner only the limit of the engine counts.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sends the stream to `output`, besides those given before.
    pub fn to(mut self, output: Output) -> StreamBuilder<Ready> {
        self.outputs.push(output);
        StreamBuilder {
            engine: self.engine,
            source: self.source,
            owner: self.owner,
            outputs: self.outputs,
            state: PhantomData,
        }
    }

    /// Records the stream to an FLV file, besides the other outputs.
    pub fn record(self, path: impl Into<PathBuf>) -> StreamBuilder<Ready> {
        self.to(Output::record(path))
    }
}

impl StreamBuilder<Ready> {
    /// Starts the stream. Its media time begins when its outputs are connected, at the latest after five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`]; a file that cannot be opened or has nothing to send; a malformed address; a
    /// recording that cannot be created; no thread or descriptor left. What happens to connections later is told by
    /// events.
    ///
    /// # Blocking
    ///
    /// On opening the file (at most 10 s) and on creating a recording.
    pub fn start(self) -> Result<StreamHandle, Error> {
        for output in &self.outputs {
            output.check()?;
        }
        let permit = self.engine.admit(self.owner.as_deref())?;
        let prepared = self.engine.prepare(Some(permit))?;
        let shared = prepared.shared.clone();
        // Creating a recording replaces what was there: that waits until the source is known to be good.
        let opened = open(&self.source)?;
        let mut drivers = Vec::with_capacity(self.outputs.len());
        for output in self.outputs {
            output.check_is_not(&self.source)?;
            let id = shared.next_output();
            let (name, driver) = self.engine.driver(&shared, id, output)?;
            drivers.push(Command::AddOutput { output: id, name, driver });
        }
        let (source, skipped) = opened.start(&shared, &self.engine)?;
        for driver in drivers {
            shared.mailbox.send(driver);
        }
        let parts = Parts { source, keep_gop: false, hold: true, needs_outputs: true, claim: None };
        let stream = self.engine.launch(prepared, parts)?;
        for (track, reason) in skipped {
            shared.events.emit(shared.id, EventKind::TrackSkipped { track, reason });
        }
        Ok(StreamHandle::new(stream))
    }
}

/// A source that is open and does not run yet.
#[cfg(feature = "libav")]
struct Opened(crate::source::OpenFile);

/// A source that is open and does not run yet.
#[cfg(not(feature = "libav"))]
enum Opened {}

/// A source's driver, and the tracks it leaves out.
type Started = (Box<dyn SourceDriver>, Vec<(usize, String)>);

#[cfg(feature = "libav")]
fn open(source: &Source) -> Result<Opened, Error> {
    use crate::source::{Laps, OpenFile};

    let SourceKind::File { path, looped } = &source.kind;
    OpenFile::open(path, if *looped { Laps::Endless } else { Laps::Once }).map(Opened)
}

#[cfg(not(feature = "libav"))]
fn open(source: &Source) -> Result<Opened, Error> {
    let SourceKind::File { .. } = &source.kind;
    Err(Error::NotBuilt { feature: "libav" })
}

impl Opened {
    #[cfg(feature = "libav")]
    fn start(self, shared: &StreamShared, engine: &Inner) -> Result<Started, Error> {
        let skipped = self.0.skipped().to_vec();
        let driver = self.0.start(&shared.id.to_string(), &engine.config, shared.cpu.clone())?;
        Ok((Box::new(driver), skipped))
    }

    #[cfg(not(feature = "libav"))]
    fn start(self, _shared: &StreamShared, _engine: &Inner) -> Result<Started, Error> {
        match self {}
    }
}
