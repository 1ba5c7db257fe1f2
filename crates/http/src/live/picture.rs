//! What a stream shows: its newest keyframe as JPEG.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use flowcast_core::{StreamRef, ThumbnailOptions};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::guard::{May, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, Named};

/// How long a picture is waited for.
const WITHIN: Duration = Duration::from_secs(5);
/// The largest side.
const LARGEST: u32 = 1920;

/// What the picture is like.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Like {
    /// Pixels it is wide and high at most. Default 320.
    #[param(minimum = 16, maximum = 1920)]
    size: Option<u32>,
    /// The play token, if the name needs one.
    #[serde(rename = "token")]
    #[param(rename = "token")]
    _token: Option<String>,
}

/// A stream, by its number, as a picture
///
/// Its newest keyframe. One that was made in the last second is given again.
#[utoipa::path(
    get, path = "/api/v1/streams/{id}/picture.jpg", tag = "live", operation_id = "preview_picture",
    params(("id" = String, Path, description = "The stream: `s1`"), Like),
    responses((status = 200, description = "The picture", body = Vec<u8>, content_type = "image/jpeg"), Problems)
)]
pub(crate) async fn preview(
    _: May<Watch>,
    State(house): State<House>,
    Named(id): Named<String>,
    Asked(like): Asked<Like>,
) -> Outcome<Response> {
    let stream = house.stream(&id)?;
    picture(&house, stream, &like).await
}

/// The picture of a stream.
pub(super) async fn picture(house: &House, stream: StreamRef, like: &Like) -> Outcome<Response> {
    let size = like.size.unwrap_or(320);
    if !(16..=LARGEST).contains(&size) {
        return Err(Problem::bad_request("size: must be 16 to 1920"));
    }
    let options = ThumbnailOptions::default().with(|options| {
        (options.max_width, options.max_height) = (size, size);
    });
    let thumbnail = house.blocking(move |_| stream.thumbnail(&options, WITHIN)).await??;
    let mut response = Response::new(Body::from(thumbnail.jpeg));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
