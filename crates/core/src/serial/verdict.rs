//! Verdicts, and the facts they are made from.

use serde::{Serialize, Serializer};

use super::seconds;
use crate::bit_rate::BitRate;
use crate::verdict::{Action, AudioFacts, Facts, Reach, Reason, Verdict, VideoFacts};

/// Its name.
impl Serialize for Action {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// `platform`, `action`, `video`, `audio`, `fixes` (a list of `{fix}`, in words), `reasons`.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        VerdictView::from(self).serialize(to)
    }
}

/// `code`, `severity`, `track`, `platform`, `detail`.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        ReasonView::from(self).serialize(to)
    }
}

/// What a person or a dashboard asks of a file: sizes, codecs, rates, GOPs, lengths. Rates are bits per second.
impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        FactsView::from(self).serialize(to)
    }
}

/// The same of the picture.
impl Serialize for VideoFacts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        VideoFactsView::from(self).serialize(to)
    }
}

/// The same of the sound.
impl Serialize for AudioFacts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        AudioFactsView::from(self).serialize(to)
    }
}

#[derive(Serialize)]
struct VerdictView {
    platform: String,
    action: &'static str,
    video: &'static str,
    audio: &'static str,
    fixes: Vec<FixView>,
    reasons: Vec<ReasonView>,
}

#[derive(Serialize)]
struct FixView {
    fix: String,
}

#[derive(Serialize)]
struct ReasonView {
    code: &'static str,
    severity: &'static str,
    track: &'static str,
    platform: String,
    detail: String,
}

impl From<&Verdict> for VerdictView {
    fn from(verdict: &Verdict) -> Self {
        Self {
            platform: verdict.platform.clone(),
            action: verdict.action.as_str(),
            video: verdict.video.as_str(),
            audio: verdict.audio.as_str(),
            fixes: verdict.fixes.iter().map(|fix| FixView { fix: fix.to_string() }).collect(),
            reasons: verdict.reasons.iter().map(ReasonView::from).collect(),
        }
    }
}

impl From<&Reason> for ReasonView {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code.as_str(),
            severity: reason.severity.as_str(),
            track: reason.track.as_str(),
            platform: reason.platform.clone(),
            detail: reason.detail.clone(),
        }
    }
}

#[derive(Serialize)]
struct FactsView {
    bytes: u64,
    whole: bool,
    encrypted: bool,
    unreadable_places: u32,
    start_skew_micros: Option<i64>,
    end_skew_micros: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<VideoFactsView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<AudioFactsView>,
}

impl From<&Facts> for FactsView {
    fn from(facts: &Facts) -> Self {
        Self {
            bytes: facts.bytes,
            whole: facts.reach == Reach::Whole,
            encrypted: facts.encrypted,
            unreadable_places: facts.unreadable_places,
            start_skew_micros: facts.start_skew_micros(),
            end_skew_micros: facts.end_skew_micros(),
            truncated: facts.truncated.clone(),
            video: facts.video.as_ref().map(VideoFactsView::from),
            audio: facts.audio.as_ref().map(AudioFactsView::from),
        }
    }
}

#[derive(Serialize)]
struct VideoFactsView {
    track: usize,
    codec: String,
    profile: String,
    level: Option<u32>,
    width: u32,
    height: u32,
    pixel_format: String,
    fields: String,
    rotation_degrees: u16,
    packets: u64,
    length_seconds: f64,
    frame_rate: f64,
    frame_rate_min: f64,
    frame_rate_max: f64,
    irregular: f64,
    keyframes: u64,
    idr: u64,
    open_gops: u64,
    gop_max_seconds: f64,
    gop_mean_seconds: f64,
    b_frames: u32,
    composition_max_seconds: f64,
    bit_rate: BitRate,
    bit_rate_peak_1s: BitRate,
    bit_rate_peak_2s: BitRate,
    bit_rate_peak_2_gops: BitRate,
    largest_packet: u64,
    longest_step_seconds: f64,
    parameter_changes: u32,
    hidden: u64,
    damaged: u64,
}

impl From<&VideoFacts> for VideoFactsView {
    fn from(video: &VideoFacts) -> Self {
        Self {
            track: video.track,
            codec: video.codec.clone(),
            profile: video.profile.clone().unwrap_or_default(),
            level: video.level,
            width: video.width,
            height: video.height,
            pixel_format: video.pixel_format.clone(),
            fields: format!("{:?}", video.fields).to_lowercase(),
            rotation_degrees: video.rotation_degrees,
            packets: video.packets,
            length_seconds: seconds(video.length),
            frame_rate: video.frame_rate,
            frame_rate_min: video.frame_rate_min,
            frame_rate_max: video.frame_rate_max,
            irregular: video.irregular,
            keyframes: video.keyframes,
            idr: video.idr,
            open_gops: video.open_gops,
            gop_max_seconds: seconds(video.gop_max),
            gop_mean_seconds: seconds(video.gop_mean),
            b_frames: video.b_frames,
            composition_max_seconds: seconds(video.composition_max),
            bit_rate: video.bit_rate.mean,
            bit_rate_peak_1s: video.bit_rate.peak_1s,
            bit_rate_peak_2s: video.bit_rate.peak_2s,
            bit_rate_peak_2_gops: video.bit_rate.peak_2_gops,
            largest_packet: video.largest_packet,
            longest_step_seconds: seconds(video.clock.longest_step),
            parameter_changes: video.parameter_changes,
            hidden: video.hidden,
            damaged: video.damaged,
        }
    }
}

#[derive(Serialize)]
struct AudioFactsView {
    track: usize,
    codec: String,
    profile: String,
    sample_rate: u32,
    channels: u32,
    frame_samples: u32,
    packets: u64,
    length_seconds: f64,
    bit_rate: BitRate,
    largest_packet: u64,
    longest_step_seconds: f64,
    parameter_changes: u32,
    damaged: u64,
}

impl From<&AudioFacts> for AudioFactsView {
    fn from(audio: &AudioFacts) -> Self {
        Self {
            track: audio.track,
            codec: audio.codec.clone(),
            profile: audio.profile.clone().unwrap_or_default(),
            sample_rate: audio.sample_rate,
            channels: audio.channels,
            frame_samples: audio.frame_samples,
            packets: audio.packets,
            length_seconds: seconds(audio.length),
            bit_rate: audio.bit_rate,
            largest_packet: audio.largest_packet,
            longest_step_seconds: seconds(audio.clock.longest_step),
            parameter_changes: audio.parameter_changes,
            damaged: audio.damaged,
        }
    }
}
