//! Publishers and players of others at the embedded server: what they bring arrives whole, who has no business is told so.

mod support;

use bytes::{Buf, Bytes};
use flowcast::rtmp::chunk::ChunkWriter;
use flowcast::rtmp::error::Error as RtmpError;
use flowcast::rtmp::flv::{FlvReader, Tag, TagKind};
use flowcast::rtmp::limits::Limits;
use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast::rtmp::time::MediaTime;
use flowcast::rtmp::url::Destination;
use flowcast::rtmp::wire::WireBuf;
use flowcast::{Config, Engine, Error, EventKind, Output, RtmpServer, RtmpServerExt, Source, StreamRef};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{
    Clip, Need, PATIENCE, PacketTime, Peer, ffmpeg_play, ffmpeg_publish, frame_hashes, gst_play, gst_publish,
    laps, librtmp_publish, media, need, packet_count, packet_times, peer_play, peer_publish, rtmpdump,
    sound_laps, wait_until,
};
use tempfile::TempDir;

/// The key publishers use, and the name players use.
const KEY: &str = "studio-key";
const NAME: &str = "studio";

/// An embedded server with one key, and a directory for what is recorded.
struct Studio {
    engine: Engine,
    server: RtmpServer,
    directory: TempDir,
}

impl Studio {
    fn start() -> Self {
        let engine = Engine::new(Config::default()).expect("the defaults work");
        engine.keys().add(NAME, KEY).expect("a usable key");
        let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
        Self { engine, server, directory: TempDir::new().expect("a temporary directory") }
    }

    fn url(&self, app: &str, name: &str) -> String {
        format!("rtmp://{}/{app}/{name}", self.server.address())
    }

    fn publish_url(&self) -> String {
        self.url("live", KEY)
    }

    fn play_url(&self) -> String {
        self.url("live", NAME)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn clip(&self, clip: Clip) -> PathBuf {
        clip.make(self.directory.path(), "clip.flv")
    }

    /// The stream of the publisher, once it is on the air.
    fn on_air(&self) -> StreamRef {
        let found = wait_until(PATIENCE, || self.engine.hub().find(NAME).is_some());
        assert!(found, "nothing was published: {:?}", self.server.stats());
        self.engine.hub().find(NAME).expect("it was found")
    }

    /// Records the publisher, from its first frame on if this is called within its first GOP.
    fn record(&self) -> (StreamRef, PathBuf) {
        let (stream, file) = (self.on_air(), self.file("recorded.flv"));
        stream.add_output(Output::record(&file)).expect("a running stream");
        (stream, file)
    }

    fn wait_off_air(&self, stream: &StreamRef) {
        assert!(wait_until(PATIENCE, || stream.has_ended()), "still on the air: {}", stream.stats());
        assert!(self.engine.hub().find(NAME).is_none(), "the name is not free");
        assert!(self.engine.keys().active().is_empty());
    }
}

/// Who published what is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Publisher {
    /// It sends a file as it is.
    Exact,
    /// Its `flvmux` gives the first frames equal times where there are B-frames, and may leave out the sound's last packets.
    Gstreamer,
}

/// The recording is the whole file, once, and its times increase.
fn assert_whole(recording: &Path, file: &Path, by: Publisher, who: &str) {
    let (recorded, frames) = (frame_hashes(recording), frame_hashes(file));
    assert_eq!(recorded.len(), frames.len(), "{who}: frames");
    assert!(recorded == frames, "{who}: other frames");
    let tracks: &[&str] = if packet_count(file, "a") > 0 { &["v", "a"] } else { &["v"] };
    assert_times(recording, tracks, by, who);
    let (sound, all) = (packet_count(recording, "a"), packet_count(file, "a"));
    let left_out = if by == Publisher::Gstreamer { 2 } else { 0 };
    assert!(sound + left_out >= all && sound <= all, "{who}: {sound} packets of sound of {all}");
}

/// Times begin at about zero and strictly increase, in each track.
fn assert_times(recording: &Path, tracks: &[&str], by: Publisher, who: &str) {
    for &kind in tracks {
        let times = packet_times(recording, kind);
        let first = times.first().unwrap_or_else(|| panic!("{who}: no {kind} track"));
        assert!((-50.0..150.0).contains(&first.dts), "{who}: {kind} begins with {first:?}");
        assert!(kind == "a" || first.keyframe, "{who}: begins with {first:?}");
        let equal = if by == Publisher::Gstreamer { 2 } else { 0 };
        let falls = |pair: &[PacketTime]| pair[1].dts < pair[0].dts;
        let stands = |(at, pair): (usize, &[PacketTime])| at >= equal && pair[1].dts == pair[0].dts;
        let falling = times.windows(2).enumerate().find(|&(at, pair)| falls(pair) || stands((at, pair)));
        assert!(falling.is_none(), "{who}: {kind} times {falling:?}");
    }
}

/// Somebody publishes a clip in real time and ends.
fn publishes(by: Publisher, needs: &[Need], publish: impl Fn(&Path, &str) -> Peer) {
    if !need(&[Need::Ffmpeg]) || !need(needs) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    let mut publisher = publish(&file, &studio.publish_url());
    let (stream, recording) = studio.record();
    let active = studio.engine.keys().active();
    assert_eq!(active.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), [NAME]);
    publisher.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    assert_whole(&recording, &file, by, &publisher.report());
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}\n{}", publisher.report());
}

#[test]
fn ffmpeg_publishes() {
    publishes(Publisher::Exact, &[], |file, url| ffmpeg_publish(file, url, 1));
}

/// Real files: keyframes of a hundred kilobytes with six channels of sound, and B-frames without sound.
#[test]
fn ffmpeg_publishes_footage() {
    let names = ["bigbuckbunny.mp4", "carphone_pristine.mp4"];
    if !need(&[Need::Ffmpeg]) || !need(&names.map(Need::Media)) {
        return;
    }
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let (studio, file) = (Studio::start(), media(name).expect("a file that is there"));
                let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 1);
                let (stream, recording) = studio.record();
                publisher.wait_success(PATIENCE);
                studio.wait_off_air(&stream);
                assert_whole(&recording, &file, Publisher::Exact, name);
            });
        }
    });
}

#[test]
fn gstreamer_publishes() {
    publishes(Publisher::Gstreamer, &[Need::Gstreamer], gst_publish);
}

#[test]
fn librtmp_publishes() {
    publishes(Publisher::Exact, &[Need::Peer("librtmp_publish")], librtmp_publish);
}

#[test]
fn xiu_publishes() {
    publishes(Publisher::Exact, &[Need::Peer("xiu_client")], |file, url| {
        peer_publish("xiu_client", file, url)
    });
}

#[test]
fn rml_publishes() {
    publishes(Publisher::Exact, &[Need::Peer("rml_client")], |file, url| {
        peer_publish("rml_client", file, url)
    });
}

/// Somebody joins in the middle of a GOP, plays over loop points until the publisher ends, and then ends by itself.
fn plays(needs: &[Need], play: impl Fn(&str, &Path) -> Peer) {
    if !need(&[Need::Ffmpeg]) || !need(needs) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip::default());
    let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 3);
    let stream = studio.on_air();
    // Past the first keyframe but one.
    assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() > 1_000), "{}", stream.stats());
    let played = studio.file("played.flv");
    let mut player = play(&studio.play_url(), &played);
    publisher.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    player.wait(PATIENCE);
    let (recorded, frames) = (frame_hashes(&played), frame_hashes(&file));
    let found = laps(&recorded, &frames).unwrap_or_else(|why| panic!("{why}\n{}", player.report()));
    assert_eq!(found.first % 25, 0, "{found}: it must begin with a keyframe\n{}", player.report());
    assert!(found.seams >= 1, "{found}\n{}", player.report());
    let end = (found.first + recorded.len()) % frames.len();
    assert_eq!((end, found.cut), (0, 0), "{found}: it must end with the last frame\n{}", player.report());
    assert_times(&played, &["v", "a"], Publisher::Exact, &player.report());
    let sound = support::packet_hashes(&played, "a");
    let original = support::packet_hashes(&file, "a");
    sound_laps(&sound, &original, original.len() - 1)
        .unwrap_or_else(|why| panic!("{why}\n{}", player.report()));
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}\n{}", player.report());
    assert!(wait_until(PATIENCE, || studio.server.stats().connections == 0), "{:?}", studio.server.stats());
}

#[test]
fn ffmpeg_plays() {
    plays(&[], |url, file| ffmpeg_play(url, file, None));
}

#[test]
fn rtmpdump_plays() {
    plays(&[Need::Rtmpdump], |url, file| rtmpdump(url, file, None));
}

#[test]
fn gstreamer_plays() {
    plays(&[Need::Gstreamer], gst_play);
}

#[test]
fn xiu_plays() {
    plays(&[Need::Peer("xiu_client")], |url, file| peer_play("xiu_client", url, file));
}

#[test]
fn rml_plays() {
    plays(&[Need::Peer("rml_client")], |url, file| peer_play("rml_client", url, file));
}

/// flowcast's client session on a blocking socket.
struct Client {
    socket: TcpStream,
    session: ClientSession,
    events: Vec<ClientEvent>,
}

impl Client {
    fn connect(role: ClientRole, url: &str) -> Self {
        let destination = Destination::parse(url).expect("a proper URL");
        let socket =
            TcpStream::connect((destination.host(), destination.port())).expect("a listening server");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout above zero");
        socket.set_nodelay(true).expect("a TCP socket");
        let config = ClientConfig::default();
        let session = ClientSession::new(role, &destination, config, [0x5a; 1528], Instant::now());
        Self { socket, session, events: Vec::new() }
    }

    /// What is to be sent, taken from the session.
    fn take_wire(&mut self) -> Vec<u8> {
        let wire = self.session.wire();
        wire.copy_to_bytes(wire.remaining()).to_vec()
    }

    fn send(&mut self) {
        let bytes = self.take_wire();
        self.socket.write_all(&bytes).expect("an open connection");
    }

    /// Reads once. `Ok(false)`: the server has closed.
    fn read(&mut self) -> Result<bool, RtmpError> {
        let mut buffer = [0; 65_536];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => self.session.handle_input(Instant::now(), &buffer[..count])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the connection broke: {error}"),
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(true)
    }

    /// Goes on until `done`, the server closes (`Ok(false)`), or it refuses.
    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<bool, RtmpError> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "nothing happens: {:?}", self.session);
            self.send();
            if !self.read()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The status of a refusal; the server then closes.
    fn refusal(mut self) -> String {
        let refused = self.run_until(|client| client.session.is_live());
        let Err(RtmpError::Rejected { code, .. }) = refused else { panic!("not refused: {refused:?}") };
        self.assert_closed();
        code
    }

    /// The server closes in its own good time, without a reset.
    fn assert_closed(&mut self) {
        let mut buffer = [0; 1024];
        let closed = wait_until(PATIENCE, || matches!(self.socket.read(&mut buffer), Ok(0)));
        assert!(closed, "the connection stays open");
    }

    /// Goes as far as the answer to `createStream`, and returns the `publish` that would be sent next.
    fn publish_command(&mut self) -> Vec<u8> {
        const PUBLISH: &[u8] = b"\x02\x00\x07publish";
        let mut command = Vec::new();
        let reached = self.run_until(|client| {
            let bytes = client.take_wire();
            if bytes.windows(PUBLISH.len()).any(|window| window == PUBLISH) {
                command = bytes;
                return true;
            }
            client.socket.write_all(&bytes).expect("an open connection");
            false
        });
        assert!(matches!(reached, Ok(true)), "{reached:?}");
        command
    }
}

/// The tags of an FLV file, without its script data.
fn media_tags(file: &Path) -> Vec<Tag> {
    let mut reader = FlvReader::new(&Limits::file());
    reader.push(&std::fs::read(file).expect("a file that is there"));
    std::iter::from_fn(|| reader.pull().expect("a proper file"))
        .filter(|tag| tag.kind != TagKind::Script)
        .collect()
}

/// Tags as a publisher sends them on its message stream.
fn on_the_wire(tags: &[Tag]) -> Vec<u8> {
    let mut writer = ChunkWriter::new(ClientConfig::default().chunk_size);
    let mut wire = WireBuf::new();
    for tag in tags {
        writer.write_tag(tag, 1, MediaTime::ZERO, &mut wire);
    }
    let bytes: Bytes = wire.copy_to_bytes(wire.remaining());
    bytes.to_vec()
}

/// `publish` and media in one write: all of it comes out at the other end.
fn publish_and_media_at_once(clip: Clip, size: std::ops::Range<usize>) {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let tags = media_tags(&studio.clip(clip));
    let mut client = Client::connect(ClientRole::Publish, &studio.publish_url());
    let mut segment = client.publish_command();
    segment.extend(on_the_wire(&tags));
    assert!(size.contains(&segment.len()), "{} bytes", segment.len());
    client.socket.write_all(&segment).expect("an open connection");
    let accepted = client.run_until(|client| client.session.is_live());
    assert!(matches!(accepted, Ok(true)), "{accepted:?}");
    let last = tags.iter().map(|tag| tag.timestamp).max().expect("tags");
    let (stream, recording) = studio.record();
    let all = wait_until(PATIENCE, || stream.stats().media_time == last);
    assert!(all, "{} of {last:?}", stream.stats());
    client.session.finish();
    client.send();
    studio.wait_off_air(&stream);
    let key = |tag: &Tag| (tag.kind, tag.timestamp.as_millis(), tag.body.to_bytes());
    let (sent, recorded) = (tags.iter().map(key).collect::<Vec<_>>(), media_tags(&recording));
    let recorded: Vec<_> = recorded.iter().map(key).collect();
    assert_eq!(recorded.len(), sent.len());
    assert!(recorded == sent, "other tags");
}

#[test]
fn publish_and_media_in_one_segment_lose_nothing() {
    let clip = Clip { seconds: 1, gop: 25, size: (160, 90), ..Clip::default() };
    publish_and_media_at_once(clip, 10_000..65_000);
}

#[test]
fn publish_and_a_lot_of_media_at_once_lose_nothing() {
    let clip = Clip { seconds: 3, gop: 75, size: (960, 540), ..Clip::default() };
    publish_and_media_at_once(clip, 400_000..8_000_000);
}

/// Somebody who joins while nothing new comes still gets the GOP that has begun, from its keyframe on and from time zero.
#[test]
fn a_player_in_the_middle_of_a_gop_gets_all_of_it() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let tags = media_tags(&studio.clip(Clip { seconds: 3, gop: 25, ..Clip::default() }));
    let is_join = |tag: &Tag| tag.is_keyframe() && tag.is_video() && !tag.is_sequence_header();
    let joins: Vec<_> = tags.iter().enumerate().filter(|(_, tag)| is_join(tag)).map(|(at, _)| at).collect();
    assert_eq!(joins.len(), 3);
    // Up to the middle of the last GOP.
    let sent = &tags[..(joins[2] + tags.len()) / 2];
    let mut publisher = Client::connect(ClientRole::Publish, &studio.publish_url());
    let live = publisher.run_until(|client| client.session.is_live());
    assert!(matches!(live, Ok(true)), "{live:?}");
    sent.iter().for_each(|tag| publisher.session.send_tag(tag));
    publisher.send();
    let stream = studio.on_air();
    let last = sent.iter().map(|tag| tag.timestamp).max().expect("tags");
    assert!(wait_until(PATIENCE, || stream.stats().media_time == last), "{}", stream.stats());
    let headers = tags.iter().filter(|tag| tag.is_sequence_header()).map(|tag| (0, tag.body.to_bytes()));
    let zero = tags[joins[2]].timestamp;
    let gop = sent[joins[2]..].iter().filter(|tag| tag.timestamp >= zero);
    let gop = gop.map(|tag| (tag.timestamp.millis_since(zero), tag.body.to_bytes()));
    let expected: Vec<_> = headers.chain(gop).collect();
    let mut player = Client::connect(ClientRole::Play, &studio.play_url());
    let played = |client: &Client| {
        let tags = client.events.iter().filter_map(|event| match event {
            ClientEvent::Tag(tag) if tag.kind != TagKind::Script => Some(tag),
            _ => None,
        });
        tags.map(|tag| (tag.timestamp.as_millis(), tag.body.to_bytes())).collect::<Vec<_>>()
    };
    let got = player.run_until(|client| played(client).len() >= expected.len());
    assert!(matches!(got, Ok(true)), "{got:?}");
    assert!(played(&player) == expected, "other tags, or at other times");
}

/// Starts a publisher of a server's URL, which ends when the value is dropped.
type Publish<'a> = &'a dyn Fn(&str) -> Box<dyn std::any::Any>;

/// Addresses as they are in the wild: IPv6, a query behind the key, a slash behind the app.
#[test]
fn addresses_with_queries_and_ipv6_are_understood() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 on this machine");
        return;
    }
    let server = studio.engine.rtmp_server("[::1]:0").start().expect("a free port");
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let publish: [Publish<'_>; 2] =
        [&|url| Box::new(ffmpeg_publish(&file, &format!("{url}/{KEY}?token=a%2Fb&backup=1"), 5)), &|url| {
            let output = Output::rtmp(&format!("{url}/"), format!("{KEY}?token=a%2Fb&backup=1"));
            let looped = engine.stream(Source::file(&file).looped()).to(output);
            Box::new(looped.start().expect("a stream of the clip"))
        }];
    for publish in publish {
        for address in [server.address(), studio.server.address()] {
            let url = format!("rtmp://{address}/live");
            let publisher = publish(&url);
            let stream = studio.on_air();
            let mut player = Client::connect(ClientRole::Play, &format!("{url}/{NAME}?user=me"));
            let is_video = |event: &ClientEvent| matches!(event, ClientEvent::Tag(tag) if tag.is_keyframe());
            let playing = player.run_until(|client| client.events.iter().any(is_video));
            assert!(matches!(playing, Ok(true)), "{address}: {playing:?}");
            drop(publisher);
            studio.wait_off_air(&stream);
        }
    }
}

#[test]
fn unknown_key_is_refused_with_its_status_before_any_media() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    // A name is no key.
    for key in ["wrong-key", NAME, "studio-ke", "studio-key2"] {
        let client = Client::connect(ClientRole::Publish, &studio.url("live", key));
        assert_eq!(client.refusal(), "NetStream.Publish.BadName", "{key}");
    }
    let tags = media_tags(&studio.clip(Clip { seconds: 1, size: (160, 90), ..Clip::default() }));
    let mut client = Client::connect(ClientRole::Publish, &studio.url("live", "wrong-key"));
    let mut segment = client.publish_command();
    segment.extend(on_the_wire(&tags));
    client.socket.write_all(&segment).expect("an open connection");
    let code = client.refusal();
    assert_eq!(code, "NetStream.Publish.BadName");
    let stats = studio.server.stats();
    assert_eq!((stats.refused_publish, stats.bytes_received, stats.publishers), (5, 0, 0), "{stats:?}");
    assert!(studio.engine.keys().active().is_empty() && studio.engine.streams().is_empty());
    assert!(wait_until(PATIENCE, || studio.server.stats().connections == 0), "{:?}", studio.server.stats());
}

#[test]
fn publishers_of_others_hear_that_their_key_is_unknown() {
    let needs = [Need::Ffmpeg, Need::Gstreamer, Need::Peer("librtmp_publish"), Need::Peer("rml_client")];
    if !need(&needs) {
        return;
    }
    let studio = Studio::start();
    let (file, url) = (studio.clip(Clip::default()), studio.url("live", "wrong-key"));
    let publishers = [
        ffmpeg_publish(&file, &url, 1),
        gst_publish(&file, &url),
        librtmp_publish(&file, &url),
        peer_publish("rml_client", &file, &url),
    ];
    for mut publisher in publishers {
        let status = publisher.wait(PATIENCE);
        assert!(!status.success(), "{}", publisher.report());
    }
    let stats = studio.server.stats();
    assert_eq!((stats.refused_publish, stats.bytes_received), (4, 0), "{stats:?}");
}

#[test]
fn our_own_push_with_an_unknown_key_ends_and_is_not_tried_again() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip::default());
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let events = engine.events();
    let live = engine
        .stream(Source::file(&file).looped())
        .to(Output::rtmp(&format!("rtmp://{}/live", studio.server.address()), "wrong-key"))
        .start()
        .expect("a stream of the clip");
    let ended = live.wait_timeout(PATIENCE).expect("its only output has ended");
    let error = ended.expect_err("it was refused");
    assert!(matches!(*error, Error::Rtmp { source: RtmpError::Rejected { .. }, .. }), "{error:?}");
    assert!(!error.is_retryable());
    let retried =
        std::iter::from_fn(|| events.try_next()).any(|e| matches!(e.kind, EventKind::OutputRetrying { .. }));
    assert!(!retried);
    assert_eq!(studio.server.stats().refused_publish, 1);
}

#[test]
fn another_app_is_refused_to_publishers_and_players() {
    let studio = Studio::start();
    let publisher = Client::connect(ClientRole::Publish, &studio.url("other", KEY));
    assert_eq!(publisher.refusal(), "NetStream.Publish.BadName");
    let player = Client::connect(ClientRole::Play, &studio.url("other", NAME));
    assert_eq!(player.refusal(), "NetStream.Play.StreamNotFound");
    let stats = studio.server.stats();
    assert_eq!((stats.refused_publish, stats.refused_play), (1, 1), "{stats:?}");
}

#[test]
fn unknown_name_is_not_found() {
    let studio = Studio::start();
    // Nobody publishes, and a key is no name.
    for name in [NAME, "nobody", KEY] {
        let player = Client::connect(ClientRole::Play, &studio.url("live", name));
        assert_eq!(player.refusal(), "NetStream.Play.StreamNotFound", "{name}");
    }
    let stats = studio.server.stats();
    assert_eq!((stats.refused_play, stats.players), (3, 0), "{stats:?}");
}

#[test]
fn players_of_others_hear_that_there_is_no_such_stream() {
    if !need(&[Need::Ffmpeg, Need::Rtmpdump, Need::Gstreamer]) {
        return;
    }
    let studio = Studio::start();
    let url = studio.url("live", "nobody");
    let players = [
        ffmpeg_play(&url, &studio.file("ffmpeg.flv"), None),
        rtmpdump(&url, &studio.file("rtmpdump.flv"), None),
        gst_play(&url, &studio.file("gst.flv")),
    ];
    for mut player in players {
        let status = player.wait(PATIENCE);
        assert!(!status.success(), "{}", player.report());
    }
    assert_eq!(studio.server.stats().refused_play, 3);
}

#[test]
fn second_publisher_is_refused_and_the_first_goes_on_unharmed() {
    if !need(&[Need::Ffmpeg, Need::Peer("librtmp_publish")]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    let mut first = ffmpeg_publish(&file, &studio.publish_url(), 1);
    let (stream, recording) = studio.record();
    let client = Client::connect(ClientRole::Publish, &studio.publish_url());
    assert_eq!(client.refusal(), "NetStream.Publish.BadName");
    let mut others =
        [ffmpeg_publish(&file, &studio.publish_url(), 1), librtmp_publish(&file, &studio.publish_url())];
    for other in &mut others {
        assert!(!other.wait(PATIENCE).success(), "{}", other.report());
    }
    assert!(first.is_running(), "the first was to be on the air still\n{}", first.report());
    assert_eq!((studio.server.stats().publishers, studio.server.stats().refused_publish), (1, 3));
    first.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    assert_whole(&recording, &file, Publisher::Exact, &first.report());
    // The name is free again.
    let mut client = Client::connect(ClientRole::Publish, &studio.publish_url());
    let accepted = client.run_until(|client| client.session.is_live());
    assert!(matches!(accepted, Ok(true)), "{accepted:?}");
}

#[test]
fn removing_a_key_takes_its_publisher_off_the_air_and_no_other() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let other_key = studio.engine.keys().issue("other").expect("a free name");
    let file = studio.clip(Clip::default());
    let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 50);
    let mut other = ffmpeg_publish(&file, &studio.url("live", other_key.reveal()), 50);
    let stream = studio.on_air();
    assert!(wait_until(PATIENCE, || studio.engine.hub().find("other").is_some()), "{}", other.report());
    let mut player = Client::connect(ClientRole::Play, &studio.play_url());
    let is_tag = |event: &ClientEvent| matches!(event, ClientEvent::Tag(_));
    let playing = player.run_until(|client| client.events.iter().any(is_tag));
    assert!(matches!(playing, Ok(true)), "{playing:?}");
    assert!(studio.engine.keys().remove(NAME));
    assert!(wait_until(PATIENCE, || stream.has_ended()), "{}", stream.stats());
    // The publisher's connection is gone, the player is told and gone, the key is unknown, the other stream is on.
    assert!(!publisher.wait(PATIENCE).success(), "{}", publisher.report());
    let over = player.run_until(|client| {
        client.events.iter().any(|event| matches!(event, ClientEvent::StreamEof | ClientEvent::Closed { .. }))
    });
    assert!(matches!(over, Ok(true)), "the player was not told: {over:?}");
    player.assert_closed();
    let again = Client::connect(ClientRole::Publish, &studio.publish_url());
    assert_eq!(again.refusal(), "NetStream.Publish.BadName");
    assert!(other.is_running(), "{}", other.report());
    let names: Vec<_> = studio.engine.keys().active().into_iter().map(|stream| stream.name).collect();
    assert_eq!(names, ["other"]);
}
