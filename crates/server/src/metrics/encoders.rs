//! Figures of what streams encode, for Prometheus.

use std::fmt;
use std::time::Duration;

use flowcast_core::{BitRate, DropReason, Engine, EngineWatch, Histogram, StreamStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{OTHERS, STREAMS};

/// The figures of the encoders of one engine's streams, to be registered with a
/// [`Registry`](prometheus_client::registry::Registry) of the program. They are read when they are scraped
/// and are at most a second old; it keeps neither the engine nor a stream alive. The figures of a second engine go into a registry and a
/// page of their own, or into a sub-registry with a prefix.
///
/// | name | type | |
/// |---|---|---|
/// | `encoder_fps` | gauge | pictures encoded per second, over the last second |
/// | `encoder_bitrate` | gauge | bits per second of these pictures, over the last second |
/// | `encoder_queue_size` | gauge | tags of a live source that wait for the encoder |
/// | `encoder_dropped_frames` | gauge, only ever grows | tags of a live source that were left out because the encoder did not keep up |
/// | `flowcast_encoder_drops` | gauge, only ever grows | the same by reason, in the label `reason`, and pictures that the frame rate had no place for ([`DropReason`](flowcast_core::DropReason)) |
/// | `encoder_rtmp_latency` | gauge | by how many seconds the output that is furthest behind lags what was encoded |
/// | `flowcast_encoder_target_bits_per_second` | gauge | what pictures are encoded to: what is asked for, or less because of the network; 0 where only sound is encoded |
/// | `flowcast_encoder_lowered` | gauge, only ever grows | how often that was lowered, by the program or because of the network |
/// | `flowcast_encoder_raised` | gauge, only ever grows | how often it was raised |
/// | `flowcast_encoder_rung` | gauge | how many rungs below the first of the ladder it is on ([`QualityLadder`](flowcast_core::QualityLadder)) |
/// | `flowcast_encode_seconds` | histogram | how long the encoder took for each picture |
/// | `flowcast_encoder_wait_seconds` | histogram | how long pictures of a live source waited for the encoder |
/// | `flowcast_encoded_lag_seconds` | histogram | how far the outputs of the stream were behind, for each tenth of a second and output, on the connections they have now |
///
/// Each has the labels `stream`, the stream's number as [`StreamId`](flowcast_core::StreamId) prints it, and
/// `encoder`, libav's name of the encoder. Only streams that encode while they are on the air are shown: what is
/// played from a reel was encoded before. Where only sound is encoded, its frames (1024 samples of AAC, mostly 960 of
/// Opus) are counted in place of pictures. With more than 100, the latest are summed up as `(others)`, with the
/// largest latency.
/// `encoder_dropped_frames` is a gauge because a counter's name would have to end in `_total`; `rate()` works on it.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; pub mod server { pub use flowcast_server::*; } }
/// use flowcast::{Config, Engine};
/// use flowcast::server::EncoderMetrics;
/// use prometheus_client::{encoding::text::encode, registry::Registry};
///
/// let engine = Engine::new(Config::default())?;
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(EncoderMetrics::new(&engine)));
/// let mut text = String::new();
/// encode(&mut text, &registry)?;
/// assert!(text.contains("# TYPE encoder_fps gauge\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncoderMetrics {
    engine: EngineWatch,
    streams: usize,
}

impl EncoderMetrics {
    /// Those of the streams of `engine`.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.watch(), streams: STREAMS }
    }

    /// The most streams that have figures of their own; with 0, all are `(others)`. Default 100.
    #[must_use]
    pub fn streams(mut self, most: usize) -> Self {
        self.streams = most;
        self
    }
}

impl Collector for EncoderMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shown = shown(self.engine.stats(), self.streams);
        let kind = ConstGauge::new(0f64).metric_type();
        for figure in FIGURES {
            let mut family = encoder.encode_descriptor(figure.name, figure.help, None, kind)?;
            for one in &shown {
                let labels = [("stream", &*one.stream), ("encoder", &*one.encoder)];
                ConstGauge::new((figure.of)(one)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Left out before it was decoded or encoded, by reason";
        let mut family = encoder.encode_descriptor("flowcast_encoder_drops", help, None, kind)?;
        for one in &shown {
            for (reason, count) in DropReason::ALL.iter().zip(one.drops) {
                let labels =
                    [("stream", &*one.stream), ("encoder", &*one.encoder), ("reason", reason.as_str())];
                ConstGauge::new(count as f64).encode(family.encode_family(&labels)?)?;
            }
        }
        for lengths in LENGTHS {
            let mut family = encoder.encode_descriptor(
                lengths.name,
                lengths.help,
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )?;
            for one in &shown {
                let labels = [("stream", &*one.stream), ("encoder", &*one.encoder)];
                write(&(lengths.of)(one), family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Writes lengths of time.
fn write(lengths: &[Histogram], mut to: MetricEncoder<'_>) -> fmt::Result {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for histogram in lengths {
        for (place, (bound, count)) in histogram.buckets().enumerate() {
            match buckets.get_mut(place) {
                Some((_, counted)) => *counted += count,
                None if bound == Duration::MAX => buckets.push((f64::INFINITY, count)),
                None => buckets.push((bound.as_secs_f64(), count)),
            }
        }
    }
    if buckets.is_empty() {
        buckets.push((f64::INFINITY, 0));
    }
    let sum: Duration = lengths.iter().map(Histogram::sum).sum();
    let count = lengths.iter().map(Histogram::count).sum();
    to.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
}

/// Lengths of time of each stream.
struct Lengths {
    name: &'static str,
    help: &'static str,
    of: fn(&Shown) -> Vec<Histogram>,
}

const LENGTHS: [Lengths; 3] = [
    Lengths {
        name: "flowcast_encode",
        help: "Time the encoder took for each picture",
        of: |shown| shown.encode_times.clone(),
    },
    Lengths {
        name: "flowcast_encoder_wait",
        help: "Time pictures of a live source waited for the encoder",
        of: |shown| shown.waits.clone(),
    },
    Lengths {
        name: "flowcast_encoded_lag",
        help: "How far outputs were behind what was encoded",
        of: |shown| shown.lags.clone(),
    },
];

/// One figure of each stream.
struct Figure {
    name: &'static str,
    help: &'static str,
    of: fn(&Shown) -> f64,
}

const FIGURES: [Figure; 9] = [
    Figure { name: "encoder_fps", help: "Pictures encoded per second", of: |shown| shown.fps },
    Figure {
        name: "encoder_bitrate",
        help: "Bits per second of these pictures",
        of: |shown| shown.bit_rate.bps() as f64,
    },
    Figure {
        name: "encoder_queue_size",
        help: "Tags of a live source that wait for the encoder",
        of: |shown| shown.queued as f64,
    },
    Figure {
        name: "encoder_dropped_frames",
        help: "Tags of a live source that the encoder was too slow for",
        of: |shown| shown.dropped as f64,
    },
    Figure {
        name: "encoder_rtmp_latency",
        help: "Seconds by which the output furthest behind lags what was encoded",
        of: |shown| shown.latency,
    },
    Figure {
        name: "flowcast_encoder_target_bits_per_second",
        help: "What pictures are encoded to",
        of: |shown| shown.target.bps() as f64,
    },
    Figure {
        name: "flowcast_encoder_lowered",
        help: "Times the bit rate of pictures was lowered",
        of: |shown| shown.lowered as f64,
    },
    Figure {
        name: "flowcast_encoder_raised",
        help: "Times the bit rate of pictures was raised",
        of: |shown| shown.raised as f64,
    },
    Figure {
        name: "flowcast_encoder_rung",
        help: "Rungs below the first of the ladder",
        of: |shown| shown.rung.into(),
    },
];

/// What one stream is shown with.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    stream: String,
    encoder: String,
    fps: f64,
    bit_rate: BitRate,
    queued: u64,
    dropped: u64,
    /// By reason.
    drops: [u64; DropReason::ALL.len()],
    /// In seconds.
    latency: f64,
    target: BitRate,
    lowered: u64,
    raised: u64,
    rung: u32,
    encode_times: Vec<Histogram>,
    waits: Vec<Histogram>,
    /// One for each output.
    lags: Vec<Histogram>,
}

impl Shown {
    fn of(stats: StreamStats) -> Option<Self> {
        let encoding = stats.encoding?;
        Some(Self {
            stream: stats.id.to_string(),
            encoder: encoding.encoder,
            fps: encoding.fps,
            bit_rate: encoding.bit_rate,
            queued: encoding.queued,
            dropped: encoding.dropped,
            drops: std::array::from_fn(|place| encoding.drops.of(DropReason::ALL[place])),
            latency: stats.lag.as_secs_f64(),
            target: encoding.target,
            lowered: encoding.lowered,
            raised: encoding.raised,
            rung: encoding.rung,
            encode_times: vec![encoding.encode_time],
            waits: vec![encoding.wait],
            lags: stats.outputs.iter().map(|output| output.lags).collect(),
        })
    }

    fn add(mut self, other: &Self) -> Self {
        self.fps += other.fps;
        self.bit_rate = [self.bit_rate, other.bit_rate].into_iter().sum();
        self.queued += other.queued;
        self.dropped += other.dropped;
        self.drops.iter_mut().zip(other.drops).for_each(|(sum, count)| *sum += count);
        self.latency = self.latency.max(other.latency);
        self.target = [self.target, other.target].into_iter().sum();
        self.lowered += other.lowered;
        self.raised += other.raised;
        self.rung = self.rung.max(other.rung);
        self.encode_times.extend_from_slice(&other.encode_times);
        self.waits.extend_from_slice(&other.waits);
        self.lags.extend_from_slice(&other.lags);
        self
    }
}

/// The streams that encode; the latest of them as one if there are too many.
fn shown(stats: Vec<StreamStats>, most: usize) -> Vec<Shown> {
    let mut shown: Vec<_> = stats.into_iter().filter_map(Shown::of).collect();
    let others = shown.split_off(most.min(shown.len()));
    if !others.is_empty() {
        let name = || OTHERS.to_owned();
        let together = Shown { stream: name(), encoder: name(), ..Shown::default() };
        shown.push(others.iter().fold(together, Shown::add));
    }
    shown
}
