//! What a worker that encodes for the air hands to the stream's thread.
//!
//! In: packets, on the worker's thread. Out: tags whose times never go back, headers only where they change, and what is told to the
//! program, through a bounded queue to the stream's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowcast_av::Packet;
use flowcast_rtmp::flv::tag::{Tag, TagBody, TagKind};
use flowcast_rtmp::time::MediaTime;

use crate::clock::Increasing;
use crate::config::QueueBounds;
use crate::driver::{SourceContext, SourceState};
use crate::event::EventKind;
use crate::lap::{Closed, Finish, Step, TagReceiver, TagSender, Taken, queue};
use crate::stream::Mailbox;
use crate::sys::{CpuLap, CpuMeter};
use crate::tracks::{Tagged, Tagger};

/// Packets between two reports of the worker's CPU time.
const REPORT_EVERY: u32 = 32;
/// Tags that are handed over before the stream's thread is woken for them, by a worker that wakes it when it has done all there is.
const MOST_OWED: u32 = 64;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: TagSender,
    /// Woken when there is something for the stream's thread.
    reader: Reader,
    /// Whose CPU time it is.
    cpu: CpuMeter,
    lap: CpuLap,
    since_report: u32,
    times: Times,
    /// Headers that were sent last, of video and audio, and the metadata.
    told: [Option<TagBody>; 3],
}

/// How the stream's thread is woken for what is handed over. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    mailbox: Mailbox,
    /// Tags it was not woken for yet, if it is not woken for each.
    owed: Option<Arc<AtomicU32>>,
}

impl Reader {
    /// It is woken whenever something is handed over.
    pub(crate) const fn at_once(mailbox: Mailbox) -> Self {
        Self { mailbox, owed: None }
    }

    /// It is woken when the worker [has done](Self::has_done) all there is, or much was handed over.
    pub(crate) fn in_strides(mailbox: Mailbox) -> Self {
        Self { mailbox, owed: Some(Arc::default()) }
    }

    /// So many tags were handed over.
    pub(super) fn has_got(&self, tags: u32) {
        match &self.owed {
            Some(owed) if owed.fetch_add(tags, Ordering::Relaxed) + tags < MOST_OWED => {}
            _ => self.wake(),
        }
    }

    /// The worker is about to wait for more.
    pub(super) fn has_done(&self) {
        if self.is_owed() {
            self.wake();
        }
    }

    /// Whether it was not woken for something that was handed over.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.load(Ordering::Relaxed) > 0)
    }

    fn wake(&self) {
        if let Some(owed) = &self.owed {
            owed.store(0, Ordering::Relaxed);
        }
        self.mailbox.wake();
    }
}

/// The end on the stream's thread.
#[derive(Debug)]
pub(crate) struct Outbox(Option<TagReceiver>);

/// Both ends; `reader` is woken when there is something for the stream's thread.
pub(crate) fn writing(bounds: QueueBounds, reader: Reader, cpu: CpuMeter) -> (Writer, Outbox) {
    let (sender, receiver) = queue(bounds);
    let (times, told) = (Times::default(), [None, None, None]);
    let writer = Writer { sender, reader, cpu, lap: CpuLap::default(), since_report: 0, times, told };
    (writer, Outbox(Some(receiver)))
}

/// Makes tags whose times never go back, of video and of audio.
#[derive(Debug, Default)]
pub(crate) struct Times([Increasing; 2]);

impl Times {
    /// The tags of a packet: a header, if it says one, and the packet itself.
    pub(crate) fn tags(&mut self, tagger: &Tagger, packet: Packet) -> Vec<Tag> {
        let Some((dts, pts)) = tagger.times(&packet) else { return Vec::new() };
        let is_video = tagger.is_video(packet.track);
        let selection = tagger.selection();
        let track = if is_video { &selection.video } else { &selection.audio };
        let Some(base) = track.as_ref().map(|track| track.time_base) else { return Vec::new() };
        let decode = base.millis(dts);
        let at = self.0[usize::from(!is_video)].next(decode);
        let Tagged { header, frame } = tagger.tags(packet, at, base.millis(pts) - decode);
        header.into_iter().chain(frame).collect()
    }
}

impl Writer {
    /// Whether a header was sent.
    pub(crate) fn has_told(&self) -> bool {
        self.told.iter().any(Option::is_some)
    }

    /// Reports something to the program. A missing receiver is noticed with the next tag.
    pub(crate) fn notify(&self, notice: EventKind) {
        if self.sender.send(Step::Notice(notice)).is_ok() {
            self.reader.has_got(1);
        }
    }

    /// The tags of a packet: a header, if it says one, and the packet itself.
    pub(crate) fn tags(&mut self, tagger: &Tagger, packet: Packet) -> Vec<Tag> {
        self.times.tags(tagger, packet)
    }

    /// Sends those headers that say something else than the ones that were sent last, as of `at`.
    ///
    /// # Errors
    ///
    /// The stream is gone.
    pub(crate) fn tell(&mut self, headers: Vec<Tag>, at: MediaTime) -> Result<(), Closed> {
        let headers = self.untold(headers, at);
        self.hand_over(headers.into_iter())
    }

    fn untold(&self, headers: Vec<Tag>, at: MediaTime) -> Vec<Tag> {
        let mut headers: Vec<_> = headers.into_iter().map(|tag| Tag { timestamp: at, ..tag }).collect();
        headers.retain(|tag| self.told[place(tag)].as_ref() != Some(&tag.body));
        headers
    }

    /// Sends tags, and before them those of `headers` that say something else than the ones that were sent last; `false` if the queue is full,
    /// and nothing was sent. Never waits.
    ///
    /// # Errors
    ///
    /// The stream is gone.
    pub(crate) fn offer(&mut self, headers: Vec<Tag>, tags: &[Tag]) -> Result<bool, Closed> {
        let Some(first) = tags.first() else { return Ok(true) };
        let mut sent = self.untold(headers, first.timestamp);
        sent.extend_from_slice(tags);
        if !self.sender.offer(sent.iter().cloned().map(Step::Tag))? {
            return Ok(false);
        }
        for tag in sent.iter().filter(|tag| tag.is_sequence_header() || tag.is_metadata()) {
            self.told[place(tag)] = Some(tag.body.clone());
        }
        self.reader.wake();
        self.report();
        Ok(true)
    }

    /// Reports something to the program, unless far too much waits for the stream. Never waits.
    pub(crate) fn post(&self, notice: EventKind) {
        if self.sender.post(Step::Notice(notice)).is_ok() {
            self.reader.wake();
        }
    }

    /// Sends tags.
    ///
    /// # Errors
    ///
    /// The stream is gone.
    ///
    /// # Blocking
    ///
    /// While the queue is full.
    pub(crate) fn hand_over(&mut self, tags: impl Iterator<Item = Tag>) -> Result<(), Closed> {
        let mut sent = 0;
        for tag in tags {
            if tag.is_sequence_header() || tag.is_metadata() {
                self.told[place(&tag)] = Some(tag.body.clone());
            }
            self.sender.send(Step::Tag(tag))?;
            sent += 1;
        }
        if sent > 0 {
            self.reader.has_got(sent);
        }
        self.report();
        Ok(())
    }

    fn report(&mut self) {
        self.since_report += 1;
        if self.since_report >= REPORT_EVERY {
            self.since_report = 0;
            self.cpu.lap(&mut self.lap);
        }
    }

    /// Nothing follows.
    pub(crate) fn finish(&mut self, finish: Finish) {
        self.sender.finish(finish);
        self.cpu.lap(&mut self.lap);
        self.reader.wake();
    }
}

impl Outbox {
    /// Hands over what has come out.
    pub(crate) fn pull(&self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(receiver) = &self.0 else { return SourceState::Ended };
        let taken = receiver.take(MediaTime::from_millis(i64::MAX), |step| {
            match step {
                Step::Tag(tag) => cx.tags.push(tag),
                Step::Notice(kind) => cx.notices.push(kind),
                Step::Opened(_) | Step::Ending(_) | Step::End => {}
            }
            true
        });
        match taken {
            Taken::Due | Taken::Dry => SourceState::Running,
            Taken::Ended => SourceState::Ended,
            Taken::Failed(error) => SourceState::Failed(error),
        }
    }

    /// Whether there is something to hand over.
    pub(crate) fn is_due(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| receiver.is_read() || !receiver.is_empty())
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, TagReceiver::bytes)
    }

    /// Takes no more: a worker that waits is released.
    pub(crate) fn close(&mut self) {
        self.0 = None;
    }
}

/// Where a header is kept.
pub(crate) fn place(header: &Tag) -> usize {
    match header.kind {
        TagKind::Video => 0,
        TagKind::Audio => 1,
        TagKind::Script => 2,
    }
}
