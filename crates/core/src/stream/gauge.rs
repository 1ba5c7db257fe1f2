//! Measures what is in use, for admission.
//!
//! In: the clocks of the process and of its streams' threads, the kernel's figures, and bytes that were sent; once a second, on a thread of its
//! own that is there while admission is switched on, and once on the thread of the first start. Out: figures for the limiter. No stream's
//! thread waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::registry::Registry;
use super::shared::StreamShared;
use super::traffic::Traffic;
use crate::admission::{Measured, Reading, Slot};
use crate::error::Error;
use crate::id::StreamId;
use crate::machine::{BusySince, Load, process_cpu};
use crate::sys::spawn;

const STACK: usize = 256 << 10;
/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// Over how long: threads tell what they used once a second.
const WINDOW: Duration = Duration::from_secs(5);
/// The shortest window that says anything, for the first start.
const LEAST: Duration = Duration::from_millis(300);
/// Whose threads libav started is looked for as often as this: where there are many threads, that takes a while.
const CODECS_EVERY: Duration = WINDOW;

/// What was measured before.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    marks: Mutex<Marks>,
    has_thread: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Marks {
    /// The oldest is the beginning of the window.
    list: VecDeque<Mark>,
    /// Since when streams are on the air without a break.
    on_air: HashMap<StreamId, Instant>,
    codecs: Option<Instant>,
}

/// One moment.
#[derive(Debug)]
struct Mark {
    at: Instant,
    busy: BusySince,
    /// CPU time of the process.
    process: Duration,
    /// CPU time of streams that had ended by then.
    ended: Duration,
    /// Of each stream that ran: its CPU time, and bytes it had sent to the network.
    streams: HashMap<StreamId, (Duration, u64)>,
}

impl Mark {
    fn of(streams: &[Seen], ended: Duration, at: Instant) -> Self {
        let streams = streams.iter().map(|seen| (seen.id, (seen.cpu, seen.traffic.sent))).collect();
        Self { at, busy: BusySince::now(), process: process_cpu(), ended, streams }
    }
}

/// A stream at the moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: StreamId,
    slot: Option<Slot>,
    cpu: Duration,
    held: u64,
    traffic: Traffic,
}

impl Seen {
    fn of(stream: &Arc<StreamShared>) -> Self {
        let (glance, traffic) = (stream.glance(), stream.traffic());
        let (cpu, held) = (glance.cpu_in_all(), glance.held.total());
        Self { id: stream.id, slot: stream.slot(), cpu, held, traffic }
    }
}

impl Marks {
    /// What is used by now, over the window that ends now.
    fn measure(&mut self, engine: &Registry) -> Option<(Measured, HashMap<Slot, Reading>)> {
        let now = Instant::now();
        let (streams, ended) = engine.running_and_ended();
        if self.codecs.is_none_or(|last| now.saturating_duration_since(last) >= CODECS_EVERY) {
            engine.look_for_codecs(&streams);
            self.codecs = Some(now);
        }
        let seen: Vec<_> = streams.iter().map(Seen::of).collect();
        drop(streams);
        let mark = Mark::of(&seen, ended.cpu_time + ended.codec_cpu_time, now);
        self.on_air.retain(|id, _| seen.iter().any(|seen| seen.id == *id && seen.traffic.is_on_air));
        for seen in seen.iter().filter(|seen| seen.traffic.is_on_air) {
            self.on_air.entry(seen.id).or_insert(now);
        }
        // The newest that is old enough begins the window.
        while self.list.get(1).is_some_and(|next| now.saturating_duration_since(next.at) >= WINDOW) {
            self.list.pop_front();
        }
        let measured = self.list.front().map(|from| {
            let load = Load::since(&from.busy);
            let on_air = |id| self.on_air.get(&id).map(|since| now.saturating_duration_since(*since));
            used(from, &mark, &seen, load, &on_air)
        });
        self.list.push_back(mark);
        measured
    }
}

/// What was used between two moments.
fn used(
    from: &Mark,
    to: &Mark,
    seen: &[Seen],
    load: Load,
    on_air: &dyn Fn(StreamId) -> Option<Duration>,
) -> (Measured, HashMap<Slot, Reading>) {
    let seconds = to.at.saturating_duration_since(from.at).as_secs_f64().max(1e-3);
    let before = |id| from.streams.get(&id).copied().unwrap_or_default();
    let (mut readings, mut placed, mut uplink) = (HashMap::new(), Duration::ZERO, 0.0);
    for seen in seen {
        let (cpu, sent) = before(seen.id);
        let cpu = seen.cpu.saturating_sub(cpu);
        let sends = seen.traffic.sent.saturating_sub(sent) as f64 * 8.0 / seconds;
        let Some(slot) = seen.slot else {
            uplink += sends;
            continue;
        };
        placed += cpu;
        let reading = Reading {
            cpu: cpu.as_secs_f64() / seconds,
            uplink: sends,
            held: seen.held,
            on_air: on_air(seen.id),
            ways: seen.traffic.ways,
            does: seen.traffic.does,
        };
        readings.insert(slot, reading);
    }
    // Streams that have ended meanwhile use nothing any more.
    let were: Duration = from.streams.values().map(|(cpu, _)| *cpu).sum();
    let are: Duration = seen.iter().map(|seen| seen.cpu).sum();
    let grown: Duration = seen.iter().map(|seen| seen.cpu.saturating_sub(before(seen.id).0)).sum();
    let gone = (are + to.ended).saturating_sub(were + from.ended).saturating_sub(grown);
    let process = to.process.saturating_sub(from.process).saturating_sub(gone).saturating_sub(placed);
    let measured = Measured {
        cores: load.cores,
        cpu: process.as_secs_f64() / seconds + load.others,
        resident: load.resident,
        memory: load.memory,
        uplink,
    };
    (measured, readings)
}

impl Registry {
    /// Measures now.
    ///
    /// # Blocking
    ///
    /// On the kernel, for about a millisecond; the first time until something has been measured, less than half a second.
    fn measure(&self) {
        let mut marks = self.gauge().marks.lock();
        if self.limiter().is_measured() && marks.list.back().is_some_and(|mark| mark.at.elapsed() < LEAST) {
            // Another thread was faster.
            return;
        }
        if marks.list.is_empty() {
            marks.measure(self);
        }
        if let Some(first) = marks.list.front() {
            std::thread::sleep(LEAST.saturating_sub(first.at.elapsed()));
        }
        if let Some((measured, readings)) = marks.measure(self) {
            self.limiter().measure(measured, &readings);
        }
    }

    /// Sees to it that something was measured, if admission asks for it.
    ///
    /// # Blocking
    ///
    /// As [`measure`](Self::measure) the first time, else not.
    pub(crate) fn be_measured(&self) {
        if !self.limiter().is_measured() {
            self.measure();
        }
    }

    /// Begins to measure, if admission asks for it and nobody does so already.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread.
    pub(crate) fn begin_to_measure(self: &Arc<Self>) -> Result<(), Error> {
        if !self.limiter().is_measuring() {
            return Ok(());
        }
        let mut has_thread = self.gauge().has_thread.lock();
        if *has_thread {
            return Ok(());
        }
        // What was seen before it was switched off is no beginning.
        *self.gauge().marks.lock() = Marks::default();
        let engine = Arc::downgrade(self);
        spawn("fc-admission", STACK, move || run(&engine)).map_err(|source| Error::System {
            what: "no thread to measure for admission",
            source: source.into(),
        })?;
        *has_thread = true;
        Ok(())
    }
}

/// The thread.
fn run(engine: &Weak<Registry>) {
    while let Some(engine) = engine.upgrade() {
        {
            let mut has_thread = engine.gauge().has_thread.lock();
            if !engine.limiter().is_measuring() || engine.is_closed() {
                *has_thread = false;
                return;
            }
        }
        engine.measure();
        // An engine that ends says so.
        if engine.wait_closed(Instant::now() + EVERY) {
            return;
        }
    }
}

#[cfg(test)]
#[path = "gauge_tests.rs"]
mod tests;
