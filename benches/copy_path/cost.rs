//! CPU time per second of a stream as criterion's measure.

use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

/// CPU time of this process; what is printed was measured in others.
#[derive(Debug)]
pub(crate) struct CpuTime;

/// Prints milliseconds of CPU per second of a stream.
struct PerStreamSecond;

impl ValueFormatter for PerStreamSecond {
    fn scale_values(&self, _typical: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|value| *value /= 1e6);
        "ms CPU/stream-s"
    }
    fn scale_throughputs(&self, typical: f64, _: &Throughput, values: &mut [f64]) -> &'static str {
        self.scale_values(typical, values)
    }
    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        self.scale_values(0.0, values)
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;
    fn start(&self) -> Duration {
        flowcast_bench::process::cpu_time()
    }
    fn end(&self, started: Duration) -> Duration {
        flowcast_bench::process::cpu_time() - started
    }
    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        &PerStreamSecond
    }
}
