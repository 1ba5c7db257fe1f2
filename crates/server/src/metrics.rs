//! Figures of a server, of an engine and its owners, of streams, and of encoders, for Prometheus.

mod encoders;
mod engine;
mod page;
mod streams;

use std::fmt;
use std::sync::Arc;

use flowcast_core::{ActiveStream, BitRate, KeyRegistry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

pub use self::encoders::EncoderMetrics;
pub use self::engine::EngineMetrics;
use self::page::{Kind, Page};
pub use self::streams::StreamMetrics;
use crate::refusal::RefusalReason;
use crate::stats::Counters;

/// The most streams that have figures of their own, by default.
const STREAMS: usize = 100;
/// The label of all others together; it is not a valid name.
const OTHERS: &str = "(others)";

/// The figures of one server, to be registered with a [`Registry`](prometheus_client::registry::Registry) of the
/// program. They are read when they are scraped; it stores nothing and keeps no stream alive. The figures of a second
/// server go into a registry and a page of their own, or into a sub-registry with a prefix.
///
/// | name | type | labels | |
/// |---|---|---|---|
/// | `rtmp_connections_total` | counter | | connections taken in |
/// | `rtmp_active_streams` | gauge | | streams players can ask for now; those of all servers of the engine |
/// | `rtmp_bandwidth_bytes` | gauge, only ever grows | `direction` is `in`, `out` | bytes received from publishers and sent to players |
/// | `rtmp_errors_total` | counter | `reason` is one of [`RefusalReason::as_str`], `protocol`, `timeout`, `tls`, `too_fast` | connections refused, and those that ended in a fault |
/// | `rtmp_open_connections` | gauge | | connections now |
/// | `rtmp_publishers` | gauge | | publishers on the air now |
/// | `rtmp_players` | gauge | | players on the air now |
/// | `rtmp_dropped_tags_total` | counter | | tags dropped for players that were behind |
/// | `rtmp_relays` | gauge | | names that are pulled from an origin now, or dialled for players that wait |
/// | `rtmp_relays_begun_total` | counter | | streams that were pulled for players |
/// | `rtmp_relays_failed_total` | counter | | names that were asked for, and that no origin gave |
/// | `rtmp_stream_players` | gauge | `stream` | players of a stream now |
/// | `rtmp_stream_bits_per_second` | gauge | `stream` | media of a stream over the last second |
///
/// `stream` is the name players use, of the streams with the most players, at most 100 at a time; all others together are
/// `(others)`. Stream keys and play tokens are in none of it. `rtmp_bandwidth_bytes` is a gauge because a counter's name
/// would have to end in `_total`; `rate()` works on it. What streams encode is told by [`EncoderMetrics`],
/// and their outputs by [`StreamMetrics`].
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; }
/// use flowcast::{Config, Engine, RtmpServerExt};
/// use prometheus_client::{encoding::text::encode, registry::Registry};
///
/// let engine = Engine::new(Config::default())?;
/// let server = engine.rtmp_server("127.0.0.1:0").start()?;
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(server.metrics()));
/// let mut text = String::new();
/// encode(&mut text, &registry)?;
/// assert!(text.contains("rtmp_connections_total 0\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Metrics {
    counters: Arc<Counters>,
    keys: KeyRegistry,
    streams: usize,
}

impl Metrics {
    pub(crate) fn new(counters: Arc<Counters>, keys: KeyRegistry) -> Self {
        Self { counters, keys, streams: STREAMS }
    }

    /// The most streams that have figures of their own; 0 leaves those figures out. Default 100.
    #[must_use]
    pub fn streams(mut self, most: usize) -> Self {
        self.streams = most;
        self
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut page, stats) = (Page(encoder), self.counters.snapshot());
        let active = self.keys.active();
        // The encoder appends `_total` to the name of a counter.
        page.one(Kind::Counter, "rtmp_connections", "Connections taken in", None, stats.accepted)?;
        let gauge = |page: &mut Page<'_>, name: &str, help: &str, value: u64| {
            page.one(Kind::Gauge, name, help, None, value)
        };
        gauge(&mut page, "rtmp_active_streams", "Streams players can ask for", active.len() as u64)?;
        let help = "Bytes received from publishers and sent to players";
        let bytes = [("in", stats.bytes_received), ("out", stats.bytes_sent)];
        let bytes = bytes.map(|(direction, bytes)| ([("direction", direction)], bytes.into()));
        page.family(Kind::Gauge, "rtmp_bandwidth", help, Some(&Unit::Bytes), bytes)?;
        let refused = RefusalReason::ALL.map(|reason| (reason.as_str(), stats.refused(reason)));
        let faults = [
            ("protocol", stats.protocol_errors),
            ("timeout", stats.timeouts),
            ("tls", stats.tls_errors),
            ("too_fast", stats.too_fast),
        ];
        let help = "Connections refused, and those that ended in a fault";
        page.split("rtmp_errors", help, "reason", refused.into_iter().chain(faults))?;
        gauge(&mut page, "rtmp_open_connections", "Connections now", stats.connections)?;
        gauge(&mut page, "rtmp_publishers", "Publishers on the air", stats.publishers)?;
        gauge(&mut page, "rtmp_players", "Players on the air", stats.players)?;
        gauge(&mut page, "rtmp_relays", "Names that are pulled from an origin", stats.relays)?;
        let help = "Streams that were pulled for players";
        page.one(Kind::Counter, "rtmp_relays_begun", help, None, stats.relays_begun)?;
        let help = "Names that were asked for, and that no origin gave";
        page.one(Kind::Counter, "rtmp_relays_failed", help, None, stats.relays_failed)?;
        let help = "Tags dropped for players that were behind";
        page.one(Kind::Counter, "rtmp_dropped_tags", help, None, stats.dropped_tags)?;
        if self.streams == 0 {
            return Ok(());
        }
        let streams = foremost(active, self.streams);
        let of = |figure: fn(&Shown) -> u64| {
            streams.iter().map(move |stream| ([("stream", &*stream.name)], figure(stream).into()))
        };
        let players = of(|stream| stream.players as u64);
        page.family(Kind::Gauge, "rtmp_stream_players", "Players of the stream", None, players)?;
        let (name, help) = ("rtmp_stream_bits_per_second", "Media of the stream over the last second");
        page.family(Kind::Gauge, name, help, None, of(|stream| stream.bit_rate.bps()))
    }
}

/// What one stream is shown with.
struct Shown {
    name: String,
    players: usize,
    bit_rate: BitRate,
}

/// The streams with the most players, and all others as one.
fn foremost(mut active: Vec<ActiveStream>, most: usize) -> Vec<Shown> {
    active.sort_by(|one, other| other.players.cmp(&one.players).then_with(|| one.name.cmp(&other.name)));
    let others = active.split_off(most.min(active.len()));
    let mut shown: Vec<_> = active
        .into_iter()
        .map(|stream| Shown { name: stream.name, players: stream.players, bit_rate: stream.bit_rate })
        .collect();
    if !others.is_empty() {
        shown.push(Shown {
            name: OTHERS.to_owned(),
            players: others.iter().map(|stream| stream.players).sum(),
            bit_rate: others.iter().map(|stream| stream.bit_rate).sum(),
        });
    }
    shown
}
