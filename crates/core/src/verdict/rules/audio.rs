//! The audio track.

use std::time::Duration;

use super::video::{counted, damage, edits, large_packets, times};
use super::{Error, Info, Judge, Warning};
use crate::bit_rate::BitRate;
use crate::verdict::facts::AudioFacts;
use crate::verdict::platform::BITS_TOLERANCE;
use crate::verdict::reason::{ReasonCode, Subject};

/// What FLV can carry.
const CODECS: [&str; 2] = ["aac", "mp3"];
/// What Enhanced RTMP can carry beyond that.
const ENHANCED: &str = "opus";
/// Sampling rates FLV can say of MP3; others would be played at the wrong speed.
const MP3_RATES: [u32; 3] = [44_100, 22_050, 11_025];

const AUDIO: Subject = Subject::Audio;

pub(super) fn judge(judge: &mut Judge<'_>, audio: &AudioFacts) {
    codec(judge, audio);
    sound(judge, audio);
    times(judge, &audio.clock, AUDIO);
    large_packets(judge, audio.largest_packet, AUDIO);
    damage(judge, audio.damaged, audio.packets, AUDIO);
    if audio.edits > 1 || audio.hidden > Duration::ZERO {
        let hidden = audio.hidden.as_secs_f64();
        let hidden = format!("{hidden:.3} s that are not to be heard");
        judge.any(ReasonCode::EditList, Error, AUDIO, edits(audio.edits, hidden));
    }
    if audio.parameter_changes > 0 {
        let detail = counted(audio.parameter_changes, "time");
        judge.own(ReasonCode::ParametersChange, judge.platform.parameter_changes, AUDIO, detail);
    }
}

fn codec(judge: &mut Judge<'_>, audio: &AudioFacts) {
    let (codec, platform) = (audio.codec.as_str(), judge.platform);
    let enhanced = platform.enhanced && codec == ENHANCED;
    if codec == ENHANCED && !enhanced {
        let detail = format!("{codec} is only sent over Enhanced RTMP, which is not asked for");
        judge.any(ReasonCode::AudioCodec, Error, AUDIO, detail);
    } else if !CODECS.contains(&codec) && !enhanced {
        judge.any(ReasonCode::AudioCodec, Error, AUDIO, format!("{codec} has no place in FLV"));
    } else if !platform.takes_audio(codec) {
        judge.own(ReasonCode::AudioCodec, Error, AUDIO, format!("{codec} is not taken"));
    }
    if !audio.has_config {
        judge.any(ReasonCode::AudioConfigMissing, Error, AUDIO, "no AudioSpecificConfig");
    }
    if codec != "aac" {
        return;
    }
    let profile = audio.profile.as_deref().unwrap_or("an unknown profile");
    let wanted = &platform.audio_profiles;
    if !wanted.is_empty() && !wanted.iter().any(|known| known == profile) {
        let detail = format!("{profile}, where {} is wanted", wanted.join(" or "));
        judge.own(ReasonCode::AudioProfile, Error, AUDIO, detail);
    } else if wanted.is_empty() && profile != "LC" {
        judge.any(ReasonCode::AudioProfile, Warning, AUDIO, format!("{profile} is not decoded everywhere"));
    }
}

fn sound(judge: &mut Judge<'_>, audio: &AudioFacts) {
    let (platform, rate) = (judge.platform, audio.sample_rate);
    if audio.codec == "mp3" && !MP3_RATES.contains(&rate) {
        let detail = format!("MP3 of {rate} Hz, of which FLV can only say 44100, 22050 or 11025");
        judge.any(ReasonCode::AudioSampleRate, Error, AUDIO, detail);
    } else if !platform.sample_rates.is_empty() && !platform.sample_rates.contains(&rate) {
        let known: Vec<String> = platform.sample_rates.iter().map(u32::to_string).collect();
        let detail = format!("{rate} Hz, where {} is taken", known.join(" or "));
        judge.own(ReasonCode::AudioSampleRate, Error, AUDIO, detail);
    }
    if let Some(most) = platform.max_channels.filter(|most| audio.channels > *most) {
        let detail = format!("{} channels, at most {most}", audio.channels);
        judge.own(ReasonCode::AudioTooManyChannels, Error, AUDIO, detail);
    }
    let mean = audio.bit_rate.kbps();
    if let Some(most) =
        platform.audio_max_bit_rate.map(BitRate::kbps).filter(|most| mean > *most * BITS_TOLERANCE)
    {
        let detail = format!("{mean:.0} kbit/s, at most {most:.0}");
        judge.own(ReasonCode::AudioBitrateHigh, Error, AUDIO, detail);
    }
    // Silence needs few bits, and encoding again adds nothing.
    if let Some(least) =
        platform.audio_min_bit_rate.map(BitRate::kbps).filter(|least| mean * BITS_TOLERANCE < *least)
    {
        let detail = format!("{mean:.0} kbit/s, {least:.0} are recommended");
        judge.own(ReasonCode::AudioBitrateLow, Info, AUDIO, detail);
    }
}
