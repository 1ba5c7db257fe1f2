//! A few threads for what takes milliseconds: looking at sources, opening reels, removing files.

use crate::sys::spawn;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Most threads.
const MOST: usize = 4;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(10);
const STACK: usize = 256 << 10;

type Task = Box<dyn FnOnce() + Send>;

/// Threads that are started as they are needed. Clones are the same ones.
#[derive(Clone, Default)]
pub(super) struct Workers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
    /// Nobody waits for work any more.
    closed: bool,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

impl Workers {
    /// Runs `task` on a thread; on this one if there is none.
    pub(super) fn run(&self, task: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state.lock();
        state.tasks.push_back(Box::new(task));
        if state.idle >= state.tasks.len() || state.threads >= MOST {
            drop(state);
            self.0.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = self.0.clone();
        let spawned = spawn("reel-open", STACK, move || shared.work());
        if let Err(error) = spawned {
            log::error!("no thread to open reels: {error}");
            let mut state = self.0.state.lock();
            state.threads -= 1;
            let task = if state.threads == 0 { state.tasks.pop_back() } else { None };
            drop(state);
            if let Some(task) = task {
                task();
            }
        }
    }
}

impl Workers {
    /// Threads end as soon as they have nothing to do.
    pub(super) fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                // The waiting thread notices that there is no answer.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(task)).is_err() {
                    log::error!("a task of the reel store panicked");
                }
                state = self.state.lock();
                continue;
            }
            let mut is_over = state.closed;
            if !is_over {
                state.idle += 1;
                is_over = self.work.wait_for(&mut state, IDLE).timed_out();
                state.idle -= 1;
            }
            if is_over && state.tasks.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}
