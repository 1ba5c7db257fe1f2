//! How many streams fit: plain arithmetic over what is left and what one takes.

use super::cost::Cost;
use super::{CapacityOptions, Receivers};
use crate::bit_rate::BitRate;
use crate::error::Resource;
use crate::machine::Machine;

/// One resource: what is left of it, what a stream takes, and how many streams that makes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ResourceFit {
    /// Which.
    pub resource: Resource,
    /// What is left once the reserve is kept: cores, bytes, bits per second, or a number.
    pub left: f64,
    /// What the average stream of the mix takes, in the same unit.
    pub per_stream: f64,
    /// Streams that fit.
    pub fits: u64,
}

impl ResourceFit {
    fn new(resource: Resource, left: f64, per_stream: f64) -> Self {
        let fits =
            if per_stream > 0.0 { (left.max(0.0) / per_stream + 1e-9).floor() as u64 } else { u64::MAX };
        Self { resource, left: left.max(0.0), per_stream, fits }
    }
}

/// What the engine already does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Present {
    pub(crate) streams: usize,
    pub(crate) max_streams: usize,
    /// Media its outputs send.
    pub(crate) bit_rate: BitRate,
}

/// Each resource that is known to be limited. `costs` are those of the mix with their shares, which add up to 1.
pub(crate) fn fits(
    machine: &Machine,
    present: &Present,
    options: &CapacityOptions,
    costs: &[(Cost, f64)],
) -> Vec<ResourceFit> {
    let average = |of: &dyn Fn(&Cost) -> f64| costs.iter().map(|(cost, share)| of(cost) * share).sum::<f64>();
    let cpu = average(&|cost| match options.receivers {
        Receivers::Elsewhere => cost.cpu,
        Receivers::ThisMachine => cost.cpu + cost.receiver_cpu.unwrap_or(0.0),
    });
    let mut fits = vec![ResourceFit::new(Resource::Cpu, machine.cores_left(options.cpu_reserve), cpu)];
    if let Some(left) = machine.memory_left {
        let left = left.saturating_sub(options.memory_reserve);
        fits.push(ResourceFit::new(Resource::Memory, left as f64, average(&|cost| cost.memory as f64)));
    }
    if let Some(uplink) = options.uplink {
        let left = uplink.bps().saturating_sub(present.bit_rate.bps());
        fits.push(ResourceFit::new(
            Resource::Uplink,
            left as f64,
            average(&|cost| cost.bit_rate.bps() as f64),
        ));
    }
    if let Some(left) = machine.descriptors_left {
        let per_stream = average(&|cost| f64::from(cost.descriptors));
        fits.push(ResourceFit::new(Resource::Descriptors, left as f64, per_stream));
    }
    if let Some(left) = machine.threads_left {
        fits.push(ResourceFit::new(Resource::Threads, left as f64, average(&|cost| f64::from(cost.threads))));
    }
    let left = present.max_streams.saturating_sub(present.streams);
    fits.push(ResourceFit::new(Resource::ConfiguredLimit, left as f64, 1.0));
    fits
}

/// Divides `total` by `shares`, which add up to 1, without losing one to rounding: the largest remainders get the rest.
pub(crate) fn divide(total: u64, shares: &[f64]) -> Vec<u64> {
    let exact: Vec<f64> = shares.iter().map(|share| total as f64 * share).collect();
    let mut parts: Vec<u64> = exact.iter().map(|part| part.floor() as u64).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let left = total.saturating_sub(parts.iter().sum());
    for &index in order.iter().cycle().take(usize::try_from(left).unwrap_or(0).min(parts.len())) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::cost::CostBasis;
    use super::*;
    use crate::stats::SourceMode;

    fn machine() -> Machine {
        Machine {
            cores: 2.0,
            cores_used: 0.25,
            cores_used_by_others: 0.25,
            memory_left: Some(1000 << 20),
            memory_used: 0,
            descriptors_left: Some(3000),
            threads_left: Some(5000),
        }
    }

    fn cost() -> Cost {
        Cost {
            cpu: 0.001,
            receiver_cpu: Some(0.001),
            memory: 100 << 10,
            bit_rate: BitRate::from_kbps(1000),
            descriptors: 3,
            threads: 1,
            disturbance: 0.0,
            mode: SourceMode::Reel,
            basis: CostBasis::Benchmark { streams: 100 },
        }
    }

    fn limiting(
        change: impl FnOnce(&mut Machine, &mut Present, &mut CapacityOptions, &mut Cost),
    ) -> (Resource, u64) {
        let mut options = CapacityOptions { memory_reserve: 0, ..CapacityOptions::default() };
        let (mut machine, mut cost) = (machine(), cost());
        let mut present = Present { streams: 10, max_streams: 100_000, bit_rate: BitRate::ZERO };
        options.cpu_reserve = 0.25;
        change(&mut machine, &mut present, &mut options, &mut cost);
        let fits = fits(&machine, &present, &options, &[(cost, 1.0)]);
        let least = fits.iter().min_by_key(|fit| fit.fits).expect("CPU always counts");
        (least.resource, least.fits)
    }

    #[test]
    fn each_resource_limits_when_it_is_scarce() {
        // (2 cores × 3/4 − half a core in use) / 1 ms.
        assert_eq!(limiting(|_, _, _, _| {}), (Resource::Cpu, 1000));
        assert_eq!(
            limiting(|_, _, options, _| options.receivers = Receivers::ThisMachine),
            (Resource::Cpu, 500)
        );
        assert_eq!(
            limiting(|machine, _, _, _| machine.memory_left = Some(10 << 20)),
            (Resource::Memory, 102)
        );
        assert_eq!(
            limiting(|_, present, options, _| {
                options.uplink = Some(BitRate::from_mbps(100.0));
                present.bit_rate = BitRate::from_kbps(50_500);
            }),
            (Resource::Uplink, 49)
        );
        assert_eq!(
            limiting(|machine, _, _, _| machine.descriptors_left = Some(100)),
            (Resource::Descriptors, 33)
        );
        assert_eq!(limiting(|machine, _, _, _| machine.threads_left = Some(7)), (Resource::Threads, 7));
        assert_eq!(limiting(|_, present, _, _| present.max_streams = 12), (Resource::ConfiguredLimit, 2));
    }

    #[test]
    fn what_is_used_up_leaves_room_for_none() {
        assert_eq!(limiting(|machine, _, _, _| machine.cores_used = 9.0), (Resource::Cpu, 0));
        assert_eq!(
            limiting(|_, present, options, _| {
                options.uplink = Some(BitRate::from_kbps(1000));
                present.bit_rate = BitRate::from_kbps(5000);
            }),
            (Resource::Uplink, 0)
        );
    }

    #[test]
    fn what_nothing_tells_of_limits_nothing() {
        let unknown = |machine: &mut Machine| {
            machine.memory_left = None;
            machine.descriptors_left = None;
            machine.threads_left = None;
        };
        let unlimited = limiting(|machine, present, _, cost| {
            unknown(machine);
            present.max_streams = usize::MAX;
            cost.cpu = 0.0;
        });
        assert!(unlimited.1 > 1 << 40);
    }

    #[test]
    fn a_mix_takes_what_its_kinds_take_by_their_shares() {
        let heavy = Cost { cpu: 0.003, ..cost() };
        let present = Present { streams: 0, max_streams: 100_000, bit_rate: BitRate::ZERO };
        let options = CapacityOptions { cpu_reserve: 0.25, memory_reserve: 0, ..CapacityOptions::default() };
        let fits = fits(&machine(), &present, &options, &[(cost(), 0.5), (heavy, 0.5)]);
        assert_eq!((fits[0].resource, fits[0].fits), (Resource::Cpu, 500));
        assert_eq!(divide(500, &[0.5, 0.5]), [250, 250]);
        assert_eq!(divide(10, &[0.34, 0.33, 0.33]), [4, 3, 3]);
        assert_eq!(divide(1, &[0.2, 0.7, 0.1]), [0, 1, 0]);
        assert_eq!(divide(0, &[1.0]), [0]);
    }
}
