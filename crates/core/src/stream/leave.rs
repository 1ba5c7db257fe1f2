//! Leave to go on the air, which can be taken back until then.
//!
//! In: a start on one thread, a second thought on another. Out: the stream is on the air and known to both, or never will be.

use std::sync::Arc;

use parking_lot::Mutex;

use super::handle::StreamRef;
use crate::error::Error;
use crate::sys::Cancel;

/// Shared by who starts a stream and who may call that off. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leave {
    state: Arc<Mutex<State>>,
    cancel: Arc<Cancel>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Given,
    Used(StreamRef),
    Revoked,
}

impl Leave {
    /// Puts a stream on the air, unless the leave was taken back.
    pub(crate) fn launch(
        &self,
        launch: impl FnOnce() -> Result<StreamRef, Error>,
    ) -> Result<StreamRef, Error> {
        let mut state = self.state.lock();
        if matches!(*state, State::Revoked) {
            return Err(called_off());
        }
        let stream = launch()?;
        *state = State::Used(stream.clone());
        Ok(stream)
    }

    /// Refuses what was called off: nothing more need be opened for it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_revoked() { Err(called_off()) } else { Ok(()) }
    }

    /// Takes it back. The stream, if it is on the air already.
    #[cfg_attr(not(feature = "schedule"), allow(dead_code, reason = "only a schedule calls a start off"))]
    pub(crate) fn revoke(&self) -> Option<StreamRef> {
        let before = std::mem::replace(&mut *self.state.lock(), State::Revoked);
        match before {
            State::Used(stream) => Some(stream),
            State::Given => {
                self.cancel.cancel();
                None
            }
            State::Revoked => None,
        }
    }

    /// What is cancelled when it is taken back: for what a start waits for.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(*self.state.lock(), State::Revoked)
    }

    /// The stream, if it is on the air.
    #[cfg_attr(not(feature = "schedule"), allow(dead_code, reason = "only a schedule calls a start off"))]
    pub(crate) fn stream(&self) -> Option<StreamRef> {
        match &*self.state.lock() {
            State::Used(stream) => Some(stream.clone()),
            State::Given | State::Revoked => None,
        }
    }
}

fn called_off() -> Error {
    Error::Cancelled { what: "the start" }
}
