//! Many streams of one engine, and what they say while they are watched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flowcast::config::TlsRoots;
use flowcast::error::chain;
use flowcast::stats::StreamStats;
use flowcast::{Config, Engine, EventKind, Output, Source, StreamHandle, StreamId};
use flowcast_bench::process::{self, MachineTime};
use flowcast_bench::reels;
use flowcast_bench::support::{Result, round, tenths};
use serde_json::{Value, json};

use crate::Cli;

/// How long to wait for a stream's figures to change.
const STALE: Duration = Duration::from_secs(3);

/// Streams of one engine.
pub(crate) struct Fleet {
    engine: Engine,
    running: Vec<StreamHandle>,
    files: Vec<String>,
    url: String,
    roots: TlsRoots,
    /// When each was started.
    started: HashMap<StreamId, Instant>,
    /// When each was first on the air.
    live: Arc<Mutex<HashMap<StreamId, Instant>>>,
    stop: Arc<AtomicBool>,
}

/// What was seen of the streams over a window.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) streams: usize,
    pub(crate) seconds: f64,
    /// CPU time per stream and second, milliseconds.
    pub(crate) cpu_ms: f64,
    /// CPU time of the process in percent of one core.
    pub(crate) cpu_percent: f64,
    /// Share of the machine's processors that had nothing to do, 0 to 1.
    pub(crate) idle: f64,
    pub(crate) schedule_lag: Duration,
    pub(crate) lag: Duration,
    pub(crate) drops: u64,
    pub(crate) reconnects: u64,
    /// Media time that went by per second: of the slowest stream, of the fastest. 1 when they keep time.
    pub(crate) speed: (f64, f64),
    pub(crate) laps: u64,
    pub(crate) modes: HashMap<String, usize>,
    /// Streams that have ended.
    pub(crate) ended: usize,
}

impl Fleet {
    pub(crate) fn new(cli: &Cli, streams: usize, stop: Arc<AtomicBool>) -> Result<Self> {
        let mut config = Config::default();
        config.max_streams = streams;
        if let Some(directory) = &cli.reels {
            reels::keep_in(&mut config, directory);
        }
        let roots = match &cli.tls_ca {
            Some(path) => TlsRoots::from_pem_file(path)?,
            None => TlsRoots::Platform,
        };
        let engine = Engine::new(config)?;
        let live: Arc<Mutex<HashMap<StreamId, Instant>>> = Arc::default();
        let note = live.clone();
        engine.on_event(move |event| match &event.kind {
            EventKind::OutputLive { reconnects: 0, .. } => {
                note.lock().unwrap_or_else(PoisonError::into_inner).insert(event.stream, Instant::now());
            }
            EventKind::OutputRetrying { error, .. } => {
                eprintln!("{}: {}", event.stream, chain(error))
            }
            EventKind::OutputEnded { error: Some(error), .. } | EventKind::SourceFault { error } => {
                eprintln!("{}: {}", event.stream, chain(error));
            }
            EventKind::OutputDropped { tags, .. } => {
                eprintln!("{}: behind, {tags} tags dropped", event.stream)
            }
            _ => {}
        });
        Ok(Self {
            engine,
            running: Vec::new(),
            files: cli.files.clone(),
            url: cli.to.clone(),
            roots,
            started: HashMap::new(),
            live,
            stop,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Starts this many more.
    pub(crate) fn grow(&mut self, count: usize) -> std::result::Result<(), flowcast::Error> {
        for _ in 0..count {
            let number = self.running.len();
            let file = self.files.get(number % self.files.len()).cloned().unwrap_or_default();
            let output =
                Output::rtmp_url(&self.url.replace("{}", &number.to_string())).tls_roots(self.roots.clone());
            let began = Instant::now();
            let stream = self.engine.stream(Source::file(file).looped()).to(output).start()?;
            self.started.insert(stream.id(), began);
            self.running.push(stream);
        }
        Ok(())
    }

    /// Waits until every stream has sent something.
    pub(crate) fn wait_for_air(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        for stream in &self.running {
            while stream.stats().bytes_sent == 0 {
                if let Some(Err(error)) = stream.wait_timeout(Duration::ZERO) {
                    return Err(chain(&error).into());
                }
                if Instant::now() > deadline {
                    return Err(format!("not on the air within {} s", patience.as_secs()).into());
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Err("stopped".into());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Lets time go by, but for a request to stop.
    pub(crate) fn rest(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < until {
            std::thread::sleep(
                until.saturating_duration_since(Instant::now()).min(Duration::from_millis(500)),
            );
        }
    }

    /// Measures over a window; looks at each stream every `look`. What the looking costs is not counted.
    pub(crate) fn watch(&self, window: Duration, look: Duration) -> Seen {
        let (marks, before) = (self.marks(), self.stats());
        let (cpu, own, machine, began) =
            (process::cpu_time(), process::thread_cpu_time(), MachineTime::now(), Instant::now());
        let mut seen = Seen { streams: self.running.len(), ..Seen::default() };
        while began.elapsed() < window && !self.stop.load(Ordering::Relaxed) {
            self.rest(look.min(window.saturating_sub(began.elapsed())));
            for stats in self.stats() {
                seen.lag = seen.lag.max(stats.lag);
                seen.schedule_lag = seen.schedule_lag.max(stats.schedule_lag);
            }
        }
        let elapsed = began.elapsed();
        let used = (process::cpu_time() - cpu).saturating_sub(process::thread_cpu_time() - own);
        let after = self.stats();
        seen.seconds = elapsed.as_secs_f64();
        seen.cpu_percent = used.as_secs_f64() / seen.seconds * 100.0;
        seen.cpu_ms = used.as_secs_f64() * 1e3 / seen.seconds / self.running.len().max(1) as f64;
        seen.idle = MachineTime::now().idle_since(&machine);
        let sum = |stats: &[StreamStats], of: fn(&StreamStats) -> u64| stats.iter().map(of).sum::<u64>();
        let grown = |of| sum(&after, of).saturating_sub(sum(&before, of));
        seen.drops = grown(|stats| stats.drops);
        seen.reconnects = grown(|stats| stats.reconnects);
        seen.laps = grown(|stats| stats.laps);
        let speeds = marks.iter().zip(self.marks()).map(|(before, after)| {
            (after.1 - before.1) as f64 / 1e3 / after.0.duration_since(before.0).as_secs_f64()
        });
        seen.speed =
            speeds.fold((f64::INFINITY, 0.0), |(least, most), speed| (speed.min(least), speed.max(most)));
        for stats in &after {
            *seen.modes.entry(stats.mode.to_string()).or_default() += 1;
        }
        seen.ended = self.running.iter().filter(|stream| stream.has_ended()).count();
        seen
    }

    /// An instant and the media time, in milliseconds, of each stream. Figures are up to a second old: each is taken
    /// when it has just changed.
    fn marks(&self) -> Vec<(Instant, i64)> {
        let media = |stream: &StreamHandle| stream.stats().media_time.as_millis();
        let old: Vec<i64> = self.running.iter().map(media).collect();
        let mut marks: Vec<Option<(Instant, i64)>> = vec![None; old.len()];
        let deadline = Instant::now() + STALE;
        loop {
            let now = Instant::now();
            for ((stream, old), mark) in self.running.iter().zip(&old).zip(&mut marks) {
                if mark.is_none() {
                    let fresh = media(stream);
                    *mark = (fresh != *old || now > deadline).then_some((now, fresh));
                }
            }
            if marks.iter().all(Option::is_some) {
                return marks.into_iter().flatten().collect();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From `start` to being connected, shortest first.
    pub(crate) fn start_times(&self) -> Vec<Duration> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let took = self.started.iter().filter_map(|(id, began)| Some(live.get(id)?.duration_since(*began)));
        let mut took: Vec<Duration> = took.collect();
        took.sort_unstable();
        took
    }

    /// Ends all streams; how many had to be abandoned.
    pub(crate) fn shutdown(self) -> usize {
        self.engine.shutdown(Duration::from_secs(20)).abandoned
    }

    fn stats(&self) -> Vec<StreamStats> {
        self.running.iter().map(|stream| stream.stats()).collect()
    }
}

impl Seen {
    /// As JSON, to be continued.
    pub(crate) fn report(&self) -> Value {
        let mut modes: Vec<String> =
            self.modes.iter().map(|(mode, count)| format!("{mode} {count}")).collect();
        modes.sort_unstable();
        json!({
            "streams": self.streams,
            "seconds": round(self.seconds, 2),
            "modes": modes.join(", "),
            "cpu_ms_per_stream_second": round(self.cpu_ms, 4),
            "cpu_percent": round(self.cpu_percent, 1),
            "machine_idle_percent": round(self.idle * 100.0, 1),
            "schedule_lag_max_ms": tenths(self.schedule_lag),
            "lag_max_ms": tenths(self.lag),
            "drops": self.drops,
            "reconnects": self.reconnects,
            "speed_min": round(self.speed.0, 4),
            "speed_max": round(self.speed.1, 4),
            "laps": self.laps,
            "ended": self.ended,
        })
    }
}
