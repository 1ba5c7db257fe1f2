//! What a test needs from the machine, and what happens when it is not there.

use super::apart::Apart;
use super::process;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something from outside that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The `ffmpeg` and `ffprobe` programs, with libx264.
    Ffmpeg,
    /// nginx with its RTMP module.
    Nginx,
    /// `gst-launch-1.0` with `rtmp2sink` and `rtmp2src`.
    Gstreamer,
    /// The same, and GLib's TLS (glib-networking), without which it knows no `rtmps`.
    GstreamerTls,
    /// The same program with what plays HLS.
    GstreamerHls,
    /// The `chromium` program, and `python3` for the scripts that use it.
    Chromium,
    /// hls.js, as `scripts/for_browser.sh` gets it from npm.
    HlsJs,
    /// axe-core, from there as well.
    AxeCore,
    /// The `rtmpdump` program.
    Rtmpdump,
    /// stunnel.
    Stunnel,
    /// The `openssl` program.
    Openssl,
    /// The `strace` program.
    Strace,
    /// The `redis-server` program.
    Redis,
    /// libfaketime, to start programs with a date of their own.
    Faketime,
    /// Root, to start programs with a name server of the test's own.
    SilentDns,
    /// Namespaces, to have a network or a clock of its own.
    Apart(Apart),
    /// FFmpeg 7.1 or newer, with x265, SVT-AV1 and libvpx, as `scripts/ffmpeg7.sh` leaves it.
    Ffmpeg7,
    /// The `srt-live-transmit` program, and a libav with libsrt.
    Srt,
    /// The `icecast2` program.
    Icecast,
    /// GStreamer's RTSP server, and Debian's Python with its bindings (`gir1.2-gst-rtsp-server-1.0`, `python3-gi`).
    RtspServer,
    /// A program of `tests/peers`.
    Peer(&'static str),
    /// A file of the shared test media.
    Media(&'static str),
}

impl Need {
    fn is_there(self) -> bool {
        match self {
            Self::Ffmpeg => program("ffmpeg").is_some() && program("ffprobe").is_some(),
            Self::Nginx => nginx_rtmp().is_some(),
            Self::Gstreamer => {
                program("gst-launch-1.0").is_some()
                    && ["rtmp2sink", "rtmp2src", "flvmux", "h264parse"].map(gst_has) == [true; 4]
            }
            Self::GstreamerTls => Self::Gstreamer.is_there() && has_glib_tls(),
            Self::GstreamerHls => {
                program("gst-launch-1.0").is_some()
                    && ["hlsdemux", "hlsdemux2", "souphttpsrc", "qtdemux", "tsdemux", "h264parse"]
                        .map(gst_has)
                        == [true; 6]
            }
            Self::Chromium => program("chromium").is_some() && program("python3").is_some(),
            Self::HlsJs => has_for_browser("hls.js"),
            Self::AxeCore => has_for_browser("axe-core"),
            Self::Rtmpdump => program("rtmpdump").is_some(),
            Self::Stunnel => stunnel().is_some(),
            Self::Openssl => program("openssl").is_some(),
            Self::Strace => program("strace").is_some(),
            Self::Redis => program("redis-server").is_some(),
            Self::Faketime => faketime().is_some(),
            Self::SilentDns => super::SilentDns::is_possible(),
            Self::Apart(how) => how.is_possible(),
            Self::Ffmpeg7 => ffmpeg7().exists(),
            Self::Srt => program("srt-live-transmit").is_some(),
            Self::Icecast => program("icecast2").is_some(),
            Self::RtspServer => {
                const TRY: &str = "import gi; gi.require_version('GstRtspServer', '1.0'); \
                                   from gi.repository import GstRtspServer";
                ["rtph264pay", "rtpmp4gpay", "rtph264depay", "rtpmp4gdepay", "aacparse"].map(gst_has)
                    == [true; 5]
                    && process::succeeds(Command::new(super::receivers::python()).args(["-c", TRY]))
            }
            Self::Peer(name) => peer_program(name).exists(),
            Self::Media(name) => super::media(name).is_some(),
        }
    }

    fn how_to_get(self) -> &'static str {
        match self {
            Self::Media(_) => "set FLOWCAST_TEST_MEDIA to the directory of the test media",
            Self::Peer(_) => "run scripts/peers.sh",
            Self::Ffmpeg7 => "run scripts/ffmpeg7.sh",
            Self::HlsJs | Self::AxeCore => "run scripts/for_browser.sh where npm reaches its registry",
            Self::SilentDns => "run the tests as root",
            Self::Apart(_) => "run the tests where they may have namespaces, with iproute2 and nftables",
            _ => "run scripts/setup.sh --peers",
        }
    }
}

/// Whether everything is there. If not, the test fails under `FLOWCAST_PEERS=required`, and else says that it is skipped.
/// Neither the test media, which are not part of the repository, nor root, nor namespaces are ever required, and FFmpeg 7.1 is not where
/// `scripts/test.sh` could not get it and said so (`FLOWCAST_FFMPEG7=unavailable`).
pub fn need(needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find(|need| !need.is_there()) else { return true };
    let what = format!("{missing:?} is not there ({})", missing.how_to_get());
    let excused = match missing {
        Need::Media(_) | Need::SilentDns => true,
        Need::Apart(_) => Apart::has_programs(),
        Need::Ffmpeg7 => is_set("FLOWCAST_FFMPEG7", "unavailable"),
        _ => false,
    };
    skip(&what, excused);
    false
}

/// Says that a test is skipped, and why; fails it where nothing may be missing, unless this is `excused`.
pub(crate) fn skip(what: &str, excused: bool) {
    assert!(excused || !is_set("FLOWCAST_PEERS", "required"), "{what}");
    eprintln!("skipped: {what}");
}

fn is_set(name: &str, wanted: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == wanted)
}

/// The path of a program, looked for where a daemon would be found as well.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// stunnel under either of its names.
pub(crate) fn stunnel() -> Option<PathBuf> {
    program("stunnel4").or_else(|| program("stunnel"))
}

/// libfaketime for programs with threads: what `LD_PRELOAD` takes.
pub fn faketime() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    libraries
        .chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from))
        .map(|directory| directory.join("faketime/libfaketimeMT.so.1"))
        .find(|file| file.is_file())
}

/// A program of `tests/peers`, as `scripts/peers.sh` leaves it.
pub(crate) fn peer_program(name: &str) -> PathBuf {
    std::env::var_os("FLOWCAST_PEERS_BIN")
        .map_or_else(|| super::checkout().join("tests/peers/target/bin"), PathBuf::from)
        .join(name)
}

/// Gets what is loaded into a browser, if it is not there yet.
fn has_for_browser(name: &str) -> bool {
    let script = super::checkout().join("scripts/for_browser.sh");
    Command::new(script).arg(name).output().is_ok_and(|output| output.status.success())
}

/// FFmpeg 7.1 or newer, which knows Enhanced RTMP.
pub fn ffmpeg7() -> PathBuf {
    peer_program("ffmpeg7")
}

/// The line that loads nginx's RTMP module: empty if it is compiled in, `None` if there is none.
pub(crate) fn nginx_rtmp() -> Option<String> {
    let nginx = program("nginx")?;
    let places = [
        "/usr/lib/nginx/modules",
        "/usr/lib64/nginx/modules",
        "/usr/share/nginx/modules",
        "/usr/local/lib/nginx",
    ];
    for place in places {
        let module = Path::new(place).join("ngx_rtmp_module.so");
        if module.exists() {
            return Some(format!("load_module {};", module.display()));
        }
    }
    let facts = Command::new(nginx).arg("-V").output().ok()?;
    String::from_utf8_lossy(&facts.stderr).contains("rtmp").then(String::new)
}

/// Whether GLib finds a module for TLS.
fn has_glib_tls() -> bool {
    let lib = |place: &str| std::fs::read_dir(place).into_iter().flatten().flatten();
    let places = ["/usr/lib", "/usr/lib64"]
        .into_iter()
        .flat_map(|place| lib(place).map(|entry| entry.path()).chain([PathBuf::from(place)]));
    places
        .map(|place| place.join("gio/modules"))
        .any(|modules| ["libgiognutls.so", "libgioopenssl.so"].iter().any(|name| modules.join(name).exists()))
}

fn gst_has(element: &str) -> bool {
    program("gst-inspect-1.0")
        .is_some_and(|inspect| process::succeeds(Command::new(inspect).args(["--exists", element])))
}
