//! Does with a file what a service does with an upload, and measures what it takes: the file is judged, prepared, and played.
//!
//! Memory is that of the process, so only one file is looked at at a time, in a process of its own.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use flowcast::av::Interrupt;
use flowcast::verdict::{ScanOptions, facts};
use flowcast::{Engine, Prepare, Source};

use kit::rig::{engine, resident_kib};
use kit::{directory, wait_until};

/// How long each step may take until it is ended from outside.
const STEP: Duration = Duration::from_secs(10);

/// What a file may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Memory above what the process took before.
    pub(crate) memory_kib: usize,
    /// CPU time of all steps together: a busy machine takes none of it away.
    pub(crate) time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_kib: 400 << 10, time: Duration::from_secs(15) }
    }
}

/// What a file took.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    bounds: Bounds,
    pub(crate) memory_kib: usize,
    pub(crate) time: Duration,
    /// "ok", or the error's code, of judging, preparing and playing.
    pub(crate) ends: [String; 3],
}

impl Report {
    pub(crate) fn is_within(&self) -> bool {
        self.memory_kib <= self.bounds.memory_kib && self.time <= self.bounds.time
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [judged, prepared, played] = &self.ends;
        let (memory, time) = (self.memory_kib >> 10, self.time.as_secs_f64());
        write!(f, "{memory} MB, {time:.2} s CPU; judged {judged}, prepared {prepared}, played {played}")
    }
}

/// Looks at one file after the other.
#[derive(Debug)]
pub(crate) struct Examiner {
    bounds: Bounds,
    engine: Engine,
    scratch: tempfile::TempDir,
}

impl Examiner {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, engine: engine(|_| {}), scratch: directory() }
    }

    pub(crate) fn examine(&self, file: &Path) -> Report {
        // The kernel forgets the largest size there was.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let (before, began) = (resident_kib(), cpu_time());
        let ends = [self.judge(file), self.prepare(file), self.play(file)];
        let memory_kib = largest_kib().saturating_sub(before);
        Report { bounds: self.bounds, memory_kib, time: cpu_time().saturating_sub(began), ends }
    }

    fn judge(&self, file: &Path) -> String {
        let mut options = ScanOptions::default();
        options.deadline = STEP;
        code(facts(file, &options, &Interrupt::new()))
    }

    fn prepare(&self, file: &Path) -> String {
        let mut encoding = Prepare::default_encoding();
        (encoding.preset, encoding.threads) = (Some("ultrafast".to_owned()), Some(1));
        let cancel = Interrupt::new();
        cancel.set_deadline(Some(Instant::now() + STEP));
        let prepare = Prepare::new(file, self.scratch.path().join("prepared.mp4")).encoding(encoding);
        code(prepare.run(|_| {}, &cancel))
    }

    fn play(&self, file: &Path) -> String {
        let recording = self.scratch.path().join("recording.flv");
        let _ = fs::remove_file(&recording);
        let started = self.engine.stream(Source::file(file)).record(recording).start();
        let stream = match started {
            Ok(stream) => stream,
            Err(error) => return error.code().to_owned(),
        };
        wait_until(Duration::from_millis(300), || stream.has_ended() || stream.stats().first_media.is_some());
        stream.stop(STEP).map_or_else(|error| error.code().to_owned(), |_| "ok".to_owned())
    }
}

fn code<T>(result: Result<T, flowcast::Error>) -> String {
    result.map_or_else(|error| error.code().to_owned(), |_| "ok".to_owned())
}

fn largest_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(usize::MAX)
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
