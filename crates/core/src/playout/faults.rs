//! Items of a list that failed: when each is tried again, and what is reported about them.
//!
//! In: failures, from whichever thread notices them. Out: one event an item for as long as it fails the same way, and the items
//! whose wait is over. One for each sequencer of a list.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::EventKind;
use crate::id::ItemId;
use crate::playlist::PlaylistItem;

/// An item that failed is tried again after this, and after twice as long each time it fails once more.
const WAIT_FIRST: Duration = Duration::from_secs(5);
const WAIT_CAP: Duration = Duration::from_secs(60);
/// The most events that wait for the stream: more of them would not be useful.
const MOST_EVENTS: usize = 1024;

/// What failed.
#[derive(Debug, Default)]
pub(super) struct Faults {
    of: HashMap<ItemId, Fault>,
    /// The first time at which any of them is tried again.
    earliest: Option<Instant>,
    events: Vec<EventKind>,
    last: Option<Error>,
}

#[derive(Debug)]
struct Fault {
    /// How often in a row it could not be played.
    failures: u32,
    /// When it is tried again, if it waits.
    again: Option<Instant>,
    /// What was reported.
    told: String,
}

impl Faults {
    /// The item cannot be played: it waits.
    pub(super) fn failed(&mut self, item: &PlaylistItem, error: Error, now: Instant) {
        let fault = self.tell(item, error);
        let wait = WAIT_FIRST.saturating_mul(1 << fault.failures.min(8)).min(WAIT_CAP);
        fault.failures = fault.failures.saturating_add(1);
        let again = now + wait;
        fault.again = Some(again);
        self.earliest = Some(self.earliest.map_or(again, |earliest| earliest.min(again)));
    }

    /// The item broke off after it was played for a while.
    pub(super) fn broke(&mut self, item: &PlaylistItem, error: Error) {
        self.tell(item, error);
    }

    /// The item was played to its end. One that waits has failed since: its file went while it played.
    pub(super) fn played(&mut self, id: ItemId) {
        if self.of.get(&id).is_some_and(|fault| fault.again.is_none()) {
            self.of.remove(&id);
        }
    }

    /// The items whose wait is over at `now`, once; `None` if there are none.
    pub(super) fn due(&mut self, now: Instant) -> Option<HashSet<ItemId>> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return None;
        }
        let mut due = HashSet::new();
        for (&id, fault) in &mut self.of {
            if fault.again.is_some_and(|again| again <= now) {
                fault.again = None;
                due.insert(id);
            }
        }
        self.earliest = self.of.values().filter_map(|fault| fault.again).min();
        Some(due)
    }

    /// Forgets items that are not in the list any more.
    pub(super) fn keep(&mut self, in_list: &HashSet<ItemId>) {
        self.of.retain(|id, _| in_list.contains(id));
    }

    /// How many items are known to fail.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// What happened since the last time.
    pub(super) fn take_events(&mut self, notices: &mut Vec<EventKind>) {
        notices.append(&mut self.events);
    }

    /// What failed last.
    pub(super) fn last(&self) -> Option<Error> {
        self.last.clone()
    }

    fn tell(&mut self, item: &PlaylistItem, error: Error) -> &mut Fault {
        self.last = Some(error.clone());
        let fresh = || Fault { failures: 0, again: None, told: String::new() };
        let fault = self.of.entry(item.id).or_insert_with(fresh);
        if fault.told != error.code() {
            error.code().clone_into(&mut fault.told);
            if self.events.len() < MOST_EVENTS {
                self.events.push(EventKind::ItemSkipped { path: item.path.clone(), error });
            } else {
                log::warn!("{} is left out, too: {}", item.path.display(), crate::error::chain(&error));
            }
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::playlist::Playlist;

    fn error(number: u8) -> Error {
        let path = Path::new("a").to_owned();
        match number {
            0 => Error::SourceDried { path },
            _ => Error::SourceDamaged { path, reason: "x".to_owned() },
        }
    }

    #[test]
    fn waits_grow_to_a_minute_and_each_failure_is_told_once() {
        let item = Playlist::files(["a"]).items().remove(0);
        let (mut faults, mut now, mut events) = (Faults::default(), Instant::now(), Vec::new());
        let mut waits = Vec::new();
        for _ in 0..7 {
            faults.failed(&item, error(0), now);
            assert_eq!(faults.due(now), None);
            let again = faults.earliest.expect("it waits");
            waits.push((again - now).as_secs());
            now = again;
            assert_eq!(faults.due(now), Some(HashSet::from([item.id])));
            assert_eq!(faults.due(now), None, "once");
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60]);
        faults.take_events(&mut events);
        assert_eq!(events.len(), 1, "{events:?}");
        faults.failed(&item, error(1), now);
        faults.take_events(&mut events);
        assert_eq!(events.len(), 2, "another failure is news");
        faults.played(item.id);
        assert_eq!(faults.len(), 1, "it waits");
        now = faults.earliest.expect("it waits");
        faults.due(now);
        faults.played(item.id);
        faults.failed(&item, error(1), now);
        faults.take_events(&mut events);
        assert_eq!(events.len(), 3, "it was well in between");
        assert_eq!(faults.earliest, Some(now + WAIT_FIRST));
    }
}
