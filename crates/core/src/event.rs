//! What a stream tells the program that embeds it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::RwLock;

use crate::error::{Error, chain};
use crate::source::SourceMode;

/// The number of a stream within its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u64);

/// The number of an output within its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub(crate) u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

/// One event of one stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// The stream it is about.
    pub stream: StreamId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The stream's thread runs.
    Started,
    /// An output was connected and its peer accepted the stream; the next tag it gets is a header or a keyframe.
    OutputLive {
        /// The output.
        output: OutputId,
        /// How many times it was connected before.
        reconnects: u64,
    },
    /// An output lost its peer, or could not reach it, and tries again.
    OutputRetrying {
        /// The output.
        output: OutputId,
        /// Why.
        error: Arc<Error>,
        /// How long it waits.
        wait: Duration,
    },
    /// An output ended for good; the others go on.
    OutputEnded {
        /// The output.
        output: OutputId,
        /// Why; `None` if it was removed or the stream stopped.
        error: Option<Arc<Error>>,
    },
    /// An output was behind and tags were dropped for it up to a keyframe.
    OutputDropped {
        /// The output.
        output: OutputId,
        /// Tags dropped since the last such event.
        tags: u64,
    },
    /// A loop begins again.
    Looped {
        /// How many laps are complete.
        laps: u64,
    },
    /// The source had a fault it could go on after.
    SourceFault {
        /// What it was.
        error: Arc<Error>,
    },
    /// The source has given nothing for a while; its stream has nothing to send until it does.
    SourceStalled {
        /// For how long.
        after: Duration,
    },
    /// The source's clock jumped; the jump was taken out, the stream's time goes on.
    ClockJumped {
        /// By how much, in milliseconds: negative is back.
        millis: i64,
    },
    /// What the stream is made from is published.
    PublicationBegan {
        /// The name.
        name: String,
    },
    /// What the stream was made from is not published any more; the stream rests until it is again.
    PublicationEnded {
        /// The name.
        name: String,
    },
    /// The publisher of the stream hung up, failed or fell silent; the stream stays up and waits for it.
    PublisherLost {
        /// Why.
        error: Arc<Error>,
        /// For how long the stream waits.
        grace: Duration,
    },
    /// A publisher came in the place of the one that was lost; the stream goes on.
    PublisherReturned {
        /// For how long there was none.
        after: Duration,
    },
    /// Another publisher with the right key took the place of the one that was there.
    PublisherReplaced {
        /// For how long the one before had sent no media.
        silent: Duration,
    },
    /// The stream reads its media another way from here on; see [`SourceMode`].
    ModeChanged {
        /// The way it is read now.
        mode: SourceMode,
        /// What made it change; `None` if nothing failed.
        error: Option<Arc<Error>>,
    },
    /// An item of a playlist begins.
    ItemStarted {
        /// The item's file.
        path: PathBuf,
    },
    /// An item of a playlist cannot be played and is left out.
    ItemSkipped {
        /// The item's file.
        path: PathBuf,
        /// Why.
        error: Arc<Error>,
    },
    /// The file of a loop was replaced; what is there now is played from the next lap on.
    SourceReplaced {
        /// The file.
        path: PathBuf,
    },
    /// A track of the file is left out.
    TrackSkipped {
        /// The track's number in the file.
        track: usize,
        /// Why.
        reason: String,
    },
    /// The stream ended.
    Ended {
        /// Why; `None` if it was stopped or its source was complete.
        error: Option<Arc<Error>>,
    },
    /// The stream did not stop in time and its thread was abandoned (`FORCE_KILL_REQUIRED`).
    Abandoned,
}

type Callback = dyn Fn(&Event) + Send + Sync;

/// Spreads events to all receivers; never blocks the stream.
#[derive(Clone, Default)]
pub(crate) struct EventBus {
    inner: Arc<RwLock<Listeners>>,
}

#[derive(Default)]
struct Listeners {
    queues: Vec<Queue>,
    callbacks: Vec<Arc<Callback>>,
}

struct Queue {
    stream: Option<StreamId>,
    send: Sender<Event>,
    /// The receiving end, to drop the oldest from.
    drop_from: Receiver<Event>,
    dropped: Arc<AtomicU64>,
    alive: std::sync::Weak<()>,
}

/// Events, oldest first, at most 1024 waiting: then the oldest is dropped and counted.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    dropped: Arc<AtomicU64>,
    _alive: Arc<()>,
}

impl Events {
    /// Most events that wait in one receiver.
    pub const CAPACITY: usize = 1024;

    /// The next event, if one is waiting.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// The next event, or `None` when `timeout` passes first.
    ///
    /// # Blocking
    ///
    /// Up to `timeout`.
    #[must_use]
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// Events dropped because nobody took them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl EventBus {
    pub(crate) fn subscribe(&self, stream: Option<StreamId>) -> Events {
        let (send, receiver) = crossbeam_channel::bounded(Events::CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        let alive = Arc::new(());
        let queue = Queue {
            stream,
            send,
            drop_from: receiver.clone(),
            dropped: dropped.clone(),
            alive: Arc::downgrade(&alive),
        };
        self.inner.write().queues.push(queue);
        Events { receiver, dropped, _alive: alive }
    }

    pub(crate) fn on_event(&self, callback: Arc<Callback>) {
        self.inner.write().callbacks.push(callback);
    }

    pub(crate) fn emit(&self, stream: StreamId, kind: EventKind) {
        log_event(stream, &kind);
        let event = Event { stream, kind };
        let mut gone = false;
        let callbacks = {
            let listeners = self.inner.read();
            for queue in &listeners.queues {
                gone |= !queue.offer(&event);
            }
            listeners.callbacks.clone()
        };
        if gone {
            self.inner.write().queues.retain(|queue| queue.alive.strong_count() > 0);
        }
        for callback in callbacks {
            // A panic in the embedding program's callback must not end the stream it was told about.
            let call = std::panic::AssertUnwindSafe(|| callback(&event));
            if std::panic::catch_unwind(call).is_err() {
                log::error!("{stream}: an event callback panicked");
            }
        }
    }
}

impl Queue {
    /// Queues the event if it is for this receiver; `false` once the receiver is gone.
    fn offer(&self, event: &Event) -> bool {
        if self.alive.strong_count() == 0 {
            return false;
        }
        if self.stream.is_some_and(|stream| stream != event.stream) {
            return true;
        }
        let mut event = event.clone();
        while let Err(TrySendError::Full(back)) = self.send.try_send(event) {
            event = back;
            if self.drop_from.try_recv().is_ok() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        true
    }
}

fn log_event(stream: StreamId, kind: &EventKind) {
    match kind {
        EventKind::OutputRetrying { output, error, wait } => {
            log::warn!("{stream}/{output}: {}; trying again in {wait:.1?}", chain(error));
        }
        EventKind::OutputEnded { output, error: Some(error) } => {
            log::error!("{stream}/{output}: {}", chain(error));
        }
        EventKind::Ended { error: Some(error) } => log::error!("{stream}: {}", chain(error)),
        EventKind::SourceFault { error } => log::warn!("{stream}: {}", chain(error)),
        EventKind::SourceStalled { after } => {
            log::warn!("{stream}: the source has given nothing for {after:?}")
        }
        EventKind::PublisherLost { error, grace } => {
            log::info!("{stream}: the publisher is lost, waiting {grace:?} for it: {}", chain(error));
        }
        EventKind::PublisherReturned { after } => {
            log::info!("{stream}: a publisher is back after {after:.1?}");
        }
        EventKind::PublisherReplaced { silent } => {
            log::info!("{stream}: another publisher took over, after {silent:.1?} of silence");
        }
        EventKind::ClockJumped { millis } => log::warn!("{stream}: the source's clock jumped by {millis} ms"),
        EventKind::ModeChanged { mode, error: Some(error) } => {
            log::warn!("{stream}: plays {mode} from here on: {}", chain(error));
        }
        EventKind::ItemSkipped { path, error } => {
            log::warn!("{stream}: {} is left out: {}", path.display(), chain(error));
        }
        EventKind::Abandoned => log::error!("{stream}: did not stop in time, abandoned"),
        other => log::debug!("{stream}: {other:?}"),
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_receiver_loses_the_oldest_and_counts_them() {
        let bus = EventBus::default();
        let events = bus.subscribe(None);
        for laps in 0..(Events::CAPACITY as u64 + 10) {
            bus.emit(StreamId(1), EventKind::Looped { laps });
        }
        assert_eq!(events.dropped(), 10);
        let first = events.try_next().expect("the receiver is full");
        assert!(matches!(first.kind, EventKind::Looped { laps: 10 }));
    }

    #[test]
    fn a_receiver_of_one_stream_hears_only_that_one_and_a_panicking_callback_harms_nobody() {
        let bus = EventBus::default();
        let events = bus.subscribe(Some(StreamId(2)));
        bus.on_event(Arc::new(|_| panic!("in the callback")));
        bus.emit(StreamId(1), EventKind::Started);
        bus.emit(StreamId(2), EventKind::Started);
        assert_eq!(events.try_next().map(|event| event.stream), Some(StreamId(2)));
        assert!(events.try_next().is_none());
        drop(events);
        bus.emit(StreamId(2), EventKind::Started);
        assert!(bus.inner.read().queues.is_empty(), "a dropped receiver is forgotten");
    }
}
