//! Where a stream fits best: plain arithmetic over what it needs and what nodes have.
//!
//! In: what a stream needs, and nodes with their room. Out: a node, and of each node why or why not. It has no clock and asks nobody, so all nodes
//! answer the same.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use flowcast_core::Resource;
use ring::digest::{Context, SHA256};

use crate::node::{Node, NodeState};
use crate::room::{Demand, Short, word};

/// Where a stream is to run, with what was found of each node. `Display` gives it in plain sentences.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Placement {
    /// What was asked for.
    pub name: String,
    /// The node where it fits best; `None` if there is none where it fits.
    pub node: Option<String>,
    /// Each node, the best first, and those where it does not fit after the others.
    pub choices: Vec<Choice>,
}

/// What was found of one node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// The node.
    pub node: String,
    /// Whether the stream fits there.
    pub verdict: Verdict,
}

/// Whether a stream fits on a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It fits.
    Fits {
        /// The load of the node with it, 0.0 to 1.0: that of the resource of which least is left.
        load: f64,
        /// That resource.
        resource: Resource,
    },
    /// There is not enough of a resource.
    Full {
        /// Of which.
        resource: Resource,
        /// What is in use: cores, bytes, bits per second, or a number.
        used: f64,
        /// What the stream needs, in the same unit.
        needed: f64,
        /// What may be used in all, in the same unit.
        budget: f64,
    },
    /// The node takes nothing new.
    Draining,
    /// The node has not been heard of for so long.
    Lost(Duration),
    /// The stream asks for a label that the node does not have.
    Lacks(String),
}

/// The node where a stream fits best: the one that is least loaded with it, in the resource of which it has least left. Loads that are equal to the percent
/// are a tie; a hash of both names decides it, everywhere in the same way, so that streams spread, and most stay where they are when a node comes or goes.
///
/// `labels` are those that the node must have.
///
/// ```
/// use flowcast_redis::{Budget, Demand, Room, Verdict, place};
/// use flowcast_redis::Node;
///
/// let room = |used| Room { cpu: Some(Budget { used, budget: 3.6 }), ..Room::default() };
/// let nodes = [Node::new("node-1", room(2.0)), Node::new("node-2", room(0.5)), Node::new("node-3", room(3.4))];
/// let demand = Demand { cpu: 0.4, ..Demand::default() };
/// let placement = place("rain", &demand, &[], &nodes);
/// assert_eq!(placement.node.as_deref(), Some("node-2"));
/// assert_eq!(
///     placement.to_string(),
///     "rain: node-2 is best, it would be at 25 % (CPU). node-1 would be at 67 % (CPU). \
///      node-3 is too full (CPU: 3.40 of 3.60 cores in use, 0.40 needed)."
/// );
/// ```
#[must_use]
pub fn place(name: &str, demand: &Demand, labels: &[String], nodes: &[Node]) -> Placement {
    let mut choices: Vec<_> = nodes.iter().map(|node| judge(node, demand, labels)).collect();
    choices.sort_by_cached_key(|choice| {
        let load = match choice.verdict {
            // Percents of a budget fit.
            Verdict::Fits { load, .. } => (load * 100.0).round() as u64,
            _ => u64::MAX,
        };
        (load, Reverse(weight(name, &choice.node)), choice.node.clone())
    });
    let best = choices.first().filter(|choice| matches!(choice.verdict, Verdict::Fits { .. }));
    let node = best.map(|choice| choice.node.clone());
    Placement { name: name.to_owned(), node, choices }
}

fn judge(node: &Node, demand: &Demand, labels: &[String]) -> Choice {
    let lacks = labels.iter().find(|label| !node.labels.contains(*label));
    let verdict = match node.state {
        NodeState::Lost => Verdict::Lost(node.age),
        NodeState::Draining => Verdict::Draining,
        NodeState::Up => match (lacks, node.room.lacks(demand)) {
            (Some(label), _) => Verdict::Lacks(label.clone()),
            (None, Some(Short { resource, used, needed, budget })) => {
                Verdict::Full { resource, used, needed, budget }
            }
            (None, None) => {
                let (resource, load) = node.room.with(demand).fullest();
                Verdict::Fits { load, resource }
            }
        },
    };
    Choice { node: node.name.clone(), verdict }
}

/// The weight of a node for a name, by a hash of both: rendezvous hashing.
pub(crate) fn weight(name: &str, node: &str) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(name.as_bytes());
    context.update(&[0]);
    context.update(node.as_bytes());
    let mut bytes = [0; 8];
    for (byte, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *byte = *from;
    }
    u64::from_be_bytes(bytes)
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, node, choices } = self;
        let mut rest = choices.as_slice();
        match (node, choices.split_first()) {
            (Some(node), Some((best, others))) => {
                write!(f, "{name}: {node} is best, it {}.", best.verdict)?;
                rest = others;
            }
            _ if choices.is_empty() => return write!(f, "{name}: there is no node."),
            _ => write!(f, "{name}: no node has room for it.")?,
        }
        rest.iter().try_for_each(|choice| write!(f, " {} {}.", choice.node, choice.verdict))
    }
}

/// What follows the name of a node in a sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits { load, resource } => {
                write!(f, "would be at {:.0} % ({})", load * 100.0, word(*resource))
            }
            Self::Full { resource, used, needed, budget } => {
                let short = Short { resource: *resource, used: *used, needed: *needed, budget: *budget };
                write!(f, "is too full ({short})")
            }
            Self::Draining => write!(f, "is draining"),
            Self::Lost(age) => write!(f, "has not been heard of for {} s", age.as_secs()),
            Self::Lacks(label) => write!(f, "does not have the label {label}"),
        }
    }
}
