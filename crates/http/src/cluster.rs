//! Other machines, as the program knows them.
//!
//! In: what the program says of the nodes, and of the streams that should run on any of them. Out: the same, for the API and the page.

use std::sync::Arc;

use flowcast_core::StreamSpec;
use serde::Serialize;
use utoipa::ToSchema;

/// The machines that share streams with this one, for [`Options::cluster`](crate::Options::cluster). `flowcast-redis` has one that is kept in Redis
/// (feature `http`).
///
/// # Blocking
///
/// All calls may block; they are made where that is allowed.
pub trait Cluster: Send + Sync {
    /// The name of this node.
    fn this(&self) -> String;

    /// All nodes that are known.
    ///
    /// # Errors
    ///
    /// Why nobody can tell.
    fn nodes(&self) -> Result<Vec<ClusterNode>, ClusterError>;

    /// The names of all streams that should run, in order.
    fn names(&self) -> Vec<String>;

    /// What becomes of a stream; `None` if it is not in the list.
    ///
    /// # Errors
    ///
    /// Why nobody can tell.
    fn stream(&self, name: &str) -> Result<Option<ClusterStream>, ClusterError>;

    /// Has a stream run on a node with these labels, in place of the one of this name if there is one. The number of this change.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or in the way.
    fn put(&self, name: &str, stream: &StreamSpec, labels: &[String]) -> Result<u64, ClusterError>;

    /// Has a stream run no more. `false` if it is not in the list.
    ///
    /// # Errors
    ///
    /// What is in the way.
    fn remove(&self, name: &str) -> Result<bool, ClusterError>;

    /// Begins to hand the streams of this node to others, one by one, and has it take nothing new; or ends that. Does not wait.
    ///
    /// # Errors
    ///
    /// Why it did not begin: nothing is changed then.
    fn set_draining(&self, is_draining: bool) -> Result<(), ClusterError>;

    /// Whether this node takes nothing new, so that `/readyz` says that it is not ready.
    fn is_draining(&self) -> bool;
}

/// How the settings keep it.
pub(crate) type Shared = Arc<dyn Cluster>;

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: ClusterNodeState,
    /// How long ago it was heard of, in seconds.
    pub age_seconds: f64,
    /// How full it is: the share in use of what it has least left of. 1.0 is full.
    pub load: f64,
    /// What it has.
    pub room: ClusterRoom,
    /// Where others play what is on the air there.
    pub address: Option<String>,
    /// What it has that others lack.
    pub labels: Vec<String>,
    /// The version of its program.
    pub version: String,
    /// Whether it runs streams of the list.
    pub runs_streams: bool,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClusterNodeState {
    /// It is there.
    Up,
    /// It is there, and takes nothing new.
    Draining,
    /// It has not been heard of for too long.
    Lost,
}

/// What a node has; `null` for what it does not measure.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct ClusterRoom {
    /// Cores.
    pub cpu: Option<ClusterBudget>,
    /// Bytes of memory.
    pub memory: Option<ClusterBudget>,
    /// Bits per second to the network.
    pub uplink: Option<ClusterBudget>,
    /// Streams.
    pub streams: Option<ClusterBudget>,
}

/// How much of something is in use, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct ClusterBudget {
    /// In use, with what was promised.
    pub used: f64,
    /// What may be used.
    pub budget: f64,
}

/// A stream that should run.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClusterStream {
    /// Its name.
    pub name: String,
    /// How often it was put: 1, and one more with each change. `null` where it cannot be read: it was encrypted with another secret.
    pub revision: Option<u64>,
    /// The labels that a node must have to run it.
    pub labels: Vec<String>,
    /// What becomes of it.
    pub state: ClusterStreamState,
    /// The node that has it, if one does.
    pub node: Option<String>,
    /// A number that grows each time a node takes it.
    pub epoch: Option<u64>,
    /// Why no node runs it, or why it stays on a node that is drained, as far as they have said.
    pub reasons: Vec<ClusterReason>,
}

/// What becomes of a stream that should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClusterStreamState {
    /// A node has taken it, and is starting it.
    Starting,
    /// It runs.
    Running,
    /// No node runs it.
    Waiting,
}

/// Why a node does not run a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClusterReason {
    /// The node.
    pub node: String,
    /// A sentence.
    pub reason: String,
}

impl From<flowcast_core::Error> for ClusterError {
    fn from(error: flowcast_core::Error) -> Self {
        Self::Engine(error)
    }
}

/// Why the cluster did not do something.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClusterError {
    /// What was sent cannot work, as the engine says it.
    Engine(flowcast_core::Error),
    /// What was sent cannot work. Answered with 422.
    Refused {
        /// A stable code, in capitals.
        code: &'static str,
        /// What is wrong, in a sentence.
        detail: String,
    },
    /// What the nodes share cannot be reached or changed now. Answered with 503.
    Unavailable {
        /// A stable code, in capitals.
        code: &'static str,
        /// Why, in a sentence.
        detail: String,
        /// Whether it will be by itself.
        is_retryable: bool,
    },
}
