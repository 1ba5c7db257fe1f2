//! What can go wrong with a stream, split by what the caller does next.

mod class;
mod parts;
mod shortage;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::parts::{ConnectStep, LimitScope, SpecProblem};
use self::parts::{codes, listed};
pub use self::shortage::{Resource, Shortage};
use crate::bit_rate::BitRate;
use crate::id::StreamId;

/// An error of a stream, its source or one of its outputs.
///
/// Stream keys never appear in the text.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too many streams run already; stop one or raise the limit.
    #[error("Maximum {limit} concurrent streams reached{}", match scope { LimitScope::Owner => " for this owner", LimitScope::Global => "" })]
    StreamLimitExceeded {
        /// Which limit.
        scope: LimitScope,
        /// Its value.
        limit: usize,
    },
    /// The machine has not enough left for the stream: see [`Config::admission`](crate::Config::admission).
    #[error("not enough left for the stream: {shortage}")]
    CapacityExceeded {
        /// What is short, and when there is enough again, if that is known.
        shortage: Shortage,
    },
    /// The configuration is unusable.
    #[error("{name}: {reason}")]
    Config {
        /// The setting, by its environment or field name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A [stream as data](crate::StreamSpec) cannot work.
    #[error("the stream cannot be started: {}", listed(problems))]
    Spec {
        /// All that is wrong with it.
        problems: Vec<SpecProblem>,
    },
    /// The media could not be opened or read.
    #[cfg(feature = "libav")]
    #[error(transparent)]
    Media(#[from] flowcast_av::Error),
    /// The file has no track that can be sent as it is.
    #[error("{path}: no track can be sent by copy ({found})", path = path.display())]
    NoPlayableTrack {
        /// The file.
        path: PathBuf,
        /// The tracks it has.
        found: String,
    },
    /// A lap of the loop delivered nothing to send, although an earlier one did.
    #[error("{path}: nothing more could be read", path = path.display())]
    SourceDried {
        /// The file.
        path: PathBuf,
    },
    /// The file delivers less than it should: it was truncated or changed, or a part of it is damaged. What can be
    /// played is played.
    #[error("{path}: {reason}", path = path.display())]
    SourceDamaged {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The file of a source cannot be opened or read. Builds with the feature `libav` report it as `Media`.
    #[cfg(not(feature = "libav"))]
    #[error("{path}: cannot be read", path = path.display())]
    SourceUnreadable {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The reel store could not read or write its directory, or the disk is full.
    #[error("reel store {dir}: {what}", dir = dir.display())]
    ReelStore {
        /// The directory.
        dir: PathBuf,
        /// The operation.
        what: &'static str,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The reel store's directory belongs to another process.
    #[error("reel store {dir}: in use by another process", dir = dir.display())]
    ReelStoreInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The reel store may not grow further, and every reel in it is in use.
    #[error("reel store {dir}: full, {max_bytes} bytes are the limit", dir = dir.display())]
    ReelStoreFull {
        /// The directory.
        dir: PathBuf,
        /// Its limit in bytes.
        max_bytes: u64,
    },
    /// A reel does not match its index: truncated, changed or unreadable.
    #[error("reel {path}: {reason}", path = path.display())]
    ReelDamaged {
        /// The reel's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A reel grows more slowly than it is played.
    #[error("reel of {path}: grows more slowly than it is played", path = path.display())]
    ReelTooSlow {
        /// The source's file.
        path: PathBuf,
    },
    /// An encoder does not open, or stopped working, and none can take its place.
    #[error("encoder {encoder} failed")]
    EncoderFailed {
        /// libav's name of it.
        encoder: String,
        /// Its error.
        #[source]
        source: Arc<Self>,
    },
    /// The stream's pictures are not being encoded: they are copied, come from a reel that was encoded before, or there are none now.
    #[error("{what}: the stream's pictures are not being encoded")]
    NotEncoded {
        /// What was asked for.
        what: &'static str,
    },
    /// A file cannot be prepared.
    #[error("{path}: {reason}", path = path.display())]
    InputUnusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The output of a preparation, or a thumbnail, cannot be written.
    #[error("{path}: cannot be written", path = path.display())]
    OutputUnwritable {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is no room for the output of a preparation, or for a thumbnail.
    #[error("{path}: no space left on the disk", path = path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The platforms do not take the result of a preparation.
    #[error("{path}: the result is refused ({})", codes(verdict))]
    ResultRefused {
        /// The file that was to be made.
        path: PathBuf,
        /// The platforms' verdict on it.
        verdict: Arc<crate::verdict::Verdict>,
    },
    /// It was cancelled before it was done.
    #[error("{what}: cancelled")]
    Cancelled {
        /// The operation.
        what: &'static str,
    },
    /// A fragment cannot be opened or read.
    #[error("{fragment}: cannot be read")]
    FragmentUnreadable {
        /// Its name.
        fragment: String,
        /// The file system's error, or that of the program's reader.
        #[source]
        source: Arc<io::Error>,
    },
    /// What was pushed as a fragment is none: it is empty, cut off, or its init segment was not pushed before it.
    #[error("{fragment}: {reason}")]
    FragmentUnusable {
        /// Its name.
        fragment: String,
        /// Why.
        reason: &'static str,
    },
    /// A playlist cannot be read, or has nothing to play.
    #[error("playlist{}{}: {reason}", if path.as_os_str().is_empty() { "" } else { " " }, path.display())]
    Playlist {
        /// The list's file or directory; empty for a list that was made of files.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An item has other parameters than the one before, and the playlist refuses that.
    #[error("{path}: {what} differ from the item before", path = path.display())]
    ParametersDiffer {
        /// The item's file.
        path: PathBuf,
        /// Which parameters.
        what: &'static str,
    },
    /// The source needs a feature that this build does not have.
    #[error("this build has no feature `{feature}`")]
    NotBuilt {
        /// The missing feature.
        feature: &'static str,
    },
    /// A destination URL of RTMP is malformed.
    #[error(transparent)]
    Url(#[from] flowcast_rtmp::url::UrlError),
    /// The address of an output or a live input, other than RTMP's, is malformed, or sets what is not known.
    #[error("{reason}")]
    Address {
        /// What is wrong with it, without any part that may be secret.
        reason: String,
    },
    /// The host name could not be resolved.
    #[error("{host}: name lookup failed")]
    Dns {
        /// The host that was looked up.
        host: String,
        /// The resolver's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// No address of the host may be connected to ([`Pull::reach`](crate::pull::Pull::reach)).
    #[error("{host}: its address {address} may not be connected to")]
    AddressRefused {
        /// The host that was looked up.
        host: String,
        /// Its first address.
        address: IpAddr,
    },
    /// No address of the host could be connected to.
    #[error("{peer}: connection failed")]
    Connect {
        /// The last address tried.
        peer: SocketAddr,
        /// The kernel's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// A step of connecting took longer than its deadline.
    #[error("{host}: {step} took longer than {after:?}")]
    ConnectTimeout {
        /// The host.
        host: String,
        /// The step.
        step: ConnectStep,
        /// Its deadline.
        after: Duration,
    },
    /// The peer's certificate or the TLS handshake was refused.
    #[error("{host}: TLS handshake failed")]
    Tls {
        /// The host.
        host: String,
        /// What was wrong.
        #[source]
        source: rustls::Error,
    },
    /// The platform's root certificates, or those given, could not be read.
    #[error("root certificates: {reason}")]
    Certificates {
        /// What was wrong.
        reason: String,
    },
    /// The peer broke the protocol, or refused the stream.
    #[error("{host}: RTMP")]
    Rtmp {
        /// The host.
        host: String,
        /// What happened.
        #[source]
        source: flowcast_rtmp::error::Error,
    },
    /// An established connection ended.
    #[error("{host}: connection lost")]
    ConnectionLost {
        /// The host.
        host: String,
        /// The kernel's error; an orderly close by the peer is `UnexpectedEof`.
        #[source]
        source: Arc<io::Error>,
    },
    /// A server of HTTP or RTSP does not give what it was asked for.
    #[error("{host}: the server answered with status {status}")]
    HttpStatus {
        /// The host.
        host: String,
        /// The status code: 404 where there is no such stream (RFC 9110, section 15; RFC 2326, section 11).
        status: u16,
    },
    /// The peer takes data more slowly than the stream makes it.
    #[error("{host}: {lag:?} behind, more than the limit of {limit:?}")]
    TooSlow {
        /// The host.
        host: String,
        /// How far behind the output was.
        lag: Duration,
        /// The limit.
        limit: Duration,
    },
    /// A publisher sent more than it may, and did not slow down.
    #[error("{host}: sent more than {limit} for {after:?}")]
    TooFast {
        /// The publisher.
        host: String,
        /// The most it may send.
        limit: BitRate,
        /// For how long it had been slowed down.
        after: Duration,
    },
    /// The stream has a codec that only Enhanced RTMP carries, and the server is not known to take it: see
    /// [`Output::enhanced`](crate::Output::enhanced).
    #[error("{host}: {codec} cannot be sent there: {reason}")]
    CodecNotTaken {
        /// The host.
        host: String,
        /// The codec, by its code ("hvc1", "av01", "Opus").
        codec: String,
        /// Why.
        reason: &'static str,
    },
    /// The peer acknowledged nothing for too long.
    #[error("{host}: no progress for {after:?}")]
    Stalled {
        /// The host.
        host: String,
        /// How long.
        after: Duration,
    },
    /// All reconnect tries are used up.
    #[error("gave up after {tries} tries")]
    GaveUp {
        /// How many.
        tries: u32,
        /// The last failure.
        #[source]
        source: Arc<Self>,
    },
    /// A recording could not be created or written. Kinds of the cause: `InvalidInput` if it is a file the stream is
    /// made from, or not a regular file; `AlreadyExists`, `ResourceBusy` and `InvalidData` as described at
    /// [`Existing`](crate::Existing); `StorageFull` if the disk is full.
    #[error("{path}: recording failed", path = path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// An HLS output could not be created or written. Kinds of the cause: `AlreadyExists` if there is a playlist that is not of such an output; `ResourceBusy` if
    /// another output has the directory or the name; `StorageFull` if the disk is full.
    #[error("{path}: HLS output failed", path = path.display())]
    Hls {
        /// The playlist.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The stream has a codec that the format of a recording or of HLS segments does not hold; see [`FileFormat`](crate::FileFormat).
    #[error("{path}: {codec} cannot be recorded as {format}", path = path.display())]
    CodecNotRecorded {
        /// The file.
        path: PathBuf,
        /// The codec ("av1", "speex").
        codec: &'static str,
        /// The format.
        format: &'static str,
    },
    /// A file cannot be played while it is being written.
    #[error("{path}: {reason}", path = path.display())]
    FileInUse {
        /// The file.
        path: PathBuf,
        /// By what.
        reason: &'static str,
    },
    /// A name is published already.
    #[error("{name}: already published")]
    NameInUse {
        /// The name.
        name: String,
    },
    /// A source gave no packet, or no keyframe, for longer than its [watchdog](crate::Watchdog) allows.
    #[error("the source gave no {what} for {after:?}")]
    SourceStalled {
        /// What it did not give: `packet` or `keyframe`.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// No keyframe came in time for a source, or a connection of an output, that was to take over; the one before stays on the air.
    #[error("the source gave no keyframe within {after:?}")]
    SourceNotReady {
        /// How long it was waited for.
        after: Duration,
    },
    /// The stream has no picture: there is nothing to make a thumbnail of.
    #[error("stream {stream} has no picture")]
    NoPicture {
        /// The stream.
        stream: StreamId,
    },
    /// The stream has nothing a clip could begin with: no keyframe, or none any more.
    #[error("stream {stream} keeps nothing that a clip can begin with")]
    NothingKept {
        /// The stream.
        stream: StreamId,
    },
    /// What was asked of a stream was not done in time: no keyframe came for a thumbnail, or the disk is slow.
    #[error("no {what} within {after:?}")]
    NotInTime {
        /// What it was: `thumbnail` or `clip`.
        what: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// Another output of the stream has this label.
    #[error("{label}: another output of the stream has this label")]
    LabelInUse {
        /// The label.
        label: String,
    },
    /// A stream key, play token or name is malformed: it can never be accepted.
    #[error("{name}: {reason}")]
    Key {
        /// The public name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A stream key or name is registered already.
    #[error("{name}: {reason}")]
    KeyInUse {
        /// The public name.
        name: String,
        /// Which of the two.
        reason: &'static str,
    },
    /// A name has no stream key.
    #[error("{name}: has no key")]
    NoKey {
        /// The name.
        name: String,
    },
    /// A stream was to be published under a name that it is made from, directly or through other streams.
    #[error("{name}: the stream is made from this name, directly or through others, so it would feed itself")]
    FeedsItself {
        /// The name.
        name: String,
    },
    /// A state file could not be read, locked or written; what it held before is still there.
    #[cfg(feature = "state")]
    #[error("state {path}: {what}", path = path.display())]
    StateFailed {
        /// The file.
        path: PathBuf,
        /// What failed.
        what: &'static str,
        /// The file system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// A state file is damaged.
    #[cfg(feature = "state")]
    #[error("state {path}: damaged: {reason}", path = path.display())]
    StateDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process, or another engine, keeps this state file.
    #[cfg(feature = "state")]
    #[error("state {path}: in use by another process", path = path.display())]
    StateInUse {
        /// The file.
        path: PathBuf,
    },
    /// A file of usage records could not be opened or written; whole records in it are still there.
    #[cfg(feature = "state")]
    #[error("usage records {path}: {what}", path = path.display())]
    UsageFileFailed {
        /// The file.
        path: PathBuf,
        /// What failed.
        what: &'static str,
        /// The file system's error, or what is wrong with the file.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process, or another engine, writes usage records to this file.
    #[cfg(feature = "state")]
    #[error("usage records {path}: in use by another process", path = path.display())]
    UsageFileInUse {
        /// The file.
        path: PathBuf,
    },
    /// A picture or samples that a program gave are not of their format, or their time goes back. The stream goes on without them.
    #[error("frame refused: {reason}")]
    Frame {
        /// What is wrong with it.
        reason: String,
    },
    /// The stream is not running any more.
    #[error("the stream has ended")]
    Ended,
    /// The stream did not stop within its deadline; its thread was abandoned, since a thread cannot be killed, and its place is free
    /// again.
    #[error(
        "Stream {stream} did not respond to SIGTERM, force killing: its thread is abandoned after {deadline:?}"
    )]
    ForceKillRequired {
        /// The stream.
        stream: StreamId,
        /// The deadline.
        deadline: Duration,
    },
    /// Something that was made for a stream could not be taken away with it. Only reported, by
    /// [`EventKind::CleanupFailed`](crate::EventKind::CleanupFailed): no call fails with it.
    #[error("Failed to cleanup resources for stream {stream}: {what}")]
    CleanupFailed {
        /// The stream.
        stream: StreamId,
        /// What is left behind.
        what: &'static str,
    },
    /// Too many threads of streams that did not stop are still there: nothing more is started before some of them have ended, or in
    /// another process.
    #[error("{abandoned} abandoned threads have not ended, {limit} are the limit: nothing more is started")]
    TooManyAbandoned {
        /// Threads that were abandoned and still run.
        abandoned: usize,
        /// [`Config::max_abandoned`](crate::Config::max_abandoned).
        limit: usize,
    },
    /// A stream's thread panicked, and only that stream ended; or opening a source panicked, and only that source is not there.
    #[error("the stream panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The self-benchmark of [`Engine::capacity`](crate::Engine::capacity) could not be carried out.
    #[error("self-benchmark: {reason}")]
    Benchmark {
        /// What went wrong.
        reason: String,
    },
    /// A source or an output of the program's own failed ([`driver`](crate::driver)); never made by flowcast.
    #[error("{what}")]
    Driver {
        /// What failed, in the program's own words; without secrets.
        what: String,
        /// Its cause.
        #[source]
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// The stream was behind a [`Fence`](crate::Fence), and that is closed: another machine may send now.
    #[error("the stream may send no longer")]
    Fenced,
    /// The operating system refused something the stream needs (threads, descriptors).
    #[error("{what}")]
    System {
        /// What was requested.
        what: &'static str,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
}

/// An error with all its causes in one line, for a log or a terminal: each error of this crate states only its own
/// part.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
