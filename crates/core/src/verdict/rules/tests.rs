//! Rules against facts made by hand; real files are held against them in the facade's `tests/verdict`.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::time::Duration;

use super::*;
use crate::bit_rate::BitRate;
use crate::verdict::facts::{AudioFacts, BitRates, Fields, Form, VideoFacts};
use crate::verdict::plan::{plan_for, verdict_for_all};
use crate::verdict::sentence::Action;

/// 720p30 at 3 Mbit/s with closed GOPs of 2 s, AAC-LC stereo: nothing to find fault with.
fn good() -> Facts {
    let video = VideoFacts {
        codec: "h264".to_owned(),
        profile: Some("High".to_owned()),
        level: Some(31),
        width: 1280,
        height: 720,
        pixel_format: "yuv420p".to_owned(),
        fields: Fields::Progressive,
        has_config: true,
        packets: 300,
        length: Duration::from_secs(10),
        frame_rate: 30.0,
        frame_rate_min: 30.0,
        frame_rate_max: 30.0,
        keyframes: 5,
        idr: 5,
        first_is_idr: true,
        gop_max: Duration::from_secs(2),
        gop_mean: Duration::from_secs(2),
        bit_rate: BitRates {
            mean: BitRate::from_kbps(3000),
            peak_1s: BitRate::from_kbps(3100),
            peak_2s: BitRate::from_kbps(3050),
            peak_2_gops: BitRate::from_kbps(3020),
        },
        edits: 1,
        ..VideoFacts::default()
    };
    let audio = AudioFacts {
        track: 1,
        codec: "aac".to_owned(),
        profile: Some("LC".to_owned()),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1024,
        has_config: true,
        packets: 469,
        length: Duration::from_secs(10),
        bit_rate: BitRate::from_kbps(128),
        edits: 1,
        ..AudioFacts::default()
    };
    Facts { video: Some(video), audio: Some(audio), ..Facts::default() }
}

fn all() -> Vec<Platform> {
    Platform::NAMES.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn a_good_file_is_copied_everywhere() {
    for platform in all() {
        for strictness in [Strictness::Seed, Strictness::Lenient, Strictness::Strict] {
            let verdict = verdict(&good(), &platform, strictness);
            assert_eq!((verdict.action, verdict.reasons.as_slice()), (Action::Copy, [].as_slice()));
        }
    }
}

#[test]
fn strictness_decides_about_warnings() {
    let mut facts = good();
    facts.video.as_mut().unwrap().gop_max = Duration::from_secs(3);
    let action = |strictness| verdict(&facts, &Platform::twitch(), strictness).action;
    assert_eq!(action(Strictness::Seed), Action::Copy);
    assert_eq!(action(Strictness::Lenient), Action::Copy);
    assert_eq!(action(Strictness::Strict), Action::EncodeVideoCopyAudio);
}

#[test]
fn the_seed_rule_knows_size_and_rate_only() {
    let mut facts = good();
    let video = facts.video.as_mut().unwrap();
    (video.gop_max, video.open_gops, video.bit_rate.mean) =
        (Duration::from_secs(20), 5, BitRate::from_mbps(90.0));
    let seed = |facts: &Facts| verdict(facts, &Platform::facebook(), Strictness::Seed);
    assert_eq!(seed(&facts).action, Action::Copy);
    facts.video.as_mut().unwrap().frame_rate = 50.0;
    let refused = seed(&facts);
    assert_eq!(refused.action, Action::EncodeVideoCopyAudio);
    assert!(refused.has(ReasonCode::FrameRateHigh) && refused.platform == "facebook");
}

#[test]
fn what_only_enhanced_rtmp_carries_is_copied_where_that_is_asked_for() {
    let mut facts = good();
    facts.video.as_mut().unwrap().codec = "hevc".to_owned();
    facts.audio.as_mut().unwrap().codec = "opus".to_owned();
    for strictness in [Strictness::Seed, Strictness::Lenient] {
        let of = |mut platform: Platform, enhanced| {
            platform.enhanced = enhanced;
            let verdict = verdict(&facts, &platform, strictness);
            (verdict.video, verdict.audio)
        };
        let (copy, encode) = (TrackVerdict::Copy, TrackVerdict::Encode);
        assert_eq!(of(Platform::any(), false), (encode, encode), "{strictness:?}");
        assert_eq!(of(Platform::any(), true), (copy, copy), "{strictness:?}");
        assert_eq!(of(Platform::youtube(), false), (encode, encode), "{strictness:?}");
    }
    let mut youtube = Platform::youtube();
    youtube.enhanced = true;
    assert_eq!(verdict(&facts, &youtube, Strictness::Lenient).audio, TrackVerdict::Encode, "it wants AAC");
    assert!(!youtube.takes_audio("opus"));
}

#[test]
fn tracks_are_decided_about_one_by_one() {
    let mut facts = good();
    facts.audio.as_mut().unwrap().channels = 6;
    assert_eq!(verdict(&facts, &Platform::youtube(), Strictness::Lenient).action, Action::Copy);
    let twitch = verdict(&facts, &Platform::twitch(), Strictness::Lenient);
    assert_eq!(twitch.action, Action::CopyVideoEncodeAudio);
    assert_eq!((twitch.video, twitch.audio), (TrackVerdict::Copy, TrackVerdict::Encode));
    facts.video.as_mut().unwrap().rotation_degrees = 90;
    assert_eq!(verdict(&facts, &Platform::twitch(), Strictness::Lenient).action, Action::Encode);
}

#[test]
fn fixes_of_encoded_tracks_are_none() {
    let mut facts = good();
    let audio = facts.audio.as_mut().unwrap();
    audio.length = Duration::from_secs(9);
    let padded = verdict(&facts, &Platform::youtube(), Strictness::Lenient);
    assert_eq!(padded.action, Action::CopyWithFix);
    assert_eq!(padded.fixes, [Fix::PadTail(Duration::from_secs(1))]);
    facts.audio.as_mut().unwrap().sample_rate = 32_000;
    let encoded = verdict(&facts, &Platform::youtube(), Strictness::Lenient);
    assert_eq!((encoded.action, encoded.fixes.as_slice()), (Action::CopyVideoEncodeAudio, [].as_slice()));
}

#[test]
fn fixes_of_what_one_platform_has_encoded_are_none_for_all() {
    let mut facts = good();
    let (video, audio) = (facts.video.as_mut().unwrap(), facts.audio.as_mut().unwrap());
    (video.form, audio.form) = (Some(Form::StartCodes), Some(Form::Adts));
    (audio.channels, audio.length) = (6, Duration::from_secs(9));
    let youtube = verdict(&facts, &Platform::youtube(), Strictness::Lenient);
    assert_eq!((youtube.action, youtube.fixes.len()), (Action::CopyWithFix, 3));
    let both = [Platform::youtube(), Platform::twitch()];
    let both = verdict_for_all(&facts, &both, Strictness::Lenient).unwrap();
    assert_eq!(both.action, Action::CopyVideoEncodeAudio);
    assert_eq!(both.fixes, [Fix::BitstreamFilter { track: 0, filter: "extract_extradata" }]);
}

#[test]
fn a_time_to_show_that_flv_cannot_say() {
    let mut facts = good();
    let mut judged = |millis| {
        facts.video.as_mut().unwrap().composition_max = Duration::from_millis(millis);
        verdict(&facts, &Platform::any(), Strictness::Lenient)
    };
    assert_eq!(judged(8_388_607).action, Action::Copy);
    let refused = judged(8_388_608);
    assert_eq!(refused.action, Action::EncodeVideoCopyAudio);
    assert!(refused.has(ReasonCode::UnorderedTimestamps));
}

#[test]
fn no_sound_is_mended_and_no_picture_is_not() {
    let silent = Facts { audio: None, ..good() };
    let mended = verdict(&silent, &Platform::twitch(), Strictness::Strict);
    assert_eq!((mended.action, mended.fixes.as_slice()), (Action::CopyWithFix, [Fix::Silence].as_slice()));
    assert_eq!(verdict(&silent, &Platform::any(), Strictness::Strict).action, Action::Copy);
    let radio = Facts { video: None, ..good() };
    assert!(verdict(&radio, &Platform::twitch(), Strictness::Seed).action == Action::Copy);
    assert!(verdict(&radio, &Platform::twitch(), Strictness::Lenient).needs_encoding());
}

#[test]
fn platforms_are_split_into_copies_and_one_encode() {
    let mut facts = good();
    facts.video.as_mut().unwrap().bit_rate.mean = BitRate::from_kbps(7000);
    let platforms = [Platform::youtube(), Platform::twitch(), Platform::facebook()];
    let split = plan_for(&facts, &platforms, Strictness::Lenient);
    assert_eq!(
        split.copy_to.iter().map(|verdict| verdict.platform.as_str()).collect::<Vec<_>>(),
        ["youtube"]
    );
    let shared = split.shared.unwrap();
    assert_eq!(shared.verdict.platform, "twitch, facebook");
    assert_eq!(shared.verdict.action, Action::EncodeVideoCopyAudio);
    assert_eq!(shared.limits.bit_rates_of(1280, 720, 30.0).unwrap().max, Some(BitRate::from_kbps(4000)));
    let together = verdict_for_all(&facts, &platforms, Strictness::Lenient).unwrap();
    assert_eq!(together.action, Action::EncodeVideoCopyAudio);
    assert_eq!(plan_for(&good(), &platforms, Strictness::Strict).shared, None);
}

#[test]
fn codes_have_names_of_their_own() {
    let mut names: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ReasonCode::ALL.len());
}
