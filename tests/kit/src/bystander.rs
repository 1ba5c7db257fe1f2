//! What a busy machine does to everybody in a moment, so that a test does not take it for a fault of the stream it watches.
//! In: instants. Out: how much time was lost between them by two who have no part in the test: threads that hand a byte on at a
//! beat, and a stream like the one that is watched.

use super::rig::{Known, engine, longest_silence, push};
use super::scripted::{Script, Scripted};
use flowcast::{Engine, Source, StreamHandle};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How often the byte is handed on.
const BEAT: Duration = Duration::from_millis(20);
/// Delays up to this are those of any machine.
const USUAL: Duration = Duration::from_millis(20);
/// The longest pause between two writes of a stream that nothing holds up: its tick, and half of one.
const TICK: Duration = Duration::from_millis(150);
/// What is lost just before or after a pause belongs to the same moment.
const AROUND: Duration = Duration::from_secs(1);

/// How much longer than usual this process was kept from running between two instants: the sum of what each beat came late.
///
/// It is known from the first call on: call it once before what is to be judged begins.
pub fn held_up(from: Instant, to: Instant) -> Duration {
    static DELAYS: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());
    static BEATING: Once = Once::new();
    BEATING.call_once(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback listens");
        let mut sender =
            TcpStream::connect(listener.local_addr().expect("it has an address")).expect("loopback");
        let (mut receiver, _) = listener.accept().expect("the sender");
        std::thread::spawn(move || {
            while sender.write_all(&[0]).is_ok() {
                std::thread::park_timeout(BEAT);
            }
        });
        std::thread::spawn(move || {
            let mut last = Instant::now();
            while receiver.read_exact(&mut [0]).is_ok() {
                let late = std::mem::replace(&mut last, Instant::now()).elapsed().saturating_sub(BEAT);
                if late > USUAL {
                    DELAYS.lock().unwrap_or_else(PoisonError::into_inner).push((last, late));
                }
            }
        });
    });
    let delays = DELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    delays.iter().filter(|(at, late)| *at >= from && *at - *late <= to).map(|(_, late)| *late).sum()
}

/// `limit`, and twice what the machine took from everybody since then.
pub fn at_most(limit: Duration, since: Instant) -> Duration {
    limit + 2 * held_up(since, Instant::now())
}

/// How much of the machine's processors other processes had since then.
#[derive(Debug)]
pub struct Others {
    /// What all processes had, and what this one did, in ticks of a processor.
    before: (u64, u64),
    since: Instant,
}

impl Others {
    /// From here on.
    pub fn watch() -> Self {
        Self { before: (busy_ticks(), own_ticks()), since: Instant::now() }
    }

    /// Their part of what there was, from 0 to 1.
    pub fn share(&self) -> f64 {
        let all = busy_ticks().saturating_sub(self.before.0);
        let own = own_ticks().saturating_sub(self.before.1);
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let there_was = self.since.elapsed().as_secs_f64() * rustix::param::clock_ticks_per_second() as f64;
        all.saturating_sub(own) as f64 / (there_was * processors)
    }
}

/// Ticks in which a processor worked, over all of them (`/proc/stat`: what is neither idle nor waiting for a disk).
fn busy_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("the kernel tells");
    let first = stat.lines().next().expect("the sum of all processors");
    let ticks: Vec<u64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // User, nice, system, idle, waiting, interrupts, their second halves, stolen.
    ticks
        .iter()
        .enumerate()
        .filter(|(place, _)| ![3, 4].contains(place) && *place < 8)
        .map(|(_, ticks)| ticks)
        .sum()
}

/// Ticks of this process and the children it has waited for (`/proc/self/stat`, fields 14 to 17).
fn own_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the kernel tells");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    fields.split_whitespace().skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// A stream of its own engine to a server of its own, like the one that is watched, with no fault anywhere.
#[derive(Debug)]
pub struct Bystander {
    server: Scripted,
    _live: StreamHandle,
    _engine: Engine,
}

impl Bystander {
    /// Puts the clip on the air in a loop.
    pub fn start(clip: &Known) -> Self {
        let (server, engine) = (Scripted::start(Script::Record), engine(|_| {}));
        let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start();
        let live = live.expect("the bystander starts");
        assert!(server.wait_pictures(0, 1, super::PATIENCE), "the bystander gets nothing");
        held_up(Instant::now(), Instant::now());
        Self { server, _live: live, _engine: engine }
    }

    /// How much time a stream may have lost between two instants without a fault of its own: twice what this one lost in the
    /// same moment, as luck is not the same for both.
    pub fn allowance(&self, from: Instant, to: Instant) -> Duration {
        let (from, to) = (from.checked_sub(AROUND).unwrap_or(from), to + AROUND);
        let visits = self.server.visits();
        let tags = visits.first().map_or(&[][..], |visit| &visit.tags);
        let arrivals: Vec<_> = tags.iter().map(|tag| tag.at).filter(|at| (from..=to).contains(at)).collect();
        let lost: Duration = arrivals.windows(2).map(|pair| (pair[1] - pair[0]).saturating_sub(TICK)).sum();
        // If it got nothing at all, that is what it lost.
        let lost = if arrivals.is_empty() { to - from } else { lost };
        2 * (lost + held_up(from, to))
    }

    /// The longest time nothing arrived at this one.
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        self.server.visits().first().map_or(Duration::MAX, |visit| longest_silence(&visit.tags, from, to))
    }
}
