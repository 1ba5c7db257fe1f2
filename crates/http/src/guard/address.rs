//! The address a request comes from.
//!
//! In: a request, and the proxies that are trusted. Out: the client's address, as far as it is known. What clients say of themselves is not
//! believed; what a trusted proxy says of them is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use flowcast_server::Origin;
use ipnet::IpNet;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    address: IpAddr,
    /// It is known, not assumed.
    is_known: bool,
    /// A proxy named it.
    is_told: bool,
}

impl Client {
    /// Of a request of a server that notes the addresses of its connections ([`ConnectInfo`]). Where none does, all clients count as one.
    pub(crate) fn of(request: &Request, proxies: &[IpNet]) -> Self {
        let connected = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let Some(ConnectInfo(peer)) = connected else {
            return Self { address: Ipv4Addr::UNSPECIFIED.into(), is_known: false, is_told: false };
        };
        let peer = peer.ip().to_canonical();
        let told = if is_one_of(peer, proxies) { forwarded(request.headers(), proxies) } else { None };
        Self { address: told.unwrap_or(peer), is_known: true, is_told: told.is_some() }
    }

    /// What counts as one address.
    pub(crate) fn origin(self) -> Origin {
        Origin::of(self.address)
    }

    /// Its address for a key store, which wants one with a port.
    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::new(self.address, 0)
    }

    /// Whether it is certain that it runs on this machine.
    pub(crate) fn is_on_this_machine(self) -> bool {
        self.is_known && !self.is_told && self.address.is_loopback()
    }
}

fn is_one_of(address: IpAddr, nets: &[IpNet]) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// The last address of `X-Forwarded-For` that is no trusted proxy: what stands before it can be made up.
fn forwarded(headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
    for hop in hops {
        let address = hop.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !is_one_of(address, proxies) {
            return Some(address);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use axum::body::Body;

    use super::*;

    fn client(peer: Option<&str>, forwarded: &[&str]) -> Client {
        let mut request = Request::new(Body::empty());
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        }
        for line in forwarded {
            request.headers_mut().append("x-forwarded-for", line.parse().unwrap());
        }
        Client::of(&request, &["10.0.0.0/8".parse().unwrap()])
    }

    #[test]
    fn what_a_stranger_says_of_itself_is_not_believed() {
        let stranger = client(Some("192.0.2.1:5"), &["127.0.0.1"]);
        assert_eq!(stranger.address.to_string(), "192.0.2.1");
        assert!(!stranger.is_on_this_machine());
        assert!(client(Some("127.0.0.1:5"), &[]).is_on_this_machine());
        assert!(client(Some("[::ffff:127.0.0.1]:5"), &[]).is_on_this_machine());
        assert!(!client(None, &[]).is_on_this_machine(), "nobody knows");
    }

    #[test]
    fn what_a_trusted_proxy_says_of_others_is_believed() {
        let told = |lines: &[&str]| client(Some("10.0.0.1:5"), lines).address.to_string();
        assert_eq!(told(&["198.51.100.7"]), "198.51.100.7");
        assert_eq!(told(&["127.0.0.1, 198.51.100.7, 10.2.2.2"]), "198.51.100.7", "the first one is made up");
        assert_eq!(told(&["127.0.0.1", "198.51.100.8, 10.3.3.3"]), "198.51.100.8");
        assert_eq!(told(&["not an address"]), "10.0.0.1");
        assert_eq!(told(&[]), "10.0.0.1");
        assert!(!client(Some("10.0.0.1:5"), &["127.0.0.1"]).is_on_this_machine());
    }
}
