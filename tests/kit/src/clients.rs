//! Publishers and players of others. Each function starts one; the value is the running process.

use super::need::peer_program;
use super::process::{Peer, text};
use std::path::Path;
use std::time::Duration;

/// `ffmpeg` publishes a file in real time, `laps` times, without encoding, and ends. For `rtmps`, verification is ffmpeg's
/// default: none.
pub fn ffmpeg_publish(file: &Path, url: &str, laps: u32) -> Peer {
    let more = laps.saturating_sub(1).to_string();
    let arguments = [
        "-nostdin",
        "-v",
        "warning",
        "-re",
        "-stream_loop",
        &more,
        "-i",
        text(file),
        "-c",
        "copy",
        "-f",
        "flv",
        url,
    ];
    Peer::spawn(Path::new("ffmpeg"), arguments)
}

/// `ffmpeg` plays to a file without decoding, until the server ends the stream, or for this long of the stream's time.
pub fn ffmpeg_play(url: &str, file: &Path, at_most: Option<Duration>) -> Peer {
    let seconds = at_most.map(|time| time.as_secs_f64().to_string());
    let mut arguments = vec!["-nostdin", "-v", "warning", "-y", "-i", url, "-c", "copy"];
    if let Some(seconds) = &seconds {
        arguments.extend(["-t", seconds]);
    }
    arguments.push(text(file));
    Peer::spawn(Path::new("ffmpeg"), arguments)
}

/// GStreamer publishes an FLV file with picture and sound in real time and ends.
pub fn gst_publish(flv: &Path, url: &str) -> Peer {
    let pipeline = format!(
        "filesrc location={file} ! flvdemux name=file \
         file.video ! queue ! h264parse ! mux.video \
         file.audio ! queue ! aacparse ! mux.audio \
         flvmux name=mux streamable=true ! rtmp2sink location={url} sync=true",
        file = text(flv)
    );
    Peer::spawn(Path::new("gst-launch-1.0"), ["-e"].into_iter().chain(pipeline.split_whitespace()))
}

/// GStreamer plays to a file; interrupt it to end.
pub fn gst_play(url: &str, file: &Path) -> Peer {
    let pipeline = format!("rtmp2src location={url} idle-timeout=10 ! filesink location={}", text(file));
    Peer::spawn(Path::new("gst-launch-1.0"), ["-e"].into_iter().chain(pipeline.split_whitespace()))
}

/// `rtmpdump` plays to a file, until the server ends the stream, or for this many seconds of the stream's time.
pub fn rtmpdump(url: &str, file: &Path, at_most: Option<Duration>) -> Peer {
    let seconds = at_most.map(|time| time.as_secs().to_string());
    let mut arguments = vec!["--live", "--timeout", "10", "--rtmp", url, "--flv", text(file)];
    if let Some(seconds) = &seconds {
        arguments.extend(["--stop", seconds]);
    }
    Peer::spawn(Path::new("rtmpdump"), arguments)
}

/// librtmp publishes an FLV file in real time and ends.
pub fn librtmp_publish(flv: &Path, url: &str) -> Peer {
    Peer::spawn(&peer_program("librtmp_publish"), [url, text(flv)])
}

/// `xiu_client` or `rml_client` publishes an FLV file in real time and ends.
pub fn peer_publish(program: &str, flv: &Path, url: &str) -> Peer {
    Peer::spawn(&peer_program(program), ["publish", url, text(flv)])
}

/// `xiu_client` or `rml_client` plays to a file until the server ends the stream.
pub fn peer_play(program: &str, url: &str, file: &Path) -> Peer {
    Peer::spawn(&peer_program(program), ["play", url, text(file)])
}
