//! What becomes of files, by what is asked for and what is in them.

use flowcast_av::{AudioInfo, SampleSpec, TimeBase, VideoInfo, sample_clip};

use super::*;
use crate::bit_rate::BitRate;
use crate::transcode::{AudioEncoding, Encoding, Profile};
use crate::verdict::{Platform, ReasonCode};

fn picture(width: u32, height: u32, rate: Ratio) -> TrackInfo {
    let mut track = TrackInfo::new(0, TrackKind::Video, Codec::from_name("mpeg4"), TimeBase::MILLIS);
    track.video = Some(VideoInfo {
        frame_rate: Some(rate),
        real_frame_rate: Some(rate),
        pixel_format: "yuv420p".to_owned(),
        field_order: FieldOrder::Progressive,
        ..VideoInfo::of_size(width, height)
    });
    track
}

fn sound(codec: Codec, sample_rate: u32, channels: u32) -> TrackInfo {
    let mut track = TrackInfo::new(1, TrackKind::Audio, codec, TimeBase::new(1, sample_rate));
    track.audio = Some(AudioInfo {
        sample_rate,
        channels,
        layout: String::new(),
        frame_samples: 1024,
        priming_samples: 0,
    });
    track.config = Some(bytes::Bytes::from_static(&[0x11, 0x90]));
    track
}

fn media(tracks: Vec<TrackInfo>) -> MediaInfo {
    MediaInfo {
        format: String::new(),
        duration: None,
        start_micros: None,
        bit_rate: None,
        tracks,
        metadata: Vec::new(),
        seekable: true,
    }
}

fn settling(mode: Mode, encoding: impl Into<Encoding>) -> Settling {
    let wish = Wish { mode: Some(mode), encoding: encoding.into(), ..Wish::default() };
    Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true })
}

#[test]
fn sound_is_encoded_fast_where_that_is_asked_for_and_has_the_bits() {
    let source = media(vec![sound(Codec::Mp3, 48_000, 2)]);
    let fast = |profile: Profile, audio: AudioEncoding| {
        let mut encoding = Encoding::new(profile);
        encoding.audio = audio;
        settling(Mode::Encode, encoding).plan(&source).audio.expect("all is encoded").fast
    };
    let said = AudioEncoding { fast: Some(true), ..AudioEncoding::default() };
    assert!(fast(Profile::Ultra, AudioEncoding::default()) && fast(Profile::High, said.clone()));
    for (profile, audio) in [
        (Profile::Default, AudioEncoding::default()),
        (Profile::Ultra, AudioEncoding { fast: Some(false), ..AudioEncoding::default() }),
        (
            Profile::Ultra,
            AudioEncoding { bit_rate: Some(BitRate::from_kbps(48)), ..AudioEncoding::default() },
        ),
        (Profile::High, AudioEncoding { codec: AudioCodec::Opus, ..said }),
    ] {
        assert!(!fast(profile, audio.clone()), "{profile:?} {audio:?}");
    }
}

#[test]
fn what_is_mixed_is_encoded_fast_unless_something_else_is_said_or_there_are_few_bits() {
    let fast = |fast: Option<bool>, kbps: Option<u64>| {
        let mut encoding = Encoding::new(Profile::Default);
        (encoding.audio.fast, encoding.audio.bit_rate) = (fast, kbps.map(BitRate::from_kbps));
        settling(Mode::Copy, encoding).mixed_plan().fast
    };
    assert!(fast(None, None) && fast(Some(true), None));
    assert!(!fast(Some(false), None) && !fast(None, Some(48)) && !fast(Some(true), Some(48)));
}

#[test]
fn the_first_file_settles_what_all_are_encoded_to() {
    let settling = settling(Mode::Encode, Profile::Ultra);
    let first =
        media(vec![picture(640, 360, Ratio { num: 30_000, den: 1001 }), sound(Codec::Aac, 44_100, 6)]);
    let other = media(vec![picture(1920, 1080, Ratio { num: 25, den: 1 }), sound(Codec::Mp3, 48_000, 1)]);
    let plan = settling.plan(&first);
    assert_eq!(settling.plan(&other), plan);
    let video = plan.video.expect("all is encoded");
    assert_eq!((video.width, video.height, video.frame_rate.to_string()), (640, 360, "30000/1001".into()));
    assert_eq!((video.gop_frames, video.kbps, video.vbv_kbits), (60, 1500, 500));
    assert_eq!((video.preset.as_str(), video.tune.as_str(), video.threads), ("ultrafast", "zerolatency", 1));
    let audio = plan.audio.expect("all is encoded");
    assert_eq!((audio.kbps, audio.sample_rate, audio.channels), (96, 44_100, 2));
    let mute = media(vec![picture(640, 360, Ratio { num: 25, den: 1 })]);
    assert_eq!(settling.plan(&mute).audio, None);
}

#[test]
fn a_first_file_that_is_copied_settles_what_later_ones_are_encoded_to() {
    let settling = settling(Mode::Auto, Profile::Default);
    let mut fitting = picture(1280, 720, Ratio { num: 50, den: 1 });
    fitting.codec = Codec::H264;
    let first = settling.plan(&media(vec![fitting, sound(Codec::Aac, 44_100, 2)]));
    assert!(first.is_copy());
    let other = media(vec![picture(640, 360, Ratio { num: 25, den: 1 }), sound(Codec::Mp3, 48_000, 1)]);
    let plan = settling.plan(&other);
    let (video, audio) = (plan.video.expect("MPEG-4 is encoded"), plan.audio.expect("MP3 is encoded"));
    assert_eq!((video.width, video.height, video.frame_rate), (1280, 720, FrameRate::whole(50)));
    assert_eq!(audio.sample_rate, 44_100);
}

#[test]
fn what_is_given_is_taken_and_the_buffer_follows_the_rate() {
    let mut encoding = Encoding::new(Profile::LadderHigh);
    encoding.size = Some((1280, 720));
    encoding.frame_rate = Some(FrameRate::whole(50));
    encoding.video_bit_rate = Some(BitRate::from_kbps(5000));
    encoding.x264_params = "ref=2".to_owned();
    let settling = settling(Mode::Encode, encoding);
    let plan = settling.plan(&media(vec![picture(720, 576, Ratio { num: 25, den: 1 })]));
    let video = plan.video.expect("all is encoded");
    assert_eq!((video.width, video.height, video.gop_frames), (1280, 720, 100));
    assert_eq!((video.kbps, video.vbv_kbits, video.x264_params.as_str()), (5000, 10_000, "ref=2"));
}

#[test]
fn platforms_bound_what_is_not_given() {
    let mut wish =
        Wish { mode: Some(Mode::Encode), encoding: Profile::LowLatencyCbr.into(), ..Wish::default() };
    wish.platforms = vec![Platform::facebook(), Platform::twitch()];
    let defaults = EncoderDefaults { prefer_hardware: false, fallback: true };
    let large = media(vec![picture(3840, 2160, Ratio { num: 50, den: 1 })]);
    let video = Settling::new(wish.clone(), defaults).plan(&large).video.expect("all is encoded");
    assert_eq!((video.width, video.height, video.kbps), (1920, 1080, 6000));
    let small = media(vec![picture(640, 360, Ratio { num: 25, den: 1 })]);
    let video = Settling::new(wish.clone(), defaults).plan(&small).video.expect("all is encoded");
    assert!((400..=1000).contains(&video.kbps), "{}", video.kbps);
    assert_eq!(video.vbv_kbits, video.kbps / 3);
    wish.encoding.video_bit_rate = Some(BitRate::from_kbps(5000));
    let video = Settling::new(wish, defaults).plan(&small).video.expect("all is encoded");
    assert_eq!(video.kbps, 5000, "what is given is taken");
}

#[test]
fn sizes_are_as_shown_and_rates_are_those_in_use() {
    let mut track = picture(719, 576, Ratio { num: 25, den: 1 });
    let video = track.video.as_mut().expect("it has pictures");
    video.sample_aspect = Ratio::new(16, 15);
    assert_eq!(shown_size(&track), (766, 576));
    track.video.as_mut().expect("it has pictures").rotation_degrees = 90;
    assert_eq!(shown_size(&track), (576, 766));
    for (average, wanted) in [
        ((30_000, 1001), "30000/1001"),
        ((2997, 100), "30000/1001"),
        ((24, 1), "24"),
        ((24_000, 1001), "24000/1001"),
        ((2914, 100), "30000/1001"),
        ((60_001, 1000), "60"),
        ((120, 1), "60"),
        ((7, 10), "1"),
    ] {
        let track = picture(640, 360, Ratio { num: average.0, den: average.1 });
        assert_eq!(frame_rate(&track).to_string(), wanted, "{average:?}");
    }
}

#[test]
fn a_rate_that_varies_is_the_one_all_times_fit_in() {
    let mut track = picture(640, 360, Ratio { num: 1442, den: 100 });
    let video = track.video.as_mut().expect("it has pictures");
    video.real_frame_rate = Some(Ratio { num: 25, den: 1 });
    assert_eq!(frame_rate(&track).to_string(), "25");
    track.video.as_mut().expect("it has pictures").real_frame_rate = Some(Ratio { num: 90_000, den: 1 });
    assert_eq!(frame_rate(&track).to_string(), "15");
}

/// What becomes of the tracks of a clip, and what is told of it.
fn judged(
    spec: &SampleSpec,
    platforms: Vec<Platform>,
    mode: Option<Mode>,
    tracks: Tracks,
) -> (Plan, Vec<EventKind>) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("clip.mp4");
    sample_clip(&path, spec).expect("libav has the encoders");
    let wish = Wish { mode, platforms, ..Wish::default() };
    let settling = Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true });
    let interrupt = Interrupt::new();
    let media =
        flowcast_av::probe(&path, &flowcast_av::OpenOptions::default(), &interrupt).expect("a clip of ours");
    let mut told = Vec::new();
    // Asked twice, it is told once.
    let again = settling.plan_file(&path, &media, tracks, &interrupt);
    let plan = settling.plan_file(&path, &media, tracks, &interrupt);
    assert_eq!(plan, again);
    settling.tell(&mut told);
    (plan, told)
}

#[test]
fn platforms_decide_by_the_packets_and_limit_what_is_encoded() {
    let spec = SampleSpec { seconds: 4.0, ..SampleSpec::default() };
    let (plan, told) = judged(&spec, vec![Platform::twitch()], None, Tracks::Both);
    assert_eq!(plan, Plan::COPY);
    let [EventKind::Judged { verdict, .. }] = &told[..] else { panic!("{told:?}") };
    assert!(!verdict.needs_encoding());

    let mut own = Platform::twitch();
    (own.max_bit_rate, own.max_size) = (Some(BitRate::from_kbps(100)), Some((200, 200)));
    let (plan, told) = judged(&spec, vec![Platform::youtube(), own.clone()], None, Tracks::Both);
    let video = plan.video.expect("it is too large and has too many bits");
    assert_eq!((video.width, video.height, video.kbps), (200, 112, 100));
    assert_eq!(plan.audio, None);
    let [EventKind::Judged { verdict, .. }] = &told[..] else { panic!("{told:?}") };
    assert!(verdict.has(ReasonCode::BitrateHigh) && verdict.has(ReasonCode::VideoResolutionUnsupported));

    let (plan, told) = judged(&spec, vec![own], Some(Mode::Copy), Tracks::Both);
    assert!(plan.is_copy() && told.is_empty());
}

#[test]
fn a_split_encodes_for_those_alone_who_do_not_take_a_copy() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = scratch.path().join("clip.mp4");
    sample_clip(&path, &SampleSpec { seconds: 4.0, ..SampleSpec::default() })
        .expect("libav has the encoders");
    let interrupt = Interrupt::new();
    let facts = facts(&path, &ScanOptions::default(), &interrupt).expect("a clip of ours");
    let media =
        flowcast_av::probe(&path, &flowcast_av::OpenOptions::default(), &interrupt).expect("a clip of ours");
    let narrow = |name: &str, kbps| Platform {
        name: name.to_owned(),
        max_bit_rate: Some(BitRate::from_kbps(kbps)),
        ..Platform::twitch()
    };
    let show = crate::Source::file(&path).looped();
    let all = [narrow("narrow", 200), Platform::youtube(), narrow("narrower", 100), Platform::facebook()];
    let split = all.into_iter().fold(show.clone(), crate::Source::platform).split(&facts);
    let names =
        |verdicts: &[Verdict]| verdicts.iter().map(|verdict| verdict.platform.clone()).collect::<Vec<_>>();
    assert_eq!(names(&split.plan.copy_to), ["youtube", "facebook"]);
    assert_eq!(names(&split.plan.encode_for), ["narrow", "narrower"]);
    let plan = |source: Option<crate::Source>| {
        let defaults = EncoderDefaults { prefer_hardware: false, fallback: true };
        let wish = source.expect("it has platforms").wish;
        Settling::new(wish, defaults).plan_file(&path, &media, Tracks::Both, &interrupt)
    };
    assert_eq!(plan(split.copied), Plan::COPY);
    let encoded = plan(split.encoded);
    assert_eq!(encoded.video.map(|video| video.kbps), Some(100), "one encode that both take");
    assert_eq!(encoded.audio, None);
    let alone = show.platform(Platform::youtube()).split(&facts);
    assert!(alone.copied.is_some() && alone.encoded.is_none());
}

#[test]
fn what_a_part_of_a_stream_lacks_is_no_reason_to_encode_it() {
    let sound = SampleSpec { video: false, audio_seconds: Some(4.0), ..SampleSpec::default() };
    let (plan, _) = judged(&sound, vec![Platform::youtube()], None, Tracks::Audio);
    assert_eq!(plan, Plan::COPY);
    let pictures = SampleSpec { seconds: 4.0, audio: None, ..SampleSpec::default() };
    for tracks in [Tracks::Video, Tracks::Both] {
        let (plan, _) = judged(&pictures, vec![Platform::youtube()], None, tracks);
        assert_eq!(plan, Plan::COPY, "silence is sent beside it");
    }
}

#[test]
fn what_cannot_be_judged_is_encoded() {
    let path = Path::new("/there/is/no/such/file.mp4");
    let wish = Wish { platforms: vec![Platform::any()], ..Wish::default() };
    let settling = Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true });
    let mut fitting = picture(640, 360, Ratio { num: 25, den: 1 });
    fitting.codec = Codec::H264;
    let media = media(vec![fitting, sound(Codec::Aac, 48_000, 2)]);
    let plan = settling.plan_file(path, &media, Tracks::Both, &Interrupt::new());
    assert!(plan.video.is_some() && plan.audio.is_some());
    let mut told = Vec::new();
    settling.tell(&mut told);
    let [EventKind::Judged { verdict, .. }] = &told[..] else { panic!("{told:?}") };
    assert!(verdict.has(ReasonCode::ProbeFailed));
}

#[test]
fn only_what_does_not_fit_is_encoded() {
    let settling = settling(Mode::Auto, Profile::Default);
    let mut fitting = picture(640, 360, Ratio { num: 25, den: 1 });
    fitting.codec = Codec::H264;
    let needs = |video: &TrackInfo, audio: TrackInfo| {
        let plan = settling.plan(&media(vec![video.clone(), audio]));
        (plan.video.is_some(), plan.audio.is_some())
    };
    assert_eq!(needs(&fitting, sound(Codec::Aac, 48_000, 2)), (false, false));
    assert_eq!(needs(&fitting, sound(Codec::Aac, 48_000, 6)), (false, true));
    assert_eq!(needs(&fitting, sound(Codec::Mp3, 48_000, 1)), (false, true));
    let asp = picture(640, 360, Ratio { num: 25, den: 1 });
    assert_eq!(needs(&asp, sound(Codec::Aac, 44_100, 2)), (true, false));
    fitting.video.as_mut().expect("it has pictures").rotation_degrees = 90;
    assert_eq!(needs(&fitting, sound(Codec::Aac, 44_100, 1)), (true, false));
}

/// What is encoded of the items of a list, in words.
fn of_list(encoding: impl Into<Encoding>, silence: Option<(u32, u8)>, items: &[MediaInfo]) -> Vec<String> {
    let wish = Wish { mode: Some(Mode::Auto), encoding: encoding.into(), enhanced: true, ..Wish::default() };
    let settling =
        Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true }).of_list(silence);
    let plans = items.iter().map(|media| settling.plan(media));
    let in_words = |plan: Plan| {
        let video = plan.video.map_or_else(
            || "copy".to_owned(),
            |video| format!("{} {}x{}", video.codec.as_str(), video.width, video.height),
        );
        let audio = plan.audio.map_or_else(
            || "copy".to_owned(),
            |audio| format!("{} {} {}", audio.codec.as_str(), audio.sample_rate, audio.channels),
        );
        format!("{video}, {audio}")
    };
    plans.map(in_words).collect()
}

fn with_profile(mut track: TrackInfo, profile: &str) -> TrackInfo {
    track.profile = Some(profile.to_owned());
    track
}

#[test]
fn sound_of_a_list_is_made_like_the_first() {
    let (aac, opus) = (Codec::Aac, Codec::Opus);
    let list = |items: &[TrackInfo]| {
        let items: Vec<_> = items.iter().map(|track| media(vec![track.clone()])).collect();
        let words = of_list(Profile::Default, None, &items);
        words.into_iter().map(|words| words.replace("copy, ", "")).collect::<Vec<_>>()
    };
    let stereo = |codec: &Codec, rate| sound(codec.clone(), rate, 2);
    let he = with_profile(stereo(&aac, 44_100), "HE-AAC");
    // One that is copied sets codec, rate and channels.
    let like = list(&[
        sound(aac.clone(), 44_100, 1),
        stereo(&aac, 44_100),
        sound(aac.clone(), 48_000, 1),
        sound(Codec::Mp3, 44_100, 1),
        he.clone(),
        stereo(&opus, 48_000),
        with_profile(sound(aac.clone(), 44_100, 1), "LC"),
    ]);
    let made = "aac 44100 1";
    assert_eq!(like, ["copy", made, made, made, made, made, "copy"]);
    assert_eq!(list(&[stereo(&opus, 48_000), stereo(&aac, 48_000)]), ["copy", "opus 48000 2"]);
    // Nothing is encoded to MP3, nor to AAC of other profiles: all is AAC-LC from the beginning.
    for first in [stereo(&Codec::Mp3, 44_100), he] {
        let words = list(&[first.clone(), stereo(&aac, 44_100), stereo(&aac, 48_000), first]);
        assert_eq!(words, ["aac 44100 2", "copy", "aac 44100 2", "aac 44100 2"]);
    }
}

#[test]
fn silence_and_what_is_asked_for_come_first() {
    let h264 = |width, height| {
        let mut track = picture(width, height, Ratio { num: 25, den: 1 });
        track.codec = Codec::H264;
        track
    };
    let mute = media(vec![h264(640, 360)]);
    let loud = |rate| media(vec![h264(640, 360), sound(Codec::Aac, rate, 2)]);
    let items = [mute.clone(), loud(48_000), loud(44_100), mute.clone()];
    assert_eq!(
        of_list(Profile::Default, Some((44_100, 2)), &items),
        ["copy, copy", "copy, aac 44100 2", "copy, copy", "copy, copy"]
    );
    assert_eq!(
        of_list(Profile::Default, None, &items),
        ["copy, copy", "copy, copy", "copy, aac 48000 2", "copy, copy"]
    );
    let mut encoding = Encoding::new(Profile::Default);
    (encoding.size, encoding.audio.sample_rate) = (Some((320, 180)), Some(44_100));
    assert_eq!(of_list(encoding, None, &[loud(48_000)]), ["h264 320x180, aac 44100 2"]);
}

#[test]
fn pictures_of_a_list_are_made_like_the_first() {
    let of = |codec: &str, width, height| {
        let mut track = picture(width, height, Ratio { num: 25, den: 1 });
        track.codec = Codec::from_name(codec);
        track.config = Some(bytes::Bytes::from_static(&[1]));
        media(vec![track])
    };
    let items = [of("h264", 1280, 720), of("h264", 720, 1280), of("hevc", 1280, 720), of("h264", 1280, 720)];
    let made = "h264 1280x720, copy";
    assert_eq!(of_list(Profile::Default, None, &items), ["copy, copy", made, made, "copy, copy"]);
    let items = [of("hevc", 1280, 720), of("h264", 1280, 720)];
    assert_eq!(of_list(Profile::Default, None, &items), ["copy, copy", "hevc 1280x720, copy"]);
}

#[test]
fn sound_that_is_leveled_is_encoded_and_pictures_are_copied_however_unlike_they_are() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, width: u32, rate: u32| {
        let path = dir.path().join(name);
        let spec = SampleSpec { width, seconds: 1.0, audio: Some((rate, 2)), ..SampleSpec::default() };
        sample_clip(&path, &spec).expect("it can be made");
        path
    };
    let files = [file("a.mp4", 320, 48_000), file("b.mp4", 160, 44_100)];
    for mode in [Mode::Copy, Mode::Auto] {
        let wish = Wish {
            mode: Some(mode),
            loudness: Some(crate::loudness::Loudness::default()),
            ..Wish::default()
        };
        assert!(!wish.is_copy() && wish.check().is_ok());
        let settling = Settling::new(wish, EncoderDefaults { prefer_hardware: false, fallback: true });
        let settling = settling.of_list(None);
        let interrupt = Interrupt::new();
        let plans = files.each_ref().map(|path| {
            let media = flowcast_av::Demuxer::open(path, &flowcast_av::OpenOptions::default(), &interrupt);
            let media = media.expect("it can be opened").media().clone();
            let video = settling.plan_file(path, &media, Tracks::Video, &interrupt);
            assert_eq!(video.audio, None, "its sound is not played");
            settling.plan_file(path, &media, Tracks::Both, &interrupt)
        });
        let audio = plans[0].audio.as_ref().expect("it is leveled");
        assert!(audio.level.is_some() && audio.sample_rate == 48_000, "{audio:?}");
        assert_eq!(plans[1].audio.as_ref(), Some(audio), "all items are alike");
        // With Mode::Auto the pictures of a list are alike, too.
        assert_eq!(plans.map(|plan| plan.video.is_some()), [false, mode == Mode::Auto]);
        assert_eq!(settling.mixed_plan().level, None, "a mix is not leveled as a whole");
        let mut notices = Vec::new();
        settling.tell(&mut notices);
        let told = notices.iter().any(|notice| match notice {
            EventKind::Judged { verdict, .. } => {
                verdict.reasons.iter().any(|reason| reason.detail.contains("loudness"))
            }
            _ => false,
        });
        assert_eq!(told, mode == Mode::Auto);
    }
}

#[test]
fn sound_that_is_mixed_later_is_encoded_then_and_not_before() {
    let pictures = || picture(640, 360, Ratio { num: 25, den: 1 });
    let plan = |settling: Settling, codec| settling.plan(&media(vec![pictures(), sound(codec, 44_100, 2)]));
    for mode in [Mode::Encode, Mode::Auto] {
        let of_file = || settling(mode, Profile::Ultra).for_mix();
        for codec in [Codec::Aac, Codec::Mp3] {
            let plan = plan(of_file(), codec);
            assert!(plan.video.is_some() && plan.audio.is_none(), "{mode:?}: {plan:?}");
        }
        // No tag carries that.
        assert!(plan(of_file(), Codec::from_name("pcm_s16le")).audio.is_some());
        let of_list = settling(mode, Profile::Ultra).of_list(None).for_mix();
        assert!(plan(of_list, Codec::Mp3).audio.is_some(), "items are alike");
        // Its loudness is of the file alone, so it is leveled before.
        let wish = Wish {
            mode: Some(mode),
            loudness: Some(crate::loudness::Loudness::default()),
            ..Wish::default()
        };
        let defaults = EncoderDefaults { prefer_hardware: false, fallback: true };
        let leveled = plan(Settling::new(wish, defaults).for_mix(), Codec::Aac);
        assert!(leveled.audio.is_some_and(|plan| plan.level.is_some()), "{mode:?}");
    }
}
