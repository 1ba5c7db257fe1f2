//! Which picture is shown at which place of the constant rate.
//!
//! In: pictures and their places. Out: for each place the newest picture up to there. One that comes late repeats the one before; of
//! several for one place, the last is shown. Arithmetic only; at most a few pictures are held.

use std::collections::VecDeque;

use crate::transcode::FrameRate;

/// The places of a constant rate, counted from 0 at time 0 of the stream's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places(pub(super) FrameRate);

impl Places {
    /// When a place is, in microseconds.
    pub(super) fn time(self, place: i64) -> i64 {
        let time = i128::from(place) * 1_000_000 * i128::from(self.0.den());
        i64::try_from(time.div_euclid(i128::from(self.0.num()))).unwrap_or(i64::MAX)
    }

    /// The place that is nearest to a time.
    pub(super) fn nearest(self, micros: i64) -> i64 {
        let place = 2 * i128::from(micros) * i128::from(self.0.num());
        let unit = 1_000_000 * i128::from(self.0.den());
        i64::try_from((place + unit).div_euclid(2 * unit)).unwrap_or(i64::MAX)
    }

    /// The last place up to a time.
    pub(super) fn last(self, micros: i64) -> i64 {
        let mut place = self.nearest(micros);
        while self.time(place) > micros {
            place -= 1;
        }
        place
    }

    /// The number of the first sample at or behind a place, at this sampling rate: exact, however long it goes on.
    pub(super) fn sample(self, place: i64, rate: u32) -> i64 {
        let samples = i128::from(place) * i128::from(rate) * i128::from(self.0.den());
        let num = i128::from(self.0.num());
        i64::try_from((samples + num - 1).div_euclid(num)).unwrap_or(i64::MAX)
    }

    /// About how many places so many microseconds are, at least one.
    pub(super) fn count(self, micros: i64) -> i64 {
        self.nearest(micros).max(1)
    }
}

/// Pictures that wait for their places, and the one that is shown.
#[derive(Debug)]
pub(super) struct Showing<T> {
    ready: VecDeque<(i64, T)>,
    shown: Option<T>,
    /// The place of the picture that is shown, as it was meant.
    of: i64,
    /// Places that had no picture of their own.
    pub(super) repeated: u64,
    /// Pictures that were never shown, because a newer one took their place.
    pub(super) replaced: u64,
}

impl<T> Default for Showing<T> {
    fn default() -> Self {
        Self { ready: VecDeque::new(), shown: None, of: i64::MIN, repeated: 0, replaced: 0 }
    }
}

impl<T> Showing<T> {
    /// Takes the next picture.
    pub(super) fn push(&mut self, place: i64, picture: T) {
        if self.ready.back().is_some_and(|(last, _)| *last >= place) {
            self.ready.pop_back();
            self.replaced += 1;
        }
        self.ready.push_back((place, picture));
    }

    /// The place of the next picture.
    pub(super) fn next_place(&self) -> Option<i64> {
        self.ready.front().map(|(place, _)| *place)
    }

    /// The picture of this place, and whether it is another one than before; `None` before the first.
    pub(super) fn at(&mut self, place: i64) -> Option<(&T, bool)> {
        let mut fresh = 0;
        while self.next_place().is_some_and(|next| next <= place)
            && let Some((of, picture)) = self.ready.pop_front()
        {
            (self.shown, self.of) = (Some(picture), of);
            fresh += 1;
        }
        match fresh {
            0 => self.repeated += u64::from(self.shown.is_some()),
            fresh => self.replaced += fresh - 1,
        }
        self.shown.as_ref().map(|shown| (shown, fresh > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(num: u32, den: u32) -> Places {
        Places(FrameRate::new(num, den).expect("a usual rate"))
    }

    #[test]
    fn places_and_samples_do_not_drift() {
        let ntsc = places(30_000, 1001);
        for place in [0, 1, 2, 29, 30, 1_000_003, 30_000 * 3600 * 24] {
            let time = ntsc.time(place);
            assert_eq!((ntsc.nearest(time), ntsc.last(time + 20_000)), (place, place));
            assert_eq!(ntsc.nearest(time + 16_000), place);
            assert_eq!(ntsc.nearest(time - 16_000), place);
        }
        assert_eq!(ntsc.sample(30_000, 48_000), 1001 * 48_000);
        assert_eq!(places(30, 1).sample(30 * 86_400, 44_100), 44_100 * 86_400);
        assert_eq!(places(25, 1).count(100_000), 3);
    }

    #[test]
    fn late_pictures_repeat_and_early_ones_are_replaced() {
        let mut showing = Showing::default();
        let mut shown = String::new();
        for (place, pictures) in [
            vec![],
            vec![(1, 'a')],
            vec![],
            vec![(3, 'b')],
            vec![(4, 'c'), (4, 'd')],
            vec![(4, 'e'), (6, 'f')],
        ]
        .into_iter()
        .enumerate()
        {
            pictures.into_iter().for_each(|(at, picture)| showing.push(at, picture));
            shown.push(showing.at(place as i64).map_or('-', |(picture, _)| *picture));
        }
        shown.push(*showing.at(6).expect("a picture").0);
        assert_eq!(shown, "-aabdef");
        assert_eq!((showing.repeated, showing.replaced), (1, 1));
    }
}
