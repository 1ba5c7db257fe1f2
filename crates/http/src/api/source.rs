//! What a stream plays: another source, another place in it.

use std::time::Duration;

use axum::extract::State;
use flowcast_core::{At, Source};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Json;
use crate::guard::{May, Operate};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Named, Sent, seconds};
use crate::views::Done;

/// How long a source has to come up where nothing is said, and at most.
const WITHIN: f64 = 10.0;
const LONGEST: f64 = 120.0;
/// How long the answer waits for the end of an item.
const ITEM_END: Duration = Duration::from_secs(5);
/// The furthest place in a file.
const FURTHEST: f64 = 1e7;

/// A place in a file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seeking {
    /// From the beginning of the file that is played.
    #[schema(minimum = 0, maximum = 10000000)]
    position_seconds: f64,
}

/// Goes to another place in the file
///
/// To the last keyframe up to there. Only what is played from a reel can; otherwise nothing happens.
#[utoipa::path(
    post, path = "/api/v1/streams/{id}/seek", tag = "streams", operation_id = "seek",
    params(("id" = String, Path, description = "Its number: `s1`")), request_body = Seeking,
    responses((status = 200, description = "It was asked to", body = Done), Problems)
)]
pub(crate) async fn seek(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
    Sent(to): Sent<Seeking>,
) -> Outcome<Json<Done>> {
    let position = seconds("position_seconds", to.position_seconds, 0.0..=FURTHEST)?;
    house.stream(&id)?.seek(position)?;
    Ok(Json(Done::YES))
}

/// Leaves the item that plays
///
/// Every stream that plays the same list goes on with its next item.
#[utoipa::path(
    post, path = "/api/v1/streams/{id}/skip", tag = "streams", operation_id = "skip",
    params(("id" = String, Path, description = "Its number: `s1`")),
    responses((status = 200, description = "It was asked to", body = Done), Problems)
)]
pub(crate) async fn skip(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
) -> Outcome<Json<Done>> {
    let list = house.stream(&id)?.playlist();
    list.ok_or_else(|| Problem::not_found("playlist"))?.skip();
    Ok(Json(Done::YES))
}

/// Another source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement {
    /// As in a stream: `{"file": "other.mp4", "looped": true}`.
    #[schema(value_type = Object)]
    source: Source,
    /// `next_keyframe` (the default) or `item_end`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    at: At,
    /// How long it has to come up. Default 10 s.
    #[serde(default)]
    #[schema(minimum = 0.1, maximum = 120)]
    within_seconds: Option<f64>,
}

/// What receivers saw of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replaced {
    /// `seamless`, `new_headers` or `encoded`; `null` if it takes over later, with the end of the item: the event `source_switched` says so then.
    seam: Option<&'static str>,
}

/// Lets another source take over
///
/// Outputs stay connected. The source before stays on the air if the new one does not come up.
#[utoipa::path(
    put, path = "/api/v1/streams/{id}/source", tag = "streams", operation_id = "replace_source",
    params(("id" = String, Path, description = "Its number: `s1`")), request_body = Replacement,
    responses((status = 200, description = "It is on the air, or will be", body = Replaced), Problems)
)]
pub(crate) async fn replace(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
    Sent(new): Sent<Replacement>,
) -> Outcome<Json<Replaced>> {
    let stream = house.stream(&id)?;
    let within = seconds("within_seconds", new.within_seconds.unwrap_or(WITHIN), 0.1..=LONGEST)?;
    let Replacement { source, at, .. } = new;
    let replacing = house.blocking(move |_| stream.replace_source_within(source, at, within)).await??;
    // What takes over with its keyframe does so, or fails, within its deadline.
    let most = if at == At::ItemEnd { ITEM_END } else { within + ITEM_END };
    let seam = match tokio::time::timeout(most, replacing).await {
        Ok(seam) => Some(seam?.as_str()),
        Err(_) => None,
    };
    house.has_changed().await;
    Ok(Json(Replaced { seam }))
}
