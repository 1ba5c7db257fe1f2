//! Live inputs that are not RTMP: HLS, MPEG-TS and FLV over HTTP, SRT, RTSP; played from real senders, lost and found again.

mod reach;
mod secure;

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::pull::Pull;
use flowcast::{Engine, Error, EventKind, Events, Output, Source, StreamHandle};
use kit::rig::{engine, quickly, wait_event};
use kit::{
    Apart, Clip, FaultProxy, Need, PATIENCE, Peer, Web, alone, directory, frame_hashes, make, need, nft,
    own_address, python, text, wait_until,
};
use tempfile::TempDir;

use crate::assert_one_stream;

/// A clip of this many seconds, with B-frames and sound.
fn clip(directory: &Path, seconds: u32) -> PathBuf {
    Clip { seconds, ..Clip::default() }.make(directory, "clip.mp4")
}

fn wait_live(events: &Events) -> (u64, u32) {
    wait_event(events, PATIENCE * 2, |event| match event.kind {
        EventKind::SourceLive { reconnects, failures } => Some((reconnects, failures)),
        _ => None,
    })
}

fn wait_retrying(events: &Events) -> Error {
    wait_event(events, PATIENCE * 2, |event| match &event.kind {
        EventKind::SourceRetrying { error, .. } => Some(error.clone()),
        _ => None,
    })
}

fn wait_ended(events: &Events) -> Option<Error> {
    wait_event(events, PATIENCE * 2, |event| match &event.kind {
        EventKind::Ended { error } => Some(error.clone()),
        _ => None,
    })
}

/// Plays an address once, to its end, into a file; says how long that took.
fn play_once(source: Pull, recording: &Path) -> Duration {
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine.stream(Source::pull(source).once()).record(recording).start().expect("it starts");
    let begun = Instant::now();
    let ended = wait_ended(&events);
    assert!(ended.is_none(), "{ended:?}");
    drop(live);
    begun.elapsed()
}

/// Waits until this much more of the stream has come.
#[track_caller]
fn wait_media(live: &StreamHandle, more: Duration) {
    let now = || live.stats().media_time.as_millis();
    let until = now() + i64::try_from(more.as_millis()).expect("short");
    assert!(wait_until(PATIENCE * 2, || now() >= until), "{}", live.stats());
}

/// An input and what its server offers are the same frames, each once; and what is made of segments does not come faster than it plays.
#[test]
fn what_has_an_end_is_played_frame_for_frame_at_its_own_pace() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let folder = directory();
    let clip = clip(folder.path(), 5);
    let whole = frame_hashes(&clip);
    let input = format!("-i {} -c copy", text(&clip));
    make(folder.path(), "body.ts", &input);
    make(folder.path(), "body.flv", &input);
    make(folder.path(), "body.mp4", &format!("{input} -movflags frag_keyframe+empty_moov+default_base_moof"));
    let hls = format!("{input} -f hls -hls_time 1 -hls_playlist_type vod");
    let in_ts = |name: &str| format!("{hls} -hls_segment_filename {}/{name}%d.ts", folder.path().display());
    make(folder.path(), "ts.m3u8", &in_ts("ts"));
    make(folder.path(), "one.m3u8", &format!("{hls} -hls_flags single_file"));
    make(
        folder.path(),
        "fragments.m3u8",
        &format!(
            "{hls} -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 -hls_segment_filename {}/f%d.m4s",
            folder.path().display()
        ),
    );
    // With a key of 16 bytes, whose address stands in the playlists.
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, b"0123456789abcdef").expect("it can be written");
    let info = folder.path().join("info");
    std::fs::write(&info, format!("key\n{}\n", text(&key_file))).expect("it can be written");
    make(folder.path(), "secret.m3u8", &format!("{} -hls_key_info_file {}", in_ts("secret"), text(&info)));
    let server = Web::start(folder.path());
    let paths = ["body.ts", "body.flv", "body.mp4", "ts.m3u8", "one.m3u8", "fragments.m3u8", "secret.m3u8"];
    std::thread::scope(|scope| {
        for path in paths {
            let (url, recording) =
                (server.url(&format!("/{path}")), folder.path().join(format!("{path}-recorded.flv")));
            let whole = &whole;
            scope.spawn(move || {
                let took = play_once(Pull::url(&url), &recording);
                assert!(took >= Duration::from_secs(4), "{path} took {took:?}");
                assert_eq!(&frame_hashes(&recording), whole, "{path}");
                assert_one_stream(&recording);
            });
        }
    });
}

/// A playlist of playlists, its sound beside the picture: the best picture, with that sound in time.
#[test]
fn the_best_of_several_qualities_is_played_with_its_sound() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let folder = directory();
    let clip = clip(folder.path(), 4);
    let (small, large) = (folder.path().join("small"), folder.path().join("large"));
    let sound = folder.path().join("sound");
    for (part, options) in
        [(&small, "-an -c:v libx264 -s 64x36"), (&large, "-an -c copy"), (&sound, "-vn -c copy")]
    {
        std::fs::create_dir(part).expect("a new directory");
        let arguments = format!("-i {} {options} -f hls -hls_time 1 -hls_playlist_type vod", text(&clip));
        make(part, "list.m3u8", &arguments);
    }
    let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",NAME=\"s\",DEFAULT=YES,URI=\"sound/list.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=64x36,AUDIO=\"s\"\nsmall/list.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=320x180,AUDIO=\"s\"\nlarge/list.m3u8\n";
    let server = Web::start(folder.path());
    server.text("/master.m3u8", master);
    let recording = folder.path().join("recorded.flv");
    play_once(Pull::url(&server.url("/master.m3u8")), &recording);
    assert_eq!(frame_hashes(&recording), frame_hashes(&clip));
    assert_one_stream(&recording);
    let sounds = |file: &Path| kit::packet_count(file, "a");
    let (recorded, original) = (sounds(&recording), sounds(&clip));
    assert!(original.abs_diff(recorded) <= 6, "{recorded} of {original} packets of sound");
    assert!(!server.asked().iter().any(|path| path.starts_with("/small")), "{:?}", server.asked());
}

/// Picture and sound in playlists of their own, whose segments are not as long as each other's, and more of them than are read in one go:
/// nothing is left out where one of the two begins anew.
#[test]
fn many_segments_with_their_sound_beside_them_have_no_gap() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let folder = directory();
    let options = "-f lavfi -i testsrc2=size=64x36:rate=25 -f lavfi -i sine=frequency=440 -t 27 -c:v libx264 -g 3 -bf 0 -c:a aac";
    let clip = make(folder.path(), "clip.mp4", options);
    for (name, options, long) in [("picture", "-an", 0.12), ("sound", "-vn", 0.3)] {
        let part = folder.path().join(name);
        std::fs::create_dir(&part).expect("a new directory");
        let segments = format!("{}/s%d.m4s", part.display());
        let arguments = format!(
            "-i {} {options} -c copy -f hls -hls_time {long} -hls_playlist_type vod -hls_segment_type fmp4 \
             -hls_fmp4_init_filename init.mp4 -hls_segment_filename {segments}",
            text(&clip)
        );
        make(&part, "list.m3u8", &arguments);
    }
    let server = Web::start(folder.path());
    let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",NAME=\"s\",DEFAULT=YES,URI=\"sound/list.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=100000,AUDIO=\"s\"\npicture/list.m3u8\n";
    server.text("/master.m3u8", master);
    let recording = folder.path().join("recorded.flv");
    play_once(Pull::url(&server.url("/master.m3u8")), &recording);
    assert!(server.asked().iter().filter(|path| path.starts_with("/picture/s")).count() > 210);
    assert_eq!(frame_hashes(&recording), frame_hashes(&clip));
    let sounds = |file: &Path| kit::packet_count(file, "a");
    let (recorded, original) = (sounds(&recording), sounds(&clip));
    assert!(original.abs_diff(recorded) <= 6, "{recorded} of {original} packets of sound");
    let times = kit::packet_times(&recording, "a");
    let widest = times.windows(2).map(|pair| pair[1].dts - pair[0].dts).fold(0.0, f64::max);
    assert!(widest < 60.0, "{widest} ms between two packets of sound");
}

/// Something that sends a live stream, and can be killed and started again at the same address.
trait Sender {
    fn url(&self) -> String;
    fn kill(&mut self);
    fn start(&mut self);
    /// Starts it again if it has ended by itself: one that takes one caller only, whom it has lost before he had anything of it.
    fn keep(&mut self) {}
}

/// Waits until the source is on the air, from a sender that is kept running.
#[track_caller]
fn wait_live_from(sender: &mut dyn Sender, events: &Events) -> u64 {
    let mut live = None;
    let in_time = wait_until(PATIENCE * 2, || {
        let mut kinds = std::iter::from_fn(|| events.try_next()).map(|event| event.kind);
        live = kinds.find_map(|kind| match kind {
            EventKind::SourceLive { reconnects, .. } => Some(reconnects),
            _ => None,
        });
        if live.is_none() {
            sender.keep();
        }
        live.is_some()
    });
    assert!(in_time, "the source is not on the air");
    live.unwrap_or_default()
}

/// `ffmpeg` that loops a clip to an address, at its pace.
struct Ffmpeg {
    clip: PathBuf,
    url: String,
    to: Vec<String>,
    process: Option<Peer>,
}

impl Ffmpeg {
    fn new(clip: &Path, url: String, to: &str) -> Self {
        let to = to.split_whitespace().map(str::to_owned).collect();
        let mut sender = Self { clip: clip.to_owned(), url, to, process: None };
        sender.start();
        sender
    }
}

impl Sender for Ffmpeg {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn start(&mut self) {
        let arguments =
            ["-nostdin", "-v", "error", "-y", "-re", "-stream_loop", "-1", "-i", text(&self.clip)];
        let arguments = arguments.into_iter().chain(["-c", "copy"]).chain(self.to.iter().map(String::as_str));
        self.process = Some(Peer::spawn(Path::new("ffmpeg"), arguments));
    }

    fn keep(&mut self) {
        if self.process.as_mut().is_some_and(|process| !process.is_running()) {
            self.start();
        }
    }
}

/// GStreamer's server of RTSP.
struct Rtsp {
    address: SocketAddr,
    file: PathBuf,
    login: Option<(&'static str, &'static str)>,
    process: Option<Peer>,
}

impl Rtsp {
    fn new(file: &Path, login: Option<(&'static str, &'static str)>) -> Self {
        Self::at(own_address(), file, login)
    }

    fn at(address: SocketAddr, file: &Path, login: Option<(&'static str, &'static str)>) -> Self {
        let mut server = Self { address, file: file.to_owned(), login, process: None };
        server.start();
        server
    }
}

impl Sender for Rtsp {
    fn url(&self) -> String {
        let login = self.login.map(|(user, password)| format!("{user}:{password}@")).unwrap_or_default();
        format!("rtsp://{login}{}/show", self.address)
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn start(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources/pull_live/rtsp_server.py");
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut arguments = vec![text(&script), &host, &port, text(&self.file)];
        arguments.extend(self.login.iter().flat_map(|(user, password)| [*user, *password]));
        let mut process = Peer::spawn(&python(), arguments);
        process.wait_listening(self.address, PATIENCE);
        self.process = Some(process);
    }
}

/// HLS of a sender that writes it to a directory, and a server of that.
struct Hls {
    folder: PathBuf,
    server: Web,
    sender: Ffmpeg,
}

impl Hls {
    fn new(clip: &Path) -> Self {
        let folder = clip.parent().expect("it is in a directory").join("hls");
        std::fs::create_dir(&folder).expect("a new directory");
        let to = format!(
            "-f hls -hls_time 1 -hls_list_size 6 -hls_flags delete_segments+temp_file+append_list {}/live.m3u8",
            folder.display()
        );
        let server = Web::start(&folder);
        let sender = Ffmpeg::new(clip, server.url("/live.m3u8"), &to);
        Self { folder, server, sender }
    }
}

impl Sender for Hls {
    fn url(&self) -> String {
        self.sender.url()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start(&mut self) {
        assert!(self.folder.exists());
        self.server.resume();
    }
}

fn srt(clip: &Path) -> Ffmpeg {
    // A port of UDP that nobody else has: SRT's listener does not share it.
    let port = UdpSocket::bind(own_address()).and_then(|socket| socket.local_addr()).expect("a free port");
    srt_at(clip, port, 200_000)
}

/// The same at an address, with a latency in microseconds.
fn srt_at(clip: &Path, place: SocketAddr, latency: u32) -> Ffmpeg {
    let url = format!("srt://{place}?latency={latency}");
    Ffmpeg::new(clip, url.clone(), &format!("-f mpegts {url}&mode=listener"))
}

fn http(clip: &Path) -> Ffmpeg {
    let address = own_address();
    let url = format!("http://{address}/live.ts");
    Ffmpeg::new(clip, url.clone(), &format!("-f mpegts -listen 1 {url}"))
}

fn stream(engine: &Engine, url: &str, recording: &Path, silence: Duration) -> StreamHandle {
    stream_of(engine, Pull::url(url).reconnect(quickly()).silence(silence), recording)
}

fn stream_of(engine: &Engine, pull: Pull, recording: &Path) -> StreamHandle {
    engine.stream(Source::pull(pull)).record(recording).start().expect("it starts")
}

/// The stream goes on over every loss of its sender: one recording, whose times go on, and which decodes.
fn lost(make: impl FnOnce(&Path) -> Box<dyn Sender>, times: u64, silence: Duration) {
    let folder = directory();
    let clip = clip(folder.path(), 20);
    let mut sender = make(&clip);
    let recording = folder.path().join("recorded.flv");
    let engine = engine(|_| {});
    let events = engine.events();
    let live = stream(&engine, &sender.url(), &recording, silence);
    assert_eq!(wait_live_from(sender.as_mut(), &events), 0);
    for round in 0..times {
        wait_media(&live, Duration::from_millis(1000));
        sender.kill();
        let error = wait_retrying(&events);
        assert!(error.is_retryable(), "{round}: {error}");
        sender.start();
        assert_eq!(wait_live_from(sender.as_mut(), &events), round + 1);
    }
    wait_media(&live, Duration::from_secs(1));
    live.stop(PATIENCE).expect("it runs well");
    assert_one_stream(&recording);
}

fn lost_srt(times: u64) {
    lost(|clip| Box::new(srt(clip)), times, Duration::from_secs(2));
}

fn lost_rtsp(times: u64) {
    lost(|clip| Box::new(Rtsp::new(&mkv(clip), None)), times, Duration::from_secs(2));
}

fn lost_hls(times: u64) {
    lost(|clip| Box::new(Hls::new(clip)), times, Duration::from_secs(2));
}

fn lost_http(times: u64) {
    lost(|clip| Box::new(http(clip)), times, Duration::from_secs(2));
}

/// As GStreamer's server reads it.
fn mkv(clip: &Path) -> PathBuf {
    make(clip.parent().expect("it is in a directory"), "clip.mkv", &format!("-i {} -c copy", text(clip)))
}

#[test]
fn a_sender_of_srt_that_is_killed_and_back_costs_no_output_its_connection() {
    if need(&[Need::Ffmpeg]) {
        lost_srt(3);
    }
}

#[test]
fn a_server_of_rtsp_that_is_killed_and_back_costs_no_output_its_connection() {
    if need(&[Need::Ffmpeg, Need::RtspServer]) {
        lost_rtsp(3);
    }
}

#[test]
fn a_server_of_hls_that_is_away_and_back_costs_no_output_its_connection() {
    if need(&[Need::Ffmpeg]) {
        lost_hls(2);
    }
}

#[test]
fn a_server_of_a_body_that_is_killed_and_back_costs_no_output_its_connection() {
    if need(&[Need::Ffmpeg]) {
        lost_http(3);
    }
}

#[test]
#[ignore = "minutes: each kind is lost fifty times"]
fn each_kind_is_lost_fifty_times() {
    if !need(&[Need::Ffmpeg, Need::RtspServer]) {
        return;
    }
    std::thread::scope(|scope| {
        for lost in [lost_srt, lost_rtsp, lost_hls, lost_http] {
            scope.spawn(move || lost(50));
        }
    });
}

/// The pictures of a recording are those of a clip, one after the other; the last few were not all there when it ended.
#[track_caller]
fn assert_part_of(recording: &Path, clip: &Path, least: usize) {
    let (recorded, whole) = (frame_hashes(recording), frame_hashes(clip));
    let sure = recorded.len().saturating_sub(5);
    assert!(sure >= least, "{sure} pictures");
    let sure = &recorded[..sure];
    assert!(whole.windows(sure.len()).any(|part| part == sure), "{} of {}", sure.len(), whole.len());
}

/// A twentieth of all packets is lost on the way in, and no picture: SRT has them sent again.
#[test]
fn a_twentieth_of_all_packets_lost_on_the_way_in_costs_no_picture() {
    if !alone("srt-pull-loss") {
        if need(&[Need::Apart(Apart::Network), Need::Ffmpeg]) {
            let test = "pull_live::a_twentieth_of_all_packets_lost_on_the_way_in_costs_no_picture";
            print!("{}", Apart::Network.run("srt-pull-loss", test, Duration::from_secs(180)));
        }
        return;
    }
    let folder = directory();
    let clip = Clip { seconds: 60, ..Clip::default() }.make(folder.path(), "clip.mp4");
    let place = SocketAddr::from(([127, 0, 0, 1], 9000));
    nft("add table inet lossy");
    nft("add chain inet lossy passing { type filter hook input priority 0; }");
    for side in ["dport", "sport"] {
        nft(&format!("add rule inet lossy passing udp {side} 9000 numgen random mod 100 < 5 counter drop"));
    }
    let mut sender = srt_at(&clip, place, 2_000_000);
    let recording = folder.path().join("recorded.flv");
    let engine = engine(|_| {});
    let events = engine.events();
    let live = stream(&engine, &sender.url(), &recording, Duration::from_secs(5));
    assert_eq!(wait_live_from(&mut sender, &events), 0);
    wait_media(&live, Duration::from_secs(12));
    live.stop(PATIENCE).expect("it runs well");
    let is_lost = |kind: &EventKind| matches!(kind, EventKind::SourceRetrying { .. });
    assert!(!std::iter::from_fn(|| events.try_next()).any(|event| is_lost(&event.kind)));
    let rules = nft("list table inet lossy");
    let lost = rules.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let lost: u64 = lost.sum();
    assert!(lost > 20, "{rules}");
    println!("{lost} packets lost, 5 %");
    assert_part_of(&recording, &clip, 200);
    assert_one_stream(&recording);
}

/// What a server of RTSP sends is what is in its file, over one connection of TCP; also behind a login.
#[test]
fn a_camera_is_passed_on_frame_for_frame() {
    if !need(&[Need::Ffmpeg, Need::RtspServer]) {
        return;
    }
    let folder = directory();
    let clip = clip(folder.path(), 4);
    let file = mkv(&clip);
    let whole = frame_hashes(&clip);
    for login in [None, Some(("viewer", "pass-word"))] {
        let server = Rtsp::new(&file, login);
        let recording = folder.path().join(format!("recorded-{}.flv", login.is_some()));
        play_once(Pull::url(&server.url()), &recording);
        let frames = frame_hashes(&recording);
        // What GStreamer holds back at the end, it does not send.
        assert!(
            whole.starts_with(&frames) && frames.len() + 5 > whole.len(),
            "{} of {}",
            frames.len(),
            whole.len()
        );
        assert_one_stream(&recording);
    }
    let server = Rtsp::new(&file, Some(("viewer", "pass-word")));
    let engine = engine(|_| {});
    let events = engine.events();
    let url = server.url().replace("pass-word", "secret-guess");
    let live =
        engine.stream(Source::url(&url)).record(folder.path().join("none.flv")).start().expect("it starts");
    let error = wait_ended(&events).expect("it is refused");
    assert!(matches!(error, Error::HttpStatus { status: 401, .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("guess"), "{error:?}");
    drop(live);
}

/// A server that is silent is given up, whatever it was doing: a stalled connection is dialled again, and the stream stops at once.
#[test]
fn a_server_that_falls_silent_is_given_up_and_a_stop_does_not_wait_for_it() {
    if !need(&[Need::Ffmpeg, Need::RtspServer]) {
        return;
    }
    let folder = directory();
    let clip = clip(folder.path(), 20);
    let rtsp = Rtsp::new(&mkv(&clip), None);
    let hls = Hls::new(&clip);
    assert!(wait_until(PATIENCE, || hls.folder.join("live.m3u8").exists()));
    for (upstream, path) in [(rtsp.address, "rtsp://{}/show"), (hls.server.address(), "http://{}/live.m3u8")]
    {
        let proxy = FaultProxy::start(upstream);
        let url = path.replace("{}", &proxy.address().to_string());
        let engine = engine(|_| {});
        let events = engine.events();
        let live = stream(&engine, &url, &folder.path().join("silent.flv"), Duration::from_secs(1));
        wait_live(&events);
        wait_media(&live, Duration::from_millis(500));
        proxy.stall();
        let error = wait_retrying(&events);
        assert!(matches!(&error, Error::ConnectionLost { .. }) && error.is_retryable(), "{url}: {error}");
        // It is dialled again, and waits for the first answer.
        assert!(wait_until(PATIENCE, || proxy.accepted() >= 2), "{url}");
        live.stop(Duration::from_secs(5)).expect("it does not wait");
    }
}

/// One that is on another stream's output: what comes is published, too.
#[test]
fn what_is_pulled_can_be_published_at_once() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let folder: TempDir = directory();
    let clip = clip(folder.path(), 10);
    let mut sender = srt(&clip);
    let engine = engine(|_| {});
    let pull = Pull::url(&sender.url()).reconnect(quickly());
    let live = engine.stream(Source::pull(pull)).to(Output::publish("show")).start().expect("it starts");
    let recording = folder.path().join("again.flv");
    let again = engine.stream(Source::published("show")).record(&recording).start().expect("it starts");
    let has_come = || {
        sender.keep();
        again.stats().media_time.as_millis() > 0
    };
    assert!(wait_until(PATIENCE * 2, has_come), "{}", live.stats());
    wait_media(&again, Duration::from_secs(2));
    again.stop(PATIENCE).expect("it runs well");
    live.stop(PATIENCE).expect("it runs well");
    assert_one_stream(&recording);
}
