//! Encoders that are not there, or whose device is not: the stream is on the air all the same, or says why not.

use std::path::Path;

use flowcast::av::Hardware;
use flowcast::av::encoder::VideoCodecKind;
use flowcast::encode::EncoderChoice;
use flowcast::{BitRate, Encoding, Engine, EventKind, Mode, Profile, Source};

use crate::air::{Aired, Server, air, reels};
use crate::clips::{self, FILM};
use crate::picture;
use kit::rig::{engine, wait_event};
use kit::{Need, Nginx, PATIENCE, need, turn};

/// Encoders of devices, one of which this machine's libav knows but cannot use.
const DEVICES: [&str; 3] = ["h264_nvenc", "h264_qsv", "h264_vaapi"];

/// An encoder that is listed but does not work here; `None`, and a word about it, where all work or none is listed.
fn unusable() -> Option<String> {
    let known = Hardware::shared().candidates(VideoCodecKind::H264);
    let broken = known
        .iter()
        .find(|known| DEVICES.contains(&known.name.as_str()) && known.compiled_in && known.opens.is_err());
    if broken.is_none() {
        eprintln!("skipped: no encoder is listed that does not work: {known:?}");
    }
    broken.map(|known| known.name.clone())
}

fn with(choice: EncoderChoice, fallback: Option<bool>) -> Encoding {
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.video_bit_rate = Some(BitRate::from_kbps(400));
    encoding.encoder = choice;
    encoding.fallback = fallback;
    encoding
}

fn source(file: &Path, encoding: Encoding) -> Source {
    Source::file(file).looped().mode(Mode::Encode).encoding(encoding)
}

/// The recording is x264's, and whole.
fn assert_software(aired: &Aired, who: &str) {
    for (by, recording) in &aired.recordings {
        let options = picture::x264_options(recording);
        assert!(options.is_some(), "{who}: {by}: not of x264");
        picture::check(recording)
            .and_then(|_| picture::decodes(recording))
            .unwrap_or_else(|why| panic!("{who}: {by}: {why}"));
    }
}

/// Engines that encode as they play, and into reels.
fn both_ways(directory: &Path) -> [(&'static str, Engine); 2] {
    [("direct", engine(|_| {})), ("reel", reels(directory))]
}

#[test]
fn software_takes_over_where_hardware_does_not_work() {
    if !need(&[Need::Ffmpeg, Need::Nginx, Need::Media(FILM)]) {
        return;
    }
    let Some(broken) = unusable() else { return };
    let _turn = turn();
    let file = clips::all()[0].make();
    let nginx = Nginx::start(&["live"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (way, engine) in both_ways(directory.path()) {
        let choice = EncoderChoice::Named(broken.clone());
        let aired =
            air(&engine, source(&file, with(choice, None)), &format!("named-{way}"), Server::Nginx(&nginx))
                .unwrap_or_else(|why| panic!("{way}: {why}"));
        assert_software(&aired, way);
        let told = aired.told.iter().filter(|told| told.starts_with("EncoderChanged")).collect::<Vec<_>>();
        println!("{broken} {way}: {told:?}");
        // A stream that its reel keeps waiting has an encoder of its own besides.
        let most = if aired.told.iter().any(|told| told.starts_with("ModeChanged")) { 2 } else { 1 };
        assert!((1..=most).contains(&told.len()), "{way}: what happened is told once: {:#?}", aired.told);
        assert!(
            told.iter().all(|told| told.contains(&broken) && told.contains("libx264")),
            "{way}: {told:?}"
        );
        // Whatever works, and nothing does.
        let aired = air(
            &engine,
            source(&file, with(EncoderChoice::Hardware, None)),
            &format!("hardware-{way}"),
            Server::Nginx(&nginx),
        )
        .unwrap_or_else(|why| panic!("hardware {way}: {why}"));
        assert_software(&aired, way);
    }
}

#[test]
fn without_a_fallback_the_stream_says_which_encoder_failed() {
    if !need(&[Need::Ffmpeg, Need::Media(FILM)]) {
        return;
    }
    let Some(broken) = unusable() else { return };
    let file = clips::all()[0].make();
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (way, engine) in both_ways(directory.path()) {
        for choice in [EncoderChoice::Named(broken.clone()), EncoderChoice::Hardware] {
            let source = source(&file, with(choice.clone(), Some(false)));
            let events = engine.events();
            let recording = directory.path().join(format!("{way}.flv"));
            let error = match engine.stream(source).record(&recording).start() {
                Err(error) => flowcast::error::chain(&error),
                Ok(live) => {
                    let ended = wait_event(&events, PATIENCE, |event| match &event.kind {
                        EventKind::Ended { error } if event.stream == live.id() => Some(error.clone()),
                        _ => None,
                    });
                    flowcast::error::chain(&ended.expect("it cannot end well"))
                }
            };
            println!("{choice:?} {way}: {error}");
            if matches!(choice, EncoderChoice::Named(_)) {
                assert!(error.contains(&broken), "{way}: {error}");
            }
            assert!(error.contains("encoder"), "{way}: {error}");
        }
    }
}
