//! Streams: listed, looked at, started, stopped.

use std::time::Duration;

use axum::extract::State;
use flowcast_core::{StreamId, StreamSpec, StreamStats};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::{Created, Json};
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, Named, Sent, number, seconds};
use crate::views::{StreamLine, StreamView};

/// Streams of a page where nothing is said, and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;
/// How long a stream has to end where nothing is said, and at most.
const STOP: f64 = 5.0;
const LONGEST_STOP: f64 = 60.0;

/// Which streams.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only in this phase: `starting`, `running`, `stopping`, `ended`.
    phase: Option<String>,
    /// Only those that are `good`, `fair` or `bad`.
    health: Option<String>,
    /// Only of this owner.
    owner: Option<String>,
    /// Only with this label.
    label: Option<String>,
    /// Only with this text in the label, the owner or a name; capital letters do not matter.
    text: Option<String>,
    /// Streams on a page. Default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The page begins behind this stream: `next` of the page before.
    after: Option<String>,
}

impl Which {
    fn are(&self, line: &StreamLine) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        is(&self.phase, Some(line.phase))
            && is(&self.health, Some(line.health))
            && is(&self.owner, line.owner.as_deref())
            && is(&self.label, line.label.as_deref())
            && self.text.as_deref().is_none_or(|text| {
                let text = text.to_lowercase();
                let texts = line.label.iter().chain(&line.owner).chain(&line.names);
                texts.into_iter().any(|of| of.to_lowercase().contains(&text))
            })
    }
}

/// A page of streams.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamPage {
    /// In the order in which they were started.
    streams: Vec<StreamLine>,
    /// Streams that there are of this kind, on all pages.
    total: usize,
    /// What the next page begins behind; `null` for the last one.
    next: Option<String>,
}

/// The streams that run
///
/// Figures are up to two seconds old.
#[utoipa::path(
    get, path = "/api/v1/streams", tag = "streams", operation_id = "list_streams", params(Which),
    responses((status = 200, description = "A page of them", body = StreamPage), Problems)
)]
pub(crate) async fn list(
    _: May<Watch>,
    State(house): State<House>,
    Asked(which): Asked<Which>,
) -> Outcome<Json<StreamPage>> {
    let limit = which.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("limit: must be 1 to 1000"));
    }
    let after: Option<StreamId> = which.after.as_deref().map(|id| number(id, "stream")).transpose()?;
    let moment = house.figures().await?;
    let mut total = 0;
    let (mut streams, mut next, mut last) = (Vec::new(), None, None);
    for (id, line) in moment.streams.iter().filter(|(_, line)| which.are(line)) {
        total += 1;
        if after.is_some_and(|after| *id <= after) {
            continue;
        }
        if streams.len() < limit {
            streams.push(line.clone());
            last = Some(*id);
        } else {
            next = next.or(last);
        }
    }
    Ok(Json(StreamPage { streams, total, next: next.map(|id: StreamId| id.to_string()) }))
}

/// A stream that was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Started {
    /// Its number.
    #[schema(example = "s1")]
    id: String,
}

/// Starts a stream
///
/// The body is a stream as data: `{"source": {"file": "show.mp4", "looped": true}, "outputs": [{"url": "rtmp://host/app/key"}], "label": "show"}`. It
/// runs until its source is complete or it is stopped. Blocks until its files are open.
#[utoipa::path(
    post, path = "/api/v1/streams", tag = "streams", operation_id = "start_stream",
    request_body(content = Object, description = "A stream: `flowcast::spec::StreamSpec`", content_type = "application/json"),
    responses((status = 201, description = "It runs", body = Started), Problems)
)]
pub(crate) async fn start(
    _: May<Operate>,
    State(house): State<House>,
    Sent(spec): Sent<StreamSpec>,
) -> Outcome<Created<Started>> {
    let id = house.blocking(move |engine| engine.start(spec).map(|live| live.detach().id())).await??;
    house.has_changed().await;
    Ok(Created(format!("/api/v1/streams/{id}"), Started { id: id.to_string() }))
}

/// One stream
#[utoipa::path(
    get, path = "/api/v1/streams/{id}", tag = "streams", operation_id = "show_stream",
    params(("id" = String, Path, description = "Its number: `s1`")),
    responses((status = 200, description = "All that is known of it", body = StreamView), Problems)
)]
pub(crate) async fn show(
    _: May<Watch>,
    State(house): State<House>,
    Named(id): Named<String>,
) -> Outcome<Json<StreamView>> {
    let stream = house.stream(&id)?;
    let line = house.figures().await?.line(stream.id()).cloned();
    // One that was started just now is in none of the figures.
    let line = line.unwrap_or_else(|| StreamLine::of(&stream, None, Vec::new()));
    Ok(Json(StreamView::of(&stream, line)))
}

/// How it ends.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Stopping {
    /// How long it has to end. Default 5 s.
    #[param(minimum = 0, maximum = 60)]
    deadline_seconds: Option<f64>,
}

/// A stream that was stopped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stopped {
    /// Its last figures.
    #[schema(value_type = Object)]
    stats: StreamStats,
}

/// Stops a stream
///
/// Outputs disconnect in an orderly way, recordings are completed. What clients publish is ended, too; they may come back.
#[utoipa::path(
    delete, path = "/api/v1/streams/{id}", tag = "streams", operation_id = "stop_stream",
    params(("id" = String, Path, description = "Its number: `s1`"), Stopping),
    responses((status = 200, description = "It has ended", body = Stopped), Problems)
)]
pub(crate) async fn stop(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
    Asked(stopping): Asked<Stopping>,
) -> Outcome<Json<Stopped>> {
    let stream = house.stream(&id)?;
    let within = stopping.deadline_seconds.unwrap_or(STOP);
    let deadline: Duration = seconds("deadline_seconds", within, 0.0..=LONGEST_STOP)?;
    let stopped = house.blocking(move |_| stream.stop(deadline)).await;
    house.has_changed().await;
    Ok(Json(Stopped { stats: stopped?? }))
}
