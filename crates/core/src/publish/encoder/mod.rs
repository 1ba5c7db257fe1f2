//! Live media that is encoded as it comes.
//!
//! In: the tags of a publication, on the thread of a stream. Out: tags of the same times, from a worker that decodes and
//! encodes. Between them are two bounded queues; a worker that does not keep up misses pictures ([`inbox`]).

mod inbox;
mod tags;
#[cfg(test)]
pub(super) mod tests;
mod tracks;
mod writing;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use flowcast_av::{ColorInfo, Error as Media};
use flowcast_rtmp::flv::tag::Tag;

pub(crate) use self::inbox::Inbox;
pub(crate) use self::tags::{Feed, TagPackets};
pub(crate) use self::writing::{Outbox, Reader, Times, Writer, place, writing};
use crate::clock::interleave::Interleaver;
use crate::config::QueueBounds;
use crate::content::Probe;
use crate::driver::{SourceContext, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{Finish, Stop};
use crate::mix::Mixing;
use crate::stats::EncodingStats;
use crate::stream::Mailbox;
use crate::sys::{self, CodecHost, CpuMeter, Leave, yield_to_others};
use crate::tracks::{Selection, Tagger};
use crate::transcode::{
    AudioPlan, Control, Encoders, FrameRate, PacketSource, Plan, Settling, Transcoder, VideoPlan, settings,
};

/// Stack of the worker, for what libav's encoders need.
const STACK: usize = 2 << 20;

/// What is needed to encode what comes live: what is published, or made by a program.
#[derive(Debug)]
pub(crate) struct LiveOptions {
    /// What it is, for messages and the thread's name.
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
    /// What its sound is mixed with, and what the sum is encoded to.
    pub(crate) mixed: Option<(Mixing, AudioPlan)>,
    /// What is told what it sees and hears.
    pub(crate) probe: Option<Probe>,
}

impl LiveOptions {
    /// How the encoder is reached.
    pub(crate) fn control(&self) -> Control {
        let mixing = self.mixed.as_ref().map(|(mixing, _)| mixing.clone());
        let (probe, dial) = (self.probe.clone(), self.settling.dial().clone());
        let control = Control { mixing, probe, dial, ..Control::default() };
        control.meter.counts_for(&self.cpu);
        control
    }
}

/// The end on the stream's thread.
#[derive(Debug)]
pub(crate) struct LiveEncoder {
    inbox: Arc<Inbox>,
    outbox: Outbox,
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
        let mut inbox = Inbox::default();
        let mut reader = Reader::at_once(options.reader.clone());
        if options.settling.encoder_of_pictures().is_none() {
            inbox = inbox.of_copies();
            // What is live would come in time with neither its own pace nor the source's.
            if options.mixed.as_ref().is_some_and(|(mixing, _)| mixing.is_of_files()) {
                reader = Reader::in_strides(options.reader.clone());
                inbox = inbox.gathering(reader.clone());
            }
        }
        let (inbox, control) = (Arc::new(inbox), options.control());
        let (writer, outbox) = writing(options.bounds, reader, options.cpu.clone());
        inbox.opening();
        let feed = Feed::new(&options.name, inbox.clone());
        let worker = Worker {
            inbox: inbox.clone(),
            writer,
            control: control.clone(),
            fault: None,
            is_hopeless: false,
            options,
        };
        let name = format!("fw-{}", worker.options.name);
        let thread = sys::Worker::start("a live encoder", name, STACK, move || worker.run(feed))
            .map_err(|source| Error::System { what: "no thread to encode", source: source.into() })?;
        Ok(Self { inbox, outbox, control, thread })
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
        self.control.take_events(cx.notices);
        self.outbox.pull(cx)
    }

    /// Whether there is something to hand over.
    pub(crate) fn is_due(&self) -> bool {
        self.outbox.is_due()
    }

    /// What it encodes.
    pub(crate) fn encoding(&self) -> Option<EncodingStats> {
        let stats = self.control.meter.stats()?;
        Some(EncodingStats {
            queued: self.inbox.waiting() as u64,
            queued_bytes: self.inbox.bytes() as u64,
            dropped: self.drops(),
            drops: self.control.meter.drops(self.inbox.drops()),
            wait: self.inbox.waits(),
            ..stats
        })
    }

    /// Tags that were left out because the worker did not keep up.
    pub(crate) fn drops(&self) -> u64 {
        self.inbox.drops().iter().map(|(_, count)| count).sum()
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
        self.inbox.bytes() + self.outbox.bytes() + self.control.mixed_bytes()
    }

    /// Ends the worker.
    pub(crate) fn stop(&mut self) {
        self.control.stop();
        self.inbox.finish(true);
        self.outbox.close();
    }

    /// Whether the worker has ended.
    pub(crate) fn is_stopped(&mut self) -> bool {
        self.thread.is_stopped() && self.control.is_stopped()
    }
}

impl Drop for LiveEncoder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether this says of an encoder that it will not open later, either.
pub(crate) fn is_final(error: &Error) -> bool {
    let Error::EncoderFailed { source, .. } = error else { return false };
    matches!(
        &**source,
        Error::Media(
            Media::Unavailable { .. } | Media::InvalidArgument { .. } | Media::VersionMismatch { .. }
        )
    )
}

/// The end that encodes.
struct Worker {
    options: LiveOptions,
    inbox: Arc<Inbox>,
    writer: Writer,
    control: Control,
    /// Why nothing was encoded so far.
    fault: Option<Error>,
    /// Nothing that may be published can be encoded.
    is_hopeless: bool,
}

impl Worker {
    fn run(mut self, mut feed: Feed) {
        let _host = CodecHost::enter(&self.options.cpu);
        yield_to_others(Leave::Some);
        // Devices are looked for before the first publication: that takes seconds, once.
        if let Some((codec, plan)) = self.options.settling.encoder_of_pictures() {
            self.options.encoders.candidates(codec, &plan);
        }
        if let Some((mixing, _)) = &self.options.mixed {
            self.inbox.opening();
            mixing.begin();
        }
        let finish = loop {
            self.inbox.opening();
            let Some(mut source) = feed.look(|notice| self.writer.notify(notice)) else {
                let fault = self.fault.take().filter(|_| !self.has_encoded());
                break fault.map_or(Finish::Ended, Finish::Failed);
            };
            match self.encode(&mut source) {
                Ok(()) => {}
                Err(Stop::Gone) => break Finish::Ended,
                Err(Stop::Failed(error)) if self.is_hopeless => break Finish::Failed(error),
                Err(Stop::Failed(error)) => {
                    self.note(error, &mut source);
                    source.pass_over();
                }
            }
            feed = source.into_feed();
        };
        self.writer.finish(finish);
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
            self.writer.notify(EventKind::SourceFault { error });
        }
    }

    fn has_encoded(&self) -> bool {
        self.writer.has_told()
    }

    /// Encodes until the publication ends, pauses or becomes something else.
    fn encode(&mut self, source: &mut TagPackets) -> Result<(), Stop> {
        let mut plan = self.options.settling.plan(source.media());
        if let Some((_, mixed)) = &self.options.mixed {
            plan.audio = Some(mixed.clone());
        }
        let name = Path::new(&self.options.name);
        let opened = Transcoder::new(name, &mut *source, &plan, &self.options.encoders, &self.control);
        let opened = opened.inspect_err(|error| self.is_hopeless = self.is_hopeless(&plan, error));
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
            notices.drain(..).for_each(|notice| self.writer.notify(notice));
            let packet = match read {
                Ok(Some(packet)) => packet,
                Ok(None) => break Ok(()),
                Err(error) => break Err(Stop::from(error)),
            };
            let tags = self.writer.tags(&tagger, packet);
            if let Some(first) = tags.first().filter(|_| !headers.is_empty()) {
                self.writer.tell(std::mem::take(&mut headers), first.timestamp)?;
            }
            tags.into_iter().for_each(|tag| order.push(tag, 0));
            self.writer.hand_over(std::iter::from_fn(|| order.pull()))?;
        };
        self.writer.hand_over(std::iter::from_fn(|| order.flush()))?;
        result
    }

    /// Whether nothing that is published can ever be encoded, judging by what came of the first: the settings are wrong, or there
    /// is no encoder.
    fn is_hopeless(&self, plan: &Plan, error: &Error) -> bool {
        let Error::EncoderFailed { encoder, .. } = error else {
            return matches!(error, Error::Media(Media::VersionMismatch { .. }));
        };
        if !is_final(error) || self.has_encoded() {
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
}
