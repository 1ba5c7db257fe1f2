//! Usage records, for who bills or audits: what each stream, output and owner used, cut every 60 seconds and at each end.
//!
//! In: the figures of streams, and what ends. Out: records, to callbacks of the program and to files. One thread for the engine hands them
//! over, while somebody wants them; no stream waits for it.

mod account;
mod desk;
#[cfg(feature = "state")]
mod file;
mod record;
mod sink;
#[cfg(test)]
mod tests;
#[cfg(feature = "serde")]
mod wire;

use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub(crate) use self::account::{Account, Figures, Moment};
pub(crate) use self::desk::Desk;
use self::desk::Work;
#[cfg(feature = "state")]
pub use self::file::UsageFile;
pub use self::record::{ParseUsageIdError, UsageCut, UsageId, UsageRecord, UsageSubject, Used};
#[cfg(feature = "state")]
use self::sink::FileSink;
pub use self::sink::UsageSinkStatus;
use self::sink::{Kind, Sink};
use crate::config::UsageConfig;
use crate::error::Error;
use crate::event::callback::mark_callback_thread;
use crate::sys::spawn;

/// Bytes. The program's code runs on it, which expects what the standard library gives a thread.
const STACK: usize = 2 << 20;
/// Longer waits are no waits.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread hands records over.
fn is_own_thread() -> bool {
    IS_OWN.get()
}

/// The streams of an engine.
pub(crate) trait Streams: Send + Sync {
    /// Cuts records of all of them.
    fn cut_usage(&self);
}

/// The usage records of an engine ([`Engine::usage`](crate::Engine::usage)). Clones are the same. Nothing is cut until somebody wants
/// records.
///
/// A stream that runs already when records are first wanted is counted from its start; of its outputs, those that have not ended.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; }
/// use std::time::Duration;
/// use flowcast::{Config, Engine};
///
/// let engine = Engine::new(Config::default())?;
/// let usage = engine.usage();
/// let sink = usage.records(|record| println!("{record}"))?;
/// // Cut now, without waiting for the minute to be over.
/// usage.cut();
/// usage.flush(Duration::from_secs(1));
/// println!("{} records", sink.status().delivered);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Usage {
    streams: Weak<dyn Streams>,
    desk: Arc<Desk>,
}

/// One who gets the usage records of an engine: a callback or a file. Dropping it changes nothing: the records go on until the engine ends.
#[derive(Debug)]
pub struct UsageSink {
    desk: Arc<Desk>,
    sink: Arc<Sink>,
}

impl Usage {
    pub(crate) fn new(streams: Weak<dyn Streams>, desk: Arc<Desk>) -> Self {
        Self { streams, desk }
    }

    /// Calls `callback` with each record that is cut from now on, in the order of their ids, until the engine ends or
    /// [`UsageSink::cancel`]. It runs on the one thread that hands records over, so a callback that waits keeps others, and files, from
    /// theirs; streams never wait for it. A panic in it is caught, and the record counts as delivered.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread left.
    pub fn records(
        &self,
        callback: impl Fn(&UsageRecord) + Send + Sync + 'static,
    ) -> Result<UsageSink, Error> {
        self.add(Kind::Callback(Box::new(callback)))
    }

    /// Adds each record that is cut from now on to `file`, until the engine ends or [`UsageSink::cancel`]. A write that fails is logged and
    /// shown by [`UsageSink::status`], the file is set back to its last whole line, and the records are kept for the next try: with the next
    /// record, and every five seconds.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread left.
    #[cfg(feature = "state")]
    #[cfg_attr(docsrs, doc(cfg(feature = "state")))]
    pub fn to_file(&self, file: UsageFile) -> Result<UsageSink, Error> {
        self.add(Kind::File(Box::new(FileSink::new(file.writer()))))
    }

    fn add(&self, kind: Kind) -> Result<UsageSink, Error> {
        let (desk, streams) = (self.desk.clone(), self.streams.clone());
        let start = || spawn("fc-usage", STACK, move || run(&desk, &streams)).map(drop);
        let sink = self
            .desk
            .add(|number| Sink::new(number, kind), start)
            .map_err(|source| Error::System { what: "no thread for usage records", source: source.into() })?;
        Ok(UsageSink { desk: self.desk.clone(), sink })
    }

    /// Cuts records of all streams now, on the calling thread, if somebody wants records.
    pub fn cut(&self) {
        if let Some(streams) = self.streams.upgrade() {
            streams.cut_usage();
        }
    }

    /// Waits until all records that are cut now were handed over: callbacks have returned, files are written or have failed. `false` if that
    /// takes longer than `within`. [`Engine::shutdown`](crate::Engine::shutdown) does so in its deadline.
    ///
    /// # Blocking
    ///
    /// Up to `within`; not inside a callback that gets records.
    pub fn flush(&self, within: Duration) -> bool {
        self.desk.wait_given(Instant::now() + within.min(FOREVER))
    }

    /// The run of this engine, which all ids of its records begin with: 32 hexadecimal digits.
    #[must_use]
    pub fn run(&self) -> String {
        self.desk.run().to_string()
    }

    /// Records that were lost before anybody got them, because [so many](UsageConfig::kept) waited for a callback or a disk that does not
    /// return.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.desk.lost()
    }

    /// The settings that hold now: those of [`Config`](crate::Config), or the last that were [set](Self::set).
    #[must_use]
    pub fn settings(&self) -> UsageConfig {
        self.desk.settings()
    }

    /// Changes the settings; the next cut is at the latest one interval from now.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work; nothing is changed then.
    pub fn set(&self, settings: UsageConfig) -> Result<(), Error> {
        settings.check()?;
        self.desk.set(settings);
        Ok(())
    }
}

impl UsageSink {
    /// How it stands: what was delivered, what waits, what is lost.
    #[must_use]
    pub fn status(&self) -> UsageSinkStatus {
        self.sink.status()
    }

    /// Ends it, once it has the records that were cut before, but waits for that no longer than `within`. A file is closed then. It may be
    /// cancelled inside its own callback.
    ///
    /// # Blocking
    ///
    /// Up to `within`.
    pub fn cancel(self, within: Duration) {
        self.desk.wait_given(Instant::now() + within.min(FOREVER));
        self.desk.remove(self.sink.number);
        self.sink.end();
    }
}

/// The thread that cuts, and hands records over.
fn run(desk: &Desk, streams: &Weak<dyn Streams>) {
    IS_OWN.set(true);
    mark_callback_thread();
    while let Some(work) = desk.next() {
        match work {
            Work::Cut => {
                if let Some(streams) = streams.upgrade() {
                    streams.cut_usage();
                }
            }
            Work::Give(batch) => {
                let mut failed = false;
                for sink in &batch.sinks {
                    failed |= sink.give(&batch.records, batch.kept);
                }
                desk.given(batch, failed);
            }
        }
    }
}
