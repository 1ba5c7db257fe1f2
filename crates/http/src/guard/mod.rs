//! Who asks, and whether they may.
//!
//! In: requests. Out: requests that are allowed, with who asked; or problems. Nothing is told of a token but whether it may: which are known,
//! and how they differ from the one that was sent, cannot be seen, also not by the time it takes.

mod address;
mod may;
mod rates;

pub(crate) use address::Client;
pub(crate) use may::{Keys, May, Operate, Watch, may_watch};
pub(crate) use rates::Rates;

use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::house::House;
use crate::problem::{Outcome, Problem};

/// Turns away whom is to be turned away, before anything is looked at.
pub(crate) async fn admit(State(house): State<House>, mut request: Request, next: Next) -> Response {
    let client = Client::of(&request, &house.options.proxies);
    request.extensions_mut().insert(client);
    match house.admits(client, request.uri().path()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl House {
    fn admits(&self, client: Client, path: &str) -> Outcome<()> {
        let now = Instant::now();
        if self.failures.lock().is_banned(client.origin(), now) {
            let detail = "too many wrong tokens came from this address";
            return Err(Problem::too_many("BANNED", detail, self.options.failures.ban_for));
        }
        // Players ask for a segment each second or two; their number is limited.
        if path.contains("/live/") || self.rates.lock().take(client.origin(), now) {
            return Ok(());
        }
        let detail = "too many requests came from this address";
        Err(Problem::too_many("TOO_MANY_REQUESTS", detail, Duration::from_secs(1)))
    }

    /// Notes that a secret was wrong, and waits for as long as the answer to that has to.
    pub(crate) async fn was_wrong(&self, client: Client) {
        let wait = self.failures.lock().failed(client.origin(), Instant::now());
        tokio::time::sleep(wait).await;
    }

    /// Whether everybody who asks from there may do everything.
    fn is_open_to(&self, client: Client, headers: &HeaderMap) -> bool {
        self.options.open_to_this_machine && client.is_on_this_machine() && is_local(headers)
    }
}

/// Whether the request was meant for this machine: a page of another site that has its name point here was not.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(Ok(host)) = headers.get(HOST).map(|host| host.to_str()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    matches!(name, Some("localhost" | "::1")) || name.is_some_and(is_loopback)
}

fn is_loopback(name: &str) -> bool {
    name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_this_machine_are_known() {
        let is =
            |host: &'static str| is_local(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]));
        for host in ["localhost", "localhost:8080", "127.0.0.1:80", "127.9.9.9", "[::1]:8080"] {
            assert!(is(host), "{host}");
        }
        for host in
            ["example.com", "127.0.0.1.example.com", "localhost.example.com:80", "10.0.0.1", "[::2]", ""]
        {
            assert!(!is(host), "{host}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }
}
