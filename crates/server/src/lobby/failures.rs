//! Which address failed how often, and how long it waits for that.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::config::FailurePolicy;

/// Addresses remembered; the one that has been quiet for longest is forgotten for another one.
const MOST: usize = 10_000;

/// Addresses that count as one: an IPv4 address, or the /64 of an IPv6 one, which is what a customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin(IpAddr);

impl Origin {
    /// Those of this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            other => other,
        })
    }

    /// The same machine.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

/// The failures of each address.
#[derive(Debug)]
pub struct Failures {
    policy: FailurePolicy,
    records: HashMap<Origin, Record>,
    /// The time of the last failure of each, oldest first.
    order: BTreeMap<u64, Origin>,
    heard: u64,
}

#[derive(Debug, Default)]
struct Record {
    /// Its place in the order.
    heard: u64,
    /// Those within the window, oldest first.
    failures: VecDeque<Instant>,
    banned_until: Option<Instant>,
}

impl Failures {
    /// None so far.
    #[must_use]
    pub fn new(policy: FailurePolicy) -> Self {
        Self { policy, records: HashMap::new(), order: BTreeMap::new(), heard: 0 }
    }

    /// Notes a failure of `origin`; returns how long it waits for the answer.
    pub fn failed(&mut self, origin: Origin, now: Instant) -> Duration {
        if self.policy.spare_loopback && origin.is_loopback() {
            return Duration::ZERO;
        }
        let policy = self.policy.clone();
        let record = self.hear(origin);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= policy.window;
        while record.failures.front().is_some_and(is_old) {
            record.failures.pop_front();
        }
        let before = u32::try_from(record.failures.len()).unwrap_or(u32::MAX);
        record.failures.push_back(now);
        if record.failures.len() >= policy.ban_after {
            record.failures.pop_front();
            record.banned_until = now.checked_add(policy.ban_for);
        }
        policy.first_delay.saturating_mul(1 << before.min(20)).min(policy.max_delay)
    }

    /// Whether `origin` is turned away.
    #[must_use]
    pub fn is_banned(&self, origin: Origin, now: Instant) -> bool {
        self.records.get(&origin).and_then(|record| record.banned_until).is_some_and(|until| now < until)
    }

    /// The record of `origin`, which becomes the latest.
    fn hear(&mut self, origin: Origin) -> &mut Record {
        self.heard += 1;
        match self.records.get(&origin) {
            Some(record) => {
                self.order.remove(&record.heard);
            }
            None if self.records.len() >= MOST => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.records.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert(self.heard, origin);
        let record = self.records.entry(origin).or_default();
        record.heard = self.heard;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().expect("an address"))
    }

    fn failures() -> Failures {
        Failures::new(FailurePolicy::default())
    }

    #[test]
    fn the_wait_doubles_to_its_end_and_is_short_again_after_a_minute() {
        let (mut failures, start, who) = (failures(), Instant::now(), origin("192.0.2.1"));
        let waits: Vec<_> = (0..7).map(|_| failures.failed(who, start).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(failures.failed(origin("192.0.2.2"), start).as_millis(), 250, "another address");
        assert_eq!(failures.failed(who, start + Duration::from_secs(60)).as_millis(), 250);
    }

    #[test]
    fn twenty_in_a_minute_are_enough_for_a_minute() {
        let (mut failures, start, who) = (failures(), Instant::now(), origin("192.0.2.1"));
        let second = Duration::from_secs(1);
        for failure in 0..19 {
            failures.failed(who, start + second * failure);
        }
        let now = start + second * 19;
        assert!(!failures.is_banned(who, now));
        failures.failed(who, now);
        assert!(failures.is_banned(who, now) && failures.is_banned(who, now + second * 59));
        assert!(!failures.is_banned(who, now + second * 60) && !failures.is_banned(origin("192.0.2.2"), now));
    }

    #[test]
    fn slow_failures_never_add_up() {
        let (mut failures, start, who) = (failures(), Instant::now(), origin("192.0.2.1"));
        for failure in 0..500 {
            failures.failed(who, start + Duration::from_secs(4) * failure);
            assert!(!failures.is_banned(who, start + Duration::from_secs(4) * failure));
        }
        assert!(failures.records[&who].failures.len() <= 20);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_are_remembered() {
        let (mut failures, now) = (failures(), Instant::now());
        let often = origin("198.51.100.1");
        for number in 0..50_000u32 {
            failures.failed(Origin::of(IpAddr::V4((0x0A00_0000 + number).into())), now);
            if number % 5_000 == 0 {
                failures.failed(often, now);
            }
        }
        assert_eq!((failures.records.len(), failures.order.len()), (MOST, MOST));
        assert_eq!(failures.records[&often].failures.len(), 10, "who goes on failing is not forgotten");
    }

    #[test]
    fn a_customers_addresses_are_one_and_loopback_is_spared_if_asked() {
        assert_eq!(origin("2001:db8:0:1::5"), origin("2001:db8:0:1:ffff::9"));
        assert_ne!(origin("2001:db8:0:1::5"), origin("2001:db8:0:2::5"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        let policy = FailurePolicy { spare_loopback: true, ..FailurePolicy::default() };
        let mut failures = Failures::new(policy);
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(failures.failed(origin(local), Instant::now()), Duration::ZERO, "{local}");
        }
        assert!(failures.records.is_empty());
    }
}
