//! MPEG-TS in datagrams: whole packets, none lost at a receiver with the usual buffer, and times as a decoder needs them.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowcast::Output;
use kit::bystander::held_up;
use kit::rig::{Known, engine};
use kit::{Need, PATIENCE, Peer, bound_udp, need, own_address, text, udp_queue, wait_closed};

use crate::{assert_pictures, start, wait_laps};

const PACKET: usize = 188;

/// What a receiver that reads nothing else meanwhile has of it.
#[derive(Default)]
struct Received {
    packets: u64,
    /// The counter of each PID, and how often it was not the next one.
    counters: HashMap<u16, u8>,
    gaps: u64,
    /// Arrivals of PAT and of clocks.
    tables: Vec<Instant>,
    clocks: Vec<Instant>,
    largest: usize,
}

impl Received {
    fn take(&mut self, datagram: &[u8]) {
        let now = Instant::now();
        self.largest = self.largest.max(datagram.len());
        assert!(datagram.len().is_multiple_of(PACKET), "{} bytes", datagram.len());
        for packet in datagram.chunks(PACKET) {
            assert_eq!(packet[0], 0x47);
            self.packets += 1;
            let pid = u16::from(packet[1] & 0x1F) << 8 | u16::from(packet[2]);
            let (has_adaptation, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
            if pid == 0 {
                self.tables.push(now);
            }
            if has_adaptation && packet[4] > 0 && packet[5] & 0x10 != 0 {
                self.clocks.push(now);
            }
            let counter = packet[3] & 0x0F;
            let before = self.counters.insert(pid, counter);
            let is_marked = has_adaptation && packet[4] > 0 && packet[5] & 0x80 != 0;
            if let Some(before) = before.filter(|_| has_payload && !is_marked && pid != 0x1FFF) {
                self.gaps += u64::from(counter != (before + 1) & 0x0F);
            }
        }
    }
}

fn longest(times: &[Instant]) -> Duration {
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Prints when the kernel had each datagram, in nanoseconds, and its bytes. Its buffer is large, so that it does not matter when it reads.
const STAMPS: &str = r#"
import socket, struct
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.setsockopt(socket.SOL_SOCKET, 35, 1) # SO_TIMESTAMPNS
for option in (33, socket.SO_RCVBUF): # SO_RCVBUFFORCE, for root
    try:
        peer.setsockopt(socket.SOL_SOCKET, option, 16 << 20)
        break
    except OSError:
        pass
peer.bind(("127.0.0.1", 0))
print("port", peer.getsockname()[1], flush=True)
peer.settimeout(60)
while True:
    try:
        data, beside, _, _ = peer.recvmsg(2048, 64)
    except socket.timeout:
        break
    peer.settimeout(3)
    for _, kind, stamp in beside:
        if kind == 35:
            seconds, nanos = struct.unpack("qq", stamp)
            print("at", seconds * 10**9 + nanos, len(data))
"#;

/// Of the tenths of a second in which most came, how many there were, and in how many nearly all of it came within 8 ms.
fn bursts(arrivals: &[(u64, u64)]) -> (usize, usize) {
    const TURN: u64 = 100_000_000;
    const BURST: u64 = 8_000_000;
    let within = |from: usize, span: u64| {
        let (begin, _) = arrivals[from];
        let (end, bytes) = arrivals[from..]
            .iter()
            .take_while(|(at, _)| *at < begin + span)
            .fold((from, 0), |(end, bytes), (_, length)| (end + 1, bytes + length));
        (end, bytes)
    };
    let (mut large, mut at_once, mut from) = (0, 0, 0);
    while from < arrivals.len() {
        let (end, bytes) = within(from, TURN);
        if bytes < 150_000 {
            from += 1;
            continue;
        }
        large += 1;
        let most = (from..end).map(|place| within(place, BURST).1).max().unwrap_or(0);
        at_once += usize::from(most * 5 >= bytes * 4);
        from = end;
    }
    (large, at_once)
}

/// What is large is spread over time: that is seen in the times the kernel noted, whenever the receiver was given the processor. A sender that is
/// held up itself hurries, so a part of it may come at once.
#[test]
fn what_a_turn_brings_is_spread_over_time() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::heavy();
    let mut receiver = Peer::spawn(&kit::python(), ["-c", STAMPS]);
    let port = receiver.wait_for_line("port", PATIENCE);
    let engine = engine(|_| {});
    let live = start(&engine, &clip, Output::url(&format!("udp://127.0.0.1:{port}")));
    wait_laps(&live, 2);
    live.stop(PATIENCE).expect("it runs well");
    receiver.wait_success(PATIENCE);
    let number = |field: Option<&str>| field.and_then(|field| field.parse::<u64>().ok());
    let output = receiver.output();
    let arrivals: Vec<_> = output
        .lines()
        .filter_map(|line| line.strip_prefix("at "))
        .map(|line| line.split(' '))
        .filter_map(|mut fields| Some((number(fields.next())?, number(fields.next())?)))
        .collect();
    let (large, at_once) = bursts(&arrivals);
    println!("{} datagrams, {large} large turns, {at_once} of them at once", arrivals.len());
    assert!(arrivals.len() > 3000 && large > 10, "{} datagrams, {large} large turns", arrivals.len());
    assert!(at_once * 2 < large, "{at_once} of {large} come at once");
}

/// 16 Mbit/s with large keyframes, to a socket with the kernel's own buffer. That buffer holds a tenth of a second of it: who
/// was kept from reading for half of that may have lost datagrams that no burst was to blame for, and looks again. On a machine on which that
/// happens every time, [`what_a_turn_brings_is_spread_over_time`] is the verdict.
#[test]
fn no_datagram_is_lost_in_a_burst() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    const HELD: Duration = Duration::from_millis(50);
    let clip = Known::heavy();
    for _ in 0..10 {
        let (received, held) = received(&clip);
        println!(
            "{} packets, {} gaps, tables every {:?} at most, clocks every {:?}, held for {held:?}",
            received.packets,
            received.gaps,
            longest(&received.tables),
            longest(&received.clocks)
        );
        assert_eq!(received.largest, 1316);
        assert!(received.tables.len() > 20 && received.clocks.len() > 40);
        if received.gaps == 0 {
            assert!(received.packets > 20_000, "{} packets", received.packets);
            return;
        }
        assert!(
            held > HELD,
            "{} gaps, though nothing kept the receiver for more than {held:?}",
            received.gaps
        );
    }
}

/// Two laps, and for how long this process was kept from running meanwhile.
fn received(clip: &Known) -> (Received, Duration) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
    let engine = engine(|_| {});
    let url = format!("udp://{}", socket.local_addr().expect("it is bound"));
    let live = start(&engine, clip, Output::url(&url));
    let mut received = Received::default();
    let mut buffer = [0; 2048];
    let began = Instant::now();
    held_up(began, began);
    let end = began + PATIENCE;
    while live.stats().laps < 2 && Instant::now() < end {
        if let Ok(length) = socket.recv(&mut buffer) {
            received.take(&buffer[..length]);
        }
    }
    let held = held_up(began, Instant::now());
    live.stop(PATIENCE).expect("it runs well");
    (received, held)
}

#[test]
fn ffmpeg_has_every_picture() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    // A busy machine may keep the receiver from reading, or it gives up: then what it has says nothing of who sends.
    for _ in 0..5 {
        match taken_by_ffmpeg(&clip) {
            Ok(file) => return assert!(assert_pictures(&clip, &file) >= 150),
            Err(why) => println!("{why}"),
        }
    }
    panic!("each time the receiver did not read in time");
}

/// What `ffmpeg` received of three laps; or why that is not all that was sent.
fn taken_by_ffmpeg(clip: &Known) -> Result<PathBuf, String> {
    let address = own_address();
    let file = clip.beside("received.ts");
    // At this address only: others beside this test have the same port at theirs.
    let url = format!("udp://{address}?localaddr={}&fifo_size=50000&timeout=6000000", address.ip());
    let arguments = ["-nostdin", "-v", "error", "-y", "-i", &url, "-c", "copy", "-f", "mpegts", text(&file)];
    let mut receiver = Peer::spawn("ffmpeg".as_ref(), arguments);
    assert!(kit::wait_until(PATIENCE, || bound_udp(address)));
    let engine = engine(|_| {});
    let live = start(&engine, clip, Output::url(&format!("udp://{address}?pkt_size=752&ttl=1")));
    wait_laps(&live, 3);
    live.stop(PATIENCE).expect("it runs well");
    let queue = udp_queue(address).ok_or("nothing came for six seconds, and the receiver has ended")?;
    receiver.wait(PATIENCE);
    if queue.dropped > 0 {
        return Err(format!("the receiver did not read in time: {} datagrams are lost", queue.dropped));
    }
    assert!(wait_closed(&file, PATIENCE), "{}", receiver.report());
    Ok(file)
}

#[test]
fn a_constant_rate_is_kept_with_stuffing() {
    let clip = Known::small();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
    let engine = engine(|_| {});
    let url = format!("udp://{}?muxrate=4000000", socket.local_addr().expect("it is bound"));
    let live = start(&engine, &clip, Output::url(&url));
    let (mut received, mut buffer, mut stuffing) = (Received::default(), [0; 2048], 0_u64);
    let end = Instant::now() + PATIENCE;
    while live.stats().laps < 2 && Instant::now() < end {
        if let Ok(length) = socket.recv(&mut buffer) {
            received.take(&buffer[..length]);
            let is_stuffing = |packet: &&[u8]| packet[1] & 0x1F == 0x1F && packet[2] == 0xFF;
            stuffing += buffer[..length].chunks(PACKET).filter(is_stuffing).count() as u64;
        }
    }
    let seconds = live.stats().media_time.as_millis() as f64 / 1000.0;
    live.stop(PATIENCE).expect("it runs well");
    // What this receiver was too late for was sent all the same: a gap stands for at least a datagram.
    let least = received.packets as f64 * PACKET as f64 * 8.0 / seconds;
    println!("{least:.0} bit/s, {stuffing} packets of stuffing, {} gaps", received.gaps);
    assert!(least < 5_000_000.0 && (least > 3_000_000.0 || received.gaps > 0) && stuffing > 100, "{least}");
}
