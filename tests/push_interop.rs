//! A looped file pushed to servers of others: what they record is the file, frame for frame, over its loop points.

use flowcast::config::TlsRoots;
use flowcast::stats::OutputPhase;
use flowcast::{
    Config, Engine, Error, Event, EventKind, Events, Output, RtmpServer, RtmpServerExt, Source, StreamHandle,
};
use kit::{
    Clip, FaultProxy, FfmpegListen, Identity, Need, Nginx, PATIENCE, PacketTime, Peer, PeerServer, TlsProxy,
    ffmpeg_play, frame_hashes, laps, media, need, packet_hashes, packet_times, remux, sound_laps, wait_until,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Loop points every recording has to pass.
const SEAMS: usize = 2;
/// The containers each file is looped from.
const CONTAINERS: [&str; 4] = ["mp4", "flv", "mkv", "ts"];

/// What a recording of a looped file is held against.
struct Original {
    frames: Vec<String>,
    /// The numbers of the frames a decoder can begin with.
    keyframes: Vec<usize>,
    sound: Vec<String>,
    /// The first packet of the sound a lap may end with: the next one begins less than a packet before the lap's end, so it
    /// is left out where that is nearer.
    sound_end: usize,
    /// Milliseconds from one packet of sound to the next.
    sound_step: f64,
    /// Real time of one lap.
    lap: Duration,
    /// Frames are decoded in another order than they are shown in.
    reordered: bool,
}

impl Original {
    fn of(file: &Path) -> Self {
        const SOUND_STEP: f64 = 1024.0 / 48.0;
        let sound_times = packet_times(file, "a");
        let sound = if sound_times.is_empty() { Vec::new() } else { packet_hashes(file, "a") };
        let video = packet_times(file, "v");
        let (first, last) = (video.first().expect("a frame").dts, video.last().expect("a frame").dts);
        let lap = (last - first) * video.len() as f64 / (video.len() - 1) as f64 / 1000.0;
        let beyond = |sound: &PacketTime| sound.pts > lap * 1000.0 - SOUND_STEP;
        // Not every container tells priming from sound; where it does not, each lap begins with it and ends as much earlier.
        let priming = sound_times.iter().filter(|sound| sound.pts < 0.0).count();
        let left_out = sound_times.iter().position(beyond).unwrap_or(sound.len());
        let sound_end = left_out.saturating_sub(1 + priming);
        let shown_before = |time: f64| video.iter().filter(|frame| frame.pts < time).count();
        Self {
            frames: frame_hashes(file),
            keyframes: video.iter().filter(|f| f.keyframe).map(|f| shown_before(f.pts)).collect(),
            sound,
            sound_end,
            sound_step: SOUND_STEP,
            lap: Duration::from_secs_f64(lap),
            reordered: video.iter().any(|frame| frame.pts > frame.dts + 1.0),
        }
    }

    /// The recording decodes without a complaint, is this file over two loop points, and its times go on evenly.
    /// It begins with the file's first frame if media time waited for it, else with a keyframe.
    fn assert_is_in(&self, waited_for: bool, recording: &Path, who: &str) {
        let from = if waited_for { &[0][..] } else { &self.keyframes };
        self.assert_is_in_from(from, recording, who);
    }

    /// As [`Original::assert_is_in`], for who came later: it begins with a keyframe.
    fn assert_is_joined_in(&self, recording: &Path, who: &str) {
        self.assert_is_in_from(&self.keyframes, recording, who);
    }

    fn assert_is_in_from(&self, from: &[usize], recording: &Path, who: &str) {
        let recorded = frame_hashes(recording);
        let found = laps(&recorded, &self.frames).unwrap_or_else(|why| panic!("{who}: {why}"));
        assert!(found.seams >= SEAMS, "{who}: {found}");
        assert!(from.contains(&found.first), "{who}: {found}: it does not begin where it should, {from:?}");
        // Stopped between a frame and the ones that are shown before it.
        assert!(self.reordered || found.cut == 0, "{who}: {found}");
        self.assert_times(recording, who);
        if self.sound.is_empty() {
            assert!(packet_times(recording, "a").is_empty(), "{who}: sound out of nowhere");
            return;
        }
        self.assert_sound(recording, who);
    }

    fn assert_times(&self, recording: &Path, who: &str) {
        /// A container's rounding to milliseconds, on both sides.
        const ROUNDING: f64 = 2.1;
        let video = packet_times(recording, "v");
        let first = video.first().expect("frames were decoded");
        assert!(first.keyframe && (0.0..100.0).contains(&first.dts), "{who}: begins with {first:?}");
        let step = self.lap.as_secs_f64() * 1000.0 / self.frames.len() as f64;
        for pair in video.windows(2) {
            let elapsed = pair[1].dts - pair[0].dts;
            assert!(
                elapsed > 0.0 && (elapsed - step).abs() <= ROUNDING,
                "{who}: {pair:?}, not {step} ms apart"
            );
        }
    }

    fn assert_sound(&self, recording: &Path, who: &str) {
        /// The real time between the last packets of two tracks of a stream that was stopped.
        const CUT: f64 = 150.0;
        let sound = packet_times(recording, "a");
        let first = sound.first().unwrap_or_else(|| panic!("{who}: no sound"));
        assert!((-50.0..100.0).contains(&first.dts), "{who}: sound begins at {first:?}");
        let mut whole = 0;
        for pair in sound.windows(2) {
            let elapsed = pair[1].dts - pair[0].dts;
            let off = (elapsed - self.sound_step).abs();
            assert!(
                elapsed > 0.0 && off <= self.sound_step,
                "{who}: a gap or overlap of the sound at {pair:?}"
            );
            whole += usize::from(off <= 2.1);
        }
        // Between laps there may be a frame's difference, elsewhere none.
        assert!(whole + SEAMS + 2 >= sound.len(), "{who}: {whole} of {} sound packets in step", sound.len());
        let video = packet_times(recording, "v");
        let apart = sound.last().expect("sound").dts - video.last().expect("video").dts;
        assert!(apart.abs() < CUT, "{who}: the tracks end {apart} ms apart");
        let seams = sound_laps(&packet_hashes(recording, "a"), &self.sound, self.sound_end)
            .unwrap_or_else(|why| panic!("{who}: {why}"));
        assert!(seams >= SEAMS, "{who}: {seams} seams of the sound");
    }
}

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn engine() -> Engine {
    Engine::new(Config::default()).expect("the defaults work")
}

/// Waits until all outputs are on the air and `joined` holds, then until everybody has passed the loop points, and stops the
/// stream. Says how often an output was lost, and all that was told.
fn run_over_seams(
    live: StreamHandle,
    outputs: usize,
    lap: Duration,
    joined: impl Fn() -> bool,
) -> (u64, Vec<Event>) {
    let began = Instant::now();
    let events = live.events();
    let on_air = || live.stats().outputs.iter().filter(|output| output.phase == OutputPhase::Live).count();
    let all = wait_until(PATIENCE, || live.has_ended() || (on_air() == outputs && joined()));
    assert!(all && !live.has_ended(), "not everybody came on the air: {}", live.stats());
    // The clock is held for outputs for a while; who is later begins with the next lap.
    let seams = if began.elapsed() < Duration::from_secs(2) { SEAMS } else { SEAMS + 1 };
    let enough = began.elapsed() + lap * u32::try_from(seams).expect("a few") + Duration::from_millis(300);
    let enough = i64::try_from(enough.as_millis()).expect("a few seconds");
    let is_enough = || live.stats().media_time.as_millis() >= enough;
    let done = wait_until(PATIENCE + lap * 4, || live.has_ended() || is_enough());
    let told: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
    assert!(done && !live.has_ended(), "{}: {told:?}", live.stats());
    let stats = live.stop(PATIENCE).expect("a stream that ran well ends well");
    assert_eq!(stats.drops, 0, "{told:?}");
    (stats.reconnects, told)
}

/// Which outputs media time waited for, in their order: at most five seconds for the first, and one second more for the others. Who
/// came on the air within less of that was in time.
fn waited_for(events: &Events) -> impl Fn(u64) -> bool {
    const HOLD: Duration = Duration::from_millis(4900);
    const FOR_OTHERS: Duration = Duration::from_millis(900);
    let (mut started, mut live) = (None, BTreeMap::new());
    while let Some(event) = events.try_next() {
        match event.kind {
            EventKind::Started => started = Some(event.at),
            EventKind::OutputLive { output, .. } => {
                live.entry(output.get()).or_insert(event.at);
            }
            _ => {}
        }
    }
    let started = started.expect("it was started");
    let first = *live.values().min().expect("somebody was on the air");
    let until = (started + HOLD).min(first + FOR_OTHERS);
    assert!(
        live.values().any(|at| *at <= until) || first > started + HOLD,
        "nobody was waited for: {live:?}"
    );
    move |output| live.get(&output).is_some_and(|at| *at <= until)
}

/// An embedded server that records what it takes, itself and through a player.
struct Embedded {
    engine: Engine,
    server: RtmpServer,
    directory: TempDir,
}

impl Embedded {
    fn start() -> Self {
        let engine = engine();
        engine.keys().add("studio", "studio-key").expect("a usable key");
        let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
        Self { engine, server, directory: directory() }
    }

    fn url(&self) -> String {
        format!("rtmp://{}/live/studio-key", self.server.address())
    }

    fn recording(&self) -> PathBuf {
        self.directory.path().join("recorded.flv")
    }

    fn played(&self) -> PathBuf {
        self.directory.path().join("played.flv")
    }

    /// Once the stream is published: a recording, and `ffmpeg` as a player.
    fn receive(&self) -> Peer {
        let mut stream = None;
        let found = wait_until(PATIENCE, || {
            stream = self.engine.hub().find("studio");
            stream.is_some()
        });
        assert!(found, "nothing was published: {:?}", self.server.stats());
        let stream = stream.expect("it was found");
        stream.add_output(Output::record(self.recording())).expect("a running stream");
        let url = format!("rtmp://{}/live/studio", self.server.address());
        ffmpeg_play(&url, &self.played(), None)
    }

    /// Once the publisher has gone: everything is written.
    fn finish(&self, player: &mut Peer) {
        player.wait_success(PATIENCE);
        assert!(wait_until(PATIENCE, || self.engine.hub().find("studio").is_none()), "still on the air");
        assert!(wait_until(PATIENCE, || self.engine.streams().is_empty()), "still running");
    }
}

const EVERYONE: [Need; 4] = [Need::Ffmpeg, Need::Nginx, Need::Peer("xiu_server"), Need::Peer("rml_server")];

/// Loops the file to all servers at once and looks at what each recorded. `false` if `xiu_server` hung up: two seconds without a byte
/// are too long for it, also where it, or everybody, is kept from running.
fn loop_to_everyone(file: &Path, original: &Original) -> bool {
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    let nginx = Nginx::start(&["live"]);
    let mut listener = FfmpegListen::start("live", "key");
    let (mut xiu, mut rml) = (PeerServer::start("xiu_server"), PeerServer::start("rml_server"));
    let embedded = Embedded::start();
    let pushing = engine();
    let events = pushing.events();
    let live = pushing
        .stream(Source::file(file).looped())
        .to(Output::rtmp_url(&nginx.url("live", "key")))
        .to(Output::rtmp_url(&listener.url))
        .to(Output::rtmp_url(&xiu.url("live", "key")))
        .to(Output::rtmp_url(&rml.url("live", "key")))
        .to(Output::rtmp_url(&embedded.url()))
        .start()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut player = embedded.receive();
    let (lost, told) = run_over_seams(live, 5, original.lap, || embedded.server.stats().players == 1);
    embedded.finish(&mut player);
    let hung_up = xiu.process().errors().matches("time out error").count();
    assert_eq!(lost, hung_up as u64, "{name}: {told:?}");
    if hung_up > 0 {
        return false;
    }
    let waited = waited_for(&events);
    original.assert_is_in(waited(0), &nginx.recording("live", "key"), &format!("{name} to nginx"));
    original.assert_is_in(waited(1), listener.finish(PATIENCE), &format!("{name} to ffmpeg"));
    original.assert_is_in(waited(2), &xiu.recording("live", "key"), &format!("{name} to xiu"));
    original.assert_is_in(waited(3), &rml.recording("live", "key"), &format!("{name} to rml"));
    original.assert_is_joined_in(&embedded.recording(), &format!("{name} to our server"));
    original
        .assert_is_joined_in(&embedded.played(), &format!("{name} through our server to an ffmpeg player"));
    true
}

/// How often a run in which `xiu_server` hung up is made again.
const AGAIN: usize = 5;

/// Loops a file from every container, side by side.
fn every_container_to_everyone(file: &Path) {
    let (directory, original) = (directory(), Original::of(file));
    std::thread::scope(|scope| {
        for container in CONTAINERS {
            let (directory, original) = (&directory, &original);
            scope.spawn(move || {
                let file = remux(file, directory.path(), &format!("looped.{container}"));
                let arrived = (0..AGAIN).any(|_| loop_to_everyone(&file, original));
                assert!(arrived, "{container}: xiu_server hung up in each of {AGAIN} runs");
            });
        }
    });
}

#[test]
fn footage_without_b_frames_and_six_channels_arrives_whole() {
    if !need(&EVERYONE) || !need(&[Need::Media("bigbuckbunny.mp4")]) {
        return;
    }
    let file = media("bigbuckbunny.mp4").expect("a file that is there");
    every_container_to_everyone(&file);
}

#[test]
fn footage_with_b_frames_and_without_sound_arrives_whole() {
    if !need(&EVERYONE) || !need(&[Need::Media("carphone_pristine.mp4")]) {
        return;
    }
    let file = media("carphone_pristine.mp4").expect("a file that is there");
    every_container_to_everyone(&file);
}

#[test]
fn clip_with_b_frames_and_sound_arrives_whole() {
    if !need(&EVERYONE) {
        return;
    }
    let directory = directory();
    let file = Clip { seconds: 2, ..Clip::default() }.make(directory.path(), "clip.mp4");
    every_container_to_everyone(&file);
}

#[test]
fn clip_of_many_short_gops_arrives_whole() {
    if !need(&EVERYONE) {
        return;
    }
    let directory = directory();
    let clip = Clip { seconds: 1, rate: 30, gop: 10, b_frames: 0, ..Clip::default() };
    let file = clip.make(directory.path(), "clip.mp4");
    every_container_to_everyone(&file);
}

/// A clip, a server with TLS before it, and a proxy that counts the connections.
fn before_tls(identity: Identity) -> (TempDir, PathBuf, Nginx, TlsProxy, FaultProxy) {
    let directory = directory();
    let file = Clip::default().make(directory.path(), "clip.flv");
    let nginx = Nginx::start(&["live"]);
    let tls = TlsProxy::start(nginx.address, identity);
    let counting = FaultProxy::start(tls.address);
    (directory, file, nginx, tls, counting)
}

fn rtmps(counting: &FaultProxy, tls: &TlsProxy) -> Output {
    let roots = TlsRoots::from_pem_file(tls.trusted()).expect("the authority's certificate");
    let url = format!("rtmps://localhost:{}/live/key", counting.address().port());
    Output::rtmp_url(&url).tls_roots(roots)
}

const TLS: [Need; 3] = [Need::Ffmpeg, Need::Nginx, Need::Stunnel];

#[test]
fn rtmps_to_the_right_host_arrives_whole() {
    if !need(&TLS) {
        return;
    }
    let (_directory, file, nginx, tls, counting) = before_tls(Identity::Right);
    let original = Original::of(&file);
    let engine = engine();
    let events = engine.events();
    let live = engine
        .stream(Source::file(&file).looped())
        .to(rtmps(&counting, &tls))
        .start()
        .expect("a stream of the clip");
    let (lost, told) = run_over_seams(live, 1, original.lap, || true);
    assert_eq!(lost, 0, "{told:?}");
    let waited = waited_for(&events);
    original.assert_is_in(waited(0), &nginx.recording("live", "key"), "over TLS to nginx");
    assert_eq!(counting.accepted(), 1);
}

/// The output ends with the TLS error and is not dialled again, while another output goes on.
fn tls_is_refused(identity: Identity) {
    if !need(&TLS) {
        return;
    }
    let (directory, file, nginx, tls, counting) = before_tls(identity);
    let engine = engine();
    let events = engine.events();
    let recording = directory.path().join("meanwhile.flv");
    let live = engine
        .stream(Source::file(&file).looped())
        .to(rtmps(&counting, &tls))
        .record(&recording)
        .start()
        .expect("a stream of the clip");
    let mut refused = None;
    let ended = wait_until(PATIENCE, || {
        while let Some(event) = events.try_next() {
            match event.kind {
                EventKind::OutputEnded { error, .. } => refused = error,
                EventKind::OutputRetrying { error, .. } => panic!("dialled again after {error}"),
                _ => {}
            }
        }
        refused.is_some()
    });
    assert!(ended, "{}", live.stats());
    let refused = refused.expect("it was waited for");
    assert!(matches!(refused, Error::Tls { .. }), "{refused:?}");
    assert_eq!((refused.code(), refused.is_retryable()), ("TLS_FAILED", false));
    // The other output has gone on, longer than the first wait of a retry can be.
    let longest = i64::try_from(Duration::from_millis(3_100).as_millis()).expect("three seconds");
    assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() > longest), "{}", live.stats());
    live.stop(PATIENCE).expect("the recording was left");
    assert_eq!(counting.accepted(), 1);
    assert!(nginx.recordings("live", "key").is_empty());
    let found = laps(&frame_hashes(&recording), &frame_hashes(&file)).expect("the file's frames");
    assert_eq!((found.first, found.seams >= 1), (0, true), "{found}");
}

#[test]
fn rtmps_with_a_certificate_of_a_stranger_ends_the_output() {
    tls_is_refused(Identity::WrongAuthority);
}

#[test]
fn rtmps_with_a_certificate_for_another_host_ends_the_output() {
    tls_is_refused(Identity::WrongHost);
}
