//! The page: what runs, and buttons for it, for people.
//!
//! In: files that were made from `crates/http/page` (`scripts/page.sh`) and are part of the program. Out: answers, packed where the client takes
//! that, with a hash by which a browser knows that what it has is current. Whoever asks gets them: they hold nothing but the page, which asks
//! for a token and sends it with what it wants to know.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ring::digest::{SHA256, digest};

use crate::problem::Problem;

/// What stands in the page where the folder of its files is told.
const BASE: &str = "<!--base-->";
/// Only files of this server; pictures and videos are made in the page.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src blob:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'";

/// A file, as it is and packed.
struct File {
    name: &'static str,
    kind: &'static str,
    raw: &'static [u8],
    packed: &'static [u8],
}

macro_rules! file {
    ($name:literal, $kind:literal) => {
        File {
            name: $name,
            kind: $kind,
            raw: include_bytes!($name),
            packed: include_bytes!(concat!($name, ".gz")),
        }
    };
}

static FILES: [File; 4] = [
    file!("app.css", "text/css; charset=utf-8"),
    file!("app.js", "text/javascript; charset=utf-8"),
    file!("licences.txt", "text/plain; charset=utf-8"),
    file!("play.js", "text/javascript; charset=utf-8"),
];

/// The places of the page.
pub(crate) fn places<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(index)).route("/assets/{name}", get(asset))
}

/// The page itself. Where it is nested in another server under a path without a slash at its end, it says where its files are.
async fn index(OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let text = include_str!("index.html").replace(BASE, &base(uri.path()));
    answer("text/html; charset=utf-8", text.into(), false, &headers)
}

/// What is relative in the page is relative to this: its own address counts without what follows the last slash.
fn base(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte);
    if last.is_empty() || !last.bytes().all(is_plain) {
        return String::new();
    }
    format!("<base href=\"{last}/\">")
}

/// A file of the page.
async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::not_found("file").into_response();
    };
    let is_packed = takes_packed(&headers);
    let bytes = Bytes::from_static(if is_packed { file.packed } else { file.raw });
    answer(file.kind, bytes, is_packed, &headers)
}

/// Whether the client takes what gzip has packed.
fn takes_packed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        is_gzip && !parts.any(is_refused)
    })
}

fn answer(kind: &'static str, bytes: Bytes, is_packed: bool, headers: &HeaderMap) -> Response {
    let tag = tag(&bytes);
    let is_current = headers
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    let mut response = Response::new(if is_current { Body::empty() } else { Body::from(bytes) });
    if is_current {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let to = response.headers_mut();
    to.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    to.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    to.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    to.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        to.insert(ETAG, tag);
    }
    if is_packed && !is_current {
        to.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// What changes with the bytes.
fn tag(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let text = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}"));
    format!("\"{}\"", text.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_files_are_found_where_it_is_nested() {
        assert_eq!(base("/"), "");
        assert_eq!(base("/tools/flowcast/"), "");
        assert_eq!(base("/tools/flowcast"), "<base href=\"flowcast/\">");
        assert_eq!(base("/tools/\"><script>"), "");
        assert!(include_str!("index.html").contains(BASE));
    }

    #[test]
    fn packed_files_are_for_who_takes_them() {
        let takes = |line: &'static str| {
            takes_packed(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(line))]))
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("gzip, deflate, br"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("identity") && !takes("x-gzip"));
        for file in &FILES {
            assert!(
                file.packed.starts_with(&[0x1f, 0x8b]) && file.packed.len() < file.raw.len(),
                "{}",
                file.name
            );
        }
    }
}
