//! The lock of the places, and how those that wait are woken. The model has its own.

use std::time::Instant;

use parking_lot::Condvar;
pub(super) use parking_lot::{Mutex, MutexGuard};

/// Rings for all who wait.
#[derive(Debug, Default)]
pub(super) struct Bell(Condvar);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_all();
    }

    /// Waits for the bell; `true` if it has not rung by `until`.
    pub(super) fn wait_until<'a, T>(
        &self,
        mut counts: MutexGuard<'a, T>,
        until: Instant,
    ) -> (MutexGuard<'a, T>, bool) {
        let is_late = self.0.wait_until(&mut counts, until).timed_out();
        (counts, is_late)
    }
}
