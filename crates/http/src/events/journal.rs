//! The newest events, numbered, for any number of readers.
//!
//! In: events, on the threads of callbacks, which wait for no reader. Out: what is new since a number. A reader that is slow loses the oldest
//! and is told how many; it costs nobody else anything.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flowcast_core::{Event, EventKind, OutputId, ScheduleEvent, ScheduleEventKind, StreamId, seconds, utc};
use flowcast_server::ServerEvent;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// Recordings that are remembered.
const RECORDINGS: usize = 1000;
/// Events kept where nothing else is said.
const KEPT: usize = 1000;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Stream,
    Schedule,
    Server,
}

impl About {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Schedule => "schedule",
            Self::Server => "server",
        }
    }
}

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) about: About,
    /// Its name, such as `output_retrying`.
    pub(crate) name: &'static str,
    pub(crate) stream: Option<StreamId>,
    /// As it is sent.
    pub(crate) json: Arc<str>,
}

/// A recording that is complete.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) at: SystemTime,
    pub(crate) stream: StreamId,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) output: OutputId,
    pub(crate) path: PathBuf,
    pub(crate) length: Duration,
    pub(crate) bytes: u64,
}

/// The newest events.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Of this run: numbers of another one mean nothing here.
    run: String,
    kept: Mutex<Kept>,
    /// The number of the next event.
    news: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    most: usize,
    entries: VecDeque<Entry>,
    next: u64,
    recordings: VecDeque<Recorded>,
}

/// What is new.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) entries: Vec<Entry>,
    /// Where to go on.
    pub(crate) next: u64,
    /// Events between that are not kept any more.
    pub(crate) lost: u64,
}

impl Default for Journal {
    fn default() -> Self {
        let kept = Kept { most: KEPT, entries: VecDeque::new(), next: 1, recordings: VecDeque::new() };
        Self { run: run(), kept: Mutex::new(kept), news: watch::Sender::new(1) }
    }
}

/// What tells this run from others: when it began.
fn run() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}", since.as_micros())
}

impl Journal {
    /// Keeps so many events.
    pub(crate) fn keep(&self, most: usize) {
        let mut kept = self.kept.lock();
        kept.most = most;
        while kept.entries.len() > most {
            kept.entries.pop_front();
        }
    }

    pub(crate) fn note_stream(&self, event: &Event) {
        if let EventKind::Recorded { output, path, from, to, bytes } = &event.kind {
            let length = to.saturating_sub(*from);
            let (at, stream, label) = (event.at, event.stream, event.label.clone());
            let recorded =
                Recorded { at, stream, label, output: *output, path: path.clone(), length, bytes: *bytes };
            let mut kept = self.kept.lock();
            if kept.recordings.len() == RECORDINGS {
                kept.recordings.pop_front();
            }
            kept.recordings.push_back(recorded);
        }
        self.note(About::Stream, event.kind.name(), Some(event.stream), event);
    }

    pub(crate) fn note_schedule(&self, event: &ScheduleEvent) {
        let stream = match event.kind {
            ScheduleEventKind::Started { stream, .. } | ScheduleEventKind::Stopped { stream } => Some(stream),
            _ => None,
        };
        let told = ToldSchedule {
            at: utc(event.at).to_string(),
            schedule: event.schedule.to_string(),
            label: event.label.as_deref(),
            event: event.kind.name(),
            text: event.kind.to_string(),
            stream,
            late_seconds: match event.kind {
                ScheduleEventKind::Started { late, .. } | ScheduleEventKind::Missed { late, .. } => {
                    Some(seconds(late))
                }
                _ => None,
            },
        };
        self.note(About::Schedule, event.kind.name(), stream, &told);
    }

    pub(crate) fn note_server(&self, event: &ServerEvent) {
        self.note(About::Server, event.kind.name(), None, event);
    }

    fn note(&self, about: About, name: &'static str, stream: Option<StreamId>, event: &impl Serialize) {
        let Ok(json) = serde_json::to_string(event) else { return };
        let next = {
            let mut kept = self.kept.lock();
            let number = kept.next;
            kept.next += 1;
            if kept.entries.len() >= kept.most {
                kept.entries.pop_front();
            }
            kept.entries.push_back(Entry { number, about, name, stream, json: json.into() });
            kept.next
        };
        // Of two at once, the later number may be told first: it only grows.
        self.news.send_if_modified(|told| {
            let is_new = *told < next;
            *told = next.max(*told);
            is_new
        });
    }

    /// Becomes another number when there is something new.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The number that the next event will have.
    pub(crate) fn next(&self) -> u64 {
        self.kept.lock().next
    }

    /// The number from which on `count` events are there.
    pub(crate) fn newest(&self, count: usize) -> u64 {
        let kept = self.kept.lock();
        let first = kept.entries.len().saturating_sub(count);
        kept.entries.get(first).map_or(kept.next, |entry| entry.number)
    }

    /// At most `most` events from number `from` on of which `is_wanted` is true.
    pub(crate) fn since(&self, from: u64, most: usize, is_wanted: impl Fn(&Entry) -> bool) -> News {
        let kept = self.kept.lock();
        let oldest = kept.entries.front().map_or(kept.next, |entry| entry.number);
        let mut news =
            News { lost: oldest.saturating_sub(from), next: from.max(oldest), entries: Vec::new() };
        let skipped = usize::try_from(news.next - oldest).unwrap_or(usize::MAX);
        for entry in kept.entries.iter().skip(skipped) {
            if news.entries.len() == most {
                break;
            }
            news.next = entry.number + 1;
            if is_wanted(entry) {
                news.entries.push(entry.clone());
            }
        }
        news
    }

    /// What tells an event from all others, also those of other runs.
    pub(crate) fn id(&self, number: u64) -> String {
        let mut id = self.run.clone();
        let _ = write!(id, "-{number}");
        id
    }

    /// The number of an event of this run.
    pub(crate) fn number(&self, id: &str) -> Option<u64> {
        let (run, number) = id.rsplit_once('-')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (run == self.run && is_number).then(|| number.parse().ok())?
    }

    /// The recordings that were completed, the oldest first.
    pub(crate) fn recordings(&self) -> Vec<Recorded> {
        self.kept.lock().recordings.iter().cloned().collect()
    }
}

/// An event of a schedule as it is sent.
#[derive(Serialize)]
struct ToldSchedule<'a> {
    at: String,
    schedule: String,
    label: Option<&'a str>,
    event: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_seconds: Option<f64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn numbers(news: &News) -> Vec<u64> {
        news.entries.iter().map(|entry| entry.number).collect()
    }

    fn journal(most: usize, events: u64) -> Journal {
        let journal = Journal::default();
        journal.keep(most);
        (0..events).for_each(|number| journal.note(About::Stream, "started", None, &number));
        journal
    }

    #[test]
    fn who_comes_back_gets_what_came_meanwhile_and_who_is_late_is_told_what_is_lost() {
        let journal = journal(3, 5);
        let news = journal.since(4, 10, |_| true);
        assert_eq!((numbers(&news), news.next, news.lost), (vec![4, 5], 6, 0));
        let news = journal.since(1, 10, |_| true);
        assert_eq!((numbers(&news), news.next, news.lost), (vec![3, 4, 5], 6, 2));
        let news = journal.since(1, 2, |_| true);
        assert_eq!((numbers(&news), news.next), (vec![3, 4], 5), "the rest the next time");
        let news = journal.since(3, 10, |entry| entry.number == 5);
        assert_eq!((numbers(&news), news.next, news.lost), (vec![5], 6, 0));
        let news = journal.since(6, 10, |_| true);
        assert_eq!((numbers(&news), news.next, news.lost), (vec![], 6, 0));
        let news = journal.since(60, 10, |_| true);
        assert_eq!((numbers(&news), news.next, news.lost), (vec![], 60, 0), "nobody was told of it");
    }

    #[test]
    fn the_newest_are_counted_from_the_end() {
        let journal = journal(3, 5);
        assert_eq!((journal.newest(2), journal.newest(100), journal.newest(0)), (4, 3, 6));
        assert_eq!(Journal::default().newest(5), 1);
    }

    #[test]
    fn ids_of_other_runs_mean_nothing() {
        let journal = journal(3, 1);
        let id = journal.id(7);
        assert_eq!(journal.number(&id), Some(7));
        for wrong in ["abc-7", "7", "", &id.replace("-7", "-x"), &id.replace("-7", "-")] {
            assert_eq!(journal.number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn readers_are_woken_once_for_what_is_new() {
        let journal = journal(3, 1);
        let mut news = journal.news();
        assert!(!news.has_changed().unwrap());
        journal.note(About::Server, "joined", None, &1);
        assert!(news.has_changed().unwrap());
        assert_eq!(*news.borrow_and_update(), 3);
    }
}
