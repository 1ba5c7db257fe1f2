//! HLS from memory: `/live/NAME/index.m3u8` and the files that it names.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use flowcast_core::HlsFile;

use super::access::Playable;
use crate::guard::{May, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::Named;

/// The longest name of a file.
const LONGEST: usize = 128;

/// A stream as HLS
///
/// `index.m3u8`, and what it names. The first who asks for the playlist waits for the first segment, some seconds. It is made as long as somebody asks for
/// it. With a play token in the query, the addresses in the playlist have it, too.
#[utoipa::path(
    get, path = "/live/{name}/{file}", tag = "live", operation_id = "hls", security((), ("token" = [])),
    params(
        ("name" = String, Path, description = "The name that players ask for"),
        ("file" = String, Path, description = "`index.m3u8`, or a file that it names"),
        ("token" = Option<String>, Query, description = "The play token, if the name needs one"),
    ),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/vnd.apple.mpegurl"), Problems)
)]
pub(crate) async fn named(
    playable: Playable,
    State(house): State<House>,
    Named((_, file)): Named<(String, String)>,
) -> Outcome<Response> {
    let found = found(&house, &playable.stream, &file).await?;
    Ok(answer(&file, found, playable.token.as_deref()))
}

/// A stream, by its number, as HLS
#[utoipa::path(
    get, path = "/api/v1/streams/{id}/hls/{file}", tag = "live", operation_id = "preview_hls",
    params(
        ("id" = String, Path, description = "The stream: `s1`"),
        ("file" = String, Path, description = "`index.m3u8`, or a file that it names"),
    ),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/vnd.apple.mpegurl"), Problems)
)]
pub(crate) async fn preview(
    _: May<Watch>,
    State(house): State<House>,
    Named((id, file)): Named<(String, String)>,
) -> Outcome<Response> {
    let stream = house.stream(&id)?;
    let found = found(&house, &stream, &file).await?;
    Ok(answer(&file, found, None))
}

async fn found(house: &House, stream: &flowcast_core::StreamRef, file: &str) -> Outcome<HlsFile> {
    if file.len() > LONGEST {
        return Err(Problem::not_found("file"));
    }
    house.hls_file(stream, file).await
}

fn answer(name: &str, file: HlsFile, token: Option<&str>) -> Response {
    let is_list = name.ends_with(".m3u8");
    let bytes = match token.filter(|_| is_list) {
        Some(token) => with_token(&file.bytes, token),
        None => file.bytes,
    };
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    // A playlist changes with each segment; all else never does. With a token it is for one player.
    let cache = match (is_list, token) {
        (true, _) => "no-store",
        (false, None) => "public, max-age=3600, immutable",
        (false, Some(_)) => "private, max-age=3600, immutable",
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// The playlist with the token behind each address: players do not send it by themselves.
fn with_token(playlist: &Bytes, token: &str) -> Bytes {
    // What was accepted as a play token needs no escaping; anything else is not sent back.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let Some(text) = std::str::from_utf8(playlist).ok().filter(|_| token.bytes().all(is_plain)) else {
        return playlist.clone();
    };
    let mut with = String::with_capacity(text.len() + 1024);
    for line in text.lines() {
        match line.split_once("URI=\"").and_then(|(before, rest)| Some((before, rest.split_once('"')?))) {
            Some((before, (address, rest))) if line.starts_with('#') => {
                with.extend([before, "URI=\"", address, "?token=", token, "\"", rest]);
            }
            _ if line.is_empty() || line.starts_with('#') => with.push_str(line),
            _ => with.extend([line, "?token=", token]),
        }
        with.push('\n');
    }
    with.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_playlist_get_the_token() {
        let list = "#EXTM3U\n#EXT-X-MAP:URI=\"init-1.mp4\",X=1\n#EXTINF:2.0,\nseg-1.m4s\n";
        let with = with_token(&Bytes::from_static(list.as_bytes()), "abc~1");
        assert_eq!(
            with,
            "#EXTM3U\n#EXT-X-MAP:URI=\"init-1.mp4?token=abc~1\",X=1\n#EXTINF:2.0,\nseg-1.m4s?token=abc~1\n"
        );
        assert_eq!(with_token(&Bytes::from_static(b"a\n"), "\"&"), "a\n");
    }
}
