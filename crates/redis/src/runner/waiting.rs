//! Streams that seem to be free, and when this node may take each.
//!
//! In: looks at what is free. Out: names whose turn it is here, the first first. It asks nobody and has no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::placement::weight;

/// What a node waits at least.
const LEAST: Duration = Duration::from_millis(50);
/// Nodes that are equally loaded wait for different times within this.
const APART: Duration = Duration::from_millis(200);
/// A stream that was not seen among too many for this long is seen anew.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// The longest a node leaves a stream to others after it could not start it.
const LONGEST: Duration = Duration::from_secs(60);

/// What a node knows of streams that nobody runs.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    seen: HashMap<String, Seen>,
    left: HashMap<String, Left>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    last: Instant,
    offered_to: Option<String>,
}

/// Left to others.
#[derive(Debug)]
struct Left {
    until: Instant,
    failures: u32,
}

impl Waiting {
    /// What a look saw; `is_all` if there is nothing else.
    pub(super) fn saw(&mut self, now: Instant, names: Vec<(String, Option<String>)>, is_all: bool) {
        for (name, offered_to) in names {
            let seen = self.seen.entry(name).or_insert(Seen { since: now, last: now, offered_to: None });
            (seen.last, seen.offered_to) = (now, offered_to);
        }
        self.seen.retain(|_, seen| seen.last == now || !is_all && now < seen.last + FORGOTTEN);
        self.left.retain(|_, left| now < left.until + LONGEST * 2);
    }

    /// It is not free any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.seen.remove(name);
    }

    /// Another node has it after all: it is not free before `until`.
    pub(super) fn taken(&mut self, name: &str, until: Instant) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.since = until;
        }
    }

    /// What was offered to `node` and is not taken there: what it leaves to others, or everything. Each is named once.
    pub(super) fn declined(&mut self, now: Instant, node: &str, is_everything: bool) -> Vec<String> {
        let left = &self.left;
        let is_left = |name: &str| left.get(name).is_some_and(|left| now < left.until);
        let declined = self.seen.iter_mut().filter(|(name, seen)| {
            seen.offered_to.as_deref() == Some(node) && (is_everything || is_left(name))
        });
        declined
            .map(|(name, seen)| {
                seen.offered_to = None;
                name.clone()
            })
            .collect()
    }

    /// Leaves it to others for a while.
    pub(super) fn leave(&mut self, name: &str, until: Instant) {
        let left = self.left.entry(name.to_owned()).or_insert(Left { until, failures: 0 });
        left.until = left.until.max(until);
    }

    /// It could not be started here, or ended by itself: a second, then two, up to a minute.
    pub(super) fn failed(&mut self, name: &str, now: Instant) -> Duration {
        let failures = self.left.get(name).map_or(0, |left| left.failures);
        let pause = LONGEST.min(Duration::from_secs(1 << failures.min(6)));
        self.left.insert(name.to_owned(), Left { until: now + pause, failures: failures + 1 });
        pause
    }

    /// It has run for a while.
    pub(super) fn succeeded(&mut self, name: &str) {
        self.left.remove(name);
    }

    /// Names whose turn it is on `node`, which is loaded so: what is offered to it at once, nothing that is offered to another.
    pub(super) fn due(&self, now: Instant, node: &str, load: f64, claim_delay: Duration) -> Vec<String> {
        let by_load = LEAST + claim_delay.mul_f64(load.clamp(0.0, 1.0));
        let due = |(name, seen): (&String, &Seen)| {
            let due = match &seen.offered_to {
                Some(to) if to == node => seen.since,
                Some(_) => return None,
                None => {
                    // The node that a hash prefers is first among equals, on all nodes in the same way.
                    let behind = 1.0 - weight(name, node) as f64 / u64::MAX as f64;
                    seen.since + by_load + APART.mul_f64(behind)
                }
            };
            let is_left = self.left.get(name).is_some_and(|left| now < left.until);
            (due <= now && !is_left).then(|| (due, name.clone()))
        };
        let mut all: Vec<_> = self.seen.iter().filter_map(due).collect();
        all.sort();
        all.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(1);

    fn seen(waiting: &mut Waiting, now: Instant, names: &[(&str, Option<&str>)]) {
        let names = names.iter().map(|(name, to)| ((*name).to_owned(), to.map(str::to_owned)));
        waiting.saw(now, names.collect(), true);
    }

    #[test]
    fn the_node_that_is_least_loaded_is_first_and_equals_are_apart() {
        let begun = Instant::now();
        let mut waiting = Waiting::default();
        seen(&mut waiting, begun, &[("rain", None)]);
        let first = |node: &str, load| {
            let at = |millis: &u64| {
                !waiting.due(begun + Duration::from_millis(*millis), node, load, DELAY).is_empty()
            };
            (0..3000).find(at).unwrap_or(u64::MAX)
        };
        for node in ["one", "two", "three"] {
            assert!(
                (50..=250).contains(&first(node, 0.0)) && (550..=750).contains(&first(node, 0.5)),
                "{node}"
            );
            assert!((1050..=1250).contains(&first(node, 7.0)), "{node}: a node that is over its budget");
        }
        assert_ne!(first("one", 0.0), first("two", 0.0));
    }

    #[test]
    fn an_offer_is_for_one_and_what_failed_is_left_to_others_for_longer_each_time() {
        let begun = Instant::now();
        let (mut waiting, later) = (Waiting::default(), begun + DELAY * 2);
        seen(&mut waiting, begun, &[("rain", Some("one")), ("snow", None)]);
        assert_eq!(waiting.due(begun, "one", 1.0, DELAY), ["rain"]);
        assert_eq!(waiting.due(later, "two", 0.0, DELAY), ["snow"]);
        assert_eq!(waiting.due(later, "one", 0.0, DELAY), ["rain", "snow"]);
        let pauses: Vec<_> = (0..9).map(|_| waiting.failed("rain", begun).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(waiting.due(later, "one", 0.0, DELAY), ["snow"]);
        waiting.succeeded("rain");
        assert_eq!(waiting.failed("rain", begun).as_secs(), 1);
        waiting.leave("snow", later);
        assert_eq!(waiting.due(later, "one", 0.0, DELAY), ["rain", "snow"]);
        waiting.leave("snow", later + DELAY);
        assert_eq!(waiting.due(later, "one", 0.0, DELAY), ["rain"]);
        // What is not seen any more is not free.
        seen(&mut waiting, later, &[("snow", None)]);
        assert!(waiting.due(later + DELAY * 9, "one", 0.0, DELAY) == ["snow"]);
        waiting.saw(later + DELAY, Vec::new(), false);
        assert_eq!(waiting.due(later + DELAY * 2, "one", 0.0, DELAY), ["snow"], "one of too many");
        waiting.saw(later + DELAY * 10, Vec::new(), false);
        assert!(waiting.due(later + DELAY * 20, "one", 0.0, DELAY).is_empty());
    }

    #[test]
    fn an_offer_that_is_not_taken_is_declined_once_and_one_that_is_not_free_yet_waits() {
        let begun = Instant::now();
        let (mut waiting, later) = (Waiting::default(), begun + DELAY);
        let offers = [("rain", Some("one")), ("snow", Some("one")), ("hail", Some("two")), ("fog", None)];
        seen(&mut waiting, begun, &offers);
        assert!(waiting.declined(begun, "one", false).is_empty(), "it takes them");
        waiting.taken("rain", later);
        assert_eq!(waiting.due(begun, "one", 0.0, DELAY), ["snow"]);
        assert!(waiting.declined(begun, "one", false).is_empty(), "it takes them");
        assert_eq!(waiting.due(later, "one", 1.0, DELAY)[..2], ["snow", "rain"]);
        waiting.failed("snow", begun);
        waiting.leave("hail", later);
        assert_eq!(waiting.declined(begun, "one", false), ["snow"]);
        assert!(waiting.declined(begun, "one", false).is_empty(), "once");
        assert_eq!(waiting.declined(begun, "one", true), ["rain"]);
        assert_eq!(waiting.declined(begun, "two", false), ["hail"]);
    }
}
