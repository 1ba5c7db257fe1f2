//! The bounded queue between a worker thread and a stream thread.
//!
//! In: tags from the worker, which waits while the queue is full. Out: a batch at a time on the stream thread, which
//! never waits. The worker is woken when the queue is half empty, so that it works in long strides instead of once a tag. A stream that looks with its
//! ticks needs no waking; one that has taken all, and does not want to wait for its next tick, is woken when the queue is full, or will get no more.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::time::MediaTime;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Step;
use super::stop::{Closed, Finish};
use crate::config::QueueBounds;
use crate::transcode::Length;

#[derive(Debug, Default)]
struct State {
    steps: VecDeque<Step>,
    bytes: usize,
    /// The producer is gone; what is queued is still handed out.
    finished: Option<Finish>,
    /// The consumer is gone.
    closed: bool,
    producer_waits: bool,
    /// The consumer has taken all there was.
    consumer_waits: bool,
    /// How long the laps are that end in the queue, in milliseconds.
    laps: VecDeque<i64>,
    written: Written,
}

/// How far the producer is. The times of tags begin anew with each lap; these are of a clock that goes on.
#[derive(Debug, Default)]
struct Written {
    /// The time of the last tag within its lap, and where that lap ends, once it is known. In milliseconds.
    last: i64,
    end: Option<i64>,
    /// The laps that have ended in the queue and were not taken out since.
    laps: i64,
}

/// How far the consumer got; judged in the same breath as taking, or what came in between would be lost sight of.
#[derive(Debug, Clone)]
pub(crate) enum Taken {
    /// Everything up to the time that was asked for; what waits is later.
    Due,
    /// Everything there is, although the producer has not ended.
    Dry,
    /// Everything there will be: the source is complete.
    Ended,
    /// Everything there will be: the source failed.
    Failed(crate::error::Error),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    room: Condvar,
    bounds: QueueBounds,
    /// Bytes the producer holds itself.
    behind: AtomicUsize,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct TagSender {
    shared: Arc<Shared>,
    /// How long it has waited for room.
    waited: Cell<Duration>,
    /// Is told how much media waits, after each step.
    ahead: Option<Length>,
    /// Wakes the consumer.
    wake: Option<Wake>,
}

/// Wakes a consumer that does not want to wait for its next tick.
#[derive(Clone)]
pub(crate) struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}

/// The stream's end.
#[derive(Debug)]
pub(crate) struct TagReceiver(Arc<Shared>);

/// Makes a queue with `bounds`.
pub(crate) fn queue(bounds: QueueBounds) -> (TagSender, TagReceiver) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        room: Condvar::new(),
        bounds,
        behind: AtomicUsize::new(0),
    });
    (
        TagSender { shared: shared.clone(), waited: Cell::default(), ahead: None, wake: None },
        TagReceiver(shared),
    )
}

impl State {
    /// Media time from the first tag that waits to the last, over the ends of laps.
    fn span(&self) -> Duration {
        let (mut laps, mut before) = (self.laps.iter(), 0);
        for step in &self.steps {
            match step {
                Step::Tag(first) => {
                    let last = self.written.laps.saturating_add(self.written.last);
                    return millis(last.saturating_sub(before).saturating_sub(first.timestamp.as_millis()));
                }
                Step::End => before += laps.next().unwrap_or(&0),
                Step::Opened(_) | Step::Notice(_) | Step::Ending(_) => {}
            }
        }
        Duration::ZERO
    }

    fn first_picture(&self) -> Option<MediaTime> {
        self.steps.iter().find_map(|step| match step {
            Step::Tag(tag) if tag.is_video() && !tag.is_sequence_header() => Some(tag.timestamp),
            _ => None,
        })
    }

    fn put(&mut self, step: Step) -> Result<(), Closed> {
        if self.closed {
            return Err(Closed);
        }
        match &step {
            Step::Tag(tag) => {
                self.bytes += tag.body.len();
                self.written.last = tag.timestamp.as_millis();
            }
            Step::Ending(facts) => {
                let end = facts.end(0).map(|end| i64::try_from(end.as_millis()).unwrap_or(i64::MAX));
                self.written.end = end;
            }
            Step::End => {
                let end = self.written.end.take();
                let lap = end.map_or(self.written.last, |end| end.max(self.written.last)).max(0);
                self.laps.push_back(lap);
                self.written.laps = self.written.laps.saturating_add(lap);
                self.written.last = 0;
            }
            Step::Opened(_) | Step::Notice(_) => {}
        }
        self.steps.push_back(step);
        Ok(())
    }

    /// Takes the first step out.
    fn pop(&mut self) -> Option<Step> {
        let step = self.steps.pop_front()?;
        match &step {
            Step::Tag(tag) => self.bytes = self.bytes.saturating_sub(tag.body.len()),
            Step::End => {
                let lap = self.laps.pop_front().unwrap_or(0);
                self.written.laps = self.written.laps.saturating_sub(lap);
            }
            Step::Opened(_) | Step::Notice(_) | Step::Ending(_) => {}
        }
        Some(step)
    }

    fn is_full(&self, bounds: &QueueBounds) -> bool {
        !self.steps.is_empty()
            && (self.steps.len() >= bounds.items || self.bytes >= bounds.bytes || self.span() >= bounds.media)
    }

    fn is_half_empty(&self, bounds: &QueueBounds) -> bool {
        self.steps.len() <= bounds.items / 2
            && self.bytes <= bounds.bytes / 2
            && self.span() <= bounds.media / 2
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl TagSender {
    /// Queues a step.
    ///
    /// # Blocking
    ///
    /// While the queue is full, until it is half empty or closed.
    pub(crate) fn send(&self, step: Step) -> Result<(), Closed> {
        let mut state = self.wait_for_room();
        state.put(step)?;
        self.tell(&state);
        Ok(())
    }

    /// Tells somebody how much media waits.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is encoded"))]
    pub(crate) fn telling(mut self, ahead: Length) -> Self {
        self.ahead = Some(ahead);
        self
    }

    /// Wakes the consumer where it has taken all, once the queue is full or will get no more.
    #[cfg_attr(
        not(feature = "libav"),
        allow(dead_code, reason = "without libav nothing is read in this way")
    )]
    pub(crate) fn waking(mut self, wake: Option<Wake>) -> Self {
        self.wake = wake;
        self
    }

    /// Wakes the consumer, if it waits.
    fn wake(&self, state: &mut MutexGuard<'_, State>) {
        if let Some(Wake(wake)) = &self.wake
            && std::mem::take(&mut state.consumer_waits)
        {
            MutexGuard::unlocked(state, || wake());
        }
    }

    fn tell(&self, state: &State) {
        if let Some(ahead) = &self.ahead {
            ahead.set(Some(state.span()));
        }
    }

    fn wait_for_room(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock();
        if state.is_full(&self.shared.bounds) {
            let since = Instant::now();
            self.wake(&mut state);
            state.producer_waits = true;
            while !state.closed && !state.is_half_empty(&self.shared.bounds) {
                self.shared.room.wait(&mut state);
            }
            state.producer_waits = false;
            self.waited.set(self.waited.get() + since.elapsed());
        }
        state
    }

    /// How long it has waited for room.
    #[cfg(feature = "libav")]
    pub(crate) fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// Queues steps that are of no use without each other: all are handed out at once.
    ///
    /// # Blocking
    ///
    /// As [`send`](Self::send), before the first of them.
    pub(crate) fn send_together(&self, steps: Vec<Step>) -> Result<(), Closed> {
        let mut steps = steps.into_iter();
        let Some(first) = steps.next() else { return Ok(()) };
        let mut state = self.wait_for_room();
        for step in std::iter::once(first).chain(steps) {
            state.put(step)?;
        }
        self.tell(&state);
        Ok(())
    }

    /// Queues steps that are of no use without each other if the queue is not full; `false` if it is, and nothing was queued. Never waits.
    ///
    /// # Errors
    ///
    /// The consumer is gone.
    #[cfg(feature = "libav")]
    pub(crate) fn offer(&self, steps: impl Iterator<Item = Step>) -> Result<bool, Closed> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return Err(Closed);
        }
        if state.is_full(&self.shared.bounds) {
            return Ok(false);
        }
        for step in steps {
            state.put(step)?;
        }
        self.tell(&state);
        Ok(true)
    }

    /// Queues something that takes no room, unless the queue holds twice as many items as it may. Never waits.
    ///
    /// # Errors
    ///
    /// The consumer is gone.
    #[cfg(feature = "libav")]
    pub(crate) fn post(&self, step: Step) -> Result<(), Closed> {
        let mut state = self.shared.state.lock();
        if state.steps.len() >= self.shared.bounds.items.saturating_mul(2) {
            return if state.closed { Err(Closed) } else { Ok(()) };
        }
        state.put(step)
    }

    /// Says how many bytes the producer holds itself, for the figures.
    pub(crate) fn note_held(&self, bytes: usize) {
        self.shared.behind.store(bytes, Ordering::Relaxed);
    }

    /// Ends the queue; what is in it is still handed out.
    pub(crate) fn finish(&self, finish: Finish) {
        let mut state = self.shared.state.lock();
        state.finished.get_or_insert(finish);
        self.wake(&mut state);
    }
}

impl Drop for TagSender {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "the source's reader".to_owned();
            self.finish(Finish::Failed(crate::error::Error::Panicked { message }));
        }
        self.finish(Finish::Ended);
    }
}

impl TagReceiver {
    /// Hands over everything up to media time `until`, or until `sink` answers `false`.
    pub(crate) fn take(&self, until: MediaTime, sink: impl FnMut(Step) -> bool) -> Taken {
        self.hand_over(self.0.state.lock(), until, sink)
    }

    /// As [`take`](Self::take), but `after` milliseconds are counted from the first picture that waits, if one does; also says
    /// when that is.
    pub(crate) fn take_from_picture(
        &self,
        after: i64,
        sink: impl FnMut(Step) -> bool,
    ) -> (Taken, Option<MediaTime>) {
        let state = self.0.state.lock();
        let picture = state.first_picture();
        let zero = picture.map_or(0, MediaTime::as_millis);
        (self.hand_over(state, MediaTime::from_millis(zero.saturating_add(after)), sink), picture)
    }

    fn hand_over(
        &self,
        mut state: MutexGuard<'_, State>,
        until: MediaTime,
        mut sink: impl FnMut(Step) -> bool,
    ) -> Taken {
        let is_later = |step: Option<&Step>| matches!(step, Some(Step::Tag(tag)) if tag.timestamp > until);
        while !is_later(state.steps.front())
            && let Some(step) = state.pop()
        {
            if !sink(step) {
                break;
            }
        }
        if state.producer_waits && state.is_half_empty(&self.0.bounds) {
            self.0.room.notify_one();
        }
        match &state.finished {
            _ if !state.steps.is_empty() => Taken::Due,
            None => {
                state.consumer_waits = true;
                Taken::Dry
            }
            Some(Finish::Ended) => Taken::Ended,
            Some(Finish::Failed(error)) => Taken::Failed(error.clone()),
        }
    }

    /// Bytes waiting, here and with the producer.
    pub(crate) fn bytes(&self) -> usize {
        self.0.state.lock().bytes + self.0.behind.load(Ordering::Relaxed)
    }

    /// Media time that waits.
    #[cfg(feature = "libav")]
    pub(crate) fn span(&self) -> Duration {
        self.0.state.lock().span()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.state.lock().steps.is_empty()
    }

    /// Whether the producer has ended.
    pub(crate) fn is_read(&self) -> bool {
        self.0.state.lock().finished.is_some()
    }
}

impl Drop for TagReceiver {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.steps.clear();
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::{Tag, TagKind};

    use super::*;
    use crate::lap::{LapFacts, Unit, VideoLap};

    fn tag(ms: i64, bytes: usize) -> Step {
        let body = Bytes::from(vec![0; bytes]);
        Step::Tag(Tag::from_wire(TagKind::Audio, MediaTime::from_millis(ms), body))
    }

    fn bounds(items: usize, bytes: usize, media_ms: u64) -> QueueBounds {
        QueueBounds { items, bytes, media: Duration::from_millis(media_ms) }
    }

    /// Sends until the queue is full, on another thread, and says how many fitted before the first `take`.
    fn fits(bounds: QueueBounds, step: impl Fn(i64) -> Step + Send + 'static) -> usize {
        let (sender, receiver) = queue(bounds);
        let worker =
            std::thread::spawn(move || (0..1000).take_while(|&n| sender.send(step(n)).is_ok()).count());
        loop {
            let state = receiver.0.state.lock();
            if state.producer_waits {
                let count = state.steps.len();
                drop(state);
                drop(receiver);
                worker.join().expect("the worker only sends");
                return count;
            }
            drop(state);
            std::thread::yield_now();
        }
    }

    #[test]
    fn each_bound_holds_and_an_empty_queue_takes_one_oversized_item() {
        assert_eq!(fits(bounds(7, 1 << 20, 100_000), |n| tag(n, 10)), 7);
        assert_eq!(fits(bounds(1000, 100, 100_000), |n| tag(n, 30)), 4);
        assert_eq!(fits(bounds(1000, 1 << 20, 500), |n| tag(n * 100, 10)), 6);
        assert_eq!(fits(bounds(1000, 100, 500), |n| tag(n, 4096)), 1);
    }

    /// A lap of ten pictures, one every 100 ms, a second long; it says so before its last picture, or not at all.
    fn lap_step(n: i64, says_end: bool) -> Step {
        let video = VideoLap { unit: Unit::MILLIS, length: 1000, frames: 10 };
        let facts = LapFacts { video: Some(video), audio: None };
        match n % 12 {
            9 => Step::Ending(if says_end { facts } else { LapFacts::default() }),
            10 => tag(900, 10),
            11 => Step::End,
            n => tag(n * 100, 10),
        }
    }

    #[test]
    fn the_bound_on_media_holds_over_the_ends_of_laps() {
        // Of 2.5 s: two laps of twelve steps, and the pictures of the third at 0 to 0.5 s.
        assert_eq!(fits(bounds(1000, 1 << 20, 2500), |n| lap_step(n, true)), 12 + 12 + 6);
        // Where laps do not say how long they are, they end with their last picture.
        assert_eq!(fits(bounds(1000, 1 << 20, 2500), |n| lap_step(n, false)), 12 + 12 + 8);
    }

    #[test]
    fn what_waits_is_measured_over_the_ends_of_laps_while_it_is_taken() {
        let (sender, receiver) = queue(bounds(1000, 1 << 20, 60_000));
        (0..30).for_each(|n| sender.send(lap_step(n, true)).expect("there is room"));
        let spans = std::iter::from_fn(|| {
            let mut taken = false;
            receiver.take(MediaTime::from_millis(i64::MAX), |_| {
                taken = true;
                false
            });
            taken.then(|| receiver.0.state.lock().span().as_millis())
        });
        let spans: Vec<_> = spans.collect();
        // Behind the first picture of the first lap, before and behind its end, and so on.
        assert_eq!(spans[0], 2400);
        assert_eq!((spans[9], spans[10], spans[11]), (1600, 1500, 1500));
        assert_eq!((spans[23], spans[24], spans[28], spans[29]), (500, 400, 0, 0));
        assert!(spans.windows(2).all(|pair| pair[1] <= pair[0]), "{spans:?}");
    }

    #[test]
    fn only_what_is_due_is_handed_over_and_the_end_comes_last() {
        let (sender, receiver) = queue(bounds(100, 1 << 20, 60_000));
        for ms in [0, 40, 80, 120] {
            sender.send(tag(ms, 5)).expect("there is room");
        }
        let mut taken = 0;
        let due = receiver.take(MediaTime::from_millis(80), |_| {
            taken += 1;
            true
        });
        assert!(matches!(due, Taken::Due));
        assert_eq!((taken, receiver.bytes()), (3, 5));
        let dry = receiver.take(MediaTime::from_millis(130), |_| {
            taken += 1;
            true
        });
        assert!(matches!(dry, Taken::Dry));
        sender.send(tag(160, 5)).expect("there is room");
        drop(sender);
        let finish = receiver.take(MediaTime::from_millis(1000), |_| {
            taken += 1;
            true
        });
        assert!(matches!(finish, Taken::Ended));
        assert_eq!((taken, receiver.bytes()), (5, 0));
    }

    #[test]
    fn what_comes_while_the_consumer_looks_is_not_taken_for_later() {
        let (sender, receiver) = queue(bounds(10, 1 << 20, 60_000));
        let worker = std::thread::spawn(move || (0..20_000).all(|ms| sender.send(tag(ms, 1)).is_ok()));
        let (mut until, mut taken) = (0, 0);
        loop {
            let count = |_| {
                taken += 1;
                true
            };
            match receiver.take(MediaTime::from_millis(until), count) {
                Taken::Due => {
                    assert_eq!(taken, until + 1, "all that is due was handed over");
                    until += 3;
                }
                Taken::Dry => std::thread::yield_now(),
                Taken::Ended => break,
                Taken::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(taken, 20_000);
        assert!(worker.join().expect("the worker only sends"));
    }

    #[test]
    fn a_closed_queue_releases_a_waiting_producer() {
        let (sender, receiver) = queue(bounds(1, 10, 10));
        let worker = std::thread::spawn(move || {
            sender.send(tag(0, 1)).expect("the first fits");
            sender.send(tag(1, 1))
        });
        while !receiver.0.state.lock().producer_waits {
            std::thread::yield_now();
        }
        drop(receiver);
        assert_eq!(worker.join().expect("the worker only sends"), Err(Closed));
    }

    #[cfg(feature = "libav")]
    #[test]
    fn what_is_offered_to_a_full_queue_is_not_waited_for() {
        let (sender, receiver) = queue(bounds(3, 1 << 20, 60_000));
        let offer = |from: i64| sender.offer((from..from + 2).map(|ms| tag(ms, 1)));
        assert_eq!((offer(0), offer(2), offer(4)), (Ok(true), Ok(true), Ok(false)), "whole or not at all");
        let notice = || Step::Notice(crate::event::EventKind::PublicationBegan { name: "studio".to_owned() });
        (0..10).for_each(|_| sender.post(notice()).expect("it is open"));
        assert_eq!(receiver.0.state.lock().steps.len(), 6, "notices have a bound, too");
        receiver.take(MediaTime::from_millis(i64::MAX), |_| true);
        assert_eq!(offer(6), Ok(true));
        drop(receiver);
        assert_eq!((offer(8), sender.post(notice())), (Err(Closed), Err(Closed)));
    }

    #[test]
    fn who_has_taken_all_is_woken_once_it_is_full_and_at_its_end() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let (sender, receiver) = queue(bounds(4, 1 << 20, 60_000));
        let sender = sender.waking(Some(Wake::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })));
        let take = || receiver.take(MediaTime::from_millis(i64::MAX), |_| true);
        let times = || woken.load(Ordering::Relaxed);
        for ms in 0..4 {
            sender.send(tag(ms, 1)).expect("there is room");
        }
        assert!(matches!(take(), Taken::Dry));
        for ms in 4..8 {
            sender.send(tag(ms, 1)).expect("there is room");
        }
        assert_eq!(times(), 0, "more may come");
        // The sender is the other thread's.
        let full = std::thread::spawn(move || {
            sender.send(tag(8, 1)).expect("there is room");
            sender
        });
        while times() == 0 {
            std::thread::yield_now();
        }
        assert!(matches!(take(), Taken::Dry));
        let sender = full.join().expect("it does not panic");
        sender.finish(Finish::Ended);
        assert_eq!(times(), 2);
        assert!(matches!(take(), Taken::Ended));
        sender.finish(Finish::Ended);
        assert_eq!(times(), 2, "nobody waits any more");
    }
}
