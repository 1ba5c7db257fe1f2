//! What clients send: bodies of JSON, queries, and numbers in paths.
//!
//! In: requests, of any size and content. Out: typed values, or a problem that does not repeat what was sent: a client may have put a key
//! in the wrong place.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::problem::{Outcome, Problem};

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of a request, which has to be JSON and say so. Pages of other sites cannot send such a request without asking first.
#[derive(Debug)]
pub(crate) struct Sent<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Outcome<Self> {
        if !is_json(request.headers()) {
            let detail = "the body has to be JSON, with the header Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "MEDIA_TYPE_UNSUPPORTED", detail));
        }
        let read = tokio::time::timeout(PATIENCE, Bytes::from_request(request, state)).await;
        let bytes = read.map_err(|_| late())?.map_err(|rejection| unread(&rejection))?;
        parse(&bytes).map(Self)
    }
}

fn late() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the body did not come in time")
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = "the body is larger than the server takes";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail);
    }
    Problem::bad_request("the body could not be read")
}

/// Reads a value in two steps, so that it is known which kind of mistake it is.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::bad_request(format!("the body is no JSON: line {line}, column {column}"))
    })?;
    T::deserialize(value).map_err(|error| Problem::bad_request(hidden(&error.to_string())))
}

/// What serde says of a value, without the value.
fn hidden(text: &str) -> String {
    /// Before what was sent.
    const SENT: [(&str, char); 4] =
        [("string \"", '"'), ("unknown variant `", '`'), ("character `", '`'), ("map key \"", '"')];
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    'text: while !rest.is_empty() {
        for (before, end) in SENT {
            if let Some(sent) = rest.strip_prefix(before) {
                shown.push_str(before);
                shown.push_str("****");
                rest = skip(sent, end);
                continue 'text;
            }
        }
        let mut characters = rest.chars();
        shown.extend(characters.next());
        rest = characters.as_str();
    }
    shown
}

/// From where `end` is, unless it was escaped; where it is nowhere, nothing is left.
fn skip(text: &str, end: char) -> &str {
    let mut is_escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == end => return text.get(place..).unwrap_or_default(),
            _ => {}
        }
    }
    ""
}

/// What the query of a URL says.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Outcome<Self> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| Problem::bad_request(hidden(&rejection.body_text())))
    }
}

/// What the path of a URL names. One that cannot be read names nothing.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Outcome<Self> {
        let named = Path::from_request_parts(parts, state).await;
        named.map(|Path(named)| Self(named)).map_err(|_| Problem::not_found("place"))
    }
}

/// A number in the path of a URL; what is none names nothing.
pub(crate) fn number<T: FromStr>(text: &str, what: &'static str) -> Outcome<T> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// A length of time in seconds, of a range.
pub(crate) fn seconds(
    name: &'static str,
    seconds: f64,
    range: std::ops::RangeInclusive<f64>,
) -> Outcome<Duration> {
    let wrong = || {
        let (least, most) = (range.start(), range.end());
        Problem::bad_request(format!("{name}: must be {least} to {most} seconds"))
    };
    if !range.contains(&seconds) {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use flowcast_core::StreamSpec;

    use super::*;

    #[test]
    fn what_was_sent_is_not_repeated() {
        let cases = [
            (r#"{"source": {"file": "a.mp4"}, "outputs": "canary-key"}"#, "expected a sequence"),
            (r#"{"source": {"file": "a.mp4"}, "outputs": [{"url": 5}]}"#, "expected a string"),
            (r#"{"source": {"file": "a.mp4", "mode": "canary-key"}}"#, ""),
            (r#"{"source": {"file": "a.mp4"}, "without_outputs": "canary\" key"}"#, "expected a boolean"),
        ];
        for (text, says) in cases {
            let problem = parse::<StreamSpec>(text.as_bytes()).unwrap_err();
            let told = serde_json::to_string(&problem).unwrap();
            assert!(told.contains(says) && !told.contains("canary"), "{told}");
        }
    }

    #[test]
    fn a_field_that_there_is_not_is_named() {
        let problem = parse::<StreamSpec>(br#"{"sauce": 1}"#).unwrap_err();
        assert!(serde_json::to_string(&problem).unwrap().contains("unknown field `sauce`"));
    }

    #[test]
    fn broken_json_is_told_by_its_place() {
        let problem = parse::<StreamSpec>(b"{\"key\": canary}").unwrap_err();
        let told = serde_json::to_string(&problem).unwrap();
        assert!(told.contains("line 1, column") && !told.contains("canary"), "{told}");
    }

    #[test]
    fn text_is_hidden_up_to_its_end() {
        assert_eq!(
            hidden(r#"invalid type: string "a \"b\" c", expected u8"#),
            r#"invalid type: string "****", expected u8"#
        );
        assert_eq!(hidden("unknown variant `x`, expected `y`"), "unknown variant `****`, expected `y`");
        assert_eq!(hidden("string \"never ends"), "string \"****");
        assert_eq!(hidden("missing field `ä`"), "missing field `ä`");
    }

    #[test]
    fn times_are_of_their_range() {
        assert_eq!(seconds("within", 1.5, 0.0..=2.0).unwrap().as_millis(), 1500);
        for wrong in [-1.0, 2.1, f64::NAN, f64::INFINITY] {
            assert!(seconds("within", wrong, 0.0..=2.0).is_err(), "{wrong}");
        }
    }
}
