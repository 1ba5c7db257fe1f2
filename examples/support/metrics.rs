//! Metrics over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use flowcast::RtmpServer;
use tiny_http::{Header, Method, Response, Server};

use super::Result;

const TYPE: &[u8] = b"application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `GET /metrics` until it is dropped.
pub(crate) struct Exposition {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Exposition {
    /// Listens on `address`, for a server's figures.
    pub(crate) fn of(server: &RtmpServer, address: &str) -> Result<Self> {
        Self::start(address, page(server)?)
    }

    /// Listens on `address`; `page` makes the text.
    fn start(address: &str, page: impl Fn() -> String + Send + 'static) -> Result<Self> {
        let server =
            Arc::new(Server::http(address).map_err(|error| format!("--metrics {address}: {error}"))?);
        let (asked, kind) = (server.clone(), Header::from_bytes("Content-Type", TYPE));
        let kind = kind.map_err(|()| "a header that is none")?;
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            for request in asked.incoming_requests() {
                let is_ours = *request.method() == Method::Get && request.url() == "/metrics";
                // Whoever asked may have gone.
                let _ = if is_ours {
                    request.respond(Response::from_string(page()).with_header(kind.clone()))
                } else {
                    request.respond(Response::empty(404))
                };
            }
        })?;
        Ok(Self { server, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.server.server_addr().to_ip()
    }
}

impl Drop for Exposition {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What makes the page.
#[cfg(feature = "metrics")]
fn page(server: &RtmpServer) -> Result<impl Fn() -> String + Send + 'static> {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(server.metrics()));
    Ok(move || {
        let mut page = String::new();
        // A string takes everything.
        let _ = prometheus_client::encoding::text::encode(&mut page, &registry);
        page
    })
}

#[cfg(not(feature = "metrics"))]
fn page(_server: &RtmpServer) -> Result<fn() -> String> {
    Err("--metrics: built without the feature `metrics`".into())
}
