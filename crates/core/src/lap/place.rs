//! Puts tags of an item on the clock of a stream.
//!
//! A [`Placement`] says everything that is done to a batch of tags, so that the same batch can be made a second time for an
//! output that was behind.

use bytes::Bytes;
use flowcast_rtmp::flv::data;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use super::Unit;
use super::others::OtherPlace;

/// What is done to one batch of an item's tags.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    /// What happens to the video; `None` leaves it out.
    pub(crate) video: Option<VideoPlace>,
    /// What happens to the audio; `None` leaves it out.
    pub(crate) audio: Option<AudioPlace>,
    /// What happens to sound beside the first; `None` where there is none.
    pub(crate) others: Option<OtherPlace>,
}

/// Where video goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VideoPlace {
    /// Milliseconds it is moved on by.
    pub(crate) shift: i64,
    /// Frames before this, on the item's clock, are left out.
    pub(crate) from: i64,
    /// The time of the last frame before, on the stream's clock: times strictly increase.
    pub(crate) after: i64,
}

/// Where audio goes. Its frames have numbers: 0 is the item's first after the priming, whose frames are negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AudioPlace {
    /// Milliseconds it is moved on by.
    pub(crate) shift: i64,
    /// The numbers of frames.
    pub(crate) grid: Grid,
    /// Frames with smaller numbers are left out.
    pub(crate) from: i64,
    /// Frames with this number and greater ones are left out.
    pub(crate) until: i64,
    /// The time of the last frame before, on the stream's clock: times strictly increase.
    pub(crate) after: i64,
}

/// Numbers the frames of an audio track by their times, which are rounded to milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The time of frame 0 on the item's clock, in milliseconds.
    pub(crate) first: i64,
    /// Samples per second.
    pub(crate) rate: u32,
    /// Samples of a frame.
    pub(crate) frame: u32,
}

impl Grid {
    /// The number of the frame at `millis` of the item's clock.
    pub(crate) fn number(&self, millis: i64) -> i64 {
        let frame = Unit { num: self.frame.max(1), den: self.rate.max(1) };
        Unit::MILLIS.to(millis.saturating_sub(self.first), frame)
    }

    /// Where frame `number` begins on the item's clock, in milliseconds.
    fn millis(&self, number: i64) -> i64 {
        let samples = number.saturating_mul(i64::from(self.frame));
        self.first.saturating_add(Unit::sample(self.rate).to_millis(samples))
    }
}

impl Placement {
    /// Places the tags from number `from` on; says whether sequence headers are among those that are left.
    pub(crate) fn apply(&self, tags: &mut Vec<Tag>, from: usize) -> bool {
        let (mut video, mut audio, mut others) = (self.video, self.audio, self.others.clone());
        let (mut kept, mut headers) = (from, false);
        for number in from..tags.len() {
            let tag = &mut tags[number];
            let (millis, is_header) = (tag.timestamp.as_millis(), tag.is_sequence_header());
            let other = others.as_mut().filter(|_| tag.is_audio()).map(|place| (place, tag.track()));
            let time = if tag.is_script() {
                self.others.as_ref().filter(|_| data::is_data(tag)).and_then(|place| place.place_data(millis))
            } else if let Some((place, track)) = other.filter(|(_, track)| *track != 0) {
                place.place(track, tag, millis)
            } else {
                match (tag.kind, &mut video, &mut audio) {
                    (TagKind::Video, Some(place), _) => place.place(millis, is_header),
                    (TagKind::Audio, _, Some(place)) => place.place(millis, is_header),
                    // Its first frame is still to come.
                    (TagKind::Audio, Some(video), None) if is_header => Some(millis + video.shift),
                    _ => None,
                }
            };
            if let Some(time) = time {
                headers |= is_header;
                tag.timestamp = MediaTime::from_millis(time);
                tags.swap(kept, number);
                kept += 1;
            }
        }
        tags.truncate(kept);
        headers
    }
}

impl VideoPlace {
    fn place(&mut self, millis: i64, is_header: bool) -> Option<i64> {
        // A header holds for what follows, also where the frames right behind it are left out.
        if millis < self.from && !is_header {
            return None;
        }
        Some(after(millis.max(self.from) + self.shift, &mut self.after, is_header))
    }
}

impl AudioPlace {
    fn place(&mut self, millis: i64, is_header: bool) -> Option<i64> {
        let number = self.grid.number(millis);
        if number >= self.until {
            return None;
        }
        let millis = match number < self.from {
            false => millis,
            true if is_header => self.grid.millis(self.from),
            true => return None,
        };
        Some(after(millis + self.shift, &mut self.after, is_header))
    }
}

/// `time`, or the least one behind `last`. A header has the time of the frame it precedes.
fn after(time: i64, last: &mut i64, is_header: bool) -> i64 {
    let time = time.max(last.saturating_add(1));
    if !is_header {
        *last = time;
    }
    time
}

/// A row of equal audio frames where the item has none.
#[derive(Debug, Clone)]
pub(crate) struct Fill {
    /// Where the first of them begins, in samples of the stream's clock.
    pub(crate) begin: i64,
    /// How many.
    pub(crate) count: i64,
    /// Samples per second.
    pub(crate) rate: u32,
    /// Samples of a frame.
    pub(crate) frame: u32,
    /// Each of them.
    pub(crate) body: Bytes,
}

impl Fill {
    /// Adds the frames.
    pub(crate) fn add(&self, tags: &mut Vec<Tag>) {
        let samples = Unit::sample(self.rate);
        tags.extend((0..self.count).map(|number| {
            let at = samples.to_millis(self.begin + number * i64::from(self.frame));
            Tag::from_wire(TagKind::Audio, MediaTime::from_millis(at), self.body.clone())
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: TagKind, ms: i64) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from_static(&[0x27, 1, 0, 0, 0, 9]))
    }

    fn times(tags: &[Tag], kind: TagKind) -> Vec<i64> {
        tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp.as_millis()).collect()
    }

    #[test]
    fn numbers_follow_from_rounded_times_for_hours() {
        for (rate, frame) in [(44_100, 1024), (48_000, 1024), (96_000, 1024), (22_050, 1024), (44_100, 1152)]
        {
            let grid = Grid { first: 23, rate, frame };
            for number in (-2..1_000_000).step_by(997) {
                let millis = 23 + Unit::sample(rate).to_millis(number * i64::from(frame));
                for jitter in [-1, 0, 1] {
                    assert_eq!(grid.number(millis + jitter), number);
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_is_left_out_and_times_strictly_increase() {
        let mut tags = vec![tag(TagKind::Script, 0)];
        for ms in (0..200).step_by(20) {
            tags.extend([tag(TagKind::Video, ms), tag(TagKind::Audio, ms)]);
        }
        let placement = Placement {
            video: Some(VideoPlace { shift: 1000, from: 40, after: 1045 }),
            audio: Some(AudioPlace {
                shift: 990,
                grid: Grid { first: 20, rate: 48_000, frame: 960 },
                from: 0,
                until: 4,
                after: i64::MIN,
            }),
            others: None,
        };
        placement.apply(&mut tags, 1);
        assert_eq!(times(&tags, TagKind::Video), [1046, 1060, 1080, 1100, 1120, 1140, 1160, 1180]);
        assert_eq!(times(&tags, TagKind::Audio), [1010, 1030, 1050, 1070]);
        assert_eq!(tags[0].kind, TagKind::Script, "what was there before is not touched");
        let mut gone = tags.clone();
        assert!(!Placement::default().apply(&mut gone, 1));
        assert_eq!(gone.len(), 1);
    }

    #[test]
    fn a_header_is_kept_where_the_frames_behind_it_are_left_out() {
        let header =
            |kind, body, ms| Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from_static(body));
        let (avc, aac) = ([0x17, 0, 0, 0, 0, 1].as_slice(), [0xAF, 0, 0x12, 0x10].as_slice());
        let mut tags = vec![header(TagKind::Video, avc, 20), header(TagKind::Audio, aac, 20)];
        for ms in (20..100).step_by(20) {
            tags.extend([tag(TagKind::Video, ms), tag(TagKind::Audio, ms)]);
        }
        let grid = Grid { first: 20, rate: 48_000, frame: 960 };
        let video = Some(VideoPlace { shift: 1000, from: 60, after: 1010 });
        let audio = AudioPlace { shift: 1000, grid, from: 2, until: 3, after: 1010 };
        let mut placed = tags.clone();
        assert!(Placement { video, audio: Some(audio), others: None }.apply(&mut placed, 0));
        assert_eq!(times(&placed, TagKind::Video), [1060, 1060, 1080]);
        assert_eq!(times(&placed, TagKind::Audio), [1060, 1060]);
        assert!(placed[0].is_sequence_header() && placed[1].is_sequence_header());
        // The sound's header may come before its first frame is known.
        tags.retain(|tag| tag.is_sequence_header());
        assert!(Placement { video, audio: None, others: None }.apply(&mut tags, 0));
        assert_eq!(times(&tags, TagKind::Audio), [1020]);
        // Behind the last frame of a lap it is not needed any more.
        let mut late = vec![header(TagKind::Audio, aac, 200)];
        assert!(!Placement { video, audio: Some(audio), others: None }.apply(&mut late, 0));
    }

    #[test]
    fn a_fill_is_a_row_without_a_gap() {
        let fill = Fill {
            begin: 1024,
            count: 3,
            rate: 48_000,
            frame: 1024,
            body: Bytes::from_static(&[0xAF, 1, 0x21]),
        };
        let mut tags = Vec::new();
        fill.add(&mut tags);
        assert_eq!(times(&tags, TagKind::Audio), [21, 43, 64]);
    }
}
