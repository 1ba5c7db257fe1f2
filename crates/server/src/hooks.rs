//! The program's hooks and its own key store, and the threads that call them.
//!
//! In: questions of the lobby. Out: answers to its desk. A few threads, started when they are needed; questions wait
//! for them in a bounded queue. The program's code runs nowhere else, so the lobby never waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use flowcast_core::{Latch, mark_callback_thread};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::admission::{Admission, Answer, Desk};

/// The most questions that wait.
const QUEUE: usize = 1024;
/// In bytes. The program's code runs on it and expects what the standard library gives a thread.
const STACK: usize = 2 << 20;

/// What the program wants to decide itself.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) publish: Option<Hook>,
    pub(crate) play: Option<Hook>,
}

pub(crate) type Hook = Arc<dyn Fn(Admission) + Send + Sync>;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (publish, play) = (self.publish.is_some(), self.play.is_some());
        f.debug_struct("Hooks").field("publish", &publish).field("play", &play).finish()
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads. Dropping it lets them end after their current call; it does not wait for them.
pub(crate) struct Pool {
    most: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// There is no thread for a question, and no room in the queue.
pub(crate) struct Overload;

impl Pool {
    /// At most `most` threads; none yet.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, shared: Arc::default() }
    }

    /// Runs `job`, now or when a thread is free.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Overload> {
        let mut state = self.shared.state.lock();
        if state.jobs.len() >= QUEUE {
            return Err(Overload);
        }
        if state.jobs.len() >= state.idle && state.threads < self.most {
            state.threads += 1;
            // Starting a thread takes a while; the others go on meanwhile.
            let shared = self.shared.clone();
            let started = MutexGuard::unlocked(&mut state, || {
                flowcast_core::spawn("fc-hook", STACK, move || shared.run())
            });
            if let Err(error) = started {
                state.threads -= 1;
                log::error!("no thread for the program's hooks: {error}");
            }
        }
        if state.threads == 0 {
            return Err(Overload);
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.came.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let jobs = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        self.shared.came.notify_all();
        drop(jobs);
    }
}

impl Shared {
    fn run(&self) {
        mark_callback_thread();
        while let Some(job) = self.next() {
            // The guest it is about has a guard in the job that refuses it.
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                log::error!("the program's hook or key store panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        state.idle += 1;
        let job = loop {
            if state.closed {
                break None;
            }
            if let Some(job) = state.jobs.pop_front() {
                break Some(job);
            }
            self.came.wait(&mut state);
        };
        state.idle -= 1;
        job
    }
}

/// A question about a guest that is to be answered once; dropping it refuses.
pub(crate) struct Question {
    desk: Option<Arc<Desk>>,
    guest: usize,
}

impl Question {
    pub(crate) fn new(desk: Arc<Desk>, guest: usize) -> Self {
        Self { desk: Some(desk), guest }
    }

    pub(crate) fn answer(mut self, answer: Answer) {
        self.send(answer);
    }

    fn send(&mut self, answer: Answer) {
        if let Some(desk) = self.desk.take() {
            desk.answer(self.guest, answer);
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.send(Answer::GaveUp);
    }
}

/// Set when a thread is done.
pub(crate) type Done = Arc<Latch<()>>;

/// Sets it when dropped, also on a panic.
pub(crate) struct SetDone(pub(crate) Done);

impl Drop for SetDone {
    fn drop(&mut self) {
        self.0.set(());
    }
}

/// Longer deadlines are no deadlines.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn threads_are_bounded_and_what_they_cannot_take_is_refused_at_once() {
        let pool = Pool::new(2);
        let (begun, begins) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock();
        let block = || {
            let (begun, gate) = (begun.clone(), gate.clone());
            let job: Job = Box::new(move || {
                let _ = begun.send(std::thread::current().id());
                drop(gate.lock());
            });
            job
        };
        for _ in 0..2 {
            assert!(pool.submit(block()).is_ok());
        }
        let patience = Duration::from_secs(60);
        let threads = [(); 2].map(|()| begins.recv_timeout(patience).expect("it runs"));
        assert_ne!(threads[0], threads[1]);
        for _ in 0..QUEUE {
            assert!(pool.submit(block()).is_ok());
        }
        assert!(pool.submit(block()).is_err());
        assert!(begins.try_recv().is_err(), "no third thread");
        drop(closed);
        for _ in 0..QUEUE {
            let thread = begins.recv_timeout(patience).expect("it runs");
            assert!(threads.contains(&thread));
        }
    }

    #[test]
    fn a_panic_costs_no_thread() {
        let pool = Pool::new(1);
        let (send, receive) = mpsc::channel();
        assert!(pool.submit(Box::new(|| panic!("as the test wants"))).is_ok());
        let tell = move || {
            let _ = send.send(());
        };
        assert!(pool.submit(Box::new(tell)).is_ok());
        assert!(receive.recv_timeout(Duration::from_secs(60)).is_ok());
    }
}
