//! Figures of streams and their outputs, for Prometheus.

use std::fmt;

use flowcast_core::{EngineWatch, OutputPhase, OutputStats, OutputTransport, StreamStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::STREAMS;

/// The figures of one engine's streams, their pushes and their recordings, to be registered with a
/// [`Registry`](prometheus_client::registry::Registry) of the program. They are read when they are scraped
/// and are at most a second old; it keeps neither the engine nor a stream alive. The figures of a second engine go into a registry and a
/// page of their own, or into a sub-registry with a prefix.
///
/// Of each stream, with the labels `stream`, its number as [`StreamId`](flowcast_core::StreamId) prints it, and `label`, the one
/// the program gave it (empty if it gave none):
///
/// | name | type | |
/// |---|---|---|
/// | `stream_uptime_seconds` | gauge | time since it was started |
/// | `stream_fps` | gauge | pictures per second, over the last second |
/// | `stream_bits_per_second` | gauge | its media, over the last second |
/// | `stream_cpu_seconds` | gauge, only ever grows | CPU time of all its threads |
/// | `stream_held_bytes` | gauge | media it holds in memory and in the kernel's send buffers |
/// | `stream_schedule_lag_seconds` | gauge | how late its thread was, at worst over the last second |
/// | `stream_laps` | gauge, only ever grows | laps of its loop that are complete |
///
/// Of each push and recording, with these labels, `output` (its number), `output_label` and
/// `transport` ([`OutputTransport::as_str`]):
///
/// | name | type | |
/// |---|---|---|
/// | `output_live` | gauge | 1 if it is on the air, otherwise 0 |
/// | `output_bits_per_second` | gauge | what it sent or wrote over the last second, protocol included |
/// | `output_sent_bytes` | gauge, only ever grows | what it sent or wrote |
/// | `output_lag_seconds` | gauge | media that was due and is not acknowledged |
/// | `output_dropped_tags` | gauge, only ever grows | tags dropped because it was behind |
/// | `output_reconnects` | gauge, only ever grows | times it was connected again |
/// | `output_failures` | gauge, only ever grows | times it was lost, could not be reached or was refused |
///
/// Players are not shown one by one, but in [`Metrics`](crate::Metrics); outputs of the program's own are. No label has a
/// stream key or an address in it. With more than 100 streams, the latest are not shown. What only grows is a gauge because a
/// counter's name would have to end in `_total`; `rate()` works on it.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; pub mod server { pub use flowcast_server::*; } }
/// use flowcast::{Config, Engine};
/// use flowcast::server::StreamMetrics;
/// use prometheus_client::{encoding::text::encode, registry::Registry};
///
/// let engine = Engine::new(Config::default())?;
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(StreamMetrics::new(engine.watch())));
/// let mut text = String::new();
/// encode(&mut text, &registry)?;
/// assert!(text.contains("# TYPE output_failures gauge\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StreamMetrics {
    engine: EngineWatch,
    streams: usize,
}

impl StreamMetrics {
    /// Those of the streams of the engine that `watch` shows.
    #[must_use]
    pub fn new(watch: EngineWatch) -> Self {
        Self { engine: watch, streams: STREAMS }
    }

    /// The most streams that are shown, the oldest first. Default 100.
    #[must_use]
    pub fn streams(mut self, most: usize) -> Self {
        self.streams = most;
        self
    }
}

impl Collector for StreamMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut streams = self.engine.stats();
        streams.truncate(self.streams);
        let kind = ConstGauge::new(0f64).metric_type();
        for figure in &OF_STREAMS {
            let mut family = encoder.encode_descriptor(figure.name, figure.help, None, kind)?;
            for stats in &streams {
                let labels = [("stream", stats.id.to_string()), ("label", text(stats.label.as_deref()))];
                ConstGauge::new((figure.of)(stats)).encode(family.encode_family(&labels)?)?;
            }
        }
        for figure in &OF_OUTPUTS {
            let mut family = encoder.encode_descriptor(figure.name, figure.help, None, kind)?;
            for stats in &streams {
                for output in stats.outputs.iter().filter(|output| is_shown(output)) {
                    let labels = [
                        ("stream", stats.id.to_string()),
                        ("label", text(stats.label.as_deref())),
                        ("output", output.id.to_string()),
                        ("output_label", text(output.label.as_deref())),
                        ("transport", output.transport.as_str().to_owned()),
                    ];
                    ConstGauge::new((figure.of)(output)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// A label, or nothing.
fn text(label: Option<&str>) -> String {
    label.unwrap_or_default().to_owned()
}

/// Players come and go by the hundred, and what lets them in, or feeds another stream, sends nothing.
fn is_shown(output: &OutputStats) -> bool {
    !matches!(output.transport, OutputTransport::Player | OutputTransport::Hub | OutputTransport::Stream)
}

/// One figure of each stream, or of each output.
struct Figure<S> {
    name: &'static str,
    help: &'static str,
    of: fn(&S) -> f64,
}

const OF_STREAMS: [Figure<StreamStats>; 7] = [
    Figure {
        name: "stream_uptime_seconds",
        help: "Time since the stream was started",
        of: |stats| stats.uptime.as_secs_f64(),
    },
    Figure { name: "stream_fps", help: "Pictures per second", of: |stats| stats.fps },
    Figure {
        name: "stream_bits_per_second",
        help: "Media of the stream over the last second",
        of: |stats| stats.bit_rate.bps() as f64,
    },
    Figure {
        name: "stream_cpu_seconds",
        help: "CPU time of all threads of the stream",
        of: |stats| stats.cpu_time.as_secs_f64(),
    },
    Figure {
        name: "stream_held_bytes",
        help: "Media held in memory and in send buffers",
        of: |stats| stats.bytes_held as f64,
    },
    Figure {
        name: "stream_schedule_lag_seconds",
        help: "How late the thread of the stream was at worst",
        of: |stats| stats.schedule_lag.as_secs_f64(),
    },
    Figure { name: "stream_laps", help: "Laps that are complete", of: |stats| stats.laps as f64 },
];

const OF_OUTPUTS: [Figure<OutputStats>; 7] = [
    Figure {
        name: "output_live",
        help: "Whether the output is on the air",
        of: |output| f64::from(u8::from(output.phase == OutputPhase::Live)),
    },
    Figure {
        name: "output_bits_per_second",
        help: "What the output sent or wrote over the last second",
        of: |output| output.bit_rate.bps() as f64,
    },
    Figure {
        name: "output_sent_bytes",
        help: "What the output sent or wrote",
        of: |output| output.bytes_sent as f64,
    },
    Figure {
        name: "output_lag_seconds",
        help: "Media that was due and is not acknowledged",
        of: |output| output.lag.as_secs_f64(),
    },
    Figure {
        name: "output_dropped_tags",
        help: "Tags dropped because the output was behind",
        of: |output| output.drops as f64,
    },
    Figure {
        name: "output_reconnects",
        help: "Times the output was connected again",
        of: |output| output.reconnects as f64,
    },
    Figure {
        name: "output_failures",
        help: "Times the output was lost, could not be reached or was refused",
        of: |output| output.failures as f64,
    },
];
