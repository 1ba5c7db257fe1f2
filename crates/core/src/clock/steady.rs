//! Times of a live source that do not go on.
//!
//! In: times of a publisher's frames, jumps taken out, and when each frame came. Out: times that never go back within a track, and
//! that go on by the arrival of the frames where the publisher's own stand still: some send zero with every frame, others
//! repeat a part of a second again and again. On the stream's thread.

use std::time::{Duration, Instant};

use super::continuity::Side;

/// A track whose frames come and whose time does not go on for this long stands still; frames of one time are no sign of it.
const STANDS_AFTER: Duration = Duration::from_millis(250);
/// At least this many of its frames.
const STANDS_FRAMES: u32 = 4;
/// A track that stood still goes on once the publisher's times are further on than this, milliseconds: a part that is repeated is
/// shorter, since going back further is a jump.
const GOES_ON: i64 = 1000;
/// Going back by less is rounding and jitter, and not worth telling. Milliseconds.
const JITTER: i64 = 100;

/// The tracks of a live source.
#[derive(Debug, Clone, Default)]
pub(super) struct Steady {
    /// At most one of each side and number.
    tracks: Vec<(Side, u8, Track)>,
    told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    /// The newest time given.
    last: i64,
    /// By how much the publisher's times are moved.
    moved: i64,
    /// Since when frames came whose times did not go on, and how many.
    standing: Option<(Instant, u32)>,
    /// The track was found to stand still.
    counted: Option<Counted>,
}

/// Where the times of a track that stands still come from.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// A time, and the instant it is counted from.
    from: i64,
    at: Instant,
    /// The publisher's newest time when it was found.
    stood: i64,
}

impl Steady {
    /// The time of a frame of track `number` that came at `now`, and whether to report that it is not the publisher's.
    pub(super) fn place(&mut self, side: Side, number: u8, time: i64, now: Instant) -> (i64, bool) {
        let known = self.tracks.iter_mut().find(|known| (known.0, known.1) == (side, number));
        let Some((_, _, track)) = known else {
            self.tracks.push((side, number, Track { last: time, moved: 0, standing: None, counted: None }));
            return (time, false);
        };
        let (placed, odd) = track.place(time, now);
        (placed, odd && !std::mem::replace(&mut self.told, true))
    }

    /// The newest time given.
    pub(super) fn newest(&self) -> Option<i64> {
        self.tracks.iter().map(|(_, _, track)| track.last).max()
    }
}

impl Track {
    fn place(&mut self, time: i64, now: Instant) -> (i64, bool) {
        let own = time.saturating_add(self.moved);
        if own > self.last {
            (self.last, self.standing) = (own, None);
            // Otherwise the delay of each later frame that does not go on would be added to the track's times.
            self.counted = self.counted.filter(|counted| time.saturating_sub(counted.stood) <= GOES_ON);
            return (own, false);
        }
        let back = self.last.saturating_sub(own);
        let (since, frames) =
            self.standing.map_or((now, 1), |(since, frames)| (since, frames.saturating_add(1)));
        self.standing = Some((since, frames));
        let stands = frames >= STANDS_FRAMES && now.saturating_duration_since(since) >= STANDS_AFTER;
        if self.counted.is_none() && stands {
            let stood = self.last.saturating_sub(self.moved);
            self.counted = Some(Counted { from: self.last, at: since, stood });
        }
        if let Some(Counted { from, at, .. }) = self.counted {
            let passed = now.saturating_duration_since(at).as_millis();
            let due = from.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
            self.last = due.max(self.last.saturating_add(1));
            self.moved = self.last.saturating_sub(time);
        }
        (self.last, back >= JITTER || self.counted.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a frame every 40 ms with these times, of one track.
    fn run(times: impl IntoIterator<Item = i64>) -> (Vec<i64>, usize) {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let mut told = 0;
        let placed = (0..).zip(times).map(|(n, time)| {
            let (placed, tell) = steady.place(Side::Video, 0, time, start + Duration::from_millis(40 * n));
            told += usize::from(tell);
            placed
        });
        (placed.collect(), told)
    }

    #[track_caller]
    fn assert_goes_on(times: &[i64], expected: i64) {
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest.is_some_and(|longest| longest <= 400), "{longest:?}");
        let all = times[times.len() - 1] - times[0];
        assert!((all - expected).abs() <= 500, "{all} of {expected} ms");
    }

    #[test]
    fn times_that_stand_still_go_on_with_the_arrival() {
        let (placed, told) = run(std::iter::repeat_n(0, 250));
        assert_goes_on(&placed, 10_000);
        assert_eq!(told, 1);
        // So do those that count something else.
        let (placed, _) = run((0..250).map(|n| n / 25));
        assert_goes_on(&placed, 10_000);
    }

    #[test]
    fn a_part_of_a_second_sent_again_and_again_is_one_stream() {
        let (placed, told) = run((0..250).map(|n| n % 24 * 40));
        assert_goes_on(&placed, 10_000);
        assert_eq!(told, 1);
    }

    #[test]
    fn jitter_does_not_add_up() {
        // Pictures with the times they are shown at, out of order.
        let shown = (0..250).map(|n| n * 40 + [80, -40, -40][usize::try_from(n % 3).unwrap_or(0)]);
        let (placed, told) = run(shown);
        assert_goes_on(&placed, 10_000);
        assert_eq!(told, 0);
        let (placed, told) = run([0, 40, 600, 120, 160, 640, 680]);
        assert_eq!((placed, told), (vec![0, 40, 600, 600, 600, 640, 680], 1));
    }

    #[test]
    fn a_delay_moves_nothing_after_times_that_stood_still_go_on() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let mut place =
            |time, after| steady.place(Side::Audio, 0, time, start + Duration::from_millis(after)).0;
        // Half a second of one time, then 80 s that go on.
        for n in 0..12 {
            place(0, n * 40);
        }
        let stood = place(0, 480);
        assert!((400..=520).contains(&stood), "{stood}");
        for n in 1..2000 {
            let before = i64::try_from(n).unwrap_or(0) * 40;
            assert_eq!(place(before, 480 + n * 40), stood + before);
        }
        // Then nothing for three seconds, and one time twice, whichever side of the delay the first is on.
        assert_eq!(place(1999 * 40, 84_000), stood + 1999 * 40);
        assert_eq!(place(2000 * 40, 84_001), stood + 2000 * 40);
        assert_eq!(place(2000 * 40, 84_050), stood + 2000 * 40);
        assert_eq!(place(2001 * 40, 84_051), stood + 2001 * 40);
    }

    #[test]
    fn tracks_of_one_kind_have_times_of_their_own() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        for n in 0..100 {
            let now = start + Duration::from_millis(40 * n);
            let time = i64::try_from(n).unwrap_or(0) * 40;
            assert_eq!(steady.place(Side::Audio, 0, time, now), (time, false));
            assert_eq!(steady.place(Side::Audio, 1, time - 300, now), (time - 300, false));
        }
    }

    #[test]
    fn a_stall_on_the_way_moves_nothing() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let mut place =
            |time, after| steady.place(Side::Audio, 0, time, start + Duration::from_millis(after));
        place(1000, 0);
        // Five seconds later all of it comes at once, the first of it a second track's.
        for (time, expected) in [(1000, 1000), (1000, 1000), (1040, 1040), (1040, 1040), (6000, 6000)] {
            assert_eq!(place(time, 5000), (expected, false));
        }
    }
}
