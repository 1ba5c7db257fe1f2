//! What is wrong is found all at once; what is written is read again.

use super::StreamSpec;
use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::output::{Existing, Output};
use crate::source::Source;
use crate::transcode::{Encoding, Mode, Profile};

fn places(spec: &StreamSpec) -> Vec<(String, &'static str)> {
    match spec.check() {
        Ok(()) => Vec::new(),
        Err(Error::Spec { problems }) => {
            problems.into_iter().map(|problem| (problem.place, problem.error.code())).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let encoding = Encoding {
        video_codec: crate::transcode::VideoCodec::Hevc,
        threads: Some(0),
        ..Encoding::new(Profile::Ultra)
    };
    let source = Source::playlist(Default::default()).looped().once().mode(Mode::Encode).encoding(encoding);
    let policy = ReconnectPolicy { factor: 0.5, tries: Some(0), ..ReconnectPolicy::default() };
    let spec = StreamSpec::new(source)
        .label("a\nb")
        .to(Output::rtmp_url("http://host/app/key").label("one"))
        .to(Output::rtmp_url("rtmp://host/app/key").existing(Existing::Append).reconnect(policy).label("two"))
        .to(Output::record("a.flv").enhanced().label("two"))
        .to(Output::publish(".."));
    let config = "CONFIG_INVALID";
    let expected = [
        ("label", config),
        ("source", config),
        ("source", config),
        ("source", config),
        ("source", config),
        ("outputs[0]", "URL_INVALID"),
        ("outputs[1]", config),
        ("outputs[1]", config),
        ("outputs[1]", config),
        ("outputs[2]", config),
        ("outputs[2]", "LABEL_IN_USE"),
        ("outputs[3]", "KEY_INVALID"),
    ];
    assert_eq!(places(&spec), expected.map(|(place, code)| (place.to_owned(), code)), "{:?}", spec.check());
    let text = spec.check().expect_err("much is wrong").to_string();
    assert!(text.contains("outputs[1]: existing: has no effect on a push, only on a recording; "), "{text}");
    assert!(text.contains("source: encoding.threads: must be 1 to 64; "), "{text}");
    let nowhere = StreamSpec::new(Source::file("a.mp4"));
    assert_eq!(places(&nowhere), [("outputs".to_owned(), config)]);
    assert!(nowhere.without_outputs().check().is_ok());
}

#[test]
fn fallbacks_and_watchdogs_that_cannot_work_are_refused() {
    use std::time::Duration;

    use crate::source::Fallback;
    use crate::standby::{Reaction, Watchdog};

    let refused = |source: Source| match source.problems().first() {
        Some(Error::Config { name, .. }) => *name,
        other => panic!("{other:?}"),
    };
    let studio = || Source::published("studio");
    let slate = || Fallback::file("slate.mp4");
    assert_eq!(refused(studio().fallback(slate().after(Duration::from_millis(499)))), "fallback.after");
    assert_eq!(refused(studio().fallback(slate().at_least(Duration::from_secs(3601)))), "fallback.at_least");
    assert_eq!(refused(studio().fallback(slate().steady(Duration::MAX))), "fallback.steady");
    let rules =
        |no_packet, then| Watchdog::default().with(|rules| (rules.no_packet, rules.then) = (no_packet, then));
    let second = Some(Duration::from_secs(1));
    for watchdog in [
        rules(None, Reaction::Restart),
        rules(Some(Duration::from_millis(99)), Reaction::Tell),
        rules(second, Reaction::Fallback),
    ] {
        assert_eq!(refused(studio().watchdog(watchdog)), "watchdog", "{watchdog:?}");
    }
    let works = studio().fallback(slate()).watchdog(rules(second, Reaction::Fallback));
    assert!(works.problems().is_empty());
}

#[cfg(feature = "serde")]
mod written {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::adapt::{Adaptation, Follow, UnderLoad};
    use crate::bit_rate::BitRate;
    use crate::loudness::Loudness;
    use crate::net::tls::TlsRoots;
    use crate::output::{FileFormat, Segments};
    use crate::playlist::{NothingPlays, ParameterChange, Playlist};
    use crate::source::{Fallback, Rendition};
    use crate::standby::{Reaction, Watchdog};
    use crate::thumbnail::ThumbnailOptions;
    use crate::transcode::{EncoderChoice, FrameRate, Threading};
    use crate::verdict::{Platform, Strictness};

    fn read(value: Value) -> Result<StreamSpec, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// The rendition of this name.
    fn renditions(name: &str) -> Source {
        let all = [
            Rendition::lines(720).bit_rate(BitRate::from_kbps(2600)),
            Rendition::size(640, 272).named("wide").enlarged(),
            Rendition::source(),
        ];
        let encoding = Encoding::new(Profile::Ultra).with(|encoding| encoding.gop = Duration::from_secs(1));
        let ladder = Source::published("studio").encoding(encoding).renditions(all).expect("they can be");
        ladder.get(name).cloned().expect("it is one of them")
    }

    /// Each kind of source and output, with each setting somewhere.
    fn all() -> Vec<StreamSpec> {
        let mut encoding = Encoding::new(Profile::LadderLow);
        encoding.size = Some((1280, 720));
        encoding.frame_rate = FrameRate::new(30_000, 1001);
        encoding.video_bit_rate = Some(BitRate::from_kbps(2000));
        encoding.vbv_kbits = Some(3000);
        encoding.gop = Duration::from_millis(1500);
        encoding.preset = Some("veryfast".to_owned());
        encoding.tune = Some(String::new());
        encoding.b_frames = Some(2);
        encoding.h264_profile = Some("main".to_owned());
        encoding.threads = Some(2);
        encoding.threading = Some(Threading::Slice);
        encoding.x264_params = "aq-mode=2".to_owned();
        encoding.encoder = EncoderChoice::Named("libx264".to_owned());
        encoding.fallback = Some(false);
        encoding.filler = true;
        encoding.under_load =
            UnderLoad::default().with(|load| (load.priority, load.floor) = (3, Some("low".to_owned())));
        encoding.adaptation = Some(Adaptation::default().with(|adaptation| {
            adaptation.follow = Follow::Majority;
            adaptation.floor = Some(BitRate::from_kbps(300));
            adaptation.raise_after = Duration::from_millis(6500);
            adaptation.raise_percent = 20;
        }));
        encoding.audio.bit_rate = Some(BitRate::from_kbps(96));
        encoding.audio.sample_rate = Some(48_000);
        encoding.audio.channels = Some(1);
        encoding.audio.fast = Some(true);
        let weighted = Playlist::files(["a.mp3"]);
        weighted.add_weighted("b.mp3", 3).expect("there is room");
        let list = Playlist::files(["a.mp4", "b.mp4"]).once().on_change(ParameterChange::Refuse);
        let policy = ReconnectPolicy {
            first: Duration::from_millis(250),
            tries: Some(9),
            ..ReconnectPolicy::default()
        };
        vec![
            StreamSpec::new(Source::file("show.mp4").looped().all_tracks())
                .label("show")
                .owner("alice")
                .without_outputs(),
            StreamSpec::new(
                Source::file("old.avi")
                    .mode(Mode::Auto)
                    .encoding(encoding)
                    .leveled(Loudness::default().with(|loudness| loudness.target_lufs = -16.5))
                    .starting_at(Duration::from_secs(90)),
            )
            .to(Output::rtmp("rtmps://user:pass@host:444/app?token=1", "a/key?with=query").reconnect(policy))
            .to(Output::rtmp_url("rtmp://host/live/sub/key").enhanced_always().all_tracks().label("second")),
            StreamSpec::new(Source::video("rain.mp4").looped().with_audio(weighted.shuffled().seed(7)))
                .to(Output::record("a.flv").existing(Existing::Replace).all_tracks())
                .to(Output::publish("rain")),
            StreamSpec::new(Source::playlist(list.nothing_plays(NothingPlays::Wait)).with_silence())
                .to(Output::rtmp_url("rtmp://host/stream?user=name").enhanced())
                .to(Output::rtmp_url("rtmp://host/a/b/"))
                .to(Output::rtmp_url("rtmp://host//key").tls_roots(TlsRoots::in_pem_file("ca.pem".into()))),
            StreamSpec::new(Source::published("studio")).to(Output::url(
                "srt://host:9000?streamid=%23!::r=stream-id-7,m=publish&latency=200000",
            )
            .all_tracks()
            .reconnect(ReconnectPolicy { tries: Some(3), ..ReconnectPolicy::default() })),
            StreamSpec::new(Source::published("studio").once().fallback("slate.mp4"))
                .to(Output::record("b.flv"))
                .to(Output::thumbnails("thumbs/{stream}.jpg", Duration::from_secs(5)).label("looks"))
                .to(Output::thumbnails("{time}.jpg", Duration::from_millis(1500))
                    .thumbnail_options(ThumbnailOptions::default().with(|options| options.quality = 90)))
                .to(Output::record("c").format(FileFormat::MpegTs).max_duration(Duration::from_secs(90)))
                .to(Output::record("d/{stream}_{time}.mp4").segments(
                    Segments::by_clock(Duration::from_secs(3600), "UTC")
                        .and_of_bytes(1 << 30)
                        .and_at_returns()
                        .keep_for(Duration::from_secs(7 * 24 * 3600))
                        .keep_files(200),
                )),
            StreamSpec::new(
                Source::published("studio")
                    .fallback(
                        Fallback::file("slate.mp4")
                            .after(Duration::from_millis(3500))
                            .steady(Duration::from_millis(500))
                            .at_least(Duration::from_secs(9))
                            .mode(Mode::Copy),
                    )
                    .watchdog(Watchdog::default().with(|rules| {
                        rules.no_packet = Some(Duration::from_millis(1500));
                        rules.no_keyframe = Some(Duration::from_secs(20));
                        rules.then = Reaction::Fallback;
                    })),
            )
            .to(Output::record("d.flv")),
            StreamSpec::new(renditions("720p").fallback("slate.mp4")).to(Output::publish("studio_720p")),
            StreamSpec::new(renditions("wide")).to(Output::record("e.flv")),
            StreamSpec::new(renditions("source")).to(Output::record("f.flv")),
            StreamSpec::new(
                Source::file("hevc.mp4")
                    .platform(Platform::youtube())
                    .platform(Platform::twitch())
                    .strictness(Strictness::Strict)
                    .enhanced(),
            )
            .to(Output::record("c.flv")),
        ]
    }

    #[test]
    fn what_is_written_with_its_keys_is_read_again() {
        for spec in all() {
            let text = serde_json::to_string_pretty(&spec.with_keys()).expect("it can be written");
            let again: StreamSpec =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
            assert_eq!(again, spec, "{text}");
            assert!(again.check().is_ok() || spec.check().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_left_out_unless_they_are_asked_for_and_what_lacks_them_is_not_started() {
        for (number, spec) in all().into_iter().enumerate() {
            let text = serde_json::to_string(&spec).expect("it can be written");
            for secret in [
                "a/key",
                "with=query",
                "pass",
                "token",
                "sub/key",
                "/key",
                "/stream",
                "user=name",
                "stream-id-7",
            ] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            let again: StreamSpec = serde_json::from_str(&text).expect("it can be read");
            let pushes = spec.outputs.iter().filter(|output| {
                let shown = format!("{output:?}");
                shown.contains("rtmp") || shown.contains("srt://")
            });
            let pushes = pushes.count();
            let hidden = places(&again).into_iter().filter(|(_, code)| *code == "CONFIG_INVALID").count();
            assert_eq!(hidden, pushes, "{number}: {:?}", again.check());
        }
    }

    #[test]
    fn a_file_by_hand_is_short() {
        let spec = read(json!({
            "source": {"playlist": ["a.mp4", {"file": "b.mp4", "weight": 2}], "mode": "encode",
                "encoding": {"profile": "ultra", "video_bit_rate": "1.5M", "frame_rate": 25, "gop": 2}},
            "outputs": [{"url": "rtmp://host/app/key"}, {"record": "a.flv", "existing": "append"},
                {"record": "b.mp4", "segments": {"every": "10m", "keep_files": 6}, "max_duration": "1day"}],
        }))
        .expect("it is right");
        let list = Playlist::files(["a.mp4"]);
        list.add_weighted("b.mp4", 2).expect("there is room");
        let mut encoding = Encoding::new(Profile::Ultra);
        encoding.video_bit_rate = Some(BitRate::from_kbps(1500));
        encoding.frame_rate = Some(FrameRate::whole(25));
        let expected = StreamSpec::new(Source::playlist(list).mode(Mode::Encode).encoding(encoding))
            .to(Output::rtmp_url("rtmp://host/app/key"))
            .to(Output::record("a.flv").existing(Existing::Append))
            .to(Output::record("b.mp4")
                .segments(Segments::every(Duration::from_secs(600)).keep_files(6))
                .max_duration(Duration::from_secs(24 * 3600)));
        assert_eq!(spec, expected);
        let guarded = json!({"published": "studio", "fallback": {"file": "slate.mp4", "after": "3s"},
            "watchdog": {"no_packet": 5, "then": "restart"}});
        let rules = |rules: &mut Watchdog| {
            (rules.no_packet, rules.then) = (Some(Duration::from_secs(5)), Reaction::Restart);
        };
        let source = Source::published("studio")
            .fallback(Fallback::file("slate.mp4").after(Duration::from_secs(3)))
            .watchdog(Watchdog::default().with(rules));
        assert_eq!(serde_json::from_value::<Source>(guarded).expect("it is right"), source);
        let sized = json!({"published": "studio", "rendition": {"name": "480p",
            "of": [{"lines": 480, "bit_rate": "1M"}, {"size": "640x640", "name": "square"}, {"source": true}]}});
        let all = [
            Rendition::lines(480).bit_rate(BitRate::from_kbps(1000)),
            Rendition::size(640, 640).named("square"),
            Rendition::source(),
        ];
        let ladder = Source::published("studio").renditions(all).expect("they can be");
        let source: Source = serde_json::from_value(sized).expect("it is right");
        assert_eq!(Some(&source), ladder.get("480p"));
        for wrong in [
            json!({"name": "480p", "of": [{"lines": 480, "size": "640x480"}]}),
            json!({"name": "720p", "of": [{"lines": 480}]}),
            json!({"name": "480p", "of": [{"lines": 480}, {"lines": 480}]}),
        ] {
            assert!(read(json!({"source": {"published": "studio", "rendition": wrong}})).is_err());
        }
        let short = serde_json::to_value(Source::published("studio").fallback("slate.mp4"));
        assert_eq!(
            short.expect("it can be written"),
            json!({"published": "studio", "fallback": "slate.mp4"})
        );
        assert_eq!(
            serde_json::to_value(StreamSpec::new(Source::file("a.mp4").looped()).to(Output::record("a.flv")))
                .expect("it can be written"),
            json!({"source": {"file": "a.mp4", "looped": true}, "outputs": [{"record": "a.flv"}]})
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refused = |source: Value, output: Value| {
            read(json!({"source": source, "outputs": [output]})).expect_err("it is wrong")
        };
        let (file, record) = (|| json!({"file": "a.mp4"}), || json!({"record": "a.flv"}));
        for (error, named) in [
            (refused(json!({"file": "a.mp4", "loopd": true}), record()), "unknown field `loopd`"),
            (
                refused(json!({"looped": true}), record()),
                "one of `file`, `video`, `playlist`, `published`, `pull` and `fragments`",
            ),
            (refused(json!({"file": "a", "video": "b"}), record()), "only one of `file`"),
            (
                refused(json!({"file": "a", "mode": "fast"}), record()),
                "no such mode: there are copy, auto, encode",
            ),
            (refused(json!({"file": "a", "platforms": ["tiktok"]}), record()), "no such platform"),
            (refused(json!({"file": "a", "encoding": {"bitrate": 1}}), record()), "unknown field `bitrate`"),
            (refused(json!({"file": "a", "encoding": {"size": "big"}}), record()), "no size"),
            (refused(json!({"file": "a", "starting_at": "soon"}), record()), "no length of time"),
            (
                refused(json!({"file": "a", "fallback": {"after": 2}}), record()),
                "a fallback is the name of a file, or a table",
            ),
            (
                refused(json!({"file": "a", "watchdog": {"then": "shout"}}), record()),
                "there are tell, restart, fallback, end",
            ),
            (refused(json!({"playlist": {"shuffled": true}}), record()), "one of `files`, `dir` and `m3u`"),
            (refused(json!({"playlist": [{"file": "a", "wait": 1}]}), record()), "unknown field `wait`"),
            (refused(file(), json!({"url": "rtmp://h/a/k", "tls": "x"})), "unknown field `tls`"),
            (refused(file(), json!({"server": "rtmp://h/a"})), "missing field `key`"),
            (refused(file(), json!({"url": "rtmp://h/a/k", "record": "a"})), "only one of `url`"),
            (refused(file(), json!({"record": "a", "existing": "overwrite"})), "there are refuse, number"),
            (
                refused(file(), json!({"url": "rtmp://h/a/k", "reconnect": {"first": "2 s", "max": 1}})),
                "unknown field `max`",
            ),
        ] {
            assert!(error.contains(named), "{named:?} is not in {error:?}");
        }
        let error = read(json!({"source": file(), "output": record()})).expect_err("it is wrong");
        assert!(error.contains("unknown field `output`"), "{error}");
    }

    #[test]
    fn a_directory_is_read_when_the_stream_starts_and_written_as_one_until_it_is_edited() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let spec = read(json!({"source": {"playlist": {"dir": directory.path(), "shuffled": true}}, "outputs": [{"record": "a.flv"}]}))
            .expect("nothing is read yet");
        let crate::source::Media::Playlist(list) = &spec.source.media else { panic!("{spec:?}") };
        assert!(matches!(list.load(), Err(Error::Playlist { .. })), "there is nothing in it");
        std::fs::write(directory.path().join("a.mp4"), "").expect("there is room");
        list.load().expect("there is a file now");
        assert_eq!(list.len(), 1);
        let dir = |spec: &StreamSpec| {
            serde_json::to_value(spec).expect("it can be written")["source"]["playlist"].clone()
        };
        assert_eq!(dir(&spec)["dir"], json!(directory.path()));
        list.add("b.mp4").expect("there is room");
        assert_eq!(
            (dir(&spec)["files"].as_array().map(Vec::len), &dir(&spec)["dir"]),
            (Some(2), &Value::Null)
        );
    }
}
