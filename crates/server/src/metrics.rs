//! Figures of a server, of an engine and its owners, of streams, and of encoders, for Prometheus.

mod encoders;
mod engine;
mod page;
mod streams;

use std::fmt;
use std::sync::Arc;

use flowcast_core::{ActiveStream, BitRate, KeyRegistry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

pub use self::encoders::EncoderMetrics;
pub use self::engine::EngineMetrics;
pub use self::streams::StreamMetrics;
use crate::refusal::RefusalReason;
use crate::stats::Counters;

/// The most streams that have figures of their own, by default.
const STREAMS: usize = 100;
/// The label of all others together; it is not a valid name.
const OTHERS: &str = "(others)";

/// The figures of one server, to be registered with a [`Registry`](prometheus_client::registry::Registry) of the
/// program. They are read when they are scraped; it stores nothing and keeps no stream alive. The figures of a second
/// server go into a sub-registry with a prefix, or another registry.
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
        page.counter("rtmp_connections", "Connections taken in", stats.accepted)?;
        page.gauge("rtmp_active_streams", "Streams players can ask for", active.len() as u64)?;
        page.bandwidth(stats.bytes_received, stats.bytes_sent)?;
        let refused = RefusalReason::ALL.map(|reason| (reason.as_str(), stats.refused(reason)));
        let faults = [
            ("protocol", stats.protocol_errors),
            ("timeout", stats.timeouts),
            ("tls", stats.tls_errors),
            ("too_fast", stats.too_fast),
        ];
        page.errors(refused.into_iter().chain(faults))?;
        page.gauge("rtmp_open_connections", "Connections now", stats.connections)?;
        page.gauge("rtmp_publishers", "Publishers on the air", stats.publishers)?;
        page.gauge("rtmp_players", "Players on the air", stats.players)?;
        page.counter("rtmp_dropped_tags", "Tags dropped for players that were behind", stats.dropped_tags)?;
        if self.streams == 0 {
            return Ok(());
        }
        let streams = foremost(active, self.streams);
        let players = streams.iter().map(|stream| (&*stream.name, stream.players as f64));
        page.streams("rtmp_stream_players", "Players of the stream", players)?;
        let bits = streams.iter().map(|stream| (&*stream.name, stream.bit_rate.bps() as f64));
        page.streams("rtmp_stream_bits_per_second", "Media of the stream over the last second", bits)
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

/// What is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let value = ConstCounter::new(value);
        value.encode(self.0.encode_descriptor(name, help, None, value.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let value = ConstGauge::new(value);
        value.encode(self.0.encode_descriptor(name, help, None, value.metric_type())?)
    }

    fn bandwidth(&mut self, received: u64, sent: u64) -> fmt::Result {
        let (help, unit) = ("Bytes received from publishers and sent to players", Some(&Unit::Bytes));
        let values = [("in", ConstGauge::new(received)), ("out", ConstGauge::new(sent))];
        let mut family = self.0.encode_descriptor("rtmp_bandwidth", help, unit, values[0].1.metric_type())?;
        for (direction, value) in values {
            value.encode(family.encode_family(&[("direction", direction)])?)?;
        }
        Ok(())
    }

    fn errors(&mut self, reasons: impl Iterator<Item = (&'static str, u64)>) -> fmt::Result {
        let help = "Connections refused, and those that ended in a fault";
        let kind = ConstCounter::new(0u64).metric_type();
        let mut family = self.0.encode_descriptor("rtmp_errors", help, None, kind)?;
        for (reason, count) in reasons {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn streams<'s>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (&'s str, f64)>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0f64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (stream, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[("stream", stream)])?)?;
        }
        Ok(())
    }
}
