//! Puts pictures on a grid of constant frame rate.
//!
//! In: pictures with times of one clock. Out: the same pictures, numbered by the places of the grid, which begins with the first
//! picture. Where none falls on a place, the one before is repeated; where several do, the first is kept. Nothing is copied: a
//! repeated picture is another reference. At most two are held.

use flowcast_av::{Error, TimeBase, VideoFrame};

use super::encoding::FrameRate;
use crate::clock::continuity::LONGEST_PICTURE;

/// What can be shown several times.
pub(super) trait Share: Sized {
    fn share(&self) -> Result<Self, Error>;
}

impl Share for VideoFrame {
    fn share(&self) -> Result<Self, Error> {
        Self::share(self)
    }
}

/// A grid that is being filled: [`push`](Self::push) a picture, [`pull`](Self::pull) until there is none;
/// [`finish`](Self::finish), pull the rest.
#[derive(Debug)]
pub(super) struct Grid<T = VideoFrame> {
    rate: FrameRate,
    base: TimeBase,
    /// Time of place 0.
    origin: Option<i64>,
    shown: Option<T>,
    /// The next place to give, and up to which place the shown picture may be given.
    give: i64,
    due: i64,
    /// The picture behind the shown one, and its place.
    next: Option<(T, i64)>,
    /// Pictures there was no place for.
    surplus: u64,
    /// Time and duration of the picture pushed last.
    last: Option<(i64, i64)>,
}

impl<T: Share> Grid<T> {
    /// An empty grid for pictures whose times are in ticks of `base`.
    pub(super) fn new(rate: FrameRate, base: TimeBase) -> Self {
        Self { rate, base, origin: None, shown: None, give: 0, due: 0, next: None, surplus: 0, last: None }
    }

    /// The same grid, still empty, with place 0 at `origin`.
    pub(super) fn at(self, origin: i64) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// An empty grid with the same places, of which nothing before place `from` is given.
    pub(super) fn from(&self, from: i64) -> Self {
        Self { origin: self.origin, give: from, ..Self::new(self.rate, self.base) }
    }

    /// The time of place 0, once there was a picture.
    pub(super) fn origin(&self) -> Option<i64> {
        self.origin
    }

    /// The place nearest to a time; of two equally near, the earlier.
    pub(super) fn place(&self, time: i64) -> i64 {
        let since = i128::from(time) - i128::from(self.origin.unwrap_or(time));
        let num = since * i128::from(self.base.num) * i128::from(self.rate.num());
        let den = i128::from(self.base.den) * i128::from(self.rate.den());
        i64::try_from((2 * num + den - 1).div_euclid(2 * den)).unwrap_or(i64::MAX)
    }

    /// Takes a picture that is shown at `time` (`None`: after the one before) for `duration` ticks, 0 if unknown. All that
    /// could be pulled must have been.
    pub(super) fn push(&mut self, frame: T, time: Option<i64>, duration: i64) {
        let follows = self.last.map_or(0, |(time, duration)| time.saturating_add(duration));
        let time = time.unwrap_or(follows);
        let spacing = self
            .last
            .map_or(0, |(last, duration)| if time > last { time.saturating_sub(last) } else { duration });
        let duration = if duration > 0 { duration } else { spacing };
        self.last = Some((time, duration));
        self.origin.get_or_insert(time);
        let place = self.place(time);
        if self.shown.is_none() {
            (self.shown, self.give, self.due) = (Some(frame), self.give.max(place), place + 1);
        } else if place >= self.give {
            (self.due, self.next) = (place, Some((frame, place)));
        } else if self.due < self.give {
            // Nothing was given yet: this one is nearer to where the grid begins.
            (self.shown, self.due) = (Some(frame), place + 1);
        } else {
            self.surplus += 1;
        }
    }

    /// Pictures there was no place for since this was last asked.
    pub(super) fn take_surplus(&mut self) -> u64 {
        std::mem::take(&mut self.surplus)
    }

    /// No picture follows: the last one is shown as long as it lasts, but not for ever if all else ends at `all_end`.
    pub(super) fn finish(&mut self, all_end: Option<i64>) {
        if let Some((time, duration)) = self.last {
            let longest = time.saturating_add(TimeBase::MILLIS.rescale(LONGEST_PICTURE, self.base));
            let end = time.saturating_add(duration).min(longest.max(all_end.unwrap_or(longest)));
            self.due = self.due.max(self.place(end));
        }
    }

    /// The next picture and its place.
    pub(super) fn pull(&mut self) -> Result<Option<(T, i64)>, Error> {
        loop {
            if self.give < self.due
                && let Some(shown) = &self.shown
            {
                let shared = shown.share()?;
                self.give += 1;
                return Ok(Some((shared, self.give - 1)));
            }
            let Some((frame, place)) = self.next.take() else { return Ok(None) };
            (self.shown, self.due) = (Some(frame), place + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Share for char {
        fn share(&self) -> Result<Self, Error> {
            Ok(*self)
        }
    }

    const MILLIS: TimeBase = TimeBase::MILLIS;

    /// What happens to pictures at these times, in order of the alphabet; all are `duration` long.
    fn placed(grid: &mut Grid<char>, times: &[i64], duration: i64) -> String {
        let mut placed = String::new();
        let mut next = None;
        let mut drain = |grid: &mut Grid<char>| {
            while let Some((picture, place)) = grid.pull().expect("a letter") {
                assert_eq!(next.unwrap_or(place), place, "no place is left out");
                next = Some(place + 1);
                placed.push(picture);
            }
        };
        for (&time, picture) in times.iter().zip('a'..) {
            grid.push(picture, Some(time), duration);
            drain(grid);
        }
        grid.finish(None);
        drain(grid);
        placed
    }

    fn rate(num: u32, den: u32) -> FrameRate {
        FrameRate::new(num, den).expect("a usual rate")
    }

    #[test]
    fn pictures_at_the_rate_pass_whatever_their_rounding() {
        let mut grid = Grid::new(rate(30_000, 1001), MILLIS);
        let times: Vec<i64> = (0..20).map(|n| 1400 + (n * 1001 + 15) / 30).collect();
        assert_eq!(placed(&mut grid, &times, 33), "abcdefghijklmnopqrst");
        assert_eq!(grid.origin(), Some(1400));
        // Without durations the last one is as long as the one before.
        assert_eq!(placed(&mut Grid::new(rate(25, 1), MILLIS), &[0, 40, 80], 0), "abc");
    }

    #[test]
    fn other_rates_repeat_or_leave_out() {
        assert_eq!(placed(&mut Grid::new(rate(50, 1), MILLIS), &[0, 40, 80], 40), "aabbcc");
        let mut grid = Grid::new(rate(25, 1), MILLIS);
        assert_eq!(placed(&mut grid, &[0, 20, 40, 60, 80, 100], 20), "ace");
        assert_eq!((grid.take_surplus(), grid.take_surplus()), (3, 0));
        assert_eq!(placed(&mut Grid::new(rate(30, 1), MILLIS), &[0, 40, 80, 120, 160], 40), "abccde");
        // Two long ones among short ones.
        assert_eq!(placed(&mut Grid::new(rate(25, 1), MILLIS), &[0, 40, 160, 200], 40), "abbbcd");
    }

    #[test]
    fn what_goes_back_or_has_no_time_keeps_the_order() {
        assert_eq!(placed(&mut Grid::new(rate(25, 1), MILLIS), &[0, 40, 0, 80], 40), "abd");
        let mut grid = Grid::new(rate(25, 1), MILLIS);
        grid.push('a', Some(1000), 40);
        assert_eq!(grid.pull().expect("a letter"), Some(('a', 0)));
        grid.push('b', None, 40);
        assert_eq!(grid.pull().expect("a letter"), Some(('b', 1)));
    }

    #[test]
    fn the_last_picture_lasts_while_anything_else_does_but_not_for_ever() {
        let places = |duration: i64, all_end: Option<i64>| {
            let mut grid = Grid::new(rate(1, 1), MILLIS);
            grid.push('a', Some(500), duration);
            grid.finish(all_end);
            std::iter::from_fn(|| grid.pull().expect("a letter")).take(5000).count()
        };
        assert_eq!((places(30_000, None), places(30_000, Some(500))), (30, 30));
        assert_eq!((places(i64::MAX, None), places(i64::MAX, Some(500))), (120, 120));
        assert_eq!((places(3_600_000, Some(1_000_500)), places(30_000, Some(1_000_500))), (1000, 30));
    }

    #[test]
    fn a_grid_can_begin_within() {
        let mut whole = Grid::new(rate(25, 1), MILLIS);
        placed(&mut whole, &[100, 140, 180], 40);
        assert_eq!(placed(&mut whole.from(2), &[100, 140, 180, 220], 40), "cd");
        // No picture is at the place where it begins: the one before is shown there.
        assert_eq!(placed(&mut whole.from(2), &[100, 140, 260], 40), "bbc");
    }
}
