//! The form of server-sent events (HTML living standard, section 9.2).
//!
//! In: names and data of one line. Out: frames, and answers that go on. A connection on which nothing is sent for a while is kept by a
//! comment.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::Stream;

/// How often something is sent at least: proxies close what is silent.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A comment.
#[derive(Debug)]
pub(crate) struct Alive;

impl Alive {
    pub(crate) const FRAME: Bytes = Bytes::from_static(b":\n\n");
}

/// Appends one event; `data` is one line.
pub(crate) fn frame(to: &mut String, id: Option<&str>, event: &str, data: &str) {
    if let Some(id) = id {
        to.extend(["id: ", id, "\n"]);
    }
    to.extend(["event: ", event, "\ndata: ", data, "\n\n"]);
}

/// An answer that goes on as long as `frames` does.
pub(crate) fn response(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(Sure(Box::pin(frames))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would gather them.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A stream that never fails.
pub(crate) struct Sure<S>(pub(crate) Pin<Box<S>>);

impl<S: Stream<Item = Bytes>> Stream for Sure<S> {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|next| next.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_the_standard_says() {
        let mut text = String::new();
        frame(&mut text, Some("a-1"), "stream", "{}");
        frame(&mut text, None, "gap", "{\"lost\":2}");
        assert_eq!(text, "id: a-1\nevent: stream\ndata: {}\n\nevent: gap\ndata: {\"lost\":2}\n\n");
    }
}
