//! How a stream is described before it starts.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::{Inner, Parts};
use crate::error::Error;
use crate::files::StreamFiles;
use crate::output::Output;
use crate::source::{Opening, Source, open};
use crate::stream::handle::StreamHandle;
use crate::stream::mailbox::Command;

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
    /// The stream's owner, for the limit per owner. Without an owner, only the limit of the engine counts.
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
        let permit = self.engine.admit(self.owner.as_deref())?;
        let files = StreamFiles::of(&self.source);
        let prepared = self.engine.prepare(Some(permit), files)?;
        let shared = prepared.shared.clone();
        // Recordings are made once the source is known to be good.
        let opened = open(
            &self.source,
            &Opening {
                config: &self.engine.config,
                store: self.engine.reels(),
                name: shared.id.to_string(),
                hub: self.engine.hub(),
                starting: self.engine.starting(),
                mailbox: &shared.mailbox,
                id: shared.id,
                cpu: shared.cpu.clone(),
                files: &shared.files,
            },
        );
        self.engine.starting().over(shared.id);
        let source = match opened {
            Err(_) if self.engine.is_closed() => return Err(Error::Ended),
            opened => opened?,
        };
        let mut drivers = Vec::with_capacity(self.outputs.len());
        for output in self.outputs {
            let id = shared.next_output();
            let (name, driver) = self.engine.driver(&shared, id, output)?;
            drivers.push(Command::AddOutput { output: id, name, driver, guest: None });
        }
        for driver in drivers {
            shared.mailbox.send(driver);
        }
        let parts =
            Parts { source, tick: None, keep_gop: false, hold: true, needs_outputs: true, claim: None };
        let stream = self.engine.launch(prepared, parts)?;
        Ok(StreamHandle::new(stream))
    }
}
