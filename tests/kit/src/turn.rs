//! Tests of one program that would leave each other no time.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test of this program has a turn; only one of those that keep the machine busy runs at a time.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
