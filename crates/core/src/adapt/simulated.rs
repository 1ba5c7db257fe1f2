//! A network, an encoder and a connection on a virtual clock, to try algorithms that set a bit rate on one trace: ours, that of OBS Studio, and none.
//!
//! In: what the network takes, by time. Out: how far behind the receiver was, what was dropped, how long things took.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Adaptation, Change, Controller, Sample};
use crate::bit_rate::BitRate;
use crate::id::OutputId;

/// A step of the clock.
const STEP: u64 = 10;
const TICK: u64 = 100;
/// Pictures a second, and of a GOP.
const FPS: u64 = 30;
const GOP: u64 = 60;
/// A keyframe has this many times the bits of another picture.
const KEYFRAME: f64 = 5.0;
const SOUND: u64 = 128_000;
/// As the defaults of `LagPolicy` are, and of reconnecting.
const DROP_AFTER: u64 = 2000;
const DISCONNECT_AFTER: u64 = 5000;
const RECONNECT: u64 = 2000;

/// What sets the rate, in bits per second.
pub(super) enum Steering {
    /// Nothing: the rate stays, and pictures are dropped.
    Fixed,
    Ours(Box<Controller>),
    Obs(Obs),
}

/// Something on its way.
#[derive(Debug, Clone, Copy)]
struct Item {
    /// Media time in milliseconds.
    time: u64,
    bits: f64,
    is_picture: bool,
    is_key: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The lag at each tick, in milliseconds.
    pub(super) lag: Vec<u64>,
    /// The rate at each tick, in bits per second.
    pub(super) rate: Vec<u64>,
    pub(super) dropped: u64,
    pub(super) disconnects: u64,
    pub(super) steps: usize,
}

impl Outcome {
    /// How long after `from` (milliseconds) the lag was below a second for good, up to `to`.
    pub(super) fn under_a_second(&self, from: u64, to: u64) -> Duration {
        let ticks = (from / TICK) as usize..(to / TICK) as usize;
        let last = ticks.clone().rev().find(|tick| self.lag[*tick] >= 1000);
        Duration::from_millis(last.map_or(0, |last| (last as u64 + 1) * TICK - from))
    }

    /// How long after `from` the rate was first lower than at `from`.
    pub(super) fn first_lower(&self, from: u64) -> Option<Duration> {
        let start = (from / TICK) as usize;
        let at = (start..self.rate.len()).find(|tick| self.rate[*tick] < self.rate[start])?;
        Some(Duration::from_millis((at - start) as u64 * TICK))
    }

    /// How long after `from` the rate was at least `rate`.
    pub(super) fn restored(&self, from: u64, rate: u64) -> Option<Duration> {
        let start = (from / TICK) as usize;
        let at = (start..self.rate.len()).find(|tick| self.rate[*tick] >= rate)?;
        Some(Duration::from_millis((at - start) as u64 * TICK))
    }

    pub(super) fn p99(&self) -> u64 {
        let mut lag = self.lag.clone();
        lag.sort_unstable();
        lag[lag.len() * 99 / 100]
    }
}

/// OBS Studio's dynamic bitrate (plugins/obs-outputs/rtmp-stream.c): its constants, and what it does with them.
#[derive(Debug)]
pub(super) struct Obs {
    original: u64,
    current: u64,
    previous: u64,
    raise_at: Option<u64>,
    /// When each packet began and ended to be sent, and its bits.
    window: VecDeque<(u64, u64, f64)>,
}

impl Obs {
    const TRIGGER: u64 = 200;
    const RAISE: u64 = 4000;
    const LEAST_WINDOW: u64 = 1000;
    const MOST_WINDOW: u64 = 2000;

    pub(super) fn new(rate: u64) -> Self {
        Self { original: rate, current: rate, previous: 0, raise_at: None, window: VecDeque::new() }
    }

    fn sent(&mut self, began: u64, ended: u64, bits: f64) {
        self.window.push_back((began, ended, bits));
        while self.window.front().is_some_and(|(front, ..)| ended - front >= Self::MOST_WINDOW) {
            self.window.pop_front();
        }
    }

    fn estimate(&self) -> u64 {
        let (Some((began, ..)), Some((_, ended, _))) = (self.window.front(), self.window.back()) else {
            return 0;
        };
        let took = ended - began;
        if took < Self::LEAST_WINDOW {
            return 0;
        }
        let bits: f64 = self.window.iter().map(|(.., bits)| bits).sum();
        ((bits * 1000.0 / took as f64) as u64).saturating_sub(SOUND).max(50_000)
    }

    /// A picture was put into the queue, whose oldest one is `age` old.
    fn queued(&mut self, now: u64, age: u64) {
        if age >= Self::TRIGGER {
            let estimate = self.estimate();
            let to = if estimate > 0 && estimate < self.current {
                self.window.clear();
                (estimate / 100_000 * 100_000).max(50_000)
            } else {
                self.previous
            };
            if to != 0 && to != self.current {
                (self.previous, self.current) = (0, to);
                self.raise_at = Some(now + Self::RAISE);
            }
        }
        if self.raise_at.is_some_and(|at| now >= at) {
            self.previous = self.current;
            self.current = (self.current + self.original / 10).min(self.original);
            self.raise_at = (self.current < self.original).then_some(now + Self::RAISE);
        }
    }
}

/// Runs a stream of `rate` bits per second for `length` milliseconds over a network that takes `takes(milliseconds)`. What is encoded is on the air
/// `ahead` milliseconds later.
pub(super) fn run(
    mut steering: Steering,
    rate: u64,
    length: u64,
    ahead: u64,
    takes: impl Fn(u64) -> u64,
) -> Outcome {
    let began = Instant::now();
    let at = |millis: u64| began + Duration::from_millis(millis);
    let mut outcome = Outcome::default();
    let mut queue: VecDeque<Item> = VecDeque::new();
    let mut rates: VecDeque<u64> = VecDeque::new();
    let (mut current, mut delivered, mut sound, mut part) = (rate, 0.0, 0_u64, 0.0);
    let (mut frames, mut skipping, mut away_until) = (0_u64, false, 0_u64);
    let mut sending_since = None;
    for now in (0..length).step_by(STEP as usize) {
        rates.push_back(current);
        let encoded_at =
            if rates.len() > (ahead / STEP) as usize { rates.pop_front().unwrap_or(rate) } else { rate };
        // What is due.
        sound += SOUND / 8 * STEP / 1000;
        let is_away = now < away_until;
        if !is_away {
            queue.push_back(Item {
                time: now,
                bits: (SOUND * STEP / 1000) as f64,
                is_picture: false,
                is_key: false,
            });
        }
        while frames * 1000 / FPS <= now {
            let is_key = frames % GOP == 0;
            let share = if is_key { KEYFRAME } else { (GOP as f64 - KEYFRAME) / (GOP - 1) as f64 };
            let bits = encoded_at as f64 / FPS as f64 * share;
            frames += 1;
            skipping &= !(is_key && !is_away && lag(&queue, now) < DROP_AFTER);
            if is_away || skipping {
                outcome.dropped += 1;
                continue;
            }
            queue.push_back(Item { time: now, bits, is_picture: true, is_key });
            if let Steering::Obs(obs) = &mut steering {
                let oldest = queue.iter().find(|item| item.is_picture && !item.is_key);
                obs.queued(now, oldest.map_or(0, |oldest| now - oldest.time));
                current = obs.current;
            }
        }
        // What the network takes.
        let mut room = takes(now) as f64 * STEP as f64 / 1000.0;
        while room > 0.0
            && let Some(item) = queue.front_mut()
        {
            let since = *sending_since.get_or_insert(now);
            let sent = room.min(item.bits - part);
            (part, room, delivered) = (part + sent, room - sent, delivered + sent);
            if part >= item.bits - 0.5 {
                if let Steering::Obs(obs) = &mut steering {
                    obs.sent(since, now + STEP, item.bits);
                }
                queue.pop_front();
                (part, sending_since) = (0.0, None);
            }
        }
        if now % TICK != 0 {
            continue;
        }
        let lag = lag(&queue, now);
        // OBS drops nothing while it sets the rate.
        if !matches!(steering, Steering::Obs(_)) {
            skipping |= lag >= DROP_AFTER;
            if lag > DISCONNECT_AFTER {
                outcome.disconnects += 1;
                outcome.dropped += queue.iter().filter(|item| item.is_picture).count() as u64;
                queue.clear();
                (part, sending_since, away_until, skipping) = (0.0, None, now + RECONNECT, true);
            }
        }
        if let Steering::Ours(controller) = &mut steering {
            let (asked, mut changes) = (BitRate::from_bps(rate), Vec::new());
            let delivered = Some((delivered / 8.0) as u64);
            let lag = Duration::from_millis(lag / 100 * 100);
            let samples = [Sample { output: OutputId(0), lag, delivered }];
            let samples = if now < away_until { &samples[..0] } else { &samples[..] };
            controller.tick(at(now), asked, sound, samples, &mut changes);
            current = controller.rate().unwrap_or(asked).bps();
            let rates = changes.iter().filter(|change| matches!(change, Change::Rate { .. }));
            outcome.steps += rates.count();
        }
        outcome.lag.push(lag);
        outcome.rate.push(current);
    }
    outcome
}

/// How far the receiver is behind what was due a tick ago.
fn lag(queue: &VecDeque<Item>, now: u64) -> u64 {
    queue.front().map_or(0, |oldest| now.saturating_sub(TICK).saturating_sub(oldest.time))
}

/// Ours, with the defaults.
pub(super) fn ours() -> Steering {
    Steering::Ours(Box::new(Controller::new(Adaptation::default())))
}
