//! Streams by the calendar: listed, added, taken out.

use axum::extract::State;
use flowcast_core::{Schedule, Scheduled, StreamSpec, When, utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::{Created, Json};
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Named, Sent};

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleView {
    /// Its number.
    #[schema(example = "t1")]
    id: String,
    /// The label of its stream.
    label: Option<String>,
    /// The stream that was started for it, if it runs.
    stream: Option<String>,
    /// When it begins next; `null` if it does not.
    #[schema(format = DateTime)]
    next: Option<String>,
    /// When that ends; `null` if nothing ends it.
    #[schema(format = DateTime)]
    next_ends: Option<String>,
    /// Its windows.
    #[schema(value_type = Object)]
    when: When,
    /// What it starts, without keys.
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
}

impl ScheduleView {
    fn of(scheduled: Scheduled) -> Self {
        let Schedule { spec, when, .. } = scheduled.schedule;
        Self {
            id: scheduled.id.to_string(),
            label: spec.label.clone(),
            stream: scheduled.stream.map(|stream| stream.to_string()),
            next: scheduled.next.as_ref().map(|next| utc(next.begins).to_string()),
            next_ends: scheduled.next.as_ref().and_then(|next| next.ends).map(|at| utc(at).to_string()),
            when,
            spec: serde_json::to_value(spec).ok(),
        }
    }
}

/// All schedules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleList {
    schedules: Vec<ScheduleView>,
}

/// The schedules
#[utoipa::path(
    get, path = "/api/v1/schedules", tag = "schedules", operation_id = "list_schedules",
    responses((status = 200, description = "In the order in which they were added", body = ScheduleList), Problems)
)]
pub(crate) async fn list(_: May<Watch>, State(house): State<House>) -> Json<ScheduleList> {
    let schedules = house.engine.schedules().list().into_iter().map(ScheduleView::of);
    Json(ScheduleList { schedules: schedules.collect() })
}

/// A stream, and when it is to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSchedule {
    /// As for a stream that is started.
    #[schema(value_type = Object)]
    stream: StreamSpec,
    /// `{"zone": "Europe/Berlin", "windows": [{"from": "20:00", "to": "23:30"}]}`.
    #[schema(value_type = Object)]
    when: When,
}

/// A schedule that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Added {
    /// Its number.
    #[schema(example = "t1")]
    id: String,
}

/// Adds a schedule
#[utoipa::path(
    post, path = "/api/v1/schedules", tag = "schedules", operation_id = "add_schedule", request_body = NewSchedule,
    responses((status = 201, description = "It was added", body = Added), Problems)
)]
pub(crate) async fn add(
    _: May<Operate>,
    State(house): State<House>,
    Sent(new): Sent<NewSchedule>,
) -> Outcome<Created<Added>> {
    let NewSchedule { stream, when } = new;
    let id = house.blocking(move |engine| engine.schedule(stream, when)).await??;
    Ok(Created(format!("/api/v1/schedules/{id}"), Added { id: id.to_string() }))
}

/// What was taken out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cancelled {
    /// The stream that runs by it, which goes on.
    stream: Option<String>,
}

/// Takes a schedule out
///
/// A stream that is on the air goes on; stop it, if it is to end.
#[utoipa::path(
    delete, path = "/api/v1/schedules/{id}", tag = "schedules", operation_id = "cancel_schedule",
    params(("id" = String, Path, description = "Its number: `t1`")),
    responses((status = 200, description = "No stream is started by it any more", body = Cancelled), Problems)
)]
pub(crate) async fn cancel(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
) -> Outcome<Json<Cancelled>> {
    let schedules = house.engine.schedules();
    let listed = schedules.list().into_iter().find(|scheduled| scheduled.id.to_string() == id);
    let cancelled = listed.and_then(|scheduled| schedules.cancel(scheduled.id));
    let cancelled = cancelled.ok_or_else(|| Problem::not_found("schedule"))?;
    Ok(Json(Cancelled { stream: cancelled.stream.map(|stream| stream.to_string()) }))
}
