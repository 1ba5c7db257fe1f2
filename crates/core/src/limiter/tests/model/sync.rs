//! A lock and a bell of which loom knows who holds and who waits.

use std::time::Instant;

pub(super) use loom::sync::MutexGuard;

/// Like that of `parking_lot`, which loom does not know.
#[derive(Debug)]
pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("nobody panics while it is held")
    }
}

/// Without a clock: who waits, waits until it rings. A bell that does not ring when it should is a deadlock, which loom reports.
#[derive(Debug, Default)]
pub(super) struct Bell(loom::sync::Condvar);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_all();
    }

    pub(super) fn wait_until<'a, T>(
        &self,
        counts: MutexGuard<'a, T>,
        _: Instant,
    ) -> (MutexGuard<'a, T>, bool) {
        (self.0.wait(counts).expect("nobody panics while it is held"), false)
    }
}
