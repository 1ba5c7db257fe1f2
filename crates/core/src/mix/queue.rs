//! Samples that wait to be mixed.
//!
//! In: rows of samples, from the thread that makes them. Out: the same, on the thread that mixes, which never waits. Bounded: who gives
//! more than there is room for waits, or is told how much was taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The samples of one input, at the rate and with the channels of the mix.
#[derive(Debug)]
pub(crate) struct SampleQueue {
    state: Mutex<State>,
    room: Condvar,
    filled: Condvar,
    most: usize,
}

#[derive(Debug)]
struct State {
    rows: Vec<VecDeque<f32>>,
    /// Nobody takes any more.
    closed: bool,
    /// Nobody gives any more: what is there is the end.
    finished: bool,
    dropped: u64,
}

impl SampleQueue {
    /// For this many channels, and samples of each at most.
    pub(crate) fn new(channels: u32, most: usize) -> Self {
        let rows = vec![VecDeque::new(); channels as usize];
        let state = State { rows, closed: false, finished: false, dropped: 0 };
        Self { state: Mutex::new(state), room: Condvar::new(), filled: Condvar::new(), most }
    }

    /// Takes all of them, one row for each channel; `false` if nobody mixes any more.
    ///
    /// # Blocking
    ///
    /// Until there is room.
    pub(crate) fn push(&self, rows: &[Vec<f32>]) -> bool {
        let (mut from, samples) = (0, rows.first().map_or(0, Vec::len));
        let mut state = self.state.lock();
        while from < samples {
            if state.closed {
                return false;
            }
            let room = self.most.saturating_sub(state.waiting());
            if room == 0 {
                self.room.wait(&mut state);
                continue;
            }
            let to = samples.min(from + room);
            state.take_in(rows, from..to);
            self.filled.notify_all();
            from = to;
        }
        !state.closed
    }

    /// Takes as many as there is room for, and drops the rest, which is counted. `None` if nobody mixes any more.
    pub(crate) fn try_push(&self, rows: &[Vec<f32>]) -> Option<usize> {
        let samples = rows.first().map_or(0, Vec::len);
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let taken = samples.min(self.most.saturating_sub(state.waiting()));
        state.take_in(rows, 0..taken);
        self.filled.notify_all();
        state.dropped += (samples - taken) as u64;
        Some(taken)
    }

    /// Moves the next samples into rows, from their beginning; says how many there were.
    pub(crate) fn take(&self, rows: &mut [Vec<f32>]) -> usize {
        let wanted = rows.first().map_or(0, Vec::len);
        let mut state = self.state.lock();
        let count = wanted.min(state.waiting());
        for (row, waiting) in rows.iter_mut().zip(&mut state.rows) {
            for (to, sample) in row.iter_mut().zip(waiting.drain(..count)) {
                *to = sample;
            }
        }
        if count > 0 {
            self.room.notify_all();
        }
        count
    }

    /// Throws away what waits.
    pub(crate) fn clear(&self) {
        self.state.lock().rows.iter_mut().for_each(VecDeque::clear);
        self.room.notify_all();
    }

    /// Samples of each channel that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting()
    }

    /// Samples of each channel that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Somebody gives again.
    pub(crate) fn begin(&self) {
        self.state.lock().finished = false;
    }

    /// Nothing follows what waits.
    pub(crate) fn finish(&self) {
        self.state.lock().finished = true;
        self.filled.notify_all();
    }

    /// Whether nothing follows what waits.
    pub(crate) fn is_finished(&self) -> bool {
        self.state.lock().finished
    }

    /// Nobody takes any more: who waits for room is told.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.rows.iter_mut().for_each(VecDeque::clear);
        self.room.notify_all();
        self.filled.notify_all();
    }

    /// Whether nobody takes any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Waits until nobody takes any more, at most for so long.
    ///
    /// # Blocking
    ///
    /// Up to `most`.
    pub(crate) fn wait_closed(&self, most: Duration) {
        let until = Instant::now() + most;
        let mut state = self.state.lock();
        while !state.closed && !self.room.wait_until(&mut state, until).timed_out() {}
    }

    /// Waits until it is half full, nothing follows, or nobody takes any more; at most until then.
    ///
    /// # Blocking
    ///
    /// Up to that instant.
    pub(crate) fn wait_filled(&self, until: Instant) {
        let mut state = self.state.lock();
        while !state.closed && !state.finished && 2 * state.waiting() < self.most {
            if self.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.state.lock();
        state.waiting() * state.rows.len() * size_of::<f32>()
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.rows.first().map_or(0, VecDeque::len)
    }

    fn take_in(&mut self, rows: &[Vec<f32>], range: std::ops::Range<usize>) {
        for (waiting, row) in self.rows.iter_mut().zip(rows) {
            waiting.extend(row.get(range.clone()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_gives_waits_for_room_and_who_takes_never_waits() {
        let queue = Arc::new(SampleQueue::new(2, 100));
        let giver = queue.clone();
        let thread = std::thread::spawn(move || {
            let row: Vec<f32> = (0..1000).map(|at| at as f32).collect();
            assert!(giver.push(&[row.clone(), row.iter().map(|sample| -sample).collect()]));
            giver.finish();
        });
        let mut out = Vec::new();
        while out.len() < 1000 {
            let mut rows = vec![vec![0.0; 30]; 2];
            let count = queue.take(&mut rows);
            assert!(rows[0].iter().zip(&rows[1]).all(|(left, right)| *left == -*right));
            out.extend_from_slice(&rows[0][..count]);
            assert!(queue.waiting() <= 100);
        }
        thread.join().expect("it gave all");
        assert!(out.iter().enumerate().all(|(at, sample)| *sample == at as f32));
        assert!(queue.is_finished());
    }

    #[test]
    fn what_has_no_room_is_counted_and_a_closed_queue_takes_nothing() {
        let queue = Arc::new(SampleQueue::new(1, 100));
        assert_eq!(queue.try_push(&[vec![1.0; 150]]), Some(100));
        assert_eq!((queue.dropped(), queue.bytes()), (50, 400));
        let giver = queue.clone();
        let thread = std::thread::spawn(move || giver.push(&[vec![1.0; 10]]));
        queue.close();
        assert!(!thread.join().expect("it was told"));
        assert_eq!(queue.try_push(&[vec![1.0; 1]]), None);
        assert_eq!(queue.waiting(), 0);
    }
}
