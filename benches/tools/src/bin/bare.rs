//! The floor of a stream's cost: a thread that sleeps to its tick and writes that tick's bytes with one call.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use flowcast_bench::support;

use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowcast_bench::clip::{TICK, Ticks};
use flowcast_bench::support::args::Args;
use flowcast_bench::support::{Result, json};
use flowcast_bench::{process, tls};
use rustls::ClientConnection;

const USAGE: &str = "\
usage: bare FILE.flv --to ADDR [--streams N] [--seconds N] [--warm-up N] [--ca FILE.pem] [--spread]

  FILE.flv      the clip; its tags are prepared as RTMP bytes once, in memory that all threads share
  --to ADDR     host:port of `sink --raw`
  --streams N   threads, each with a connection. Default 40
  --seconds N   how long in all. Default 60
  --warm-up N   seconds before the window that is measured, which ends with the run. Default 3
  --ca FILE     over TLS, and which authority to trust
  --spread      begin each stream elsewhere in the clip, so that keyframes do not coincide";

fn main() -> ExitCode {
    support::exit(run())
}

/// What the threads share.
struct Common {
    ticks: Ticks,
    stop: AtomicBool,
    /// Whether lateness counts already.
    measuring: AtomicBool,
    latest_micros: AtomicU64,
    bytes: AtomicU64,
}

fn run() -> Result<()> {
    let options = ["--to", "--streams", "--seconds", "--warm-up", "--ca"];
    let args = Args::parse(USAGE, &options, &["--spread"])?;
    let [file] = args.rest() else { return Err(format!("which file?\n{USAGE}").into()) };
    let to: SocketAddr = args.last("--to")?.ok_or_else(|| format!("where to?\n{USAGE}"))?;
    let streams: u32 = args.last("--streams")?.unwrap_or(40).max(1);
    let seconds: f64 = args.last("--seconds")?.unwrap_or(60.0);
    let warm_up: f64 = args.last("--warm-up")?.unwrap_or(3.0);
    let roots = match args.last::<PathBuf>("--ca")? {
        Some(ca) => Some(tls::client(&ca).map_err(|error| error.to_string())?),
        None => None,
    };
    let _ = process::raise_open_files();
    let stop = support::stop_flag()?;
    let ticks = Ticks::load(file.as_ref()).map_err(|error| format!("{file}: {error}"))?;
    let common = Arc::new(Common {
        ticks,
        stop: AtomicBool::new(false),
        measuring: AtomicBool::new(false),
        latest_micros: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });

    let mut writers = Vec::new();
    for _ in 0..streams {
        let socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        writers.push(match &roots {
            Some(roots) => Writer::tls(socket, roots.clone(), to)?,
            None => Writer { socket, tls: None },
        });
    }
    let began = Instant::now();
    let mut threads = Vec::new();
    for (number, writer) in (0..streams).zip(writers) {
        let (common, first) = (common.clone(), began + TICK * number / streams);
        let slot = if args.has("--spread") {
            number as usize * common.ticks.bytes.len() / streams as usize
        } else {
            0
        };
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        threads.push(thread.spawn(move || common.stream(writer, first, slot))?);
    }

    let sleep_until = |at: Instant| {
        while !stop.load(Ordering::Relaxed) && Instant::now() < at {
            std::thread::sleep(at.saturating_duration_since(Instant::now()).min(Duration::from_secs(1)));
        }
    };
    sleep_until(began + Duration::from_secs_f64(warm_up));
    common.measuring.store(true, Ordering::Relaxed);
    let (cpu, since) = (process::cpu_time(), Instant::now());
    sleep_until(began + Duration::from_secs_f64(seconds));
    let (cpu, elapsed) = (process::cpu_time() - cpu, since.elapsed().as_secs_f64());
    let (rss, threads_now) = (process::status("VmRSS"), process::status("Threads"));
    common.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    let object = json::Object::default()
        .value("streams", streams)
        .value("seconds", format!("{elapsed:.2}"))
        .value("kbps", format!("{:.1}", common.ticks.kbps()))
        .value("largest_tick_bytes", common.ticks.largest())
        .value("bytes_sent", common.bytes.load(Ordering::Relaxed))
        .value(
            "cpu_ms_per_stream_second",
            format!("{:.4}", cpu.as_secs_f64() * 1e3 / elapsed / f64::from(streams)),
        )
        .value("rss_kb", rss)
        .value("threads", threads_now)
        .value("late_max_ms", format!("{:.1}", common.latest_micros.load(Ordering::Relaxed) as f64 / 1e3));
    println!("{}", object.finish());
    Ok(())
}

impl Common {
    fn stream(&self, mut writer: Writer, first: Instant, slot: usize) -> io::Result<()> {
        let (mut next, mut sent, mut latest) = (first, 0, 0);
        for bytes in self.ticks.bytes.iter().cycle().skip(slot) {
            next += TICK;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let late =
                u64::try_from(Instant::now().saturating_duration_since(next).as_micros()).unwrap_or(u64::MAX);
            if late > latest && self.measuring.load(Ordering::Relaxed) {
                latest = late;
            }
            writer.write(bytes)?;
            sent += bytes.len() as u64;
        }
        self.latest_micros.fetch_max(latest, Ordering::Relaxed);
        self.bytes.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }
}

/// One connection.
struct Writer {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Writer {
    fn tls(mut socket: TcpStream, config: Arc<rustls::ClientConfig>, to: SocketAddr) -> Result<Self> {
        let mut tls = ClientConnection::new(config, rustls::pki_types::ServerName::from(to.ip()))?;
        // A tick is handed over whole.
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self { socket, tls: Some(Box::new(tls)) })
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            return Ok(());
        }
        while !bytes.is_empty() {
            let count = self.socket.write_vectored(&[IoSlice::new(bytes)])?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}
