//! What a program makes, as a source on a stream's thread.
//!
//! In: tags of the worker. Out: the same to the stream. Nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::worker::{FrameOptions, Worker};
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::publish::encoder::{Outbox, Reader, writing};
use crate::stats::{DropReason, EncodingStats};
use crate::sys;
use crate::transcode::Control;

/// Stack of the worker, for what libav's encoders need.
const STACK: usize = 2 << 20;
/// A program that has sent no picture for so long after the start may take a while.
const FIRST: Duration = Duration::from_secs(10);

/// What a program makes: the stream's side of a sink. Clones are the same; with the last one the sink has ended.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    channel: Arc<Channel>,
    _held: Arc<Held>,
}

impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }
}

/// Ends the sink.
#[derive(Debug)]
struct Held(Arc<Channel>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Made {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { _held: Arc::new(Held(channel.clone())), channel }
    }

    /// What the pictures are like.
    pub(crate) fn video(&self) -> super::VideoFormat {
        self.channel.settings.video
    }

    #[cfg(test)]
    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }
}

/// The end on the stream's thread.
#[derive(Debug)]
pub(crate) struct FrameDriver {
    made: Made,
    taker: u64,
    outbox: Outbox,
    control: Control,
    thread: sys::Worker,
    has_begun: Arc<AtomicBool>,
    started: Option<Instant>,
}

impl FrameDriver {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// Another stream takes what the program makes; there is no thread.
    pub(crate) fn start(made: Made, options: FrameOptions) -> Result<Self, Error> {
        let taker = made.channel.attach()?;
        let encoding = &options.encoding;
        let (writer, outbox) =
            writing(encoding.bounds, Reader::at_once(encoding.reader.clone()), encoding.cpu.clone());
        let (control, has_begun) = (encoding.control(), Arc::<AtomicBool>::default());
        let name = format!("fw-{}", encoding.name);
        let worker = Worker {
            channel: made.channel.clone(),
            taker,
            writer,
            options,
            control: control.clone(),
            has_begun: has_begun.clone(),
        };
        let thread = sys::Worker::start("an encoder of frames", name, STACK, move || worker.run()).map_err(
            |source| {
                made.channel.detach(taker);
                Error::System { what: "no thread to encode", source: source.into() }
            },
        )?;
        Ok(Self { made, taker, outbox, control, thread, has_begun, started: None })
    }
}

impl SourceDriver for FrameDriver {
    fn start(&mut self, now: Instant) {
        self.started = Some(now);
        self.made.channel.start();
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.control.take_events(cx.notices);
        self.outbox.pull(cx)
    }

    fn is_due(&self) -> bool {
        self.outbox.is_due()
    }

    fn is_resting(&self) -> bool {
        self.started.is_some_and(|started| started.elapsed() > FIRST)
            && !self.has_begun.load(Ordering::Relaxed)
    }

    fn encoding(&self) -> Option<EncodingStats> {
        let (stats, frames) = (self.control.meter.stats()?, self.made.channel.stats());
        Some(EncodingStats {
            queued: frames.queued,
            queued_bytes: frames.queued_bytes,
            dropped: frames.dropped + frames.skipped + frames.lost,
            drops: stats
                .drops
                .and(DropReason::Full, frames.dropped)
                .and(DropReason::Behind, frames.skipped)
                .and(DropReason::FarBehind, frames.lost),
            ..stats
        })
    }

    fn bytes_held(&self) -> usize {
        let waiting = usize::try_from(self.made.channel.stats().queued_bytes).unwrap_or(0);
        self.outbox.bytes() + waiting + self.control.mixed_bytes()
    }

    fn stop(&mut self) {
        self.control.stop();
        self.made.channel.detach(self.taker);
        self.outbox.close();
    }

    fn is_stopped(&mut self) -> bool {
        self.thread.is_stopped() && self.control.is_stopped()
    }
}

impl Drop for FrameDriver {
    fn drop(&mut self) {
        self.stop();
    }
}
