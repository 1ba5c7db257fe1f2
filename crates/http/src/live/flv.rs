//! HTTP-FLV: a stream as an FLV file without an end.
//!
//! In: a tape. Out: its pieces, as fast as the player takes them. Hyper asks for the next piece when the one before is with the kernel, so a
//! player that does not read holds one piece.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use flowcast_core::StreamRef;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::access::Playable;
use super::driver::Audience;
use super::tape::{Next, Place};
use crate::events::Sure;
use crate::guard::{May, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::Named;

/// A stream, by its number, as FLV
///
/// Whatever the stream is sent to, and whether players can ask for it or not: for the preview of a page.
#[utoipa::path(
    get, path = "/api/v1/streams/{id}/live.flv", tag = "live", operation_id = "preview_flv",
    params(("id" = String, Path, description = "The stream: `s1`")),
    responses((status = 200, description = "FLV, as long as the stream is on the air", body = Vec<u8>, content_type = "video/x-flv"), Problems)
)]
pub(crate) async fn preview(
    _: May<Watch>,
    State(house): State<House>,
    Named(id): Named<String>,
) -> Outcome<Response> {
    let stream = house.stream(&id)?;
    play(&house, &stream)
}

/// What is played under a name, as FLV.
pub(super) fn named(house: &House, playable: &Playable) -> Outcome<Response> {
    play(house, &playable.stream)
}

fn play(house: &House, stream: &StreamRef) -> Outcome<Response> {
    let place = house.player()?;
    let audience = house.channels.join(&house.engine, stream)?;
    let (news, closing) = (audience.tape.news(), house.closing());
    let player = Player { audience, place: Place::default(), news, closing, _counted: place };
    let pieces = unfold(player, |mut player| async {
        let piece = player.next().await?;
        Some((piece, player))
    });
    let mut response = Response::new(Body::from_stream(Sure(Box::pin(pieces))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("video/x-flv"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Somebody who plays.
struct Player {
    audience: Audience,
    place: Place,
    news: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    _counted: OwnedSemaphorePermit,
}

impl Player {
    /// What it is sent next; `None` when it is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if *self.closing.borrow_and_update() {
                return None;
            }
            self.news.borrow_and_update();
            match self.audience.tape.next(&mut self.place) {
                Next::Bytes(bytes) => return Some(bytes),
                Next::Over => return None,
                Next::Wait => {}
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                changed = self.closing.changed() => changed.ok()?,
            }
        }
    }
}

impl House {
    /// A place among those that play.
    pub(crate) fn player(&self) -> Outcome<OwnedSemaphorePermit> {
        let full = || {
            let detail = "as many clients as allowed play already";
            Problem::too_many("PLAYERS_LIMIT_EXCEEDED", detail, std::time::Duration::from_secs(5))
        };
        Arc::clone(&self.players).try_acquire_owned().map_err(|_| full())
    }
}
