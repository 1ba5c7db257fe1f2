//! All places, and what stands in front of them.
//!
//! In: an engine and settings. Out: a router for axum, and the document of it. A place that is not in the document cannot be added here.

use std::any::Any;

use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use flowcast_core::Engine;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{cluster, judge, keys, outputs, playlists, room, schedules, source, storage, streams};
use crate::error::Error;
use crate::events::follow;
use crate::guard::admit;
use crate::house::House;
use crate::live::{flv, hls, now, picture};
use crate::options::Options;
use crate::problem::Problem;
use crate::saving::{UNSAVED, saved};
use crate::{document, figures, metrics, probes};

/// A router of everything, to be served as it is or nested in that of a program. Nothing is done before it is asked something.
///
/// Its handlers need a tokio runtime with time; the engine's streams do not. It keeps the engine: drop the router, and what serves it, before
/// the engine is to end, or shut the engine down.
///
/// Where the program serves it, tell it the addresses of clients: [`into_make_service_with_connect_info`] with
/// [`SocketAddr`](std::net::SocketAddr). Otherwise all clients count as one for the limits, and
/// [`Options::open_to_this_machine`] lets nobody in. Timeouts of slow clients are the program's, too; [`serve`](crate::serve) has them.
///
/// [`into_make_service_with_connect_info`]: Router::into_make_service_with_connect_info
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use flowcast_core::{Config, Engine};
/// use flowcast_http::{Options, Scope, Token};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let engine = Engine::new(Config::default())?;
///     let token = Token::new("me", &std::env::var("TOKEN")?.into(), [Scope::Operate]);
///     let options = Options::default().with(|options| options.tokens.push(token));
///     let app = axum::Router::new().nest("/flowcast", flowcast_http::router(&engine, options)?);
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///     axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`Error::Options`] for settings that cannot work.
pub fn router(engine: &Engine, options: Options) -> Result<Router, Error> {
    Ok(routed(House::new(engine, options)?))
}

/// The OpenAPI document of the router, as JSON: what `/openapi.json` answers.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = described();
    // It was made of values that can be written.
    document.to_pretty_json().unwrap_or_default()
}

pub(crate) fn routed(house: House) -> Router {
    let (places, document) = described();
    let text = document.to_json().unwrap_or_default();
    let origins = cors(&house.options.origins);
    let limit = DefaultBodyLimit::max(house.options.body_limit);
    let places = places
        .route(
            "/openapi.json",
            routing::get(move || async move { ([(CONTENT_TYPE, "application/json")], text.clone()) }),
        )
        .merge(page(&house))
        .fallback(|| async { Problem::not_found("place") })
        .method_not_allowed_fallback(|| async {
            let detail = "the place does not take this method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
        })
        .layer(from_fn_with_state(house.clone(), saved))
        .layer(limit)
        .layer(from_fn_with_state(house.clone(), admit))
        .layer(CatchPanicLayer::custom(panicked));
    let places = match origins {
        Some(origins) => places.layer(origins),
        None => places,
    };
    places.layer(map_response(secured)).with_state(house)
}

/// The page, if it is wished. It is no part of the API.
#[cfg(feature = "page")]
fn page(house: &House) -> Router<House> {
    if house.options.page { crate::page::places() } else { Router::new() }
}

#[cfg(not(feature = "page"))]
fn page(_: &House) -> Router<House> {
    Router::new()
}

/// All places with their document.
fn described() -> (Router<House>, OpenApi) {
    OpenApiRouter::with_openapi(document::head())
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(streams::list, streams::start))
        .routes(routes!(streams::show, streams::stop))
        .routes(routes!(source::replace))
        .routes(routes!(source::seek))
        .routes(routes!(source::skip))
        .routes(routes!(outputs::list, outputs::add))
        .routes(routes!(outputs::replace, outputs::remove))
        .routes(routes!(playlists::show))
        .routes(routes!(playlists::add))
        .routes(routes!(playlists::move_to, playlists::remove))
        .routes(routes!(playlists::play))
        .routes(routes!(storage::clip))
        .routes(routes!(storage::reels))
        .routes(routes!(storage::recordings))
        .routes(routes!(storage::snapshot))
        .routes(routes!(keys::list, keys::issue))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::replace))
        .routes(routes!(keys::set_play))
        .routes(routes!(schedules::list, schedules::add))
        .routes(routes!(schedules::cancel))
        .routes(routes!(room::admission, room::forecast))
        .routes(routes!(room::capacity))
        .routes(routes!(judge::verdict))
        .routes(routes!(cluster::show))
        .routes(routes!(cluster::list))
        .routes(routes!(cluster::find, cluster::put, cluster::remove))
        .routes(routes!(cluster::drain))
        .routes(routes!(follow::events))
        .routes(routes!(figures::figures))
        .routes(routes!(flv::preview))
        .routes(routes!(hls::preview))
        .routes(routes!(picture::preview))
        .routes(routes!(now::named))
        .routes(routes!(hls::named))
        .split_for_parts()
}

/// Which pages of other sites may use it; without any, browsers keep them all out.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let headers = [ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("last-event-id")];
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods(methods)
            .allow_headers(headers)
            .expose_headers([UNSAVED])
    })
}

/// A handler panicked: that request failed, and nothing else.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    log::error!("a handler of HTTP panicked");
    Problem::internal("flowcast has a fault here").into_response()
}

/// What every answer says to browsers: nothing of it is a page, and nobody but the client keeps it.
async fn secured(mut response: Response) -> Response {
    const ALWAYS: [(HeaderName, &str); 4] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
