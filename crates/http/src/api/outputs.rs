//! Outputs of a stream: added, replaced, removed.

use axum::extract::State;
use flowcast_core::{IfTaken, Output, OutputId, OutputStats, StreamRef};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Created, Json};
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Named, Sent, number};
use crate::views::Done;

/// The outputs of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutputList {
    /// With all figures; players are among them.
    #[schema(value_type = Vec<Object>)]
    outputs: Vec<OutputStats>,
}

/// The outputs of a stream
#[utoipa::path(
    get, path = "/api/v1/streams/{id}/outputs", tag = "outputs", operation_id = "list_outputs",
    params(("id" = String, Path, description = "The stream: `s1`")),
    responses((status = 200, description = "All of them", body = OutputList), Problems)
)]
pub(crate) async fn list(
    _: May<Watch>,
    State(house): State<House>,
    Named(id): Named<String>,
) -> Outcome<Json<OutputList>> {
    Ok(Json(OutputList { outputs: house.stream(&id)?.stats().outputs }))
}

/// An output that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Added {
    /// Its number.
    #[schema(example = "o2")]
    id: String,
}

/// Adds an output
///
/// The body is an output as data: `{"url": "rtmp://host/app/key", "label": "main"}`, `{"record": "show.mp4"}` and so on. It begins with a keyframe. What becomes of its
/// connection is told by events.
#[utoipa::path(
    post, path = "/api/v1/streams/{id}/outputs", tag = "outputs", operation_id = "add_output",
    params(("id" = String, Path, description = "The stream: `s1`")),
    request_body(content = Object, description = "An output: `flowcast::Output`", content_type = "application/json"),
    responses((status = 201, description = "It was added", body = Added), Problems)
)]
pub(crate) async fn add(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
    Sent(output): Sent<Output>,
) -> Outcome<Created<Added>> {
    let stream = house.stream(&id)?;
    let of = stream.id();
    let added = house.blocking(move |_| stream.add_output(output)).await??;
    house.has_changed().await;
    Ok(Created(format!("/api/v1/streams/{of}/outputs/{added}"), Added { id: added.to_string() }))
}

/// Another server or key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement {
    /// As in a stream: `{"url": "rtmp://other/app/key"}`. Its label is not used.
    #[schema(value_type = Object)]
    output: Output,
    /// If the server does not take it beside the one that is on the air: `break` (the default), or `keep` that one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    if_taken: IfTaken,
}

/// Lets a push go on elsewhere
///
/// The new connection is dialled beside the one on the air, and takes over with a keyframe. Events say what becomes of it.
#[utoipa::path(
    put, path = "/api/v1/streams/{id}/outputs/{output}", tag = "outputs", operation_id = "replace_output",
    params(("id" = String, Path, description = "The stream: `s1`"), ("output" = String, Path, description = "The output: `o2`")),
    request_body = Replacement,
    responses((status = 200, description = "It is dialled", body = Done), Problems)
)]
pub(crate) async fn replace(
    _: May<Operate>,
    State(house): State<House>,
    Named((id, output)): Named<(String, String)>,
    Sent(new): Sent<Replacement>,
) -> Outcome<Json<Done>> {
    let (stream, output) = output_of(&house, &id, &output)?;
    house.blocking(move |_| stream.replace_output(output, new.output, new.if_taken)).await??;
    Ok(Json(Done::YES))
}

/// Removes an output
///
/// The others go on. An output and its backup end together.
#[utoipa::path(
    delete, path = "/api/v1/streams/{id}/outputs/{output}", tag = "outputs", operation_id = "remove_output",
    params(("id" = String, Path, description = "The stream: `s1`"), ("output" = String, Path, description = "The output: `o2`")),
    responses((status = 200, description = "It was asked to end", body = Done), Problems)
)]
pub(crate) async fn remove(
    _: May<Operate>,
    State(house): State<House>,
    Named((id, output)): Named<(String, String)>,
) -> Outcome<Json<Done>> {
    let (stream, output) = output_of(&house, &id, &output)?;
    stream.remove_output(output)?;
    house.has_changed().await;
    Ok(Json(Done::YES))
}

/// A stream, and an output that it has.
fn output_of(house: &House, id: &str, output: &str) -> Outcome<(StreamRef, OutputId)> {
    let stream = house.stream(id)?;
    let output: OutputId = number(output, "output")?;
    let is_there = stream.stats().outputs.iter().any(|of| of.id == output);
    if is_there { Ok((stream, output)) } else { Err(Problem::not_found("output")) }
}
