//! What waits between a program and the worker that encodes for it.
//!
//! In: pictures and samples from the program's threads, with times. Out: those that are due, to the worker. Bounded by pictures, bytes and
//! media time; what happens when it is full, the program says. Locked for moments only: pixels are copied elsewhere.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use flowcast_av::{Canvas, FramePool, VideoFrame};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::samples::{Channels, Joining, Run};
use super::timeline::{GoesBack, Timeline, Track, When, micros};
use super::{FrameStats, Settings, WhenFull};
use crate::error::Error;
use crate::sys::Wakers;

/// Bytes of pixels that may wait.
const MOST_BYTES: usize = 64 << 20;
/// Microseconds of sound that may wait.
pub(super) const MOST_SOUND: i64 = 2_000_000;

/// Where the time comes from.
#[derive(Debug)]
pub(super) enum Clock {
    System,
    /// A test's.
    #[cfg(test)]
    Virtual(Mutex<Instant>),
}

impl Clock {
    pub(super) fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            #[cfg(test)]
            Self::Virtual(now) => *now.lock(),
        }
    }
}

/// What a program's sinks and the worker share.
pub(super) struct Channel {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pool: FramePool,
    state: Mutex<State>,
    /// There may be room for a sink.
    room: Condvar,
    /// There may be something to do for the worker.
    work: Condvar,
    /// Tasks that wait for room.
    pub(super) wakers: Arc<Wakers>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    timeline: Timeline,
    pictures: VecDeque<Queued>,
    bytes: usize,
    sounds: VecDeque<Run>,
    joining: Joining,
    /// Whether the program said the times of what came last, of each track.
    said: [bool; 2],
    /// Pictures of the pool that are drawn or wait.
    lent: usize,
    sinks: usize,
    stage: Stage,
    /// Which of the streams that took it one after the other.
    taker: u64,
    stats: FrameStats,
}

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No stream takes it yet: the oldest goes when there is no more room.
    Waiting,
    /// A stream will take it soon.
    Opened,
    /// A stream takes it as its time comes.
    Running,
    /// Nothing takes it any more.
    Ended,
}

/// A picture that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) time: i64,
    pub(super) picture: VideoFrame,
    /// It is of those that are lent.
    lent: bool,
    /// It came without a time.
    arrived: bool,
}

/// What the worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The clock's zero is here.
    Run(Instant),
    Stop,
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) pictures: Vec<Queued>,
    pub(super) sounds: Vec<Run>,
    /// No sink is left, and nothing waits.
    pub(super) over: bool,
}

impl Channel {
    /// For settings that were checked.
    ///
    /// # Errors
    ///
    /// [`Error::Media`]: there are no such pictures.
    pub(super) fn new(settings: Settings, clock: Clock) -> Result<Self, Error> {
        let pool = FramePool::new(&settings.video.described())?;
        let joining = Joining::new(settings.audio.map_or(48_000, |audio| audio.sample_rate));
        let state = State {
            timeline: Timeline::default(),
            pictures: VecDeque::new(),
            bytes: 0,
            sounds: VecDeque::new(),
            joining,
            said: [false; 2],
            lent: 0,
            sinks: 1,
            stage: Stage::Waiting,
            taker: 0,
            stats: FrameStats::default(),
        };
        let (state, wakers) = (Mutex::new(state), Arc::default());
        Ok(Self { settings, clock, pool, state, room: Condvar::new(), work: Condvar::new(), wakers })
    }

    fn picture_bytes(&self) -> usize {
        self.settings.video.bytes()
    }

    fn delay(&self) -> i64 {
        micros(self.settings.delay)
    }

    /// There may be room: threads and tasks that wait look again.
    fn tell_room(&self) {
        self.room.notify_all();
        self.wakers.wake();
    }

    // The program's side.

    /// A picture to draw on; `None` if there is none without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`]; [`Error::Media`] without memory.
    pub(super) fn try_lend(&self) -> Result<Option<Canvas>, Error> {
        let mut state = self.state.lock();
        if !self.make_buffer(&mut state)? {
            return Ok(None);
        }
        state.lent += 1;
        drop(state);
        Ok(Some(self.pool.get().inspect_err(|_| self.give_back())?))
    }

    /// As [`try_lend`](Self::try_lend), waiting for it.
    pub(super) fn lend(&self) -> Result<Canvas, Error> {
        let mut state = self.state.lock();
        while !self.make_buffer(&mut state)? {
            self.room.wait(&mut state);
        }
        state.lent += 1;
        drop(state);
        Ok(self.pool.get().inspect_err(|_| self.give_back())?)
    }

    /// Whether another picture may be lent, after making room if that is what is to be done.
    fn make_buffer(&self, state: &mut State) -> Result<bool, Error> {
        if state.stage == Stage::Ended {
            return Err(Error::Ended);
        }
        if state.lent < self.settings.pool_size {
            return Ok(true);
        }
        let oldest = state.pictures.iter().position(|queued| queued.lent).filter(|_| self.takes_back(state));
        if let Some(oldest) = oldest {
            self.drop_waiting(state, oldest, None);
        }
        Ok(state.lent < self.settings.pool_size)
    }

    /// Drops a picture that waits, before one of time `next`, if that is known; by how much what waits is earlier now.
    fn drop_waiting(&self, state: &mut State, index: usize, next: Option<i64>) -> i64 {
        let on_time = state.timeline.now(self.clock.now()) - self.delay();
        let Some(queued) = state.pictures.remove(index) else { return 0 };
        state.forget(&queued, self.picture_bytes());
        state.stats.dropped += 1;
        // What comes as it is made is never ahead.
        if queued.time <= on_time || queued.arrived {
            return 0;
        }
        let next = state.pictures.get(index).map(|next| next.time).or(next);
        let rate = self.settings.video.rate;
        let usual = 1_000_000 * i64::from(rate.den()) / i64::from(rate.num().max(1));
        let by = next.map_or(usual, |next| (next - queued.time).max(0));
        state.advance(by, Track::Picture);
        by
    }

    /// Whether a picture that waits is dropped where another one is to be lent.
    fn takes_back(&self, state: &State) -> bool {
        state.stage == Stage::Waiting || self.settings.when_full == WhenFull::DropOldest
    }

    /// A picture that was lent is not sent after all.
    pub(super) fn give_back(&self) {
        let mut state = self.state.lock();
        state.lent = state.lent.saturating_sub(1);
        drop(state);
        self.tell_room();
    }

    /// Whether a picture, and samples, could be sent now.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`].
    pub(super) fn has_room(&self) -> Result<bool, Error> {
        let state = self.state.lock();
        if state.stage == Stage::Ended {
            return Err(Error::Ended);
        }
        let can_lend = state.lent < self.settings.pool_size
            || (self.takes_back(&state) && state.pictures.iter().any(|queued| queued.lent));
        Ok(can_lend && self.has_room_for_picture(&state) && self.has_room_for_sound(&state))
    }

    fn has_room_for_picture(&self, state: &State) -> bool {
        let fits = state.pictures.len() < self.settings.max_queue_size
            && state.bytes + self.picture_bytes() <= MOST_BYTES;
        state.pictures.is_empty() || fits || !self.waits(state)
    }

    fn has_room_for_sound(&self, state: &State) -> bool {
        let most = state.joining.sample_at(MOST_SOUND);
        let span = state.sounds.front().zip(state.sounds.back());
        span.is_none_or(|(first, last)| last.end() - first.start < most) || !self.waits(state)
    }

    /// Whether the program waits for room; otherwise something is dropped.
    fn waits(&self, state: &State) -> bool {
        self.settings.when_full == WhenFull::Block && state.stage != Stage::Waiting
    }

    /// Sends a picture, which was `lent` or not; `false` if it has to wait, and `wait` says not to.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`], [`Error::Frame`]; a picture that was lent still is.
    pub(super) fn send_picture(
        &self,
        picture: &mut Option<Canvas>,
        lent: bool,
        when: When,
        wait: bool,
    ) -> Result<bool, Error> {
        let Some(mut state) = self.await_room(Self::has_room_for_picture, wait)? else { return Ok(false) };
        let now = self.clock.now();
        let placed = state.timeline.place(now, Track::Picture, when, self.delay());
        let mut time = placed.map_err(|back| state.refuse(back))?;
        let Some(picture) = picture.take() else { return Ok(true) };
        state.stats.pictures += 1;
        state.said[Track::Picture as usize] = when != When::Now;
        let bytes = self.picture_bytes();
        let is_full = |state: &State| {
            let fits = state.bytes + bytes <= MOST_BYTES;
            !state.pictures.is_empty() && (state.pictures.len() >= self.settings.max_queue_size || !fits)
        };
        while is_full(&state) {
            if self.drops_newest(&state) {
                state.stats.dropped += 1;
                // The next one takes its place.
                let on_time = state.timeline.now(now) - self.delay();
                let is_ahead = state.pictures.front().is_some_and(|first| first.time > on_time);
                if let Some(last) = state.pictures.back().filter(|_| is_ahead && when != When::Now) {
                    let by = (time - last.time).max(0);
                    state.timeline.advance(by);
                }
                state.lent = state.lent.saturating_sub(usize::from(lent));
                drop(state);
                drop(picture);
                self.tell_room();
                return Ok(true);
            }
            let by = self.drop_waiting(&mut state, 0, Some(time));
            if when != When::Now {
                time -= by;
            }
        }
        state.bytes += bytes;
        // Pictures stay in the order they were sent.
        let time = state.pictures.back().map_or(time, |last| last.time.max(time));
        let picture = picture.into_frame();
        state.pictures.push_back(Queued { time, picture, lent, arrived: when == When::Now });
        let first = state.pictures.len() == 1;
        let may_be_taken_back = self.takes_back(&state);
        drop(state);
        // The worker looks with each of its ticks; it waits only for the first.
        if first {
            self.work.notify_one();
        }
        // Another sink that waits for a picture of the pool may have this one, or one that was dropped.
        if may_be_taken_back {
            self.tell_room();
        }
        Ok(true)
    }

    /// Whether it is what is sent that is dropped where there is no room, and not what waits.
    fn drops_newest(&self, state: &State) -> bool {
        self.settings.when_full == WhenFull::DropNewest && state.stage != Stage::Waiting
    }

    /// Sends samples that begin so many microseconds `behind` the time; `false` as for [`send_picture`](Self::send_picture).
    ///
    /// # Errors
    ///
    /// [`Error::Ended`], [`Error::Frame`].
    pub(super) fn send_samples(
        &self,
        channels: Channels,
        when: When,
        behind: i64,
        wait: bool,
    ) -> Result<bool, Error> {
        let Some(mut state) = self.await_room(Self::has_room_for_sound, wait)? else { return Ok(false) };
        let now = self.clock.now();
        let placed = state.timeline.place_part(now, Track::Sound, when, behind, self.delay());
        let time = placed.map_err(|back| state.refuse(back))?;
        let said = when != When::Now;
        state.said[Track::Sound as usize] = said;
        state.stats.samples += channels.first().map_or(0, Vec::len) as u64;
        let Some(mut run) = state.joining.join(time, said, channels) else { return Ok(true) };
        let most = state.joining.sample_at(MOST_SOUND);
        let on_time = state.timeline.now(now) - self.delay();
        let on_time = state.joining.sample_at(on_time);
        while state.sounds.front().is_some_and(|first| run.start - first.start >= most) {
            if self.drops_newest(&state) {
                state.stats.dropped_samples += run.len() as u64;
                if said && state.sounds.front().is_some_and(|first| first.start > on_time) {
                    let by = state.joining.micros_of(run.end() - run.start);
                    state.timeline.advance(by);
                }
                return Ok(true);
            }
            let Some(oldest) = state.sounds.pop_front() else { break };
            state.stats.dropped_samples += oldest.len() as u64;
            if oldest.start > on_time {
                let by = state.joining.micros_of(oldest.end() - oldest.start);
                state.advance(by, Track::Sound);
                run.start -= state.joining.sample_at(by);
            }
        }
        state.joining.follow(&run);
        state.sounds.push_back(run);
        Ok(true)
    }

    /// Waits until there is `room`; `None` if there is none and `wait` says not to.
    fn await_room(
        &self,
        room: impl Fn(&Self, &State) -> bool,
        wait: bool,
    ) -> Result<Option<MutexGuard<'_, State>>, Error> {
        let mut state = self.state.lock();
        loop {
            if state.stage == Stage::Ended {
                return Err(Error::Ended);
            }
            if room(self, &state) {
                return Ok(Some(state));
            }
            if !wait {
                return Ok(None);
            }
            self.room.wait(&mut state);
        }
    }

    /// Something was refused before it was looked at by others.
    pub(super) fn count_refused(&self) {
        self.state.lock().stats.refused += 1;
    }

    /// Another sink, or one less. Without one, nothing follows.
    pub(super) fn count_sink(&self, come: bool) {
        let mut state = self.state.lock();
        state.sinks = if come { state.sinks + 1 } else { state.sinks.saturating_sub(1) };
        if state.sinks == 0 {
            self.work.notify_one();
        }
    }

    /// The figures.
    pub(super) fn stats(&self) -> FrameStats {
        let state = self.state.lock();
        FrameStats {
            queued: state.pictures.len() as u64,
            queued_bytes: state.bytes as u64,
            timelines: state.timeline.begun(),
            ..state.stats
        }
    }

    /// Samples of each channel that wait.
    #[cfg(test)]
    pub(super) fn sound_waiting(&self) -> usize {
        self.state.lock().sounds.iter().map(Run::len).sum()
    }

    // The stream's side.

    /// A stream is to take what is sent; its number among those that did.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: another one does.
    pub(super) fn attach(&self) -> Result<u64, Error> {
        let mut state = self.state.lock();
        match state.stage {
            Stage::Waiting => state.stage = Stage::Opened,
            Stage::Ended => return Err(Error::Ended),
            Stage::Opened | Stage::Running => {
                let reason = "what a program makes goes to one stream: give that more outputs".to_owned();
                return Err(Error::Config { name: "frames", reason });
            }
        }
        state.taker += 1;
        Ok(state.taker)
    }

    /// Media time begins: what waits is shown from now on. Of what came without a time, only the last picture is new.
    pub(super) fn start(&self) {
        let mut state = self.state.lock();
        if state.stage != Stage::Opened {
            return;
        }
        state.stage = Stage::Running;
        let now = self.clock.now();
        if state.pictures.is_empty() || state.pictures.iter().any(|queued| queued.arrived) {
            state.timeline.forget();
            state.joining.forget();
            state.sounds.clear();
            while state.pictures.len() > 1
                && let Some(old) = state.pictures.pop_front()
            {
                state.forget(&old, self.picture_bytes());
                state.stats.dropped += 1;
            }
            state.pictures.iter_mut().for_each(|queued| queued.time = 0);
            if !state.pictures.is_empty() {
                state.timeline.rebase(now, 0);
            }
        } else {
            state.rebase(now);
        }
        drop(state);
        self.work.notify_one();
        self.tell_room();
    }

    /// The stream of this number takes no more.
    pub(super) fn detach(&self, taker: u64) {
        let mut state = self.state.lock();
        if state.stage != Stage::Ended && state.taker == taker {
            state.stage = Stage::Waiting;
        }
        drop(state);
        self.work.notify_one();
        self.tell_room();
    }

    /// No stream will ever take what is sent.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.stage = Stage::Ended;
        state.pictures.clear();
        state.sounds.clear();
        (state.bytes, state.lent) = (0, 0);
        drop(state);
        self.work.notify_one();
        self.tell_room();
    }

    /// Waits until `next`, or for the first media if nothing has come; on the worker's thread of the stream of this number.
    ///
    /// # Blocking
    ///
    /// Until then, or until the stream takes no more.
    pub(super) fn await_work(&self, taker: u64, next: Option<Instant>) -> Work {
        let mut state = self.state.lock();
        loop {
            if state.taker != taker || !matches!(state.stage, Stage::Opened | Stage::Running) {
                return Work::Stop;
            }
            let epoch = state.timeline.epoch().filter(|_| state.stage == Stage::Running);
            match (epoch, next) {
                (Some(epoch), None) => return Work::Run(epoch),
                (Some(epoch), Some(next)) => {
                    if Instant::now() >= next || self.work.wait_until(&mut state, next).timed_out() {
                        return Work::Run(epoch);
                    }
                }
                (None, _) if state.sinks == 0 && state.stage == Stage::Running => return Work::Stop,
                (None, _) => self.work.wait(&mut state),
            }
        }
    }

    /// Takes what is due at this time.
    pub(super) fn take_due(&self, until: i64) -> Due {
        let mut state = self.state.lock();
        let mut due = Due::default();
        while state.pictures.front().is_some_and(|queued| queued.time <= until)
            && let Some(queued) = state.pictures.pop_front()
        {
            state.forget(&queued, self.picture_bytes());
            due.pictures.push(queued);
        }
        while state.sounds.front().is_some_and(|run| {
            let until = state.joining.sample_at(until);
            run.start <= until
        }) && let Some(run) = state.sounds.pop_front()
        {
            due.sounds.push(run);
        }
        due.over = state.sinks == 0 && state.pictures.is_empty() && state.sounds.is_empty();
        let any = !due.pictures.is_empty() || !due.sounds.is_empty();
        drop(state);
        if any {
            self.tell_room();
        }
        due
    }

    /// Keeps the worker's figures.
    pub(super) fn note(&self, note: impl FnOnce(&mut FrameStats)) {
        note(&mut self.state.lock().stats);
    }

    /// A picture to copy one into: it counts once it is sent.
    pub(super) fn lend_copy(&self) -> Result<Canvas, Error> {
        Ok(self.pool.get()?)
    }
}

impl State {
    /// What waits begins now.
    fn rebase(&mut self, now: Instant) {
        let Self { timeline, pictures, sounds, joining, .. } = self;
        let first = pictures.front().map_or(0, |first| first.time);
        let samples = joining.sample_at(first);
        timeline.rebase(now, first);
        joining.rebase(samples);
        pictures.iter_mut().for_each(|queued| queued.time -= first);
        sounds.iter_mut().for_each(|run| run.start -= samples);
    }

    /// The oldest of `track` was dropped before its time: the program is ahead. What waits is so many microseconds earlier, and what follows,
    /// so that it is not always the next one that is dropped. Where the program says times, they are of one clock for both tracks.
    fn advance(&mut self, by: i64, track: Track) {
        let said = self.said[track as usize];
        let moves = |other: Track| other == track || (said && self.said[other as usize]);
        if moves(Track::Picture) {
            self.pictures.iter_mut().for_each(|queued| queued.time -= by);
        }
        if moves(Track::Sound) {
            let samples = self.joining.sample_at(by);
            self.sounds.iter_mut().for_each(|run| run.start -= samples);
            self.joining.rebase(samples);
        }
        if said {
            self.timeline.advance(by);
        }
    }

    /// A picture does not wait any more.
    fn forget(&mut self, queued: &Queued, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.lent = self.lent.saturating_sub(usize::from(queued.lent));
    }

    fn refuse(&mut self, GoesBack(by): GoesBack) -> Error {
        self.stats.refused += 1;
        Error::Frame { reason: format!("its time goes back by {by} µs") }
    }
}
