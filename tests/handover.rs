//! Publishers of others drop, return and are replaced: whoever plays or is pushed to sees one stream, whose times increase.

use flowcast::{Config, Engine, EventKind, Events, Output, RtmpServer, RtmpServerExt, Source, StreamHandle};
use kit::{
    Clip, Need, Nginx, PATIENCE, Peer, ffmpeg_play, ffmpeg_publish, frame_hashes, need, packet_times,
    wait_until,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KEY: &str = "studio-key";
const NAME: &str = "studio";

/// A server whose stream is pushed to nginx and played by ffmpeg.
struct Studio {
    engine: Engine,
    server: RtmpServer,
    nginx: Nginx,
    events: Events,
    directory: TempDir,
    file: PathBuf,
}

impl Studio {
    fn start(takeover_after: Duration) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        // Without B-frames: of a publisher that is killed, no frame comes that is shown after one that does not.
        let clip = Clip { seconds: 3, b_frames: 0, ..Clip::default() };
        let file = clip.make(directory.path(), "clip.flv");
        let engine = Engine::new(Config::default()).expect("the defaults work");
        engine.keys().add(NAME, KEY).expect("a usable key");
        let server = engine
            .rtmp_server("127.0.0.1:0")
            .options(|options| options.takeover_after = takeover_after)
            .start()
            .expect("a free port");
        Self { events: engine.events(), engine, server, nginx: Nginx::start(&["live"]), directory, file }
    }

    fn publish(&self) -> Peer {
        ffmpeg_publish(&self.file, &format!("rtmp://{}/live/{KEY}", self.server.address()), 50)
    }

    /// Starts the push before anybody publishes.
    fn restream(&self) -> StreamHandle {
        let push = Output::rtmp_url(&self.nginx.url("live", "key"));
        self.engine.stream(Source::published(NAME)).to(push).start().expect("a free place")
    }

    fn played(&self) -> PathBuf {
        self.directory.path().join("played.flv")
    }

    /// A player, once the stream is there.
    fn play(&self) -> Peer {
        assert!(wait_until(PATIENCE, || self.engine.hub().find(NAME).is_some()), "{:?}", self.server.stats());
        ffmpeg_play(&format!("rtmp://{}/live/{NAME}", self.server.address()), &self.played(), None)
    }

    /// Waits until nginx and the player have something, and this many milliseconds more are on the air.
    fn wait_more(&self, live: &StreamHandle, millis: i64) {
        let stream = self.engine.hub().find(NAME).expect("it is on the air");
        let begin = stream.stats().media_time.as_millis();
        let is_there = |file: &Path| std::fs::metadata(file).is_ok_and(|facts| facts.len() > 0);
        let done = wait_until(PATIENCE, || {
            let mut files = self.nginx.recordings("live", "key");
            files.push(self.played());
            files.len() == 2
                && files.iter().all(|file| is_there(file))
                && stream.stats().media_time.as_millis() >= begin + millis
        });
        assert!(done, "{}\n{}", stream.stats(), live.stats());
    }

    fn told(&self, wanted: fn(&EventKind) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(event) = self.events.next_timeout(left) else { panic!("not told, but {heard:?}") };
            if wanted(&event.kind) {
                return;
            }
            heard.push(event);
        }
    }

    /// The last publisher ends in an orderly way; then both recordings are one stream of this many publishers.
    fn finish(self, mut publisher: Peer, mut player: Peer, live: StreamHandle, publishers: usize) {
        publisher.interrupt(PATIENCE);
        // The end is told at once, not after the grace.
        player.wait_success(PATIENCE);
        let pushed = self.nginx.recording("live", "key");
        let stats = live.stop(PATIENCE).expect("it runs well");
        assert_eq!((stats.drops, stats.reconnects), (0, 0), "{stats}");
        for (who, file) in [("nginx", &pushed), ("the player", &self.played())] {
            assert_is_one_stream(file, &self.file, publishers, who);
        }
    }
}

/// The recording is the clip from its beginning, as often as there were publishers, and its times strictly increase.
fn assert_is_one_stream(recording: &Path, clip: &Path, publishers: usize, who: &str) {
    for kind in ["v", "a"] {
        let times = packet_times(recording, kind);
        let falls = times.windows(2).find(|pair| pair[1].dts <= pair[0].dts);
        assert!(falls.is_none(), "{who}: {kind} times {falls:?}");
    }
    let (frames, clip) = (frame_hashes(recording), frame_hashes(clip));
    let place = |hash: &String| clip.iter().position(|frame| frame == hash);
    let places: Vec<_> =
        frames.iter().map(|hash| place(hash).unwrap_or_else(|| panic!("{who}: another frame"))).collect();
    let follows = |pair: &[usize]| pair[1] == (pair[0] + 1) % clip.len();
    let seams: Vec<_> = places.windows(2).filter(|pair| !follows(pair)).map(|pair| pair[1]).collect();
    // A publisher that was cut off at the end of the clip leaves no seam to be seen.
    assert!(seams.len() < publishers && seams.iter().all(|&next| next == 0), "{who}: {seams:?}");
}

#[test]
fn a_publisher_that_is_killed_and_started_again_goes_on_as_one_stream() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let studio = Studio::start(Duration::from_secs(5));
    let live = studio.restream();
    let mut publisher = studio.publish();
    let player = studio.play();
    for _ in 0..2 {
        studio.wait_more(&live, 2500);
        publisher.kill();
        studio.told(|kind| matches!(kind, EventKind::PublisherLost { .. }));
        publisher = studio.publish();
        studio.told(|kind| matches!(kind, EventKind::PublisherReturned { .. }));
    }
    studio.wait_more(&live, 2500);
    studio.finish(publisher, player, live, 3);
}

#[test]
fn a_publisher_that_is_taken_over_from_at_once_goes_on_as_one_stream() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let studio = Studio::start(Duration::ZERO);
    let live = studio.restream();
    let mut publisher = studio.publish();
    let player = studio.play();
    studio.wait_more(&live, 2500);
    let next = studio.publish();
    studio.told(|kind| matches!(kind, EventKind::PublisherReplaced { .. }));
    assert!(!publisher.wait(PATIENCE).success(), "it does not know\n{}", publisher.report());
    studio.wait_more(&live, 2500);
    studio.finish(next, player, live, 2);
}

#[test]
fn a_publisher_that_hangs_is_taken_over_from_after_its_silence() {
    if !need(&[Need::Ffmpeg, Need::Nginx]) {
        return;
    }
    let silence = Duration::from_secs(2);
    let studio = Studio::start(silence);
    let live = studio.restream();
    let publisher = studio.publish();
    let player = studio.play();
    studio.wait_more(&live, 2500);
    // While it sends, nobody else is let in.
    let mut refused = studio.publish();
    assert!(!refused.wait(PATIENCE).success(), "{}", refused.report());
    publisher.freeze();
    let frozen = Instant::now();
    // As an encoder tries again that was started anew elsewhere.
    let mut next = studio.publish();
    let let_in = wait_until(PATIENCE, || {
        if !next.is_running() {
            next = studio.publish();
        }
        studio
            .events
            .try_next()
            .is_some_and(|event| matches!(event.kind, EventKind::PublisherReplaced { .. }))
    });
    assert!(let_in && frozen.elapsed() + Duration::from_millis(200) >= silence, "{:?}", frozen.elapsed());
    studio.wait_more(&live, 2500);
    studio.finish(next, player, live, 2);
}

/// A looped file that players of the server get without a socket in between, from a reel and through libav.
#[cfg(feature = "libav")]
#[test]
fn a_looped_file_on_the_hub_is_played_over_its_loop_points() {
    use flowcast::ReelStore;
    use flowcast::stats::{OutputPhase, SourceMode};
    use kit::laps;

    if !need(&[Need::Ffmpeg]) {
        return;
    }
    for mode in [SourceMode::Reel, SourceMode::Direct] {
        let directory = TempDir::new().expect("a temporary directory");
        let file = Clip { seconds: 2, ..Clip::default() }.make(directory.path(), "clip.mp4");
        let mut config = Config::default();
        config.reels = (mode == SourceMode::Reel).then(|| ReelStore::new(directory.path().join("reels")));
        let engine = Engine::new(config).expect("settings that work");
        let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
        let live = engine.stream(Source::file(&file).looped()).to(Output::publish("loop")).start();
        let live = live.expect("a stream of the clip");
        let url = format!("rtmp://{}/live/loop", server.address());
        let recordings = ["one.flv", "two.flv"].map(|name| directory.path().join(name));
        let mut players = recordings.each_ref().map(|file| ffmpeg_play(&url, file, None));
        assert!(wait_until(PATIENCE, || server.stats().players == 2), "{}", live.stats());
        let enough = live.stats().media_time.as_millis() + 5000;
        assert!(wait_until(PATIENCE, || live.stats().media_time.as_millis() >= enough), "{}", live.stats());
        let stats = live.stats();
        assert_eq!(stats.mode, mode);
        assert_eq!(
            stats.outputs.iter().filter(|output| output.phase == OutputPhase::Live).count(),
            3,
            "{stats}"
        );
        live.stop(PATIENCE).expect("it runs well");
        players.iter_mut().for_each(|player| player.wait_success(PATIENCE));
        let original = frame_hashes(&file);
        for recording in &recordings {
            let found =
                laps(&frame_hashes(recording), &original).unwrap_or_else(|why| panic!("{mode}: {why}"));
            assert!(found.seams >= 2 && found.first.is_multiple_of(25), "{mode}: {found}");
        }
        assert!(wait_until(PATIENCE, || engine.hub().find("loop").is_none()));
    }
}
