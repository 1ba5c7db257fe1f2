//! The video track: what FLV can carry and receivers decode.

use std::time::Duration;

use super::{Error, Info, Judge, Warning};
use crate::verdict::facts::{Clock, Fields, VideoFacts};
use crate::verdict::platform::RATE_TOLERANCE;
use crate::verdict::reason::{ReasonCode, Subject};
use crate::verdict::sentence::Fix;

/// Profiles of H.264 that are 8 bit 4:2:0 and decoded everywhere.
const PROFILES: [&str; 5] = ["Constrained Baseline", "Baseline", "Main", "High", "Constrained High"];
/// 8 bit 4:2:0 by libav's names.
const PIXEL_FORMATS: [&str; 3] = ["yuv420p", "yuvj420p", "nv12"];
/// Transfers of high dynamic range, and primaries of a wide gamut.
const WIDE: [&str; 5] = ["smpte2084", "arib-std-b67", "bt2020-10", "bt2020-12", "bt2020"];
/// Bytes of a packet in FLV, at most: 24 bits, less the header of a tag.
const LARGEST_PACKET: u64 = (1 << 24) - 16;
/// Packets of one track may be so far apart.
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// The longest time from decoding to showing that FLV can say: 23 bits of milliseconds and a sign.
const LONGEST_COMPOSITION: Duration = Duration::from_millis((1 << 23) - 1);
/// Times are rounded to milliseconds by some containers.
const ROUNDING: Duration = Duration::from_millis(1);
/// Pixels that are a hundredth wider or higher than square are taken for rounding of the picture's size.
const NEARLY_SQUARE: u64 = 100;
/// The share of pictures shown for an unusual time from which on the rate is called variable.
const IRREGULAR: f64 = 0.01;

const VIDEO: Subject = Subject::Video;

pub(super) fn judge(judge: &mut Judge<'_>, video: &VideoFacts) {
    codec(judge, video);
    picture(judge, video);
    keyframes(judge, video);
    times(judge, &video.clock, VIDEO);
    if video.composition_max > LONGEST_COMPOSITION {
        let detail = format!("shown {:.0} s after decoding", video.composition_max.as_secs_f64());
        judge.any(ReasonCode::UnorderedTimestamps, Error, VIDEO, detail);
    }
    packets(judge, video);
    size_and_rate(judge, video);
}

fn codec(judge: &mut Judge<'_>, video: &VideoFacts) {
    let (codec, platform) = (&video.codec, judge.platform);
    let enhanced = platform.enhanced && platform.enhanced_codecs.contains(codec);
    if !enhanced && !platform.video_codecs.contains(codec) {
        let detail = if platform.enhanced_codecs.contains(codec) {
            format!("{codec} is only taken over Enhanced RTMP, which is not asked for")
        } else {
            format!("{codec} is not taken")
        };
        judge.own(ReasonCode::VideoCodec, Error, VIDEO, detail);
    }
    if !video.has_config {
        let detail = "no sequence and picture parameter sets";
        judge.any(ReasonCode::ParameterSetsMissing, Error, VIDEO, detail);
    }
    if codec != "h264" {
        return;
    }
    let wanted = &judge.platform.profiles;
    match video.profile.as_deref() {
        Some("Baseline") => {
            let detail =
                "Baseline without its constraint: slices may be in any order, which few decoders know";
            judge.any(ReasonCode::VideoProfile, Warning, VIDEO, detail);
        }
        Some(profile) if !PROFILES.contains(&profile) => {
            let detail = format!("{profile} is not decoded everywhere");
            judge.any(ReasonCode::VideoProfile, Error, VIDEO, detail);
        }
        Some(profile) if !wanted.is_empty() && !wanted.iter().any(|known| known == profile) => {
            let detail = format!("{profile}, where {} is wanted", wanted.join(" or "));
            judge.own(ReasonCode::VideoProfile, Warning, VIDEO, detail);
        }
        Some(_) => {}
        None => judge.any(ReasonCode::VideoProfile, Warning, VIDEO, "the profile is not known"),
    }
}

fn picture(judge: &mut Judge<'_>, video: &VideoFacts) {
    let format = video.pixel_format.as_str();
    if format.is_empty() {
        judge.any(ReasonCode::VideoPixelFormat, Warning, VIDEO, "the pixel format is not known");
    } else if !PIXEL_FORMATS.contains(&format) {
        let detail = format!("{format} is not 8 bit 4:2:0");
        judge.any(ReasonCode::VideoPixelFormat, Error, VIDEO, detail);
    }
    if video.full_range {
        judge.any(ReasonCode::VideoFullRange, Warning, VIDEO, "full range: receivers expect limited range");
    }
    let wide: Vec<&str> = [video.transfer.as_deref(), video.primaries.as_deref()]
        .into_iter()
        .flatten()
        .filter(|name| WIDE.contains(name))
        .collect();
    if !wide.is_empty() {
        let detail = format!("{}, where BT.709 is expected", wide.join(" and "));
        judge.any(ReasonCode::VideoColor, Error, VIDEO, detail);
    }
    match video.fields {
        Fields::Interlaced => judge.any(ReasonCode::InterlacedVideo, Error, VIDEO, "interlaced"),
        Fields::Allowed => {
            let detail = "the headers allow fields, but none was seen";
            judge.any(ReasonCode::InterlacedVideo, Warning, VIDEO, detail);
        }
        Fields::Unknown | Fields::Progressive => {}
    }
    if video.rotation_degrees != 0 || video.mirrored {
        let mirrored = if video.mirrored { ", mirrored" } else { "" };
        let detail = format!("has to be turned by {}°{mirrored}", video.rotation_degrees);
        judge.any(ReasonCode::VideoRotation, Error, VIDEO, detail);
    }
    if let Some((width, height)) = video.sample_aspect.filter(|(width, height)| width != height) {
        let square = u64::from(width.abs_diff(height)) * NEARLY_SQUARE <= u64::from(width.max(height));
        let severity = if square { Info } else { Error };
        let detail = format!("pixels of {width}:{height}");
        judge.any(ReasonCode::SampleAspect, severity, VIDEO, detail);
    }
    if !video.width.is_multiple_of(2) || !video.height.is_multiple_of(2) {
        let detail = format!("{}x{}", video.width, video.height);
        judge.any(ReasonCode::OddSize, Error, VIDEO, detail);
    }
}

fn keyframes(judge: &mut Judge<'_>, video: &VideoFacts) {
    if video.idr == 0 {
        judge.any(ReasonCode::StartsWithoutIdr, Error, VIDEO, "there is no IDR picture at all");
    } else if video.lead > 0 {
        let detail = format!("{} pictures before the first keyframe", video.lead);
        judge.any(ReasonCode::StartsWithoutIdr, Warning, VIDEO, detail);
        judge.fixes.push(Fix::StartAtKeyframe(video.lead));
    } else if !video.first_is_idr {
        let detail = "the first keyframe is a recovery point";
        judge.any(ReasonCode::StartsWithoutIdr, Warning, VIDEO, detail);
    }
    if video.false_keyframes > 0 {
        let detail = format!("{} pictures are called keyframes and are none", video.false_keyframes);
        judge.any(ReasonCode::KeyframeNotIdr, Error, VIDEO, detail);
    } else if video.idr < video.keyframes && video.open_gops == 0 {
        let detail =
            format!("{} of {} keyframes are recovery points", video.keyframes - video.idr, video.keyframes);
        judge.any(ReasonCode::KeyframeNotIdr, Warning, VIDEO, detail);
    }
    if video.open_gops > 0 {
        let detail = format!("{} of {} GOPs are open", video.open_gops, video.keyframes);
        judge.own(ReasonCode::OpenGop, judge.platform.open_gop, VIDEO, detail);
    }
}

/// The clock of a track, which both kinds have.
pub(super) fn times(judge: &mut Judge<'_>, clock: &Clock, track: Subject) {
    if clock.unordered > 0 {
        let detail = counted(clock.unordered, "packet");
        judge.any(ReasonCode::UnorderedTimestamps, Warning, track, detail);
        judge.fixes.push(Fix::Retime(clock.unordered));
    }
    if clock.jumps > 0 {
        let detail = format!("the time goes back {}", counted(clock.jumps, "time"));
        judge.any(ReasonCode::ClockJump, Error, track, detail);
    }
    if clock.longest_step > LONGEST_STEP {
        let code = if track == VIDEO { ReasonCode::VideoIngestionStarved } else { ReasonCode::AudioGap };
        let detail = format!("{:.3} s between two packets", clock.longest_step.as_secs_f64());
        judge.any(code, Error, track, detail);
    }
}

fn packets(judge: &mut Judge<'_>, video: &VideoFacts) {
    large_packets(judge, video.largest_packet, VIDEO);
    damage(judge, video.damaged, video.packets, VIDEO);
    if video.edits > 1 || video.hidden > 0 {
        let hidden = format!("{} that are not to be shown", counted(video.hidden, "picture"));
        judge.any(ReasonCode::EditList, Error, VIDEO, edits(video.edits, hidden));
    }
    if video.size_changes > 0 {
        let detail = format!("the size changes {}", counted(video.size_changes, "time"));
        judge.any(ReasonCode::ParametersChange, Error, VIDEO, detail);
    } else if video.parameter_changes > 0 {
        let detail = counted(video.parameter_changes, "time");
        judge.own(ReasonCode::ParametersChange, judge.platform.parameter_changes, VIDEO, detail);
    }
}

/// What an edit list does: how many parts it has, and what it hides.
pub(super) fn edits(parts: u32, hidden: String) -> String {
    if parts > 1 { format!("{parts} parts, {hidden}") } else { hidden }
}

/// "1 time", "2 times".
pub(super) fn counted(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn large_packets(judge: &mut Judge<'_>, largest: u64, track: Subject) {
    if largest > LARGEST_PACKET {
        judge.any(ReasonCode::PacketTooLarge, Error, track, format!("{largest} bytes"));
    }
}

pub(super) fn damage(judge: &mut Judge<'_>, damaged: u64, of: u64, track: Subject) {
    if damaged > 0 {
        judge.any(ReasonCode::Damaged, Error, track, format!("{damaged} of {of} packets"));
    }
}

fn size_and_rate(judge: &mut Judge<'_>, video: &VideoFacts) {
    let platform = judge.platform;
    let (long, short) = (video.width.max(video.height), video.width.min(video.height));
    let size = format!("{}x{}", video.width, video.height);
    if let Some((most_long, most_short)) = platform.max_size
        && (long > most_long || short > most_short)
    {
        let detail = format!("{size}, at most {most_long}x{most_short}");
        judge.own(ReasonCode::VideoResolutionUnsupported, Error, VIDEO, detail);
    } else if !platform.sizes.is_empty() && !platform.sizes.contains(&(long, short)) {
        let detail = format!("{size} is none of the sizes it recommends");
        judge.own(ReasonCode::VideoResolutionSuboptimal, Warning, VIDEO, detail);
    } else if let Some(least) = platform.min_short_side.filter(|least| short < *least) {
        let detail = format!("{size}, at least {least} lines are recommended");
        judge.own(ReasonCode::VideoResolutionSuboptimal, Warning, VIDEO, detail);
    }
    if let Some(most) = platform.max_frame_rate {
        if video.frame_rate > most * RATE_TOLERANCE {
            let detail = format!("{:.3} per second, at most {most}", video.frame_rate);
            judge.own(ReasonCode::FrameRateHigh, Error, VIDEO, detail);
        } else if video.frame_rate_max > most * 1.1 {
            let detail = format!("{:.1} per second in places, at most {most}", video.frame_rate_max);
            judge.own(ReasonCode::FrameRateHigh, Warning, VIDEO, detail);
        }
    }
    // A single picture that was left out does not make a rate variable.
    if video.irregular > IRREGULAR && video.irregular * video.packets as f64 > 1.5 {
        let detail = format!(
            "{:.1} to {:.1} per second, {:.0} % of the pictures are shown for an unusual time",
            video.frame_rate_min,
            video.frame_rate_max,
            video.irregular * 100.0
        );
        judge.any(ReasonCode::FrameRateVariable, Warning, VIDEO, detail);
    }
    if let Some(most) = platform.max_b_frames.filter(|most| video.b_frames > *most) {
        let detail = format!("{} in a row, at most {most}", video.b_frames);
        judge.own(ReasonCode::BFrames, Error, VIDEO, detail);
    }
    let row = platform.bit_rates_of(video.width, video.height, video.frame_rate);
    let most = row.and_then(|row| row.max_level).filter(|_| video.codec == "h264");
    if let Some((level, most)) = video.level.zip(most).filter(|(level, most)| level > most) {
        let dotted = |level: u32| format!("{}.{}", level / 10, level % 10);
        let detail = format!("level {}, at most {}", dotted(level), dotted(most));
        judge.own(ReasonCode::VideoLevel, Warning, VIDEO, detail);
    }
    gops(judge, video);
}

fn gops(judge: &mut Judge<'_>, video: &VideoFacts) {
    let platform = judge.platform;
    let seconds = |length: Duration| length.as_secs_f64();
    // 120 pictures at 29.97 per second are 4.004 s, and called 4 s by everybody.
    let longer = |limit: &Duration| video.gop_max > limit.mul_f64(RATE_TOLERANCE) + ROUNDING;
    if let Some(most) = platform.gop_max.filter(longer) {
        let detail = format!("{:.2} s, at most {:.2} s", seconds(video.gop_max), seconds(most));
        judge.own(ReasonCode::GopSizeOver, Error, VIDEO, detail);
    } else if let Some(most) = platform.gop_recommended.filter(longer) {
        let detail = format!("{:.2} s, {:.2} s are recommended", seconds(video.gop_max), seconds(most));
        judge.own(ReasonCode::GopSizeLong, Warning, VIDEO, detail);
    }
    if let Some(least) =
        platform.gop_min.filter(|least| video.keyframes > 1 && video.gop_mean + ROUNDING < *least)
    {
        let detail = format!("{:.2} s on average, below {:.2} s", seconds(video.gop_mean), seconds(least));
        judge.own(ReasonCode::GopSizeShort, Info, VIDEO, detail);
    }
}
