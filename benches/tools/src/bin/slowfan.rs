//! What slow players cost the others: a server with 500 players, of which 50 stop reading and 20 read one byte a second.
//!
//! The publisher puts its clock and a count into every tag, so each healthy player tells what it lost and how late it was.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use clap::Parser;
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::{ClientConfig, ClientRole, ClientSession};
use flowcast::rtmp::time::MediaTime;
use flowcast::rtmp::url::Destination;
use flowcast_bench::load::{Behaviour, Crowd};
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit};
use serde::Deserialize;
use serde_json::json;

/// What slow players cost the others: some stop reading, some read one byte a second.
///
/// It starts `fanout_server` out of the directory it is in itself, and prints a line a second and then one JSON
/// object.
#[derive(Parser)]
struct Cli {
    /// Players in all
    #[arg(long, value_name = "N", default_value_t = 500)]
    players: usize,

    /// Of those, ones that read nothing more after the first tag
    #[arg(long, value_name = "N", default_value_t = 50)]
    stop: usize,

    /// Of those, ones that read one byte a second then
    #[arg(long, value_name = "N", default_value_t = 20)]
    drip: usize,

    /// How long all of them are there
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    seconds: u64,

    /// Merging of the server; 0 sends each tag at once, so that lateness is all the server's
    #[arg(long, value_name = "MS", default_value_t = 0)]
    merge: u64,
}

/// How long all players together may take to join.
const PATIENCE: Duration = Duration::from_secs(60);
/// A picture and about one and a half sounds every 33 ms: 2.65 Mbit/s.
const FRAME: Duration = Duration::from_nanos(33_333_333);
const PICTURE: usize = 10_600;
const SOUND: usize = 340;
const GOP: u64 = 60;
/// A sequence header that a decoder can be set up with: without one the server passes on no picture.
const HEADER: [u8; 20] =
    [0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0, 2, 0x67, 0x64, 1, 0, 2, 0x68, 0xEE];

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let Cli { players: all, stop, drip, seconds, merge } = *cli;
    let healthy = all.checked_sub(stop + drip).ok_or("more slow players than players")?;
    let _ = process::raise_open_files();

    let mut server = Server::start(merge)?;
    let began = Instant::now();
    let publisher = Arc::new(Publisher::default());
    let thread = publisher.clone().start(server.address, began);
    let mut seen = vec![Seen::default(); all];
    let mut crowd = Crowd::new(server.address, Some("live/demo")).map_err(|error| error.to_string())?;
    std::thread::sleep(Duration::from_secs(1));
    let healthy_ones = std::iter::repeat_n(Behaviour::Parse, healthy);
    let slow_ones =
        std::iter::repeat_n(Behaviour::Stop, stop).chain(std::iter::repeat_n(Behaviour::Drip, drip));
    let mut measuring = false;
    let mut on_tag = |index: usize, tag: &Tag, _: Instant, measuring: bool| {
        if let Some(seen) = seen.get_mut(index) {
            seen.take(tag, began, measuring);
        }
    };
    let mut join = |behaviours: &mut dyn Iterator<Item = Behaviour>| {
        crowd.join(behaviours, PATIENCE, &mut |index, tag, now| on_tag(index, tag, now, false))
    };
    join(&mut healthy_ones.into_iter()).map_err(|error| error.to_string())?;
    let ((before, _), tcp_before) = (server.ask()?, process::tcp_memory_kb());
    join(&mut slow_ones.into_iter()).map_err(|error| error.to_string())?;

    let from = Instant::now();
    let mut next_look = from;
    let mut peak = Peak::default();
    while from.elapsed() < Duration::from_secs(seconds) {
        // What was waiting when the last of them joined is not the server's lateness.
        measuring |= from.elapsed() > Duration::from_secs(1);
        crowd
            .turn(Duration::from_millis(5), &mut |index, tag, now| on_tag(index, tag, now, measuring))
            .map_err(|error| error.to_string())?;
        if Instant::now() >= next_look {
            next_look += Duration::from_secs(1);
            let (figures, line) = server.ask()?;
            peak.note(&figures);
            eprintln!("{:>5.1} s  {line}", from.elapsed().as_secs_f64());
        }
    }
    let (after, _) = server.ask()?;
    publisher.stop.store(true, Ordering::Relaxed);
    thread.join().map_err(|_| "the publisher panicked")?.map_err(|error| error.to_string())?;
    let ended = |range: std::ops::Range<usize>| {
        crowd.players.get(range).unwrap_or_default().iter().filter(|player| player.ended.is_some()).count()
    };
    let (healthy_lost, slow_lost) = (ended(0..healthy), ended(healthy..all));
    let disorder: u64 = crowd.players.iter().map(|player| player.disorder).sum();
    let seen = seen.get(..healthy).unwrap_or_default();
    let figures = json!({
        "players": all,
        "seconds": seconds,
        "healthy": healthy,
        "healthy_disconnected": healthy_lost,
        "healthy_tags": seen.iter().map(|seen| seen.tags).sum::<u64>(),
        "healthy_tags_lost": seen.iter().map(|seen| seen.lost).sum::<u64>(),
        "disorder": disorder,
        "latest_ms": seen.iter().map(|seen| seen.latest).max().unwrap_or_default().as_millis(),
        "publisher_write_max_ms": publisher.slowest_micros.load(Ordering::Relaxed) as f64 / 1e3,
        "slow_disconnected": slow_lost,
        "rss_kb_before_slow": before.rss_kb,
        "rss_kb_peak": peak.rss_kb,
        "rss_kb_end": after.rss_kb,
        "unacknowledged_bytes_peak": peak.held,
        "tcp_kb_before_slow": tcp_before,
        "tcp_kb_peak": peak.kernel_kb,
        "drops": after.drops,
        "server_late_max_ms": after.late_max_ms,
    });
    println!("{figures}");
    server.end()
}

/// What one player saw.
#[derive(Debug, Clone, Default)]
struct Seen {
    next: Option<u64>,
    tags: u64,
    lost: u64,
    latest: Duration,
}

impl Seen {
    fn take(&mut self, tag: &Tag, began: Instant, measuring: bool) {
        let body = tag.body.to_bytes();
        let Some(mut stamp) = body.get(5..21).filter(|_| !tag.is_sequence_header()) else { return };
        let (count, sent) = (stamp.get_u64(), Duration::from_nanos(stamp.get_u64()));
        if let Some(next) = self.next {
            self.lost += count.saturating_sub(next);
        }
        self.next = Some(count + 1);
        self.tags += 1;
        if measuring {
            self.latest = self.latest.max(began.elapsed().saturating_sub(sent));
        }
    }
}

#[derive(Debug, Default)]
struct Peak {
    rss_kb: u64,
    held: u64,
    kernel_kb: u64,
}

impl Peak {
    fn note(&mut self, figures: &Figures) {
        self.rss_kb = self.rss_kb.max(figures.rss_kb);
        self.held = self.held.max(figures.bytes_held);
        self.kernel_kb = self.kernel_kb.max(process::tcp_memory_kb());
    }
}

/// What `fanout_server` says of itself.
#[derive(Debug, Deserialize)]
struct Figures {
    rss_kb: u64,
    bytes_held: u64,
    drops: u64,
    late_max_ms: u64,
}

struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(merge: u64) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("fanout_server");
        let mut process = Command::new(program)
            .args(["--merge", &merge.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (input, output) = input.zip(output).ok_or("the server has no pipes")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, process, input, output })
    }

    /// The figures so far, and the line they came in.
    fn ask(&mut self) -> Result<(Figures, String)> {
        self.input.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok((serde_json::from_str(&line)?, line.trim().to_owned()))
    }

    fn end(mut self) -> Result<()> {
        drop(self.input);
        self.process.wait()?;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Publisher {
    stop: AtomicBool,
    slowest_micros: AtomicU64,
}

impl Publisher {
    fn start(
        self: Arc<Self>,
        to: SocketAddr,
        began: Instant,
    ) -> std::thread::JoinHandle<flowcast_bench::Result<()>> {
        std::thread::spawn(move || self.publish(to, began))
    }

    fn publish(&self, to: SocketAddr, began: Instant) -> flowcast_bench::Result<()> {
        let destination = Destination::parse(&format!("rtmp://{to}/live/demo"))?;
        let mut socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        let config = ClientConfig::default();
        let mut session =
            ClientSession::new(ClientRole::Publish, &destination, config, [0x5a; 1528], Instant::now());
        let mut buffer = [0; 4096];
        loop {
            send(&mut session, &mut socket)?;
            if session.is_live() {
                break;
            }
            let count = socket.read(&mut buffer)?;
            session.handle_input(Instant::now(), buffer.get(..count).unwrap_or_default())?;
            while session.poll_event().is_some() {}
        }
        let header = Bytes::from_static(&HEADER);
        session.send_tag(&Tag::from_wire(TagKind::Video, MediaTime::ZERO, header));
        let (start, mut count) = (Instant::now(), 0_u64);
        for number in 0_u64.. {
            let at = FRAME * u32::try_from(number)?;
            std::thread::sleep((start + at).saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let head = if number % GOP == 0 { 0x17 } else { 0x27 };
            let mut send_one = |kind, head: [u8; 5], size: usize| -> flowcast_bench::Result<()> {
                let mut body = BytesMut::zeroed(size);
                let stamp = [count.to_be_bytes(), u64::try_from(began.elapsed().as_nanos())?.to_be_bytes()];
                for (slot, byte) in body.iter_mut().zip(head.into_iter().chain(stamp.concat())) {
                    *slot = byte;
                }
                count += 1;
                let time = MediaTime::from_millis(i64::try_from(at.as_millis())?);
                session.send_tag(&Tag::from_wire(kind, time, body.freeze()));
                let before = Instant::now();
                send(&mut session, &mut socket)?;
                let micros = u64::try_from(before.elapsed().as_micros())?;
                self.slowest_micros.fetch_max(micros, Ordering::Relaxed);
                Ok(())
            };
            send_one(TagKind::Video, [head, 1, 0, 0, 0], PICTURE)?;
            send_one(TagKind::Audio, [0x2F, 0, 0, 0, 0], SOUND)?;
        }
        session.finish();
        send(&mut session, &mut socket)?;
        Ok(())
    }
}

fn send(session: &mut ClientSession, socket: &mut TcpStream) -> std::io::Result<()> {
    let wire = session.wire();
    let bytes = wire.copy_to_bytes(wire.remaining());
    socket.write_all(&bytes)
}
