//! Live media that is encoded as it comes.
//!
//! In: the tags of a publication, on the thread of a stream. Out: tags of the same times, from a worker that decodes and
//! encodes. Between them are two bounded queues; a worker that does not keep up misses pictures ([`inbox`]).

mod inbox;
mod tags;
#[cfg(test)]
mod tests;
mod tracks;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use flowcast_av::{ColorInfo, Error as Media, Packet};
use flowcast_rtmp::flv::tag::{Tag, TagBody, TagKind};
use flowcast_rtmp::time::MediaTime;

use self::inbox::Inbox;
use self::tags::{Feed, TagPackets};
use crate::clock::Increasing;
use crate::clock::interleave::Interleaver;
use crate::config::QueueBounds;
use crate::driver::{SourceContext, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{Closed, Finish, Step, TagReceiver, TagSender, Taken, queue};
use crate::stats::EncodingStats;
use crate::stream::Mailbox;
use crate::sys::{self, CodecHost, CpuLap, CpuMeter, Leave, yield_to_others};
use crate::tracks::{Selection, Tagged, Tagger};
use crate::transcode::{
    Control, Encoders, FrameRate, PacketSource, Plan, Settling, Transcoder, VideoPlan, settings,
};

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
    thread: sys::Worker,
}

impl LiveEncoder {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// There is no thread.
    pub(crate) fn start(options: LiveOptions) -> Result<Self, Error> {
        let (inbox, control) = (Arc::new(Inbox::default()), Control::default());
        let (sender, receiver) = queue(options.bounds);
        inbox.opening();
        control.meter.counts_for(&options.cpu);
        let feed = Feed::new(&options.name, inbox.clone());
        let worker = Worker {
            inbox: inbox.clone(),
            sender,
            control: control.clone(),
            increasing: [Increasing::default(), Increasing::default()],
            told: [None, None, None],
            fault: None,
            lap: CpuLap::default(),
            since_report: 0,
            options,
        };
        let name = format!("fw-{}", worker.options.name);
        let thread = sys::Worker::start("a live encoder", name, STACK, move || worker.run(feed))
            .map_err(|source| Error::System { what: "no thread to encode", source: source.into() })?;
        Ok(Self { inbox, receiver: Some(receiver), control, thread })
    }

    /// Gives it what was published and has come `now`.
    pub(crate) fn push(&self, now: Instant, tags: impl Iterator<Item = Tag>) {
        let left_out = self.inbox.send(now, tags);
        if left_out > 0 {
            self.control.meter.left_out(left_out);
        }
    }

    /// The publication is over; another one may follow.
    pub(crate) fn end(&self, now: Instant) {
        self.inbox.end(now);
    }

    /// Nothing follows.
    pub(crate) fn finish(&self) {
        self.inbox.finish(false);
    }

    /// Hands over what has come out.
    pub(crate) fn pull(&self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(receiver) = &self.receiver else { return SourceState::Ended };
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
        self.receiver.as_ref().is_some_and(|receiver| receiver.is_read() || !receiver.is_empty())
    }

    /// What it encodes.
    pub(crate) fn encoding(&self) -> Option<EncodingStats> {
        let stats = self.control.meter.stats()?;
        Some(EncodingStats {
            queued: self.inbox.waiting() as u64,
            queued_bytes: self.inbox.bytes() as u64,
            dropped: self.drops(),
            ..stats
        })
    }

    /// Tags that were left out because the worker did not keep up.
    pub(crate) fn drops(&self) -> u64 {
        self.inbox.drops()
    }

    /// Whether all that was published has come out.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_idle() && !self.is_due()
    }

    /// Whether nothing comes of what is published now: it cannot be decoded or encoded.
    pub(crate) fn has_given_up(&self) -> bool {
        self.inbox.has_given_up() && !self.is_due()
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
        self.thread.is_stopped()
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
    inbox: Arc<Inbox>,
    sender: TagSender,
    control: Control,
    /// Times of video and audio.
    increasing: [Increasing; 2],
    /// Headers that were sent last, of video and audio, and the metadata.
    told: [Option<TagBody>; 3],
    /// Why nothing was encoded so far.
    fault: Option<Error>,
    lap: CpuLap,
    since_report: u32,
}

/// Why the worker stops.
enum Stop {
    Gone,
    /// What is published cannot be encoded, for this reason.
    Failed(Error),
    /// Nothing can.
    Hopeless(Error),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Gone
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Media(Media::Cancelled { .. }) => Self::Gone,
            error => Self::Failed(error),
        }
    }
}

impl Worker {
    fn run(mut self, mut feed: Feed) {
        let _host = CodecHost::enter(&self.options.cpu);
        yield_to_others(Leave::Some);
        // Devices are looked for before the first publication: that takes seconds, once.
        if let Some((codec, plan)) = self.options.settling.encoder_of_pictures() {
            self.options.encoders.candidates(codec, &plan);
        }
        let finish = loop {
            self.inbox.opening();
            let Some(mut source) = feed.look(|notice| self.notify(notice)) else {
                break self.fault.take().map_or(Finish::Ended, Finish::Failed);
            };
            match self.encode(&mut source) {
                Ok(()) => {}
                Err(Stop::Gone) => break Finish::Ended,
                Err(Stop::Hopeless(error)) => break Finish::Failed(error),
                Err(Stop::Failed(error)) => {
                    self.note(error, &mut source);
                    source.pass_over();
                }
            }
            feed = source.into_feed();
        };
        self.sender.finish(finish);
        self.options.cpu.lap(&mut self.lap);
        self.options.reader.wake();
    }

    /// Reports something to the program. A missing receiver is noticed with the next tag.
    fn notify(&self, notice: EventKind) {
        if self.sender.send(Step::Notice(notice)).is_ok() {
            self.options.reader.wake();
        }
    }

    /// A publication, or a part of it, could not be encoded.
    fn note(&mut self, error: Error, source: &mut TagPackets) {
        let (is_news, error) = (source.is_news(&error), error);
        if !self.has_encoded() {
            // What nothing was encoded to is no reason to encode others to it.
            self.options.settling.forget();
            self.fault = Some(error.clone());
        }
        if is_news {
            self.notify(EventKind::SourceFault { error });
        }
    }

    fn has_encoded(&self) -> bool {
        self.told.iter().any(Option::is_some)
    }

    /// Encodes until the publication ends, pauses or becomes something else.
    fn encode(&mut self, source: &mut TagPackets) -> Result<(), Stop> {
        let plan = self.options.settling.plan(source.media());
        let name = Path::new(&self.options.name);
        let opened = Transcoder::new(name, &mut *source, &plan, &self.options.encoders, &self.control);
        let opened = opened.map_err(|error| match error {
            error if self.is_hopeless(&plan, &error) => Stop::Hopeless(error),
            error => error.into(),
        });
        let mut encoder = opened?;
        self.inbox.opened();
        let selection = Selection::of(encoder.media(), self.options.settling.carriage());
        let mut order = Interleaver::live(selection.video.is_some(), selection.audio.is_some());
        let tagger = Tagger::new(selection);
        let mut headers = tagger.headers();
        let mut notices = Vec::new();
        let result = loop {
            let read = encoder.read();
            encoder.tell(&mut notices);
            let packet = match read {
                Ok(Some(packet)) => packet,
                Ok(None) => break Ok(()),
                Err(error) => break Err(Stop::from(error)),
            };
            let tags = self.tags(&tagger, packet);
            if let Some(first) = tags.first().filter(|_| !headers.is_empty()) {
                let at = first.timestamp;
                let headers =
                    std::mem::take(&mut headers).into_iter().map(|tag| Tag { timestamp: at, ..tag });
                self.tell(headers.collect())?;
            }
            tags.into_iter().for_each(|tag| order.push(tag, 0));
            self.hand_over(std::iter::from_fn(|| order.pull()))?;
        };
        self.hand_over(std::iter::from_fn(|| order.flush()))?;
        result
    }

    /// Whether nothing that is published can ever be encoded, judging by what came of the first: the settings are wrong, or there
    /// is no encoder.
    fn is_hopeless(&self, plan: &Plan, error: &Error) -> bool {
        let Error::EncoderFailed { encoder, source } = error else {
            return matches!(error, Error::Media(Media::VersionMismatch { .. }));
        };
        let is_final = matches!(
            &**source,
            Error::Media(
                Media::Unavailable { .. } | Media::InvalidArgument { .. } | Media::VersionMismatch { .. }
            )
        );
        if !is_final || self.has_encoded() {
            return false;
        }
        if plan.audio.as_ref().is_some_and(|audio| audio.codec.as_str() == encoder) {
            // What sound is encoded to does not depend on what is published.
            return true;
        }
        let Some(video) = &plan.video else { return false };
        let encoders = &self.options.encoders;
        if encoders.may_recover(video.codec, &video.encoder) {
            return false;
        }
        // It may be the publication's own size and rate that are not taken.
        let usual = VideoPlan { width: 640, height: 360, frame_rate: FrameRate::whole(30), ..video.clone() };
        let opens = |name: &String| encoders.open(0, &settings(&usual, name, &ColorInfo::default())).is_ok();
        !encoders.candidates(video.codec, &video.encoder).iter().any(opens)
    }

    /// The tags of a packet: a header, if it says one, and the packet itself.
    fn tags(&mut self, tagger: &Tagger, packet: Packet) -> Vec<Tag> {
        let Some((dts, pts)) = tagger.times(&packet) else { return Vec::new() };
        let is_video = tagger.is_video(packet.track);
        let selection = tagger.selection();
        let track = if is_video { &selection.video } else { &selection.audio };
        let Some(base) = track.as_ref().map(|track| track.time_base) else { return Vec::new() };
        let decode = base.millis(dts);
        let at = self.increasing[usize::from(!is_video)].next(decode);
        let Tagged { header, frame } = tagger.tags(packet, at, base.millis(pts) - decode);
        header.into_iter().chain(frame).collect()
    }

    /// Sends those headers that say something else than the ones that were sent last.
    fn tell(&mut self, mut headers: Vec<Tag>) -> Result<(), Closed> {
        headers.retain(|tag| self.told[place(tag)].as_ref() != Some(&tag.body));
        self.hand_over(headers.into_iter())
    }

    fn hand_over(&mut self, tags: impl Iterator<Item = Tag>) -> Result<(), Closed> {
        let mut any = false;
        for tag in tags {
            if tag.is_sequence_header() || tag.is_metadata() {
                self.told[place(&tag)] = Some(tag.body.clone());
                self.fault = None;
            }
            self.sender.send(Step::Tag(tag))?;
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

/// Where a header is kept.
fn place(header: &Tag) -> usize {
    match header.kind {
        TagKind::Video => 0,
        TagKind::Audio => 1,
        TagKind::Script => 2,
    }
}
