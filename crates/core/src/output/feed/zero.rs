//! Where the times of sessions begin that are sent the same: the ingests of one platform.
//!
//! In: the first tag of each session. Out: the stream time that is zero for all of them. Locked when a session begins, by its stream's thread.

use std::sync::{Arc, Weak};

use flowcast_rtmp::time::MediaTime;
use parking_lot::Mutex;

/// A zero that sessions share as long as one of them goes on.
#[derive(Debug, Clone)]
pub(crate) struct SharedZero {
    held: Arc<Mutex<Weak<MediaTime>>>,
    /// A session does not begin this long after the zero, milliseconds: then there is a new one.
    most: i64,
}

impl SharedZero {
    /// Sessions begin earlier than `most` milliseconds after it.
    pub(crate) fn new(most: i64) -> Self {
        Self { held: Arc::default(), most }
    }

    /// The zero of a session that begins with a tag of time `first`; to be kept as long as the session goes on.
    pub(super) fn join(&self, first: MediaTime) -> Arc<MediaTime> {
        let mut held = self.held.lock();
        let young = |zero: &Arc<MediaTime>| (0..self.most).contains(&first.millis_since(**zero));
        if let Some(zero) = held.upgrade().filter(young) {
            return zero;
        }
        let zero = Arc::new(first);
        *held = Arc::downgrade(&zero);
        zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_first_ones_as_long_as_somebody_keeps_it_and_it_is_young() {
        let zero = SharedZero::new(1000);
        let at = |millis| MediaTime::from_millis(millis);
        let first = zero.join(at(500));
        let second = zero.join(at(900));
        assert_eq!((*first, *second), (at(500), at(500)));
        drop(first);
        assert_eq!(*zero.join(at(1499)), at(500), "the second one still goes on");
        let later = zero.join(at(1500));
        assert_eq!((*later, *zero.join(at(1600))), (at(1500), at(1500)), "too old to begin with");
        assert_eq!(*second, at(500), "who goes on keeps it");
        drop(later);
        assert_eq!(*zero.join(at(1700)), at(1700), "nobody was left");
    }
}
