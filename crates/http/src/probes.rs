//! `/healthz` and `/readyz`: what an orchestrator asks.
//!
//! In: the engine's health. Out: 200, or 503 with the reasons. Open to everybody: nothing is told of a stream but its number.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::Json;
use crate::house::House;
use crate::problem::{Outcome, Problems};

/// How the engine is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Probe {
    /// Its threads answer.
    is_live: bool,
    /// It takes new streams.
    is_ready: bool,
    /// In a word: `ready`, `alive, not ready` and so on, with the reasons.
    text: String,
}

async fn probe(house: &House, is_well: fn(&Probe) -> bool) -> Outcome<Response> {
    let cluster = house.options.cluster.clone();
    let looked =
        house.blocking(move |engine| (engine.health(), cluster.is_some_and(|cluster| cluster.is_draining())));
    let (health, is_draining) = looked.await?;
    let mut probe = Probe { is_live: health.is_live, is_ready: health.is_ready, text: health.to_string() };
    if is_draining {
        probe.is_ready = false;
        probe.text.push_str("; its streams go to other nodes, and it takes nothing new");
    }
    let is_well = is_well(&probe);
    let mut response = Json(probe).into_response();
    if !is_well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// Whether the engine is alive
///
/// 503: its threads do not answer, and the process is to be restarted.
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "healthz", security(()),
    responses(
        (status = 200, description = "It is alive", body = Probe),
        (status = 503, description = "It is not", body = Probe),
        Problems
    )
)]
pub(crate) async fn healthz(State(house): State<House>) -> Outcome<Response> {
    probe(&house, |probe| probe.is_live).await
}

/// Whether the engine takes new streams
///
/// 503: it is full, has no room on a disk, hands its streams to other nodes, or is shutting down. Streams go on.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz", security(()),
    responses(
        (status = 200, description = "It is ready", body = Probe),
        (status = 503, description = "It is not", body = Probe),
        Problems
    )
)]
pub(crate) async fn readyz(State(house): State<House>) -> Outcome<Response> {
    probe(&house, |probe| probe.is_ready).await
}
