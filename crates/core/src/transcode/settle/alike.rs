//! Items of a list are alike: one codec, size, sampling rate and number of channels on the air.
//!
//! In: the tracks of a file, and what its list was settled to. Out: whether a copy would change what is on the air.

use flowcast_av::{Codec, TrackInfo};

use super::super::plan::{AudioPlan, VideoPlan};
use super::Needs;
use crate::tracks::{Chosen, Tracks};
use crate::transcode::{AudioCodec, VideoCodec};
use crate::verdict::Subject;

/// A track that is encoded because a copy would be unlike what is on the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unlike {
    pub(super) track: Subject,
    /// Why, for people.
    pub(super) detail: String,
}

/// The codec that pictures like these are encoded with.
pub(super) fn video_codec(track: &TrackInfo) -> Option<VideoCodec> {
    VideoCodec::ALL.iter().copied().find(|codec| codec.as_str() == track.codec.name())
}

/// The codec that sound like this is encoded with: there is no encoder for MP3, nor for AAC of other profiles.
pub(super) fn audio_codec(track: &TrackInfo) -> Option<AudioCodec> {
    match track.codec {
        Codec::Aac if track.profile.as_deref().is_none_or(|profile| profile == "LC") => Some(AudioCodec::Aac),
        Codec::Opus => Some(AudioCodec::Opus),
        _ => None,
    }
}

/// What of a file has to be encoded although it could be copied.
pub(super) fn unlike(
    chosen: &Chosen,
    tracks: Tracks,
    needs: Needs,
    (video, audio): (Option<&VideoPlan>, Option<&AudioPlan>),
) -> Vec<Unlike> {
    let mut unlike = Vec::new();
    if let (Some(track), Some(plan), false) = (&chosen.video, video, needs.video || tracks == Tracks::Audio) {
        let size = track.video.as_ref().map_or((0, 0), |video| (video.width, video.height));
        if video_codec(track) != Some(plan.codec) || size != (plan.width, plan.height) {
            let (width, height) = size;
            let detail = format!(
                "{} of {width}x{height}, where the list has {} of {}x{}",
                track.codec.name(),
                plan.codec.as_str(),
                plan.width,
                plan.height
            );
            unlike.push(Unlike { track: Subject::Video, detail });
        }
    }
    if let (Some(track), Some(plan), false) = (&chosen.audio, audio, needs.audio || tracks == Tracks::Video) {
        let (rate, channels) =
            track.audio.as_ref().map_or((0, 0), |audio| (audio.sample_rate, audio.channels));
        if audio_codec(track) != Some(plan.codec) || (rate, channels) != (plan.sample_rate, plan.channels) {
            let detail = format!(
                "{}{} of {rate} Hz and {channels} channels, where the list has {} of {} Hz and {}",
                track.codec.name(),
                track.profile.as_ref().map_or_else(String::new, |profile| format!(" ({profile})")),
                plan.codec.as_str(),
                plan.sample_rate,
                plan.channels
            );
            unlike.push(Unlike { track: Subject::Audio, detail });
        }
    }
    unlike
}
