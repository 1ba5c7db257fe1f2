//! The nodes of a cluster, and the streams that should run on any of them.

use axum::extract::State;
use axum::http::StatusCode;
use flowcast_core::StreamSpec;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::Json;
use crate::cluster::{Cluster, ClusterError, ClusterNode, ClusterStream, Shared};
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, Named, Sent};

/// Streams of a page that are asked for, and at most: what becomes of each is asked for.
const USUAL: usize = 50;
const MOST: usize = 100;

impl From<ClusterError> for Problem {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Engine(error) => error.into(),
            ClusterError::Refused { code, detail } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
            }
            ClusterError::Unavailable { code, detail, is_retryable } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retryable(is_retryable)
            }
        }
    }
}

impl House {
    /// Asks the cluster, if this is a node of one.
    async fn cluster<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Cluster) -> Result<T, ClusterError> + Send + 'static,
    ) -> Outcome<T> {
        let none = || Problem::new(StatusCode::NOT_FOUND, "NO_CLUSTER", "this is no node of a cluster");
        let cluster: Shared = self.options.cluster.clone().ok_or_else(none)?;
        Ok(self.blocking(move |_| ask(&*cluster)).await??)
    }
}

/// The cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterView {
    /// The name of this node; `null` where this server is no node of a cluster.
    #[schema(example = "node-1")]
    this: Option<String>,
    /// All nodes that are known.
    nodes: Vec<ClusterNode>,
}

/// The nodes
#[utoipa::path(
    get, path = "/api/v1/cluster", tag = "cluster", operation_id = "show_cluster",
    responses((status = 200, description = "All that are known", body = ClusterView), Problems)
)]
pub(crate) async fn show(_: May<Watch>, State(house): State<House>) -> Outcome<Json<ClusterView>> {
    if house.options.cluster.is_none() {
        return Ok(Json(ClusterView { this: None, nodes: Vec::new() }));
    }
    let view =
        |cluster: &dyn Cluster| Ok(ClusterView { this: Some(cluster.this()), nodes: cluster.nodes()? });
    Ok(Json(house.cluster(view).await?))
}

/// Which streams.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Those with this in their name.
    name: Option<String>,
    /// Those behind this name in the order of names.
    after: Option<String>,
    /// How many: 1 to 100. Default 50.
    limit: Option<usize>,
}

/// A page of streams that should run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterPage {
    /// By their names.
    streams: Vec<ClusterStream>,
    /// Streams that there are of this kind, on all pages.
    total: usize,
    /// What the next page begins behind; `null` for the last one.
    next: Option<String>,
}

/// The streams that should run
#[utoipa::path(
    get, path = "/api/v1/cluster/streams", tag = "cluster", operation_id = "list_cluster_streams", params(Which),
    responses((status = 200, description = "A page of them", body = ClusterPage), Problems)
)]
pub(crate) async fn list(
    _: May<Watch>,
    State(house): State<House>,
    Asked(which): Asked<Which>,
) -> Outcome<Json<ClusterPage>> {
    let limit = which.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("limit: must be 1 to 100"));
    }
    let page = house.cluster(move |cluster| {
        let mut names = cluster.names();
        names.retain(|name| which.name.as_ref().is_none_or(|part| name.contains(part.as_str())));
        let total = names.len();
        names.retain(|name| which.after.as_ref().is_none_or(|after| name > after));
        let next = (names.len() > limit).then(|| names.get(limit - 1).cloned()).flatten();
        names.truncate(limit);
        let mut streams = Vec::new();
        for name in names {
            // One that was removed meanwhile is none.
            streams.extend(cluster.stream(&name)?);
        }
        Ok(ClusterPage { streams, total, next })
    });
    Ok(Json(page.await?))
}

/// A stream that should run
#[utoipa::path(
    get, path = "/api/v1/cluster/streams/{name}", tag = "cluster", operation_id = "show_cluster_stream",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Where it runs, or why it does not", body = ClusterStream), Problems)
)]
pub(crate) async fn find(
    _: May<Watch>,
    State(house): State<House>,
    Named(name): Named<String>,
) -> Outcome<Json<ClusterStream>> {
    let found = house.cluster(move |cluster| cluster.stream(&name)).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("stream"))
}

/// A stream, and which nodes may run it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClusterStream {
    /// As for a stream that is started.
    #[schema(value_type = Object)]
    stream: StreamSpec,
    /// The labels that a node must have to run it.
    #[serde(default)]
    labels: Vec<String>,
}

/// What was put into the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Put {
    /// How often it was put.
    revision: u64,
}

/// Has a stream run on any node
///
/// One of the same name is started anew where it runs, if this changes its spec.
#[utoipa::path(
    put, path = "/api/v1/cluster/streams/{name}", tag = "cluster", operation_id = "put_cluster_stream", request_body = NewClusterStream,
    params(("name" = String, Path, description = "Its name: 1 to 128 letters, digits, `-`, `_` or `.`")),
    responses((status = 200, description = "It is in the list", body = Put), Problems)
)]
pub(crate) async fn put(
    _: May<Operate>,
    State(house): State<House>,
    Named(name): Named<String>,
    Sent(new): Sent<NewClusterStream>,
) -> Outcome<Json<Put>> {
    let NewClusterStream { stream, labels } = new;
    let revision = house.cluster(move |cluster| cluster.put(&name, &stream, &labels)).await?;
    Ok(Json(Put { revision }))
}

/// What was taken off the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Removed {
    /// Its name.
    name: String,
}

/// Has a stream run no more
#[utoipa::path(
    delete, path = "/api/v1/cluster/streams/{name}", tag = "cluster", operation_id = "remove_cluster_stream",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It ends, where it runs", body = Removed), Problems)
)]
pub(crate) async fn remove(
    _: May<Operate>,
    State(house): State<House>,
    Named(name): Named<String>,
) -> Outcome<Json<Removed>> {
    let asked = name.clone();
    match house.cluster(move |cluster| cluster.remove(&asked)).await? {
        true => Ok(Json(Removed { name })),
        false => Err(Problem::not_found("stream")),
    }
}

/// Whether this node is to take nothing new.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draining {
    draining: bool,
}

/// Has this node hand its streams to others, or take streams again
///
/// It is answered at once. Streams go one by one; the list of nodes shows how many are left.
#[utoipa::path(
    put, path = "/api/v1/cluster/draining", tag = "cluster", operation_id = "set_draining", request_body = Draining,
    responses((status = 200, description = "It has begun", body = Draining), Problems)
)]
pub(crate) async fn drain(
    _: May<Operate>,
    State(house): State<House>,
    Sent(asked): Sent<Draining>,
) -> Outcome<Json<Draining>> {
    let draining = asked.draining;
    house.cluster(move |cluster| cluster.set_draining(draining)).await?;
    Ok(Json(asked))
}
