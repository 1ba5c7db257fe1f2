//! When to dial again.

use std::time::{Duration, Instant};

use crate::config::ReconnectPolicy;
use crate::error::Error;

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    policy: ReconnectPolicy,
    failures: u32,
    /// How many of the last ones, in a row, were refusals.
    refusals: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(policy: ReconnectPolicy) -> Self {
        Self { policy, failures: 0, refusals: 0, up_since: None }
    }

    /// The connection is up.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The connection failed or was lost: how long to wait, or `None` when all tries are used up. `random` is uniform in
    /// 0..1.
    pub(crate) fn failed(&mut self, now: Instant, random: f64) -> Option<Duration> {
        self.settle(now);
        self.refusals = 0;
        self.wait(random)
    }

    /// The peer refused what it took before: how long to wait, or `None` when it has refused often enough, or all tries are
    /// used up.
    pub(crate) fn refused(&mut self, now: Instant, random: f64) -> Option<Duration> {
        self.settle(now);
        if self.policy.refusals.is_some_and(|refusals| self.refusals >= refusals) {
            return None;
        }
        self.refusals = self.refusals.saturating_add(1);
        self.wait(random)
    }

    /// Begins a new row if the connection that ends was stable.
    fn settle(&mut self, now: Instant) {
        // A peer that accepts and closes at once has not been up: its waits go on growing.
        if let Some(since) = self.up_since.take()
            && now.saturating_duration_since(since) >= self.policy.stable_after
        {
            (self.failures, self.refusals) = (0, 0);
        }
    }

    fn wait(&mut self, random: f64) -> Option<Duration> {
        if self.policy.tries.is_some_and(|tries| self.failures >= tries) {
            return None;
        }
        let wait = self.policy.wait(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        Some(wait)
    }

    /// What an output says whose wait is `None` after this error. One that may not be refused at all has not been tried again.
    pub(crate) fn given_up(&self, error: Error) -> Error {
        if !error.is_retryable() && self.refusals == 0 {
            error
        } else {
            Error::GaveUp { tries: self.failures, source: error.into() }
        }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_closes_at_once_is_tried_less_and_less_and_a_stable_one_starts_anew() {
        let mut backoff = Backoff::new(ReconnectPolicy::default());
        let start = Instant::now();
        let mut now = start;
        let mut attempts = 0;
        while now.duration_since(start) < Duration::from_secs(600) {
            backoff.connected(now);
            now += backoff.failed(now, 0.5).expect("there is no limit");
            attempts += 1;
        }
        assert!((20..=27).contains(&attempts), "{attempts} attempts in ten minutes");
        backoff.connected(now);
        let wait = backoff.failed(now + Duration::from_secs(31), 0.5);
        assert_eq!(wait, Some(Duration::from_secs(2)));
    }

    #[test]
    fn tries_run_out() {
        let mut backoff = Backoff::new(ReconnectPolicy { tries: Some(2), ..ReconnectPolicy::default() });
        let now = Instant::now();
        assert!(backoff.failed(now, 0.5).is_some() && backoff.failed(now, 0.5).is_some());
        assert_eq!((backoff.failed(now, 0.5), backoff.failures()), (None, 2));
    }

    #[test]
    fn refusals_have_a_bound_of_their_own() {
        let policy = ReconnectPolicy { refusals: Some(2), ..ReconnectPolicy::default() };
        let mut backoff = Backoff::new(policy);
        let now = Instant::now();
        assert!(backoff.refused(now, 0.5).is_some());
        assert!(backoff.failed(now, 0.5).is_some(), "another failure is no refusal");
        let waits: Vec<_> = (0..3).map(|_| backoff.refused(now, 0.5)).collect();
        let millis = Duration::from_millis;
        assert_eq!(waits, [Some(millis(4500)), Some(millis(6750)), None], "the waits go on growing");
        let policy = ReconnectPolicy { tries: Some(1), ..ReconnectPolicy::default() };
        let mut backoff = Backoff::new(policy);
        assert!(backoff.refused(now, 0.5).is_some());
        assert_eq!((backoff.refused(now, 0.5), backoff.failures()), (None, 1), "refusals are tries, too");
    }

    #[test]
    fn a_hundred_lost_at_once_come_back_spread() {
        let mut buckets = std::collections::HashMap::new();
        for n in 0..100 {
            let mut backoff = Backoff::new(ReconnectPolicy::default());
            let mut at = Duration::ZERO;
            for round in 0..8 {
                let random = crate::net::random::unit();
                at += backoff.failed(Instant::now(), random).expect("there is no limit");
                if round == 7 {
                    *buckets.entry(at.as_secs()).or_insert(0) += 1;
                }
            }
            let _ = n;
        }
        assert!(buckets.values().all(|&count| count <= 20), "{buckets:?}");
    }
}
