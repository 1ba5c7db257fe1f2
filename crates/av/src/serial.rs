//! How media and encoders look as JSON and the like (feature `serde`).
//!
//! In: what was found of an input or an encoder. Out: any serde format. Lengths of time are seconds, with fractions down to a
//! microsecond, in fields that end in `_seconds`; rates are bits per second; codecs and kinds are words. What a picture or sound
//! has stands among the fields of its track.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{AudioInfo, EncoderReport, MediaInfo, TrackInfo, VideoInfo};

/// `format`, `duration_seconds`, `bit_rate`, `tracks`.
impl Serialize for MediaInfo {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        MediaView::from(self).serialize(to)
    }
}

/// What is known of the track; a picture's `width`, `height`, `frame_rate`, `pixel_format`, `reorder_frames` and
/// `rotation_degrees`; sound's `sample_rate`, `channels`, `layout`, `frame_samples` and `priming_samples`.
impl Serialize for TrackInfo {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        TrackView::from(self).serialize(to)
    }
}

/// `name`, `hardware`, `compiled_in`, `works`, `full`, `sessions`, and `why_not` if it does not work.
impl Serialize for EncoderReport {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        EncoderView::from(self).serialize(to)
    }
}

fn seconds(length: Duration) -> f64 {
    rounded(length.as_secs_f64())
}

/// To a millionth.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[derive(Serialize)]
struct MediaView {
    format: String,
    duration_seconds: Option<f64>,
    bit_rate: Option<u64>,
    tracks: Vec<TrackView>,
}

impl From<&MediaInfo> for MediaView {
    fn from(media: &MediaInfo) -> Self {
        Self {
            format: media.format.clone(),
            duration_seconds: media.duration.map(seconds),
            bit_rate: media.bit_rate,
            tracks: media.tracks.iter().map(TrackView::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct TrackView {
    index: usize,
    kind: String,
    codec: String,
    time_base: String,
    start_seconds: Option<f64>,
    duration_seconds: Option<f64>,
    bit_rate: Option<u64>,
    frames: Option<u64>,
    level: Option<u32>,
    has_config: bool,
    default: bool,
    cover_art: bool,
    programs: Vec<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(flatten)]
    video: Option<VideoView>,
    #[serde(flatten)]
    audio: Option<AudioView>,
}

impl From<&TrackInfo> for TrackView {
    fn from(track: &TrackInfo) -> Self {
        let seconds = |ticks| rounded(track.time_base.seconds(ticks));
        Self {
            index: track.index,
            kind: format!("{:?}", track.kind).to_lowercase(),
            codec: track.codec.name().to_owned(),
            time_base: format!("{}/{}", track.time_base.num, track.time_base.den),
            start_seconds: track.start.map(seconds),
            duration_seconds: track.duration.map(seconds),
            bit_rate: track.bit_rate,
            frames: track.frames,
            level: track.level,
            has_config: track.config.is_some(),
            default: track.default,
            cover_art: track.attached_picture,
            programs: track.programs.clone(),
            profile: track.profile.clone(),
            language: track.language.clone(),
            video: track.video.as_ref().map(VideoView::from),
            audio: track.audio.as_ref().map(AudioView::from),
        }
    }
}

#[derive(Serialize)]
struct VideoView {
    width: u32,
    height: u32,
    frame_rate: Option<f64>,
    pixel_format: String,
    reorder_frames: u32,
    rotation_degrees: u16,
}

impl From<&VideoInfo> for VideoView {
    fn from(video: &VideoInfo) -> Self {
        Self {
            width: video.width,
            height: video.height,
            frame_rate: video.frame_rate.map(|rate| rounded(rate.as_f64())),
            pixel_format: video.pixel_format.clone(),
            reorder_frames: video.b_frames,
            rotation_degrees: video.rotation_degrees,
        }
    }
}

#[derive(Serialize)]
struct AudioView {
    sample_rate: u32,
    channels: u32,
    layout: String,
    frame_samples: u32,
    priming_samples: u32,
}

impl From<&AudioInfo> for AudioView {
    fn from(audio: &AudioInfo) -> Self {
        Self {
            sample_rate: audio.sample_rate,
            channels: audio.channels,
            layout: audio.layout.clone(),
            frame_samples: audio.frame_samples,
            priming_samples: audio.priming_samples,
        }
    }
}

#[derive(Serialize)]
struct EncoderView {
    name: String,
    hardware: bool,
    compiled_in: bool,
    works: bool,
    full: bool,
    sessions: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

impl From<&EncoderReport> for EncoderView {
    fn from(encoder: &EncoderReport) -> Self {
        Self {
            name: encoder.name.clone(),
            hardware: encoder.is_hardware,
            compiled_in: encoder.compiled_in,
            works: encoder.opens.is_ok(),
            full: encoder.is_full,
            sessions: encoder.sessions,
            why_not: encoder.opens.as_ref().err().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Codec, ColorInfo, FieldOrder, Ratio, TimeBase, TrackKind};

    #[test]
    fn a_track_has_its_picture_among_its_fields() {
        let mut track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
        track.duration = Some(1500);
        track.video = Some(VideoInfo {
            width: 640,
            height: 360,
            frame_rate: Ratio::new(30_000, 1001),
            real_frame_rate: None,
            pixel_format: "yuv420p".to_owned(),
            field_order: FieldOrder::Progressive,
            sample_aspect: None,
            rotation_degrees: 0,
            mirrored: false,
            b_frames: 2,
            color: ColorInfo::default(),
        });
        let media = MediaInfo {
            format: "flv".to_owned(),
            duration: Some(Duration::from_millis(1500)),
            start_micros: None,
            bit_rate: Some(1000),
            tracks: vec![track],
            metadata: Vec::new(),
            seekable: true,
        };
        let json = serde_json::to_value(&media).expect("it can be written");
        assert_eq!((&json["duration_seconds"], &json["bit_rate"]), (&json!(1.5), &json!(1000)));
        let track = &json["tracks"][0];
        assert_eq!((&track["kind"], &track["codec"]), (&json!("video"), &json!("h264")));
        assert_eq!((&track["width"], &track["frame_rate"]), (&json!(640), &json!(29.97003)));
        assert_eq!((&track["duration_seconds"], track.get("sample_rate")), (&json!(1.5), None));
    }

    #[test]
    fn an_encoder_that_does_not_open_says_why() {
        let report = EncoderReport {
            name: "h264_nvenc".to_owned(),
            is_hardware: true,
            compiled_in: true,
            opens: Err("no device".to_owned()),
            sessions: 0,
            is_full: false,
        };
        assert_eq!(
            serde_json::to_value(&report).expect("it can be written"),
            json!({
                "name": "h264_nvenc", "hardware": true, "compiled_in": true, "works": false, "full": false, "sessions": 0,
                "why_not": "no device",
            })
        );
    }
}
