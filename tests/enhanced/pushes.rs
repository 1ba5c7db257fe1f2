//! Such streams at servers: those that say they take them, those that do not, and FFmpeg 7.1, which says nothing.

use super::*;
use flowcast::RtmpServerExt;
use kit::rig::{outputs, wait_ended};
use kit::{Peer, ffmpeg7, listening, own_address};

#[test]
fn a_server_that_takes_them_gets_them_and_other_outputs_end_with_an_error() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    let file = make(directory, FILES[3]);
    let serving = Engine::new(Config::default()).expect("the defaults work");
    let server = serving.rtmp_server("127.0.0.1:0").start().expect("a free port");
    for name in ["taken", "plain"] {
        serving.keys().add(name, format!("{name}-key")).expect("a usable key");
    }
    let url = |name: &str| Output::rtmp_url(&format!("rtmp://{}/live/{name}-key", server.address()));
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let events = engine.events();
    let own = directory.join("own.flv");
    let live = engine
        .stream(Source::file(&file).looped().enhanced())
        .to(url("taken").enhanced())
        .to(url("plain"))
        .to(Output::record(&own))
        .start()
        .expect("it can be played");
    let ids = outputs(&live);
    let error = wait_ended(&events, ids[1], PATIENCE).expect("it is not enhanced");
    assert_eq!(error.code(), "CODEC_NOT_TAKEN", "{error}");
    assert!(error.to_string().contains("vp09") || error.to_string().contains("Opus"), "{error}");
    assert!(wait_until(PATIENCE, || serving.hub().find("taken").is_some()));
    let taken = serving.hub().find("taken").expect("it is there");
    let recorded = directory.join("recorded.flv");
    taken.add_output(Output::record(&recorded)).expect("a running stream");
    assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() >= 5000), "{}", live.stats());
    live.stop(PATIENCE).expect("a stream that ran well ends well");
    assert!(wait_until(PATIENCE, || taken.has_ended()));
    let frames = frame_hashes(&file);
    for recording in [own, recorded] {
        let found = laps(&frame_hashes(&to_matroska(&recording)), &frames);
        let found = found.unwrap_or_else(|why| panic!("{}: {why}", recording.display()));
        assert!(found.first.is_multiple_of(25) && found.seams >= 1, "{found}");
    }
}

/// FFmpeg as a server says nothing of codecs: it is only sent them where that is known.
#[test]
fn ffmpeg_records_what_is_pushed_unasked() {
    if !need(&[Need::Ffmpeg, Need::Ffmpeg7]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    let engine = Engine::new(Config::default()).expect("the defaults work");
    std::thread::scope(|scope| {
        for (file, unasked) in [(0, true), (2, true), (0, false)] {
            let engine = &engine;
            scope.spawn(move || {
                let (name, code, coded) = FILES[file];
                let own = directory.join(format!("{file}-{unasked}"));
                std::fs::create_dir(&own).expect("a directory");
                let path = make(&own, (name, code, coded));
                let recording = own.join("recorded.mkv");
                let address = own_address();
                let url = format!("rtmp://{address}/live/key");
                let arguments = ["-nostdin", "-v", "warning", "-y", "-listen", "1", "-i", &url, "-c", "copy"];
                let mut server = Peer::spawn(&ffmpeg7(), arguments.into_iter().chain(recording.to_str()));
                assert!(wait_until(PATIENCE, || listening(address)), "{}", server.report());
                let output = Output::rtmp_url(&url);
                let output = if unasked { output.enhanced_always() } else { output.enhanced() };
                let live = engine.stream(Source::file(&path).looped().enhanced()).to(output).start();
                let live = live.expect("it can be played");
                if !unasked {
                    let ended = || live.stats().outputs.iter().any(|output| output.last_error.is_some());
                    assert!(wait_until(PATIENCE, ended), "{}", live.stats());
                    let said = live.stats().outputs.first().and_then(|output| output.last_error.clone());
                    let said = said.expect("the output is in the figures");
                    assert_eq!(said.code, "CODEC_NOT_TAKEN", "{said:?}");
                    assert!(said.text.contains("does not announce Enhanced RTMP"), "{said:?}");
                    drop(live);
                    server.wait(PATIENCE);
                    return;
                }
                let played = || live.stats().media_time.as_millis() >= 5000;
                assert!(wait_until(PATIENCE, played), "{}\n{}", live.stats(), server.report());
                live.stop(PATIENCE).expect("a stream that ran well ends well");
                server.wait(PATIENCE);
                let found = laps(&frame_hashes(&recording), &frame_hashes(&path));
                let found = found.unwrap_or_else(|why| panic!("{name}: {why}\n{}", server.report()));
                assert!(found.first == 0 && found.seams >= 1, "{name}: {found}");
            });
        }
    });
}
