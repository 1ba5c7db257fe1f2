//! Whose turn it is to be dialled.
//!
//! In: dials that are asked for, and those that are over. Out: the dials to begin now. Per server and in all, only so many are under
//! way at once, and those that are repeated are spaced. Time is an argument; the dialer's thread owns it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::config::DialLimits;

/// A host and a port.
pub(super) type Server = (String, u16);

/// Dials that wait for their turn, and how many are under way.
pub(super) struct Spread<T> {
    limits: DialLimits,
    lanes: HashMap<Server, Lane<T>>,
    /// Servers with dials that wait, in the order of their turns.
    turns: VecDeque<Server>,
    under_way: usize,
}

/// The dials to one server.
struct Lane<T> {
    under_way: usize,
    first: VecDeque<T>,
    again: VecDeque<T>,
    /// When the next one that is repeated may begin.
    next_again: Instant,
}

impl<T> Lane<T> {
    fn waits(&self) -> bool {
        !self.first.is_empty() || !self.again.is_empty()
    }

    /// What may begin now.
    fn next(&mut self, now: Instant, limits: &DialLimits) -> Option<T> {
        if self.under_way >= limits.per_server {
            return None;
        }
        let next = match self.first.pop_front() {
            Some(first) => first,
            None if self.next_again <= now => {
                let again = self.again.pop_front()?;
                self.next_again = now + Duration::from_secs(1) / limits.redials_per_second;
                again
            }
            None => return None,
        };
        self.under_way += 1;
        Some(next)
    }
}

impl<T> Spread<T> {
    pub(super) fn new(limits: DialLimits) -> Self {
        Self { limits, lanes: HashMap::new(), turns: VecDeque::new(), under_way: 0 }
    }

    /// A dial to `server`; `is_again` if its output was dialled before.
    pub(super) fn add(&mut self, now: Instant, server: Server, is_again: bool, dial: T) {
        let lane = self.lanes.entry(server.clone()).or_insert_with(|| Lane {
            under_way: 0,
            first: VecDeque::new(),
            again: VecDeque::new(),
            next_again: now,
        });
        if !lane.waits() {
            self.turns.push_back(server);
        }
        if is_again { &mut lane.again } else { &mut lane.first }.push_back(dial);
    }

    /// A dial to begin at `now`; it is under way until it is [over](Self::over).
    pub(super) fn next(&mut self, now: Instant) -> Option<T> {
        for _ in 0..self.turns.len() {
            if self.under_way >= self.limits.total {
                return None;
            }
            let server = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&server) else { continue };
            let dial = lane.next(now, &self.limits);
            if lane.waits() {
                self.turns.push_back(server);
            }
            if dial.is_some() {
                self.under_way += 1;
                return dial;
            }
        }
        None
    }

    /// A dial to `server` is no longer under way.
    pub(super) fn over(&mut self, server: &Server) {
        if let Some(lane) = self.lanes.get_mut(server) {
            lane.under_way = lane.under_way.saturating_sub(1);
            self.under_way = self.under_way.saturating_sub(1);
        }
    }

    /// When the next dial may begin without another one being over; `None` if none can.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.under_way >= self.limits.total {
            return None;
        }
        let lanes = self.turns.iter().filter_map(|server| self.lanes.get(server));
        let open = lanes.filter(|lane| lane.under_way < self.limits.per_server);
        open.map(|lane| lane.next_again).min()
    }

    /// Forgets the dials that are no longer wanted, and the servers nothing is known of.
    pub(super) fn forget(&mut self, now: Instant, mut is_over: impl FnMut(&T) -> bool) {
        self.lanes.retain(|_, lane| {
            lane.first.retain(|dial| !is_over(dial));
            lane.again.retain(|dial| !is_over(dial));
            lane.waits() || lane.under_way > 0 || lane.next_again > now
        });
        let lanes = &self.lanes;
        self.turns.retain(|server| lanes.get(server).is_some_and(Lane::waits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> Server {
        (name.to_owned(), 1935)
    }

    fn limits(per_server: usize, total: usize, redials_per_second: u32) -> DialLimits {
        DialLimits::default().with(|limits| {
            (limits.per_server, limits.total) = (per_server, total);
            limits.redials_per_second = redials_per_second;
        })
    }

    /// All that may begin at `now`.
    fn begin<T>(spread: &mut Spread<T>, now: Instant) -> Vec<T> {
        std::iter::from_fn(|| spread.next(now)).collect()
    }

    #[test]
    fn servers_take_turns_and_each_has_its_bound() {
        let (mut spread, now) = (Spread::new(limits(2, 5, 50)), Instant::now());
        for dial in 0..4 {
            for name in ["a", "b", "c"] {
                spread.add(now, server(name), false, (name, dial));
            }
        }
        assert_eq!(begin(&mut spread, now), [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1)]);
        assert_eq!(spread.due(), None, "only the end of another one helps");
        spread.over(&server("a"));
        assert_eq!(begin(&mut spread, now), [("c", 1)], "the place in all goes to whose turn it is");
        spread.over(&server("c"));
        spread.over(&server("c"));
        assert_eq!(begin(&mut spread, now), [("a", 2), ("c", 2)]);
    }

    #[test]
    fn two_hundred_lost_at_once_are_dialled_evenly_and_all_of_them() {
        let (mut spread, start) = (Spread::new(DialLimits::default()), Instant::now());
        for dial in 0..200 {
            spread.add(start, server("a"), true, dial);
        }
        let (mut begun, mut now) = (Vec::new(), start);
        while begun.len() < 200 {
            for dial in begin(&mut spread, now) {
                spread.over(&server("a"));
                begun.push((now - start, dial));
            }
            now = spread.due().unwrap_or(now);
        }
        assert!(begun.iter().enumerate().all(|(place, &(_, dial))| place == dial), "in their order");
        let most = begun.iter().map(|&(from, _)| {
            begun.iter().filter(|(at, _)| (from..from + Duration::from_secs(1)).contains(at)).count()
        });
        assert_eq!(most.max(), Some(50), "in any second");
        assert_eq!(begun.last().map(|&(at, _)| at), Some(Duration::from_millis(3980)));
    }

    #[test]
    fn one_that_is_lost_alone_and_all_that_are_new_wait_for_nothing() {
        let (mut spread, now) = (Spread::new(limits(100, 100, 1)), Instant::now());
        spread.add(now, server("a"), true, 0);
        (1..50).for_each(|dial| spread.add(now, server("a"), false, dial));
        assert_eq!(begin(&mut spread, now).len(), 50);
    }

    #[test]
    fn what_is_no_longer_wanted_leaves_nothing_behind() {
        let (mut spread, now) = (Spread::new(limits(1, 10, 10)), Instant::now());
        (0..3).for_each(|dial| spread.add(now, server("a"), true, dial));
        assert_eq!(begin(&mut spread, now), [0]);
        spread.forget(now, |&dial| dial == 1);
        spread.over(&server("a"));
        assert!(begin(&mut spread, now).is_empty(), "not yet");
        let later = now + Duration::from_millis(100);
        assert_eq!(spread.due(), Some(later));
        assert_eq!(begin(&mut spread, later), [2]);
        spread.over(&server("a"));
        spread.forget(later, |_| false);
        assert_eq!(spread.lanes.len(), 1, "its pace is kept");
        spread.forget(later + Duration::from_secs(1), |_| false);
        assert!(spread.lanes.is_empty() && spread.turns.is_empty());
    }
}
