//! Publishers and players of others at the embedded server: what they bring arrives whole, who has no business is told so.

mod client;
mod hand_over;
mod matrix;
mod play;
mod publish;
mod refuse;
mod tell;

use bytes::{Buf, Bytes};
use flowcast::rtmp::chunk::ChunkWriter;
use flowcast::rtmp::error::Error as RtmpError;
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast::rtmp::time::MediaTime;
use flowcast::rtmp::url::Destination;
use flowcast::rtmp::wire::WireBuf;
use flowcast::server::ServerOptions;
use flowcast::{
    Config, Engine, Error, EventKind, Existing, Output, RtmpServer, RtmpServerExt, Source, StreamRef,
};
use kit::{
    Clip, Need, PATIENCE, PacketTime, Peer, ffmpeg_play, ffmpeg_publish, frame_hashes, gst_play, gst_publish,
    laps, librtmp_publish, media, need, packet_count, packet_times, peer_play, peer_publish, rtmpdump,
    sound_laps, wait_until,
};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

use client::{Client, media_tags, on_the_wire};
use publish::{Publisher, assert_times, assert_whole};

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
    /// Who leaves without a goodbye has left: the tests wait for the end of the stream.
    fn start() -> Self {
        Self::start_with(|options| options.publisher_grace = Duration::ZERO)
    }

    fn start_with(options: impl FnOnce(&mut ServerOptions)) -> Self {
        let engine = Engine::new(Config::default()).expect("the defaults work");
        engine.keys().add(NAME, KEY).expect("a usable key");
        let server = engine.rtmp_server("127.0.0.1:0").options(options).start().expect("a free port");
        Self::of(engine, server)
    }

    /// It speaks RTMPS as well.
    fn start_secure(identity: flowcast::server::TlsIdentity) -> Self {
        let engine = Engine::new(Config::default()).expect("the defaults work");
        engine.keys().add(NAME, KEY).expect("a usable key");
        let server = engine.rtmp_server("127.0.0.1:0").rtmps("127.0.0.1:0", identity);
        let server = server.options(|options| options.publisher_grace = Duration::ZERO).start();
        Self::of(engine, server.expect("free ports"))
    }

    fn of(engine: Engine, server: RtmpServer) -> Self {
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
        let recording = Output::record(&file).existing(Existing::Replace);
        stream.add_output(recording).expect("a running stream");
        (stream, file)
    }

    fn wait_players(&self, count: u64) {
        let come = wait_until(PATIENCE, || self.server.stats().players >= count);
        assert!(come, "no player comes: {:?}", self.server.stats());
    }

    fn wait_off_air(&self, stream: &StreamRef) {
        assert!(wait_until(PATIENCE, || stream.has_ended()), "still on the air: {}", stream.stats());
        assert!(self.engine.hub().find(NAME).is_none(), "the name is not free");
        assert!(self.engine.keys().active().is_empty());
    }
}
