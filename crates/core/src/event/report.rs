//! Events on their way to the receivers and to the log.

use std::sync::Arc;
use std::time::Instant;

use log::Level;

use super::bus::{Bus, Events, Subscription, Told};
use super::{Counts, Event, EventKind, Tally};
use crate::error::Error;
use crate::id::StreamId;
use crate::sys::Span;

/// Distributes the events of streams to all receivers; never blocks the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventBus {
    bus: Bus<Event>,
    tally: Arc<Tally>,
}

impl EventBus {
    pub(crate) fn subscribe(&self, stream: Option<StreamId>) -> Events {
        match stream {
            None => self.bus.subscribe(),
            Some(stream) => self.bus.subscribe_to(move |event| event.stream == stream),
        }
    }

    pub(crate) fn on_event(&self, callback: Arc<dyn Fn(&Event) + Send + Sync>) -> Subscription {
        self.bus.on_event(callback)
    }

    /// What has been reported up to now.
    pub(crate) fn told(&self) -> Told<Event> {
        self.bus.told()
    }

    /// How often what was reported.
    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// A stream could not be started: nothing else reports it.
    pub(crate) fn not_started(&self, error: &Error) {
        self.tally.not_started(error);
    }

    /// Waits until the callbacks have received what was reported up to now, at the latest until `until`.
    pub(crate) fn wait_heard(&self, until: Instant) {
        self.bus.wait_heard(until);
    }

    pub(crate) fn missed(&self) -> u64 {
        self.bus.missed()
    }

    /// Sends an event to all receivers, and to the log, where it belongs to the `stream`; a recovery is logged at the level of what
    /// it ends.
    pub(crate) fn emit(&self, event: &Event, is_recovery: bool, stream: &Span) {
        let level = level(&event.kind, is_recovery);
        // Inside before it is asked: a filter may let more pass for this stream.
        stream.run(|| {
            if log::log_enabled!(level) {
                let kind = &event.kind;
                let span = stream.of_event(kind.name(), kind.output(), event.output_label.as_deref());
                span.run(|| log::log!(level, "{}", event.line()));
            }
        });
        self.tally.note(event);
        self.bus.emit(event);
    }
}

/// How loudly an event is logged.
fn level(kind: &EventKind, is_recovery: bool) -> Level {
    match kind {
        EventKind::OutputEnded { error: Some(_), .. }
        | EventKind::Ended { error: Some(_) }
        | EventKind::Abandoned
        | EventKind::CleanupFailed { .. } => Level::Error,
        EventKind::OutputLive { failures, .. } if *failures > 0 => Level::Warn,
        EventKind::ModeChanged { error: None, .. } if is_recovery => Level::Warn,
        EventKind::SourceLive { failures, .. } if *failures > 0 => Level::Warn,
        EventKind::OutputDropped { .. }
        | EventKind::SegmentWithoutKeyframe { .. }
        | EventKind::SourceRetrying { .. }
        | EventKind::OutputRetrying { .. }
        | EventKind::OutputTrackSkipped { .. }
        | EventKind::ThumbnailFailed { .. }
        | EventKind::OutputCodecRare { .. }
        | EventKind::SourceFault { .. }
        | EventKind::SourceStalled { .. }
        | EventKind::SourceResumed { .. }
        | EventKind::KeyframeMissing { .. }
        | EventKind::ContentAlarm { .. }
        | EventKind::ContentAlarmEnded { .. }
        | EventKind::FallbackBegan { .. }
        | EventKind::FallbackEnded { .. }
        | EventKind::ClockJumped { .. }
        | EventKind::ClockUnsteady
        | EventKind::ClockStalled { .. }
        | EventKind::HeaderMissing { .. }
        | EventKind::HeaderCame { .. }
        | EventKind::ModeChanged { error: Some(_), .. }
        | EventKind::EncoderChanged { .. }
        | EventKind::EncodingLowered { .. }
        | EventKind::LoudnessUnknown { .. }
        | EventKind::OutputNotFollowed { .. }
        | EventKind::ResourceWarning { .. }
        | EventKind::ResourceCalm { .. }
        | EventKind::ItemSkipped { .. }
        | EventKind::MixInputLost { error: Some(_), .. }
        | EventKind::FragmentSkipped { .. }
        | EventKind::FragmentLate { .. }
        | EventKind::OutputNotReplaced { .. }
        | EventKind::OutputNotRotated { .. }
        | EventKind::PlaylistStalled { .. } => Level::Warn,
        EventKind::OutputMoved { .. }
        | EventKind::OutputReplacing { .. }
        | EventKind::OutputReplaced { .. }
        | EventKind::OutputRotating { .. }
        | EventKind::OutputRotated { .. }
        | EventKind::RecordingOpened { .. }
        | EventKind::Recorded { .. }
        | EventKind::SourceLive { .. }
        | EventKind::PublisherLost { .. }
        | EventKind::MixInputLive { .. }
        | EventKind::MixInputLost { .. }
        | EventKind::PublisherReturned { .. }
        | EventKind::PublisherReplaced { .. }
        | EventKind::Judged { .. }
        | EventKind::Leveled { .. }
        | EventKind::ParametersChanged { .. }
        | EventKind::BitRateChanged { .. }
        | EventKind::RungChanged { .. }
        | EventKind::OutputFollowed { .. }
        | EventKind::FragmentPublished { .. }
        | EventKind::SourceSwitched { .. }
        | EventKind::PlaylistResumed { .. } => Level::Info,
        _ => Level::Debug,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::id::OutputId;
    use crate::stats::SourceMode;

    static LINES: parking_lot::Mutex<Vec<(Level, String)>> = parking_lot::Mutex::new(Vec::new());

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
    fn level(number: u64, kind: &EventKind, is_recovery: bool) -> Level {
        let stream = StreamId(900_000_000 + number);
        let label = Some(Arc::from("a label"));
        let event = Event { at: SystemTime::now(), stream, label, output_label: None, kind: kind.clone() };
        EventBus::default().emit(&event, is_recovery, &Span::of_stream(stream, None));
        let begins = stream.to_string();
        let lines = LINES.lock();
        let line = lines.iter().find(|(_, line)| line.starts_with(&begins));
        let (level, line) = line.expect("it is logged");
        assert!(line.contains(" \"a label\"") && line.ends_with(&kind.to_string()), "{line}");
        *level
    }

    #[test]
    fn recoveries_are_as_loud_as_what_they_end_and_what_is_lost_is_told() {
        log::set_logger(&Keep).expect("the only logger of these tests");
        log::set_max_level(log::LevelFilter::Debug);
        let output = OutputId(1);
        let error = || Error::Ended;
        let after = Duration::from_secs(2);
        let live = |failures| EventKind::OutputLive { output, reconnects: 1, failures };
        let mode = |error| EventKind::ModeChanged { mode: SourceMode::default(), error };
        let (warn, debug) = (Level::Warn, Level::Debug);
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
