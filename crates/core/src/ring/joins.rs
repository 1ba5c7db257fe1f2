//! The places of a ring where something can begin, for clips of what was on the air.
//!
//! In: places as they come. Out: the one that is so much older than the newest tag. On the stream's thread.

use std::collections::VecDeque;

use flowcast_rtmp::time::MediaTime;

/// Places are at least this far apart, in milliseconds: where each tag is one, they are not counted one by one.
const APART: i64 = 500;

/// Places where something can begin, oldest first.
#[derive(Debug, Default)]
pub(super) struct Joins(VecDeque<(u64, MediaTime)>);

impl Joins {
    /// The tag of this number is one.
    pub(super) fn note(&mut self, number: u64, time: MediaTime) {
        let is_near = |(_, last): &(u64, MediaTime)| (0..APART).contains(&time.millis_since(*last));
        if !self.0.back().is_some_and(is_near) {
            self.0.push_back((number, time));
        }
    }

    /// Those before this number are kept no more.
    pub(super) fn forget_until(&mut self, number: u64) {
        while self.0.front().is_some_and(|(join, _)| *join < number) {
            self.0.pop_front();
        }
    }

    /// The newest one that is at least `millis` older than `newest`; if there is none, the oldest.
    pub(super) fn before(&self, newest: MediaTime, millis: i64) -> Option<(u64, MediaTime)> {
        let behind = self.0.partition_point(|(_, time)| newest.millis_since(*time) >= millis);
        self.0.get(behind.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_its_age() {
        let mut joins = Joins::default();
        let at = MediaTime::from_millis;
        assert_eq!(joins.before(at(0), 0), None);
        for number in 0..10 {
            joins.note(number * 50, at(number as i64 * 2000));
            joins.note(number * 50 + 1, at(number as i64 * 2000 + 20));
        }
        for (millis, number) in [(0, 450), (1, 400), (2000, 400), (2001, 350), (18_000, 0), (60_000, 0)] {
            assert_eq!(joins.before(at(18_000), millis).map(|(number, _)| number), Some(number), "{millis}");
        }
        joins.forget_until(101);
        assert_eq!(joins.before(at(18_000), 60_000), Some((150, at(6000))));
    }
}
