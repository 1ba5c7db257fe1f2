//! Where segments are cut.
//!
//! In: when each picture or frame of sound is decoded, and whether decoding can begin with it. Out: where a segment begins. RFC 8216 section 4.3.3.1: no
//! segment, rounded to whole seconds, may be longer than the target duration, which never changes once it is published. On the writer's thread.

use std::collections::VecDeque;

/// Distances of keyframes that are remembered.
const REMEMBERED: usize = 16;
/// The first segment may be this many times as long as the target, because its length can still be published.
const MOST_AT_FIRST: u64 = 3;
/// What rounds down.
const ROUNDS_DOWN_MS: i64 = 500;

/// What happens before a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It goes to the segment that is written.
    None,
    /// A segment begins with it, and decoding can begin there.
    AtKeyframe,
    /// A segment begins with it, because no keyframe came in time.
    Between,
}

/// Lengths of segments.
#[derive(Debug)]
pub(super) struct Cuts {
    /// The length that segments are to have, in seconds.
    target: u64,
    /// The longest that is published, in seconds, once it is.
    published: Option<u64>,
    /// When the segment that is written begins, in milliseconds.
    begin_ms: Option<i64>,
    /// The newest keyframe, and the distances of those before.
    key_ms: Option<i64>,
    distances: VecDeque<i64>,
    /// The newest picture, and the distance to the one before.
    picture_ms: Option<i64>,
    step_ms: i64,
}

impl Cuts {
    /// Segments of `target` seconds; `published`: the target duration that the playlist has already.
    pub(super) fn new(target: u64, published: Option<u64>) -> Self {
        Self {
            target,
            published,
            begin_ms: None,
            key_ms: None,
            distances: VecDeque::with_capacity(REMEMBERED),
            picture_ms: None,
            step_ms: 0,
        }
    }

    /// A segment begins here.
    pub(super) fn begin(&mut self, ms: i64) {
        self.begin_ms = Some(ms);
    }

    /// The segment has ended, and none is written.
    pub(super) fn end(&mut self) {
        (self.begin_ms, self.key_ms, self.picture_ms, self.step_ms) = (None, None, None, 0);
    }

    /// The playlist says a target duration from now on, in seconds.
    pub(super) fn publish(&mut self, seconds: u64) {
        self.published = Some(seconds);
    }

    /// What is shorter than this, in milliseconds, is no longer than the target duration when it is rounded.
    fn limit_ms(&self) -> i64 {
        let seconds = self.published.unwrap_or(self.target * MOST_AT_FIRST);
        i64::try_from(seconds * 1000).unwrap_or(i64::MAX / 2) + ROUNDS_DOWN_MS
    }

    /// Whether a segment that ends here is longer than is published.
    pub(super) fn is_too_long(&self, ms: i64) -> bool {
        self.begin_ms.is_some_and(|begin_ms| ms - begin_ms >= self.limit_ms())
    }

    /// A sample of the track by which segments are cut.
    pub(super) fn main(&mut self, ms: i64, is_key: bool) -> Cut {
        if let Some(before) = self.picture_ms.replace(ms) {
            self.step_ms = ms - before;
        }
        if is_key && let Some(before) = self.key_ms.replace(ms) {
            if self.distances.len() == REMEMBERED {
                self.distances.pop_front();
            }
            self.distances.push_back(ms - before);
        }
        let Some(begin_ms) = self.begin_ms else { return Cut::None };
        let elapsed_ms = ms - begin_ms;
        if is_key && elapsed_ms > 0 {
            // The keyframes of a loop are closer at its seam: what comes next is as long as the longest lately.
            let longest_ms = self.distances.iter().max().copied().unwrap_or(0);
            let target_ms = i64::try_from(self.target * 1000).unwrap_or(i64::MAX / 2);
            let limit_ms = self.limit_ms().min(target_ms + ROUNDS_DOWN_MS);
            if elapsed_ms >= target_ms || elapsed_ms + longest_ms >= limit_ms {
                return Cut::AtKeyframe;
            }
        }
        if elapsed_ms + self.step_ms.max(1) >= self.limit_ms() { self.between(is_key) } else { Cut::None }
    }

    /// A sample of another track, this long: it is cut here if the pictures have stopped.
    pub(super) fn other(&self, ms: i64, length_ms: i64) -> Cut {
        let is_due = self.begin_ms.is_some_and(|begin_ms| ms - begin_ms + length_ms >= self.limit_ms());
        if is_due { Cut::Between } else { Cut::None }
    }

    fn between(&self, is_key: bool) -> Cut {
        if is_key { Cut::AtKeyframe } else { Cut::Between }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of segments of pictures 40 ms apart, with keyframes at these distances in milliseconds, over and over.
    fn lengths(target: u64, distances: &[i64], media_ms: i64) -> Vec<(i64, Cut)> {
        let mut cuts = Cuts::new(target, None);
        let (mut found, mut begin_ms) = (Vec::new(), 0);
        let (mut key_ms, mut next) = (0, distances.iter().cycle());
        for ms in (0..media_ms).step_by(40) {
            let is_key = ms == key_ms;
            if is_key {
                key_ms += next.next().expect("it goes round");
            }
            let cut = cuts.main(ms, is_key);
            if ms == 0 || cut != Cut::None {
                if ms > 0 {
                    found.push((ms - begin_ms, cut));
                    cuts.publish(
                        target.max(u64::try_from((ms - begin_ms + 500) / 1000).expect("it is positive")),
                    );
                }
                begin_ms = ms;
                cuts.begin(ms);
            }
        }
        found
    }

    #[test]
    fn segments_are_whole_groups_of_pictures_up_to_the_target() {
        for (target, distance, length) in [
            (4, 2000, 4000),
            (4, 4000, 4000),
            (4, 1000, 4000),
            (4, 480, 4320),
            (4, 3000, 3000),
            (2, 2000, 2000),
            (6, 2000, 6000),
        ] {
            let found = lengths(target, &[distance], 120_000);
            assert!(
                found.iter().skip(1).all(|found| *found == (length, Cut::AtKeyframe)),
                "{distance}: {found:?}"
            );
        }
    }

    #[test]
    fn a_seam_of_a_loop_makes_a_segment_shorter_and_none_too_long() {
        // Loops of 9.4 s and of 5 s, with a keyframe each 2 s.
        for distances in [&[2000, 2000, 2000, 2000, 1400][..], &[2000, 2000, 1000], &[2000, 40]] {
            let found = lengths(4, distances, 600_000);
            assert!(
                found.iter().skip(1).all(|(ms, cut)| (1000..4500).contains(ms) && *cut == Cut::AtKeyframe),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_first_group_may_be_longer_than_the_target_and_says_how_long_all_may_be() {
        let found = lengths(4, &[10_000], 120_000);
        assert!(found.iter().all(|found| *found == (10_000, Cut::AtKeyframe)), "{found:?}");
        // Then no other one is longer.
        let found = lengths(4, &[10_000, 10_000, 14_000], 120_000);
        assert!(found.iter().all(|(ms, _)| *ms < 10_500), "{found:?}");
        assert!(found.iter().any(|(_, cut)| *cut == Cut::Between));
    }

    #[test]
    fn without_keyframes_segments_are_cut_all_the_same() {
        let found = lengths(4, &[i64::MAX / 2], 120_000);
        assert_eq!(found.first(), Some(&(12_480, Cut::Between)));
        assert!(found.iter().all(|(ms, cut)| *ms < 12_500 && *cut == Cut::Between), "{found:?}");
        // Nor with pictures that stop.
        let mut cuts = Cuts::new(4, Some(4));
        cuts.begin(0);
        assert_eq!(
            (cuts.main(0, true), cuts.other(4000, 21), cuts.other(4480, 21)),
            (Cut::None, Cut::None, Cut::Between)
        );
    }
}
