//! A file as a source: a worker thread reads and tags ahead, the stream thread hands over what is due.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::{Demuxer, Interrupt, OpenOptions};
use flowcast_rtmp::time::MediaTime;

use super::looper::{Laps, Looper, Step};
use super::{SourceContext, SourceDriver, SourceMode, SourceState};
use crate::config::Config;
use crate::error::Error;
use crate::event::EventKind;
use crate::pace::Pacer;
use crate::queue::{Finish, Item, TagReceiver, TagSender, queue};
use crate::sys::CpuMeter;

/// Most media time handed over at once after the process was suspended or starved.
const CATCH_UP: Duration = Duration::from_secs(1);
/// A reader that gives nothing for this long is told of.
const STALL_AFTER: Duration = Duration::from_secs(2);
/// Stack of the worker: libav's demuxers and parsers need a few tens of kilobytes.
const WORKER_STACK: usize = 256 << 10;

/// A file that is open and whose worker has not started.
#[derive(Debug)]
pub(crate) struct OpenFile {
    looper: Looper,
    interrupt: Interrupt,
}

/// A file on the air.
#[derive(Debug)]
pub(crate) struct FileSource {
    receiver: Option<TagReceiver>,
    pacer: Pacer,
    interrupt: Interrupt,
    worker: Option<std::thread::JoinHandle<()>>,
    /// The time of the newest tag that was handed over.
    newest: MediaTime,
    /// Since when the reader has had nothing to give, and whether that was told.
    dry_since: Option<(Instant, bool)>,
}

impl OpenFile {
    /// Opens a file and looks for tracks that can be sent by copy.
    ///
    /// # Blocking
    ///
    /// On the file, up to the open options' timeout.
    pub(crate) fn open(path: &Path, laps: Laps) -> Result<Self, Error> {
        let interrupt = Interrupt::new();
        let demuxer = Demuxer::open(path, &OpenOptions::default(), &interrupt)?;
        Ok(Self { looper: Looper::new(path, demuxer, laps)?, interrupt })
    }

    /// Tracks that are left out, and why.
    pub(crate) fn skipped(&self) -> &[(usize, String)] {
        &self.looper.selection().skipped
    }

    /// Starts the worker.
    pub(crate) fn start(self, name: &str, config: &Config, cpu: CpuMeter) -> Result<FileSource, Error> {
        let (sender, receiver) = queue(config.read_ahead);
        let Self { mut looper, interrupt } = self;
        let worker = std::thread::Builder::new()
            .name(format!("fw-{name}"))
            .stack_size(WORKER_STACK)
            .spawn(move || read_ahead(&mut looper, &sender, &cpu))
            .map_err(|source| Error::System { what: "no thread for the file's reader", source })?;
        let pacer = Pacer::new(Instant::now(), CATCH_UP);
        Ok(FileSource {
            receiver: Some(receiver),
            pacer,
            interrupt,
            worker: Some(worker),
            newest: MediaTime::ZERO,
            dry_since: None,
        })
    }
}

/// The worker: reads until the stream or the file ends.
fn read_ahead(looper: &mut Looper, sender: &TagSender, cpu: &CpuMeter) {
    let mut lap = crate::sys::CpuLap::default();
    let mut since_report = 0u32;
    let finish = loop {
        let item = match looper.next() {
            Ok(Step::Tag(tag)) => Item::Tag(tag),
            Ok(Step::Notice(kind)) => Item::Notice(kind),
            Ok(Step::End) => break Finish::End,
            Err(error) => break Finish::Failed(Arc::new(error)),
        };
        if sender.send(item).is_err() {
            break Finish::End;
        }
        since_report += 1;
        if since_report == 64 {
            since_report = 0;
            sender.note_held(looper.bytes_held());
            cpu.lap(&mut lap);
        }
    };
    sender.finish(finish);
    cpu.lap(&mut lap);
}

impl FileSource {
    /// While the reader has nothing to give, time stands still beyond a second: what comes late is then sent at the speed
    /// of life, not all at once.
    fn wait_for_reader(&mut self, cx: &mut SourceContext<'_>, until: MediaTime, is_dry: bool) {
        if !is_dry {
            self.dry_since = None;
            return;
        }
        let late = Duration::from_millis(u64::try_from(until.millis_since(self.newest)).unwrap_or(0));
        if late > CATCH_UP {
            self.pacer.hold(late - CATCH_UP);
        }
        let since = *self.dry_since.get_or_insert((cx.now, false));
        if !since.1 && cx.now.saturating_duration_since(since.0) >= STALL_AFTER {
            self.dry_since = Some((since.0, true));
            cx.notices.push(EventKind::SourceStalled { after: STALL_AFTER });
        }
    }
}

impl SourceDriver for FileSource {
    fn start(&mut self, now: Instant) {
        self.pacer.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(until) = self.pacer.due(cx.now) else { return SourceState::Running };
        let Some(receiver) = &self.receiver else { return SourceState::Ended };
        let newest = &mut self.newest;
        let finish = receiver.take(until, |item| match item {
            Item::Tag(tag) => {
                *newest = tag.timestamp;
                cx.tags.push(tag);
            }
            Item::Notice(kind) => cx.notices.push(kind),
        });
        let is_dry = finish.is_none() && receiver.is_dry();
        self.wait_for_reader(cx, until, is_dry);
        match finish {
            None => SourceState::Running,
            Some(Finish::End) => SourceState::Ended,
            Some(Finish::Failed(error)) => SourceState::Failed(error),
        }
    }

    fn mode(&self) -> SourceMode {
        SourceMode::Direct
    }

    fn bytes_held(&self) -> usize {
        self.receiver.as_ref().map_or(0, TagReceiver::bytes)
    }

    fn stop(&mut self) {
        self.interrupt.cancel();
        self.receiver = None;
    }

    fn is_stopped(&mut self) -> bool {
        if self.worker.as_ref().is_some_and(std::thread::JoinHandle::is_finished)
            && let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            log::error!("a file reader panicked");
        }
        self.worker.is_none()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::{Tag, TagKind};

    use super::*;
    use crate::pool::Scratch;

    fn pull(source: &mut FileSource, now: Instant) -> (usize, Vec<EventKind>, SourceState) {
        let (mut tags, mut notices) = (Vec::new(), Vec::new());
        let state = source.pull(&mut SourceContext {
            now,
            readable: false,
            writable: false,
            tick: true,
            scratch: &mut Scratch::default(),
            tags: &mut tags,
            refills: &mut Vec::new(),
            notices: &mut notices,
        });
        (tags.len(), notices, state)
    }

    #[test]
    fn what_a_stalled_reader_gives_late_is_not_sent_all_at_once() {
        let (sender, receiver) = queue(Config::default().read_ahead);
        let start = Instant::now();
        let mut source = FileSource {
            receiver: Some(receiver),
            pacer: Pacer::new(start, CATCH_UP),
            interrupt: Interrupt::new(),
            worker: None,
            newest: MediaTime::ZERO,
            dry_since: None,
        };
        let give = |from: i64, to: i64| {
            for ms in (from..to).step_by(40) {
                let tag = Tag::from_wire(
                    TagKind::Audio,
                    MediaTime::from_millis(ms),
                    Bytes::from_static(&[0xAF, 1]),
                );
                sender.send(Item::Tag(tag)).expect("there is room");
            }
        };
        source.start(start);
        give(0, 2000);
        let mut handed = 0;
        let mut stalls = 0;
        let mut most = 0;
        for tick in 1..=200u32 {
            // Two seconds of media, fourteen seconds of nothing, and then four seconds of media that were read at once.
            if tick == 160 {
                give(2000, 6000);
            }
            let (count, notices, state) = pull(&mut source, start + Duration::from_millis(100) * tick);
            assert!(matches!(state, SourceState::Running));
            stalls += notices.iter().filter(|kind| matches!(kind, EventKind::SourceStalled { .. })).count();
            handed += count;
            most = most.max(count);
        }
        assert_eq!(stalls, 1, "it is told once");
        // A second late and a tick: 27 or 28 tags of 40 ms, not a hundred.
        assert!((25..=29).contains(&most), "{most} tags at once");
        assert_eq!(handed, 150, "nothing is lost");
    }
}
