//! Times of a program, put on the clock of its stream.
//!
//! In: when something came, and the time that the program says. Out: the time on the stream's clock, in microseconds since the first
//! media. What two tracks say is of one clock, so that they stay together: the first time of either is the zero of both. Arithmetic only,
//! on whichever thread sends.

use std::time::{Duration, Instant};

/// So far off from now, or from what came before, is a new timeline.
const NEW: i64 = 2_000_000;
/// A track that was late all this time is not late: the program's clock has lost time.
const ALWAYS_LATE: i64 = 1_000_000;

/// When a picture is shown, or when samples begin to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// As it comes. What is sent one after the other keeps its order.
    Now,
    /// At this time of the program's own clock, whose zero does not matter, and which both tracks share: the first time of either is
    /// when it came. What is two seconds off, from now or from what came before, begins a new timeline.
    At(Duration),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Picture = 0,
    Sound = 1,
}

/// The time goes back by so many microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GoesBack(pub(super) i64);

/// The clock of a stream, and what the program's is to it.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// When the first media came.
    epoch: Option<Instant>,
    /// What is added to the program's time.
    shift: Option<i64>,
    /// The last time the program said of each track.
    said: [Option<i64>; 2],
    /// The latest time that was given.
    newest: i64,
    /// Since when a track is late.
    late_since: [Option<i64>; 2],
    /// New timelines that were begun.
    begun: u64,
}

impl Timeline {
    /// When the clock was zero.
    pub(super) fn epoch(&self) -> Option<Instant> {
        self.epoch
    }

    /// New timelines after the first.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The clock is zero now, and what was at `first` is on it there.
    pub(super) fn rebase(&mut self, now: Instant, first: i64) {
        self.epoch = Some(now);
        self.shift = self.shift.map(|shift| shift - first);
        self.newest = (self.newest - first).max(0);
        self.late_since = [None, None];
    }

    /// The program is ahead: what it says is so many microseconds earlier from here on.
    pub(super) fn advance(&mut self, by: i64) {
        if let Some(shift) = &mut self.shift {
            *shift -= by;
            self.newest -= by;
        }
    }

    /// What came before is forgotten: the next media is the first.
    pub(super) fn forget(&mut self) {
        *self = Self { begun: self.begun, ..Self::default() };
    }

    /// The clock's time.
    pub(super) fn now(&mut self, now: Instant) -> i64 {
        micros(now.saturating_duration_since(*self.epoch.get_or_insert(now)))
    }

    /// The time of something that has come `now`. Up to `delay` microseconds behind the clock, it is not late.
    ///
    /// # Errors
    ///
    /// A time of the program's that is before the last one of this track, but by less than a new timeline.
    pub(super) fn place(
        &mut self,
        now: Instant,
        track: Track,
        when: When,
        delay: i64,
    ) -> Result<i64, GoesBack> {
        self.place_part(now, track, when, 0, delay)
    }

    /// As [`place`](Self::place), for a part that begins so many microseconds `behind` the time that the program says.
    ///
    /// # Errors
    ///
    /// As of [`place`](Self::place).
    pub(super) fn place_part(
        &mut self,
        now: Instant,
        track: Track,
        when: When,
        behind: i64,
        delay: i64,
    ) -> Result<i64, GoesBack> {
        let now = self.now(now);
        let When::At(said) = when else {
            self.newest = self.newest.max(now);
            return Ok(now);
        };
        let said = micros(said);
        if let Some(last) = self.said[track as usize]
            && (1..NEW).contains(&(last - said))
        {
            return Err(GoesBack(last - said));
        }
        self.said[track as usize] = Some(said);
        let said = said.saturating_add(behind);
        let shift = *self.shift.get_or_insert(now - said);
        let mut time = said.saturating_add(shift);
        let is_late = time < now - delay;
        let late_since = &mut self.late_since[track as usize];
        *late_since = if is_late { Some(late_since.unwrap_or(now)) } else { None };
        let was_late = late_since.is_some_and(|since| now - since >= ALWAYS_LATE);
        if was_late || time <= now - NEW || time >= self.newest.max(now) + NEW {
            self.shift = Some(now - said);
            self.late_since = [None, None];
            self.begun += 1;
            time = now;
        }
        self.newest = self.newest.max(time);
        Ok(time)
    }
}

/// A length in microseconds.
pub(super) fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_time_of_either_track_is_the_zero_of_both() {
        let (mut line, zero) = (Timeline::default(), Instant::now());
        let mut place = |at, track, said| line.place(zero + at, track, When::At(said), 100_000);
        assert_eq!(place(millis(0), Track::Sound, 100 * SECOND), Ok(0));
        assert_eq!(place(millis(20), Track::Picture, 100 * SECOND + millis(50)), Ok(50_000));
        assert_eq!(place(millis(40), Track::Sound, 100 * SECOND + millis(20)), Ok(20_000));
        assert_eq!(line.begun(), 0);
    }

    #[test]
    fn times_that_go_back_are_refused_and_those_that_jump_begin_a_new_timeline() {
        let (mut line, zero) = (Timeline::default(), Instant::now());
        let mut place = |at, said| line.place(zero + at, Track::Picture, When::At(said), 100_000);
        assert_eq!(place(millis(0), 100 * SECOND), Ok(0));
        assert_eq!(place(millis(40), 100 * SECOND - millis(1)), Err(GoesBack(1000)));
        assert_eq!(place(millis(40), 100 * SECOND), Ok(0), "the same again");
        assert_eq!(place(millis(80), 3 * SECOND), Ok(80_000), "the program began again");
        assert_eq!(place(millis(120), 3 * SECOND + millis(40)), Ok(120_000));
        assert_eq!(place(millis(160), 3 * SECOND + millis(1900)), Ok(1_980_000), "ahead");
        assert_eq!(place(millis(200), 60 * SECOND), Ok(200_000));
        // It stopped, and its clock went on.
        assert_eq!(place(millis(5200), 65 * SECOND), Ok(5_200_000));
        // It stopped, and its clock with it.
        assert_eq!(place(millis(15_200), 65 * SECOND + millis(40)), Ok(15_200_000));
        assert_eq!(line.begun(), 3);
    }

    #[test]
    fn what_is_late_for_a_second_is_taken_to_be_on_time() {
        let (mut line, zero) = (Timeline::default(), Instant::now());
        let mut late = Vec::new();
        // A clock that loses a hundredth.
        for frame in 0..3000_u64 {
            let came = millis(frame * 40);
            let time = line.place(zero + came, Track::Sound, When::At(came * 99 / 100), 100_000);
            late.push(micros(came) - time.expect("it never goes back"));
        }
        assert!(late.iter().all(|late| (0..=120_000).contains(late)), "{:?}", late.iter().max());
        assert!((9..=12).contains(&line.begun()), "{}", line.begun());
    }
}
