//! How much room there is: limits, what is used of the machine, and how many more streams fit.

use std::time::Duration;

use axum::extract::State;
use flowcast_core::{BitRate, Capacity, CapacityOptions, Mix, NeedBasis, Needs, StreamKind, StreamSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::Json;
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::Sent;

/// The most kinds of a mix: each is measured for seconds.
const MOST_KINDS: usize = 4;
/// The most outputs of a kind.
const MOST_OUTPUTS: u32 = 100;

/// A resource that has a budget.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Used {
    /// `CPU`, `memory`, `uplink`.
    resource: &'static str,
    /// In use: cores, bytes, bits per second.
    used: f64,
    /// What may be used, in the same unit.
    budget: f64,
}

/// Whether there is room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Admission {
    /// A stream without an owner would be started, as far as its number counts.
    allowed: bool,
    /// The code of the error that it would get.
    code: Option<&'static str>,
    reason: Option<String>,
    running: usize,
    limit: usize,
    limit_per_owner: usize,
    /// What is used of each resource that has a budget; empty while admission by measured cost is off.
    resources: Vec<Used>,
}

/// Limits, and what is in use
#[utoipa::path(
    get, path = "/api/v1/admission", tag = "room", operation_id = "admission",
    responses((status = 200, description = "At this moment", body = Admission), Problems)
)]
pub(crate) async fn admission(_: May<Watch>, State(house): State<House>) -> Outcome<Json<Admission>> {
    let resources = house.blocking(|engine| engine.resources()).await?;
    let (asked, limits) = (house.engine.can_start(None), house.engine.limits());
    let used = |of: flowcast_core::ResourceUse| Used {
        resource: of.resource.as_str(),
        used: of.used,
        budget: of.budget,
    };
    Ok(Json(Admission {
        allowed: asked.allowed,
        code: asked.reason.as_ref().map(flowcast_core::Error::code),
        reason: asked.reason.as_ref().map(|reason| flowcast_core::chain(reason)),
        running: asked.running,
        limit: limits.total,
        limit_per_owner: limits.per_owner,
        resources: resources.into_iter().map(used).collect(),
    }))
}

/// Whether a stream would be started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forecast {
    allowed: bool,
    /// The code of the error that it would get.
    code: Option<&'static str>,
    reason: Option<String>,
    /// What it is expected to use; `null` while admission by measured cost is off.
    needs: Option<NeedsView>,
    /// What would be encoded cheaper so that it fits; `null` if nothing is.
    #[schema(value_type = Option<Object>)]
    lowered: Option<Value>,
}

/// What a stream is expected to use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NeedsView {
    /// CPU seconds per second.
    cpu: f64,
    /// Bytes.
    memory: u64,
    /// Bits per second.
    uplink: u64,
    /// `running` (measured on streams of the same kind) or `table`.
    basis: &'static str,
}

impl NeedsView {
    fn of(needs: &Needs) -> Self {
        Self {
            cpu: needs.cpu,
            memory: needs.memory,
            uplink: needs.uplink.bps(),
            basis: if matches!(needs.basis, NeedBasis::Running { .. }) { "running" } else { "table" },
        }
    }
}

/// Whether a stream could be started
///
/// The body is a stream as data, as for one that is started. Nothing is started.
#[utoipa::path(
    post, path = "/api/v1/admission", tag = "room", operation_id = "forecast",
    request_body(content = Object, description = "A stream: `flowcast::spec::StreamSpec`", content_type = "application/json"),
    responses((status = 200, description = "At this moment", body = Forecast), Problems)
)]
pub(crate) async fn forecast(
    _: May<Operate>,
    State(house): State<House>,
    Sent(spec): Sent<StreamSpec>,
) -> Outcome<Json<Forecast>> {
    let forecast = house.blocking(move |engine| engine.can_start_spec(&spec)).await??;
    Ok(Json(Forecast {
        allowed: forecast.allowed,
        code: forecast.reason.as_ref().map(flowcast_core::Error::code),
        reason: forecast.reason.as_ref().map(|reason| flowcast_core::chain(reason)),
        needs: forecast.needs.as_ref().map(NeedsView::of),
        lowered: forecast.lowered.and_then(|lowered| serde_json::to_value(lowered).ok()),
    }))
}

/// A kind of stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kind {
    /// Media, bits per second, or text: `"2650k"`.
    #[schema(value_type = Object)]
    bit_rate: BitRate,
    /// To RTMPS servers.
    #[serde(default)]
    tls: bool,
    /// Outputs of each. Default 1.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100)]
    outputs: Option<u32>,
    /// How often it occurs, beside the others. Default 1.
    #[serde(default)]
    weight: Option<f64>,
}

/// What is to fit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// One to four kinds.
    #[schema(min_items = 1, max_items = 4)]
    kinds: Vec<Kind>,
    /// The network's speed, bits per second, or text: `"1G"`. Default: no limit.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    uplink: Option<BitRate>,
}

/// How many more fit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CapacityView {
    /// Streams that fit besides those that run.
    more: u64,
    /// What ends first.
    limiting: &'static str,
    /// In sentences: `12 more streams fit besides 3; then: memory` and so on.
    text: String,
    /// All of it.
    #[schema(value_type = Object)]
    capacity: Capacity,
}

/// How many more streams fit
///
/// Measured by a benchmark of a few seconds for each kind that was not measured in the last ten minutes; one at a time.
#[utoipa::path(
    post, path = "/api/v1/capacity", tag = "room", operation_id = "capacity", request_body = Question,
    responses((status = 200, description = "The answer", body = CapacityView), Problems)
)]
pub(crate) async fn capacity(
    _: May<Operate>,
    State(house): State<House>,
    Sent(question): Sent<Question>,
) -> Outcome<Json<CapacityView>> {
    let mix = mix(&question.kinds)?;
    let mut options = CapacityOptions::default();
    options.uplink = question.uplink;
    let busy = |_| Problem::too_many("BENCHMARK_RUNS", "another one is under way", Duration::from_secs(5));
    let alone = house.benchmark.clone().try_acquire_owned().map_err(busy)?;
    let capacity = house.blocking(move |engine| {
        let capacity = engine.capacity_with(&mix, &options);
        drop(alone);
        capacity
    });
    let capacity = capacity.await??;
    Ok(Json(CapacityView {
        more: capacity.more,
        limiting: capacity.limiting.as_str(),
        text: capacity.to_string(),
        capacity,
    }))
}

fn mix(kinds: &[Kind]) -> Outcome<Mix> {
    let mut mix: Option<Mix> = None;
    for kind in kinds.iter().take(MOST_KINDS + 1) {
        let outputs = kind.outputs.unwrap_or(1);
        if !(1..=MOST_OUTPUTS).contains(&outputs) {
            return Err(Problem::bad_request("outputs: must be 1 to 100"));
        }
        let of = StreamKind::copy(kind.bit_rate).outputs(outputs);
        let of = if kind.tls { of.tls() } else { of };
        let weight = kind.weight.unwrap_or(1.0);
        mix = Some(match mix {
            Some(mix) => mix.and(of, weight),
            None => Mix::of(of).weight(weight),
        });
    }
    let mix = mix.filter(|_| kinds.len() <= MOST_KINDS);
    mix.ok_or_else(|| Problem::bad_request("kinds: one to four"))
}
