//! The end of a stream, or of a server, as a future.
//!
//! In: the end, from the thread that ends. Out: the outcome, in the task that awaits it. No thread and no runtime is needed.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::sys::{Latch, Waiting};

/// The end of a stream ([`StreamRef::ended`](crate::StreamRef::ended)), as what [`StreamHandle::wait`](crate::StreamHandle::wait) gives;
/// or, as `Ended<()>`, that of a server.
///
/// It works on any runtime, keeps nothing alive, and may be dropped at any time.
#[must_use = "a future does nothing until it is awaited"]
pub struct Ended<T = Result<(), Error>> {
    end: Arc<Latch<T>>,
    waiting: Waiting,
}

impl<T: Clone> Ended<T> {
    /// For servers that are built on the engine.
    #[doc(hidden)]
    pub fn new(end: Arc<Latch<T>>) -> Self {
        Self { waiting: end.waiting(), end }
    }
}

impl<T: Clone> Future for Ended<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { end, waiting } = self.get_mut();
        end.poll(waiting, cx)
    }
}

impl<T> fmt::Debug for Ended<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").field("end", &self.end).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{block_on, counting, poll};

    fn ended(end: &Arc<Latch<u32>>) -> Ended<u32> {
        Ended::new(end.clone())
    }

    #[test]
    fn every_task_is_woken_once_and_gets_the_outcome_also_later() {
        let end = Arc::new(Latch::default());
        let tasks = [(); 3].map(|()| counting());
        let mut futures = [(); 3].map(|()| ended(&end));
        for (future, (_, waker)) in futures.iter_mut().zip(&tasks) {
            assert!(poll(future, waker).is_pending());
        }
        // A future that was dropped, and a task that was left.
        let (dropped, waker) = counting();
        assert!(poll(&mut ended(&end), &waker).is_pending());
        let (other, other_waker) = counting();
        assert!(poll(&mut futures[0], &other_waker).is_pending());
        assert!(end.set(7) && !end.set(8));
        let times = tasks.each_ref().map(|(count, _)| count.times());
        assert_eq!((times, other.times(), dropped.times()), ([0, 1, 1], 1, 0));
        for (future, (_, waker)) in futures.iter_mut().zip(&tasks) {
            assert_eq!(poll(future, waker), Poll::Ready(7));
        }
        assert_eq!(block_on(ended(&end)), 7, "after the end it is ready at once");
    }

    #[test]
    fn no_wake_up_is_lost_when_the_end_comes_while_tasks_begin_to_wait() {
        for round in 0..2000 {
            let end = Arc::new(Latch::default());
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    let future = ended(&end);
                    scope.spawn(move || assert_eq!(block_on(future), round));
                }
                scope.spawn(|| end.set(round));
            });
        }
    }
}
