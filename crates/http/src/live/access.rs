//! Who may play what.
//!
//! In: requests of players, and the rules of the keys. Out: streams. Who has a token that may watch may play everything. Others may by the rules
//! that hold on the RTMP server: with the play token of the name, if it has one, or if it has no key at all. A wrong play token is answered late,
//! and the same is said of all names that somebody may not play.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use flowcast_core::{Asker, Denial, StreamRef};
use flowcast_rtmp::key::StreamKey;
use serde::Deserialize;

use crate::guard::{Client, may_watch};
use crate::house::House;
use crate::problem::{Outcome, Problem};
use crate::request::Asked;
use crate::tokens::LONGEST;

/// What RTMP servers call it.
const APP: &str = "live";

/// A stream that somebody may play.
#[derive(Debug)]
pub(crate) struct Playable {
    pub(crate) stream: StreamRef,
    /// The play token that was sent: HLS sends it on.
    pub(crate) token: Option<String>,
}

/// Of the query, only this counts; players add what they like.
#[derive(Debug, Deserialize)]
struct Query {
    token: Option<String>,
}

impl FromRequestParts<House> for Playable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, house: &House) -> Outcome<Self> {
        let params = RawPathParams::from_request_parts(parts, house).await;
        let params = params.map_err(|_| Problem::not_found("stream"))?;
        let name = params.iter().find(|(key, _)| *key == "name").map(|(_, name)| name.to_owned());
        let name = name.ok_or_else(|| Problem::not_found("stream"))?;
        // `NAME.flv` and so on: what follows the last dot is the form.
        let name = params
            .iter()
            .any(|(key, _)| key == "file")
            .then_some(name.as_str())
            .or_else(|| name.rsplit_once('.').map(|(name, _)| name));
        let name = name.ok_or_else(|| Problem::not_found("stream"))?;
        let client = parts.extensions.get::<Client>().copied();
        let client = client.ok_or_else(|| Problem::internal("nobody knows who asks"))?;
        let Asked(Query { token }) = Asked::from_request_parts(parts, house).await?;
        let token = token.filter(|token| token.len() <= LONGEST);
        if !may_watch(parts, house).await? {
            if house.options.players_need_tokens {
                return Err(Problem::unauthorized("send a token: Authorization: Bearer TOKEN"));
            }
            let asked = StreamKey::new(token.clone().unwrap_or_default());
            let asked = token.as_ref().map(|_| &asked);
            let asker = Asker::new(client.address(), APP);
            if let Err(denial) = house.key_store().player(name, asked, &asker) {
                if denial == Denial::WrongToken {
                    house.was_wrong(client).await;
                }
                let detail = "the name cannot be played without its play token";
                return Err(Problem::forbidden("PLAY_REFUSED", detail));
            }
        }
        let stream = house.engine.hub().find(name).filter(|stream| !stream.has_ended());
        let stream = stream.ok_or_else(|| Problem::not_found("stream"))?;
        Ok(Self { stream, token })
    }
}
