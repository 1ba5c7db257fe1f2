//! Hostile peers of the embedded server: whatever they do, an honest publisher and its player beside them miss nothing, every
//! refusal is counted, and memory and descriptors come back.
//!
//! The tests attack with small numbers; `benches/hostile.sh` runs the same attacks with large ones and prints figures.

#![allow(clippy::print_stdout, reason = "figures, and the talk between the test and its server")]

mod attacks;
mod honest;
mod server;
mod vectors;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowcast::rtmp::session::ClientRole;
use honest::Honest;
use kit::{PATIENCE, Session, wait_until};
use server::{NAME, Server, Setup};

/// A server, the honest pair on it, and room for an attack.
struct Field {
    server: Server,
    honest: Honest,
}

/// One attack.
struct Attack {
    name: &'static str,
    run: fn(&Field, usize),
    /// Over RTMPS is the honest pair, too.
    secure: bool,
    /// How hard: in a test, and for the figures.
    numbers: [usize; 2],
    /// MiB of resident memory that it may cost at its worst, in a test and for the figures.
    memory: [usize; 2],
}

impl Field {
    /// Somebody who comes now is served.
    fn wait_newcomer(&self) {
        let served = wait_until(PATIENCE, || {
            let mut newcomer = Session::plain(ClientRole::Play, self.server.address, &format!("live/{NAME}"));
            matches!(newcomer.go_live(), Ok(true))
        });
        assert!(served, "newcomers are not served: {:?}", self.server.counters());
    }
}

/// The longest that somebody who only sleeps was kept from running: what of a gap is the machine's.
struct Pauses {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Pauses {
    fn start() -> Self {
        const NAP: Duration = Duration::from_millis(5);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(NAP);
                longest = longest.max(began.elapsed().saturating_sub(NAP));
            }
            longest
        });
        Self { stop, thread }
    }

    fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only sleeps")
    }
}

impl Attack {
    /// Runs it and checks that nobody honest noticed; prints the figures.
    fn launch(&self, setup: &Setup, full: bool) {
        let (number, memory) = (self.numbers[usize::from(full)], self.memory[usize::from(full)]);
        let server = Server::start(setup);
        let honest = Honest::start(&server, self.secure);
        let field = Field { server, honest };
        let (before, counted) = (field.server.usage(), field.server.counters());
        let pauses = Pauses::start();
        let began = Instant::now();
        // The attackers' own work is not to keep the honest from running: on Linux each thread has a priority of its own, which
        // those it starts inherit.
        let done = std::thread::scope(|scope| {
            let attackers = scope.spawn(|| {
                let _ = rustix::process::nice(19);
                (self.run)(&field, number);
            });
            attackers.join()
        });
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        let took = began.elapsed();
        field.wait_newcomer();
        field.server.wait("connections stay", |counters| counters.get("connections") == 2);
        field.honest.wait_played(30);
        let back = wait_until(PATIENCE, || field.server.usage().descriptors <= before.descriptors);
        let after = field.server.usage();
        let counters = field.server.counters();
        let Field { server: _server, honest } = field;
        let pause = pauses.longest();
        let seen = honest.finish();
        println!(
            "{:<28} x {number:>5}, {:>5.1} s | resident {:>3} MiB, peak {:>3}, after {:>3} | descriptors {} -> {} | cpu {:>5} ms | \
             honest: {} pictures, gap {} ms, stall {} ms (the machine's own: {} ms) | {} came; {}",
            self.name,
            took.as_secs_f64(),
            before.resident >> 10,
            after.peak >> 10,
            after.resident >> 10,
            before.descriptors,
            after.descriptors,
            after.cpu - before.cpu,
            seen.played,
            seen.gap.as_millis(),
            seen.stall.as_millis(),
            pause.as_millis(),
            counters.get("accepted") - counted.get("accepted"),
            counters.shown(),
        );
        assert!(back, "descriptors {} -> {}", before.descriptors, after.descriptors);
        let cost = after.peak.saturating_sub(before.resident) >> 10;
        assert!(cost <= memory, "{cost} MiB, {memory} were expected at most");
    }
}

/// Makes each attack a test, and a list of all for the figures.
macro_rules! attacks {
    ($($name:ident: $run:ident $([$secure:ident])?, $small:literal MiB $small_memory:literal, $full:literal MiB $full_memory:literal;)*) => {
        const ATTACKS: &[Attack] = &[$(Attack {
            name: stringify!($name),
            run: attacks::$run,
            secure: attacks!(@secure $($secure)?),
            numbers: [$small, $full],
            memory: [$small_memory, $full_memory],
        }),*];
        $(
            #[test]
            fn $name() {
                let attack = ATTACKS.iter().find(|attack| attack.name == stringify!($name)).expect("it is listed");
                attack.launch(&Setup::QUICK, false);
            }
        )*
    };
    (@secure) => { false };
    (@secure secure) => { true };
}

attacks! {
    abuse: vectors, 1 MiB 8, 3 MiB 8;
    silence: silent, 60 MiB 8, 2000 MiB 32;
    drips: dripping, 60 MiB 8, 2000 MiB 32;
    silence_after_the_handshake: silent_after_the_handshake, 60 MiB 8, 2000 MiB 32;
    silence_in_tls: silent_in_tls [secure], 60 MiB 8, 2000 MiB 64;
    connections_that_come_and_go: storm, 200 MiB 8, 5000 MiB 16;
    wrong_keys: wrong_keys, 60 MiB 8, 5000 MiB 16;
    media_before_publish: media_before_publish, 12 MiB 8, 150 MiB 8;
    amf: amf, 2 MiB 16, 30 MiB 16;
    random_bytes: random_bytes, 5 MiB 16, 300 MiB 64;
    giants: giants, 2 MiB 64, 20 MiB 560;
    giant_pictures: giant_pictures, 1 MiB 96, 4 MiB 320;
    giant_headers: giant_headers, 1 MiB 64, 4 MiB 128;
    chunks_of_one_byte: chunks_of_one_byte, 1 MiB 16, 4 MiB 64;
    tiny_tags: tiny_tags, 1 MiB 32, 4 MiB 96;
    talking_players: talking_players, 4 MiB 16, 32 MiB 64;
    tls_storm: tls_storm [secure], 40 MiB 8, 2000 MiB 16;
    tls_records: tls_records [secure], 2 MiB 16, 16 MiB 64;
    usurpers: usurpers, 2 MiB 8, 100 MiB 8;
}

const DESCRIPTORS: Attack = Attack {
    name: "no_descriptor_left",
    run: attacks::descriptors,
    secure: false,
    numbers: [100, 2000],
    memory: [8, 16],
};

#[test]
fn no_descriptor_left() {
    DESCRIPTORS.launch(&Setup { descriptors: 48, ..Setup::QUICK }, false);
}

/// Who comes when the house is full is refused at once and counted; when the silent have gone, newcomers are served again.
#[test]
fn more_than_the_server_takes() {
    let attack = Attack {
        name: "a full house",
        run: |field, count| {
            attacks::silent(field, count);
            let counters = field.server.counters();
            assert!(counters.get("refused_full") >= count as u64 - 18, "{counters:?}");
        },
        secure: false,
        numbers: [60, 60],
        memory: [8, 8],
    };
    attack.launch(&Setup { max_connections: 20, ..Setup::QUICK }, false);
}

/// The figures. Run alone, and with optimisation: `benches/hostile.sh`.
#[test]
#[ignore = "takes minutes; benches/hostile.sh runs it"]
fn figures() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let wanted = |attack: &&Attack| only.is_empty() || only.split(' ').any(|name| name == attack.name);
    let none = Attack {
        name: "nothing",
        run: |field, _| field.honest.wait_played(300),
        secure: false,
        numbers: [0; 2],
        memory: [8; 2],
    };
    none.launch(&Setup::DEFAULTS, true);
    let mut failed = Vec::new();
    let mut launch = |attack: &Attack, setup: Setup| {
        let result = std::panic::catch_unwind(|| attack.launch(&setup, true));
        if result.is_err() {
            failed.push(attack.name);
        }
    };
    ATTACKS.iter().filter(wanted).for_each(|attack| launch(attack, Setup::DEFAULTS));
    if wanted(&&DESCRIPTORS) {
        launch(
            &DESCRIPTORS,
            Setup { descriptors: 256, handshake: Duration::from_secs(2), ..Setup::DEFAULTS },
        );
    }
    assert!(failed.is_empty(), "{failed:?}");
}
