//! A published stream with everything that takes it: a player, a recording and a push, and a publisher that sends tags made by hand.

use bytes::Bytes;
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast::rtmp::time::MediaTime;
use flowcast::rtmp::url::Destination;
use flowcast::server::ServerEvent;
use flowcast::{
    Engine, EventKind, Events, Output, RtmpServer, RtmpServerExt, Source, StreamHandle, StreamRef,
};
use kit::rig::{engine, push};
use kit::scripted::{Script, Scripted, Seen};
use kit::{PATIENCE, Session, directory, flv_tags, tcp, wait_closed, wait_until};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tempfile::TempDir;

pub(crate) const NAME: &str = "studio";

/// A decoder can be set up with these, not that anybody does.
pub(crate) const AVC: &[u8] =
    &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 31, 0xFF, 0xE1, 0, 2, 0x67, 0x64, 1, 0, 2, 0x68, 1];
pub(crate) const AAC: &[u8] = &[0xAF, 0, 0x12, 0x10];

pub(crate) struct Air {
    pub engine: Engine,
    pub server: RtmpServer,
    pub events: Events,
    /// What the server tells of those who come and go.
    clients: Events<ServerEvent>,
    heard: Mutex<Vec<EventKind>>,
    pub directory: TempDir,
}

impl Air {
    pub(crate) fn start() -> Self {
        let engine = engine(|_| {});
        engine.keys().add(NAME, "studio-key").expect("a usable key");
        let server = engine.rtmp_server("127.0.0.1:0").start().expect("a free port");
        let (events, clients) = (engine.events(), server.events());
        Self { events, clients, heard: Mutex::default(), server, engine, directory: directory() }
    }

    /// A publisher that was let in.
    pub(crate) fn publisher(&self) -> Session<TcpStream> {
        let mut publisher = Session::plain(ClientRole::Publish, self.server.address(), "live/studio-key");
        assert!(matches!(publisher.go_live(), Ok(true)), "{publisher:?}");
        publisher
    }

    /// A player that was let in; the stream must have begun.
    pub(crate) fn player(&self) -> Session<TcpStream> {
        self.player_that(false)
    }

    /// A player that says what it knows of Enhanced RTMP, or does not.
    pub(crate) fn player_that(&self, enhanced: bool) -> Session<TcpStream> {
        self.stream();
        let address = self.server.address();
        let url = format!("rtmp://{address}/live/{NAME}");
        let destination = Destination::parse(&url).expect("a proper URL");
        let config = ClientConfig { enhanced, ..ClientConfig::default() };
        let session =
            ClientSession::new(ClientRole::Play, &destination, config, [0x5a; 1528], Instant::now());
        let mut player = Session { stream: tcp(address), session, events: Vec::new() };
        assert!(matches!(player.go_live(), Ok(true)), "{player:?}");
        player
    }

    /// The stream of what is published, once it has begun.
    pub(crate) fn stream(&self) -> StreamRef {
        assert!(wait_until(PATIENCE, || self.engine.hub().find(NAME).is_some()), "nothing is published");
        self.engine.hub().find(NAME).expect("it was found")
    }

    /// Whatever is published from now on, recorded and pushed.
    pub(crate) fn restream(
        &self,
        server: &Scripted,
        to_server: impl Fn(Output) -> Output,
        to_file: impl Fn(Output) -> Output,
    ) -> (StreamHandle, PathBuf) {
        let path = self.directory.path().join("restream.flv");
        let source = Source::published(NAME).once();
        let stream =
            self.engine.stream(source).to(to_server(push(server))).to(to_file(Output::record(&path)));
        (stream.start().expect("usable settings"), path)
    }

    /// Waits for an event, which may have come before.
    #[track_caller]
    pub(crate) fn told<T>(&self, mut matches: impl FnMut(&EventKind) -> Option<T>) -> T {
        let mut found = None;
        let in_time = wait_until(PATIENCE, || {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend(std::iter::from_fn(|| self.events.try_next()).map(|event| event.kind));
            found = heard.iter().find_map(&mut matches);
            found.is_some()
        });
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(in_time, "not told, but {heard:?}");
        found.expect("it was found")
    }

    /// Waits until a player has been sent this many frames of a kind.
    #[track_caller]
    pub(crate) fn wait_frames(&self, player: &mut Session<TcpStream>, kind: TagKind, count: usize) {
        let frames = |player: &Session<TcpStream>| {
            tags(player).iter().filter(|tag| tag.kind == kind && !tag.is_header()).count()
        };
        let got = player.run_until(|player| frames(player) >= count);
        let clients: Vec<_> = self.clients.try_iter().collect();
        assert!(matches!(got, Ok(true)), "{got:?}: {} of {count}; {clients:#?}", frames(player));
    }

    /// How often it was told.
    pub(crate) fn count(&self, matches: impl Fn(&EventKind) -> bool) -> usize {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(std::iter::from_fn(|| self.events.try_next()).map(|event| event.kind));
        heard.iter().filter(|kind| matches(kind)).count()
    }
}

/// A server that takes a push down.
pub(crate) fn sink() -> Scripted {
    Scripted::start(Script::Record)
}

pub(crate) fn tag(kind: TagKind, time: i64, body: &[u8]) -> Tag {
    Tag::from_wire(kind, MediaTime::from_millis(time), Bytes::copy_from_slice(body))
}

pub(crate) fn key(time: i64) -> Tag {
    tag(TagKind::Video, time, &[0x17, 1, 0, 0, 0, 0x65, 1, 2, 3])
}

pub(crate) fn picture(time: i64) -> Tag {
    tag(TagKind::Video, time, &[0x27, 1, 0, 0, 0, 0x41, 1, 2, 3])
}

pub(crate) fn sound(time: i64) -> Tag {
    tag(TagKind::Audio, time, &[0xAF, 1, 0x21, 1, 2, 3])
}

/// The headers of both tracks.
pub(crate) fn headers() -> [Tag; 2] {
    [tag(TagKind::Video, 0, AVC), tag(TagKind::Audio, 0, AAC)]
}

/// Pictures and sound of 40 ms each, a keyframe every second; `video` and `audio` are where the tracks' clocks stand at frame 0.
pub(crate) fn frames(numbers: std::ops::Range<i64>, video: i64, audio: i64) -> Vec<Tag> {
    let frame = |n: i64| {
        let time = video + n * 40;
        [if n % 25 == 0 { key(time) } else { picture(time) }, sound(audio + n * 40)]
    };
    numbers.flat_map(frame).collect()
}

/// Sends tags; the connection must be up.
#[track_caller]
pub(crate) fn send(publisher: &mut Session<TcpStream>, tags: impl IntoIterator<Item = Tag>) {
    tags.into_iter().for_each(|tag| publisher.session.send_tag(&tag));
    publisher.send().expect("an open connection");
    let _ = publisher.read();
}

/// What a player has been sent.
pub(crate) fn tags(player: &Session<TcpStream>) -> Vec<&Tag> {
    let tags = player.events.iter().filter_map(|event| match event {
        ClientEvent::Tag(tag) => Some(tag),
        _ => None,
    });
    tags.collect()
}

/// Waits until a player has been sent this many frames of a kind.
#[track_caller]
pub(crate) fn wait_frames(player: &mut Session<TcpStream>, kind: TagKind, count: usize) {
    let got = player.run_until(|player| {
        tags(player).iter().filter(|tag| tag.kind == kind && !tag.is_header()).count() >= count
    });
    assert!(matches!(got, Ok(true)), "{got:?}: {:?}", tags(player));
}

/// The tags of a recording that was completed.
pub(crate) fn recorded(path: &Path) -> Vec<Tag> {
    assert!(wait_closed(path, PATIENCE), "{} is still open", path.display());
    flv_tags(path)
}

/// What a push has sent on its only connection.
#[track_caller]
pub(crate) fn pushed(server: &Scripted) -> Vec<Seen> {
    let visits = server.visits();
    assert_eq!(visits.len(), 1, "the push stays on the air");
    visits.into_iter().next().map(|visit| visit.tags).unwrap_or_default()
}

/// Waits until a push has sent this many frames of a kind.
#[track_caller]
pub(crate) fn wait_pushed(server: &Scripted, kind: TagKind, count: usize) {
    let sent = || {
        let visits = server.visits();
        let tags = visits
            .first()
            .map(|visit| visit.tags.iter().filter(|tag| tag.kind == kind && !tag.header).count());
        tags.unwrap_or(0)
    };
    assert!(wait_until(PATIENCE, || sent() >= count), "{} frames of {kind:?}: {:?}", sent(), server.visits());
}
