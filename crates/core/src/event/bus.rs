//! Events on their way to whoever listens: bounded queues that lose the oldest, and callbacks.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::RwLock;

use super::Event;

/// Most events that wait in one receiver.
const CAPACITY: usize = 1024;

type Callback<E> = dyn Fn(&E) + Send + Sync;
type Filter<E> = dyn Fn(&E) -> bool + Send + Sync;

/// Spreads events of one kind to all receivers; never blocks whoever emits them. Clones are the same bus.
pub struct Bus<E> {
    inner: Arc<RwLock<Listeners<E>>>,
}

struct Listeners<E> {
    queues: Vec<Queue<E>>,
    callbacks: Vec<Arc<Callback<E>>>,
}

struct Queue<E> {
    /// What this receiver is for; `None` is everything.
    only: Option<Box<Filter<E>>>,
    send: Sender<E>,
    /// The receiving end, to drop the oldest from.
    drop_from: Receiver<E>,
    dropped: Arc<AtomicU64>,
    alive: Weak<()>,
}

/// Events, oldest first, at most 1024 waiting: then the oldest is dropped and counted.
#[derive(Debug)]
pub struct Events<E = Event> {
    receiver: Receiver<E>,
    dropped: Arc<AtomicU64>,
    _alive: Arc<()>,
}

impl Events {
    /// Most events that wait in one receiver.
    pub const CAPACITY: usize = CAPACITY;
}

impl<E> Events<E> {
    /// The next event, if one is waiting.
    #[must_use]
    pub fn try_next(&self) -> Option<E> {
        self.receiver.try_recv().ok()
    }

    /// The next event, or `None` when `timeout` passes first.
    ///
    /// # Blocking
    ///
    /// Up to `timeout`.
    #[must_use]
    pub fn next_timeout(&self, timeout: Duration) -> Option<E> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// Events dropped because nobody took them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<E: Clone> Bus<E> {
    /// Receives all events from here on.
    #[must_use]
    pub fn subscribe(&self) -> Events<E> {
        self.listen(None)
    }

    /// Receives those events from here on of which `only` is true. It runs where the event happens and must be quick.
    #[must_use]
    pub fn subscribe_to(&self, only: impl Fn(&E) -> bool + Send + Sync + 'static) -> Events<E> {
        self.listen(Some(Box::new(only)))
    }

    fn listen(&self, only: Option<Box<Filter<E>>>) -> Events<E> {
        let (send, receiver) = crossbeam_channel::bounded(CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        let alive = Arc::new(());
        let queue = Queue {
            only,
            send,
            drop_from: receiver.clone(),
            dropped: dropped.clone(),
            alive: Arc::downgrade(&alive),
        };
        self.inner.write().queues.push(queue);
        Events { receiver, dropped, _alive: alive }
    }

    /// Calls `callback` for every event from here on, on the thread it happens on. A panic in it is caught.
    pub fn on_event(&self, callback: Arc<dyn Fn(&E) + Send + Sync>) {
        self.inner.write().callbacks.push(callback);
    }

    /// Tells everybody.
    pub fn emit(&self, event: &E) {
        let mut gone = false;
        let callbacks = {
            let listeners = self.inner.read();
            for queue in &listeners.queues {
                gone |= !queue.offer(event);
            }
            listeners.callbacks.clone()
        };
        if gone {
            self.inner.write().queues.retain(|queue| queue.alive.strong_count() > 0);
        }
        for callback in callbacks {
            // A panic in the embedding program's callback must not end the stream or server it was told about.
            let call = std::panic::AssertUnwindSafe(|| callback(event));
            if std::panic::catch_unwind(call).is_err() {
                log::error!("an event callback panicked");
            }
        }
    }
}

impl<E: Clone> Queue<E> {
    /// Queues the event if it is for this receiver; `false` once the receiver is gone.
    fn offer(&self, event: &E) -> bool {
        if self.alive.strong_count() == 0 {
            return false;
        }
        if self.only.as_ref().is_some_and(|only| !only(event)) {
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

impl<E> Clone for Bus<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<E> Default for Bus<E> {
    fn default() -> Self {
        let listeners = Listeners { queues: Vec::new(), callbacks: Vec::new() };
        Self { inner: Arc::new(RwLock::new(listeners)) }
    }
}

impl<E> fmt::Debug for Bus<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_receiver_loses_the_oldest_and_counts_them() {
        let bus = Bus::default();
        let events = bus.subscribe();
        for number in 0..(CAPACITY + 10) {
            bus.emit(&number);
        }
        assert_eq!((events.dropped(), events.try_next()), (10, Some(10)));
    }

    #[test]
    fn a_receiver_hears_only_what_it_asked_for_and_a_panicking_callback_harms_nobody() {
        let bus = Bus::default();
        let events = bus.subscribe_to(|number| number % 2 == 0);
        bus.on_event(Arc::new(|_| panic!("in the callback")));
        bus.emit(&1);
        bus.emit(&2);
        assert_eq!((events.try_next(), events.try_next()), (Some(2), None));
        drop(events);
        bus.emit(&2);
        assert!(bus.inner.read().queues.is_empty(), "a dropped receiver is forgotten");
    }
}
