//! What the threads of a source send to its driver.
//!
//! In: messages, from any thread, also while the source is still being opened. Out: the same, in their order, to the stream's thread,
//! once the driver is on its way there.

use std::any::Any;
use std::sync::Arc;

use parking_lot::Mutex;

use super::mailbox::{Command, Mailbox};
use crate::standby::Addressed;

/// The way to the driver of one source.
#[derive(Debug)]
pub(crate) struct Letters {
    mailbox: Mailbox,
    /// The number of the source among those of its stream.
    seat: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The driver is not on its way: what was sent so far.
    Kept(Vec<Box<dyn Any + Send>>),
    /// It is on its way, or there.
    Open,
    /// There will be none.
    Closed,
}

impl Letters {
    /// To the driver of source number `seat`. That of number 0 is there before the stream's thread is; any other one has to be
    /// [opened](Self::open).
    pub(super) fn to(mailbox: Mailbox, seat: u64) -> Arc<Self> {
        let state = if seat == 0 { State::Open } else { State::Kept(Vec::new()) };
        Arc::new(Self { mailbox, seat, state: Mutex::new(state) })
    }

    /// Wakes the stream's thread.
    pub(super) fn wake(&self) {
        self.mailbox.wake();
    }

    /// Sends the driver a message; `false` if there is none, and will be none.
    pub(super) fn send(&self, message: Box<dyn Any + Send>) -> bool {
        match &mut *self.state.lock() {
            State::Kept(kept) => {
                kept.push(message);
                true
            }
            State::Open => self.hand(message),
            State::Closed => false,
        }
    }

    /// The driver is on its way: what was kept follows it.
    pub(super) fn open(&self) {
        let mut state = self.state.lock();
        if let State::Kept(kept) = std::mem::replace(&mut *state, State::Open) {
            for message in kept {
                // A stream that has ended hears nothing more.
                let _ = self.hand(message);
            }
        }
    }

    /// There is no driver.
    pub(super) fn close(&self) {
        *self.state.lock() = State::Closed;
    }

    fn hand(&self, message: Box<dyn Any + Send>) -> bool {
        // Whether the driver is the only one of its stream shows only there.
        let seat = self.seat;
        let message = if seat == 0 { message } else { Box::new(Addressed { seat, message }) };
        self.mailbox.send(Command::Deliver(message))
    }
}
