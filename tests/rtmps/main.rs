//! The embedded server over RTMPS: publishers and players, the certificate renewed under them, and who does not speak TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::{ClientEvent, ClientRole};
use flowcast::rtmp::time::MediaTime;
use flowcast::server::{Error as ServerError, RtmpServerBuilder, TlsIdentity};
use flowcast::{Config, Engine, Output, RtmpServer, RtmpServerExt, StreamRef};
use kit::{
    Authority, Clip, Need, PATIENCE, Peer, Session, frame_hashes, need, tls_stream, tls_stream_of, wait_until,
};
use rustls::{ClientConnection, StreamOwned};
use tempfile::TempDir;

const KEY: &str = "studio-key";
const NAME: &str = "studio";

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn identity(authority: &Authority) -> TlsIdentity {
    let (chain, key) = authority.issue(&["localhost", "127.0.0.1"]);
    TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).expect("a proper identity")
}

/// A server that speaks RTMP and RTMPS, and one key.
struct Studio {
    engine: Engine,
    server: RtmpServer,
    authority: Authority,
    directory: TempDir,
}

impl Studio {
    fn start(change: impl FnOnce(RtmpServerBuilder) -> RtmpServerBuilder) -> Self {
        let engine = Engine::new(Config::default()).expect("the defaults work");
        engine.keys().add(NAME, KEY).expect("a usable key");
        let authority = Authority::new("flowcast test authority");
        let builder = engine.rtmp_server("127.0.0.1:0").rtmps("127.0.0.1:0", identity(&authority));
        let server = change(builder).start().expect("free ports");
        Self { engine, server, authority, directory: TempDir::new().expect("a temporary directory") }
    }

    fn secure(&self) -> SocketAddr {
        self.server.rtmps_address().expect("it speaks RTMPS")
    }

    fn url(&self, name: &str) -> String {
        format!("rtmps://localhost:{}/live/{name}", self.secure().port())
    }

    fn session(&self, role: ClientRole, name: &str, trusted: &Authority) -> Session<Tls> {
        let stream = tls_stream(self.secure(), trusted.pem()).expect("a TLS handshake");
        Session::new(role, stream, &self.url(name))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn on_air(&self) -> StreamRef {
        let found = wait_until(PATIENCE, || self.engine.hub().find(NAME).is_some());
        assert!(found, "nothing was published: {:?}", self.server.stats());
        self.engine.hub().find(NAME).expect("it was found")
    }
}

fn live<S: Read + Write>(session: &mut Session<S>) {
    let result = session.go_live();
    assert!(matches!(result, Ok(true)), "{result:?}");
}

/// A picture whose body is its number; each tenth is a keyframe. H.263, which needs no sequence header.
fn picture(number: u32) -> Tag {
    let mut body = vec![if number.is_multiple_of(10) { 0x12 } else { 0x22 }, 1, 0, 0, 0];
    body.extend_from_slice(&number.to_be_bytes());
    body.resize(2000, 0);
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(i64::from(number) * 40), Bytes::from(body))
}

fn numbers(events: &[ClientEvent]) -> Vec<u32> {
    let body = |event: &ClientEvent| match event {
        ClientEvent::Tag(tag) if tag.kind == TagKind::Video => Some(tag.body.to_bytes()),
        _ => None,
    };
    let number = |body: Bytes| body.get(5..).and_then(|rest| rest.first_chunk().copied());
    events.iter().filter_map(body).filter_map(number).map(u32::from_be_bytes).collect()
}

fn publish<S: Read + Write>(publisher: &mut Session<S>, range: std::ops::Range<u32>) {
    range.for_each(|number| publisher.session.send_tag(&picture(number)));
    publisher.send().expect("an open connection");
}

fn plays_up_to<S: Read + Write>(player: &mut Session<S>, last: u32) {
    let played = player.run_until(|player| numbers(&player.events).last() == Some(&last));
    assert!(matches!(played, Ok(true)), "{played:?}, {:?}", numbers(&player.events));
}

#[test]
fn both_versions_of_tls_publish_and_play() {
    let studio = Studio::start(|builder| builder);
    let mut first = 0;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let connect =
            || tls_stream_of(studio.secure(), studio.authority.pem(), &[version]).expect("a handshake");
        let mut publisher = Session::new(ClientRole::Publish, connect(), &studio.url(KEY));
        live(&mut publisher);
        publish(&mut publisher, first..first + 15);
        let stream = studio.on_air();
        let mut player = Session::new(ClientRole::Play, connect(), &studio.url(NAME));
        live(&mut player);
        publish(&mut publisher, first + 15..first + 30);
        plays_up_to(&mut player, first + 29);
        let played = numbers(&player.events);
        assert!(played.first().is_some_and(|number| number.is_multiple_of(10)), "{played:?}");
        assert!(played.windows(2).all(|pair| matches!(pair, [a, b] if a + 1 == *b)), "{played:?}");
        publisher.session.finish();
        publisher.send().expect("an open connection");
        assert!(wait_until(PATIENCE, || stream.has_ended()), "{}", stream.stats());
        first += 30;
    }
    let stats = studio.server.stats();
    assert_eq!((stats.accepted, stats.tls_errors, stats.protocol_errors, stats.timeouts), (4, 0, 0, 0));
}

/// What TLS has decrypted before the publisher moves to its stream's thread is not lost, however it is cut into records.
#[test]
fn publish_and_media_in_one_segment_lose_nothing() {
    const PUBLISH: &[u8] = b"\x02\x00\x07publish";
    for record in [1000, 16_384] {
        let studio = Studio::start(|builder| builder);
        let mut publisher = studio.session(ClientRole::Publish, KEY, &studio.authority);
        let mut command = Vec::new();
        let reached = wait_until(PATIENCE, || {
            let wire = publisher.session.wire();
            let bytes = bytes::Buf::copy_to_bytes(wire, wire.len());
            if bytes.windows(PUBLISH.len()).any(|window| window == PUBLISH) {
                command = bytes.to_vec();
                return true;
            }
            publisher.stream.write_all(&bytes).expect("an open connection");
            assert!(matches!(publisher.read(), Ok(true)));
            false
        });
        assert!(reached);
        let mut wire = flowcast::rtmp::wire::WireBuf::new();
        let mut writer = flowcast::rtmp::chunk::ChunkWriter::new(60_000);
        (0..100).for_each(|number| writer.write_tag(&picture(number), 1, MediaTime::ZERO, &mut wire));
        let length = wire.len();
        command.extend_from_slice(&bytes::Buf::copy_to_bytes(&mut wire, length));
        // All of it is in the socket at once, whatever the server has read until then.
        for part in command.chunks(record) {
            publisher.stream.conn.writer().write_all(part).expect("room in TLS");
            while publisher.stream.conn.wants_write() {
                publisher.stream.conn.write_tls(&mut publisher.stream.sock).expect("an open connection");
            }
        }
        live(&mut publisher);
        let stream = studio.on_air();
        let last = MediaTime::from_millis(99 * 40);
        assert!(wait_until(PATIENCE, || stream.stats().media_time == last), "{}", stream.stats());
    }
}

#[test]
fn a_renewed_certificate_is_shown_to_newcomers_and_nothing_on_the_air_notices() {
    let studio = Studio::start(|builder| builder);
    let mut publisher = studio.session(ClientRole::Publish, KEY, &studio.authority);
    live(&mut publisher);
    publish(&mut publisher, 0..10);
    studio.on_air();
    let mut player = studio.session(ClientRole::Play, NAME, &studio.authority);
    live(&mut player);
    plays_up_to(&mut player, 9);

    let renewed = Authority::new("another authority");
    studio.server.reload_tls(identity(&renewed)).expect("it has an address for RTMPS");
    publish(&mut publisher, 10..20);
    plays_up_to(&mut player, 19);
    let refused = tls_stream(studio.secure(), studio.authority.pem()).expect_err("the old one is not shown");
    assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
    let mut newcomer = studio.session(ClientRole::Play, NAME, &renewed);
    live(&mut newcomer);
    publish(&mut publisher, 20..30);
    plays_up_to(&mut player, 29);
    plays_up_to(&mut newcomer, 29);
    assert_eq!(numbers(&player.events), (0..30).collect::<Vec<_>>());
    assert!(wait_until(PATIENCE, || studio.server.stats().tls_errors == 1), "{:?}", studio.server.stats());
}

#[test]
fn ffmpeg_publishes_and_plays_with_the_certificate_checked() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Clip { gop: 50, ..Clip::default() };
    let studio = Studio::start(|builder| builder);
    let file = clip.make(studio.directory.path(), "clip.flv");
    let trusted = studio.file("ca.pem");
    std::fs::write(&trusted, studio.authority.pem()).expect("a file in the new directory");
    let (text, url) = (|path: &Path| path.to_str().expect("UTF-8").to_owned(), studio.url(KEY));
    let tls = ["-tls_verify", "1", "-ca_file", &text(&trusted)].map(str::to_owned);
    let ffmpeg = |arguments: Vec<String>| Peer::spawn(Path::new("ffmpeg"), arguments);
    let owned =
        |arguments: &[&str]| arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>();

    let mut arguments = owned(&["-nostdin", "-v", "warning", "-re", "-i", &text(&file), "-c", "copy"]);
    arguments.extend(owned(&["-f", "flv"]).into_iter().chain(tls.clone()).chain([url]));
    let mut publisher = ffmpeg(arguments);
    let stream = studio.on_air();
    let recorded = studio.file("recorded.flv");
    stream.add_output(Output::record(&recorded)).expect("a running stream");
    // The publication goes on when both players have come, however long they take to start.
    publisher.freeze();
    let played = studio.file("played.flv");
    let mut arguments = owned(&["-nostdin", "-v", "warning", "-y"]);
    arguments.extend(tls.into_iter().chain(owned(&["-i", &studio.url(NAME), "-c", "copy", &text(&played)])));
    let mut player = ffmpeg(arguments);
    let other = studio.file("other.pem");
    std::fs::write(&other, Authority::new("another authority").pem()).expect("a file in the new directory");
    let mut distrustful = ffmpeg(owned(&[
        "-nostdin",
        "-v",
        "error",
        "-tls_verify",
        "1",
        "-ca_file",
        &text(&other),
        "-i",
        &studio.url(NAME),
        "-f",
        "null",
        "-",
    ]));
    assert!(!distrustful.wait(PATIENCE).success(), "ffmpeg does not check: {}", distrustful.report());
    let has_joined = wait_until(PATIENCE, || stream.players() == 1);
    publisher.thaw();
    assert!(has_joined, "{}", player.report());
    publisher.wait_success(PATIENCE);
    player.wait_success(PATIENCE);
    assert!(wait_until(PATIENCE, || stream.has_ended()), "{}", stream.stats());
    let frames = frame_hashes(&file);
    assert!(frame_hashes(&recorded) == frames, "the recording has other frames");
    assert!(frame_hashes(&played) == frames, "the player got other frames");
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}");
}

#[cfg(feature = "libav")]
#[test]
fn our_own_push_publishes_with_the_certificate_checked() {
    use flowcast::Source;
    use flowcast::config::TlsRoots;
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start(|builder| builder);
    let file = Clip::default().make(studio.directory.path(), "clip.flv");
    let trusted = studio.file("ca.pem");
    std::fs::write(&trusted, studio.authority.pem()).expect("a file in the new directory");
    let roots = TlsRoots::from_pem_file(&trusted).expect("the authority's certificate");
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let push = Output::rtmp_url(&studio.url(KEY)).tls_roots(roots);
    let live = engine.stream(Source::file(&file).looped()).to(push).start().expect("a stream of the clip");
    let stream = studio.on_air();
    assert!(
        wait_until(PATIENCE, || stream.stats().media_time > MediaTime::from_millis(3000)),
        "{}",
        stream.stats()
    );
    live.stop(Duration::from_secs(5)).expect("it stops");
    assert!(wait_until(PATIENCE, || stream.has_ended()), "{}", stream.stats());
    let stats = studio.server.stats();
    assert_eq!((stats.accepted, stats.tls_errors, stats.protocol_errors), (1, 0, 0), "{stats:?}");
}

/// Ends with what the server does to somebody who sends these bytes and reads on.
fn closed_after(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).expect("a listening server");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    socket.write_all(bytes).expect("an open connection");
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not closed"),
    }
    answer
}

#[test]
fn who_speaks_the_wrong_one_of_the_two_is_refused_and_counted() {
    const ALERT: u8 = 21;
    let studio = Studio::start(|builder| builder);
    let mut rtmp = vec![3];
    rtmp.resize(1537, 7);
    let answer = closed_after(studio.secure(), &rtmp);
    assert!(answer.first().is_none_or(|&kind| kind == ALERT), "{answer:?}");
    assert!(wait_until(PATIENCE, || studio.server.stats().connections == 0));
    let stats = studio.server.stats();
    assert_eq!((stats.tls_errors, stats.protocol_errors), (1, 0), "{stats:?}");
    let hello = [22, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3];
    assert!(closed_after(studio.server.address(), &hello).is_empty());
    assert!(wait_until(PATIENCE, || studio.server.stats().connections == 0));
    let stats = studio.server.stats();
    assert_eq!((stats.tls_errors, stats.protocol_errors), (1, 1), "{stats:?}");
}

/// Nobody who does not finish the handshake stays, and nobody else waits for them.
#[test]
fn unfinished_tls_handshakes_end_with_their_deadline_and_hold_nobody_up() {
    let handshake = Duration::from_millis(1500);
    let studio = Studio::start(|builder| builder.options(|options| options.handshake = handshake));
    let began = Instant::now();
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let mut sockets: Vec<_> = (0..20)
        .map(|number| {
            let mut socket = TcpStream::connect(studio.secure()).expect("a listening server");
            socket.write_all(hello.get(..number % hello.len()).unwrap_or_default()).expect("it is open");
            socket
        })
        .collect();
    let mut publisher = studio.session(ClientRole::Publish, KEY, &studio.authority);
    live(&mut publisher);
    assert!(wait_until(PATIENCE, || studio.server.stats().timeouts == 20), "{:?}", studio.server.stats());
    assert!(began.elapsed() >= handshake, "they were given {:?}", began.elapsed());
    for socket in &mut sockets {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        assert!(!matches!(socket.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock));
    }
    assert_eq!(studio.server.stats().connections, 1);
}

#[test]
fn an_address_can_be_for_rtmps_alone() {
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let authority = Authority::new("flowcast test authority");
    let server = engine.rtmp_server("127.0.0.1:0").tls(identity(&authority)).start().expect("a free port");
    assert_eq!(server.rtmps_address(), Some(server.address()));
    tls_stream(server.address(), authority.pem()).expect("a TLS handshake");
    let plain = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
    assert_eq!(plain.rtmps_address(), None);
    let refused = |tried: Result<(), ServerError>, name: &str| {
        let error = tried.expect_err("it would have no effect");
        assert!(matches!(error, ServerError::Options { .. }) && error.to_string().contains(name), "{error}");
    };
    refused(plain.reload_tls(identity(&authority)), "reload_tls");
    let both = engine.rtmp_server("127.0.0.1:0").tls(identity(&authority));
    refused(both.rtmps("127.0.0.1:0", identity(&authority)).start().map(drop), "tls, rtmps");
}

#[test]
fn unusable_identities_are_refused_and_show_no_key() {
    let authority = Authority::new("flowcast test authority");
    let ((chain, key), (_, other)) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let directory = TempDir::new().expect("a temporary directory");
    let write = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).expect("a file in the new directory");
        file
    };
    let (chain, key) = (write("chain.pem", &chain), write("key.pem", &key));
    TlsIdentity::from_pem_files(&chain, &key).expect("a proper identity");
    let broken = std::fs::read_to_string(&key).expect("it was written").replacen("MI", "!!", 1);
    let (other, broken) = (write("other.pem", &other), write("broken.pem", &broken));
    let nowhere = directory.path().join("nowhere.pem");
    for (chain, key) in
        [(&key, &key), (&chain, &chain), (&chain, &other), (&chain, &broken), (&nowhere, &key)]
    {
        let error = TlsIdentity::from_pem_files(chain, key).expect_err("an unusable identity");
        assert!(matches!(error, ServerError::Certificate { .. }), "{error:?}");
        assert_eq!((error.code(), error.is_retryable()), ("CERTIFICATE_INVALID", false));
        assert!(!error.to_string().contains("MIGH"), "{error}");
    }
}
