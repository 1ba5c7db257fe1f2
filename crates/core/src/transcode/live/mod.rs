//! Live media that is encoded as it comes.
//!
//! In: the tags of a publication, on the thread of a stream. Out: tags of the same times, from a worker that decodes and
//! encodes. Between them are two bounded queues; a worker that does not keep up misses pictures ([`inbox`]).

mod inbox;
mod tags;
mod tracks;

use std::path::Path;
use std::sync::Arc;

use flowcast_av::Packet;
use flowcast_rtmp::flv::tag::{Tag, TagBody, TagKind};
use flowcast_rtmp::time::MediaTime;

use self::inbox::Inbox;
use self::tags::Feed;
use super::encoders::Encoders;
use super::pipeline::{Control, Transcoder};
use super::settle::Settling;
use crate::config::QueueBounds;
use crate::error::Error;
use crate::queue::{Closed, Finish, Item, TagReceiver, TagSender, Taken, queue};
use crate::source::interleave::Interleaver;
use crate::source::measure::Increasing;
use crate::source::packets::PacketSource;
use crate::source::{SourceContext, SourceState};
use crate::stats::EncodingStats;
use crate::stream::mailbox::Mailbox;
use crate::sys::{CpuLap, CpuMeter, Leave, yield_to_others};
use crate::tagger::{Selection, Tagger};

/// Stack of the worker, for what libav's encoders need.
const STACK: usize = 2 << 20;
/// Packets between two reports of the worker's CPU time.
const REPORT_EVERY: u32 = 32;

/// What is needed to encode live media.
#[derive(Debug)]
pub(crate) struct LiveOptions {
    /// What is published, for messages and the thread's name.
    pub(crate) name: String,
    /// Bounds of what waits for the stream's thread.
    pub(crate) bounds: QueueBounds,
    /// Woken when there is something for the stream's thread.
    pub(crate) reader: Mailbox,
    /// Whose CPU time it is.
    pub(crate) cpu: CpuMeter,
    /// What is encoded, and to what.
    pub(crate) settling: Settling,
    pub(crate) encoders: Arc<dyn Encoders>,
}

/// The end on the stream's thread.
#[derive(Debug)]
pub(crate) struct LiveEncoder {
    inbox: Arc<Inbox>,
    receiver: Option<TagReceiver>,
    control: Control,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl LiveEncoder {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(crate) fn start(options: LiveOptions) -> Result<Self, Error> {
        let (inbox, control) = (Arc::new(Inbox::default()), Control::default());
        let (sender, receiver) = queue(options.bounds);
        let feed = Feed::new(inbox.clone());
        let worker = Worker {
            sender,
            control: control.clone(),
            increasing: [Increasing::default(), Increasing::default()],
            told: [None, None],
            lap: CpuLap::default(),
            since_report: 0,
            options,
        };
        let worker = std::thread::Builder::new()
            .name(format!("fw-{}", worker.options.name))
            .stack_size(STACK)
            .spawn(move || worker.run(feed))
            .map_err(|source| Error::System { what: "no thread to encode", source })?;
        Ok(Self { inbox, receiver: Some(receiver), control, worker: Some(worker) })
    }

    /// Gives it what was published.
    pub(crate) fn push(&self, tags: impl Iterator<Item = Tag>) {
        self.inbox.send(tags);
    }

    /// The publication is over; another one may follow.
    pub(crate) fn end(&self) {
        self.inbox.end();
    }

    /// Nothing follows.
    pub(crate) fn finish(&self) {
        self.inbox.finish(false);
    }

    /// Hands over what has come out.
    pub(crate) fn pull(&self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(receiver) = &self.receiver else { return SourceState::Ended };
        let taken = receiver.take(MediaTime::from_millis(i64::MAX), |item| {
            match item {
                Item::Tag(tag) => cx.tags.push(tag),
                Item::Notice(kind) => cx.notices.push(kind),
                Item::Opened(_) | Item::Ending(_) | Item::LapEnd => {}
            }
            true
        });
        match taken {
            Taken::Due | Taken::Dry => SourceState::Running,
            Taken::Finished(Finish::End) => SourceState::Ended,
            Taken::Finished(Finish::Failed(error)) => SourceState::Failed(error),
        }
    }

    /// Whether there is something to hand over.
    pub(crate) fn is_due(&self) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.is_read() || !receiver.is_empty())
    }

    /// What it encodes.
    pub(crate) fn encoding(&self) -> Option<EncodingStats> {
        let stats = self.control.meter.stats()?;
        Some(EncodingStats { queued: self.inbox.waiting() as u64, dropped: self.drops(), ..stats })
    }

    /// Tags that were left out because the worker did not keep up.
    pub(crate) fn drops(&self) -> u64 {
        self.inbox.drops()
    }

    /// Whether all that was published has come out.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_idle() && !self.is_due()
    }

    /// Bytes that wait on both sides.
    pub(crate) fn bytes_held(&self) -> usize {
        self.inbox.bytes() + self.receiver.as_ref().map_or(0, TagReceiver::bytes)
    }

    /// Ends the worker.
    pub(crate) fn stop(&mut self) {
        self.control.interrupt.cancel();
        self.inbox.finish(true);
        self.receiver = None;
    }

    /// Whether the worker has ended.
    pub(crate) fn is_stopped(&mut self) -> bool {
        if self.worker.as_ref().is_some_and(std::thread::JoinHandle::is_finished)
            && let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            log::error!("a live encoder panicked");
        }
        self.worker.is_none()
    }
}

impl Drop for LiveEncoder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The end that encodes.
struct Worker {
    options: LiveOptions,
    sender: TagSender,
    control: Control,
    /// Times of video and audio.
    increasing: [Increasing; 2],
    /// Headers that were sent last, of video and audio.
    told: [Option<TagBody>; 2],
    lap: CpuLap,
    since_report: u32,
}

/// Why the worker stops.
enum Stop {
    Gone,
    Failed(Error),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Gone
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Worker {
    fn run(mut self, mut feed: Feed) {
        yield_to_others(Leave::Some);
        let finish = loop {
            let Some(source) = feed.look() else { break Finish::End };
            let plan = self.options.settling.plan(source.media());
            let name = Path::new(&self.options.name);
            let opened = Transcoder::new(name, source, &plan, &self.options.encoders, &self.control);
            match opened.map_err(Stop::from).and_then(|opened| self.encode(opened)) {
                Ok(left) => feed = left,
                Err(Stop::Gone) => break Finish::End,
                Err(Stop::Failed(error)) => break Finish::Failed(Arc::new(error)),
            }
        };
        self.sender.finish(finish);
        self.options.cpu.lap(&mut self.lap);
        self.options.reader.wake();
    }

    /// Encodes until the publication ends, pauses or becomes something else.
    fn encode(&mut self, mut source: Transcoder<tags::TagPackets>) -> Result<Feed, Stop> {
        let selection = Selection::of(source.media(), self.options.settling.carriage());
        let mut order = Interleaver::live(selection.video.is_some(), selection.audio.is_some());
        let tagger = Tagger::new(selection);
        let mut headers = tagger.headers();
        let mut notices = Vec::new();
        loop {
            let read = source.read();
            source.tell(&mut notices);
            for notice in notices.drain(..) {
                self.sender.send(Item::Notice(notice))?;
            }
            let Some(packet) = read? else { break };
            let tags = self.tags(&tagger, packet);
            if let Some(first) = tags.first().filter(|_| !headers.is_empty()) {
                let at = first.timestamp;
                let headers =
                    std::mem::take(&mut headers).into_iter().map(|tag| Tag { timestamp: at, ..tag });
                self.tell(headers.collect())?;
            }
            tags.into_iter().for_each(|tag| order.push(tag, 0));
            self.hand_over(std::iter::from_fn(|| order.pull()))?;
        }
        self.hand_over(std::iter::from_fn(|| order.flush()))?;
        Ok(source.into_source().into_feed())
    }

    /// The tags of a packet: a header, if it says one, and the packet itself.
    fn tags(&mut self, tagger: &Tagger, packet: Packet) -> Vec<Tag> {
        let Some(dts) = packet.dts.or(packet.pts) else { return Vec::new() };
        let is_video = tagger.is_video(packet.track);
        let dts = packet.pts.filter(|_| is_video && !tagger.has_composition()).unwrap_or(dts);
        let selection = tagger.selection();
        let track = if is_video { &selection.video } else { &selection.audio };
        let Some(base) = track.as_ref().map(|track| track.time_base) else { return Vec::new() };
        let decode = base.millis(dts);
        let at = self.increasing[usize::from(!is_video)].next(decode);
        let mut tags = Vec::new();
        if let Some(config) = packet.config {
            tags.extend(tagger.sequence_header(packet.track, config, at));
        }
        let composition = base.millis(packet.pts.unwrap_or(dts)) - decode;
        let tag = if is_video {
            tagger.video(at, composition, packet.keyframe, packet.data)
        } else {
            tagger.audio(at, packet.data)
        };
        tags.extend(tag.ok());
        tags
    }

    /// Sends headers, unless those that were sent last say the same.
    fn tell(&mut self, headers: Vec<Tag>) -> Result<(), Closed> {
        let is_new = |tag: &Tag| match tag.kind {
            TagKind::Video => self.told[0].as_ref() != Some(&tag.body),
            TagKind::Audio => self.told[1].as_ref() != Some(&tag.body),
            TagKind::Script => false,
        };
        if !headers.iter().any(is_new) {
            return Ok(());
        }
        self.hand_over(headers.into_iter())
    }

    fn hand_over(&mut self, tags: impl Iterator<Item = Tag>) -> Result<(), Closed> {
        let mut any = false;
        for tag in tags {
            if tag.is_sequence_header() {
                self.told[usize::from(tag.is_audio())] = Some(tag.body.clone());
            }
            self.sender.send(Item::Tag(tag))?;
            any = true;
        }
        if any {
            self.options.reader.wake();
        }
        self.since_report += 1;
        if self.since_report >= REPORT_EVERY {
            self.since_report = 0;
            self.options.cpu.lap(&mut self.lap);
        }
        Ok(())
    }
}
