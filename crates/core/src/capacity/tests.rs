//! The whole of it, with a small benchmark.

use super::*;

fn engine() -> Engine {
    let config = Config { max_streams: 1_000_000, ..Config::default() };
    Engine::new(config).expect("it is the default but for one number")
}

fn small() -> CapacityOptions {
    CapacityOptions { benchmark_streams: 16, reuse: Duration::ZERO, ..CapacityOptions::default() }
}

fn copy(kbps: u64) -> StreamKind {
    StreamKind::copy(BitRate::from_kbps(kbps))
}

/// A machine that has no time for the benchmark's streams just now is told as such, and may have some later.
fn run(engine: &Engine, mix: &Mix, options: &CapacityOptions) -> Capacity {
    for _ in 0..10 {
        match engine.capacity_with(mix, options) {
            Err(Error::Benchmark { reason }) => eprintln!("{reason}"),
            found => return found.expect("the streams run"),
        }
    }
    panic!("the streams keep their bitrate in none of ten benchmarks");
}

#[test]
fn a_mix_without_weight_and_options_out_of_range_are_refused() {
    let engine = engine();
    let kind = copy(1000);
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = engine.capacity(&Mix::of(kind).weight(weight));
        assert!(matches!(refused, Err(Error::Config { name: "mix", .. })), "{weight}");
    }
    let mut silent = kind;
    silent.outputs = 0;
    let mut slow = kind;
    slow.bit_rate = BitRate::from_bps(63_999);
    for mix in [Mix::of(silent), Mix::of(slow), Mix::of(kind).and(kind, 0.0), Mix::of(kind).and(kind, -1.0)] {
        let refused = engine.capacity(&mix);
        assert!(matches!(refused, Err(Error::Config { name: "mix", .. })), "{mix:?}");
    }
    for options in [
        CapacityOptions { benchmark_streams: 1, ..small() },
        CapacityOptions { cpu_reserve: 1.0, ..small() },
        CapacityOptions { cpu_reserve: f64::NAN, ..small() },
        CapacityOptions { benchmark: Duration::ZERO, ..small() },
    ] {
        let refused = engine.capacity_with(&Mix::of(kind), &options);
        assert!(matches!(refused, Err(Error::Config { name: "capacity", .. })));
    }
}

#[cfg(feature = "libav")]
#[test]
fn the_benchmark_gives_figures_for_plain_tls_and_two_outputs() {
    let engine = engine();
    let kinds = [copy(800), copy(800).tls(), copy(800).outputs(2)];
    let mix = Mix::of(kinds[0]).and(kinds[1], 1.0).and(kinds[2], 2.0);
    let capacity = run(&engine, &mix, &small());
    assert_eq!(capacity.kinds.len(), 3);
    for (found, kind) in capacity.kinds.iter().zip(kinds) {
        let cost = &found.cost;
        assert_eq!(found.kind, kind);
        assert!(cost.cpu > 0.0 && cost.receiver_cpu.is_some_and(|cpu| cpu > 0.0), "{cost:?}");
        assert!(cost.bit_rate.kbps() >= 700.0 * f64::from(kind.outputs), "{cost:?}");
        assert!(cost.threads >= 1 && cost.descriptors > kind.outputs, "{cost:?}");
        assert!(cost.memory > 0);
        assert_eq!(cost.basis, CostBasis::Benchmark { streams: 4 });
    }
    let sum: u64 = capacity.kinds.iter().map(|kind| kind.more).sum();
    assert_eq!(sum, capacity.more);
    let text = capacity.to_string();
    assert!(text.contains("measured with 4 streams"), "{text}");
    assert_eq!(engine.running(), 0);
}

#[cfg(feature = "libav")]
#[test]
fn a_benchmark_is_used_again() {
    let engine = engine();
    let mix = Mix::of(copy(333));
    let options = CapacityOptions { reuse: Duration::from_secs(600), ..small() };
    let first = run(&engine, &mix, &options);
    let again = engine.capacity_with(&mix, &options).expect("nothing runs");
    assert_eq!(first.kinds[0].cost, again.kinds[0].cost);
}

#[test]
fn with_reels_the_benchmark_plays_reels_and_needs_no_libav() {
    let directory = std::env::temp_dir()
        .join(format!("flowcast-reels-{:016x}", u64::from_le_bytes(crate::net::random::bytes())));
    let config = Config {
        max_streams: 1_000_000,
        reels: Some(crate::ReelStore::new(&directory)),
        ..Config::default()
    };
    let engine = Engine::new(config).expect("the directory can be made");
    let found = run(&engine, &Mix::of(copy(700)), &small());
    assert_eq!(found.kinds[0].cost.mode, crate::SourceMode::Reel);
    drop(engine);
    std::fs::remove_dir_all(&directory).expect("the engine's store made it");
}
