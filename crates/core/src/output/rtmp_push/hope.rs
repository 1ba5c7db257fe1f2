//! A push that has not reached its server waits, and hears when another output has.
//!
//! In: the dialer's word, from its thread. Out: a message to the push.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::RtmpPush;
use crate::net::dialer::Dialer;

/// Waits for news of a server, as long as it is there.
pub(super) struct Hope {
    given_up: Arc<AtomicBool>,
    dialer: Dialer,
}

impl Drop for Hope {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        // What it holds of the stream, such as the descriptor that wakes its thread, is let go at once.
        self.dialer.drop_cancelled();
    }
}

/// The server that attempt failed at has let another output in.
pub(super) struct Back {
    pub(super) attempt: u64,
}

impl RtmpPush {
    /// Is told when another output reaches the server.
    pub(super) fn hope(&self) -> Hope {
        let hope = Hope { given_up: Arc::default(), dialer: self.dialer.clone() };
        let (mailbox, attempt) = (self.mailbox.clone(), self.attempt);
        self.dialer.hope(self.route.peer(), hope.given_up.clone(), move || {
            mailbox.send(Box::new(Back { attempt }));
        });
        hope
    }
}
