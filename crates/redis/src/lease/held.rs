//! A lease, as a node holds it.
//!
//! In: streams that are put behind it, renewals, losses. Out: a fence, and whether it is held.

use std::time::{Duration, Instant};

use flowcast_core::{Fence, StreamRef};
use parking_lot::{Condvar, Mutex};

/// A lease, and what runs because of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    /// Who holds it, and its epoch: what Redis has.
    pub(super) value: String,
    pub(super) epoch: u64,
    /// Whose place it takes, and how many that owner may have.
    pub(super) owner: Option<(String, usize)>,
    pub(super) fence: Fence,
    state: Mutex<State>,
    lost: Condvar,
}

#[derive(Debug, Default)]
struct State {
    streams: Vec<StreamRef>,
    /// The program has given it up.
    is_given_up: bool,
    /// It was lost.
    is_lost: bool,
}

impl Held {
    pub(super) fn new(
        name: String,
        value: String,
        epoch: u64,
        owner: Option<(String, usize)>,
        until: Duration,
    ) -> Self {
        let fence = Fence::until(until);
        Self { name, value, epoch, owner, fence, state: Mutex::default(), lost: Condvar::new() }
    }

    pub(super) fn guard(&self, stream: &StreamRef) -> bool {
        let is_behind = stream.set_fence(&self.fence);
        if is_behind {
            self.keep(stream);
        }
        is_behind
    }

    /// A stream is behind it: it is not given back before that has ended.
    pub(super) fn keep(&self, stream: &StreamRef) {
        let mut state = self.state.lock();
        state.streams.retain(|stream| !stream.has_ended());
        state.streams.push(stream.clone());
    }

    /// The program gives it up: what is behind it ends, and then it is given back.
    pub(super) fn give_up(&self) {
        self.fence.close();
        self.state.lock().is_given_up = true;
    }

    /// It is another's, or nobody's.
    pub(super) fn lose(&self) {
        self.fence.close();
        self.state.lock().is_lost = true;
        self.lost.notify_all();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.state.lock().is_given_up
    }

    /// Whether nothing that is behind it runs any more.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().streams.iter().all(StreamRef::has_ended)
    }

    pub(super) fn is_held(&self) -> bool {
        let state = self.state.lock();
        !state.is_lost && !state.is_given_up && self.fence.is_open()
    }

    pub(super) fn wait_lost(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.is_lost {
            if self.lost.wait_until(&mut state, until).timed_out() {
                return state.is_lost;
            }
        }
        true
    }
}
