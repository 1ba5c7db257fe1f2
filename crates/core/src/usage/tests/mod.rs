//! Usage records with figures that the tests give.

mod accounts;
#[cfg(feature = "state")]
mod files;
mod handing;
mod ids;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flowcast_rtmp::time::MediaTime;
use parking_lot::Mutex;

use super::desk::Unnumbered;
use super::*;
use crate::id::{OutputId, StreamId};
use crate::stats::{FallbackStats, OutputStats, OutputTransport, StreamStats};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const STREAM: StreamId = StreamId(1);

/// An engine without streams.
struct Empty;

impl Streams for Empty {
    fn cut_usage(&self) {}
}

/// Records of an engine that has no streams, and what keeps it there.
fn usage(change: impl FnOnce(&mut UsageConfig)) -> (Usage, Arc<Empty>) {
    let empty = Arc::new(Empty);
    let streams = Arc::downgrade(&empty);
    (Usage::new(streams, Desk::new(UsageConfig::default().with(change))), empty)
}

/// A callback that collects, and what it has collected.
fn collected(usage: &Usage) -> (UsageSink, Arc<Mutex<Vec<UsageRecord>>>) {
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = all.clone();
    (usage.records(move |record| into.lock().push(record.clone())).expect("a thread"), all)
}

/// A record of so many bytes.
fn of_bytes(bytes: u64) -> Unnumbered {
    Unnumbered {
        cut: UsageCut::Interval,
        owner: Some(Arc::from("alice")),
        stream: STREAM,
        label: None,
        subject: UsageSubject::Players,
        from: UNIX_EPOCH,
        to: UNIX_EPOCH + Duration::from_secs(60),
        used: Used { bytes, ..Used::default() },
    }
}
