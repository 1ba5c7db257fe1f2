//! How a stream is described before it starts.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::files::StreamFiles;
use crate::output::Output;
use crate::stream::handle::{StreamHandle, StreamRef};
use crate::stream::opening::{OpenOutput, OpenSource, SourceOpening};
use crate::stream::registry::{Parts, Registry};

/// A stream without an output, which cannot be started yet.
#[derive(Debug)]
pub enum NoOutput {}

/// A stream that can be started.
#[derive(Debug)]
pub enum Ready {}

/// Describes a stream; see [`Engine::stream`](crate::Engine::stream).
#[derive(Debug)]
#[must_use = "a stream runs only after `start`"]
pub struct StreamBuilder<State> {
    registry: Arc<Registry>,
    source: Box<dyn OpenSource>,
    owner: Option<String>,
    outputs: Vec<Box<dyn OpenOutput>>,
    state: PhantomData<State>,
}

impl StreamBuilder<NoOutput> {
    pub(crate) fn new(registry: Arc<Registry>, source: Box<dyn OpenSource>) -> Self {
        Self { registry, source, owner: None, outputs: Vec::new(), state: PhantomData }
    }
}

impl<State> StreamBuilder<State> {
    /// The stream's owner, for the limit per owner. Without an owner, only the limit of the engine counts.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sends the stream to `output`, an [`Output`] or anything else that says how it is opened, besides those given before.
    pub fn to(mut self, output: impl OpenOutput + 'static) -> StreamBuilder<Ready> {
        self.outputs.push(Box::new(output));
        StreamBuilder {
            registry: self.registry,
            source: self.source,
            owner: self.owner,
            outputs: self.outputs,
            state: PhantomData,
        }
    }

    /// Records the stream to an FLV file, besides the other outputs; see [`Output::record`].
    pub fn record(self, path: impl Into<PathBuf>) -> StreamBuilder<Ready> {
        self.to(Output::record(path))
    }
}

impl StreamBuilder<Ready> {
    /// Starts the stream. Its media time begins when its outputs are connected, at the latest after five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::StreamLimitExceeded`]; [`Error::Config`] for a setting that cannot work or has no effect on such a
    /// source or output; a name on the hub that is in use; a file that cannot be opened or has nothing to send; a
    /// malformed address; a recording that cannot be created; no thread or descriptor left; [`Error::Ended`] if the
    /// engine is shut down meanwhile. Events report what happens to connections later.
    ///
    /// # Blocking
    ///
    /// On opening the file (at most 10 s) and on creating a recording. With [`Mode::Auto`](crate::Mode::Auto) also on reading
    /// all of the file, once for each version of it and at most two minutes; [`Engine::shutdown`](crate::Engine::shutdown) on
    /// another thread ends that.
    pub fn start(self) -> Result<StreamHandle, Error> {
        self.source.check()?;
        for output in &self.outputs {
            output.check()?;
        }
        let permit = self.registry.admit(self.owner.as_deref())?;
        let files = StreamFiles::new(self.source.reads());
        let prepared = self.registry.prepare(Some(permit), files)?;
        let shared = prepared.shared.clone();
        // Recordings are made once the source is known to be good.
        let opened = self.source.open(&SourceOpening { registry: &self.registry, shared: &shared });
        self.registry.starting().over(shared.id);
        let source = match opened {
            Err(_) if self.registry.is_closed() => return Err(Error::Ended),
            opened => opened?,
        };
        let stream = StreamRef { shared, registry: self.registry.clone() };
        for output in self.outputs {
            Registry::add_output(&stream, output)?;
        }
        let parts =
            Parts { source, tick: None, keep_gop: false, hold: true, needs_outputs: true, claim: None };
        let stream = self.registry.launch(prepared, parts)?;
        Ok(StreamHandle::new(stream))
    }
}
