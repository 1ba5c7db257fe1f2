//! Receivers of other protocols than RTMP, as child processes: `srt-live-transmit`, Icecast, and GStreamer's RTSP server.

use super::PATIENCE;
use super::need::program;
use super::net::{own_address, wait_until};
use super::process::{Peer, text};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What the kernel has for a UDP socket.
#[derive(Debug, Clone, Copy)]
pub struct UdpQueue {
    /// Bytes that its owner has not read.
    pub waiting: u64,
    /// Datagrams for which there was no room.
    pub dropped: u64,
}

/// The UDP socket that is bound to an address of this machine, or to its port at every address; `None` if nobody has one.
pub fn udp_queue(address: SocketAddr) -> Option<UdpQueue> {
    let SocketAddr::V4(address) = address else { panic!("only IPv4 is looked for: {address}") };
    let own = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let every = format!("00000000:{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    table.lines().skip(1).find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_it = words.get(1).is_some_and(|local| *local == own || *local == every);
        let waiting = words.get(4).and_then(|queues| queues.split_once(':'));
        let waiting = waiting.and_then(|(_, waiting)| u64::from_str_radix(waiting, 16).ok());
        let dropped = words.last().and_then(|dropped| dropped.parse().ok());
        is_it.then(|| UdpQueue { waiting: waiting.unwrap_or(0), dropped: dropped.unwrap_or(0) })
    })
}

/// Whether somebody has bound a UDP socket to an address of this machine, or to its port at every address.
pub fn bound_udp(address: SocketAddr) -> bool {
    udp_queue(address).is_some()
}

/// `srt-live-transmit` that listens and writes what it gets to a file; it listens again when a caller has left.
#[derive(Debug)]
pub struct SrtListener {
    address: SocketAddr,
    query: String,
    directory: TempDir,
    process: Peer,
    files: usize,
}

impl SrtListener {
    /// Listens with these settings of its own (`latency=200&passphrase=…`, in milliseconds as libsrt has them).
    pub fn start(query: &str) -> Self {
        let directory = super::directory();
        let address = own_address();
        let process = listen(address, query, &directory.path().join("0.ts"));
        let mut listener = Self { address, query: query.to_owned(), directory, process, files: 1 };
        listener.wait();
        listener
    }

    fn wait(&mut self) {
        let is_there = wait_until(PATIENCE, || bound_udp(self.address));
        assert!(is_there && self.process.is_running(), "{}", self.process.report());
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file it writes now.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join(format!("{}.ts", self.files - 1))
    }

    /// Bytes in that file.
    pub fn received(&self) -> u64 {
        fs::metadata(self.file()).map_or(0, |facts| facts.len())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts another one at the same place, which writes another file.
    pub fn restart(&mut self) {
        self.kill();
        self.files += 1;
        self.process = listen(self.address, &self.query, &self.file());
        self.wait();
    }

    /// The process.
    pub fn process(&mut self) -> &mut Peer {
        &mut self.process
    }
}

fn listen(address: SocketAddr, query: &str, file: &Path) -> Peer {
    let url = format!("srt://{address}?mode=listener&{query}");
    // It knows no file but its standard output.
    let shell = r#"exec srt-live-transmit -loglevel:error -chunk:1456 "$0" file://con >"$1""#;
    Peer::spawn(Path::new("sh"), ["-c", shell, &url, text(file)])
}

/// An Icecast server with one password for sources: `hush-hush`.
#[derive(Debug)]
pub struct Icecast {
    address: SocketAddr,
    directory: TempDir,
    process: Peer,
}

impl Icecast {
    /// Starts one.
    pub fn start() -> Self {
        let (address, directory) = (own_address(), super::directory());
        let process = icecast(address, directory.path());
        let mut server = Self { address, directory, process };
        server.process.wait_listening(address, PATIENCE);
        server
    }

    /// Where listeners find a mount point.
    pub fn listen_url(&self, mount: &str) -> String {
        format!("http://{}/{mount}", self.address)
    }

    /// Where a source sends to.
    pub fn source_url(&self, password: &str, mount: &str) -> String {
        format!("icecast://source:{password}@{}/{mount}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&mut self) -> &mut Peer {
        &mut self.process
    }

    /// Kills it and starts it anew at the same place.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = icecast(self.address, self.directory.path());
        self.process.wait_listening(self.address, PATIENCE);
    }
}

fn icecast(address: SocketAddr, directory: &Path) -> Peer {
    let (host, port, logs) = (address.ip(), address.port(), directory.display());
    let web = "/usr/share/icecast2";
    // It leaves root by itself, and writes its logs as somebody else then. In a test's own namespaces there is nobody else yet.
    let is_apart =
        fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().last() == Some("1"));
    let owner = if rustix::process::geteuid().is_root() && !is_apart {
        fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("our own");
        "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"
    } else {
        ""
    };
    let settings = format!(
        "<icecast><limits><clients>20</clients><sources>4</sources><source-timeout>5</source-timeout></limits>\
         <authentication><source-password>hush-hush</source-password><admin-user>admin</admin-user>\
         <admin-password>hush-admin</admin-password></authentication><hostname>localhost</hostname>\
         <listen-socket><port>{port}</port><bind-address>{host}</bind-address></listen-socket>\
         <paths><logdir>{logs}</logdir><webroot>{web}/web</webroot><adminroot>{web}/admin</adminroot></paths>\
         <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>3</loglevel></logging>\
         <security><chroot>0</chroot>{owner}</security></icecast>"
    );
    let file = directory.join("icecast.xml");
    fs::write(&file, settings).expect("the directory is ours");
    let icecast = program("icecast2").expect("the test asked for it");
    if is_apart {
        let somebody = ["--map-user=1000", "--map-group=1000"];
        return Peer::spawn(
            Path::new("unshare"),
            somebody.into_iter().chain([text(&icecast), "-c", text(&file)]),
        );
    }
    Peer::spawn(&icecast, ["-c", text(&file)])
}

/// GStreamer's RTSP server, which takes H.264 and AAC at `/live` and writes them to files, others for each who announces them.
#[derive(Debug)]
pub struct RtspServer {
    address: SocketAddr,
    directory: TempDir,
    process: Peer,
}

/// The server has no program of its own; this is the least one.
const RTSP_SERVER: &str = r#"
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
host, port, directory = sys.argv[1:]
server = GstRtspServer.RTSPServer()
server.set_address(host)
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
factory.set_latency(200)
factory.set_launch(
    "( rtph264depay name=depay0 ! video/x-h264,stream-format=byte-stream,alignment=au"
    " ! filesink buffer-mode=2 name=picture"
    " rtpmp4gdepay name=depay1 ! aacparse ! audio/mpeg,stream-format=adts"
    " ! filesink buffer-mode=2 name=sound )"
)
announced = 0
def configure(factory, media):
    global announced
    announced += 1
    for name, extension in [("picture", "h264"), ("sound", "aac")]:
        media.get_element().get_by_name(name).set_property("location", f"{directory}/{name}-{announced}.{extension}")
factory.connect("media-configure", configure)
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    sys.exit("it cannot listen")
print("ready", flush=True)
GLib.MainLoop().run()
"#;

impl RtspServer {
    /// Starts one.
    pub fn start() -> Self {
        let (address, directory) = (own_address(), super::directory());
        let process = rtsp_server(address, directory.path());
        let mut server = Self { address, directory, process };
        server.process.wait_for_line("ready", PATIENCE);
        server
    }

    /// Where it is published to.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pictures it got of the first who announced something since it was started: H.264 with start codes.
    pub fn picture(&self) -> PathBuf {
        self.picture_of(1)
    }

    /// Those it got of a later one, from 1.
    pub fn picture_of(&self, announced: usize) -> PathBuf {
        self.directory.path().join(format!("picture-{announced}.h264"))
    }

    /// The sound it got of the first: AAC in ADTS.
    pub fn sound(&self) -> PathBuf {
        self.directory.path().join("sound-1.aac")
    }

    /// The process.
    pub fn process(&mut self) -> &mut Peer {
        &mut self.process
    }

    /// Kills it and starts it anew at the same place.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = rtsp_server(self.address, self.directory.path());
        self.process.wait_for_line("ready", PATIENCE);
    }
}

fn rtsp_server(address: SocketAddr, directory: &Path) -> Peer {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    Peer::spawn(&python(), ["-c", RTSP_SERVER, &host, &port, text(directory)])
}

/// Debian's Python, which finds Debian's modules.
pub fn python() -> PathBuf {
    PathBuf::from("/usr/bin/python3")
}
