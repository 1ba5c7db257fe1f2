//! The tasks of async programs that wait for something of ours. No runtime: a task is what its waker wakes.
//!
//! In: wakers, from the threads that poll. Out: wake-ups, on the thread where the awaited thing happens. A waker is the program's
//! code, and so is what is dropped with it: it is never called and never dropped under a lock.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

/// The tasks that wait for one thing.
#[derive(Debug, Default)]
pub struct Wakers(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    given: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Wakers {
    /// Takes the wakers of all tasks that wait, for [`wake`]: where the program's code may not be called, they can be taken.
    pub(crate) fn take(&self) -> Vec<Waker> {
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        waiting.into_iter().map(|(_, waker)| waker).collect()
    }

    /// Wakes all tasks that wait. Each looks again, and then waits again or does not.
    pub(crate) fn wake(&self) {
        wake(self.take());
    }
}

/// Wakes tasks. A panic in the program's waker ends neither this thread nor what it serves.
pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        if std::panic::catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            log::error!("the waker of a task panicked");
        }
    }
}

/// The place of one future among the [`Wakers`]; it is given back when this is dropped.
///
/// A future first looks whether it is ready, then calls [`note`](Self::note), then looks again: what happens before the second
/// look is seen by it, and what happens later wakes it.
#[derive(Debug)]
pub struct Waiting {
    wakers: Arc<Wakers>,
    number: Option<u64>,
}

impl Waiting {
    /// For a future that has not been polled.
    #[must_use]
    pub const fn new(wakers: Arc<Wakers>) -> Self {
        Self { wakers, number: None }
    }

    /// Has this task woken next time, instead of the one before: a future may move from task to task.
    pub fn note(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut list = self.wakers.0.lock();
        let own = list.waiting.iter().position(|(number, _)| Some(*number) == self.number);
        let before = match own {
            Some(place) => Some(std::mem::replace(&mut list.waiting[place].1, waker)),
            None => {
                list.given += 1;
                self.number = Some(list.given);
                let number = list.given;
                list.waiting.push((number, waker));
                None
            }
        };
        drop(list);
        drop(before);
    }

    /// No task waits any more.
    pub fn forget(&mut self) {
        let Some(own) = self.number.take() else { return };
        let mut list = self.wakers.0.lock();
        let place = list.waiting.iter().position(|(number, _)| *number == own);
        let before = place.map(|place| list.waiting.swap_remove(place));
        drop(list);
        drop(before);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake};
    use std::thread::Thread;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Debug, Default)]
    pub(crate) struct Counting(AtomicUsize);

    impl Counting {
        pub(crate) fn times(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A task that counts, and its waker.
    pub(crate) fn counting() -> (Arc<Counting>, Waker) {
        let count = Arc::new(Counting::default());
        (count.clone(), count.into())
    }

    /// Polls once.
    pub(crate) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
    }

    struct Parked(Thread);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// The smallest runtime: this thread, which sleeps until it is woken. A lost wake-up is a test that never ends.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Parked(std::thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    #[test]
    fn the_last_task_is_woken_once_and_one_that_is_gone_is_not() {
        let wakers = Arc::new(Wakers::default());
        let [first, second, gone] = [(); 3].map(|()| counting());
        let mut waiting = Waiting::new(wakers.clone());
        waiting.note(&first.1);
        waiting.note(&second.1);
        let mut other = Waiting::new(wakers.clone());
        other.note(&gone.1);
        drop(other);
        wakers.wake();
        wakers.wake();
        assert_eq!((first.0.times(), second.0.times(), gone.0.times()), (0, 1, 0));
        waiting.note(&first.1);
        wakers.wake();
        assert_eq!(first.0.times(), 1, "it may wait again");
        assert_eq!(Arc::strong_count(&gone.0), 2, "its waker is let go of");
    }

    struct Panicking;

    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("as the test wants");
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_from_being_woken() {
        let wakers = Arc::new(Wakers::default());
        let (count, waker) = counting();
        let mut places = [(); 2].map(|()| Waiting::new(wakers.clone()));
        places[0].note(&Waker::from(Arc::new(Panicking)));
        places[1].note(&waker);
        wakers.wake();
        assert_eq!(count.times(), 1);
    }

    /// A task that is freed together with its waker, and holds a place of the same list.
    struct Holding {
        _place: Mutex<Option<Waiting>>,
    }

    impl Wake for Holding {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_task_may_end_together_with_its_waker() {
        let wakers = Arc::new(Wakers::default());
        let holding = || {
            let mut place = Waiting::new(wakers.clone());
            place.note(Waker::noop());
            Waker::from(Arc::new(Holding { _place: Mutex::new(Some(place)) }))
        };
        let mut waiting = Waiting::new(wakers.clone());
        waiting.note(&holding());
        waiting.note(&holding());
        waiting.forget();
        assert!(wakers.take().is_empty(), "each task is gone, and its place with it");
        waiting.note(&holding());
        wakers.wake();
        assert!(wakers.take().is_empty());
    }
}
