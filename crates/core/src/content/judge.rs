//! From what single looks find to alarms.
//!
//! In: whether a look found a fault, and when. Out: an alarm once it was found in all looks for long enough, and its end with the first look that does not
//! find it.

use std::time::{Duration, Instant};

use crate::event::EventKind;
use crate::stats::ContentFault;

/// What is known of each fault.
#[derive(Debug, Default)]
pub(super) struct Judge([Seen; 3]);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The first look in a row that found it.
    since: Option<Instant>,
    told: bool,
}

impl Judge {
    /// A look `at` this instant has found it, or not; `limit` is how long it may be there.
    pub(super) fn note(
        &mut self,
        fault: ContentFault,
        found: bool,
        at: Instant,
        limit: Duration,
    ) -> Option<EventKind> {
        let seen = &mut self.0[place(fault)];
        if !found {
            return seen.end(fault, at);
        }
        let since = *seen.since.get_or_insert(at);
        let after = at.saturating_duration_since(since);
        if seen.told || after < limit {
            return None;
        }
        seen.told = true;
        Some(EventKind::ContentAlarm { fault, after })
    }

    /// Nothing is known any more: the alarms that end with that.
    pub(super) fn reset(&mut self, now: Instant) -> Vec<EventKind> {
        let all = ContentFault::ALL.iter();
        all.filter_map(|fault| self.0[place(*fault)].end(*fault, now)).collect()
    }

    pub(super) fn is_alarming(&self) -> bool {
        self.0.iter().any(|seen| seen.told)
    }
}

const fn place(fault: ContentFault) -> usize {
    match fault {
        ContentFault::Black => 0,
        ContentFault::Frozen => 1,
        ContentFault::Silent => 2,
    }
}

impl Seen {
    fn end(&mut self, fault: ContentFault, at: Instant) -> Option<EventKind> {
        let Self { since, told } = std::mem::take(self);
        let after = at.saturating_duration_since(since?);
        told.then_some(EventKind::ContentAlarmEnded { fault, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_raised_once_after_its_time_and_ended_once() {
        let (mut judge, began) = (Judge::default(), Instant::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let limit = Duration::from_secs(30);
        let mut note = |found, seconds| judge.note(ContentFault::Silent, found, at(seconds), limit);
        assert!(
            [(true, 0), (true, 20), (false, 29), (true, 30), (true, 59)]
                .into_iter()
                .all(|(found, seconds)| note(found, seconds).is_none())
        );
        let raised = note(true, 61);
        assert!(
            matches!(raised, Some(EventKind::ContentAlarm { fault: ContentFault::Silent, after }) if after.as_secs() == 31)
        );
        assert!(note(true, 70).is_none());
        let ended = note(false, 80);
        assert!(matches!(ended, Some(EventKind::ContentAlarmEnded { after, .. }) if after.as_secs() == 50));
        assert!(note(false, 90).is_none() && !judge.is_alarming());
        judge.note(ContentFault::Black, true, at(0), limit);
        assert!(judge.reset(at(10)).is_empty(), "it was not told");
        judge.note(ContentFault::Black, true, at(20), limit);
        judge.note(ContentFault::Black, true, at(50), limit);
        assert!(judge.is_alarming() && judge.reset(at(51)).len() == 1 && !judge.is_alarming());
    }
}
