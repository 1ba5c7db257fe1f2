//! What a stream reports to the program that embeds it.

pub(crate) mod bus;
pub(crate) mod callback;
mod recent;
pub(crate) mod recv;
mod report;
mod sentence;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::recent::{Counts, StreamError};
pub(crate) use self::recent::{Lately, MINUTE, Recent, Sliding, Tally};
pub(crate) use self::report::EventBus;
pub use self::sentence::utc;
use crate::admission::CheaperEncoding;
use crate::bit_rate::BitRate;
use crate::error::{Error, Shortage};
use crate::id::{OutputId, StreamId};
use crate::loudness::LoudnessFacts;
use crate::stats::{ContentFault, Cutover, LoadReason, RateReason, Seam, SourceMode};
use crate::verdict::Verdict;

/// One event of one stream.
///
/// `Display` gives one line with its time, the stream and the output it is about, and the sentence of its kind:
/// `2026-03-01T12:00:00.250Z s1 "studio"/o0 "youtube": on the air again`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, by the system's clock: it can be set back between two events.
    pub at: SystemTime,
    /// The stream it is about.
    pub stream: StreamId,
    /// The label of the stream; `None` if it has none.
    pub label: Option<Arc<str>>,
    /// The label of the output it is about; `None` if it is about none, or about one without a label.
    pub output_label: Option<Arc<str>>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
///
/// `Display` gives a sentence for people, the same that is logged; it can change. [`name`](Self::name) is stable.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The stream's thread runs.
    Started,
    /// An output was connected and its peer accepted the stream, a player joined, or another stream is made from this one; the
    /// next tag it gets is a header or a keyframe.
    OutputLive {
        /// The output.
        output: OutputId,
        /// How often it was connected before.
        reconnects: u64,
        /// How many tries failed in a row before this one, each reported as [`OutputRetrying`](Self::OutputRetrying);
        /// 0 if there was no failure.
        failures: u32,
    },
    /// An output lost its peer, or could not reach it, and tries again.
    OutputRetrying {
        /// The output.
        output: OutputId,
        /// Why.
        error: Error,
        /// How long it waits.
        wait: Duration,
    },
    /// The server sent an output elsewhere, and it is dialled there.
    OutputMoved {
        /// The output.
        output: OutputId,
        /// The host it goes to.
        host: String,
    },
    /// Another server or key is dialled for an output ([`StreamRef::replace_output`](crate::StreamRef::replace_output)); what is on the air
    /// stays there meanwhile.
    OutputReplacing {
        /// The output.
        output: OutputId,
        /// The host that is dialled.
        host: String,
    },
    /// An output goes on at another server or with another key.
    OutputReplaced {
        /// The output.
        output: OutputId,
        /// What receivers saw of it.
        cutover: Cutover,
    },
    /// An output could not be replaced, and goes on as before.
    OutputNotReplaced {
        /// The output.
        output: OutputId,
        /// Why.
        error: Error,
    },
    /// The connection of an output is to be replaced by a new one, as planned ([`Output::rotate`](crate::Output::rotate)); it stays on the
    /// air meanwhile, unless a pause is planned.
    OutputRotating {
        /// The output.
        output: OutputId,
        /// How long the connection has been on the air.
        after: Duration,
    },
    /// An output goes on with a new connection, as planned.
    OutputRotated {
        /// The output.
        output: OutputId,
        /// What receivers saw of it.
        cutover: Cutover,
    },
    /// No new connection could take the place of the one an output has, which goes on.
    OutputNotRotated {
        /// The output.
        output: OutputId,
        /// Why.
        error: Error,
        /// How long until it is tried again; zero if it was given up because the connection on the air ended or was replaced in another way.
        wait: Duration,
    },
    /// An output ended for good; the others go on.
    OutputEnded {
        /// The output.
        output: OutputId,
        /// Why; `None` if it was removed or the stream stopped.
        error: Option<Error>,
    },
    /// A recording has its file.
    RecordingOpened {
        /// The output.
        output: OutputId,
        /// The file. Its name differs from the one given if that was taken; see
        /// [`Existing::Number`](crate::Existing::Number).
        path: PathBuf,
    },
    /// A file of a recording is complete: nothing is written to it any more.
    Recorded {
        /// The output.
        output: OutputId,
        /// The file.
        path: PathBuf,
        /// The part of the recording that is in it, by media time since the recording began. The next file begins where this one ends.
        from: Duration,
        /// Where it ends.
        to: Duration,
        /// Its size.
        bytes: u64,
    },
    /// A segment of an HLS output begins without a keyframe, because none came within the target duration. A player that begins there shows nothing up to the next
    /// keyframe. Reported once for each codec configuration; see [`Hls::target_duration`](crate::Hls::target_duration).
    SegmentWithoutKeyframe {
        /// The output.
        output: OutputId,
        /// The longest that a segment may be.
        target: Duration,
    },
    /// An output was behind and tags were dropped for it up to a keyframe.
    OutputDropped {
        /// The output.
        output: OutputId,
        /// Tags dropped since the last such event.
        tags: u64,
    },
    /// A track besides the first of its kind is not sent to an output: its peer has not announced several tracks, or
    /// it is a recording; see [`Output::all_tracks`](crate::Output::all_tracks). Reported once for each kind; the
    /// output goes on with the first track.
    OutputTrackSkipped {
        /// The output.
        output: OutputId,
        /// The track's number in the stream.
        track: u8,
        /// Why.
        reason: String,
    },
    /// A thumbnail could not be made or written ([`Output::thumbnails`](crate::Output::thumbnails)). Reported once until one succeeds; each later one
    /// is tried.
    ThumbnailFailed {
        /// The output.
        output: OutputId,
        /// Why.
        error: Error,
    },
    /// A push sends a codec that has a number in FLV but that hardly any server or player decodes: neither H.264 nor
    /// AAC nor MP3. Reported once for each codec. A source that encodes ([`Mode::Auto`](crate::Mode::Auto)) avoids
    /// it.
    OutputCodecRare {
        /// The output.
        output: OutputId,
        /// The codec, such as `mulaw`.
        codec: String,
    },
    /// A loop begins again.
    Looped {
        /// How many laps are complete.
        laps: u64,
    },
    /// The source had a fault from which it went on.
    SourceFault {
        /// The fault.
        error: Error,
    },
    /// The source has delivered nothing for a while; its stream has nothing to send until it does.
    SourceStalled {
        /// For how long.
        after: Duration,
    },
    /// The source delivers again after it had stalled.
    SourceResumed {
        /// For how long it delivered nothing.
        after: Duration,
    },
    /// The source has given no keyframe for a while ([`Watchdog::no_keyframe`](crate::Watchdog::no_keyframe)).
    KeyframeMissing {
        /// For how long.
        after: Duration,
    },
    /// The source has given black or frozen pictures, or silence, for too long ([`Watchdog::black`](crate::Watchdog::black) and so on).
    ContentAlarm {
        /// What is wrong.
        fault: ContentFault,
        /// For how long, as far as that is known.
        after: Duration,
    },
    /// What was wrong with the content of the source is over.
    ContentAlarmEnded {
        /// What was wrong.
        fault: ContentFault,
        /// For how long.
        after: Duration,
    },
    /// The fallback of the source took over ([`Source::fallback`](crate::Source::fallback)).
    FallbackBegan {
        /// For how long the source had given nothing, or no keyframe.
        after: Duration,
        /// What receivers see of it.
        seam: Seam,
    },
    /// The fallback is not on the air any more: the source is, or another one that has replaced it
    /// ([`SourceSwitched`](Self::SourceSwitched) follows), or the stream ends.
    FallbackEnded {
        /// How long the fallback was on the air.
        after: Duration,
        /// What receivers see of it.
        seam: Seam,
    },
    /// Another source took the place of the one that was on the air ([`replace_source`](crate::StreamRef::replace_source)).
    SourceSwitched {
        /// What receivers see of it.
        seam: Seam,
    },
    /// The source's clock jumped; the jump was removed, and the stream's time goes on.
    ClockJumped {
        /// By how much, in milliseconds; negative is back.
        millis: i64,
    },
    /// The times of a publisher stand still, or go back by less than a second. They are made to advance, by the
    /// arrival of its frames where they stand still. Reported once for each publisher.
    ClockUnsteady,
    /// A publisher sends frames of a codec before the sequence header a decoder needs, or with an empty header. They
    /// are left out until a usable header comes.
    HeaderMissing {
        /// The codec, such as `h264`.
        codec: String,
    },
    /// The sequence header came; the track goes on, the picture at a keyframe.
    HeaderCame {
        /// The codec.
        codec: String,
        /// Tags left out because it was missing.
        left_out: u64,
    },
    /// The times of a track of the file do not advance. Its packets are sent one after the other, each with its usual
    /// duration; otherwise they would be sent as fast as the file is read.
    ClockStalled {
        /// That duration.
        step: Duration,
    },
    /// The server that the stream is played from sends media ([`Source::url`](crate::Source::url)); the stream begins, or goes on, with it.
    SourceLive {
        /// How often it did before.
        reconnects: u64,
        /// How many tries failed in a row before this one, each reported as [`SourceRetrying`](Self::SourceRetrying); 0 if there was no
        /// failure.
        failures: u32,
    },
    /// The server that the stream is played from was lost, ended the stream, or could not be reached; it is dialled again.
    SourceRetrying {
        /// Why.
        error: Error,
        /// How long it waits.
        wait: Duration,
    },
    /// What the stream is made from is being published.
    PublicationBegan {
        /// The name.
        name: String,
    },
    /// What the stream is made from is no longer published; the stream rests until it is again.
    PublicationEnded {
        /// The name.
        name: String,
    },
    /// Sound comes of an input of the stream's mix that is live ([`MixInput::published`](crate::MixInput::published),
    /// [`MixInput::url`](crate::MixInput::url)).
    MixInputLive {
        /// The name of the input.
        input: String,
    },
    /// An input of the stream's mix that is live gives nothing for now: it is silent, and is heard again once it comes. Reported once for as long as
    /// the reason is the same.
    MixInputLost {
        /// The name of the input.
        input: String,
        /// Why; `None` if what is published has ended.
        error: Option<Error>,
    },
    /// The publisher of the stream hung up, failed or fell silent; the stream stays up and waits for it. Streams that
    /// are made from it report this and the next two as well.
    PublisherLost {
        /// Why.
        error: Error,
        /// How long the stream waits.
        grace: Duration,
    },
    /// A publisher took the place of the one that was lost; the stream goes on.
    PublisherReturned {
        /// For how long there was none.
        after: Duration,
    },
    /// Another publisher with the right key took the place of the one that was there.
    PublisherReplaced {
        /// How long the one before had sent no media.
        silent: Duration,
    },
    /// From now on the stream reads its media in another way; see [`SourceMode`].
    ModeChanged {
        /// The way it is read now.
        mode: SourceMode,
        /// What made it change; `None` if nothing failed.
        error: Option<Error>,
    },
    /// What happens to the tracks of a file was decided ([`Mode::Auto`](crate::Mode::Auto)).
    Judged {
        /// The file.
        path: PathBuf,
        /// What happens to them, and why.
        verdict: Arc<Verdict>,
    },
    /// The stream was started with a cheaper encode than was asked for, because the machine has not enough left
    /// ([`WhenFull::Lower`](crate::WhenFull::Lower)).
    EncodingLowered {
        /// What it was brought down to.
        to: Arc<CheaperEncoding>,
        /// What was short.
        shortage: Shortage,
    },
    /// An encoder failed and another one took its place; the picture goes on with a keyframe.
    EncoderChanged {
        /// libav's name of the one that failed.
        from: String,
        /// That of the one that took its place.
        to: String,
        /// Why.
        error: Error,
    },
    /// The sound of a file is brought to the loudness that is asked for ([`Source::leveled`](crate::Source::leveled)).
    Leveled {
        /// The file.
        path: PathBuf,
        /// How loud it is.
        loudness: LoudnessFacts,
        /// The gain it is given, in decibels. What would pass the ceiling then is limited.
        gain_db: f64,
    },
    /// A file begins whose loudness is not known yet, or cannot be measured. It is played at the gain of the one before if that turns it down,
    /// else as it is; [`Leveled`](Self::Leveled) follows once it is known.
    LoudnessUnknown {
        /// The file.
        path: PathBuf,
        /// The gain it is given meanwhile, in decibels.
        gain_db: f64,
        /// Why it cannot be measured; `None` if it is being measured.
        error: Option<Error>,
    },
    /// Pictures are encoded to another bit rate from now on; what is encoded already is still sent. See [`Adaptation`](crate::Adaptation).
    BitRateChanged {
        /// Bits per second until now.
        from: BitRate,
        /// Bits per second from now on.
        to: BitRate,
        /// Why.
        reason: RateReason,
        /// The output it is because of; `None` if it is because of all of them, or of none.
        output: Option<OutputId>,
        /// How far that output was behind.
        lag: Duration,
    },
    /// A stream is encoded to another quality, because of the load of the machine: see [`QualityLadder`](crate::QualityLadder).
    RungChanged {
        /// The name of the rung it was on.
        from: Arc<str>,
        /// The name of the rung it is on from now on.
        to: Arc<str>,
        /// Why.
        reason: LoadReason,
    },
    /// An output is alone too slow: the bit rate does not follow it, and what it does not take is dropped; see
    /// [`Adaptation::alone_percent`](crate::Adaptation::alone_percent).
    OutputNotFollowed {
        /// The output.
        output: OutputId,
        /// Bits per second that it takes, sound included.
        takes: BitRate,
    },
    /// The bit rate follows an output again that was alone too slow.
    OutputFollowed {
        /// The output.
        output: OutputId,
    },
    /// An item of a playlist begins.
    ItemStarted {
        /// The item's file.
        path: PathBuf,
    },
    /// The next item of a playlist has other parameters than the one before, and is played all the same
    /// ([`ParameterChange::Allow`](crate::ParameterChange::Allow)): new sequence headers come before its first frame.
    ParametersChanged {
        /// The item's file.
        path: PathBuf,
        /// What is different: the video's parameters or the audio's.
        what: &'static str,
    },
    /// An item of a playlist cannot be played and is left out. Reported once for as long as it fails the same way,
    /// however often it is tried.
    ItemSkipped {
        /// The item's file.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// No item of a playlist can be played, or it is empty. Reported once; [`PlaylistResumed`](Self::PlaylistResumed)
    /// follows.
    PlaylistStalled {
        /// Items in the list; 0 if it is empty.
        items: usize,
        /// Why the last one that was tried failed.
        error: Option<Error>,
    },
    /// An item of a playlist begins after a time in which none could be played.
    PlaylistResumed {
        /// How long that was.
        after: Duration,
    },
    /// A fragment was played to its end: everything of it was handed to the outputs.
    FragmentPublished {
        /// Its number.
        number: u64,
        /// Its bytes.
        bytes: u64,
        /// How long handing it over took; see [`FragmentStats::last_elapsed`](crate::FragmentStats::last_elapsed).
        elapsed: Duration,
        /// Fragments that were published so far.
        total: u64,
    },
    /// Ten more [chunks](crate::FragmentOptions::chunk_size) of a fragment were read.
    FragmentProgress {
        /// Its number.
        number: u64,
        /// Bytes read.
        bytes: u64,
        /// Its bytes.
        of: u64,
    },
    /// A fragment cannot be played and is left out, or it broke off; the stream goes on.
    FragmentSkipped {
        /// Its number; `None` for a file of a watched directory that was not taken.
        number: Option<u64>,
        /// Its name.
        name: String,
        /// Why.
        error: Error,
    },
    /// A fragment begins late: the one before had ended, and the stream had nothing to send.
    FragmentLate {
        /// Its number.
        number: u64,
        /// For how long.
        by: Duration,
    },
    /// The file of a loop was replaced, and has not changed for two seconds; the new one is played from here on.
    SourceReplaced {
        /// The file.
        path: PathBuf,
    },
    /// A track of the file, or of what is published, is left out. [`Source::all_tracks`](crate::Source::all_tracks) sends other sound, too.
    TrackSkipped {
        /// The track's number in the file; of what is published, 0 is the video and 1 the audio.
        track: usize,
        /// Why.
        reason: String,
    },
    /// The stream uses more CPU time or memory than the [monitor](crate::monitor::Monitor) was told to report (`RESOURCE_WARNING`). It
    /// goes on. Reported once, until it is [calm](Self::ResourceCalm) again.
    ResourceWarning {
        /// The stream, for the message.
        stream: StreamId,
        /// CPU use since the monitor looked before, in percent of one core.
        cpu_percent: f64,
        /// Bytes held.
        memory: u64,
    },
    /// The stream uses less again, after a [warning](Self::ResourceWarning).
    ResourceCalm {
        /// For how long it used a lot.
        after: Duration,
    },
    /// The stream ended.
    Ended {
        /// Why; `None` if it was stopped or its source was complete.
        error: Option<Error>,
    },
    /// The stream did not stop in time and its thread was abandoned (`FORCE_KILL_REQUIRED`).
    Abandoned,
    /// Something that was made for the stream could not be taken away with it, and is left behind (`CLEANUP_FAILED`). The stream ended all
    /// the same.
    CleanupFailed {
        /// What, as [`Error::CleanupFailed`].
        error: Error,
    },
}
