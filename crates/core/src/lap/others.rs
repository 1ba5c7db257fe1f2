//! Sound beside the first, and timed data, on the clock of a stream.
//!
//! In: frames of tracks 1, 2 and so on, and data, on the item's clock. Out: the same on the stream's. They go along with the picture: where laps and
//! items meet, a frame is left out once the sound before it is half a frame too long, and nothing is put where it is too short.

use flowcast_rtmp::flv::asc::AudioSpecificConfig;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::coded::{Part, coded_track};
use flowcast_rtmp::flv::data;
use flowcast_rtmp::flv::opus;
use flowcast_rtmp::flv::tag::{Codec, Tag};

use super::Unit;
use super::place::VideoPlace;

/// What was sent of these tracks: rows of frames, one for each.
#[derive(Debug, Clone, Default)]
pub(crate) struct OtherRows {
    rows: Vec<Row>,
    /// There is data.
    has_data: bool,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    track: u8,
    /// Samples a second, and those of a frame; 0 where frames say it themselves.
    rate: u32,
    frame: u32,
    /// Where the frame begins that follows without a gap, in samples of the stream's clock.
    next: Option<i64>,
}

/// Where they go.
#[derive(Debug, Clone)]
pub(crate) struct OtherPlace {
    /// Where the picture goes.
    pub(crate) video: VideoPlace,
    /// What was sent before.
    pub(crate) rows: OtherRows,
}

impl OtherRows {
    /// The sequence header of a track, or the announcement of data. What has neither has no place.
    pub(crate) fn note_header(&mut self, header: &Tag) {
        self.has_data |= data::is_data(header);
        let track = header.track();
        let Some(coded) = coded_track(header, track) else { return };
        let (rate, frame) = match (coded.codec, coded.part) {
            (Codec::Audio(AudioCodec::Aac), Part::Config(config)) => {
                let Ok(config) = AudioSpecificConfig::parse(&config) else { return };
                (config.sample_rate_hz, u32::from(config.frame_samples))
            }
            (Codec::Audio(AudioCodec::Opus), _) => (opus::RATE_HZ, 0),
            _ => return,
        };
        match self.rows.iter_mut().find(|row| row.track == track) {
            Some(row) => {
                row.next = row.next.map(|next| Unit::sample(row.rate).to(next, Unit::sample(rate)));
                (row.rate, row.frame) = (rate, frame);
            }
            None => self.rows.push(Row { track, rate, frame, next: None }),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.has_data
    }

    /// Whether a frame of `track` goes at `millis` of the stream's clock; if it does, it is the newest.
    pub(crate) fn take(&mut self, track: u8, frame: &Tag, millis: i64) -> bool {
        let Some(row) = self.rows.iter_mut().find(|row| row.track == track) else { return false };
        let frame = i64::from(if row.frame == 0 { opus_samples(frame, track) } else { row.frame });
        let at = Unit::MILLIS.to(millis, Unit::sample(row.rate));
        let begin = match row.next {
            Some(next) if next - at > frame / 2 => return false,
            // A hole of its own is not closed.
            Some(next) if at - next < frame => next,
            _ => at,
        };
        row.next = Some(begin + frame);
        true
    }
}

impl OtherPlace {
    /// Where data goes that is at `millis` of the item's clock, if it goes anywhere.
    pub(super) fn place_data(&self, millis: i64) -> Option<i64> {
        (millis >= self.video.from).then(|| millis.saturating_add(self.video.shift))
    }

    /// Where a tag of `track` goes that is at `millis` of the item's clock, if it goes anywhere.
    pub(super) fn place(&mut self, track: u8, tag: &Tag, millis: i64) -> Option<i64> {
        let VideoPlace { shift, from, .. } = self.video;
        let time = millis.max(from).saturating_add(shift);
        if tag.is_sequence_header() {
            return Some(time);
        }
        (millis >= from && self.rows.take(track, tag, time)).then_some(time)
    }
}

fn opus_samples(tag: &Tag, track: u8) -> u32 {
    let coded = coded_track(tag, track);
    let samples = coded.and_then(|coded| match coded.part {
        Part::Frames { data, .. } => opus::packet_samples(&data),
        Part::Config(_) => None,
    });
    samples.unwrap_or(opus::USUAL_SAMPLES)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::enhanced;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    /// AAC-LC of 48 kHz.
    fn header(track: u8) -> Tag {
        let tag =
            enhanced::audio_sequence_start(*b"mp4a", Bytes::from_static(&[0x11, 0x90]), MediaTime::ZERO);
        enhanced::on_track(&tag, track).expect("it has an extended header")
    }

    fn frame(track: u8) -> Tag {
        let tag = enhanced::audio_frame(*b"mp4a", MediaTime::ZERO, Bytes::from_static(b"sound"));
        enhanced::on_track(&tag, track).expect("it has an extended header")
    }

    fn place(shift: i64, from: i64, rows: &OtherRows) -> OtherPlace {
        OtherPlace { video: VideoPlace { shift, from, after: i64::MIN }, rows: rows.clone() }
    }

    /// Frames of 1024 samples, in laps of `lap` milliseconds of picture.
    fn laps(lap: i64, count: i64) -> Vec<i64> {
        let (mut rows, tag) = (OtherRows::default(), frame(1));
        rows.note_header(&header(1));
        let mut sent = Vec::new();
        for number in 0..count {
            let mut place = place(number * lap, i64::MIN, &rows);
            let times = (0..).map(|frame| frame * 64 / 3).take_while(|time| *time < lap);
            let placed: Vec<_> = times.filter_map(|time| place.place(1, &tag, time)).collect();
            assert!(placed.iter().all(|time| rows.take(1, &tag, *time)), "what was placed is placed again");
            sent.extend(placed);
        }
        sent
    }

    #[test]
    fn where_laps_meet_nothing_adds_up() {
        for lap in [1000, 1010, 997, 4004, 40] {
            let sent = laps(lap, 500);
            let steps: Vec<_> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(steps.iter().all(|step| (1..=43).contains(step)), "{lap}: {steps:?}");
            // As many as there is time for.
            let (frames, all) = (i64::try_from(sent.len()).expect("a few"), 500 * lap * 3 / 64);
            assert!((frames - all).abs() <= 2, "{lap}: {frames} of {all}");
        }
    }

    #[test]
    fn tracks_have_rows_of_their_own_and_what_comes_before_the_picture_is_left_out() {
        let mut rows = OtherRows::default();
        assert!(rows.is_empty());
        for track in [1, 2] {
            rows.note_header(&header(track));
        }
        let mut place = place(1000, 40, &rows);
        assert_eq!(place.place(1, &frame(1), 39), None);
        assert_eq!(place.place(1, &header(1), 0), Some(1040));
        assert_eq!(place.place(1, &frame(1), 40), Some(1040));
        assert_eq!(place.place(2, &frame(2), 40), Some(1040));
        assert_eq!(place.place(1, &frame(1), 40), None);
        assert_eq!((place.place_data(39), place.place_data(40)), (None, Some(1040)));
        // One that was never announced.
        assert_eq!(place.place(3, &frame(3), 60), None);
    }
}
