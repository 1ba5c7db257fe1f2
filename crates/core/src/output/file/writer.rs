//! The thread that writes a recording, because files block.
//!
//! In: batches of tags. Out: what a [`Format`] makes of them, one write for each batch, until the queue is closed or the disk is
//! full; and reports to the driver, which looks for them when it is its turn.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use flowcast_rtmp::flv::tag::Tag;

use super::format::Format;
use crate::output::queue::{Batches, Handed};
use crate::sys::{CpuLap, CpuMeter, FileId, Span, spawn};

const STACK: usize = 128 << 10;

/// What has happened to the files.
#[derive(Debug)]
pub(super) enum Report {
    /// This one is written from now on.
    Opened(PathBuf),
    /// None is written any more.
    Ended(io::Result<()>),
}

/// How far the writer is.
#[derive(Debug, Default)]
struct Progress {
    bytes: AtomicU64,
    /// When the first media was in a file.
    first: OnceLock<Instant>,
}

/// A writing thread, as the driver sees it.
#[derive(Debug)]
pub(super) struct Writer {
    progress: Arc<Progress>,
    reports: Receiver<Report>,
}

impl Writer {
    /// Starts a thread of this name, which writes until its queue is closed.
    ///
    /// # Errors
    ///
    /// No thread is left.
    pub(super) fn start(
        thread: String,
        format: Box<dyn Format>,
        batches: Batches,
        keep_free: u64,
        cpu: CpuMeter,
    ) -> io::Result<Self> {
        let (sender, reports) = crossbeam_channel::unbounded();
        let progress = Arc::new(Progress::default());
        let work = Work { format, batches, keep_free, progress: progress.clone(), reports: sender.clone() };
        // Whoever starts it knows the first file, before anything is written.
        work.report_opened();
        let span = Span::current();
        spawn(thread, STACK, move || {
            let mut lap = CpuLap::default();
            // Whoever hears of the end may use the files: they are closed by now.
            let result = span.run(|| work.run(&cpu, &mut lap));
            cpu.lap(&mut lap);
            let _ = sender.send(Report::Ended(result));
        })?;
        Ok(Self { progress, reports })
    }

    /// A writer that has nothing to report: its work is done by a test.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { progress: Arc::default(), reports: crossbeam_channel::never() }
    }

    /// What happened since the last call. Nothing follows the end; a thread that panicked has failed.
    pub(super) fn report(&self) -> Option<Report> {
        match self.reports.try_recv() {
            Ok(report) => Some(report),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Report::Ended(Err(io::Error::other("the thread that writes it panicked"))))
            }
        }
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }

    /// When the first media was in a file.
    pub(super) fn first_media(&self) -> Option<Instant> {
        self.progress.first.get().copied()
    }
}

/// What the thread has.
struct Work {
    format: Box<dyn Format>,
    batches: Batches,
    /// Bytes that stay free on the disk.
    keep_free: u64,
    progress: Arc<Progress>,
    reports: Sender<Report>,
}

impl Work {
    fn run(mut self, cpu: &CpuMeter, lap: &mut CpuLap) -> io::Result<()> {
        let mut path = self.format.path().to_owned();
        while let Some(Handed { tags, returned }) = self.batches.next() {
            let is_short = self.keep_free > 0 && !leaves_free(self.format.path(), self.keep_free);
            let short = is_short.then(|| {
                format!("fewer than {} bytes are free on the disk, which are to stay so", self.keep_free)
            });
            if let Some(reason) = short.or_else(|| self.format.is_over()) {
                self.batches.done(&tags);
                self.format.finish()?;
                return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
            }
            let written = self.write(&tags, returned);
            self.batches.done(&tags);
            written?;
            if self.format.path() != path {
                self.format.path().clone_into(&mut path);
                self.report_opened();
            }
            if self.format.has_media() {
                self.progress.first.get_or_init(Instant::now);
            }
            self.progress.bytes.store(self.format.written(), Ordering::Relaxed);
            if self.batches.is_empty() {
                cpu.lap(lap);
            }
        }
        self.format.finish()
    }

    fn write(&mut self, tags: &[Tag], returned: Option<usize>) -> io::Result<()> {
        let Some((before, after)) = returned.and_then(|at| tags.split_at_checked(at)) else {
            return self.format.write(tags);
        };
        if !before.is_empty() {
            self.format.write(before)?;
        }
        self.format.note_return();
        self.format.write(after)
    }

    fn report_opened(&self) {
        let _ = self.reports.send(Report::Opened(self.format.path().to_owned()));
    }
}

/// Whether the disk of a file has this much left, or reels make room for it. A disk that does not say has.
pub(super) fn leaves_free(path: &Path, keep_free: u64) -> bool {
    let has_room = || {
        rustix::fs::statvfs(path)
            .map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= keep_free)
    };
    while !has_room() {
        if !FileId::at(path).is_some_and(|id| crate::reel::make_room(id.device())) {
            return false;
        }
    }
    true
}
