//! What platforms say of a file.

use std::path::PathBuf;

use axum::extract::State;
use flowcast_core::{Platform, Strictness};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::Json;
use crate::guard::{May, Operate};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::Sent;

/// The most platforms of a question.
const MOST: usize = 10;

/// A file, and who is to take it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The file, on the server.
    #[schema(value_type = String)]
    path: PathBuf,
    /// `youtube`, `twitch`, `facebook`, `any`. Default `any`.
    #[serde(default)]
    platforms: Vec<String>,
    /// `lenient` (the default), `strict`, `seed`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    strictness: Option<Strictness>,
}

/// What is said of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Judged {
    /// One for each platform: what is to be done with each track, and every rule that is broken.
    #[schema(value_type = Vec<Object>)]
    verdicts: Vec<Value>,
    /// What is in the file; `null` if it cannot be read.
    #[schema(value_type = Option<Object>)]
    facts: Option<Value>,
}

/// Whether platforms take a file as it is
///
/// Reads all of the file once, without decoding it: about a second for an hour. A file that cannot be read has a verdict, too.
#[utoipa::path(
    post, path = "/api/v1/verdict", tag = "room", operation_id = "verdict", request_body = Question,
    responses((status = 200, description = "The verdicts, with their reasons", body = Judged), Problems)
)]
pub(crate) async fn verdict(
    _: May<Operate>,
    State(house): State<House>,
    Sent(question): Sent<Question>,
) -> Outcome<Json<Judged>> {
    let known: Result<Vec<Platform>, _> = question.platforms.iter().map(|name| name.parse()).collect();
    let unknown = || Problem::bad_request(format!("platforms: there are {}", Platform::NAMES.join(", ")));
    let mut platforms = known.map_err(|_| unknown())?;
    if platforms.len() > MOST {
        return Err(Problem::bad_request("platforms: at most ten"));
    }
    if platforms.is_empty() {
        platforms.push(Platform::any());
    }
    let strictness = question.strictness.unwrap_or(Strictness::Lenient);
    house.blocking(move |_| judged(&question.path, &platforms, strictness)).await?.map(Json)
}

#[cfg(feature = "libav")]
fn judged(path: &std::path::Path, platforms: &[Platform], strictness: Strictness) -> Outcome<Judged> {
    use flowcast_core::{Facts, verdict, verdict_of_failure};

    let value = |verdict: &flowcast_core::Verdict| serde_json::to_value(verdict);
    let written = |_| Problem::internal("the verdict cannot be written");
    match Facts::scan(path) {
        Ok(facts) => {
            let verdicts = platforms.iter().map(|platform| value(&verdict(&facts, platform, strictness)));
            let verdicts = verdicts.collect::<Result<_, _>>().map_err(written)?;
            Ok(Judged { verdicts, facts: serde_json::to_value(&facts).ok() })
        }
        Err(error) => {
            let verdict = value(&verdict_of_failure(&error)).map_err(written)?;
            Ok(Judged { verdicts: vec![verdict], facts: None })
        }
    }
}

#[cfg(not(feature = "libav"))]
fn judged(_: &std::path::Path, _: &[Platform], _: Strictness) -> Outcome<Judged> {
    Err(flowcast_core::Error::NotBuilt { feature: "libav" }.into())
}
