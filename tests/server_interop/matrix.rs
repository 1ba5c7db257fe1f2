//! What is not H.264 over plain RTMP from program to program: other codecs, TLS, and servers that relay. The rest of the table
//! of `docs/interop.md` is in `publish` and `play`.

use super::*;
use flowcast::server::TlsIdentity;
use kit::{Authority, Nginx, ffmpeg7, run};

/// Encoders of FFmpeg 7.1, and the FourCC of what they make.
const CODECS: [(&str, &[&str]); 3] = [
    ("hvc1", &["libx265", "-x265-params", "log-level=none:keyint=25:min-keyint=25:bframes=2"]),
    ("av01", &["libsvtav1", "-preset", "11", "-svtav1-params", "lp=1"]),
    ("vp09", &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]),
];

/// The hashes of a file's frames, by FFmpeg 7.1: older ones do not know the codecs in FLV.
fn hashes(file: &Path) -> Vec<String> {
    let path = file.to_str().expect("a path in UTF-8");
    let arguments = ["-nostdin", "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"];
    let printed = run(ffmpeg7(), arguments.into_iter().chain(["-f", "framemd5", "-"]), PATIENCE);
    let lines = printed.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit(',').next()?.trim().to_owned())).collect()
}

fn ffmpeg7_peer(arguments: &str, file: &Path) -> Peer {
    let path = file.to_str().expect("a path in UTF-8");
    let words = arguments.split(' ').map(|word| if word == "FILE" { path } else { word });
    Peer::spawn(&ffmpeg7(), ["-nostdin", "-v", "warning", "-y"].into_iter().chain(words))
}

/// FFmpeg 7.1 publishes each codec over Enhanced RTMP, another plays it from its second GOP on, and it is recorded: what comes out
/// is what went in, frame for frame.
fn carries(secure: bool) {
    if !need(&[Need::Ffmpeg7]) {
        return;
    }
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let (chain, key) = Authority::new("flowcast test authority").issue(&["localhost", "127.0.0.1"]);
    let identity = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).expect("a proper identity");
    let builder = engine.rtmp_server("127.0.0.1:0");
    let server = if secure { builder.tls(identity) } else { builder }.start().expect("a free port");
    let events = server.events();
    let scheme = if secure { "rtmps" } else { "rtmp" };
    let url = |name: &str| format!("{scheme}://localhost:{}/live/{name}", server.address().port());
    let directory = TempDir::new().expect("a temporary directory");
    let file = |codec: &str, what: &str| directory.path().join(format!("{codec}-{what}.flv"));
    std::thread::scope(|scope| {
        for (codec, encoder) in CODECS {
            let (engine, file, url, events) = (&engine, &file, &url, &events);
            scope.spawn(move || {
                let key = engine.keys().issue(codec).expect("a free name");
                let clip = file(codec, "clip");
                let make =
                    "-f lavfi -t 4 -i testsrc2=size=160x90:rate=25 -f lavfi -t 4 -i sine=sample_rate=48000";
                let common = ["-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv"];
                let start = ["-nostdin", "-v", "error", "-y"].into_iter().chain(make.split(' '));
                let encode = start.chain(["-c:v"]).chain(encoder.iter().copied()).chain(common);
                run(ffmpeg7(), encode.chain(clip.to_str()), PATIENCE);
                let whole = hashes(&clip);
                assert_eq!(whole.len(), 100, "{codec}");

                let publish = format!("-re -i FILE -c copy -f flv {}", url(key.reveal()));
                let mut publisher = ffmpeg7_peer(&publish, &clip);
                let on_air = wait_until(PATIENCE, || engine.hub().find(codec).is_some());
                assert!(on_air, "{codec}\n{}", publisher.report());
                let stream = engine.hub().find(codec).expect("it was found");
                let recorded = file(codec, "recorded");
                stream.add_output(Output::record(&recorded)).expect("a running stream");
                assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() > 1100), "{codec}");
                let said = stream.stats().video.map(|codec| codec.to_string());
                assert_eq!(said.as_deref(), Some(codec));
                let played = file(codec, "played");
                // The publication goes on when the player is there, however long that takes to start.
                publisher.freeze();
                let mut player = ffmpeg7_peer(&format!("-i {} -c copy FILE", url(codec)), &played);
                let joined = wait_until(PATIENCE, || stream.players() == 1);
                publisher.thaw();
                assert!(joined, "{codec}: {}", player.report());
                publisher.wait_success(PATIENCE);
                let ended = wait_until(PATIENCE, || stream.has_ended());
                let told = || std::iter::from_fn(|| events.try_next()).collect::<Vec<_>>();
                assert!(ended, "{codec}: {}\n{:#?}", stream.stats(), told());
                player.wait(PATIENCE);
                assert!(hashes(&recorded) == whole, "{codec}: other frames recorded\n{}", publisher.report());
                let frames = hashes(&played);
                assert!(frames.len() >= 25, "{codec}: {} frames played\n{}", frames.len(), player.report());
                assert!(whole.ends_with(&frames), "{codec}: other frames played\n{}", player.report());
                assert_eq!((whole.len() - frames.len()) % 25, 0, "{codec}: it must begin with a keyframe");
            });
        }
    });
    let stats = server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts, stats.tls_errors), (0, 0, 0), "{stats:?}");
}

#[test]
fn enhanced_rtmp_carries_hevc_av1_and_vp9() {
    carries(false);
}

#[test]
fn enhanced_rtmp_carries_hevc_av1_and_vp9_over_tls() {
    carries(true);
}

/// Over several laps of a clip: from a keyframe on, over loop points, to the last frame.
fn assert_relayed(recording: &Path, file: &Path, report: &str) {
    let (recorded, frames) = (frame_hashes(recording), frame_hashes(file));
    let found = laps(&recorded, &frames).unwrap_or_else(|why| panic!("{why}\n{report}"));
    assert_eq!(found.first % 25, 0, "{found}: it must begin with a keyframe\n{report}");
    assert!(found.seams >= 1, "{found}\n{report}");
    let end = (found.first + recorded.len()) % frames.len();
    assert_eq!((end, found.cut), (0, 0), "{found}: it must end with the last frame\n{report}");
    // A relay's sound may begin before its first keyframe.
    for kind in ["v", "a"] {
        let times = packet_times(recording, kind);
        let falling = times.windows(2).find(|pair| pair[1].dts <= pair[0].dts);
        assert!(!times.is_empty() && falling.is_none(), "{kind} times {falling:?}\n{report}");
    }
}

#[test]
fn nginx_pushes_what_is_published_to_it() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let studio = Studio::start();
    let nginx = Nginx::relay("relay", format!("push {};", studio.publish_url()));
    let file = studio.clip(Clip::default());
    let mut publisher = ffmpeg_publish(&file, &nginx.url("relay", "clip"), 3);
    let (stream, recording) = studio.record();
    publisher.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    assert_relayed(&recording, &file, &nginx.process().report());
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}");
}

#[test]
fn nginx_pulls_what_is_published_to_us() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip::default());
    let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 4);
    let stream = studio.on_air();
    let nginx = publisher.frozen(|| {
        let nginx = Nginx::relay("relay", format!("pull {} name=pulled static;", studio.play_url()));
        studio.wait_players(1);
        nginx
    });
    publisher.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    let recording = nginx.recording("relay", "pulled");
    assert_relayed(&recording, &file, &nginx.process().report());
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}");
}

/// Others over RTMPS. None of them checks a certificate unless told to; who does is `rtmps`' affair.
#[test]
fn gstreamer_and_librtmp_publish_and_play_over_tls() {
    let needs = [Need::Ffmpeg, Need::GstreamerTls, Need::Peer("librtmp_publish"), Need::Rtmpdump];
    if !need(&needs) {
        return;
    }
    let (chain, key) = Authority::new("flowcast test authority").issue(&["localhost", "127.0.0.1"]);
    let identity = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).expect("a proper identity");
    let studio = Studio::start_secure(identity);
    let secure = |name: &str| {
        let address = studio.server.rtmps_address().expect("it speaks RTMPS");
        format!("rtmps://localhost:{}/live/{name}", address.port())
    };
    let unchecked = |url: String| format!("{url} tls-validation-flags=0");
    type Start<'a> = Box<dyn Fn(&Path) -> Peer + 'a>;
    let rows: [(Publisher, Start<'_>, Start<'_>); 2] = [
        (
            Publisher::Gstreamer,
            Box::new(|file| gst_publish(file, &unchecked(secure(KEY)))),
            Box::new(|file| gst_play(&unchecked(secure(NAME)), file)),
        ),
        (
            Publisher::Exact,
            Box::new(|file| librtmp_publish(file, &secure(KEY))),
            Box::new(|file| rtmpdump(&secure(NAME), file, None)),
        ),
    ];
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    for (by, publish, play) in rows {
        let mut publisher = publish(&file);
        let (stream, recording) = studio.record();
        let played = studio.file("played.flv");
        // It is in its first GOP until the player is there, however long that takes to start.
        publisher.freeze();
        let mut player = play(&played);
        let joined = wait_until(PATIENCE, || stream.players() == 1);
        publisher.thaw();
        assert!(joined, "{}", player.report());
        publisher.wait_success(PATIENCE);
        studio.wait_off_air(&stream);
        player.wait(PATIENCE);
        assert_whole(&recording, &file, by, &publisher.report());
        assert!(frame_hashes(&played) == frame_hashes(&file), "other frames played\n{}", player.report());
    }
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts, stats.tls_errors), (0, 0, 0), "{stats:?}");
}
