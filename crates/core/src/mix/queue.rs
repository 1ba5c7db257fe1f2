//! Samples that wait to be mixed.
//!
//! In: rows of samples, from the thread that makes them. Out: the same, on the thread that mixes, which never waits. Bounded: who gives
//! more than there is room for waits, or is told how much was taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::sys::Wakers;

/// The part of a queue that has to be free before who gives in strides is woken, and works again.
const STRIDES: usize = 8;

/// The samples of one input, at the rate and with the channels of the mix.
#[derive(Debug)]
pub(crate) struct SampleQueue {
    state: Mutex<State>,
    room: Condvar,
    filled: Condvar,
    /// Tasks that wait until half of it is free.
    wakers: Arc<Wakers>,
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
    /// Samples that have to wait before the first is taken, and again once all were taken.
    reserve: usize,
    /// Who gives waits for more room than there is.
    strides: bool,
    /// They do not wait yet.
    is_filling: bool,
    /// How often all were taken, and more were wanted.
    ran_dry: u64,
    /// What was to come next when the oldest were dropped, as far as it is faded; nothing was taken since.
    lead: Vec<Vec<f32>>,
}

impl SampleQueue {
    /// For this many channels, and samples of each at most.
    pub(crate) fn new(channels: u32, most: usize) -> Self {
        let rows = vec![VecDeque::new(); channels as usize];
        let state = State {
            rows,
            closed: false,
            finished: false,
            dropped: 0,
            reserve: 0,
            strides: false,
            is_filling: false,
            ran_dry: 0,
            lead: Vec::new(),
        };
        let (room, filled, wakers) = (Condvar::new(), Condvar::new(), Arc::default());
        Self { state: Mutex::new(state), room, filled, wakers, most }
    }

    /// Takes all of them, one row for each channel; `false` if nobody mixes any more.
    ///
    /// # Blocking
    ///
    /// Until there is room.
    pub(crate) fn push(&self, rows: &[Vec<f32>]) -> bool {
        self.push_once(rows, 1)
    }

    /// As [`push`](Self::push), for who always has more: once it is full, an eighth has to be free before it is given more, so that who gives is
    /// woken seldom.
    ///
    /// # Blocking
    ///
    /// Until there is that much room.
    pub(crate) fn push_in_strides(&self, rows: &[Vec<f32>]) -> bool {
        self.push_once(rows, self.most.div_ceil(STRIDES))
    }

    /// Once it is full, it waits for so much `least` room.
    fn push_once(&self, rows: &[Vec<f32>], least: usize) -> bool {
        let (mut from, samples) = (0, rows.first().map_or(0, Vec::len));
        let mut state = self.state.lock();
        while from < samples {
            if state.closed {
                return false;
            }
            let room = self.most.saturating_sub(state.waiting());
            state.strides = least > 1 && room < if state.strides { least } else { 1 };
            if room == 0 || state.strides {
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

    /// Takes all of them: where there is no room, the oldest that wait are dropped, so that `left` wait, and what is before and behind them is
    /// faded into each other over `fade`. Says how many waited before; `None` if nobody mixes any more.
    pub(crate) fn push_over(&self, rows: &[Vec<f32>], left: usize, fade: usize) -> Option<usize> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let before = state.waiting();
        state.take_in(rows, 0..rows.first().map_or(0, Vec::len));
        let waiting = state.waiting();
        if waiting > self.most {
            state.drop_oldest(waiting.saturating_sub(left), fade);
        }
        self.filled.notify_all();
        Some(before)
    }

    /// Nothing is taken before so many wait; nor once it has run dry, until they do again.
    pub(crate) fn set_reserve(&self, reserve: usize) {
        let mut state = self.state.lock();
        state.is_filling |= state.reserve == 0;
        state.reserve = reserve;
    }

    /// How often it ran dry, although more was to come.
    pub(crate) fn ran_dry(&self) -> u64 {
        self.state.lock().ran_dry
    }

    /// Moves the next samples into rows, from their beginning; says how many there were.
    pub(crate) fn take(&self, rows: &mut [Vec<f32>]) -> usize {
        let wanted = rows.first().map_or(0, Vec::len);
        let mut state = self.state.lock();
        let count = state.take_out(wanted);
        for (row, waiting) in rows.iter_mut().zip(&mut state.rows) {
            let (first, second) = waiting.as_slices();
            let (first, row) = (&first[..count.min(first.len())], &mut row[..count]);
            row[..first.len()].copy_from_slice(first);
            row[first.len()..].copy_from_slice(&second[..count - first.len()]);
            waiting.drain(..count);
        }
        if count > 0 {
            state.lead.clear();
            if !state.strides || self.most.saturating_sub(state.waiting()) >= self.most.div_ceil(STRIDES) {
                self.room.notify_all();
            }
        }
        let is_half_free = self.is_half_free(&state);
        drop(state);
        if is_half_free {
            self.wakers.wake();
        }
        count
    }

    /// Throws away what waits.
    pub(crate) fn clear(&self) {
        self.state.lock().rows.iter_mut().for_each(VecDeque::clear);
        self.room.notify_all();
        self.wakers.wake();
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
        let mut state = self.state.lock();
        (state.finished, state.is_filling) = (false, state.reserve > 0);
    }

    /// The newest `count` samples that wait fade away: what comes behind them is something else.
    pub(crate) fn fade_out(&self, count: usize) {
        for row in &mut self.state.lock().rows {
            for (index, sample) in row.iter_mut().rev().take(count).enumerate() {
                *sample *= index as f32 / count as f32;
            }
        }
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
        drop(state);
        self.room.notify_all();
        self.filled.notify_all();
        self.wakers.wake();
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

    /// Samples of each channel there is room for.
    pub(crate) fn room(&self) -> usize {
        self.most.saturating_sub(self.state.lock().waiting())
    }

    /// Whether half of it is free; `None` if nobody takes any more.
    pub(crate) fn has_room(&self) -> Option<bool> {
        let state = self.state.lock();
        (!state.closed).then(|| self.is_half_free(&state))
    }

    fn is_half_free(&self, state: &State) -> bool {
        2 * state.waiting() <= self.most
    }

    /// What wakes tasks once [`has_room`](Self::has_room) may say something else.
    pub(crate) fn wakers(&self) -> Arc<Wakers> {
        self.wakers.clone()
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

    /// How many of `wanted` samples are taken now.
    fn take_out(&mut self, wanted: usize) -> usize {
        let waiting = self.waiting();
        self.is_filling &= waiting < self.reserve && !self.finished;
        if self.is_filling {
            return 0;
        }
        if waiting < wanted && self.reserve > 0 && !self.finished {
            self.is_filling = true;
            self.ran_dry += 1;
        }
        wanted.min(waiting)
    }

    /// Drops the oldest `count` samples, and fades what was to come next into what comes instead.
    fn drop_oldest(&mut self, count: usize, fade: usize) {
        let fade = fade.min(self.waiting().saturating_sub(count));
        if self.lead.is_empty() {
            self.lead = self.rows.iter().map(|row| row.iter().take(fade).copied().collect()).collect();
        }
        for (row, lead) in self.rows.iter_mut().zip(&self.lead) {
            for (index, before) in lead.iter().enumerate().take(fade) {
                let way = (index + 1) as f32 / (fade + 1) as f32;
                row[count + index] = before * (1.0 - way) + row[count + index] * way;
            }
            row.drain(..count);
        }
        self.dropped += count as u64;
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
    fn who_gives_in_strides_waits_until_an_eighth_is_free() {
        let queue = Arc::new(SampleQueue::new(1, 800));
        assert!(queue.push_in_strides(&[vec![1.0; 800]]));
        let giver = queue.clone();
        let thread = std::thread::spawn(move || giver.push_in_strides(&[vec![2.0; 100]]));
        while !queue.state.lock().strides {
            std::thread::yield_now();
        }
        let take = |count| queue.take(&mut [vec![0.0; count]]);
        // Looked at in one breath with what was taken: it may be about to look itself.
        for taken in 1..=9 {
            assert_eq!(take(11), 11);
            assert_eq!(queue.waiting(), 800 - 11 * taken, "there is room for {}", 11 * taken);
        }
        assert_eq!(take(1), 1);
        assert!(thread.join().expect("it gave all"));
        assert_eq!(queue.waiting(), 800);
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_when_half_is_free_and_when_nobody_takes_any_more() {
        let queue = SampleQueue::new(1, 100);
        let woken = Arc::new(Woken::default());
        let count = || woken.0.load(std::sync::atomic::Ordering::Relaxed);
        let mut waiting = crate::sys::Waiting::new(queue.wakers());
        let take = |count| queue.take(&mut [vec![0.0; count]]);
        assert_eq!(queue.try_push(&[vec![1.0; 100]]), Some(100));
        assert_eq!((queue.has_room(), queue.room()), (Some(false), 0));
        waiting.note(&woken.clone().into());
        assert_eq!((take(49), count(), queue.has_room()), (49, 0, Some(false)));
        assert_eq!((take(1), count(), queue.has_room(), queue.room()), (1, 1, Some(true), 50));
        waiting.note(&woken.clone().into());
        queue.close();
        assert_eq!((count(), queue.has_room()), (2, None));
    }

    #[test]
    fn a_reserve_has_to_wait_before_the_first_sample_and_after_the_last() {
        let queue = SampleQueue::new(1, 1000);
        queue.set_reserve(100);
        let take = |wanted| {
            let mut rows = vec![vec![0.0; wanted]];
            queue.take(&mut rows)
        };
        let push = |count| queue.push_over(&[vec![1.0; count]], 100, 10);
        assert_eq!(push(99), Some(0));
        assert_eq!(take(10), 0);
        assert_eq!(push(1), Some(99));
        assert_eq!((take(10), take(80), take(50)), (10, 80, 10));
        assert_eq!(push(99), Some(0));
        assert_eq!((take(1), queue.ran_dry()), (0, 1));
        queue.finish();
        assert_eq!((take(50), take(50), queue.ran_dry()), (50, 49, 1), "the end is the end");
    }

    #[test]
    fn the_oldest_makes_room_for_what_comes_without_a_jump() {
        let queue = SampleQueue::new(1, 1000);
        // A slope that goes on: what is left out of it would be a jump of 0.7.
        let slope = |from: usize, count: usize| -> Vec<f32> {
            (from..from + count).map(|at| at as f32 / 1000.0).collect()
        };
        assert_eq!(queue.push_over(&[slope(0, 1000)], 400, 200), Some(0));
        let mut first = vec![vec![0.0; 100]];
        assert_eq!(queue.take(&mut first), 100);
        assert_eq!(queue.push_over(&[slope(1000, 200)], 400, 200), Some(900));
        assert_eq!((queue.waiting(), queue.dropped()), (400, 700));
        let mut rest = vec![vec![0.0; 400]];
        assert_eq!(queue.take(&mut rest), 400);
        let heard = [first.remove(0), rest.remove(0)].concat();
        let steps = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        assert!(steps.fold(0.0, f32::max) < 0.006, "0.7 over 200 samples, and the slope");
        assert_eq!(heard.last(), Some(&1.199));
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
