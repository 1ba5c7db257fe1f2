//! How other threads reach a stream thread.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use mio::Waker;

use super::branch::Guest;
use super::thumbnail::Shown;
use crate::driver::OutputDriver;
use crate::id::OutputId;
use crate::standby::{OnAir, Replacement};
use crate::sys::Latch;

/// What a stream thread is asked to do.
pub(crate) enum Command {
    /// Send the stream to one more output.
    AddOutput { output: OutputId, name: String, driver: Box<dyn OutputDriver>, guest: Option<Guest> },
    /// End an output.
    RemoveOutput(OutputId),
    /// Go to another place of what is played.
    Seek(std::time::Duration),
    /// Something for the source.
    Deliver(Box<dyn std::any::Any + Send>),
    /// Let another source take over.
    ReplaceSource(Box<Replacement>),
    /// Say what receivers have of the stream.
    Describe(Arc<Latch<OnAir>>),
    /// Say which keyframe is the newest.
    Show(Arc<Latch<Shown>>),
    /// Something for an output.
    DeliverTo { output: OutputId, message: Box<dyn std::any::Any + Send> },
    /// End the stream.
    Stop,
}

/// The receiving end. Boxed: a channel has room for dozens of commands, and a stream that runs gets none.
pub(crate) type Commands = Receiver<Box<Command>>;

/// The sending end: cheap to clone, never blocks. Commands to a thread that has ended are dropped.
#[derive(Clone)]
pub(crate) struct Mailbox {
    commands: Sender<Box<Command>>,
    waker: Arc<Waker>,
}

impl Mailbox {
    /// A mailbox that wakes the poll of `waker`.
    pub(crate) fn new(waker: Waker) -> (Self, Commands) {
        // Each output has at most one command under way, and stop is one: the bound is the number of outputs.
        let (commands, receiver) = crossbeam_channel::unbounded();
        (Self { commands, waker: Arc::new(waker) }, receiver)
    }

    /// Sends a command; `false` if the stream has ended.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.commands.send(Box::new(command)).is_ok() && self.waker.wake().is_ok()
    }

    /// Wakes the thread without a command: something it will find by itself is there.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("a stream's thread cannot be woken: {error}");
        }
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
