//! The times of one track's packets on a clock that never goes back, and what was wrong with them.

use std::time::Duration;

use flowcast_av::{Packet, TimeBase};

use crate::verdict::Clock;

/// Goes back further than this are jumps; less is disorder. Microseconds.
const BACK: i64 = 1_000_000;
/// Times are kept within 30 years of zero, so that sums and differences of them cannot overflow: damaged files say anything.
const FAR: i64 = 1_000_000_000_000_000;

/// Times of a packet in microseconds, with jumps of the clock taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) pts: i64,
    /// Never less than that of the packet before.
    pub(super) dts: i64,
    pub(super) duration: i64,
}

/// Follows the times of a track.
#[derive(Debug)]
pub(super) struct Follower {
    base: TimeBase,
    shift: i64,
    last: Option<i64>,
    step: i64,
    longest: i64,
    unordered: u64,
    jumps: u32,
}

impl Follower {
    pub(super) fn new(base: TimeBase) -> Self {
        Self { base, shift: 0, last: None, step: 0, longest: 0, unordered: 0, jumps: 0 }
    }

    /// The times of the next packet; `None` if it has none.
    pub(super) fn follow(&mut self, packet: &Packet) -> Option<Times> {
        let micros = |ticks| self.base.rescale(ticks, TimeBase::MICROS).clamp(-FAR, FAR);
        let (raw_pts, raw_dts) = (packet.pts.or(packet.dts)?, packet.dts.or(packet.pts)?);
        let duration = micros(packet.duration).max(0);
        let (pts, mut dts) = (micros(raw_pts), (micros(raw_dts) + self.shift).clamp(-FAR, FAR));
        if let Some(last) = self.last {
            if dts < last - BACK {
                self.jumps = self.jumps.saturating_add(1);
                let onward = (last + self.step.max(1)).min(FAR);
                self.shift = (self.shift + onward - dts).clamp(-2 * FAR, 2 * FAR);
                dts = onward;
            } else if dts <= last {
                self.unordered += 1;
            }
            self.step = (dts - last).max(0);
            self.longest = self.longest.max(self.step);
        }
        let pts = (pts + self.shift).clamp(-FAR, FAR);
        if raw_pts < raw_dts {
            self.unordered += 1;
        }
        let dts = self.last.map_or(dts, |last| last.max(dts));
        self.last = Some(dts);
        Some(Times { pts, dts, duration: if duration > 0 { duration } else { self.step } })
    }

    pub(super) fn facts(&self) -> Clock {
        Clock {
            longest_step: Duration::from_micros(self.longest.unsigned_abs()),
            unordered: self.unordered,
            jumps: self.jumps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn follow(follower: &mut Follower, pts: i64, dts: i64) -> i64 {
        let times = follower.follow(&Packet::new(0, Some(pts), Some(dts), Bytes::new()));
        times.map_or(-1, |times| times.dts)
    }

    #[test]
    fn jumps_are_taken_out_and_counted() {
        let mut follower = Follower::new(TimeBase::MILLIS);
        assert_eq!(follow(&mut follower, 5000, 5000), 5_000_000);
        assert_eq!(follow(&mut follower, 5040, 5040), 5_040_000);
        assert_eq!(follow(&mut follower, 0, 0), 5_080_000);
        assert_eq!(follow(&mut follower, 40, 40), 5_120_000);
        let clock = follower.facts();
        assert_eq!((clock.jumps, clock.unordered), (1, 0));
        assert_eq!(clock.longest_step, Duration::from_millis(40));
    }

    #[test]
    fn disorder_is_counted() {
        let mut follower = Follower::new(TimeBase::MILLIS);
        follow(&mut follower, 40, 40);
        assert_eq!(follow(&mut follower, 40, 40), 40_000, "the same again");
        assert_eq!(follow(&mut follower, 20, 20), 40_000, "a little back");
        follow(&mut follower, 50, 60);
        assert_eq!(follower.facts().unordered, 3);
        assert_eq!(follow(&mut follower, 5060, 5060), 5_060_000);
        assert_eq!(follower.facts().longest_step, Duration::from_secs(5));
    }
}
