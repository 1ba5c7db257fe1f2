//! `/live/NAME.…`: the forms of what is played under a name: `.flv`, `.jpg`, and `.json`, which says what is playing.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Playable;
use super::flv;
use super::picture::{Like, picture};
use crate::answer::Json;
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, Named};
use crate::views::NowPlaying;

/// What is playing under a name, for those who watch: no path of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NowView {
    name: String,
    /// Its title: the name of the file, without directory and extension; `null` for what is live.
    title: Option<String>,
    position_seconds: Option<f64>,
    length_seconds: Option<f64>,
    /// Players now.
    players: usize,
}

/// What is on the air under a name
///
/// `NAME.flv`: the stream as FLV (HTTP-FLV), as long as it is on the air. `NAME.jpg`: its newest keyframe. `NAME.json`: what is playing.
#[utoipa::path(
    get, path = "/live/{name}", tag = "live", operation_id = "live", security((), ("token" = [])),
    params(("name" = String, Path, description = "The name that players ask for, with `.flv`, `.jpg` or `.json`"), Like),
    responses(
        (status = 200, description = "What was asked for", content(
            (Vec<u8> = "video/x-flv"), (Vec<u8> = "image/jpeg"), (NowView = "application/json")
        )),
        Problems
    )
)]
pub(crate) async fn named(
    playable: Playable,
    State(house): State<House>,
    Named(name): Named<String>,
    Asked(like): Asked<Like>,
) -> Outcome<Response> {
    let (name, form) = name.rsplit_once('.').ok_or_else(|| Problem::not_found("stream"))?;
    match form {
        "flv" => flv::named(&house, &playable),
        "jpg" => picture(&house, playable.stream, &like).await,
        "json" => {
            let stats = playable.stream.stats();
            let playing = stats.playing.as_ref().map(NowPlaying::of);
            let playing = playing.as_ref();
            Ok(Json(NowView {
                name: name.to_owned(),
                title: playing.map(|playing| playing.title.clone()),
                position_seconds: playing.map(|playing| playing.position_seconds),
                length_seconds: playing.and_then(|playing| playing.length_seconds),
                players: playable.stream.players(),
            })
            .into_response())
        }
        _ => Err(Problem::not_found("form: there are .flv, .jpg and .json")),
    }
}
