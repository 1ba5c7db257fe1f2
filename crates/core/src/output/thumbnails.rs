//! An output that writes a thumbnail to a file every so often.
//!
//! In: the newest keyframe of the ring, when one is due. Out: an order for the threads that make thumbnails, and what they made to a file, by a
//! thread of its own, because files block. A file is replaced as a whole: who reads it never sees half of one. What fails is told, once for
//! as long as it fails, and tried again with the next one; the stream goes on.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};

use super::file::{Names, Zone};
use crate::driver::{OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::event::EventKind;
use crate::files::{StreamFiles, refuse_replacing};
use crate::id::{OutputId, StreamId};
use crate::stats::{OutputPhase, OutputStats, OutputTransport};
use crate::stream::{OpenedOutput, OutputOpening};
use crate::sys::{CpuMeter, FileId, spawn};
use crate::thumbnail::{Order, Studio, Thumbnail, ThumbnailOptions};

/// The shortest time between two.
const LEAST: Duration = Duration::from_millis(100);
/// The same for files that differ by the second.
const LEAST_TIMED: Duration = Duration::from_secs(1);
const STACK: usize = 128 << 10;

/// Thumbnails that are written to files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thumbnails {
    pub(super) path: PathBuf,
    pub(super) every: Duration,
    pub(super) options: ThumbnailOptions,
}

impl Thumbnails {
    fn names(&self, stream: &str) -> Result<Names, String> {
        let names = Names::plain(&self.path, stream, Zone::Utc)?;
        if names.is_numbered() {
            return Err("{number} is for recordings; thumbnails have {time} and {stream}".to_owned());
        }
        Ok(names)
    }

    pub(super) fn problems(&self) -> Vec<Error> {
        let mut found = self.options.problems();
        match self.names("") {
            Ok(names) if names.is_timed() && self.every < LEAST_TIMED => {
                let reason = "must be at least 1 s with {time}, which has seconds".to_owned();
                found.push(Error::Config { name: "every", reason });
            }
            Ok(_) => {}
            Err(reason) => found.push(Error::Config { name: "thumbnails", reason }),
        }
        if self.every < LEAST {
            found.push(Error::Config { name: "every", reason: "must be at least 100 ms".to_owned() });
        }
        found
    }

    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// [`Error::NotBuilt`]; [`Error::OutputUnwritable`] if there is no such directory; no thread left.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(self, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        if cfg!(not(feature = "libav")) {
            return Err(Error::NotBuilt { feature: "libav" });
        }
        let names =
            self.names(&cx.stream_name()).map_err(|reason| Error::Config { name: "thumbnails", reason })?;
        let directory = self.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        if !directory.is_dir() {
            let source = io::Error::from(io::ErrorKind::NotFound).into();
            return Err(Error::OutputUnwritable { path: directory.to_owned(), source });
        }
        let (jpegs, work) = crossbeam_channel::unbounded::<Result<Thumbnail, Error>>();
        let (reports, written) = crossbeam_channel::unbounded();
        let writer = Writer { names, files: cx.files().clone(), output: cx.output(), reports, own: None };
        let span = crate::sys::Span::current();
        spawn(format!("ft-{}", cx.output()), STACK, move || span.run(|| writer.run(&work)))
            .map_err(|source| Error::System { what: "no thread for thumbnails", source: source.into() })?;
        let name = self.path.display().to_string();
        let driver = ThumbnailOutput {
            id: cx.output(),
            stream: cx.stream(),
            studio: cx.studio(),
            cpu: cx.cpu(),
            every: self.every,
            options: self.options,
            jpegs: Some(jpegs),
            written,
            due: None,
            seen: None,
            is_busy: false,
            failed: false,
            bytes: 0,
            path: None,
            first: None,
        };
        Ok(OpenedOutput { name, driver: Box::new(driver) })
    }
}

/// What became of a thumbnail: the file and its bytes.
type Written = Result<(PathBuf, u64), Error>;

/// The driver.
struct ThumbnailOutput {
    id: OutputId,
    stream: StreamId,
    studio: Studio,
    cpu: CpuMeter,
    every: Duration,
    options: ThumbnailOptions,
    /// To the thread that writes; `None` once it is to end.
    jpegs: Option<Sender<Result<Thumbnail, Error>>>,
    written: Receiver<Written>,
    /// When the next one is due; at once if there was none.
    due: Option<Instant>,
    /// The keyframe that was the newest in the turn before.
    seen: Option<u64>,
    /// One is being made.
    is_busy: bool,
    /// The last one failed, and that was told.
    failed: bool,
    bytes: u64,
    path: Option<PathBuf>,
    first: Option<Instant>,
}

impl ThumbnailOutput {
    /// Orders one of the keyframe that came in this turn, if one is due.
    fn order(&mut self, cx: &mut OutputContext<'_>) {
        let newest = cx.ring.keyframe_number();
        let is_new = newest.is_some() && newest != self.seen;
        self.seen = newest;
        if self.is_busy || self.due.is_some_and(|due| cx.now < due) {
            return;
        }
        if newest.is_none() {
            if cx.ring.is_sound_alone() {
                self.fail(Error::NoPicture { stream: self.stream }, cx.notices);
            }
            return;
        }
        // After the first one, each is of a keyframe that just came: an older one would have to be read again.
        if !is_new && self.due.is_some() {
            return;
        }
        let (Some(keyframe), Some(jpegs)) = (cx.ring.kept_keyframe(), self.jpegs.clone()) else { return };
        // In step with the first one, however late this is.
        let next = self.due.map_or(cx.now, |due| due) + self.every;
        self.due = Some(if next > cx.now { next } else { cx.now + self.every });
        let done = Box::new(move |made| {
            let _ = jpegs.send(made);
        });
        let order = Order { keyframe, options: self.options, cpu: self.cpu.clone(), done };
        match self.studio.order(order) {
            Ok(()) => self.is_busy = true,
            Err(error) => self.fail(error, cx.notices),
        }
    }

    fn take_reports(&mut self, notices: &mut Vec<EventKind>) {
        while let Ok(written) = self.written.try_recv() {
            self.is_busy = false;
            match written {
                Ok((path, bytes)) => {
                    self.failed = false;
                    self.bytes += bytes;
                    self.path = Some(path);
                    self.first.get_or_insert_with(Instant::now);
                }
                Err(error) => self.fail(error, notices),
            }
        }
    }

    fn fail(&mut self, error: Error, notices: &mut Vec<EventKind>) {
        if !std::mem::replace(&mut self.failed, true) {
            notices.push(EventKind::ThumbnailFailed { output: self.id, error });
        }
    }
}

impl OutputDriver for ThumbnailOutput {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.take_reports(cx.notices);
        self.order(cx);
        OutputState::Running
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.take_reports(cx.notices);
        self.jpegs = None;
    }

    fn is_finished(&mut self) -> bool {
        // Nobody hears of events any more.
        let mut notices = Vec::new();
        self.take_reports(&mut notices);
        notices.iter().for_each(|notice| log::warn!("stream {}: {notice}", self.stream));
        self.jpegs.is_none() && !self.is_busy
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn first_media(&self) -> Option<Instant> {
        self.first
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
        stats.transport = OutputTransport::File;
        stats.bytes_sent = self.bytes;
        stats.path.clone_from(&self.path);
    }
}

/// What the thread that writes has.
struct Writer {
    names: Names,
    files: Arc<StreamFiles>,
    output: OutputId,
    reports: Sender<Written>,
    /// The file that it wrote last.
    own: Option<FileId>,
}

impl Writer {
    fn run(mut self, work: &Receiver<Result<Thumbnail, Error>>) {
        for made in work {
            let written = made.and_then(|thumbnail| {
                let path = self.names.name(0, SystemTime::now());
                match self.write(&path, &thumbnail.jpeg) {
                    Ok(()) => Ok((path, thumbnail.jpeg.len() as u64)),
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                        Err(Error::DiskFull { path, source: error.into() })
                    }
                    Err(error) => Err(Error::OutputUnwritable { path, source: error.into() }),
                }
            });
            let _ = self.reports.send(written);
        }
    }

    /// Puts a file in the place of the one before.
    fn write(&mut self, path: &Path, jpeg: &[u8]) -> io::Result<()> {
        let there = FileId::at(path);
        // Whose it is costs a look at the files of all streams: not for the one that was put there before.
        if there.is_none() || there != self.own {
            self.files.own(path, there)?;
            refuse_replacing(path)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Of this output alone, and hidden from who lists pictures.
        let beside = path.with_file_name(format!(".{name}.{}-{}.part", std::process::id(), self.output));
        let put = || {
            let mut file = fs::File::create(&beside)?;
            file.write_all(jpeg)?;
            let id = FileId::of(&file.metadata()?);
            fs::rename(&beside, path).map(|()| id)
        };
        self.own = Some(put().inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_by_the_second_are_a_second_apart() {
        let problems = |path: &str, millis: u64| {
            let (path, every) = (PathBuf::from(path), Duration::from_millis(millis));
            Thumbnails { path, every, options: ThumbnailOptions::default() }.problems().len()
        };
        assert_eq!((problems("{time}.jpg", 999), problems("{time}.jpg", 1000)), (1, 0));
        assert_eq!((problems("look.jpg", 99), problems("look.jpg", 100)), (1, 0));
    }
}
