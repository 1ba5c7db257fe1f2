//! What was measured, as a table of costs for admission.

use super::KindCapacity;
use super::kind::TransportKind;
use crate::admission::{Costs, StreamCost};
use crate::bit_rate::BitRate;
use crate::stats::SourceMode;

/// The table with what these kinds cost.
pub(super) fn filled(mut costs: Costs, kinds: &[KindCapacity]) -> Costs {
    // The plain ones say what a stream costs, which has to be known for the others.
    let is = |transport| move |kind: &&KindCapacity| kind.kind.transport == transport;
    let order =
        kinds.iter().filter(is(TransportKind::Plain)).chain(kinds.iter().filter(is(TransportKind::Tls)));
    for KindCapacity { kind, cost, .. } in order {
        let stream = match cost.mode {
            SourceMode::Reel => costs.reel,
            SourceMode::Direct => costs.direct,
            SourceMode::Live => costs.restream,
        };
        let whole = StreamCost { cpu: cost.cpu, memory: cost.memory };
        match (kind.transport, kind.outputs) {
            (TransportKind::Plain, 1) => {
                let source = less(whole, costs.push);
                match cost.mode {
                    SourceMode::Reel => costs.reel = source,
                    SourceMode::Direct => costs.direct = source,
                    SourceMode::Live => costs.restream = source,
                }
            }
            (TransportKind::Plain, outputs) => costs.push = each(less(whole, stream), outputs),
            (TransportKind::Tls, outputs) => costs.tls_push = each(less(whole, stream), outputs),
        }
    }
    costs.bit_rate =
        kinds.iter().map(|of| of.kind.bit_rate).max().unwrap_or(costs.bit_rate).max(BitRate::from_bps(1));
    costs
}

fn less(whole: StreamCost, part: StreamCost) -> StreamCost {
    StreamCost { cpu: (whole.cpu - part.cpu).max(0.0), memory: whole.memory.saturating_sub(part.memory) }
}

fn each(all: StreamCost, outputs: u32) -> StreamCost {
    StreamCost { cpu: all.cpu / f64::from(outputs.max(1)), memory: all.memory / u64::from(outputs.max(1)) }
}

#[cfg(test)]
mod tests {
    use super::super::cost::{Cost, CostBasis};
    use super::super::kind::StreamKind;
    use super::*;

    fn measured(kind: StreamKind, mode: SourceMode, cpu: f64, memory: u64) -> KindCapacity {
        let cost = Cost {
            cpu,
            receiver_cpu: None,
            memory,
            bit_rate: kind.bit_rate,
            descriptors: 3,
            threads: 1,
            disturbance: 0.0,
            mode,
            basis: CostBasis::Benchmark { streams: 100 },
        };
        KindCapacity { kind, more: 1, cost }
    }

    #[test]
    fn a_stream_costs_again_what_was_measured_of_its_kind() {
        let kind = StreamKind::copy(BitRate::from_kbps(2650));
        let base = Costs::default().with(|costs| costs.push = StreamCost { cpu: 0.0005, memory: 1000 });
        // In any order: what a stream costs is found first.
        let kinds = [
            measured(kind.tls().outputs(2), SourceMode::Reel, 0.0021, 9000),
            measured(kind, SourceMode::Reel, 0.0008, 3000),
            measured(kind, SourceMode::Direct, 0.0011, 4_000_000),
        ];
        let costs = filled(base.clone(), &kinds);
        let is = |cost: StreamCost, cpu: f64, memory| (cost.cpu - cpu).abs() < 1e-9 && cost.memory == memory;
        assert!(is(costs.reel, 0.0003, 2000), "{:?}", costs.reel);
        assert!(is(costs.direct, 0.0006, 3_999_000), "{:?}", costs.direct);
        assert!(is(costs.tls_push, 0.0009, 3500), "{:?}", costs.tls_push);
        assert_eq!((costs.push, costs.bit_rate, costs.restream), (base.push, kind.bit_rate, base.restream));
        assert_eq!(filled(base.clone(), &[]), base);
    }
}
