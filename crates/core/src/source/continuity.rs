//! Keeps the time of a source running where its own clock jumps.
//!
//! A live encoder that restarts, or a file that was joined from two, goes back to an earlier time or leaps ahead. Whoever
//! receives the stream would drop what is "old" or wait for what is "early"; here the jump is taken out.

use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

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
}

/// The time of one track.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    shift: i64,
    last: Option<i64>,
    spacing: i64,
    /// Until when what has come is shown or heard, if that is told.
    end: Option<i64>,
}

/// The times of a video and an audio track that belong together.
#[derive(Debug, Clone)]
pub struct Continuity {
    tracks: [Track; 2],
    forward: Forward,
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
        Self { tracks: [Track::default(); 2], forward }
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
            let time = millis + shift;
            track.last.is_none_or(|last| time >= last - BACK)
                && newest.is_none_or(|newest| time <= newest + self.forward.millis())
        };
        let jumped = !fits(track.shift);
        if jumped {
            // The other track may have been through the same jump: they stay together then.
            let after_last = match (shown, track.end.max(other.end)) {
                (Some(shown), Some(end)) => end.saturating_sub(shown),
                _ => track.last.or(newest).map_or(0, |last| last + track.spacing.max(1) - millis),
            };
            track.shift = if fits(other.shift) { other.shift } else { after_last };
        }
        let time = millis + track.shift;
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

    /// Moves a tag of a live source to where it belongs, and says so if the clock has just jumped.
    pub fn mend(&mut self, tag: &mut Tag) -> Option<EventKind> {
        let millis = tag.timestamp.as_millis();
        let side = match tag.kind {
            TagKind::Video if !tag.is_sequence_header() => Side::Video,
            TagKind::Audio if !tag.is_sequence_header() => Side::Audio,
            _ => {
                tag.timestamp = MediaTime::from_millis(self.place_header(millis));
                return None;
            }
        };
        let before = self.tracks[usize::from(side == Side::Audio)].shift;
        let (shift, jumped) = self.shift(side, millis);
        tag.timestamp = MediaTime::from_millis(millis.saturating_add(shift));
        jumped.then_some(EventKind::ClockJumped { millis: before - shift })
    }

    /// Where a tag without a time of its own (a header, metadata) belongs: with what came last, if it is out of place.
    #[must_use]
    pub fn place_header(&self, millis: i64) -> i64 {
        let [video, audio] = self.tracks;
        let time = millis + video.shift;
        match video.last.max(audio.last) {
            Some(newest) if (time - newest).abs() > BACK => newest,
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
    fn headers_go_with_the_frames_around_them() {
        let mut continuity = Continuity::new(Forward::Live);
        continuity.shift(Side::Video, 50_000);
        assert_eq!(continuity.place_header(0), 50_000);
        assert_eq!(continuity.place_header(50_040), 50_040);
    }
}
