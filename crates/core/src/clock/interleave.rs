//! Puts the packets of two tracks into one order of time.
//!
//! A container may give a second of video and then a second of audio; a player wants them side by side. Video is held
//! back a little for audio that is late; audio is held back longer for video, because the end of the video is the end of
//! a lap and audio beyond it must not have been sent.

use std::collections::VecDeque;
use std::time::Duration;

use flowcast_rtmp::flv::tag::{Tag, TagKind};

/// A tag and, for audio, its exact time in samples on the loop's clock.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    /// The tag.
    pub(crate) tag: Tag,
    /// The exact time, in the track's own unit.
    pub(crate) exact: i64,
}

/// How much of one track waits for the other.
#[derive(Debug, Clone, Copy)]
struct Patience {
    media: Duration,
    bytes: usize,
}

const VIDEO_FOR_AUDIO: Patience = Patience { media: Duration::from_secs(1), bytes: 4 << 20 };
const AUDIO_FOR_VIDEO: Patience = Patience { media: Duration::from_secs(60), bytes: 8 << 20 };
/// Of a live source, whose other track may have stopped.
const AUDIO_FOR_LIVE_VIDEO: Patience = Patience { media: Duration::from_secs(2), bytes: 8 << 20 };

#[derive(Debug, Default)]
struct Track {
    tags: VecDeque<Timed>,
    bytes: usize,
    /// Whether tags of this track are to be waited for.
    expected: bool,
}

impl Track {
    fn is_over(&self, patience: Patience) -> bool {
        let span = match (self.tags.front(), self.tags.back()) {
            (Some(first), Some(last)) => last.tag.timestamp.millis_since(first.tag.timestamp),
            _ => 0,
        };
        self.bytes >= patience.bytes || u128::try_from(span).unwrap_or(0) >= patience.media.as_millis()
    }
}

/// Orders video and audio tags by their timestamp.
#[derive(Debug)]
pub(crate) struct Interleaver {
    video: Track,
    audio: Track,
    audio_for_video: Patience,
}

impl Interleaver {
    /// Waits for tags of the kinds that are said to come.
    pub(crate) fn new(video: bool, audio: bool) -> Self {
        let track = |expected| Track { expected, ..Track::default() };
        Self { video: track(video), audio: track(audio), audio_for_video: AUDIO_FOR_VIDEO }
    }

    /// The same for a live source, where audio does not wait for long.
    pub(crate) fn live(video: bool, audio: bool) -> Self {
        Self { audio_for_video: AUDIO_FOR_LIVE_VIDEO, ..Self::new(video, audio) }
    }

    /// Takes a tag.
    pub(crate) fn push(&mut self, tag: Tag, exact: i64) {
        let track = if tag.kind == TagKind::Audio { &mut self.audio } else { &mut self.video };
        track.bytes += tag.body.len();
        track.tags.push_back(Timed { tag, exact });
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.video.bytes + self.audio.bytes
    }

    /// The latest audio tag that still waits, if `take` says so.
    pub(crate) fn take_back_audio_if(&mut self, take: impl FnOnce(&Timed) -> bool) -> Option<Timed> {
        self.audio.tags.back().is_some_and(take).then(|| self.audio.tags.pop_back()).flatten().inspect(
            |timed| {
                self.audio.bytes = self.audio.bytes.saturating_sub(timed.tag.body.len());
            },
        )
    }

    /// When the next picture is, in milliseconds, if it goes out without sound, which did not come in time.
    pub(crate) fn video_alone(&self) -> Option<i64> {
        let video = self.video.tags.front().filter(|_| self.audio.expected && self.audio.tags.is_empty())?;
        self.video.is_over(VIDEO_FOR_AUDIO).then(|| video.tag.timestamp.as_millis())
    }

    /// The next tag in order, once it is certain or has waited long enough.
    pub(crate) fn pull(&mut self) -> Option<Tag> {
        match (self.video.tags.front(), self.audio.tags.front()) {
            (Some(video), Some(audio)) => {
                let video_first = video.tag.timestamp <= audio.tag.timestamp;
                self.take(video_first)
            }
            (Some(_), None) if !self.audio.expected || self.video.is_over(VIDEO_FOR_AUDIO) => self.take(true),
            (None, Some(_)) if !self.video.expected || self.audio.is_over(self.audio_for_video) => {
                self.take(false)
            }
            _ => None,
        }
    }

    /// The next tag in order when nothing more will come for now.
    pub(crate) fn flush(&mut self) -> Option<Tag> {
        self.pull().or_else(|| self.take(!self.video.tags.is_empty()))
    }

    fn take(&mut self, video: bool) -> Option<Tag> {
        let track = if video { &mut self.video } else { &mut self.audio };
        let timed = track.tags.pop_front()?;
        track.bytes = track.bytes.saturating_sub(timed.tag.body.len());
        Some(timed.tag)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    fn tag(kind: TagKind, ms: i64) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from_static(&[0x27, 1, 0, 0, 0, 9]))
    }

    fn drain(interleaver: &mut Interleaver) -> Vec<(TagKind, i64)> {
        std::iter::from_fn(|| interleaver.pull()).map(|tag| (tag.kind, tag.timestamp.as_millis())).collect()
    }

    #[test]
    fn a_second_of_video_before_a_second_of_audio_comes_out_in_order() {
        let mut interleaver = Interleaver::new(true, true);
        for ms in (0..900).step_by(40) {
            interleaver.push(tag(TagKind::Video, ms), 0);
        }
        assert!(drain(&mut interleaver).is_empty());
        for ms in (0..900).step_by(21) {
            interleaver.push(tag(TagKind::Audio, ms), 0);
        }
        let order = drain(&mut interleaver);
        assert!(order.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{order:?}");
    }

    #[test]
    fn audio_that_never_comes_delays_video_by_a_second_only() {
        let mut interleaver = Interleaver::new(true, true);
        for ms in (0..5000).step_by(40) {
            interleaver.push(tag(TagKind::Video, ms), 0);
        }
        let sent = drain(&mut interleaver);
        assert_eq!(sent.last().map(|last| last.1), Some(3960));
    }

    #[test]
    fn audio_beyond_the_end_of_the_video_waits_for_the_lap_to_end() {
        let mut interleaver = Interleaver::new(true, true);
        interleaver.push(tag(TagKind::Video, 0), 0);
        for ms in (0..30_000).step_by(21) {
            interleaver.push(tag(TagKind::Audio, ms), 0);
        }
        assert_eq!(drain(&mut interleaver), [(TagKind::Video, 0)]);
        assert!(interleaver.flush().is_some());
    }
}
