//! Events for async programs: the next one as a future, and all of them as a stream. No thread and no runtime is needed.
//!
//! In: the queue of a receiver. Out: events, in the task that awaits them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Event;
use super::bus::Events;
use crate::sys::Waiting;

/// The next event, from [`Events::recv`].
///
/// It may be dropped at any time: an event that it has not returned stays for the next.
#[must_use = "a future does nothing until it is awaited"]
pub struct Recv<'a, E = Event> {
    events: &'a Events<E>,
    waiting: Waiting,
}

impl<'a, E> Recv<'a, E> {
    pub(super) fn new(events: &'a Events<E>) -> Self {
        Self { events, waiting: events.waiting() }
    }
}

impl<E> Future for Recv<'_, E> {
    type Output = Option<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        let Self { events, waiting } = self.get_mut();
        events.poll(waiting, cx)
    }
}

impl<E> fmt::Debug for Recv<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}

/// Events as a [`Stream`](futures_core::Stream), from [`Events::into_stream`]. It ends once nothing is left that could report one.
#[cfg(feature = "futures")]
pub struct EventStream<E = Event> {
    // Before the events, so that no task is left when they go.
    waiting: Waiting,
    events: Events<E>,
}

#[cfg(feature = "futures")]
impl<E> EventStream<E> {
    pub(super) fn new(events: Events<E>) -> Self {
        Self { waiting: events.waiting(), events }
    }

    /// Events dropped because they were not taken in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.events.dropped()
    }
}

/// Events are moved, never pinned.
#[cfg(feature = "futures")]
impl<E> Unpin for EventStream<E> {}

#[cfg(feature = "futures")]
impl<E> futures_core::Stream for EventStream<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        let Self { events, waiting } = self.get_mut();
        events.poll(waiting, cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.events.waiting_events(), None)
    }
}

#[cfg(feature = "futures")]
impl<E> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::bus::Bus;
    use crate::sys::testing::{block_on, counting, poll};

    #[test]
    fn a_task_is_woken_by_an_event_and_by_the_end_and_not_by_what_it_did_not_ask_for() {
        let bus = Bus::default();
        let events = bus.subscribe_to(|number| number % 2 == 0);
        let (count, waker) = counting();
        let mut next = events.recv();
        assert!(poll(&mut next, &waker).is_pending());
        bus.emit(&1);
        assert_eq!(count.times(), 0);
        bus.emit(&2);
        bus.emit(&4);
        assert_eq!((count.times(), poll(&mut next, &waker)), (1, Poll::Ready(Some(2))), "woken once");
        assert_eq!(poll(&mut events.recv(), &waker), Poll::Ready(Some(4)), "what waits is there at once");
        let mut last = events.recv();
        assert!(poll(&mut last, &waker).is_pending());
        drop(bus);
        assert_eq!((count.times(), poll(&mut last, &waker)), (2, Poll::Ready(None)));
        assert_eq!(poll(&mut events.recv(), &waker), Poll::Ready(None), "and it stays so");
    }

    #[test]
    fn what_a_dropped_future_was_woken_for_is_left_to_the_next() {
        let bus = Bus::default();
        let events = bus.subscribe();
        let (count, waker) = counting();
        let (mut first, mut second) = (events.recv(), events.recv());
        assert!(poll(&mut first, &waker).is_pending() && poll(&mut second, &waker).is_pending());
        bus.emit(&1);
        assert_eq!(count.times(), 2, "whichever of them is polled gets it");
        drop(first);
        assert_eq!(poll(&mut second, &waker), Poll::Ready(Some(1)));
    }

    #[test]
    fn a_task_that_is_slow_loses_the_oldest_which_is_counted() {
        let bus = Bus::default();
        let events = bus.subscribe();
        let (count, waker) = counting();
        let mut next = events.recv();
        assert!(poll(&mut next, &waker).is_pending());
        let many = Events::CAPACITY as u64 + 10;
        (0..many).for_each(|number| bus.emit(&number));
        assert_eq!((count.times(), events.dropped()), (1, 10), "woken once, until it looks again");
        assert_eq!(poll(&mut next, &waker), Poll::Ready(Some(10)));
    }

    /// A waker that does what a receiver's own code may do.
    struct Subscribing(Bus<u64>);

    impl std::task::Wake for Subscribing {
        fn wake(self: std::sync::Arc<Self>) {
            drop(self.0.subscribe());
        }
    }

    #[test]
    fn a_waker_may_use_the_bus() {
        let bus = Bus::default();
        let events = bus.subscribe();
        let mut next = events.recv();
        let waker = std::sync::Arc::new(Subscribing(bus.clone())).into();
        assert!(poll(&mut next, &waker).is_pending());
        bus.emit(&1);
        assert_eq!(poll(&mut next, &waker), Poll::Ready(Some(1)));
    }

    /// The event comes in the moment in which the task begins to wait, and no other follows.
    #[test]
    fn no_wake_up_is_lost_when_an_event_comes_while_a_task_begins_to_wait() {
        for round in 0..6000 {
            let bus = Bus::default();
            let events = bus.subscribe();
            let begin = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    assert_eq!(block_on(events.recv()), Some(round));
                });
                begin.wait();
                bus.emit(&round);
            });
        }
    }

    /// Many threads report, many tasks of many receivers wait. A lost wake-up is a test that never ends.
    #[test]
    fn no_wake_up_is_lost_between_threads() {
        const REPORT: u64 = 400;
        for _ in 0..20 {
            let bus = Bus::default();
            let receivers = [(); 3].map(|()| bus.subscribe());
            std::thread::scope(|scope| {
                for reporter in 0..2 {
                    let bus = bus.clone();
                    scope.spawn(move || {
                        (0..REPORT).for_each(|number| bus.emit(&(reporter * REPORT + number)));
                    });
                }
                drop(bus);
                for events in receivers {
                    scope.spawn(move || {
                        let mut heard = BTreeSet::new();
                        block_on(async {
                            while let Some(number) = events.recv().await {
                                heard.insert(number);
                            }
                        });
                        assert_eq!((heard.len() as u64, events.dropped()), (2 * REPORT, 0));
                    });
                }
            });
        }
    }

    /// The tasks of one receiver share its events.
    #[test]
    fn no_wake_up_is_lost_between_tasks_of_one_receiver() {
        for _ in 0..50 {
            let bus = Bus::default();
            let events = bus.subscribe();
            std::thread::scope(|scope| {
                let tasks = [(); 3].map(|()| {
                    scope.spawn(|| {
                        let mut heard = 0;
                        block_on(async {
                            while events.recv().await.is_some() {
                                heard += 1;
                            }
                        });
                        heard
                    })
                });
                (0..500).for_each(|number: u32| bus.emit(&number));
                drop(bus);
                let heard: u64 = tasks.into_iter().map(|task| task.join().expect("it counts")).sum();
                assert_eq!(heard, 500);
            });
        }
    }

    #[cfg(feature = "futures")]
    #[test]
    fn a_stream_gives_the_same_events_and_ends() {
        use futures_core::Stream;

        let bus = Bus::default();
        let mut stream = bus.subscribe().into_stream();
        let (count, waker) = counting();
        let next =
            |stream: &mut EventStream<u64>| Pin::new(stream).poll_next(&mut Context::from_waker(&waker));
        assert!(next(&mut stream).is_pending());
        bus.emit(&1);
        bus.emit(&2);
        assert_eq!((count.times(), stream.size_hint()), (1, (2, None)));
        assert_eq!((next(&mut stream), next(&mut stream)), (Poll::Ready(Some(1)), Poll::Ready(Some(2))));
        assert!(next(&mut stream).is_pending());
        drop(bus);
        assert_eq!((count.times(), next(&mut stream)), (2, Poll::Ready(None)));
        assert_eq!(stream.dropped(), 0);
        drop(stream);
        drop(waker);
        assert_eq!(std::sync::Arc::strong_count(&count), 1, "nobody holds the task");
    }
}
