//! Outputs that are played with HLS, by real players: ffmpeg, GStreamer, and hls.js in Chromium; and what a full disk costs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::output::{FileFormat, Hls, HlsStore};
use flowcast::stats::OutputTransport;
use flowcast::{Error, EventKind, Output, Source, StreamHandle};
use tiny_http::{Header, Response, Server};

use kit::rig::{Known, engine, push, wait_event};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, Peer, SmallDisk, checkout, directory, frame_hashes, need, text, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// A web server of the test's own, for directories and a store.
struct Web {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    fn start(directories: &[(&'static str, PathBuf)], store: &HlsStore) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a port is free"));
        let directories: BTreeMap<_, _> = directories.iter().cloned().collect();
        let (asked, store) = (server.clone(), store.clone());
        let thread = std::thread::spawn(move || {
            for request in asked.incoming_requests() {
                let path = request.url().trim_start_matches('/').to_owned();
                let (place, name) = path.split_once('/').unwrap_or(("", &path));
                let found = match directories.get(place) {
                    Some(directory) => fs::read(directory.join(name)).ok(),
                    None => store.get(name).map(|file| file.bytes.to_vec()),
                };
                let kind =
                    if name.ends_with(".m3u8") { "application/vnd.apple.mpegurl" } else { "video/mp4" };
                let header = |name: &str, value: &str| Header::from_bytes(name, value).expect("it is plain");
                let headers = vec![header("Content-Type", kind), header("Access-Control-Allow-Origin", "*")];
                // Whoever asked may have gone.
                let _ = match found {
                    None => request.respond(Response::empty(404)),
                    Some(bytes) => {
                        let length = bytes.len();
                        request.respond(Response::new(
                            200.into(),
                            headers,
                            Cursor::new(bytes),
                            Some(length),
                            None,
                        ))
                    }
                };
            }
        });
        Self { server, thread: Some(thread) }
    }

    fn url(&self, path: &str) -> String {
        let address = self.server.server_addr().to_ip().expect("it listens on IP");
        format!("http://{address}/{path}")
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Segments that the playlist of a directory lists.
fn segments(directory: &Path) -> usize {
    fs::read_to_string(directory.join("index.m3u8")).map_or(0, |text| text.matches("#EXTINF").count())
}

fn wait_segments(directory: &Path, count: usize, live: &StreamHandle) {
    assert!(
        wait_until(PATIENCE, || segments(directory) >= count),
        "{} segments: {}",
        segments(directory),
        live.stats()
    );
}

#[test]
fn ffmpeg_and_gstreamer_play_a_loop_over_its_seams() {
    if !need(&[Need::Ffmpeg, Need::GstreamerHls]) {
        return;
    }
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    let (mp4, ts, store) = (clip.beside("mp4"), clip.beside("ts"), HlsStore::new());
    let master = clip.beside("master.m3u8");
    let outputs = [
        Output::hls(Hls::directory(&mp4).target_duration(SECOND).event().master(&master)),
        Output::hls(Hls::directory(&ts).target_duration(SECOND).event().format(FileFormat::MpegTs)),
        Output::hls(Hls::memory(&store).target_duration(SECOND).window(60 * SECOND)),
    ];
    let live = engine.stream(Source::file(&clip.file).looped()).outputs(outputs).start().expect("it starts");
    for _ in 0..3 {
        wait_event(&events, PATIENCE, |event| {
            matches!(event.kind, EventKind::OutputLive { failures: 0, .. }).then_some(())
        });
    }
    let stats = live.stats();
    assert!(stats.outputs.iter().all(|output| output.transport == OutputTransport::Hls), "{stats}");
    assert_eq!(stats.outputs[0].path.as_deref(), Some(mp4.join("index.m3u8").as_path()));
    assert_eq!(stats.outputs[2].path, None);
    let web = Web::start(&[("mp4", mp4.clone()), ("ts", ts.clone())], &store);
    // While it is on the air: from a web server, over three seams.
    wait_segments(&mp4, 3, &live);
    let mut players = Vec::new();
    for place in ["mp4", "ts", "store"] {
        let (url, to) =
            (web.url(&format!("{place}/index.m3u8")), clip.beside(&format!("ffmpeg-{place}.mkv")));
        let arguments = [
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-live_start_index",
            "0",
            "-i",
            &url,
            "-c",
            "copy",
            "-t",
            "8",
            text(&to),
        ];
        players.push((Peer::spawn(Path::new("ffmpeg"), arguments), to));
    }
    let mut viewers = Vec::new();
    for (place, demuxer) in [("mp4", "hlsdemux"), ("ts", "hlsdemux"), ("store", "uridecodebin3")] {
        let to = clip.beside(&format!("gstreamer-{place}"));
        fs::create_dir(&to).expect("there is room");
        let url = web.url(&format!("{place}/index.m3u8"));
        viewers.push((gstreamer(&url, demuxer, place == "ts", &to), to));
    }
    for (player, to) in &mut players {
        player.wait_success(PATIENCE);
        // Cut where pictures are reordered, the last ones are not in order.
        let played: Vec<_> = frame_hashes(to).into_iter().take(190).collect();
        assert_loop(&clip, &played, 190, &to.display().to_string());
    }
    for (viewer, to) in viewers {
        let pictures = || fs::read_dir(&to).map_or(0, Iterator::count);
        assert!(wait_until(2 * PATIENCE, || pictures() > 150), "{}: {} pictures", to.display(), pictures());
        drop(viewer);
        let mut all = Vec::new();
        for number in 0..150 {
            all.extend(fs::read(to.join(format!("{number:05}"))).expect("it was written"));
        }
        let joined = to.with_extension("h264");
        fs::write(&joined, all).expect("there is room");
        let played: Vec<_> = frame_hashes(&joined).into_iter().take(140).collect();
        assert_loop(&clip, &played, 140, &to.display().to_string());
    }
    let dropped: Vec<_> = live.stats().outputs.iter().map(|output| output.drops).collect();
    live.stop(PATIENCE).expect("it stops");
    // Once it has ended, all of it is there, and every picture is, if this machine gave the output the time for them.
    for (directory, dropped) in [&mp4, &ts].into_iter().zip(dropped) {
        let playlist = directory.join("index.m3u8");
        let told = fs::read_to_string(&playlist).expect("a playlist");
        assert!(told.ends_with("#EXT-X-ENDLIST\n") && !told.contains("DISCONTINUITY"), "{told}");
        if dropped == 0 {
            // As above, of the last ones some may not have come any more.
            let mut played = frame_hashes(&playlist);
            played.truncate(played.len().saturating_sub(8));
            assert_loop(&clip, &played, 240, text(directory));
        }
    }
    assert!(frame_hashes(&master).len() >= 250);
}

/// A player of GStreamer that saves each picture as a file, until it is dropped.
fn gstreamer(url: &str, demuxer: &str, is_ts: bool, to: &Path) -> Peer {
    let (location, uri) = (format!("location={url}"), format!("uri={url}"));
    let sink = format!("location={}/%05d", text(to));
    let container = if is_ts { "tsdemux" } else { "qtdemux" };
    let mut pipeline = vec!["-q"];
    pipeline.extend(match demuxer {
        "hlsdemux" => vec!["souphttpsrc", &location, "!", demuxer, "!", container, "!"],
        // It finds `hlsdemux2` by itself.
        _ => vec![demuxer, &uri, "caps=video/x-h264", "!"],
    });
    pipeline.extend(["h264parse", "!", "video/x-h264,stream-format=byte-stream,alignment=au", "!"]);
    pipeline.extend(["multifilesink", &sink]);
    Peer::spawn(Path::new("gst-launch-1.0"), pipeline)
}

/// Decoded pictures are those of the clip, lap after lap.
#[track_caller]
fn assert_loop(clip: &Known, played: &[String], least: usize, who: &str) {
    let lap = frame_hashes(&clip.file);
    assert!(played.len() >= least, "{who}: {} pictures", played.len());
    let first = lap.iter().position(|picture| *picture == played[0]).expect("a picture of the clip");
    let wrong = (0..played.len()).find(|number| played[*number] != lap[(first + number) % lap.len()]);
    assert_eq!(wrong, None, "{who}: the first picture that is not the next one");
}

#[test]
fn hls_js_plays_a_loop_from_any_moment_in_chromium() {
    if !need(&[Need::Chromium, Need::HlsJs]) {
        return;
    }
    let clip =
        Known::made(&SampleSpec { gop_frames: 50, seconds: 5.0, b_frames: 2, ..SampleSpec::default() });
    let engine = engine(|_| {});
    let (ts, store) = (clip.beside("ts"), HlsStore::new());
    let outputs = [
        Output::hls(Hls::memory(&store).target_duration(2 * SECOND)),
        Output::hls(Hls::directory(&ts).target_duration(2 * SECOND).format(FileFormat::MpegTs)),
    ];
    let live = engine.stream(Source::file(&clip.file).looped()).outputs(outputs).start().expect("it starts");
    let web = Web::start(&[("ts", ts.clone())], &store);
    wait_segments(&ts, 4, &live);
    for playlist in ["store/master.m3u8", "ts/index.m3u8"] {
        let script = checkout().join("scripts/plays_hls_in_chromium.py");
        let url = web.url(playlist);
        let mut player = Peer::spawn(&script, [url.as_str(), "--joins", "2", "--seconds", "8"]);
        let succeeded = player.wait(3 * PATIENCE).success();
        let said = player.output();
        assert!(succeeded, "{playlist}: {said}");
        eprintln!("{playlist}: {said}");
    }
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn a_full_disk_costs_segments_and_nothing_else() {
    let spec = SampleSpec { gop_frames: 12, bitrate: 800_000, ..SampleSpec::default() };
    let clip = Known::made(&spec);
    let Some(disk) = SmallDisk::mount_of(3) else { return };
    let engine = engine(|_| {});
    let events = engine.events();
    let server = Scripted::start(Script::Record);
    let place = disk.path().join("hls");
    let hls = Output::hls(Hls::directory(&place).target_duration(SECOND).window(3 * SECOND));
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(push(&server))
        .to(hls)
        .start()
        .expect("it starts");
    wait_segments(&place, 3, &live);
    let first = live.stats().outputs[0].id;
    let of_hls = |event: &flowcast::Event| event.kind.output().is_some_and(|output| output != first);
    // Somebody else takes all there is.
    let hog = disk.path().join("hog");
    let full = wait_until(PATIENCE, || {
        let _ = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&hog)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 1 << 16]));
        events.try_iter().any(|event| match &event.kind {
            EventKind::OutputRetrying { error: Error::Hls { source, .. }, .. } if of_hls(&event) => {
                source.kind() == std::io::ErrorKind::StorageFull
            }
            _ => false,
        })
    });
    assert!(full, "{}", live.stats());
    assert!(
        fs::read_to_string(place.join("index.m3u8")).is_ok_and(|text| text.contains("#EXTINF")),
        "it is whole"
    );
    fs::remove_file(&hog).expect("it is there");
    wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::OutputLive { failures, .. } if of_hls(event) => (failures > 0).then_some(()),
        _ => None,
    });
    let pictures = server.visits()[0].tags.len();
    assert!(server.wait_pictures(0, pictures / 2 + 50, PATIENCE));
    live.stop(PATIENCE).expect("it stops");
    clip.assert_gapless(&server.visits()[0].tags);
    let names: Vec<_> =
        fs::read_dir(&place).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".partial")), "{names:?}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let clip = Known::small();
    let (engine, store) = (engine(|_| {}), HlsStore::new());
    let at = clip.beside("hls");
    let directory = || Hls::directory(&at);
    for (hls, name) in [
        (directory().target_duration(Duration::from_millis(1500)), "target_duration"),
        (directory().target_duration(Duration::ZERO), "target_duration"),
        (directory().target_duration(Duration::MAX), "target_duration"),
        (directory().window(SECOND), "window"),
        (directory().event().window(60 * SECOND), "window"),
        (directory().format(FileFormat::Mkv), "format"),
        (directory().name("low"), "name"),
        (directory().master(at.join("index.m3u8")), "master"),
        (Hls::memory(&store).master("master.m3u8"), "master"),
        (Hls::memory(&store).event(), "event"),
        (Hls::memory(&store).name("../low"), "name"),
    ] {
        let said = format!("{hls:?}");
        let error =
            engine.stream(Source::file(&clip.file)).to(Output::hls(hls)).start().expect_err("it is refused");
        let Error::Config { name: named, .. } = &error else { panic!("{said}: {error:?}") };
        assert_eq!(*named, name, "{said}: {error}");
    }
    for (output, name) in [
        (Output::hls(text(&at)).all_tracks(), "all_tracks"),
        (Output::hls(text(&at)).max_duration(SECOND), "max_duration"),
        (Output::hls(text(&at)).enhanced(), "enhanced"),
    ] {
        let error = engine.stream(Source::file(&clip.file)).to(output).start().expect_err("it is refused");
        assert!(matches!(&error, Error::Config { name: named, .. } if *named == name), "{error}");
    }
    assert!(!at.exists());
}

#[test]
fn a_directory_is_one_outputs_and_a_playlist_of_somebody_else_stays() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let at = clip.beside("hls");
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::hls(text(&at)))
        .start()
        .expect("it starts");
    let error = live.add_output(Output::hls(text(&at))).expect_err("it is taken");
    assert_eq!((error.code(), matches!(error, Error::Hls { .. })), ("HLS_FAILED", true), "{error}");
    live.stop(PATIENCE).expect("it stops");
    let other = directory();
    fs::write(other.path().join("index.m3u8"), "#EXTM3U\n#EXTINF:4,\nepisode.ts\n").expect("there is room");
    let start = engine.stream(Source::file(&clip.file)).to(Output::hls(other.path())).start();
    assert!(matches!(start, Err(Error::Hls { .. })));
    // What is being played is not replaced.
    let list = other.path().join("list");
    fs::create_dir(&list).expect("there is room");
    fs::write(list.join("index.m3u8"), format!("#EXTM3U\n{}\n", text(&clip.file))).expect("there is room");
    let start = engine.stream(Source::file(list.join("index.m3u8"))).to(Output::hls(list.as_path())).start();
    assert!(start.is_err());
}
