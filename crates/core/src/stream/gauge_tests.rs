//! What two moments say of the time between them.

use super::*;
use crate::admission::Ways;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn mark(at: Instant, process: u64, ended: u64, streams: &[(u64, u64, u64)]) -> Mark {
    let streams = streams.iter().map(|(id, cpu, sent)| (StreamId(*id), (millis(*cpu), *sent))).collect();
    Mark { at, busy: BusySince::now(), process: millis(process), ended: millis(ended), streams }
}

fn seen(id: u64, slot: Option<Slot>, cpu: u64, sent: u64) -> Seen {
    let traffic = Traffic { sent, ways: Ways::default(), is_on_air: true, does: None };
    Seen { id: StreamId(id), slot, cpu: millis(cpu), held: 7, traffic }
}

#[test]
fn what_streams_with_a_place_use_is_told_apart_and_what_ended_uses_nothing() {
    let start = Instant::now();
    // Ten seconds. Streams 1 and 2 have places, 3 is published, 4 has ended meanwhile.
    let from = mark(start, 10_000, 500, &[(1, 2000, 1_000_000), (3, 1000, 0), (4, 3000, 0)]);
    let to = mark(start + millis(10_000), 25_000, 500 + 3000 + 2000, &[]);
    let now = [
        seen(1, Some(11), 6000, 3_500_000),
        seen(2, Some(12), 1000, 250_000),
        seen(3, None, 2000, 5_000_000),
    ];
    let load = Load { cores: 4.0, own: 1.5, others: 0.25, resident: 99, memory: Some((10, 5)) };
    let on_air = |id| (id == StreamId(1)).then_some(millis(20_000));
    let (measured, readings) = used(&from, &to, &now, load, &on_air);
    // The process used 15 s: stream 1 took 4, stream 2 took 1, stream 4 took 2 before it ended. 8 are left, and what others use.
    assert!((measured.cpu - (0.8 + 0.25)).abs() < 1e-9, "{measured:?}");
    assert_eq!((measured.cores, measured.resident, measured.memory), (4.0, 99, Some((10, 5))));
    assert_eq!(measured.uplink, 4e6, "players of what is published");
    let first = Reading {
        cpu: 0.4,
        uplink: 2e6,
        held: 7,
        on_air: Some(millis(20_000)),
        ways: Ways::default(),
        does: None,
    };
    assert_eq!(readings[&11], first);
    // One that was started meanwhile counts with all it used, over the same time.
    let second = Reading { cpu: 0.1, uplink: 200_000.0, on_air: None, ..first };
    assert_eq!((readings.len(), readings[&12]), (2, second));
}

#[test]
fn outputs_that_are_gone_and_clocks_that_lag_do_not_go_below_zero() {
    let start = Instant::now();
    let from = mark(start, 1000, 0, &[(1, 900, 1_000_000)]);
    let to = mark(start + millis(5000), 1100, 0, &[]);
    let load = Load { cores: 1.0, own: 0.0, others: 0.0, resident: 0, memory: None };
    // Its thread told of what it had used before the window began.
    let (measured, readings) = used(&from, &to, &[seen(1, Some(1), 1400, 10)], load, &|_| None);
    assert_eq!((measured.cpu, readings[&1].cpu, readings[&1].uplink), (0.0, 0.1, 0.0));
}
