//! One look at all streams. In: the engine's streams, and the time. Out: what each used since the look before, and events of those
//! that use a lot. On whichever thread looks, never a stream's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::judge::{History, Judge, News};
use super::load::{LoadPoint, StreamLoad};
use super::window::Window;
use crate::config::MonitorConfig;
use crate::event::EventKind;
use crate::id::StreamId;
use crate::machine::process;
use crate::stats::Origin;
use crate::stream::{Glance, Registry, StreamShared};

/// What is kept between two looks.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    streams: HashMap<StreamId, Watched>,
    process: Option<Process>,
    /// Of the last look.
    at: Option<SystemTime>,
    pub(super) history: History,
}

/// One stream.
#[derive(Debug)]
struct Watched {
    owner: Option<Arc<str>>,
    label: Option<Arc<str>>,
    origin: Option<Origin>,
    judge: Judge,
    glance: Glance,
    seen: Instant,
    cpu: Window,
    history: History,
}

/// The process at the last look.
#[derive(Debug)]
struct Process {
    cpu: Window,
    /// What of it belongs to streams.
    streams: Window,
}

impl Sampler {
    /// Looks at all streams.
    pub(super) fn look(&mut self, engine: &Registry, limits: &MonitorConfig, now: Instant, at: SystemTime) {
        let (streams, ended) = engine.running_and_ended();
        let mut streams_cpu = ended.cpu_time + ended.codec_cpu_time;
        engine.look_for_codecs(&streams);
        for stream in &streams {
            let glance = stream.glance();
            streams_cpu += glance.cpu_in_all();
            self.note(stream, glance, limits, now, at);
        }
        // What ended is forgotten: its number is not given again.
        self.streams.retain(|_, watched| watched.seen == now);
        self.note_process(now, crate::machine::process_cpu(), streams_cpu);
        self.at = Some(at);
        let (cpu_percent, memory) = (self.process_percent().0, process::resident());
        self.history.add(now, LoadPoint { at, cpu_percent, memory });
    }

    fn note(
        &mut self,
        stream: &StreamShared,
        glance: Glance,
        limits: &MonitorConfig,
        now: Instant,
        at: SystemTime,
    ) {
        let watched = self.streams.entry(stream.id).or_insert_with(|| Watched {
            owner: None,
            label: stream.label.clone(),
            origin: None,
            judge: Judge::default(),
            glance,
            seen: now,
            // Nothing was used before it was started.
            cpu: Window::new(now.checked_sub(glance.uptime).unwrap_or(now), Duration::ZERO),
            history: History::default(),
        });
        watched.cpu.look(now, glance.cpu_in_all());
        (watched.glance, watched.seen) = (glance, now);
        (watched.owner, watched.origin) = (stream.owner_now().map(Arc::from), stream.origin());
        let (cpu_percent, memory) = (watched.cpu.percent, glance.held.total());
        watched.history.add(now, LoadPoint { at, cpu_percent, memory });
        match watched.judge.see(now, cpu_percent, memory, limits) {
            Some(News::High) => {
                stream.tell(EventKind::ResourceWarning { stream: stream.id, cpu_percent, memory });
            }
            Some(News::Calm(after)) => stream.tell(EventKind::ResourceCalm { after }),
            None => {}
        }
    }

    fn note_process(&mut self, now: Instant, used: Duration, by_streams: Duration) {
        match &mut self.process {
            Some(Process { cpu, streams }) => {
                cpu.look(now, used);
                streams.look(now, by_streams);
            }
            // What was used before belongs to no interval.
            None => {
                let (cpu, streams) = (Window::new(now, used), Window::new(now, by_streams));
                self.process = Some(Process { cpu, streams });
            }
        }
    }

    /// What a stream used at the last look.
    pub(super) fn load(&self, stream: StreamId) -> Option<StreamLoad> {
        Some(self.load_of(stream, self.streams.get(&stream)?))
    }

    /// The same of all streams, in the order they were started.
    pub(super) fn loads(&self) -> Vec<StreamLoad> {
        let mut loads: Vec<_> =
            self.streams.iter().map(|(stream, watched)| self.load_of(*stream, watched)).collect();
        loads.sort_unstable_by_key(|load| load.stream);
        loads
    }

    fn load_of(&self, stream: StreamId, watched: &Watched) -> StreamLoad {
        StreamLoad {
            stream,
            label: watched.label.clone(),
            owner: watched.owner.clone(),
            origin: watched.origin.clone(),
            at: self.at.unwrap_or(SystemTime::UNIX_EPOCH),
            cpu_percent: watched.cpu.percent,
            cpu_time: watched.glance.totals.cpu_time,
            codec_cpu_time: watched.glance.totals.codec_cpu_time,
            held: watched.glance.held,
            warnings: watched.judge.warnings,
            is_high: watched.judge.high_since.is_some(),
        }
    }

    /// The last hour of a stream.
    pub(super) fn points(&self, stream: StreamId) -> Vec<LoadPoint> {
        self.streams.get(&stream).map_or_else(Vec::new, |watched| watched.history.points())
    }

    /// CPU use of the process, and what of it belongs to no stream, in percent of one core.
    pub(super) fn process_percent(&self) -> (f64, f64) {
        let Some(Process { cpu, streams }) = &self.process else { return (0.0, 0.0) };
        // Threads of streams are counted up to a second late.
        (cpu.percent, (cpu.percent - streams.percent).max(0.0))
    }

    /// The monitor rests: the time until it goes on is not one interval.
    pub(super) fn rest(&mut self) {
        self.process = None;
        self.streams.clear();
    }
}
