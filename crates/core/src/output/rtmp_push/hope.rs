//! A push that has not reached its server waits, and hears when another output has.
//!
//! In: the dialer's word, from its thread. Out: a message to the push.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::RtmpPush;

/// Waits for news of a server, as long as it is there.
pub(super) struct Hope(Arc<AtomicBool>);

impl Drop for Hope {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The server that attempt failed at has let another output in.
pub(super) struct Back {
    pub(super) attempt: u64,
}

impl RtmpPush {
    /// Is told when another output reaches the server.
    pub(super) fn hope(&self) -> Hope {
        let hope = Hope(Arc::default());
        let (mailbox, attempt) = (self.mailbox.clone(), self.attempt);
        self.dialer.hope(self.route.peer(), hope.0.clone(), move || {
            mailbox.send(Box::new(Back { attempt }));
        });
        hope
    }
}
