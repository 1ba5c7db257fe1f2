//! A callback of the program, and the thread it is called on.
//!
//! In: events, in a bounded queue that loses the oldest. Out: calls, one after the other, on a thread that belongs to this
//! callback alone. The program's code runs nowhere else, so nothing waits for it and it may call anything.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::bus::CAPACITY;
use crate::sys;

/// Bytes. The program's code runs on it, which expects what the standard library gives a thread.
const STACK: usize = 2 << 20;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread calls the program's callbacks.
pub(crate) fn is_callback_thread() -> bool {
    IN_CALLBACK.get()
}

/// Marks this thread as one that calls the program's code and nothing else: a thread that waits for callbacks does not wait there.
pub fn mark_callback_thread() {
    IN_CALLBACK.set(true);
}

/// Where events wait for a callback. Clones are the same.
pub(super) struct Caller<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    state: Mutex<State<E>>,
    /// An event came, or the last one.
    came: Condvar,
    /// A call returned.
    done: Condvar,
}

struct State<E> {
    events: VecDeque<E>,
    /// Events that came so far.
    told: u64,
    /// The number of the one that is being heard; the first is 1.
    calling: Option<u64>,
    missed: u64,
    /// No more come.
    closed: bool,
}

impl<E: Send + 'static> Caller<E> {
    /// Starts the thread of `callback`.
    pub(super) fn start(callback: Arc<dyn Fn(&E) + Send + Sync>) -> io::Result<Self> {
        let state = State { events: VecDeque::new(), told: 0, calling: None, missed: 0, closed: false };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), came: Condvar::new(), done: Condvar::new() });
        let caller = Self { shared: shared.clone() };
        sys::spawn("fc-callback", STACK, move || {
            mark_callback_thread();
            shared.run(&*callback);
        })?;
        Ok(caller)
    }
}

impl<E> Caller<E> {
    /// Queues an event; of too many the oldest is dropped.
    pub(super) fn push(&self, event: E) {
        let mut state = self.shared.state.lock();
        let dropped = if state.events.len() < CAPACITY { None } else { state.events.pop_front() };
        if dropped.is_some() {
            state.missed += 1;
        }
        state.told += 1;
        state.events.push_back(event);
        drop(state);
        self.shared.came.notify_one();
    }

    /// No more events come; those that wait are still told.
    pub(super) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.came.notify_one();
    }

    /// Nothing more is told, and what waits is thrown away.
    pub(super) fn abandon(&self) {
        let thrown_away = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            std::mem::take(&mut state.events)
        };
        drop(thrown_away);
        self.shared.came.notify_one();
        self.shared.done.notify_all();
    }

    /// The number of the last event.
    pub(super) fn told(&self) -> u64 {
        self.shared.state.lock().told
    }

    pub(super) fn missed(&self) -> u64 {
        self.shared.state.lock().missed
    }

    /// Whether the call for event `number` has returned.
    pub(super) fn has_heard(&self, number: u64) -> bool {
        self.shared.state.lock().has_heard(number)
    }

    /// Waits for that until `until`, but never inside a callback.
    pub(super) fn wait_heard(&self, number: u64, until: Instant) {
        if is_callback_thread() {
            return;
        }
        let mut state = self.shared.state.lock();
        while !state.has_heard(number) {
            if self.shared.done.wait_until(&mut state, until).timed_out() {
                return;
            }
        }
    }
}

impl<E> State<E> {
    /// The number of the oldest event that waits, or of the next that comes.
    fn next(&self) -> u64 {
        self.told + 1 - self.events.len() as u64
    }

    /// Whether event `number` was heard, or dropped.
    fn has_heard(&self, number: u64) -> bool {
        number < self.calling.unwrap_or_else(|| self.next())
    }
}

impl<E> Shared<E> {
    fn run(&self, callback: &(dyn Fn(&E) + Send + Sync)) {
        while let Some(event) = self.next() {
            // A panic in the program's callback ends neither this thread nor what it was told about.
            if std::panic::catch_unwind(AssertUnwindSafe(|| callback(&event))).is_err() {
                log::error!("an event callback panicked");
            }
            drop(event);
            self.state.lock().calling = None;
            self.done.notify_all();
        }
    }

    fn next(&self) -> Option<E> {
        let mut state = self.state.lock();
        loop {
            let number = state.next();
            if let Some(event) = state.events.pop_front() {
                state.calling = Some(number);
                return Some(event);
            }
            if state.closed {
                return None;
            }
            self.came.wait(&mut state);
        }
    }
}

impl<E> Clone for Caller<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}
