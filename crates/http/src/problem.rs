//! What is said when something cannot be done: problem details (RFC 9457) with flowcast's stable codes.
//!
//! In: errors of the engine, and what is wrong with a request. Out: answers of the type `application/problem+json`. No key is in any of
//! them: errors of the engine hide what is secret, and text that a client sent is not sent back.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flowcast_core::{Error, chain};
use serde::Serialize;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response as Described, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

/// The content type of problems.
pub(crate) const TYPE: &str = "application/problem+json";

/// Why a request failed (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A name of the kind of problem: `urn:flowcast:` and the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: Box<str>,
    /// The kind in words; the same for all problems with this code.
    #[schema(value_type = String)]
    title: Box<str>,
    /// The status of the answer.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    #[serde(serialize_with = "number")]
    status: StatusCode,
    /// The stable code, such as `STREAM_LIMIT_EXCEEDED`.
    code: &'static str,
    /// What happened this time, for people.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// Whether the same request can succeed later.
    retryable: bool,
    /// What is wrong with a stream that was sent as data, part by part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Part>,
    /// When it makes sense to try again, as in the header `Retry-After`.
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// One thing that is wrong with a stream that was sent as data.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Part {
    /// Where: `source`, `outputs[1]`.
    place: String,
    /// The stable code.
    code: &'static str,
    /// What is wrong.
    detail: String,
}

/// What an answer is when a handler gives up.
pub(crate) type Outcome<T> = Result<T, Problem>;

fn number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with the request itself.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let words = code.to_lowercase().replace('_', " ");
        let mut title = words.clone();
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self {
            kind: format!("urn:flowcast:{}", words.replace(' ', "-")).into(),
            title: title.into(),
            status,
            code,
            detail: detail.into().into(),
            retryable: matches!(status.as_u16(), 408 | 429 | 503),
            problems: Vec::new(),
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "REQUEST_INVALID", detail)
    }

    /// Nothing is there: neither a place nor what it names.
    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("there is no such {what}"))
    }

    pub(crate) fn unauthorized(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "TOKEN_REQUIRED", detail)
    }

    pub(crate) fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// Too much of something; it may be tried again `after` this.
    pub(crate) fn too_many(code: &'static str, detail: &'static str, after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).again_after(after)
    }

    /// Something that is not ready yet.
    pub(crate) fn not_yet(code: &'static str, detail: &'static str, after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).again_after(after)
    }

    /// A fault of flowcast.
    pub(crate) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    }

    /// Whether the same request can succeed later.
    pub(crate) fn retryable(self, retryable: bool) -> Self {
        Self { retryable, ..self }
    }

    fn again_after(mut self, after: Duration) -> Self {
        (self.retry_after, self.retryable) = (Some(after), true);
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut problem = Self::new(status, error.code(), chain(&error));
        problem.retryable = error.is_retryable();
        match &error {
            Error::Spec { problems } => {
                let part = |problem: &flowcast_core::SpecProblem| Part {
                    place: problem.place.clone(),
                    code: problem.error.code(),
                    detail: chain(&problem.error),
                };
                problem.problems = problems.iter().map(part).collect();
            }
            Error::CapacityExceeded { shortage } => problem.retry_after = shortage.free_in,
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Nothing in it can fail to be written.
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"flowcast\""));
        }
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil() as u64));
        }
        response
    }
}

/// The answer of every operation that fails, for the document.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let problem = ResponseBuilder::new().description("Why it failed").content(TYPE, content).build();
        BTreeMap::from([("default".to_owned(), RefOr::T(problem))])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use flowcast_core::{LimitScope, Output, Source, StreamSpec};
    use serde_json::{Value, json};

    use super::*;

    fn told(problem: Problem) -> (u16, Option<String>, Value) {
        let value = serde_json::to_value(&problem).unwrap();
        let response = problem.into_response();
        let after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.headers()[CONTENT_TYPE], TYPE);
        (response.status().as_u16(), after, value)
    }

    #[test]
    fn errors_of_the_engine_keep_their_code_and_status() {
        let full = Error::StreamLimitExceeded { scope: LimitScope::Global, limit: 3 };
        let (status, _, value) = told(full.into());
        assert_eq!(
            (status, value),
            (
                429,
                json!({
                    "type": "urn:flowcast:stream-limit-exceeded", "title": "Stream limit exceeded", "status": 429,
                    "code": "STREAM_LIMIT_EXCEEDED", "detail": "Maximum 3 concurrent streams reached", "retryable": true,
                })
            )
        );
    }

    #[test]
    fn what_is_wrong_with_a_spec_is_said_part_by_part_and_without_its_key() {
        let output = Output::rtmp("gopher://host/app", "canary-key");
        let error = StreamSpec::new(Source::file("a.mp4").looped()).to(output).check().unwrap_err();
        let (status, _, value) = told(error.into());
        assert_eq!((status, &value["code"]), (400, &json!("SPEC_INVALID")));
        assert_eq!(value["problems"][0]["place"], json!("outputs[0]"));
        assert_eq!(value["problems"][0]["code"], json!("URL_INVALID"));
        assert!(!value.to_string().contains("canary"), "{value}");
    }

    #[test]
    fn who_has_to_wait_is_told_how_long() {
        let (status, after, value) =
            told(Problem::too_many("TOO_MANY_REQUESTS", "wait", Duration::from_millis(1200)));
        assert_eq!((status, after.as_deref(), &value["retryable"]), (429, Some("2"), &json!(true)));
    }

    #[test]
    fn who_has_no_token_is_told_which_kind_is_wanted() {
        let response = Problem::unauthorized("no token").into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer realm=\"flowcast\"");
    }
}
