//! How many requests each address may make.
//!
//! In: addresses, and the time. Out: whether one more request is allowed. A bucket for each address: a second fills it with what may come in a
//! second, ten seconds fill it to the brim.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use flowcast_server::Origin;

/// Addresses remembered; of more, the one that has been quiet for longest is forgotten.
const MOST: usize = 10_000;
/// Seconds' worth that may come at once.
const BURST: f64 = 10.0;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: f64,
    buckets: HashMap<Origin, Bucket>,
    /// The time of the last request of each, oldest first.
    order: BTreeMap<u64, Origin>,
    heard: u64,
}

#[derive(Debug)]
struct Bucket {
    heard: u64,
    left: f64,
    at: Instant,
}

impl Rates {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), buckets: HashMap::new(), order: BTreeMap::new(), heard: 0 }
    }

    /// Takes one request out of the bucket of `origin`; `false` if it is empty.
    pub(crate) fn take(&mut self, origin: Origin, now: Instant) -> bool {
        self.heard += 1;
        let (heard, brim) = (self.heard, self.per_second * BURST);
        if let Some(known) = self.buckets.get(&origin) {
            self.order.remove(&known.heard);
        } else if self.buckets.len() >= MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.buckets.remove(&oldest);
        }
        self.order.insert(heard, origin);
        let bucket = self.buckets.entry(origin).or_insert(Bucket { heard, left: brim, at: now });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * self.per_second).min(brim);
        (bucket.heard, bucket.at) = (heard, now.max(bucket.at));
        let is_allowed = bucket.left >= 1.0;
        if is_allowed {
            bucket.left -= 1.0;
        }
        is_allowed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn many_may_come_at_once_and_then_so_many_a_second() {
        let (mut rates, start, who) = (Rates::new(5), Instant::now(), origin("192.0.2.1"));
        let at_once = (0..100).filter(|_| rates.take(who, start)).count();
        assert_eq!(at_once, 50);
        assert!(rates.take(origin("192.0.2.2"), start), "another address");
        let second = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| rates.take(who, second)).count(), 5);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| rates.take(who, later)).count(), 50);
        assert!(!rates.take(who, start), "a clock that goes back gives nothing");
    }

    #[test]
    fn memory_is_bounded() {
        let (mut rates, now) = (Rates::new(1), Instant::now());
        for number in 0..=u32::try_from(MOST).unwrap() + 10 {
            rates.take(Origin::of(std::net::Ipv4Addr::from(number + 1).into()), now);
        }
        assert!(rates.buckets.len() <= MOST && rates.order.len() == rates.buckets.len());
    }
}
