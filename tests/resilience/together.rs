//! Many outputs that one server loses at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use flowcast::config::ReconnectPolicy;
use flowcast::{EventKind, Source};

use crate::stop_within;
use kit::rig::{Known, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, wait_until};

const OUTPUTS: usize = 200;
/// What the engine allows by default, per second and server.
const REDIALS: usize = 50;
/// After its first attempt to come back has failed, an output waits for at least half of this.
const LONG: Duration = Duration::from_secs(600);

/// The first wait is about a second, all others last.
fn patient() -> ReconnectPolicy {
    ReconnectPolicy::default().with(|policy| {
        (policy.first, policy.factor, policy.cap) = (Duration::from_secs(1), 600.0, LONG);
    })
}

#[test]
fn two_hundred_lost_at_once_come_back_in_their_turns_as_soon_as_one_has() {
    let clip = Known::small();
    let mut server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let events = engine.events();
    let scout = push(&server).reconnect(ReconnectPolicy::default().with(|policy| {
        (policy.first, policy.factor, policy.cap) =
            (Duration::from_millis(500), 1.0, Duration::from_millis(500));
    }));
    let others = (1..OUTPUTS).map(|_| push(&server).reconnect(patient()));
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(scout)
        .outputs(others)
        .start()
        .expect("the stream starts");
    let count = |wanted: &dyn Fn(&EventKind) -> bool, times: usize| {
        let mut seen = HashMap::<_, usize>::new();
        let until = Instant::now() + 3 * PATIENCE;
        while seen.values().filter(|&&count| count >= times).count() < OUTPUTS {
            let left = until.saturating_duration_since(Instant::now());
            let Some(event) = events.next_timeout(left) else { panic!("only {} of them", seen.len()) };
            if wanted(&event.kind) {
                *seen.entry(event.kind.output().expect("an output's")).or_default() += 1;
            }
        }
    };
    count(&|kind| matches!(kind, EventKind::OutputLive { .. }), 1);
    server.down();
    // Each has lost its connection, and has been dialled in vain.
    count(&|kind| matches!(kind, EventKind::OutputRetrying { .. }), 2);
    let visits = server.count();
    let back = Instant::now();
    server.up();
    count(&|kind| matches!(kind, EventKind::OutputLive { .. }), 1);
    let took = back.elapsed();
    let came: Vec<_> = server.visits()[visits..].iter().map(|visit| visit.accepted).collect();
    assert_eq!(came.len(), OUTPUTS, "each is dialled once");
    let last = came.iter().max().copied().expect("some came");
    let evenly = Duration::from_secs(1) * u32::try_from(OUTPUTS - 2).expect("few") / REDIALS as u32;
    assert!(last - back >= evenly, "they came within {:?}, not {evenly:?}", last - back);
    assert!(took < LONG / 2, "they waited for their own time: {took:?}");
    let second =
        |from: Instant| came.iter().filter(|&&at| at >= from && at < from + Duration::from_secs(1)).count();
    let most = came.iter().map(|&from| second(from)).max().unwrap_or_default();
    println!(
        "{OUTPUTS} outputs lost at once: all on the air {took:?} after the server was back, at most {most} in a second"
    );
    stop_within(live, Duration::from_secs(3));
}

#[test]
fn a_stop_does_not_wait_for_dials_that_wait_for_their_turn() {
    let clip = Known::small();
    let server = Scripted::start(Script::Mute);
    let engine = engine(|config| {
        config.connect.handshake = Duration::from_secs(600);
        config.dials.per_server = 2;
    });
    let outputs = (0..OUTPUTS).map(|_| push(&server));
    let live =
        engine.stream(Source::file(&clip.file).looped()).outputs(outputs).start().expect("the stream starts");
    assert!(wait_until(PATIENCE, || server.count() == 2), "{} came", server.count());
    let took = stop_within(live, Duration::from_secs(3));
    println!("2 of {OUTPUTS} outputs dialled, the others waiting: stopped in {took:?}");
    assert!(server.count() < OUTPUTS, "all of them were dialled");
}
