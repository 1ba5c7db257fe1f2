//! Events on their way to their receivers: bounded queues that lose the oldest, and callbacks on threads of their own.
//!
//! In: events, on the thread they happen on, which never waits. Out: the queues of receivers, calls of callbacks, and wake-ups of tasks.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use parking_lot::RwLock;

use super::Event;
use super::callback::Caller;
#[cfg(feature = "futures")]
use super::recv::EventStream;
use super::recv::Recv;
use crate::sys::{self, Waiting, Wakers};

/// Most events that wait in one receiver.
pub(super) const CAPACITY: usize = 1024;

type Filter<E> = dyn Fn(&E) -> bool + Send + Sync;

/// Spreads events of one kind to all receivers; never blocks the sender. Clones are the same bus.
pub struct Bus<E> {
    inner: Arc<RwLock<Listeners<E>>>,
}

struct Listeners<E> {
    queues: Vec<Queue<E>>,
    callbacks: Vec<Callback<E>>,
    /// Callbacks that were ever given; the number of each.
    given: u64,
    /// What callbacks missed that were taken off.
    missed: u64,
}

struct Callback<E> {
    number: u64,
    caller: Caller<E>,
}

/// A callback that was given to [`Engine::on_event`](crate::Engine::on_event) or a server.
///
/// Dropping it changes nothing: the callback goes on being called.
pub struct Subscription<E = Event> {
    inner: Weak<RwLock<Listeners<E>>>,
    number: u64,
}

impl<E> Subscription<E> {
    /// Takes the callback off: it is not called again, not even for events that already wait for it. A call that runs is
    /// not waited for, so it may be cancelled inside the callback itself. What the callback holds is dropped when its
    /// thread ends, after that call.
    pub fn cancel(self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let mut listeners = inner.write();
        let place = listeners.callbacks.iter().position(|callback| callback.number == self.number);
        let Some(callback) = place.map(|place| listeners.callbacks.remove(place)) else { return };
        listeners.missed += callback.caller.missed();
        callback.caller.abandon();
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What had been told when it was made; see [`Bus::told`].
pub(crate) struct Told<E>(Vec<(Caller<E>, u64)>);

struct Queue<E> {
    /// What this receiver is for; `None` is everything.
    only: Option<Box<Filter<E>>>,
    send: Sender<E>,
    /// The receiving end, to drop the oldest from.
    drop_from: Receiver<E>,
    dropped: Arc<AtomicU64>,
    alive: Weak<()>,
    /// After `send`, so that a task it wakes finds the end.
    tasks: Tasks,
}

/// The tasks that wait for a receiver's events. They are woken when there will be no more.
struct Tasks(Arc<Wakers>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Events, oldest first, at most 1024 waiting: then the oldest is dropped and counted.
///
/// As an iterator it waits for each event, and it ends once nothing is left that could report one: the engine or the
/// server is gone, and with it all streams. [`try_next`](Self::try_next) and [`next_timeout`](Self::next_timeout) do
/// not wait, or not for ever. [`recv`](Self::recv) is for async programs.
///
/// ```
/// # extern crate flowcast_core as flowcast;
/// use flowcast::{Config, Engine};
///
/// let engine = Engine::new(Config::default())?;
/// let events = engine.events();
/// let printer = std::thread::spawn(move || {
///     for event in events {
///         println!("{event}");
///     }
/// });
/// drop(engine);
/// printer.join().expect("it ends with the engine");
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug)]
pub struct Events<E = Event> {
    receiver: Receiver<E>,
    dropped: Arc<AtomicU64>,
    tasks: Arc<Wakers>,
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

    /// The events that wait, and no more: it ends where it would have to wait.
    pub fn try_iter(&self) -> impl Iterator<Item = E> + '_ {
        std::iter::from_fn(|| self.try_next())
    }

    /// The next event, for programs that await it; `None` once nothing is left that could report one. It works on any runtime and
    /// needs no thread. If it is dropped before it is ready, no event is lost.
    ///
    /// ```
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::Events;
    ///
    /// async fn print(events: Events) {
    ///     while let Some(event) = events.recv().await {
    ///         println!("{event}");
    ///     }
    /// }
    /// ```
    pub fn recv(&self) -> Recv<'_, E> {
        Recv::new(self)
    }

    /// The same events as a [`Stream`](futures_core::Stream), for what takes such: combinators, web frameworks.
    #[cfg(feature = "futures")]
    #[must_use]
    pub fn into_stream(self) -> EventStream<E> {
        EventStream::new(self)
    }

    /// A place for a task that waits for the next event.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting::new(self.tasks.clone())
    }

    /// The next event, or the task of `cx` is woken when there is one.
    pub(super) fn poll(&self, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<Option<E>> {
        let mut taken = self.taken();
        if taken.is_pending() {
            waiting.note(cx.waker());
            // It may have come before the task was noted, and then nobody wakes it.
            taken = self.taken();
        }
        if taken.is_ready() {
            waiting.forget();
        }
        taken
    }

    fn taken(&self) -> Poll<Option<E>> {
        match self.receiver.try_recv() {
            Ok(event) => Poll::Ready(Some(event)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    /// Events that wait.
    #[cfg(feature = "futures")]
    pub(super) fn waiting_events(&self) -> usize {
        self.receiver.len()
    }

    /// Events dropped because they were not taken in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Waits for each event; see [`Events`].
impl<E> Iterator for Events<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.receiver.recv().ok()
    }
}

/// The same, without giving the receiver away: `for event in &events`.
impl<E> Iterator for &Events<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.receiver.recv().ok()
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
        let tasks = Arc::<Wakers>::default();
        let queue = Queue {
            only,
            send,
            drop_from: receiver.clone(),
            dropped: dropped.clone(),
            alive: Arc::downgrade(&alive),
            tasks: Tasks(tasks.clone()),
        };
        self.inner.write().queues.push(queue);
        Events { receiver, dropped, tasks, _alive: alive }
    }

    /// Tells everybody. Who listens never holds this thread up.
    pub fn emit(&self, event: &E) {
        let (mut gone, mut tasks) = (false, Vec::new());
        let listeners = self.inner.read();
        for queue in &listeners.queues {
            gone |= !queue.offer(event, &mut tasks);
        }
        for callback in &listeners.callbacks {
            callback.caller.push(event.clone());
        }
        drop(listeners);
        sys::wake(tasks);
        if gone {
            self.inner.write().queues.retain(|queue| queue.alive.strong_count() > 0);
        }
    }

    /// What has been told up to now, to ask later whether the callbacks have heard it.
    pub(crate) fn told(&self) -> Told<E> {
        let listeners = self.inner.read();
        let callers = listeners.callbacks.iter().map(|callback| &callback.caller);
        Told(callers.map(|caller| (caller.clone(), caller.told())).collect())
    }

    /// Events that callbacks did not hear because they were too slow.
    #[must_use]
    pub fn missed(&self) -> u64 {
        let listeners = self.inner.read();
        listeners.missed + listeners.callbacks.iter().map(|callback| callback.caller.missed()).sum::<u64>()
    }

    /// Waits until the callbacks have received what was reported up to now, at the latest until `until`. Inside a callback it does not
    /// wait: there it would wait for itself.
    ///
    /// # Blocking
    ///
    /// Until `until`.
    pub fn wait_heard(&self, until: Instant) {
        for (caller, number) in self.told().0 {
            caller.wait_heard(number, until);
        }
    }
}

impl<E: Clone + Send + 'static> Bus<E> {
    /// Calls `callback` for every event from here on, one after the other, on a thread of its own: it may take its time, and
    /// may stop what the events come from. At most 1024 events wait for it, then the oldest is dropped and counted
    /// ([`missed`](Self::missed)). A panic in it is caught. It is kept until the bus is gone or the subscription is cancelled.
    pub fn on_event(&self, callback: Arc<dyn Fn(&E) + Send + Sync>) -> Subscription<E> {
        let started = Caller::start(callback);
        let mut listeners = self.inner.write();
        listeners.given += 1;
        let number = listeners.given;
        match started {
            Ok(caller) => listeners.callbacks.push(Callback { number, caller }),
            Err(error) => log::error!("no thread for an event callback, it will not be called: {error}"),
        }
        Subscription { inner: Arc::downgrade(&self.inner), number }
    }
}

impl<E> Told<E> {
    /// Whether all callbacks have heard it.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.iter().all(|(caller, number)| caller.has_heard(*number))
    }
}

impl<E> Drop for Listeners<E> {
    fn drop(&mut self) {
        self.callbacks.iter().for_each(|callback| callback.caller.close());
    }
}

impl<E: Clone> Queue<E> {
    /// Queues the event if it is for this receiver, and hands over the tasks to be woken; `false` once the receiver is gone.
    fn offer(&self, event: &E, tasks: &mut Vec<Waker>) -> bool {
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
        tasks.append(&mut self.tasks.0.take());
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
        let listeners = Listeners { queues: Vec::new(), callbacks: Vec::new(), given: 0, missed: 0 };
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

    #[test]
    fn a_callback_that_blocks_holds_nobody_and_loses_the_oldest_which_is_counted() {
        let bus = Bus::default();
        let (go_on, may_go) = crossbeam_channel::bounded::<()>(0);
        let (heard, hears) = crossbeam_channel::unbounded();
        let (begin, begun) = crossbeam_channel::unbounded();
        let blocks = move |number: &usize| {
            let _ = begin.send(());
            let _ = may_go.recv();
            let _ = heard.send(*number);
        };
        bus.on_event(Arc::new(blocks));
        let other = Arc::new(AtomicU64::new(0));
        let count = other.clone();
        bus.on_event(Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        bus.emit(&0);
        let told = bus.told();
        begun.recv_timeout(Duration::from_secs(60)).expect("it is called");
        for number in 1..=(CAPACITY + 10) {
            bus.emit(&number);
        }
        assert!(bus.missed() >= 10 && !told.is_heard(), "{}", bus.missed());
        bus.wait_heard(Instant::now() + Duration::from_millis(1));
        drop(go_on);
        let patience = Instant::now() + Duration::from_secs(60);
        bus.wait_heard(patience);
        assert!(bus.told().is_heard() && told.is_heard());
        let numbers: Vec<_> = hears.try_iter().collect();
        let heard = numbers.len() as u64 + other.load(Ordering::Relaxed);
        assert_eq!(heard + bus.missed(), 2 * (CAPACITY as u64 + 11), "each was heard or counted");
        assert!(numbers.is_sorted() && numbers.len() <= CAPACITY + 1, "in order, and no more than fit");
    }

    #[test]
    fn what_waits_is_told_after_the_bus_is_gone() {
        let bus = Bus::default();
        let (heard, hears) = crossbeam_channel::unbounded();
        bus.on_event(Arc::new(move |number: &usize| {
            let _ = heard.send(*number);
        }));
        (0..100).for_each(|number| bus.emit(&number));
        drop(bus);
        let numbers: Vec<_> = hears.iter().collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "the thread ends and lets go of the callback");
    }

    #[test]
    fn a_callback_that_was_taken_off_is_not_called_again_and_a_dropped_subscription_changes_nothing() {
        let bus = Bus::default();
        let (heard, hears) = crossbeam_channel::unbounded();
        let (kept, keeps) = crossbeam_channel::unbounded();
        let (go_on, may_go) = crossbeam_channel::bounded::<()>(0);
        let subscription = bus.on_event(Arc::new(move |number: &usize| {
            let _ = heard.send(*number);
            let _ = may_go.recv();
        }));
        drop(bus.on_event(Arc::new(move |number: &usize| {
            let _ = kept.send(*number);
        })));
        bus.emit(&0);
        assert_eq!(hears.recv_timeout(Duration::from_secs(60)), Ok(0), "the first call runs");
        (1..CAPACITY + 10).for_each(|number| bus.emit(&number));
        let (missed, told) = (bus.missed(), bus.told());
        subscription.cancel();
        bus.emit(&5000);
        assert!(bus.missed() >= missed, "what was missed stays counted");
        drop(go_on);
        assert!(hears.iter().next().is_none(), "what waited is not told, and the callback is let go of");
        let patience = Instant::now() + Duration::from_secs(60);
        bus.wait_heard(patience);
        assert!(told.is_heard(), "nobody waits for what will not be heard");
        assert_eq!(keeps.try_iter().last(), Some(5000));
    }

    #[test]
    fn an_iterator_waits_for_events_and_ends_with_the_bus() {
        let bus = Bus::default();
        let events = bus.subscribe();
        bus.emit(&1);
        bus.emit(&2);
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [1, 2]);
        let reader = std::thread::spawn(move || {
            let mut seen: Vec<i32> = (&events).take(1).collect();
            seen.extend(events);
            seen
        });
        bus.emit(&3);
        bus.emit(&4);
        drop(bus);
        assert_eq!(reader.join().expect("it ends"), [3, 4]);
    }
}
