//! Sound that is mixed goes on while the source's own does not come.
//!
//! In: the times of packets, and how far sound has come. Out: the silence that stands for what is missing, so that a publisher without a
//! microphone, or one whose microphone fails, holds nothing up.

use flowcast_av::{Codec, MediaInfo, TimeBase, TrackInfo, TrackKind};

/// How far sound may be behind the picture before it is taken as missing, in milliseconds.
const LATE: i64 = 500;
/// The longest silence that is made at once.
const LONGEST: i64 = 10_000;

/// What is known of sound that is missing.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// When the picture began.
    begun: Option<i64>,
    /// It is missing now: pictures do not wait for it again until it is back.
    missing: bool,
}

impl Unheard {
    /// Sound came for `at`; what came before it ends at `ends`.
    pub(super) fn heard(&mut self, at: i64, ends: Option<i64>) {
        self.missing &= ends.is_some_and(|ends| at < ends);
    }

    /// A picture came for `at`: the silence that is to stand for sound until then, from and to, if any. `comes` says whether the source
    /// has sound at all.
    pub(super) fn silence_at(&mut self, at: i64, ends: Option<i64>, comes: bool) -> Option<(i64, i64)> {
        let begun = *self.begun.get_or_insert(at);
        let from = ends.unwrap_or(begun).max(at - LONGEST);
        let patience = if comes && !self.missing { LATE } else { 0 };
        if at - from <= patience {
            return None;
        }
        self.missing = true;
        Some((from, at))
    }
}

/// A track that is silent, beside those there are.
pub(super) fn track_of_silence(media: &MediaInfo) -> TrackInfo {
    let index = media.tracks.iter().map(|track| track.index + 1).max().unwrap_or(0);
    TrackInfo::new(index, TrackKind::Audio, Codec::Aac, TimeBase::MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_missed_after_half_a_second_and_then_at_once_until_it_is_back() {
        let mut unheard = Unheard::default();
        assert_eq!(unheard.silence_at(1000, None, true), None);
        assert_eq!(unheard.silence_at(1480, None, true), None, "it may still come");
        assert_eq!(unheard.silence_at(1520, None, true), Some((1000, 1520)));
        assert_eq!(unheard.silence_at(1560, Some(1520), true), Some((1520, 1560)), "nobody waits again");
        unheard.heard(1500, Some(1560));
        assert_eq!(unheard.silence_at(1600, Some(1560), true), Some((1560, 1600)), "that was too late");
        unheard.heard(1600, Some(1600));
        assert_eq!(unheard.silence_at(1640, Some(1600), true), None, "it is back");
        assert_eq!(unheard.silence_at(90_000, Some(1600), true), Some((80_000, 90_000)));
    }

    #[test]
    fn without_sound_there_is_silence_at_once() {
        let mut unheard = Unheard::default();
        assert_eq!(unheard.silence_at(0, None, false), None);
        assert_eq!(unheard.silence_at(40, None, false), Some((0, 40)));
    }
}
