//! A stage for one driver without a stream: what a stream's thread has for it, in the hands of a caller.
//!
//! In: a driver's sockets and what its threads send. Out: the same, to the caller, on its thread. Drivers are checked here.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::handle::StreamRef;
use super::mailbox::{Command, Commands};
use super::opening::{OutputOpening, SourceOpening};
use super::registry::{Prepared, Registry};
use super::thread::WAKE;
use crate::error::Error;
use crate::files::{Reads, StreamFiles};
use crate::id::OutputId;

/// The token of the driver.
pub(crate) const DRIVER: Token = Token(1);
/// The number of the output, if the driver is one.
pub(crate) const OUTPUT: OutputId = OutputId(0);

/// What one wait brought.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// Another thread woke this one.
    pub(crate) asked: bool,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// A socket was registered with this token, which is not the driver's.
    pub(crate) strange: Option<usize>,
}

/// The stage.
#[derive(Debug)]
pub(crate) struct Stage {
    stream: StreamRef,
    poll: Poll,
    commands: Commands,
    events: Events,
}

impl Stage {
    /// For a driver that reads this.
    pub(crate) fn new(registry: &Arc<Registry>, reads: Reads) -> Result<Self, Error> {
        let Prepared { shared, poll, commands } = registry.prepare(None, None, StreamFiles::new(reads))?;
        let stream = StreamRef { shared, registry: registry.clone() };
        Ok(Self { stream, poll, commands, events: Events::with_capacity(16) })
    }

    /// Opens a source with `open`.
    pub(crate) fn open_source<R>(&self, open: impl FnOnce(&SourceOpening<'_>) -> R) -> R {
        open(&SourceOpening::first(&self.stream.registry, &self.stream.shared))
    }

    /// Opens an output with `open`.
    pub(crate) fn open_output<R>(&self, open: impl FnOnce(&OutputOpening<'_>) -> R) -> R {
        open(&OutputOpening { stream: &self.stream, output: OUTPUT, label: None })
    }

    /// What sockets are registered with.
    pub(crate) fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    /// Sleeps until something is there, at most `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<Woken> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut woken = Woken::default();
        for event in self.events.iter() {
            match event.token() {
                WAKE => woken.asked = true,
                DRIVER => {
                    woken.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    woken.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
                }
                Token(other) => woken.strange = Some(other),
            }
        }
        Ok(woken)
    }

    /// The next message of another thread to the driver.
    pub(crate) fn letter(&self) -> Option<Box<dyn Any + Send>> {
        while let Ok(command) = self.commands.try_recv() {
            match *command {
                Command::Deliver(message) | Command::DeliverTo { message, .. } => return Some(message),
                _ => {}
            }
        }
        None
    }
}

impl Drop for Stage {
    /// Gives back the names and files that were taken.
    fn drop(&mut self) {
        self.stream.shared.end(Ok(()));
    }
}
