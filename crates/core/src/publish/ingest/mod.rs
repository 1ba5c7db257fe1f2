//! The source of a published stream: the publishers of its name, one after the other.
//!
//! In: tags of a publisher, and other publishers that another thread hands over. Out: one stream of tags on one clock. A
//! publisher that is lost is waited for; one that ends its stream ends this one. Who may take over is decided elsewhere, at
//! the [`Desk`], so that no publisher is let in that this side no longer waits for.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use crate::clock::timeline::Timeline;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::stats::Origin;
use crate::stream::{Delivery, Desk};

/// A publisher that was replaced may take this long to read why.
const GOODBYE: Duration = Duration::from_secs(2);

/// The source of a published stream.
pub(crate) struct Ingest {
    publisher: Option<Box<dyn SourceDriver>>,
    /// Replaced ones, and until when they may say goodbye.
    leaving: Vec<(Box<dyn SourceDriver>, Instant)>,
    desk: Arc<Desk>,
    grace: Duration,
    /// It is relayed, and no publisher has come: what is lost is not waited for here.
    relayed: bool,
    timeline: Timeline,
    /// Since when there is no publisher, and what happened to the last one; `None` for an orderly end.
    lost: Option<(Instant, Option<Error>)>,
    heard: Instant,
    /// A publisher came and has not had a turn.
    fresh: bool,
    /// Media time has begun.
    begun: bool,
    stopping: bool,
    notices: Vec<EventKind>,
}

impl Ingest {
    /// A stream that begins with `publisher`, and waits for `grace` when one is lost.
    pub(crate) fn new(publisher: Box<dyn SourceDriver>, desk: Arc<Desk>, grace: Duration) -> Self {
        Self {
            publisher: Some(publisher),
            leaving: Vec::new(),
            desk,
            grace,
            relayed: false,
            timeline: Timeline::default(),
            lost: None,
            heard: Instant::now(),
            fresh: false,
            begun: false,
            stopping: false,
            notices: Vec::new(),
        }
    }

    /// A stream that begins with what is relayed, until a publisher comes.
    pub(crate) fn relayed(source: Box<dyn SourceDriver>, desk: Arc<Desk>, grace: Duration) -> Self {
        desk.yields();
        Self { relayed: true, ..Self::new(source, desk, grace) }
    }

    /// Puts the publisher's new tags, which begin at `from`, on the stream's clock.
    fn place(&mut self, cx: &mut SourceContext<'_>, from: usize) {
        let new = cx.tags.len() > from;
        self.timeline.place_all(cx.now, cx.tags, from, cx.notices);
        // Places in the tags hold no more; a publisher has nothing that could be made again anyway.
        cx.refills.clear();
        if new {
            self.heard = cx.arrived();
            self.desk.heard(self.heard);
        }
    }

    /// The publisher is gone; the stream goes on if that was unexpected, for a while.
    fn lose(&mut self, cx: &mut SourceContext<'_>, error: Error) -> SourceState {
        let waits = self.timeline.has_begun() && !self.grace.is_zero() && !self.relayed;
        if !waits && self.desk.try_end() {
            return last_word(Some(error));
        }
        self.publisher = None;
        self.desk.vacate();
        cx.notices.push(EventKind::PublisherLost { error: error.clone(), grace: self.grace });
        self.lost = Some((cx.now, Some(error)));
        SourceState::Running
    }

    /// Without a publisher: how long still.
    fn wait(&self, now: Instant) -> SourceState {
        match &self.lost {
            Some((since, error))
                if now.saturating_duration_since(*since) >= self.grace || error.is_none() =>
            {
                if self.desk.try_end() { last_word(error.clone()) } else { SourceState::Running }
            }
            _ => SourceState::Running,
        }
    }
}

/// How the stream ends after its last publisher. One that just hangs up has ended its stream; that is no fault.
fn last_word(error: Option<Error>) -> SourceState {
    match error {
        Some(error) if !is_hang_up(&error) => SourceState::Failed(error),
        _ => SourceState::Ended,
    }
}

fn is_hang_up(error: &Error) -> bool {
    matches!(error, Error::ConnectionLost { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof)
}

impl SourceDriver for Ingest {
    fn attach(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.publisher.as_mut().map_or(Ok(()), |publisher| publisher.attach(registry, token))
    }

    fn start(&mut self, now: Instant) {
        self.begun = true;
        if let Some(publisher) = &mut self.publisher {
            publisher.start(now);
        }
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.fresh = false;
        cx.notices.append(&mut self.notices);
        if cx.tick {
            self.leaving.retain_mut(|(publisher, until)| *until > cx.now && !publisher.is_stopped());
        }
        let Some(publisher) = &mut self.publisher else { return self.wait(cx.now) };
        let from = cx.tags.len();
        let state = publisher.pull(cx);
        self.place(cx, from);
        match state {
            SourceState::Ended if self.desk.try_end() => {
                // It goes where it came from, and may begin another stream now.
                self.publisher = None;
                SourceState::Ended
            }
            // Its successor is on the way.
            SourceState::Ended => {
                self.leaving.extend(self.publisher.take().map(|publisher| (publisher, cx.now + GOODBYE)));
                self.lost = Some((cx.now, None));
                SourceState::Running
            }
            SourceState::Failed(error) => self.lose(cx, error),
            goes_on => goes_on,
        }
    }

    fn is_due(&self) -> bool {
        self.fresh || self.publisher.as_ref().is_some_and(|publisher| publisher.is_due())
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &Registry, token: Token) {
        let Delivery(mut publisher) = match message.downcast::<Delivery>() {
            Ok(delivery) => *delivery,
            Err(message) => {
                if let Some(publisher) = &mut self.publisher {
                    publisher.deliver(message, registry, token);
                }
                return;
            }
        };
        if self.stopping {
            return;
        }
        if let Err(error) = publisher.attach(registry, token) {
            log::error!("a publisher cannot be taken over: {error}");
            self.desk.withdraw();
            return;
        }
        self.desk.arrived();
        let now = Instant::now();
        if self.begun {
            publisher.start(now);
        }
        if let Some(mut old) = self.publisher.replace(publisher) {
            old.stop();
            self.leaving.push((old, now + GOODBYE));
            let silent = now.saturating_duration_since(self.heard);
            self.notices.push(EventKind::PublisherReplaced { silent });
        } else if let Some((since, _)) = self.lost.take() {
            let after = now.saturating_duration_since(since);
            self.notices.push(EventKind::PublisherReturned { after });
        }
        self.timeline.change();
        (self.lost, self.heard, self.fresh) = (None, now, true);
        self.relayed = false;
    }

    fn origin(&self) -> Option<Origin> {
        self.publisher.as_ref()?.origin()
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.desk.close();
        if let Some(publisher) = &mut self.publisher {
            publisher.stop();
        }
    }

    fn is_stopped(&mut self) -> bool {
        self.publisher.as_mut().is_none_or(|publisher| publisher.is_stopped())
    }
}

#[cfg(test)]
mod tests;
