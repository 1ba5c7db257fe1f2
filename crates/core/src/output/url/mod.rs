//! Outputs by other protocols than RTMP, which libav sends: SRT, UDP, Icecast, RTSP.
//!
//! In: a URL with its settings. Out: a driver that feeds a worker, which blocks in libav on a thread of its own. [`address`] and [`settings`] take
//! the URL apart, [`driver`] is what the stream's thread has, [`sending`] what it gives, [`worker`] the thread, [`sink`] what becomes of tags there, [`dial`] the URL and the
//! options of libav, [`pace`] keeps datagrams from going out in one burst, and [`titles`] tells an Icecast server what plays.

mod address;
#[cfg(feature = "libav")]
mod dial;
#[cfg(feature = "libav")]
mod driver;
#[cfg(feature = "libav")]
mod pace;
#[cfg(feature = "libav")]
mod sending;
mod settings;
#[cfg(feature = "libav")]
mod sink;
#[cfg(feature = "libav")]
mod titles;
#[cfg(feature = "libav")]
mod worker;

use std::sync::Arc;

use address::{Address, Protocol};

use crate::config::ReconnectPolicy;
use crate::error::Error;
use crate::stream::{OpenedOutput, OutputOpening};

/// Where a stream is sent by libav, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UrlTarget {
    address: Result<Address, String>,
    pub(super) reconnect: Option<ReconnectPolicy>,
    pub(super) all_tracks: bool,
}

impl UrlTarget {
    /// Of a URL.
    pub(super) fn new(url: &str) -> Self {
        Self { address: Address::parse(url), reconnect: None, all_tracks: false }
    }

    /// Whether a URL is one of these, and not one of RTMP, or none at all.
    pub(super) fn is_meant(url: &str) -> bool {
        url.split_once("://").is_some_and(|(scheme, _)| {
            !["rtmp", "rtmps"].iter().any(|rtmp| scheme.eq_ignore_ascii_case(rtmp))
        })
    }

    /// All that is wrong with it.
    pub(super) fn problems(&self) -> Vec<Error> {
        let config = |reason: &str| Error::Config { name: "url", reason: reason.to_owned() };
        let address = match &self.address {
            Ok(address) => address,
            Err(reason) => return vec![Error::Address { reason: reason.clone() }],
        };
        let mut found = Vec::new();
        if address.is_hidden() {
            found.push(config("hidden (****): the output was written without its secrets"));
        }
        if self.all_tracks && address.protocol == Protocol::Icecast {
            let reason = "has no effect on an output to Icecast, which takes one track".to_owned();
            found.push(Error::Config { name: "all_tracks", reason });
        }
        found.extend(self.reconnect.iter().flat_map(ReconnectPolicy::problems));
        #[cfg(feature = "libav")]
        found.extend(is_built(address).err());
        #[cfg(not(feature = "libav"))]
        found.push(Error::NotBuilt { feature: "libav" });
        found
    }

    /// The URL, with or without what is secret in it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    #[cfg_attr(not(feature = "serde"), allow(dead_code, reason = "what outputs are written as"))]
    pub(super) fn written(&self, with_secrets: bool) -> Result<String, String> {
        let address = self.address.as_ref().map_err(Clone::clone)?;
        Ok(if with_secrets { address.url.reveal().to_owned() } else { address.to_string() })
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As [`problems`](Self::problems).
    pub(super) fn open(self, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        if let Some(problem) = self.problems().into_iter().next() {
            return Err(problem);
        }
        let address = self.address.map_err(|reason| Error::Address { reason })?;
        #[cfg(feature = "libav")]
        return Ok(driver::UrlOutput::open(Arc::new(address), self.reconnect, self.all_tracks, cx));
        #[cfg(not(feature = "libav"))]
        {
            let _ = (cx, Arc::new(address));
            Err(Error::NotBuilt { feature: "libav" })
        }
    }
}

/// Whether the linked libav has what the address needs.
#[cfg(feature = "libav")]
fn is_built(address: &Address) -> Result<(), Error> {
    use flowcast_av::{Direction, require_protocol};
    let is_https = address.protocol == Protocol::Icecast && address.setting("tls") == Some("1");
    let scheme = if is_https { "https" } else { address.protocol.scheme() };
    Ok(require_protocol(scheme, Direction::Write)?)
}
