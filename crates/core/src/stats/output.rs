//! Figures of one output of a stream.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Histogram;
use crate::bit_rate::BitRate;
use crate::error::{Error, chain};
use crate::id::OutputId;
use crate::words::words;

/// How an output stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputPhase {
    /// Its peer is being reached, for the first time or again.
    Connecting,
    /// It waits before it tries again.
    Waiting,
    /// Nothing is published that it could send; it is dialled when something is.
    Resting,
    /// It is on the air.
    Live,
    /// It has ended.
    Ended,
}

/// How an output's media travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OutputTransport {
    /// Pushed by RTMP over TCP.
    Rtmp,
    /// Pushed by RTMPS: over TLS.
    Rtmps,
    /// Sent as MPEG-TS by SRT.
    Srt,
    /// Sent as MPEG-TS in UDP datagrams.
    Udp,
    /// Sound, sent to an Icecast server.
    Icecast,
    /// Sent to an RTSP server.
    Rtsp,
    /// Written to a file.
    File,
    /// Written as segments that are played with HLS, to a directory or to memory.
    Hls,
    /// Offered to players of the embedded server; each player is an output of its own.
    Hub,
    /// Sent to a player of the embedded server.
    Player,
    /// Given to another stream, which is made from this one.
    Stream,
    /// In a way of the program's own.
    #[default]
    Other,
}

words!(
    OutputTransport,
    "transport of an output",
    Rtmp = "rtmp",
    Rtmps = "rtmps",
    Srt = "srt",
    Udp = "udp",
    Icecast = "icecast",
    Rtsp = "rtsp",
    File = "file",
    Hls = "hls",
    Hub = "hub",
    Player = "player",
    Stream = "stream",
    Other = "other",
);

words!(
    OutputPhase,
    "phase of an output",
    Connecting = "connecting",
    Waiting = "waiting",
    Resting = "resting",
    Live = "live",
    Ended = "ended",
);

/// A failure of an output. `Display` gives its text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputFailure {
    /// The stable code of the error, see [`Error::code`].
    pub code: &'static str,
    /// The error with its causes.
    pub text: String,
    /// When it happened, by the system's clock.
    pub at: SystemTime,
}

impl OutputFailure {
    /// What has failed now.
    #[must_use]
    pub fn now(error: &Error) -> Self {
        Self { code: error.code(), text: chain(error), at: SystemTime::now() }
    }
}

impl fmt::Display for OutputFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Figures of one output.
///
/// Three things say which output it is. Its *number* is given by flowcast, unique within the stream and never given twice: calls
/// such as [`remove_output`](crate::StreamRef::remove_output) take it. Its *label* is given by the program
/// ([`Output::label`](crate::Output::label)), unique among the outputs that the stream has now, and finds the number again
/// ([`StreamRef::output`](crate::StreamRef::output)). Its *name* is what people read: where it goes, as `transport` says how. Names need
/// not be unique, and nothing is found by them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutputStats {
    /// Its number.
    pub id: OutputId,
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
    /// The output it is the [backup](crate::Output::backup) of; `None` for all others.
    pub backup_of: Option<OutputId>,
    /// Where it goes, without any key: the address of a push (`rtmp://live.twitch.tv/app/****`), the file of a recording, the playlist of an HLS output, the
    /// name on the server, the address of a player, the number of the other stream; what a program's own output says.
    pub name: String,
    /// How its media travels.
    pub transport: OutputTransport,
    /// The file of a recording, by its real name, or the playlist of an HLS output in a directory; `None` for other outputs.
    pub path: Option<PathBuf>,
    /// How it stands.
    pub phase: OutputPhase,
    /// Whether the program took it from the stream ([`remove_output`](crate::StreamRef::remove_output)): it says goodbye, or has ended. What it failed with
    /// before is still in `last_error`, and is no concern of the stream's [health](crate::StreamRef::health) any more.
    pub removed: bool,
    /// Bytes handed to the kernel or the file, all protocol bytes included.
    pub bytes_sent: u64,
    /// Bits per second of these bytes over the last second.
    pub bit_rate: BitRate,
    /// Media time that was due and is not acknowledged yet.
    pub lag: Duration,
    /// How that was over time, on the connection it has now: counted for each tenth of a second. Of pushes and of players.
    pub lags: Histogram,
    /// Tags dropped because it was behind.
    pub drops: u64,
    /// Times it was connected again.
    pub reconnects: u64,
    /// Times a new connection took the place of the one on the air as planned ([`Output::rotate`](crate::Output::rotate)).
    pub rotations: u64,
    /// Bytes it holds that are not sent, kernel buffers included.
    pub bytes_held: u64,
    /// Those of them that are in the kernel's send buffer, not acknowledged by the peer.
    pub bytes_in_kernel: u64,
    /// Times it failed: each time it was lost, could not be reached, or was refused.
    pub failures: u64,
    /// The last failure; `None` if there was none, or if the output has been on the air again since.
    pub last_error: Option<OutputFailure>,
}

impl OutputStats {
    /// Of an output that has done nothing yet.
    pub(crate) fn new(id: OutputId, label: Option<Arc<str>>, name: String) -> Self {
        Self {
            id,
            label,
            backup_of: None,
            name,
            transport: OutputTransport::default(),
            path: None,
            phase: OutputPhase::Connecting,
            removed: false,
            bytes_sent: 0,
            bit_rate: BitRate::ZERO,
            lag: Duration::ZERO,
            lags: Histogram::default(),
            drops: 0,
            reconnects: 0,
            rotations: 0,
            bytes_held: 0,
            bytes_in_kernel: 0,
            failures: 0,
            last_error: None,
        }
    }
}
