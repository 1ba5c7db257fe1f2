//! Time as media and as the wire see it.
//!
//! The wire carries 32 bits of milliseconds that wrap after 49 days 17 hours ([`WireTime`]). Everything behind the
//! door counts on with 64 bits ([`MediaTime`]); [`TimeUnwrapper`] is the door.

use std::fmt;

use crate::flv::TagKind;

/// A point on a stream's own clock, in milliseconds. It does not wrap, and may be negative.
///
/// ```
/// use flowcast_rtmp::time::MediaTime;
/// let start = MediaTime::from_millis(1_000);
/// assert_eq!(start.saturating_add_millis(40).millis_since(start), 40);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The beginning of the clock.
    pub const ZERO: Self = Self(0);

    /// The point `millis` milliseconds after [`ZERO`](Self::ZERO).
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since [`ZERO`](Self::ZERO).
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This point moved by `millis` milliseconds; stays at the ends of the `i64` range.
    #[must_use]
    pub const fn saturating_add_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this point: negative if `earlier` is in fact later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The low 32 bits, as a chunk or an FLV tag carries them.
    #[must_use]
    pub const fn wire(self) -> WireTime {
        WireTime(self.0 as u32)
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// RTMP's and FLV's time: milliseconds modulo 2³².
///
/// There is no order on it, because there is none on the wire: which of two values is later depends on what came
/// before. See [`TimeUnwrapper`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WireTime(u32);

impl WireTime {
    /// The value as read off the wire, in milliseconds.
    #[must_use]
    pub const fn new(millis: u32) -> Self {
        Self(millis)
    }

    /// The value to be put on the wire, in milliseconds.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// This time moved on by a delta in milliseconds, modulo 2³², as chunk types 1 to 3 do it.
    #[must_use]
    pub const fn wrapping_add(self, millis: u32) -> Self {
        Self(self.0.wrapping_add(millis))
    }
}

impl fmt::Debug for WireTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms (wire)", self.0)
    }
}

/// Turns wrapping wire time into [`MediaTime`]: every value is taken as the one nearest to the value before it.
///
/// So a clock may pass 2³² any number of times, and a tag may lie before its predecessor (also across the wrap). The
/// first value is taken as it is, `0..2³²`. A jump of exactly 2³¹ ms counts as backwards.
///
/// Peers that count only 31 bits (libavformat, SRS) fall from just below 2³¹ to just above 0. From then on theirs is
/// unwrapped as a 31 bit clock, until a value of 2³¹ or more shows that it is none.
///
/// ```
/// use flowcast_rtmp::time::{TimeUnwrapper, WireTime};
/// let mut clock = TimeUnwrapper::default();
/// clock.unwrap(WireTime::new(u32::MAX));
/// assert_eq!(clock.unwrap(WireTime::new(9)).as_millis(), (1 << 32) + 9);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TimeUnwrapper {
    last: Option<(WireTime, MediaTime)>,
    has_31_bits: bool,
}

/// How near to 2³¹ and to 0 a fall from one to the other must begin and end to be a wrap: 17 minutes.
const WRAP_MARGIN: u32 = 1 << 20;

impl TimeUnwrapper {
    /// The point on the unwrapped clock that `wire` stands for.
    pub fn unwrap(&mut self, wire: WireTime) -> MediaTime {
        let time = match self.last {
            None => MediaTime(i64::from(wire.0)),
            Some((last_wire, last)) => last.saturating_add_millis(i64::from(self.step(last_wire.0, wire.0))),
        };
        self.last = Some((wire, time));
        time
    }

    fn step(&mut self, last: u32, next: u32) -> i32 {
        const TOP: u32 = 1 << 31;
        if (TOP - WRAP_MARGIN..TOP).contains(&last) && next < WRAP_MARGIN {
            self.has_31_bits = true;
        } else if next >= TOP {
            self.has_31_bits = false;
        }
        let step = next.wrapping_sub(last);
        // Shifting up and down again extends the sign of the lower 31 bits.
        if self.has_31_bits { (step << 1) as i32 >> 1 } else { step as i32 }
    }
}

/// The [`TimeUnwrapper`]s of one peer: each kind of tag has its own, since the clocks of two tracks may be half a lap apart,
/// where it cannot be known which of two values is later. A kind begins near what came before it.
///
/// ```
/// use flowcast_rtmp::flv::TagKind;
/// use flowcast_rtmp::time::{TrackClocks, WireTime};
/// let mut clocks = TrackClocks::default();
/// let sound = |n: u32| WireTime::new((1 << 31) + 40 * n);
/// assert_eq!(clocks.unwrap(TagKind::Audio, sound(0)).as_millis(), 1 << 31);
/// let picture = clocks.unwrap(TagKind::Video, WireTime::new(0));
/// assert_eq!(clocks.unwrap(TagKind::Audio, sound(1)).as_millis(), (1 << 31) + 40);
/// assert_eq!(clocks.unwrap(TagKind::Video, WireTime::new(40)).millis_since(picture), 40);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrackClocks {
    kinds: [Option<TimeUnwrapper>; 3],
    /// As of the last tag of any kind.
    last: TimeUnwrapper,
}

impl TrackClocks {
    /// The point on the unwrapped clock that `wire` stands for, of a tag of `kind`.
    pub fn unwrap(&mut self, kind: TagKind, wire: WireTime) -> MediaTime {
        let [audio, video, script] = &mut self.kinds;
        let clock = match kind {
            TagKind::Audio => audio,
            TagKind::Video => video,
            TagKind::Script => script,
        };
        let clock = clock.get_or_insert_with(|| self.last.clone());
        let time = clock.unwrap(wire);
        self.last.clone_from(clock);
        time
    }

    /// The same for a value that belongs to no kind, such as that of an aggregate message: near what came last.
    pub fn unwrap_common(&mut self, wire: WireTime) -> MediaTime {
        self.last.unwrap(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_half_a_lap_apart_stay_where_they_are() {
        for offset in [1_000_000_000, (1 << 31) - 500, 1 << 31, (1 << 31) + 500, u32::MAX - 1000] {
            let mut clocks = TrackClocks::default();
            let mut run = |kind, from: u32| {
                (0..50)
                    .map(|n| clocks.unwrap(kind, WireTime::new(from.wrapping_add(n * 40))))
                    .collect::<Vec<_>>()
            };
            let mut sound = run(TagKind::Audio, offset);
            let mut pictures = run(TagKind::Video, 0);
            sound.extend(run(TagKind::Audio, offset.wrapping_add(2000)));
            pictures.extend(run(TagKind::Video, 2000));
            for track in [sound, pictures] {
                let mut steps = track.iter().zip(track.iter().skip(1));
                assert!(steps.all(|(&one, next)| next.millis_since(one) == 40), "{offset}: {track:?}");
            }
        }
    }

    #[test]
    fn tracks_that_begin_on_both_sides_of_the_wrap_stay_together() {
        let mut clocks = TrackClocks::default();
        let sound = clocks.unwrap(TagKind::Audio, WireTime::new(u32::MAX - 5));
        assert_eq!(clocks.unwrap(TagKind::Video, WireTime::new(4)).millis_since(sound), 10);
    }

    fn unwrap_all(values: &[u32]) -> Vec<i64> {
        let mut clock = TimeUnwrapper::default();
        values.iter().map(|&v| clock.unwrap(WireTime::new(v)).as_millis()).collect()
    }

    #[test]
    fn time_goes_on_past_2_31_and_2_32() {
        let two31 = 1u32 << 31;
        assert_eq!(unwrap_all(&[two31 - 1, two31, two31 + 1]), [(1 << 31) - 1, 1 << 31, (1 << 31) + 1]);
        assert_eq!(unwrap_all(&[u32::MAX - 1, 5, 4_000]), [(1 << 32) - 2, (1 << 32) + 5, (1 << 32) + 4_000]);
    }

    #[test]
    fn time_may_step_back_across_the_wrap_and_below_zero() {
        assert_eq!(unwrap_all(&[u32::MAX, 10, u32::MAX]), [(1 << 32) - 1, (1 << 32) + 10, (1 << 32) - 1]);
        assert_eq!(unwrap_all(&[0, u32::MAX - 20, 0]), [0, -21, 0]);
    }

    #[test]
    fn a_31_bit_clock_goes_on_too() {
        let top = (1u32 << 31) - 1;
        let back = [top - 10, 13, top, 36, 60];
        assert_eq!(
            unwrap_all(&back),
            [(1 << 31) - 11, (1 << 31) + 13, (1 << 31) - 1, (1 << 31) + 36, (1 << 31) + 60]
        );
        let lap = unwrap_all(&[top, 0, 1 << 29, 2 << 29, 3 << 29, 0]);
        assert_eq!(lap.last(), Some(&(1 << 32)));
        // A large step back, on the other hand, is one.
        assert_eq!(unwrap_all(&[1 << 30, 0]), [1 << 30, 0]);
    }

    #[test]
    fn many_laps_add_up() {
        let mut clock = TimeUnwrapper::default();
        let mut wire = WireTime::new(0);
        let step = 1 << 30;
        for lap in 0..64 {
            assert_eq!(clock.unwrap(wire).as_millis(), lap * i64::from(step));
            wire = wire.wrapping_add(step as u32);
        }
    }

    #[test]
    fn the_ends_of_the_range_saturate() {
        let end = MediaTime::from_millis(i64::MAX);
        assert_eq!(end.saturating_add_millis(1), end);
        assert_eq!(end.millis_since(MediaTime::from_millis(-1)), i64::MAX);
        assert_eq!(MediaTime::from_millis(-1).wire().get(), u32::MAX);
    }
}
