//! What a schedule reports.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::keeper::ScheduleId;
use crate::error::{Error, chain};
use crate::event::utc;
use crate::id::StreamId;

/// One event of one schedule. `Display` gives one line with its time:
/// `2026-03-01T19:00:00.002Z t1 "evening": started as s4`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScheduleEvent {
    /// When it happened, by the system's clock.
    pub at: SystemTime,
    /// The schedule.
    pub schedule: ScheduleId,
    /// The label of its stream.
    pub label: Option<Arc<str>>,
    /// What happened.
    pub kind: ScheduleEventKind,
}

/// What happened. `Display` gives a sentence for people, the same that is logged; [`name`](Self::name) is stable.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ScheduleEventKind {
    /// The stream was started.
    Started {
        /// Its number among the engine's.
        stream: StreamId,
        /// How long after the beginning of the window.
        late: Duration,
    },
    /// A start was missed and is not made up for.
    Missed {
        /// When it was to be.
        begins: SystemTime,
        /// How late it was when that was noticed.
        late: Duration,
    },
    /// A start was refused or failed. Reported once for each cause, however often it is tried.
    Refused {
        /// Why.
        error: Error,
        /// When it is tried again; `None` if it is not.
        again: Option<Duration>,
    },
    /// A window began while the stream ran, and is left out ([`Overlap::Skip`](crate::Overlap::Skip)).
    LeftOut {
        /// When it began.
        begins: SystemTime,
    },
    /// A window began while the stream ran, which goes on to the later end ([`Overlap::Extend`](crate::Overlap::Extend)).
    Extended {
        /// The end now; `None` if there is none.
        ends: Option<SystemTime>,
    },
    /// The stream was asked to stop: its window has ended, or another one takes its place.
    Stopped {
        /// Its number.
        stream: StreamId,
    },
    /// Nothing of the schedule lies ahead; it is no longer listed.
    Finished,
}

impl ScheduleEventKind {
    /// Its name, such as `schedule_started`, for logs, metrics and JSON. It does not change from one version to the next.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "schedule_started",
            Self::Missed { .. } => "schedule_missed",
            Self::Refused { .. } => "schedule_refused",
            Self::LeftOut { .. } => "schedule_left_out",
            Self::Extended { .. } => "schedule_extended",
            Self::Stopped { .. } => "schedule_stopped",
            Self::Finished => "schedule_finished",
        }
    }

    pub(super) const fn level(&self) -> log::Level {
        match self {
            Self::Missed { .. } | Self::Refused { .. } | Self::LeftOut { .. } => log::Level::Warn,
            _ => log::Level::Info,
        }
    }
}

impl fmt::Display for ScheduleEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { stream, late } if late.as_secs() == 0 => write!(f, "started as {stream}"),
            Self::Started { stream, late } => write!(f, "started as {stream}, {} s late", late.as_secs()),
            Self::Missed { begins, late } => {
                write!(f, "the start of {} is missed, {} s late", utc(*begins), late.as_secs())
            }
            Self::Refused { error, again: None } => write!(f, "not started: {}", chain(error)),
            Self::Refused { error, again: Some(again) } => {
                write!(f, "not started: {}; trying again in {} s", chain(error), again.as_secs())
            }
            Self::LeftOut { begins } => {
                write!(f, "the window of {} is left out: the stream still runs", utc(*begins))
            }
            Self::Extended { ends: Some(ends) } => write!(f, "goes on until {}", utc(*ends)),
            Self::Extended { ends: None } => f.write_str("goes on without an end"),
            Self::Stopped { stream } => write!(f, "stops {stream}"),
            Self::Finished => f.write_str("nothing of it lies ahead"),
        }
    }
}

/// An event without its time: a log has its own.
pub(super) struct Line<'a>(pub(super) &'a ScheduleEvent);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScheduleEvent { schedule, label, kind, .. } = self.0;
        write!(f, "{schedule}")?;
        if let Some(label) = label {
            write!(f, " {label:?}")?;
        }
        write!(f, ": {kind}")
    }
}

impl fmt::Display for ScheduleEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", utc(self.at), Line(self))
    }
}
