//! Answers that are JSON.
//!
//! In: what handlers give. Out: responses, which nobody keeps in a cache.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::Problem;

/// The content type of answers.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with status 200.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// An answer with status 201: something was made, and this is where it is.
#[derive(Debug)]
pub(crate) struct Created<T>(pub(crate) String, pub(crate) T);

fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, JSON);
            response
        }
        Err(error) => {
            // What cannot be written is no data: an HLS output in memory, say.
            log::warn!("an answer cannot be written: {error}");
            Problem::internal("the answer cannot be written as JSON").into_response()
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        answer(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let Self(place, value) = self;
        let mut response = answer(StatusCode::CREATED, &value);
        if let Ok(place) = HeaderValue::try_from(place)
            && response.status() == StatusCode::CREATED
        {
            response.headers_mut().insert(axum::http::header::LOCATION, place);
        }
        response
    }
}
