//! What went wrong with a stream lately, and how often what happened in the engine.
//!
//! In: events, on the threads they happen on. Out: the last errors of a stream and their number by code; how much was dropped and how
//! often something was connected again in the last minutes; the same numbers for the whole engine. Nothing happens here but on events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::{Event, EventKind};
use crate::error::{Error, chain};
use crate::id::OutputId;

/// Errors of a stream that are kept.
const KEPT: usize = 50;

/// An error of a stream that was reported as an event; see [`StreamRef::errors`](crate::StreamRef::errors). `Display` gives its text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamError {
    /// When it happened, by the system's clock.
    pub at: SystemTime,
    /// The stable code of the error, see [`Error::code`].
    pub code: &'static str,
    /// The error with its causes.
    pub text: String,
    /// The event that reported it, see [`EventKind::name`].
    pub event: &'static str,
    /// The output it is about, if it is about one.
    pub output: Option<OutputId>,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl EventKind {
    /// The error it reports, if it reports one.
    #[must_use]
    pub const fn error(&self) -> Option<&Error> {
        match self {
            Self::OutputRetrying { error, .. }
            | Self::SourceRetrying { error, .. }
            | Self::SourceFault { error }
            | Self::PublisherLost { error, .. }
            | Self::CleanupFailed { error }
            | Self::ThumbnailFailed { error, .. }
            | Self::EncoderChanged { error, .. }
            | Self::ItemSkipped { error, .. }
            | Self::FragmentSkipped { error, .. } => Some(error),
            Self::OutputEnded { error, .. }
            | Self::ModeChanged { error, .. }
            | Self::LoudnessUnknown { error, .. }
            | Self::PlaylistStalled { error, .. }
            | Self::MixInputLost { error, .. }
            | Self::Ended { error } => error.as_ref(),
            _ => None,
        }
    }
}

/// What happened to one stream.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Happened>);

#[derive(Debug, Default)]
struct Happened {
    errors: VecDeque<StreamError>,
    by_code: BTreeMap<&'static str, u64>,
    dropped: Sliding,
    reconnected: Sliding,
    /// Since when the source gives nothing.
    silent_since: Option<Instant>,
}

/// What health is judged by, of the last minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lately {
    /// Tags dropped in the last minute.
    pub(crate) dropped: u64,
    /// Reconnects in the last five minutes.
    pub(crate) reconnected: u64,
    /// For how long the source has given nothing.
    pub(crate) silent: Option<Duration>,
}

/// The last minute.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// The last five.
const FIVE_MINUTES: Duration = Duration::from_secs(300);

impl Recent {
    /// An event of the stream.
    pub(crate) fn note(&self, now: Instant, at: SystemTime, kind: &EventKind) {
        let mut happened = self.0.lock();
        if let Some(error) = kind.error() {
            *happened.by_code.entry(error.code()).or_default() += 1;
            if happened.errors.len() == KEPT {
                happened.errors.pop_front();
            }
            let (code, text, event, output) = (error.code(), chain(error), kind.name(), kind.output());
            happened.errors.push_back(StreamError { at, code, text, event, output });
        }
        match kind {
            EventKind::OutputDropped { tags, .. } => happened.dropped.add(now, *tags),
            EventKind::OutputLive { reconnects, .. } if *reconnects > 0 => happened.reconnected.add(now, 1),
            EventKind::SourceStalled { after } => {
                happened.silent_since = now.checked_sub(*after).or(Some(now));
            }
            EventKind::PublisherLost { .. }
            | EventKind::SourceRetrying { .. }
            | EventKind::PlaylistStalled { .. } => {
                happened.silent_since.get_or_insert(now);
            }
            EventKind::SourceResumed { .. }
            | EventKind::SourceLive { .. }
            | EventKind::PublisherReturned { .. }
            | EventKind::PublisherReplaced { .. }
            | EventKind::PublicationBegan { .. }
            | EventKind::PublicationEnded { .. }
            | EventKind::SourceSwitched { .. }
            | EventKind::PlaylistResumed { .. } => happened.silent_since = None,
            _ => {}
        }
    }

    /// The last errors, oldest first.
    pub(crate) fn errors(&self) -> Vec<StreamError> {
        self.0.lock().errors.iter().cloned().collect()
    }

    /// How often each error happened, by its code.
    pub(crate) fn by_code(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().by_code.clone()
    }

    pub(crate) fn lately(&self, now: Instant) -> Lately {
        let happened = self.0.lock();
        Lately {
            dropped: happened.dropped.within(now, MINUTE),
            reconnected: happened.reconnected.within(now, FIVE_MINUTES),
            silent: happened.silent_since.map(|since| now.saturating_duration_since(since)),
        }
    }
}

/// How much of something there was lately: at most as many entries as there are seconds in five minutes.
#[derive(Debug, Default)]
pub(crate) struct Sliding(VecDeque<(Instant, u64)>);

impl Sliding {
    pub(crate) fn add(&mut self, now: Instant, more: u64) {
        while self.0.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > FIVE_MINUTES) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            // What comes in one second is one entry.
            Some((at, count)) if now.saturating_duration_since(*at) < Duration::from_secs(1) => {
                *count += more
            }
            _ => self.0.push_back((now, more)),
        }
    }

    pub(crate) fn within(&self, now: Instant, window: Duration) -> u64 {
        let lately = self.0.iter().filter(|(at, _)| now.saturating_duration_since(*at) <= window);
        lately.map(|(_, count)| count).sum()
    }
}

/// How often what happened in an engine, by the names of events and the codes of errors: both are closed sets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
}

/// How often what happened since the engine was created: [`Engine::counts`](crate::Engine::counts).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Events, by [`EventKind::name`].
    pub events: BTreeMap<&'static str, u64>,
    /// Errors that events reported, and those of starts, by [`Error::code`].
    pub errors: BTreeMap<&'static str, u64>,
    /// Streams that were started, publications and servers' streams included.
    pub started: u64,
    /// Starts that failed.
    pub not_started: u64,
    /// Streams that ended without an error: they were stopped or complete.
    pub ended: u64,
    /// Streams that ended with an error.
    pub failed: u64,
    /// Streams whose thread was abandoned because it did not stop in time; they are among those that failed.
    pub abandoned: u64,
    /// Times an output was connected again.
    pub reconnects: u64,
    /// Tags dropped for outputs that were behind.
    pub dropped: u64,
    /// Tags of publishers that were left out because a sequence header was missing; counted once it came, and for the first eight times of a
    /// track.
    pub headerless: u64,
}

impl Tally {
    /// An event of any stream.
    pub(crate) fn note(&self, event: &Event) {
        let mut counts = self.counts.lock();
        *counts.events.entry(event.kind.name()).or_default() += 1;
        if let Some(error) = event.kind.error() {
            *counts.errors.entry(error.code()).or_default() += 1;
        }
        match &event.kind {
            EventKind::Started => counts.started += 1,
            EventKind::Ended { error: None } => counts.ended += 1,
            EventKind::Ended { error: Some(error) } => {
                counts.failed += 1;
                // In one step, so that nobody sees it among those that failed by themselves.
                counts.abandoned += u64::from(matches!(error, Error::ForceKillRequired { .. }));
            }
            EventKind::OutputLive { reconnects, .. } if *reconnects > 0 => counts.reconnects += 1,
            EventKind::OutputDropped { tags, .. } => counts.dropped += tags,
            EventKind::HeaderCame { left_out, .. } => counts.headerless += left_out,
            _ => {}
        }
    }

    /// A stream could not be started.
    pub(crate) fn not_started(&self, error: &Error) {
        let mut counts = self.counts.lock();
        counts.not_started += 1;
        *counts.errors.entry(error.code()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: OutputId = OutputId(3);

    #[test]
    fn the_last_errors_are_kept_and_all_are_counted() {
        let (now, recent) = (Instant::now(), Recent::default());
        let at = |number| SystemTime::UNIX_EPOCH + Duration::from_secs(number);
        for number in 0..70 {
            let (error, wait) = (Error::Ended, Duration::ZERO);
            recent.note(now, at(number), &EventKind::OutputRetrying { output: OUTPUT, error, wait });
        }
        recent.note(
            now,
            at(70),
            &EventKind::SourceFault { error: Error::LabelInUse { label: "a".to_owned() } },
        );
        recent.note(now, at(71), &EventKind::Ended { error: None });
        let errors = recent.errors();
        assert_eq!((errors.len(), errors[0].at, errors[49].at), (50, at(21), at(70)));
        assert_eq!((errors[0].event, errors[0].output), ("output_retrying", Some(OUTPUT)));
        assert_eq!((errors[49].event, errors[49].output), ("source_fault", None));
        let expected = [("LABEL_IN_USE", 1), ("STREAM_ENDED", 70)];
        assert_eq!(recent.by_code().into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_forced_end_is_counted_with_the_end_itself() {
        let tally = Tally::default();
        let note = |kind| {
            let (stream, at) = (crate::id::StreamId(1), SystemTime::UNIX_EPOCH);
            tally.note(&Event { at, stream, label: None, output_label: None, kind });
            let counts = tally.counts();
            (counts.ended, counts.failed, counts.abandoned, counts.headerless)
        };
        let forced = Error::ForceKillRequired { stream: crate::id::StreamId(1), deadline: FIVE_MINUTES };
        assert_eq!(note(EventKind::Ended { error: Some(forced) }), (0, 1, 1, 0));
        assert_eq!(note(EventKind::Abandoned), (0, 1, 1, 0));
        assert_eq!(note(EventKind::Ended { error: Some(Error::Ended) }), (0, 2, 1, 0));
        assert_eq!(note(EventKind::Ended { error: None }), (1, 2, 1, 0));
        let codec = || "h264".to_owned();
        assert_eq!(note(EventKind::HeaderCame { codec: codec(), left_out: 7 }), (1, 2, 1, 7));
        assert_eq!(note(EventKind::HeaderCame { codec: codec(), left_out: 2 }), (1, 2, 1, 9));
    }

    #[test]
    fn what_was_long_ago_does_not_count_any_more() {
        let (start, recent) = (Instant::now(), Recent::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        let note = |seconds, kind| recent.note(after(seconds), SystemTime::now(), &kind);
        note(0, EventKind::OutputDropped { output: OUTPUT, tags: 5 });
        note(30, EventKind::OutputDropped { output: OUTPUT, tags: 7 });
        note(30, EventKind::OutputLive { output: OUTPUT, reconnects: 0, failures: 0 });
        note(40, EventKind::OutputLive { output: OUTPUT, reconnects: 1, failures: 2 });
        let lately = |seconds| {
            let Lately { dropped, reconnected, silent } = recent.lately(after(seconds));
            (dropped, reconnected, silent.map(|silent| silent.as_secs()))
        };
        assert_eq!(lately(60), (12, 1, None));
        assert_eq!(lately(61), (7, 1, None));
        assert_eq!(lately(340), (0, 1, None));
        note(350, EventKind::SourceStalled { after: Duration::from_secs(10) });
        assert_eq!(lately(355), (0, 0, Some(15)));
        note(360, EventKind::SourceResumed { after: Duration::from_secs(20) });
        assert_eq!(lately(361), (0, 0, None));
    }
}
