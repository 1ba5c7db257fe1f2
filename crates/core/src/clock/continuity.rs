//! Keeps the time of a source running where its own clock jumps.
//!
//! A live encoder that restarts, or a file that was joined from two, goes back to an earlier time or leaps ahead. Whoever
//! receives the stream would drop what is "old" or wait for what is "early"; here the jump is taken out. So is the distance
//! between two tracks whose clocks have nothing to do with each other.

use std::time::Instant;

use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use super::steady::Steady;
use crate::event::EventKind;

/// Goes back further than this are jumps; less is jitter and rounding. Milliseconds.
const BACK: i64 = 1000;
/// How long a file may show one picture while nothing else goes on, milliseconds: slides change sooner.
pub const LONGEST_PICTURE: i64 = 120_000;
/// How far apart two frames may be before a jump forward is taken for one, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// A live encoder sends frames all the time: 10 s.
    Live,
    /// A file may show one picture for a long time: 120 s.
    File,
}

impl Forward {
    fn millis(self) -> i64 {
        match self {
            Self::Live => 10_000,
            Self::File => LONGEST_PICTURE,
        }
    }

    /// How far apart two tracks may begin that belong together. What a live encoder sends at one time is of one time, but for
    /// what its codecs hold back.
    fn apart(self) -> i64 {
        match self {
            Self::Live => 5_000,
            Self::File => LONGEST_PICTURE,
        }
    }
}

/// The time of one track.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    shift: i64,
    first: Option<i64>,
    last: Option<i64>,
    spacing: i64,
    /// When what has come ends to be shown or heard, if that is known.
    end: Option<i64>,
}

/// The times of a video and an audio track that belong together.
#[derive(Debug, Clone)]
pub struct Continuity {
    tracks: [Track; 2],
    forward: Forward,
    /// Of a live source: that times go on at all.
    steady: Steady,
}

/// Which track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The video track.
    Video,
    /// The audio track.
    Audio,
}

impl Continuity {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(forward: Forward) -> Self {
        Self { tracks: [Track::default(); 2], forward, steady: Steady::default() }
    }

    /// By how many milliseconds a frame at `millis` of the source's clock has to be moved, and whether that has just
    /// changed because the clock jumped.
    pub fn shift(&mut self, side: Side, millis: i64) -> (i64, bool) {
        self.place(side, millis, None)
    }

    /// As [`shift`](Self::shift), of a frame that is decoded at `millis` and shown, or heard, at `shown`: behind a jump it is shown
    /// when everything before it has been, even if the frames there are reordered more, or less. Frames may then be decoded at
    /// times that go back a little.
    pub fn shift_shown(&mut self, side: Side, millis: i64, shown: i64) -> (i64, bool) {
        self.place(side, millis, Some(shown))
    }

    fn place(&mut self, side: Side, millis: i64, shown: Option<i64>) -> (i64, bool) {
        let [video, audio] = self.tracks;
        let (mut track, other) = if side == Side::Video { (video, audio) } else { (audio, video) };
        // A pause of one track is no jump while the other goes on.
        let newest = track.last.max(other.last);
        let fits = |shift: i64| {
            let time = millis.saturating_add(shift);
            // Whichever track comes first, the other one begins near what there is of it.
            let (earliest, reach) = match (track.last, other.first) {
                (Some(last), _) => (last - BACK, self.forward.millis()),
                (None, Some(first)) => (first - self.forward.apart(), self.forward.apart()),
                (None, None) => return true,
            };
            time >= earliest && newest.is_none_or(|newest| time <= newest.saturating_add(reach))
        };
        let jumped = !fits(track.shift);
        if jumped {
            // The other track may have been through the same jump: they stay together then.
            let after_last = match (shown, track.end.max(other.end)) {
                (Some(shown), Some(end)) => end.saturating_sub(shown),
                // A track that was silent for long goes on where the other one is.
                _ => track
                    .last
                    .filter(|&last| newest.is_none_or(|newest| newest - last <= self.forward.millis()))
                    .or(newest)
                    .map_or(0, |last| last.saturating_add(track.spacing.max(1)).saturating_sub(millis)),
            };
            track.shift = if fits(other.shift) { other.shift } else { after_last };
        }
        let time = millis.saturating_add(track.shift);
        track.first.get_or_insert(time);
        if let Some(last) = track.last
            && !jumped
            && time > last
        {
            track.spacing = time - last;
        }
        track.last = Some(track.last.map_or(time, |last| last.max(time)));
        if let Some(shown) = shown {
            let end = shown.saturating_add(track.shift).saturating_add(track.spacing.max(1));
            track.end = track.end.max(Some(end));
        }
        self.tracks[usize::from(side == Side::Audio)] = track;
        (track.shift, jumped)
    }

    /// The latest time there was a frame of either track, mended.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        let [video, audio] = self.tracks;
        video.last.max(audio.last)
    }

    /// Moves a tag of a live source, which came at `now`, to where it belongs, and says so if the clock has just jumped or was
    /// found not to go on.
    pub fn mend(&mut self, tag: &mut Tag, now: Instant) -> Option<EventKind> {
        let millis = tag.timestamp.as_millis();
        let side = match tag.kind {
            TagKind::Video if !tag.is_header() => Side::Video,
            TagKind::Audio if !tag.is_header() => Side::Audio,
            _ => {
                tag.timestamp = MediaTime::from_millis(self.place_header(millis));
                return None;
            }
        };
        let before = self.tracks[usize::from(side == Side::Audio)].shift;
        let (shift, jumped) = self.shift(side, millis);
        let (time, unsteady) = self.steady.place(side, tag.track(), millis.saturating_add(shift), now);
        tag.timestamp = MediaTime::from_millis(time);
        if jumped {
            return Some(EventKind::ClockJumped { millis: before.saturating_sub(shift) });
        }
        unsteady.then_some(EventKind::ClockUnsteady)
    }

    /// Where a tag without a time of its own (a header, metadata) belongs: with what came last, if it is out of place.
    #[must_use]
    pub fn place_header(&self, millis: i64) -> i64 {
        let [video, _] = self.tracks;
        let time = millis.saturating_add(video.shift);
        match self.steady.newest().max(self.newest()) {
            Some(newest) if time.saturating_sub(newest).saturating_abs() > BACK => newest,
            _ => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs both tracks through `times` of the source and returns what they become.
    fn run(forward: Forward, times: impl IntoIterator<Item = (Side, i64)>) -> (Vec<(Side, i64)>, usize) {
        let mut continuity = Continuity::new(forward);
        let mut jumps = 0;
        let placed = times
            .into_iter()
            .map(|(side, millis)| {
                let (shift, jumped) = continuity.shift(side, millis);
                jumps += usize::from(jumped);
                (side, millis + shift)
            })
            .collect();
        (placed, jumps)
    }

    fn session(from: i64) -> impl Iterator<Item = (Side, i64)> {
        (0..100).flat_map(move |n| [(Side::Video, from + n * 40), (Side::Audio, from + n * 40 + 13)])
    }

    #[test]
    fn an_encoder_that_starts_again_from_zero_goes_on() {
        let (placed, jumps) =
            run(Forward::Live, session(500_000).chain(session(0)).chain(session(9_000_000)));
        assert_eq!(jumps, 4, "each track, each time");
        for side in [Side::Video, Side::Audio] {
            let times: Vec<_> = placed.iter().filter(|(of, _)| *of == side).map(|(_, time)| *time).collect();
            assert!(times.windows(2).all(|pair| (1..=80).contains(&(pair[1] - pair[0]))), "{side:?}");
        }
        // The tracks stay together.
        assert!(placed.chunks(2).all(|pair| (pair[1].1 - pair[0].1).abs() <= 60));
    }

    #[test]
    fn jitter_and_pauses_are_left_alone() {
        let jitter = [0, 40, 20, 80, 600, 120].map(|time| (Side::Video, time));
        assert_eq!(run(Forward::Live, jitter).1, 0);
        let slides = [0, 30_000, 100_000].map(|time| (Side::Video, time));
        assert_eq!(run(Forward::File, slides).1, 0);
        // Video rests for a minute while audio goes on.
        let rests = std::iter::once((Side::Video, 0))
            .chain((0..600).map(|n| (Side::Audio, n * 100)))
            .chain(std::iter::once((Side::Video, 60_000)));
        assert_eq!(run(Forward::Live, rests).1, 0);
    }

    /// Both tracks in step, the pictures at `video` and the sound at `audio` of a clock each; `first` is there for a while before
    /// the other.
    fn two_clocks(first: Side, video: i64, audio: i64) -> Vec<(Side, i64)> {
        let frame = |side, n: i64| (side, n * 40 + if side == Side::Video { video } else { audio });
        let second = if first == Side::Video { Side::Audio } else { Side::Video };
        let alone = (0..3).map(|n| frame(first, n));
        alone.chain((3..100).flat_map(|n| [frame(first, n), frame(second, n)])).collect()
    }

    #[test]
    fn tracks_of_two_clocks_are_brought_together_whichever_comes_first() {
        for apart in [8_000, 60_000, 1_000_000_000, (1 << 31) - 20, 1 << 32, i64::MAX / 4] {
            for (first, video, audio) in [
                (Side::Audio, 0, apart),
                (Side::Video, 0, apart),
                (Side::Audio, apart, 0),
                (Side::Video, apart, 0),
            ] {
                let (placed, jumps) = run(Forward::Live, two_clocks(first, video, audio));
                assert_eq!(jumps, 1, "{first:?} first, {video} and {audio}");
                let pairs = placed[3..].chunks(2);
                assert!(pairs.into_iter().all(|pair| (pair[0].1 - pair[1].1).abs() <= 200), "{placed:?}");
            }
        }
    }

    #[test]
    fn tracks_that_begin_a_little_apart_are_left_alone() {
        for (video, audio) in [(0, 4_000), (4_000, 0)] {
            for first in [Side::Video, Side::Audio] {
                assert_eq!(run(Forward::Live, two_clocks(first, video, audio)).1, 0, "{video} and {audio}");
            }
        }
        // Three seconds of sound come before the first picture, of the same time as the first sound.
        let burst = (0..150).map(|n| (Side::Audio, n * 20)).chain([(Side::Video, 0)]);
        assert_eq!(run(Forward::Live, burst).1, 0);
        // A file's sound may begin a minute into it.
        assert_eq!(run(Forward::File, two_clocks(Side::Video, 0, 60_000)).1, 0);
    }

    #[test]
    fn what_is_shown_goes_on_where_frames_are_reordered_less_behind_a_jump() {
        let mut continuity = Continuity::new(Forward::File);
        // Shown two frames after they are decoded, and by turns.
        for (n, shown) in [80, 240, 160, 120, 200].into_iter().enumerate() {
            assert_eq!(
                continuity.shift_shown(Side::Video, 50_000 + n as i64 * 40, 50_000 + shown),
                (0, false)
            );
        }
        assert_eq!(continuity.shift_shown(Side::Video, 0, 0), (50_280, true));
        assert_eq!(continuity.shift_shown(Side::Video, 40, 40), (50_280, false));
    }

    #[test]
    fn a_track_with_a_new_clock_after_a_long_silence_goes_on_where_the_other_is() {
        let rests = [(Side::Video, 0), (Side::Video, 40)];
        let sound = (0..600).map(|n| (Side::Audio, n * 100));
        let (placed, jumps) =
            run(Forward::Live, rests.into_iter().chain(sound).chain([(Side::Video, 9_000_000)]));
        assert_eq!((placed.last(), jumps), (Some(&(Side::Video, 59_940)), 1));
    }

    #[test]
    fn headers_go_with_the_frames_around_them() {
        let mut continuity = Continuity::new(Forward::Live);
        continuity.shift(Side::Video, 50_000);
        assert_eq!(continuity.place_header(0), 50_000);
        assert_eq!(continuity.place_header(50_040), 50_040);
    }
}
