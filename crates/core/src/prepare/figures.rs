//! Which tracks are encoded, and to what.

use std::time::Duration;

use flowcast_av::{Codec, MediaInfo, TrackInfo};
use flowcast_rtmp::flv::asc::AudioSpecificConfig;

use crate::bit_rate::BitRate;
use crate::tracks::{Carriage, Chosen, Selection};
use crate::transcode::{
    EncoderChoice, EncoderDefaults, Encoding, Mode, Plan, Profile, Settling, VideoPlan, Wish,
};
use crate::verdict::{
    AudioFacts, Facts, Fix, Platform, Reason, ReasonCode, Severity, Strictness, Subject, Verdict,
    verdict_for_all,
};

/// Pictures a picture may refer to: 1080p stays within level 4.1.
const REFERENCES: u32 = 4;
/// Factor by which the densest two seconds may exceed the maximum rate; see [`verdict`](mod@crate::verdict).
const PEAK: f64 = 1.05;
/// The shortest time figures are made for, in seconds: a picture.
const SHORTEST: f64 = 0.02;
/// AAC-LC's audio object type.
const LOW_COMPLEXITY: u8 = 2;
/// The most, where neither a platform nor a table says more, in thousand bits per second.
const MOST: BitRate = BitRate::from_kbps(35_000);

/// Which tracks have to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) video: bool,
    pub(super) audio: bool,
}

/// Whether a reason is one to encode a track for. Less than recommended is what constant quality is about: it is not mended by
/// more bits.
fn weighs(reason: &Reason) -> bool {
    reason.severity >= Severity::Warning && reason.code != ReasonCode::BitrateLow
}

/// What all platforms say, strictly.
pub(super) fn judge(facts: &Facts, platforms: &[Platform]) -> Verdict {
    let any = [Platform::any()];
    let platforms = if platforms.is_empty() { &any } else { platforms };
    // There is always at least one platform.
    verdict_for_all(facts, platforms, Strictness::Strict)
        .unwrap_or_else(|| crate::verdict::verdict(facts, &Platform::any(), Strictness::Strict))
}

/// Whether the result is what it should be.
pub(super) fn is_refused(facts: &Facts, verdict: &Verdict) -> bool {
    let frame = facts.audio.as_ref().map_or(Duration::ZERO, AudioFacts::frame);
    let apart = |micros: Option<i64>| Duration::from_micros(micros.unwrap_or(0).unsigned_abs()) > frame;
    verdict.reasons.iter().any(weighs)
        || verdict.fixes.iter().any(|fix| !matches!(fix, Fix::DropStreams(_)))
        || apart(facts.start_skew_micros())
        || apart(facts.end_skew_micros())
}

/// Which tracks have to be encoded of a file of which these are the facts.
pub(super) fn needs(facts: &Facts, media: &MediaInfo, verdict: &Verdict) -> Needs {
    let fails = |subject| {
        let about = |reason: &&Reason| reason.track == subject || reason.track == Subject::File;
        verdict.reasons.iter().filter(about).any(weighs)
    };
    let copied = Selection::of(media, Carriage::Plain);
    // What cannot be copied is not what the verdict is about.
    let chosen = Chosen::of(media, Carriage::Plain).video;
    let video = copied.video.is_none_or(|track| chosen.is_none_or(|chosen| chosen.index != track.index));
    let audio = facts.audio.is_some() && !copied.audio.as_ref().is_some_and(can_be_padded);
    Needs { video: video || fails(Subject::Video), audio: audio || fails(Subject::Audio) }
}

/// Whether silence can be put between its packets: AAC-LC whose channels are one of the usual sets.
fn can_be_padded(track: &TrackInfo) -> bool {
    let config = track.config.as_ref().and_then(|config| AudioSpecificConfig::parse(config).ok());
    let rate = track.audio.as_ref().map_or(0, |audio| audio.sample_rate);
    track.codec == Codec::Aac
        && config.is_some_and(|config| {
            config.object_type == LOW_COMPLEXITY
                && config.sbr_rate_hz.is_none()
                && config.frame_samples == 1024
                && config.channels > 0
                && config.sample_rate_hz == rate
        })
}

/// How the tracks of a file are encoded that have to be; its pictures are of this length.
pub(super) fn plan(
    media: &MediaInfo,
    length: Duration,
    needs: Needs,
    platforms: &[Platform],
    encoding: &Encoding,
    crf_tenths: u16,
) -> Plan {
    let mut encoding = encoding.clone();
    if encoding.encoder == EncoderChoice::Auto {
        encoding.encoder = EncoderChoice::Software;
    }
    // One encoder makes all of it: parameters must not change on the way.
    encoding.fallback = Some(false);
    if encoding.profile == Profile::Copy {
        encoding.profile = Profile::Default;
    }
    let wish = Wish {
        mode: Some(Mode::Encode),
        encoding: encoding.clone(),
        platforms: platforms.to_vec(),
        ..Wish::default()
    };
    let defaults = EncoderDefaults { prefer_hardware: false, fallback: false };
    let mut plan = Settling::new(wish, defaults).plan(media);
    if let Some(video) = &mut plan.video {
        let limits = Platform::intersection(platforms).unwrap_or_else(Platform::any);
        if encoding.size.is_none() {
            (video.width, video.height) = recommended_size((video.width, video.height), &limits);
        }
        rate(video, length, &encoding, &limits);
        video.crf_tenths = Some(crf_tenths);
        video.refs = Some(REFERENCES);
    }
    if !needs.video {
        plan.video = None;
    }
    if !needs.audio {
        plan.audio = None;
    }
    plan
}

/// The size, or the nearest that is not advised against; turned as the picture is.
fn recommended_size((width, height): (u32, u32), limits: &Platform) -> (u32, u32) {
    let (mut long, mut short) = (width.max(height), width.min(height));
    if !limits.sizes.is_empty() && !limits.sizes.contains(&(long, short)) {
        let fitting = limits.sizes.iter().filter(|(wanted, other)| *wanted <= long && *other <= short);
        let nearest = fitting.max_by_key(|(long, short)| u64::from(*long) * u64::from(*short));
        let smallest =
            || limits.sizes.iter().min_by_key(|(long, short)| u64::from(*long) * u64::from(*short));
        (long, short) = *nearest.or_else(smallest).unwrap_or(&(long, short));
    }
    if let Some(least) = limits.min_short_side.filter(|least| short < *least) {
        let grown = (f64::from(long) * f64::from(least) / f64::from(short) / 2.0).round() as u32 * 2;
        (long, short) = (grown, least.next_multiple_of(2));
        long = limits.max_size.map_or(long, |(most, _)| long.min(most));
    }
    if width >= height { (long, short) } else { (short, long) }
}

/// The most bits a second, and the buffer, so that the densest two seconds, or all of a file that is shorter, stay within what is
/// taken.
fn rate(video: &mut VideoPlan, length: Duration, encoding: &Encoding, limits: &Platform) {
    let of = |platform: &Platform| {
        platform.bit_rates_of(video.width, video.height, video.frame_rate.as_f64()).copied()
    };
    let row = of(limits);
    let most = row.and_then(|row| row.max).into_iter().chain(limits.max_bit_rate).min();
    let usual = || of(&Platform::youtube()).and_then(|row| row.recommended).unwrap_or(MOST);
    let wanted = row.and_then(|row| row.recommended).unwrap_or_else(usual).whole_kbps();
    // A buffer of half a second at the least: in two seconds it adds a quarter.
    let most = most.map(BitRate::kbps);
    let seconds = length.as_secs_f64().clamp(SHORTEST, 2.0);
    let least = |most: f64| (most * PEAK * seconds / (seconds + 0.5)) as u32;
    let of_platform = most.map_or(wanted, |most| wanted.min(least(most)));
    video.kbps = encoding.video_bit_rate.map_or(of_platform, BitRate::whole_kbps);
    let room = most.map_or(f64::INFINITY, |most| seconds * (most * PEAK - f64::from(video.kbps)));
    let buffer = f64::from(video.kbps).min(room).max(f64::from(video.kbps) / 2.0);
    video.vbv_kbits = encoding.vbv_kbits.unwrap_or(buffer as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::FrameRate;
    use flowcast_av::{FieldOrder, Ratio, TimeBase, TrackKind, VideoInfo};

    fn planned(size: (u32, u32), fps: u32, platforms: &[Platform], encoding: &Encoding) -> VideoPlan {
        planned_for(Duration::from_secs(60), size, fps, platforms, encoding)
    }

    fn planned_for(
        length: Duration,
        size: (u32, u32),
        fps: u32,
        platforms: &[Platform],
        encoding: &Encoding,
    ) -> VideoPlan {
        let mut track = TrackInfo::new(0, TrackKind::Video, Codec::from_name("mpeg4"), TimeBase::MILLIS);
        let rate = Some(Ratio { num: fps, den: 1 });
        track.video = Some(VideoInfo {
            frame_rate: rate,
            real_frame_rate: rate,
            pixel_format: "yuv420p".to_owned(),
            field_order: FieldOrder::Progressive,
            ..VideoInfo::of_size(size.0, size.1)
        });
        let media = MediaInfo {
            format: String::new(),
            duration: None,
            start_micros: None,
            bit_rate: None,
            tracks: vec![track],
            metadata: Vec::new(),
            seekable: true,
        };
        let needs = Needs { video: true, audio: true };
        plan(&media, length, needs, platforms, encoding, 200).video.expect("it is encoded")
    }

    #[test]
    fn sizes_are_those_platforms_take_gladly() {
        let encoding = super::super::default_encoding();
        let size = |size, platform: Platform| {
            let plan = planned(size, 25, &[platform], &encoding);
            (plan.width, plan.height)
        };
        assert_eq!(size((1280, 720), Platform::youtube()), (1280, 720));
        assert_eq!(size((176, 144), Platform::youtube()), (294, 240));
        assert_eq!(size((144, 176), Platform::youtube()), (240, 294));
        assert_eq!(size((3840, 2160), Platform::twitch()), (1920, 1080));
        assert_eq!(size((1000, 800), Platform::facebook()), (854, 480));
        assert_eq!(size((320, 240), Platform::facebook()), (640, 360));
        assert_eq!(size((720, 1280), Platform::facebook()), (720, 1280));
        assert_eq!(size((64, 36), Platform::any()), (64, 36));
    }

    #[test]
    fn rates_stay_within_limits_whatever_the_buffer_adds() {
        let encoding = super::super::default_encoding();
        for platform in [Platform::youtube(), Platform::twitch(), Platform::facebook(), Platform::any()] {
            for (size, fps) in [((640, 360), 25), ((1280, 720), 60), ((1920, 1080), 30), ((1920, 1080), 60)] {
                let plan = planned(size, fps, std::slice::from_ref(&platform), &encoding);
                let row = platform.bit_rates_of(plan.width, plan.height, f64::from(fps));
                let most = row.and_then(|row| row.max).into_iter().chain(platform.max_bit_rate).min();
                let densest = f64::from(plan.kbps) + f64::from(plan.vbv_kbits) / 2.0;
                assert!(
                    most.is_none_or(|most| densest <= most.kbps() * PEAK + 1.0),
                    "{} {plan}",
                    platform.name
                );
                assert!(plan.vbv_kbits >= plan.kbps / 2 && plan.vbv_kbits <= plan.kbps, "{plan}");
            }
        }
        let plan = planned((1280, 720), 30, &[Platform::youtube()], &encoding);
        assert_eq!((plan.kbps, plan.vbv_kbits, plan.gop_frames), (4000, 4000, 60));
        assert_eq!(
            (plan.crf_tenths, plan.preset.as_str(), plan.profile.as_str()),
            (Some(200), "slow", "high")
        );
        assert_eq!(plan.frame_rate, FrameRate::whole(30));
        let own = Encoding { video_bit_rate: Some(BitRate::from_kbps(900)), ..encoding };
        assert_eq!(planned((1280, 720), 30, &[Platform::twitch()], &own).kbps, 900);
    }

    #[test]
    fn a_clip_shorter_than_two_seconds_has_less_room_for_the_buffer() {
        let encoding = super::super::default_encoding();
        for millis in [40_u32, 500, 1000, 1999, 2000] {
            let seconds = f64::from(millis) / 1000.0;
            let length = Duration::from_millis(u64::from(millis));
            let plan = planned_for(length, (640, 360), 25, &[Platform::facebook()], &encoding);
            let most = f64::from(plan.kbps) + f64::from(plan.vbv_kbits) / seconds;
            assert!((900.0..=1_000.0 * PEAK + 1.0).contains(&most), "{millis} ms: {most}, {plan}");
        }
    }

    #[test]
    fn only_what_is_advised_against_is_encoded() {
        let facts = Facts::default();
        let verdict = judge(&facts, &[Platform::youtube()]);
        assert_eq!(verdict.platform, "youtube");
        assert!(is_refused(&facts, &verdict), "there is no picture");
        assert_eq!(judge(&facts, &[]).platform, "any");
    }
}
