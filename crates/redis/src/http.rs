//! The cluster, for the API and the page of `flowcast-http` (feature `http`).
//!
//! In: the nodes, the list of streams, and the runner of this node. Out: what they say, in the words of HTTP.

use std::sync::{Arc, Weak};
use std::time::Duration;

use flowcast_core::{KeyEntry, KeyRules, Play, StreamSpec};
use flowcast_http::{
    Cluster, ClusterBudget, ClusterError, ClusterNode, ClusterNodeState, ClusterReason, ClusterRoom,
    ClusterStream, ClusterStreamState, KeyBook,
};
use flowcast_rtmp::key::StreamKey;

use crate::desired::{DesiredStatus, DesiredStreams};
use crate::error::Error;
use crate::keys::RedisKeys;
use crate::node::{Node, NodeState};
use crate::nodes::Nodes;
use crate::room::{Budget, Room};
use crate::runner::StreamRunner;

/// How long streams are handed over, at most, once that is asked for.
const DRAIN: Duration = Duration::from_secs(24 * 3600);

/// The cluster of a node, for [`flowcast_http::Options::cluster`].
#[derive(Debug)]
pub struct HttpCluster {
    nodes: Nodes,
    desired: DesiredStreams,
    runner: Weak<StreamRunner>,
}

impl HttpCluster {
    /// Shows these nodes and this list, and drains this runner if it is asked to. The runner stays the program's: once that has dropped it, nothing is
    /// drained.
    #[must_use]
    pub fn new(nodes: &Nodes, desired: &DesiredStreams, runner: &Arc<StreamRunner>) -> Self {
        Self { nodes: nodes.clone(), desired: desired.clone(), runner: Arc::downgrade(runner) }
    }
}

impl Cluster for HttpCluster {
    fn this(&self) -> String {
        self.nodes.name().to_owned()
    }

    fn nodes(&self) -> Result<Vec<ClusterNode>, ClusterError> {
        Ok(self.nodes.list()?.into_iter().map(ClusterNode::from).collect())
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.desired.names();
        names.sort_unstable();
        names
    }

    fn stream(&self, name: &str) -> Result<Option<ClusterStream>, ClusterError> {
        let (state, holder, reasons) = match self.desired.status(name)? {
            DesiredStatus::Unknown => return Ok(None),
            DesiredStatus::Starting { node, epoch } => {
                (ClusterStreamState::Starting, Some((node, epoch)), Vec::new())
            }
            DesiredStatus::Running { node, epoch, reasons } => {
                (ClusterStreamState::Running, Some((node, epoch)), reasons)
            }
            DesiredStatus::Waiting { reasons } => (ClusterStreamState::Waiting, None, reasons),
        };
        // A lease of this name may be that of who publishes it.
        if self.desired.find(name).is_none() {
            return Ok(None);
        }
        let kept = self.desired.get(name);
        let (node, epoch) = holder.unzip();
        Ok(Some(ClusterStream {
            name: name.to_owned(),
            revision: kept.as_ref().map(|kept| kept.revision),
            labels: kept.map(|kept| kept.labels).unwrap_or_default(),
            state,
            node,
            epoch,
            reasons: reasons.into_iter().map(|(node, reason)| ClusterReason { node, reason }).collect(),
        }))
    }

    fn put(&self, name: &str, stream: &StreamSpec, labels: &[String]) -> Result<u64, ClusterError> {
        Ok(self.desired.put_where(name, stream, labels)?)
    }

    fn remove(&self, name: &str) -> Result<bool, ClusterError> {
        Ok(self.desired.remove(name)?)
    }

    fn set_draining(&self, is_draining: bool) -> Result<(), ClusterError> {
        if !self.nodes.change_draining(is_draining) || !is_draining {
            return Ok(());
        }
        let Some(runner) = self.runner.upgrade() else { return Ok(()) };
        let (nodes, turn) = (self.nodes.clone(), self.nodes.draining());
        let drain = move || {
            // By nobody, once the program has dropped it; nor if the node took streams again meanwhile.
            let is_wanted = || Arc::strong_count(&runner) > 1 && nodes.draining() == turn;
            // Not within the line: its arguments are looked at only where somebody keeps a log.
            let report = runner.hand_all(DRAIN, &is_wanted);
            log::info!("streams were handed over: {report}");
        };
        let begun = flowcast_core::spawn("fc-drain", 256 << 10, drain);
        drop(begun.map_err(|source| {
            self.nodes.set_draining(false);
            Error::System { what: "no thread to hand streams over", source: Arc::new(source) }
        })?);
        Ok(())
    }

    fn is_draining(&self) -> bool {
        self.nodes.is_draining()
    }
}

impl KeyBook for RedisKeys {
    fn list(&self) -> Result<Vec<KeyEntry>, ClusterError> {
        Ok(Self::list(self))
    }

    fn issue(&self, name: &str, rules: KeyRules) -> Result<StreamKey, ClusterError> {
        Ok(self.issue_with(name, rules)?)
    }

    fn replace(&self, name: &str, new: StreamKey, old_valid_for: Duration) -> Result<(), ClusterError> {
        Ok(Self::replace(self, name, new, old_valid_for)?)
    }

    fn set_play(&self, name: &str, play: &Play) -> Result<(), ClusterError> {
        Ok(Self::set_play(self, name, play)?)
    }

    fn remove(&self, name: &str) -> Result<bool, ClusterError> {
        Ok(Self::remove(self, name)?)
    }
}

impl From<Node> for ClusterNode {
    fn from(node: Node) -> Self {
        let Room { cpu, memory, uplink, streams } = node.room;
        let budget = |of: Option<Budget>| of.map(|Budget { used, budget }| ClusterBudget { used, budget });
        Self {
            state: match node.state {
                NodeState::Up => ClusterNodeState::Up,
                NodeState::Draining => ClusterNodeState::Draining,
                NodeState::Lost => ClusterNodeState::Lost,
            },
            age_seconds: node.age.as_secs_f64(),
            load: node.room.load(),
            room: ClusterRoom {
                cpu: budget(cpu),
                memory: budget(memory),
                uplink: budget(uplink),
                streams: budget(streams),
            },
            name: node.name,
            address: node.address,
            labels: node.labels,
            version: node.version,
            runs_streams: node.has_runner,
        }
    }
}

impl From<Error> for ClusterError {
    fn from(error: Error) -> Self {
        let (code, is_retryable, detail) = (error.code(), error.is_retryable(), error.to_string());
        match error {
            Error::Core(error) => Self::Engine(error),
            Error::Config { .. } => Self::Refused { code, detail },
            _ => Self::Unavailable { code, detail, is_retryable },
        }
    }
}
