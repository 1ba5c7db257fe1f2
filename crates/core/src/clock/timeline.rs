//! The one timeline of a stream whose publishers change.
//!
//! Each publisher has a clock of its own. A publisher that comes after another one is moved to where the stream would be by now: the
//! newest time handed over, and the time that has passed since. Times strictly increase over the seam, track by track. What
//! cannot be decoded (frames before their header, pictures before a keyframe) is left out.

use std::time::Instant;

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::configured::Configured;
use crate::event::EventKind;
use crate::ring::Headers;

/// Places the tags of publishers that come one after the other.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// The newest time handed over, in milliseconds, and when that was.
    newest: Option<(i64, Instant)>,
    /// The newest time of video and of audio.
    tracks: [Option<i64>; 2],
    /// By how much the clock of this publisher is moved.
    shift: i64,
    /// What came up to the seam ends here; `None` before the first one.
    floor: Option<i64>,
    /// The next media is the first of another publisher.
    begins: bool,
    /// Pictures are left out until a keyframe.
    skips: bool,
    headers: Headers,
    /// Those of the publisher before that this one has not said yet.
    unsaid: Headers,
    configured: Configured,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            newest: None,
            tracks: [None; 2],
            shift: 0,
            floor: None,
            begins: false,
            skips: true,
            headers: Headers::default(),
            unsaid: Headers::default(),
            configured: Configured::default(),
        }
    }
}

impl Timeline {
    /// Whether anything was handed over.
    pub(crate) fn has_begun(&self) -> bool {
        self.newest.is_some()
    }

    /// What comes next is another publisher's.
    pub(crate) fn change(&mut self) {
        self.configured.change();
        self.skips = true;
        if let Some((newest, _)) = self.newest {
            self.floor = Some(newest);
            (self.begins, self.unsaid) = (true, self.headers.clone());
        }
    }

    /// Headers are handed over again even if the stream has them.
    pub(crate) fn forget_headers(&mut self) {
        (self.headers, self.unsaid) = (Headers::default(), Headers::default());
    }

    /// Moves a tag to where it belongs; `false` if it is to be left out: a header the stream has, or what cannot be decoded.
    pub(crate) fn place(&mut self, now: Instant, tag: &mut Tag) -> bool {
        if !self.configured.admits(tag) {
            return false;
        }
        if tag.is_header() {
            return self.place_header(now, tag);
        }
        self.headers.note_frame(tag);
        self.unsaid.note_frame(tag);
        let millis = tag.timestamp.as_millis();
        if tag.is_script() {
            tag.timestamp = MediaTime::from_millis(self.here(now, millis));
            return true;
        }
        if self.begins {
            self.begins = false;
            self.shift = self.resume_at(now).saturating_sub(millis);
        }
        if tag.is_video() && self.skips {
            if !tag.is_keyframe() {
                return false;
            }
            self.skips = false;
        }
        let mut time = millis.saturating_add(self.shift);
        let track = &mut self.tracks[usize::from(tag.is_audio())];
        // The other track of a publisher may begin a little earlier than the one that came first.
        if let Some(floor) = self.floor.filter(|&floor| time <= floor) {
            time = track.map_or(floor, |last| last.max(floor)).saturating_add(1);
        }
        *track = Some(track.map_or(time, |last| last.max(time)));
        if self.newest.is_none_or(|(newest, _)| newest <= time) {
            self.newest = Some((time, now));
        }
        tag.timestamp = MediaTime::from_millis(time);
        true
    }

    /// Does so with the tags from number `from` on, and takes out those that are to be left out. Headers that have to be made are
    /// put before their keyframes.
    pub(crate) fn place_all(
        &mut self,
        now: Instant,
        tags: &mut Vec<Tag>,
        from: usize,
        notices: &mut Vec<EventKind>,
    ) {
        let (mut kept, mut next) = (from, from);
        while let Some(tag) = tags.get(next) {
            if let Some(header) = self.configured.header_before(tag) {
                tags.insert(next, header);
            }
            let index = next;
            next += 1;
            if tags.get_mut(index).is_some_and(|tag| self.place(now, tag)) {
                tags.swap(kept, index);
                kept += 1;
            }
        }
        tags.truncate(kept);
        notices.extend(self.configured.take_notices());
    }

    fn place_header(&mut self, now: Instant, tag: &mut Tag) -> bool {
        if self.unsaid.take(tag) {
            return false;
        }
        self.unsaid.forget(tag);
        self.headers.note(tag);
        tag.timestamp = MediaTime::from_millis(self.here(now, tag.timestamp.as_millis()));
        true
    }

    /// Where a tag without a time of its own goes.
    fn here(&self, now: Instant, millis: i64) -> i64 {
        if self.begins { self.resume_at(now) } else { millis.saturating_add(self.shift) }
    }

    /// Where the stream would be by now.
    fn resume_at(&self, now: Instant) -> i64 {
        self.newest.map_or(0, |(newest, at)| {
            let passed = now.saturating_duration_since(at).as_millis();
            newest.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX).max(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::TagKind;

    use super::*;

    fn tag(kind: TagKind, millis: i64, body: &'static [u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(millis), Bytes::from_static(body))
    }

    fn key(millis: i64) -> Tag {
        tag(TagKind::Video, millis, &[0x17, 1, 0, 0, 0, 9])
    }

    fn picture(millis: i64) -> Tag {
        tag(TagKind::Video, millis, &[0x27, 1, 0, 0, 0, 9])
    }

    fn sound(millis: i64) -> Tag {
        tag(TagKind::Audio, millis, &[0x2F, 1, 9])
    }

    fn header(body: &'static [u8]) -> Tag {
        tag(TagKind::Video, 0, body)
    }

    const H1: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 31, 0xFF, 0xE1, 0, 1, 0x67, 1, 0, 1, 0x68];
    const H2: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x4D, 0, 31, 0xFF, 0xE1, 0, 1, 0x67, 1, 0, 1, 0x68];

    /// What happens to the tags that come at `now`: times of those that are kept.
    fn place(timeline: &mut Timeline, now: Instant, tags: impl IntoIterator<Item = Tag>) -> Vec<i64> {
        let kept = |mut tag: Tag| timeline.place(now, &mut tag).then(|| tag.timestamp.as_millis());
        tags.into_iter().filter_map(kept).collect()
    }

    #[test]
    fn the_first_publishers_times_are_the_streams() {
        let mut timeline = Timeline::default();
        timeline.change();
        let now = Instant::now();
        let times = place(&mut timeline, now, [header(H1), picture(500), key(540), sound(541), header(H1)]);
        assert_eq!(times, [0, 540, 541, 0], "it begins with a keyframe");
    }

    #[test]
    fn the_next_one_goes_on_after_the_time_that_passed_in_between() {
        let mut timeline = Timeline::default();
        let now = Instant::now();
        place(&mut timeline, now, [header(H1), key(90_000), sound(90_010), picture(90_040)]);
        timeline.change();
        let later = now + Duration::from_secs(7);
        // Its own clock begins anywhere; the other track's first tag may be a little earlier.
        let times = place(&mut timeline, later, [header(H1), sound(23), key(0), picture(40), sound(46)]);
        assert_eq!(times, [97_040, 97_017, 97_057, 97_063], "the same header is not sent again");
    }

    #[test]
    fn times_strictly_increase_however_fast_it_comes() {
        let mut timeline = Timeline::default();
        let now = Instant::now();
        place(&mut timeline, now, [header(H1), key(1000), sound(1010)]);
        timeline.change();
        let times =
            place(&mut timeline, now, [header(H1), sound(60), key(0), sound(61), picture(40), picture(80)]);
        assert_eq!(times, [1011, 1011, 1012, 1012, 1031]);
    }

    #[test]
    fn a_changed_header_is_sent_and_pictures_wait_for_a_keyframe() {
        let mut timeline = Timeline::default();
        let now = Instant::now();
        place(&mut timeline, now, [header(H1), key(0), picture(40)]);
        timeline.change();
        let times =
            place(&mut timeline, now, [header(H2), picture(0), sound(1), picture(40), key(80), header(H2)]);
        assert_eq!(times, [41, 42, 121, 41], "header, sound, keyframe, and a header said twice");
    }

    #[test]
    fn a_header_is_sent_again_after_sound_without_one() {
        let aac = || tag(TagKind::Audio, 0, &[0xAF, 0, 0x12, 0x10]);
        let frame = |millis| tag(TagKind::Audio, millis, &[0xAF, 1, 9]);
        let mut timeline = Timeline::default();
        let now = Instant::now();
        assert_eq!(place(&mut timeline, now, [header(H1), aac(), key(0), frame(1)]), [0, 0, 0, 1]);
        timeline.change();
        assert_eq!(place(&mut timeline, now, [header(H1), key(0), sound(1)]).len(), 2);
        timeline.change();
        let kept = place(&mut timeline, now, [header(H1), aac(), key(0), frame(1)]);
        assert_eq!(kept.len(), 3, "the sound's header is sent, that of the pictures is known: {kept:?}");
    }

    #[test]
    fn a_header_is_put_before_a_keyframe_that_brings_the_parameter_sets() {
        const KEY: &[u8] = &[
            0x17, 1, 0, 0, 0, 0, 0, 0, 8, 0x67, 66, 0xC0, 13, 0xDA, 5, 0x06, 0xC4, 0, 0, 0, 4, 0x68, 0xCE,
            0x3C, 0x80, 0, 0, 0, 2, 0x65, 0x88,
        ];
        let mut timeline = Timeline::default();
        let mut tags = vec![sound(5), header(&[0x17, 0, 0, 0, 0, 1, 66, 0xC0, 13, 0xFF, 0xE0, 0]), sound(10)];
        let keyframe = |millis| tag(TagKind::Video, millis, KEY);
        tags.extend([picture(20), keyframe(40), picture(60), keyframe(80)]);
        timeline.place_all(Instant::now(), &mut tags, 1, &mut Vec::new());
        let placed: Vec<_> =
            tags.iter().map(|tag| (tag.timestamp.as_millis(), tag.is_sequence_header())).collect();
        assert_eq!(placed, [(5, false), (10, false), (40, true), (40, false), (60, false), (80, false)]);
    }

    #[test]
    fn the_header_of_the_publisher_before_does_not_count() {
        let mut timeline = Timeline::default();
        let now = Instant::now();
        place(&mut timeline, now, [header(H1), key(0), picture(40)]);
        timeline.change();
        let times = place(&mut timeline, now, [key(0), picture(40), header(H1), key(80), picture(120)]);
        assert_eq!(times, [41, 81], "the header is known, the frames before it are not passed on");
    }

    /// Every six hours the publisher goes, and comes back some seconds later with a clock that begins anywhere, also near 2^31 and 2^32.
    #[test]
    fn fifty_days_of_publishers_that_come_back_do_not_drift() {
        const CLOCKS: [i64; 6] = [0, -40, (1 << 24) - 9_000, (1 << 31) - 9_000, (1 << 32) - 9_000, 77];
        let (mut timeline, began) = (Timeline::default(), Instant::now());
        let (mut second, mut newest, mut given) = (0, [-1, -1], 0);
        for visit in 0_u64..200 {
            timeline.change();
            let own = CLOCKS[usize::try_from(visit % 6).expect("a small number")];
            let came = second;
            let is_new = timeline.place(began + Duration::from_secs(second), &mut header(H1));
            assert_eq!(is_new, visit == 0, "the stream has the header");
            while second < came + 6 * 3600 {
                let now = began + Duration::from_secs(second);
                let millis = own + i64::try_from((second - came) * 1000).expect("weeks");
                let picture = if second % 4 == 0 || second == came { key(millis) } else { picture(millis) };
                for (track, mut tag) in [picture, sound(millis + 3)].into_iter().enumerate() {
                    assert!(timeline.place(now, &mut tag), "it can be decoded");
                    let time = tag.timestamp.as_millis();
                    assert!(time > newest[track], "{time} after {}", newest[track]);
                    (newest[track], given) = (time, given + 1);
                }
                second += 1;
            }
            second += 1 + visit % 30;
        }
        let last = began + Duration::from_secs(second);
        let clock = i64::try_from(second * 1000).expect("weeks");
        // The sound is three milliseconds behind its picture; the one that comes at a seam finds its place after the pictures'.
        assert!(
            (clock..=clock + 3 * 200).contains(&timeline.resume_at(last)),
            "{}",
            timeline.resume_at(last)
        );
        assert!(clock > 1 << 32 && given == 2 * 200 * 6 * 3600);
    }
}
