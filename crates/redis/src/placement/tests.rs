//! Placement over random sets, with fixed seeds.

use flowcast_core::BitRate;

use super::*;
use crate::room::{Budget, Room};

/// A xorshift generator: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn within(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.part()
    }
}

const GIB: f64 = (1_u64 << 30) as f64;

/// A machine: cores, GiB, Gbit/s.
fn machine(name: usize, cores: f64, memory: f64, uplink: f64) -> Node {
    let of = |budget| Some(Budget { used: 0.0, budget });
    let room = Room { cpu: of(cores), memory: of(memory * GIB), uplink: of(uplink * 1e9), streams: of(1e5) };
    Node::new(format!("node-{name}"), room)
}

/// Machines of three sizes.
fn machines(random: &mut Random) -> Vec<Node> {
    let count = 3 + (random.part() * 17.0) as usize;
    let one = |name| match random.part() {
        part if part < 0.4 => machine(name, 3.6, 7.0, 0.9),
        part if part < 0.8 => machine(name, 7.2, 14.0, 0.9),
        _ => machine(name, 28.8, 58.0, 9.0),
    };
    (0..count).map(one).collect()
}

/// Looped files mostly, restreams to several platforms, and encodes: what they cost is from docs/performance.md.
fn stream(random: &mut Random) -> Demand {
    let part = random.part();
    let outputs = random.within(1.0, 5.0).floor();
    let bit_rate = random.within(1e6, 8e6);
    let cpu = if part < 0.85 { 0.001 } else { random.within(0.1, 0.8) };
    Demand {
        cpu: cpu + 0.001 * outputs,
        memory: if part < 0.85 { 2 << 20 } else { 150 << 20 },
        uplink: BitRate::from_bps((bit_rate * outputs) as u64),
    }
}

fn share_of(total: &Room, demand: &Demand) -> f64 {
    let empty = Room {
        cpu: total.cpu.map(|of| Budget { used: 0.0, ..of }),
        memory: total.memory.map(|of| Budget { used: 0.0, ..of }),
        uplink: total.uplink.map(|of| Budget { used: 0.0, ..of }),
        streams: None,
    };
    empty.with(demand).load()
}

/// All machines as if they were one.
fn all(nodes: &[Node]) -> Room {
    let sum = |of: &dyn Fn(&Room) -> Option<Budget>| {
        let add =
            |sum: Budget, of: Budget| Budget { used: sum.used + of.used, budget: sum.budget + of.budget };
        nodes.iter().filter_map(|node| of(&node.room)).reduce(add)
    };
    Room { cpu: sum(&|of| of.cpu), memory: sum(&|of| of.memory), uplink: sum(&|of| of.uplink), streams: None }
}

fn put(nodes: &mut [Node], name: &str, demand: &Demand) -> bool {
    let Some(best) = place(name, demand, &[], nodes).node else { return false };
    let node = nodes.iter_mut().find(|node| node.name == best).expect("one of them");
    node.room = node.room.with(demand);
    assert!(node.room.load() <= 1.0 + 1e-9, "never beyond its budget");
    true
}

/// The bound: no placement, with whatever knowledge of what comes, puts more on the machines than one machine would take that has all they have.
#[test]
fn what_is_placed_is_within_a_tenth_of_what_could_be_at_most() {
    let (mut worst, mut sum) = (1.0_f64, 0.0);
    const SETS: u64 = 10;
    for seed in 1..=SETS {
        let mut random = Random::new(seed);
        let mut nodes = machines(&mut random);
        let mut at_most = all(&nodes);
        for number in 0.. {
            let demand = stream(&mut random);
            if at_most.lacks(&demand).is_some() {
                break;
            }
            at_most = at_most.with(&demand);
            let _ = put(&mut nodes, &format!("s-{number}"), &demand);
        }
        let placed = all(&nodes).load() / at_most.load();
        (worst, sum) = (worst.min(placed), sum + placed);
    }
    let mean = sum / SETS as f64;
    assert!(worst >= 0.9 && mean >= 0.97, "worst {worst:.3}, mean {mean:.3}");
}

/// Before the first is refused, the machines are as full as they can be but for one stream each.
#[test]
fn the_first_that_fits_nowhere_comes_late() {
    for seed in 1..=8 {
        let mut random = Random::new(seed);
        let mut nodes: Vec<_> = (0..10).map(|name| machine(name, 7.2, 14.0, 9.0)).collect();
        let total = all(&nodes);
        let (mut number, mut largest) = (0, 0.0_f64);
        loop {
            let demand = stream(&mut random);
            largest = largest.max(share_of(&total, &demand) * 10.0);
            if !put(&mut nodes, &format!("s-{number}"), &demand) {
                break;
            }
            number += 1;
        }
        let load = all(&nodes).load();
        assert!(load >= 0.98 - largest, "seed {seed}: {number} streams, {load:.3}, the largest {largest:.3}");
    }
}

#[test]
fn ties_are_broken_in_the_same_way_everywhere_and_spread() {
    let nodes: Vec<_> = (0..4).map(|name| machine(name, 7.2, 14.0, 9.0)).collect();
    let demand = Demand { cpu: 0.001, ..Demand::default() };
    let backwards: Vec<_> = nodes.iter().rev().cloned().collect();
    let mut taken = std::collections::HashMap::<String, usize>::new();
    for number in 0..400 {
        let name = format!("s-{number}");
        let placement = place(&name, &demand, &[], &nodes);
        assert_eq!(placement, place(&name, &demand, &[], &backwards));
        let best = placement.node.expect("all are empty");
        // Without another node, a stream stays where it is.
        let others: Vec<_> = nodes.iter().filter(|node| node.name != "node-3").cloned().collect();
        if best != "node-3" {
            assert_eq!(place(&name, &demand, &[], &others).node.as_ref(), Some(&best));
        }
        *taken.entry(best).or_default() += 1;
    }
    assert!(taken.len() == 4 && taken.values().all(|count| (60..=140).contains(count)), "{taken:?}");
}

#[test]
fn each_node_is_answered_for() {
    let demand = Demand { cpu: 0.5, ..Demand::default() };
    let mut nodes: Vec<_> = (1..=5).map(|name| machine(name, 3.6, 7.0, 0.9)).collect();
    nodes[1].state = NodeState::Draining;
    (nodes[2].state, nodes[2].age) = (NodeState::Lost, Duration::from_secs(34));
    nodes[3].room.cpu = Some(Budget { used: 3.4, budget: 3.6 });
    nodes.iter_mut().for_each(|node| node.labels = vec!["disk".to_owned()]);
    nodes[4].labels.clear();
    let placement = place("rain", &demand, &["disk".to_owned()], &nodes);
    assert_eq!(placement.node.as_deref(), Some("node-1"));
    let said = placement.to_string();
    for sentence in [
        "rain: node-1 is best, it would be at 14 % (CPU).",
        " node-2 is draining.",
        " node-3 has not been heard of for 34 s.",
        " node-4 is too full (CPU: 3.40 of 3.60 cores in use, 0.50 needed).",
        " node-5 does not have the label disk.",
    ] {
        assert!(said.contains(sentence), "{said}");
    }
    let nowhere = place("rain", &demand, &[], &nodes[1..4]);
    assert_eq!(nowhere.node, None);
    assert!(nowhere.to_string().starts_with("rain: no node has room for it. node-"), "{nowhere}");
    assert_eq!(place("rain", &demand, &[], &[]).to_string(), "rain: there is no node.");
    // A node that is over its budget of what a stream does not need takes it all the same.
    nodes[3].room.cpu = Some(Budget { used: 4.0, budget: 3.6 });
    assert!(nodes[3].room.lacks(&Demand { uplink: BitRate::from_mbps(1.0), ..Demand::default() }).is_none());
}
