//! What a stream costs: CPU time per second of one stream, for each kind of stream beside its floor.
//!
//! The floor is the same bytes in the same chunks to the same kind of socket with nothing around it; where pictures are
//! encoded, libx264 by itself with the same settings. Both sides of a comparison run at the same time, each in a process
//! of its own that measures all its threads; who sends to them and receives from them is a third one. The window is 25 s of
//! real time in ten slices, which are criterion's samples. The table at the end has the whole windows: its ratios are what can
//! be compared between machines.
//!
//! `cargo bench`, or a part of it: `cargo bench --bench copy_path -- direct`. Takes about 35 s for each of the eight rows,
//! five minutes in all, and wants half of two cores.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

mod around;
mod case;
mod cost;
mod floors;
mod kinds;
mod measure;
mod media;
mod side;
mod table;

use std::cell::OnceCell;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};

use crate::around::Publisher;
use crate::case::CASES;
use crate::cost::CpuTime;
use crate::measure::{Measured, Plan};
use crate::side::{Job, Which};

/// Criterion's own, in which nothing is measured.
const WARM_UP: Duration = Duration::from_millis(1);

type Result<T> = flowcast_bench::Result<T>;

fn main() -> std::process::ExitCode {
    let _ = flowcast_bench::process::raise_open_files();
    let done = match Job::of_this_process() {
        Some(job) => job.and_then(|job| match job.which {
            Which::Floor => floors::run(&job),
            Which::Flowcast => kinds::run(&job),
        }),
        None => compare(),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    // As criterion decides it: `cargo test` runs benches, too.
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    let plan = if asked("--bench") && !asked("--test") { Plan::WHOLE } else { Plan::GLANCE };
    let work = tempfile::tempdir()?;
    // Nothing is made for a list of names, or for a filter that nothing passes.
    let publisher = OnceCell::new();
    let prepare = || {
        media::make(work.path()).unwrap();
        Publisher::new(work.path()).unwrap()
    };
    let mut criterion =
        Criterion::default().with_measurement(CpuTime).configure_from_args().warm_up_time(WARM_UP);
    let mut all = Vec::new();
    for case in CASES {
        let measured = OnceCell::new();
        let measure = || Measured::new(case, plan, work.path(), publisher.get_or_init(prepare)).unwrap();
        let mut group = criterion.benchmark_group(case.kind.name());
        group
            .sample_size(Plan::SAMPLES)
            .sampling_mode(SamplingMode::Flat)
            .measurement_time(Duration::from_millis(1));
        for which in Which::BOTH {
            let mut number = 0;
            group.bench_function(BenchmarkId::new(which.name(), case.streams), |bencher| {
                bencher.iter_custom(|count| {
                    number += 1;
                    let slice = measured.get_or_init(measure).slice(which, number);
                    // Criterion asks for more and more at a time until its warm-up is over.
                    std::thread::sleep(WARM_UP);
                    slice * u32::try_from(count).unwrap()
                });
            });
        }
        group.finish();
        all.extend(measured.into_inner());
    }
    criterion.final_summary();
    table::print(&all);
    Ok(())
}
