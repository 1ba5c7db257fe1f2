//! What is published now.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bit_rate::BitRate;
use crate::stats::Codec;
use crate::stream::{Hub, StreamRef};

/// A stream that is published now. Figures are at most a second old.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ActiveStream {
    /// The name players use.
    pub name: String,
    /// Its owner, if the key or the program names one.
    pub owner: Option<String>,
    /// The publisher's address.
    pub peer: Option<SocketAddr>,
    /// How long it has been published.
    pub since: Duration,
    /// Its picture's codec; `None` before its first tag, and without a picture.
    pub video: Option<Codec>,
    /// Its sound's codec; `None` before its first tag, and without sound.
    pub audio: Option<Codec>,
    /// Media bits per second over the last second.
    pub bit_rate: BitRate,
    /// Players now.
    pub players: usize,
}

/// The stream of each name; figures are read outside the hub's lock.
pub(super) fn list(hub: &Hub) -> Vec<ActiveStream> {
    let now = Instant::now();
    let described = hub.published(|name, published| {
        let active = ActiveStream {
            name: name.to_owned(),
            owner: published.owner.map(str::to_owned),
            peer: published.peer,
            since: now.saturating_duration_since(published.since),
            video: None,
            audio: None,
            bit_rate: BitRate::ZERO,
            players: 0,
        };
        (active, published.stream.cloned())
    });
    let figures = |(mut active, stream): (ActiveStream, Option<StreamRef>)| {
        if let Some(stream) = stream {
            let stats = stream.stats();
            (active.video, active.audio, active.bit_rate) = (stats.video, stats.audio, stats.bit_rate);
            active.players = stream.players();
        }
        active
    };
    described.into_iter().map(figures).collect()
}
