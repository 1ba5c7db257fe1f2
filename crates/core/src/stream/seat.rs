//! A player's place among those counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A player of a stream, as long as it exists; see [`StreamRef::seat`](crate::StreamRef::seat). Dropping it gives the place back,
/// wherever the player ends.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// Takes a place among `taken`.
    pub(super) fn take(taken: &Arc<AtomicUsize>) -> Self {
        taken.fetch_add(1, Ordering::Relaxed);
        Self(taken.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
