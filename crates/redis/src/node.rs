//! What Redis keeps of a node: JSON.
//!
//! In: what a node says of itself, text from Redis. Out: text, and nodes as others see them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::room::Room;

/// The form of what is written.
const FORM: u32 = 1;

/// A node, as the others see it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: NodeState,
    /// How long ago it was heard of, by the clock of the Redis server.
    pub age: Duration,
    /// What it has.
    pub room: Room,
    /// Where others play what is on the air there.
    pub address: Option<String>,
    /// What it has that others lack.
    pub labels: Vec<String>,
    /// The version of its program.
    pub version: String,
    /// Whether it runs streams of the cluster's list ([`StreamRunner`](crate::StreamRunner)).
    pub has_runner: bool,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeState {
    /// It is there.
    Up,
    /// It is there, and takes nothing new.
    Draining,
    /// It was not heard of for longer than [`NodeOptions::ttl`](crate::NodeOptions::ttl), and did not say that it leaves.
    Lost,
}

impl Node {
    /// A node that was heard of just now, with nothing known of it but its room.
    #[must_use]
    pub fn new(name: impl Into<String>, room: Room) -> Self {
        Self {
            name: name.into(),
            state: NodeState::Up,
            age: Duration::ZERO,
            room,
            address: None,
            labels: Vec::new(),
            version: String::new(),
            has_runner: false,
        }
    }

    pub(crate) fn write(&self) -> String {
        let written = Written {
            form: FORM,
            draining: self.state == NodeState::Draining,
            room: self.room,
            address: self.address.clone(),
            labels: self.labels.clone(),
            version: self.version.clone(),
            runs: self.has_runner,
        };
        // It has no map whose keys are no strings, and writes to memory.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// `None` for what is not understood.
    pub(crate) fn read(name: &str, text: &str, age: Duration, ttl: Duration) -> Option<Self> {
        let written: Written =
            serde_json::from_str(text).ok().filter(|written: &Written| written.form == FORM)?;
        let state = match written.draining {
            _ if age >= ttl => NodeState::Lost,
            true => NodeState::Draining,
            false => NodeState::Up,
        };
        let Written { room, address, labels, version, runs: has_runner, .. } = written;
        Some(Self { name: name.to_owned(), state, age, room, address, labels, version, has_runner })
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Lost => "lost",
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    form: u32,
    #[serde(default)]
    draining: bool,
    room: Room,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    runs: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Budget;

    #[test]
    fn what_is_written_is_read_the_same() {
        let ttl = Duration::from_secs(6);
        let room = Room { cpu: Some(Budget { used: 0.5, budget: 3.6 }), ..Room::default() };
        let mut node = Node::new("node-1", room);
        node.address = Some("rtmp://10.0.0.5/live".into());
        (node.labels, node.has_runner) = (vec!["gpu".into()], true);
        let read = |node: &Node, age| Node::read("node-1", &node.write(), age, ttl);
        assert_eq!(read(&node, Duration::ZERO), Some(node.clone()));
        node.state = NodeState::Draining;
        assert_eq!(read(&node, Duration::ZERO), Some(node.clone()));
        assert_eq!(read(&node, ttl).map(|node| node.state), Some(NodeState::Lost));
        for text in ["", "{}", "{\"form\":2,\"room\":{}}"] {
            assert_eq!(Node::read("node-1", text, Duration::ZERO, ttl), None, "{text}");
        }
    }
}
