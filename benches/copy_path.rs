//! CPU time per stream-second of looping a clip over loopback: N streams of flowcast, and beside them the floor, bare
//! writes of the same bytes at the same tick.
//!
//! What is measured is the CPU time of this process (user and system, all threads) per second of one stream; the figure
//! criterion prints is that time. The receiving side is another process of the same program, so that it does not count.
//!
//! `cargo bench --bench copy_path`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use flowcast::av::{SampleSpec, sample_clip};
use flowcast::{Config, Engine, Output, RtmpServerExt, Source};

const SINK: &str = "FLOWCAST_BENCH_SINK";
const TICK: Duration = Duration::from_millis(100);
/// Wall time of one sample.
const SAMPLE: Duration = Duration::from_secs(4);
const BITRATE: u64 = 2_520_000;

/// CPU time of this process.
struct CpuTime;

impl CpuTime {
    fn now() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    }
}

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
        Self::now()
    }
    fn end(&self, started: Duration) -> Duration {
        Self::now() - started
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

/// The receiving process.
struct Sink {
    child: Child,
    address: SocketAddr,
}

impl Sink {
    fn start(kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(SINK, kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The receiving process' main: an RTMP server, or a socket that discards. It ends with its standard input.
fn sink(kind: &str) {
    if kind == "rtmp" {
        let mut config = Config::default();
        config.max_streams = 10_000;
        let engine = Engine::new(config).unwrap();
        for number in 0..1000 {
            engine.keys().add(&format!("n{number}"), format!("key-{number}")).unwrap();
        }
        let server = engine
            .rtmp_server("127.0.0.1:0")
            .options(|options| options.max_connections = 10_000)
            .start()
            .unwrap();
        println!("{}", server.address());
        let _ = std::io::stdin().read(&mut [0]);
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{}", listener.local_addr().unwrap());
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || {
                    let mut buffer = vec![0; 16 << 10];
                    while socket.read(&mut buffer).is_ok_and(|count| count > 0) {}
                })
                .unwrap();
        }
    }
}

/// CPU time per stream-second of `streams` streams, as measured over the time they are all on the air.
fn flowcast(streams: usize, clip: &Path, sink: SocketAddr) -> Duration {
    let mut config = Config::default();
    config.max_streams = streams;
    let engine = Engine::new(config).unwrap();
    let running: Vec<_> = (0..streams)
        .map(|number| {
            let output = Output::rtmp_url(&format!("rtmp://{sink}/live/key-{number}"));
            engine.stream(Source::file(clip).looped()).to(output).start().unwrap()
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    while running.iter().any(|stream| stream.stats().bytes_sent == 0) {
        assert!(Instant::now() < deadline, "the streams did not all get on the air");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let per_second = measure(streams);
    let lost: u64 = running.iter().map(|stream| stream.stats().drops + stream.stats().reconnects).sum();
    assert_eq!(lost, 0, "the machine could not keep up");
    engine.shutdown(Duration::from_secs(10));
    per_second
}

/// The floor: a thread for each stream that sleeps to the tick and writes the tick's bytes with one call.
fn bare(streams: usize, sink: SocketAddr) -> Duration {
    let per_tick = usize::try_from(BITRATE + 128_000).unwrap() / 8 / 10;
    let alive = Arc::new(AtomicBool::new(true));
    let began = Instant::now();
    let threads: Vec<_> = (0..streams)
        .map(|number| {
            let mut socket = TcpStream::connect(sink).unwrap();
            socket.set_nodelay(true).unwrap();
            let alive = alive.clone();
            let offset = TICK.mul_f64(number as f64 / streams as f64);
            std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || {
                    let bytes = vec![0x5a; per_tick];
                    let mut next = began + offset;
                    while alive.load(Ordering::Relaxed) {
                        next += TICK;
                        std::thread::sleep(next.saturating_duration_since(Instant::now()));
                        let mut rest: &[u8] = &bytes;
                        while !rest.is_empty() {
                            let written = socket.write_vectored(&[IoSlice::new(rest)]).unwrap();
                            rest = &rest[written..];
                        }
                    }
                })
                .unwrap()
        })
        .collect();
    let per_second = measure(streams);
    alive.store(false, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    per_second
}

fn measure(streams: usize) -> Duration {
    let (cpu, began) = (CpuTime::now(), Instant::now());
    std::thread::sleep(SAMPLE);
    let per_stream = (CpuTime::now() - cpu).as_secs_f64() / streams as f64;
    Duration::from_secs_f64(per_stream / began.elapsed().as_secs_f64())
}

fn clip() -> PathBuf {
    let path = std::env::temp_dir().join(format!("flowcast-copy-path-{}.mp4", std::process::id()));
    let spec = SampleSpec {
        width: 1280,
        height: 720,
        fps: 30,
        seconds: 10.0,
        gop_frames: 60,
        b_frames: 2,
        bitrate: BITRATE,
        ..SampleSpec::default()
    };
    sample_clip(&path, &spec).unwrap();
    path
}

fn main() {
    if let Ok(kind) = std::env::var(SINK) {
        return sink(&kind);
    }
    let clip = clip();
    let (rtmp, tcp) = (Sink::start("rtmp"), Sink::start("tcp"));
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .configure_from_args()
        .warm_up_time(Duration::from_millis(1));
    let mut group = criterion.benchmark_group("copy_path");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_millis(1));
    for streams in [1, 20, 200] {
        group.bench_with_input(BenchmarkId::new("bare writes", streams), &streams, |bencher, &streams| {
            bencher.iter_custom(|count| bare(streams, tcp.address) * u32::try_from(count).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("flowcast", streams), &streams, |bencher, &streams| {
            bencher
                .iter_custom(|count| flowcast(streams, &clip, rtmp.address) * u32::try_from(count).unwrap());
        });
    }
    group.finish();
    criterion.final_summary();
    let _ = std::fs::remove_file(clip);
}
