//! One who wants records: a callback of the program, or a file. On the thread that hands records over.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
#[cfg(feature = "state")]
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

#[cfg(feature = "state")]
use super::file::Writer;
use super::record::UsageRecord;
use crate::error::Error;

/// How it stands with one who wants records; see [`UsageSink::status`](super::UsageSink::status).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UsageSinkStatus {
    /// Records that the callback was called with, or that are in the file.
    pub delivered: u64,
    /// Records that could not be written yet and are kept.
    pub waiting: u64,
    /// Records that came while as many were kept as are to be ([`UsageConfig::kept`](crate::UsageConfig)): nobody has them.
    pub lost: u64,
    /// Why the last write failed; `None` if it did not.
    pub last_error: Option<Error>,
}

pub(super) struct Sink {
    pub(super) number: u64,
    kind: Kind,
    status: Mutex<UsageSinkStatus>,
}

/// What a callback of the program looks like.
pub(super) type Callback = dyn Fn(&UsageRecord) + Send + Sync;

pub(super) enum Kind {
    Callback(Box<Callback>),
    /// Locked by the thread alone.
    #[cfg(feature = "state")]
    File(Box<FileSink>),
}

/// A file until it is closed. Locked by the thread that writes.
#[cfg(feature = "state")]
pub(super) struct FileSink {
    writer: Mutex<Option<Writer>>,
    ended: AtomicBool,
}

#[cfg(feature = "state")]
impl FileSink {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer: Mutex::new(Some(writer)), ended: AtomicBool::new(false) }
    }

    /// Closes the file, unless it is being written: whoever does that closes it then.
    fn close(&self, status: &Mutex<UsageSinkStatus>) {
        self.ended.store(true, Ordering::Release);
        let Some(writer) = self.writer.try_lock().and_then(|mut writer| writer.take()) else { return };
        let mut last = writer.status();
        if last.waiting > 0 {
            log::error!("{} usage records could not be written and are lost", last.waiting);
        }
        last.lost += std::mem::take(&mut last.waiting);
        *status.lock() = last;
    }

    /// Writes records; `true` if some are kept that could not be.
    fn give(&self, records: &[Arc<UsageRecord>], kept: usize, status: &Mutex<UsageSinkStatus>) -> bool {
        let mut waits = false;
        if let Some(writer) = &mut *self.writer.lock() {
            writer.give(records, kept);
            let now = writer.status();
            waits = now.waiting > 0;
            *status.lock() = now;
        }
        if self.ended.load(Ordering::Acquire) {
            self.close(status);
        }
        waits
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Sink {
    pub(super) fn new(number: u64, kind: Kind) -> Self {
        Self { number, kind, status: Mutex::default() }
    }

    pub(super) fn status(&self) -> UsageSinkStatus {
        self.status.lock().clone()
    }

    /// Hands records over; `true` if some are kept that could not be.
    #[cfg_attr(not(feature = "state"), allow(unused_variables, reason = "only files keep records"))]
    pub(super) fn give(&self, records: &[Arc<UsageRecord>], kept: usize) -> bool {
        match &self.kind {
            Kind::Callback(callback) => {
                for record in records {
                    if std::panic::catch_unwind(AssertUnwindSafe(|| callback(record))).is_err() {
                        log::error!("a callback for usage records panicked");
                    }
                    self.status.lock().delivered += 1;
                }
                false
            }
            #[cfg(feature = "state")]
            Kind::File(file) => file.give(records, kept, &self.status),
        }
    }

    /// The last records were handed over: a file is closed, and what it keeps has nobody who would write it.
    pub(super) fn end(&self) {
        match &self.kind {
            Kind::Callback(_) => {}
            #[cfg(feature = "state")]
            Kind::File(file) => file.close(&self.status),
        }
    }
}
