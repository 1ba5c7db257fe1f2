//! What a stream reports to the program that embeds it.

pub(crate) mod bus;
pub(crate) mod callback;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::bus::{Bus, Events, Told};
use crate::error::{Error, chain};
use crate::id::{OutputId, StreamId};
use crate::stats::SourceMode;
use crate::verdict::{Severity, Verdict};

/// One event of one stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// The stream it is about.
    pub stream: StreamId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
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
        error: Arc<Error>,
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
    /// An output ended for good; the others go on.
    OutputEnded {
        /// The output.
        output: OutputId,
        /// Why; `None` if it was removed or the stream stopped.
        error: Option<Arc<Error>>,
    },
    /// A recording has its file.
    RecordingOpened {
        /// The output.
        output: OutputId,
        /// The file. Its name differs from the one given if that was taken; see
        /// [`Existing::Number`](crate::Existing::Number).
        path: PathBuf,
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
        error: Arc<Error>,
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
    /// The publisher of the stream hung up, failed or fell silent; the stream stays up and waits for it. Streams that
    /// are made from it report this and the next two as well.
    PublisherLost {
        /// Why.
        error: Arc<Error>,
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
        error: Option<Arc<Error>>,
    },
    /// What happens to the tracks of a file was decided ([`Mode::Auto`](crate::Mode::Auto)).
    Judged {
        /// The file.
        path: PathBuf,
        /// What happens to them, and why.
        verdict: Arc<Verdict>,
    },
    /// An encoder failed and another one took its place; the picture goes on with a keyframe.
    EncoderChanged {
        /// libav's name of the one that failed.
        from: String,
        /// That of the one that took its place.
        to: String,
        /// Why.
        error: Arc<Error>,
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
        error: Arc<Error>,
    },
    /// No item of a playlist can be played, or it is empty. Reported once; [`PlaylistResumed`](Self::PlaylistResumed)
    /// follows.
    PlaylistStalled {
        /// Items in the list; 0 if it is empty.
        items: usize,
        /// Why the last one that was tried failed.
        error: Option<Arc<Error>>,
    },
    /// An item of a playlist begins after a time in which none could be played.
    PlaylistResumed {
        /// How long that was.
        after: Duration,
    },
    /// The file of a loop was replaced; the new one is played from the next lap on.
    SourceReplaced {
        /// The file.
        path: PathBuf,
    },
    /// A track of the file, or of what is published, is left out.
    TrackSkipped {
        /// The track's number in the file; of what is published, 0 is the video and 1 the audio.
        track: usize,
        /// Why.
        reason: String,
    },
    /// The stream ended.
    Ended {
        /// Why; `None` if it was stopped or its source was complete.
        error: Option<Arc<Error>>,
    },
    /// The stream did not stop in time and its thread was abandoned (`FORCE_KILL_REQUIRED`).
    Abandoned,
}

/// Distributes the events of streams to all receivers; never blocks the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventBus {
    bus: Bus<Event>,
}

impl EventBus {
    pub(crate) fn subscribe(&self, stream: Option<StreamId>) -> Events {
        match stream {
            None => self.bus.subscribe(),
            Some(stream) => self.bus.subscribe_to(move |event| event.stream == stream),
        }
    }

    pub(crate) fn on_event(&self, callback: Arc<dyn Fn(&Event) + Send + Sync>) {
        self.bus.on_event(callback);
    }

    /// What has been reported up to now.
    pub(crate) fn told(&self) -> Told<Event> {
        self.bus.told()
    }

    /// Waits until the callbacks have received what was reported up to now, at the latest until `until`.
    pub(crate) fn wait_heard(&self, until: Instant) {
        self.bus.wait_heard(until);
    }

    pub(crate) fn missed(&self) -> u64 {
        self.bus.missed()
    }

    /// Sends an event to all receivers, and to the log; a recovery is logged at the level of what it ends.
    pub(crate) fn emit(&self, stream: StreamId, kind: EventKind, is_recovery: bool) {
        log_event(stream, &kind, is_recovery);
        self.bus.emit(&Event { stream, kind });
    }
}

fn log_event(stream: StreamId, kind: &EventKind, is_recovery: bool) {
    match kind {
        EventKind::OutputLive { output, failures, .. } if *failures > 0 => {
            log::warn!("{stream}/{output}: on the air, failures before: {failures}");
        }
        EventKind::OutputDropped { output, tags } => {
            log::warn!("{stream}/{output}: behind, {tags} tags dropped");
        }
        EventKind::SourceResumed { after } => {
            log::warn!("{stream}: the source delivers again after {after:.1?}");
        }
        EventKind::ModeChanged { mode, error: None } if is_recovery => {
            log::warn!("{stream}: now plays {mode} again");
        }
        EventKind::OutputMoved { output, host } => {
            log::info!("{stream}/{output}: the server redirects it to {host}");
        }
        EventKind::RecordingOpened { output, path } => {
            log::info!("{stream}/{output}: records to {}", path.display());
        }
        EventKind::OutputRetrying { output, error, wait } => {
            log::warn!("{stream}/{output}: {}; trying again in {wait:.1?}", chain(error));
        }
        EventKind::OutputEnded { output, error: Some(error) } => {
            log::error!("{stream}/{output}: {}", chain(error));
        }
        EventKind::Ended { error: Some(error) } => log::error!("{stream}: {}", chain(error)),
        EventKind::SourceFault { error } => log::warn!("{stream}: {}", chain(error)),
        EventKind::SourceStalled { after } => {
            log::warn!("{stream}: the source has delivered nothing for {after:?}")
        }
        EventKind::PublisherLost { error, grace } => {
            log::info!("{stream}: the publisher was lost, waiting {grace:?} for it: {}", chain(error));
        }
        EventKind::PublisherReturned { after } => {
            log::info!("{stream}: a publisher is back after {after:.1?}");
        }
        EventKind::PublisherReplaced { silent } => {
            log::info!("{stream}: another publisher took over, after {silent:.1?} of silence");
        }
        EventKind::ClockJumped { millis } => log::warn!("{stream}: the source's clock jumped by {millis} ms"),
        EventKind::OutputTrackSkipped { output, track, reason } => {
            log::warn!("{stream}/{output}: track {track} is left out: {reason}");
        }
        EventKind::OutputCodecRare { output, codec } => {
            log::warn!("{stream}/{output}: hardly any player decodes {codec}");
        }
        EventKind::HeaderMissing { codec } => {
            log::warn!("{stream}: {codec} without a sequence header is left out until there is one");
        }
        EventKind::HeaderCame { codec, left_out } => {
            log::warn!(
                "{stream}: the sequence header of {codec} came; {left_out} tags before it were left out"
            );
        }
        EventKind::ClockUnsteady => {
            log::warn!("{stream}: the publisher's times do not advance by themselves; they are corrected");
        }
        EventKind::ClockStalled { step } => {
            log::warn!(
                "{stream}: the times of the source do not advance; one packet is sent every {step:.1?}"
            );
        }
        EventKind::ModeChanged { mode, error: Some(error) } => {
            log::warn!("{stream}: now plays {mode}: {}", chain(error));
        }
        EventKind::Judged { path, verdict } => {
            let codes: Vec<_> =
                verdict.at_least(Severity::Warning).map(|reason| reason.code.as_str()).collect();
            log::info!("{stream}: {}: {} ({})", path.display(), verdict.action, codes.join(", "));
        }
        EventKind::EncoderChanged { from, to, error } => {
            log::warn!("{stream}: encoder {from} failed, {to} takes over: {}", chain(error));
        }
        EventKind::ParametersChanged { path, what } => {
            log::info!("{stream}: {} changes {what}", path.display());
        }
        EventKind::ItemSkipped { path, error } => {
            log::warn!("{stream}: {} is left out: {}", path.display(), chain(error));
        }
        EventKind::PlaylistStalled { items: 0, .. } => log::warn!("{stream}: the playlist is empty"),
        EventKind::PlaylistStalled { items, error } => {
            let error = error.as_ref().map_or_else(|| "none was tried".to_owned(), |error| chain(&**error));
            log::warn!("{stream}: none of {items} items of the playlist can be played: {error}");
        }
        EventKind::PlaylistResumed { after } => {
            log::info!("{stream}: the playlist goes on after {after:.1?}");
        }
        EventKind::Abandoned => log::error!("{stream}: did not stop in time, abandoned"),
        other => log::debug!("{stream}: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static LINES: parking_lot::Mutex<Vec<(log::Level, String)>> = parking_lot::Mutex::new(Vec::new());

    struct Keep;

    impl log::Log for Keep {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            LINES.lock().push((record.level(), record.args().to_string()));
        }

        fn flush(&self) {}
    }

    /// The level an event is logged at, by its stream's own line.
    fn level(number: u64, kind: &EventKind, is_recovery: bool) -> log::Level {
        let stream = StreamId(900_000_000 + number);
        log_event(stream, kind, is_recovery);
        let begins = stream.to_string();
        let lines = LINES.lock();
        let line = lines.iter().find(|(_, line)| line.starts_with(&begins));
        line.expect("it is logged").0
    }

    #[test]
    fn recoveries_are_as_loud_as_what_they_end_and_what_is_lost_is_told() {
        log::set_logger(&Keep).expect("the only logger of these tests");
        log::set_max_level(log::LevelFilter::Debug);
        let output = OutputId(1);
        let error = || Arc::new(Error::Ended);
        let after = Duration::from_secs(2);
        let live = |failures| EventKind::OutputLive { output, reconnects: 1, failures };
        let mode = |error| EventKind::ModeChanged { mode: SourceMode::default(), error };
        let (warn, debug) = (log::Level::Warn, log::Level::Debug);
        for (number, (kind, is_recovery, expected)) in [
            (EventKind::OutputRetrying { output, error: error(), wait: after }, false, warn),
            (live(3), false, warn),
            (live(0), false, debug),
            (EventKind::OutputDropped { output, tags: 8 }, false, warn),
            (EventKind::SourceStalled { after }, false, warn),
            (EventKind::SourceResumed { after }, false, warn),
            (mode(Some(error())), false, warn),
            (mode(None), true, warn),
            (mode(None), false, debug),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(level(number as u64, &kind, is_recovery), expected, "{kind:?}");
        }
    }
}
