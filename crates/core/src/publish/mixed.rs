//! A source whose sound is mixed with others: pictures pass, sound is decoded, mixed and encoded.
//!
//! In: the tags of any source. Out: the same pictures, and the sound of the mix, on the source's times. On the stream's thread; a worker
//! does the work ([`encoder`](super::encoder)).

use std::any::Any;
use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::encoder::LiveEncoder;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::stats::{EncodingStats, FallbackStats, Origin, Playing, SourceMode};

/// The driver behind which another one is mixed.
pub(crate) struct Mixed {
    source: Box<dyn SourceDriver>,
    encoder: LiveEncoder,
    /// The source is over; how it ended.
    over: Option<Option<Error>>,
}

impl Mixed {
    pub(crate) const fn new(source: Box<dyn SourceDriver>, encoder: LiveEncoder) -> Self {
        Self { source, encoder, over: None }
    }

    /// Takes what the source has.
    fn take(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        if self.over.is_some() {
            return SourceState::Running;
        }
        let (from, refills) = (cx.tags.len(), cx.refills.len());
        let state = self.source.pull(cx);
        // What becomes of the tags cannot be made again.
        cx.refills.truncate(refills);
        if cx.tags.len() > from {
            self.encoder.push(cx.now, cx.tags.drain(from..));
        }
        match state {
            SourceState::Ended => self.over = Some(None),
            SourceState::Failed(error) => self.over = Some(Some(error)),
            state => return state,
        }
        self.encoder.finish();
        SourceState::Running
    }
}

impl SourceDriver for Mixed {
    fn attach(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source.attach(registry, token)
    }

    fn start(&mut self, now: Instant) {
        self.source.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let state = self.take(cx);
        match self.encoder.pull(cx) {
            SourceState::Running => state,
            // What came last is out.
            SourceState::Ended => match self.over.take().flatten() {
                Some(error) => SourceState::Failed(error),
                None => SourceState::Ended,
            },
            other => other,
        }
    }

    fn is_due(&self) -> bool {
        self.source.is_due() || self.encoder.is_due()
    }

    fn is_resting(&self) -> bool {
        self.source.is_resting() && self.encoder.is_idle()
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &Registry, token: Token) {
        self.source.deliver(message, registry, token);
    }

    fn seek(&mut self, to: Duration) {
        self.source.seek(to);
    }

    fn mode(&self) -> SourceMode {
        self.source.mode()
    }

    fn encoding(&self) -> Option<EncodingStats> {
        self.source.encoding().or_else(|| self.encoder.encoding())
    }

    fn playing(&self) -> Option<Playing> {
        self.source.playing()
    }

    fn playing_sound(&self) -> Option<Playing> {
        self.source.playing_sound()
    }

    fn origin(&self) -> Option<Origin> {
        self.source.origin()
    }

    fn fallback(&self) -> Option<FallbackStats> {
        self.source.fallback()
    }

    fn end_fallback(&mut self, now: Instant) -> Option<Duration> {
        self.source.end_fallback(now)
    }

    fn bytes_held(&self) -> usize {
        self.source.bytes_held() + self.encoder.bytes_held()
    }

    fn stop(&mut self) {
        self.source.stop();
        self.encoder.stop();
    }

    fn is_stopped(&mut self) -> bool {
        let is_stopped = self.source.is_stopped();
        self.encoder.is_stopped() && is_stopped
    }
}
