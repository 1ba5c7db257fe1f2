//! Figures of an engine and all its streams, for Prometheus.

use std::collections::BTreeMap;
use std::fmt;

use flowcast_core::{Engine, EngineFigures, EngineWatch, ResourceUse, StreamFigures};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::{Kind, Page, Value};
use super::{OTHERS, STREAMS};

/// The figures of one engine and of all its streams together, of owners, and of streams one by one, to be registered with a
/// [`Registry`](prometheus_client::registry::Registry) of the program. They are read when they are scraped and
/// are at most a second old; it keeps neither the engine nor a stream alive. No stream waits for a scrape.
///
/// The figures of a second engine go into a registry and a page of their own, or into a sub-registry with a prefix: series of two engines
/// have the same names and labels, and Prometheus refuses a page that has a series twice. `flowcast_hardware_sessions` is of the
/// process: it is not to be summed over engines.
///
/// Of the engine; what is counted never goes back while the engine is there, also when streams end:
///
/// | name | type | labels | |
/// |---|---|---|---|
/// | `flowcast_active_streams` | gauge | | streams that run, publications included |
/// | `flowcast_stream_limit` | gauge | | how many the program may run at once; publications do not count for it |
/// | `flowcast_places_in_use` | gauge | | how many count for that limit: those that run or are being started |
/// | `flowcast_load_ratio` | gauge | | how full it is, 0 to 1 and above: the share in use of what it has least left of, that limit or a resource |
/// | `flowcast_resource_used` | gauge | `resource` is `cpu`, `memory`, `uplink` | what [admission](flowcast_core::MeasuredAdmission) counts as in use: cores, bytes, bits per second; this and the next only while it is on |
/// | `flowcast_resource_budget` | gauge | `resource` | what may be used, in the same unit |
/// | `flowcast_starts_total` | counter | `outcome` is `started`, `failed` | starts |
/// | `flowcast_ends_total` | counter | `outcome` is `clean`, `failed`, `forced` | ends: stopped or complete; with an error; abandoned because the thread did not stop in time |
/// | `flowcast_abandoned_threads` | gauge | | threads of abandoned streams that have not ended since |
/// | `flowcast_cleanup_failures_total` | counter | | times something that was made for a stream was left behind |
/// | `flowcast_events_total` | counter | `event` is one of [`EventKind::name`](flowcast_core::EventKind::name) | events |
/// | `flowcast_errors_total` | counter | `code` is one of [`Error::code`](flowcast_core::Error::code) | errors that events reported, and those of starts |
/// | `flowcast_cpu_seconds_total` | counter | `threads` is `own`, `codec` | CPU time of streams: of their own threads, and of threads libav started for them while the [monitor](Engine::monitor) is on |
/// | `flowcast_held_bytes` | gauge | `part` is `read_ahead`, `encoder`, `ring`, `outputs`, `kernel` | media held, as in [`HeldBytes`](flowcast_core::HeldBytes) |
/// | `flowcast_sent_bytes_total` | counter | | bytes sent and written |
/// | `flowcast_reconnects_total` | counter | | times an output was connected again |
/// | `flowcast_dropped_tags_total` | counter | `reason` is `output_behind`, `encoder_behind`, `header_missing` | tags left out; those that missed their sequence header are counted once that came, and for the first eight times of a track: who never sends it is among `flowcast_events_total{event="header_missing"}` only |
/// | `flowcast_output_lag_seconds` | gauge | | lag of the output that is furthest behind |
/// | `flowcast_schedule_lag_seconds` | gauge | | how late a stream's thread was, at worst over the last second |
/// | `flowcast_encoded_frames_total` | counter | | pictures encoded on the air, or frames of sound where only that is encoded |
/// | `flowcast_encoded_pixels_total` | counter | | their pixels |
/// | `flowcast_encoding_streams` | gauge | `encoder`, libav's name | streams that encode now |
/// | `flowcast_hardware_sessions` | gauge | `encoder`, libav's name | encoders that devices run for the process |
/// | `flowcast_fallback_seconds_total` | counter | | for how long fallbacks were on the air |
/// | `flowcast_fallbacks_on_air` | gauge | | fallbacks that are on the air |
/// | `flowcast_reels` | gauge | | complete reels in the store; this and the next three only with a store |
/// | `flowcast_reel_bytes` | gauge | | bytes the store takes |
/// | `flowcast_reels_open` | gauge | | reels that streams play, or that grow |
/// | `flowcast_reel_jobs` | gauge | | files that are being cut or wait for that |
///
/// Of each owner that has streams, with the label `owner`. Those with the most streams are shown; all others together are `(others)`.
/// Streams that are nobody's are in neither:
///
/// | name | type | |
/// |---|---|---|
/// | `flowcast_owner_active_streams` | gauge | streams that run |
/// | `flowcast_owner_held_bytes` | gauge | media they hold |
///
/// Of each stream, with the labels `stream`, its number, `label`, the one the program gave it, and `owner` (empty where there is none).
/// With too many, the latest are not shown:
///
/// | name | type | |
/// |---|---|---|
/// | `flowcast_stream_cpu_seconds_total` | counter | CPU time of all its threads |
/// | `flowcast_stream_held_bytes` | gauge | media it holds |
/// | `flowcast_stream_sent_bytes_total` | counter | bytes sent and written |
/// | `flowcast_stream_reconnects_total` | counter | times an output was connected again |
/// | `flowcast_stream_dropped_tags_total` | counter | tags left out because an output or an encoder was behind |
/// | `flowcast_stream_schedule_lag_seconds` | gauge | how late its thread was, at worst over the last second |
/// | `flowcast_stream_fallback_seconds_total` | counter | for how long its fallbacks were on the air |
///
/// So with labels of streams and owners off (`streams(0)`, `owners(0)`), a thousand streams make as many series as one. No label has a
/// stream key or an address in it.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod server { pub use flowcast_server::*; } }
/// use flowcast::{Config, Engine};
/// use flowcast::server::EngineMetrics;
/// use prometheus_client::{encoding::text::encode, registry::Registry};
///
/// let engine = Engine::new(Config::default())?;
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(EngineMetrics::new(&engine).streams(0)));
/// let mut text = String::new();
/// encode(&mut text, &registry)?;
/// assert!(text.contains("flowcast_starts_total{outcome=\"failed\"} 0\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct EngineMetrics {
    engine: EngineWatch,
    shown: Shown,
}

/// What has labels of its own.
#[derive(Debug, Clone, Copy)]
struct Shown {
    streams: usize,
    owners: usize,
}

impl EngineMetrics {
    /// Those of `engine`.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        Self { engine: engine.watch(), shown: Shown { streams: STREAMS, owners: STREAMS } }
    }

    /// The most streams that have figures of their own, the oldest first; with 0, none has. Default 100.
    #[must_use]
    pub fn streams(mut self, most: usize) -> Self {
        self.shown.streams = most;
        self
    }

    /// The most owners that have figures of their own, those with the most streams first. With 0, none has, and streams are shown
    /// without their owner. Default 100.
    #[must_use]
    pub fn owners(mut self, most: usize) -> Self {
        self.shown.owners = most;
        self
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // All of it is taken before anything is written: nothing waits for who reads slowly.
        match self.engine.figures() {
            Some(figures) => self.shown.write(&figures, &mut Page(encoder)),
            None => Ok(()),
        }
    }
}

impl Shown {
    fn write(self, figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
        what_happened(figures, page)?;
        what_is_used(figures, page)?;
        what_is_lost(figures, page)?;
        encoders(figures, page)?;
        fallbacks_and_reels(figures, page)?;
        if self.owners > 0 {
            self.of_owners(figures, page)?;
        }
        if self.streams > 0 {
            self.of_streams(figures, page)?;
        }
        Ok(())
    }

    fn of_owners(self, figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
        let owners = owners(&figures.streams, self.owners);
        let of = |figure: fn(&Owner) -> u64| {
            let series = owners.iter().map(move |(name, owner)| ([("owner", *name)], figure(owner).into()));
            series.collect::<Vec<_>>()
        };
        let (name, help) = ("flowcast_owner_active_streams", "Streams of the owner that run");
        page.family(Kind::Gauge, name, help, None, of(|owner| owner.streams))?;
        let (name, help) = ("flowcast_owner_held", "Media that streams of the owner hold");
        page.family(Kind::Gauge, name, help, Some(&Unit::Bytes), of(|owner| owner.held))
    }

    fn of_streams(self, figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
        let labels = |stream: &StreamFigures| {
            let label = stream.label.as_deref().unwrap_or_default().to_owned();
            let mut labels = vec![("stream", stream.id.to_string()), ("label", label)];
            if self.owners > 0 {
                labels.push(("owner", stream.owner.clone().unwrap_or_default()));
            }
            labels
        };
        let streams: Vec<_> =
            figures.streams.iter().take(self.streams).map(|stream| (labels(stream), stream)).collect();
        for figure in &OF_STREAMS {
            let series = streams.iter().map(|(labels, stream)| (labels.as_slice(), (figure.of)(stream)));
            page.family(figure.kind, figure.name, figure.help, figure.unit.as_ref(), series)?;
        }
        Ok(())
    }
}

/// What an owner has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Owner {
    streams: u64,
    held: u64,
}

/// The owners with the most streams, and all others as one.
fn owners(streams: &[StreamFigures], most: usize) -> Vec<(&str, Owner)> {
    let mut owners: BTreeMap<&str, Owner> = BTreeMap::new();
    let mut add = |name, more: Owner| {
        let owner = owners.entry(name).or_default();
        owner.streams += more.streams;
        owner.held += more.held;
    };
    for stream in streams {
        if let Some(owner) = &stream.owner {
            add(owner, Owner { streams: 1, held: stream.held.total() });
        }
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by(|(one, of_one), (two, of_two)| {
        of_two.streams.cmp(&of_one.streams).then_with(|| one.cmp(two))
    });
    // Somebody may be called like the others: a series must not be there twice.
    let (mut rest, mut number) = (Vec::new(), 0);
    owners.retain(|(name, owner)| {
        let is_shown = *name != OTHERS && number < most;
        match is_shown {
            true => number += 1,
            false => rest.push(*owner),
        }
        is_shown
    });
    if !rest.is_empty() {
        let sum = |of: fn(&Owner) -> u64| rest.iter().map(of).sum();
        owners.push((OTHERS, Owner { streams: sum(|owner| owner.streams), held: sum(|owner| owner.held) }));
    }
    owners
}

fn what_happened(figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
    let counts = &figures.counts;
    page.one(Kind::Gauge, "flowcast_active_streams", "Streams that run", None, figures.streams.len() as u64)?;
    let limit = figures.limits.total as u64;
    page.one(Kind::Gauge, "flowcast_stream_limit", "Streams the program may run at once", None, limit)?;
    let (name, help) = ("flowcast_places_in_use", "Streams that count for the limit");
    page.one(Kind::Gauge, name, help, None, figures.places_in_use as u64)?;
    let (name, help) = ("flowcast_load_ratio", "Share in use of what the engine has least left of");
    page.one(Kind::Gauge, name, help, None, figures.load())?;
    let of = |figure: fn(&ResourceUse) -> f64| {
        let series = figures.resources.iter();
        series
            .map(|of| ([("resource", of.resource.as_str().to_lowercase())], figure(of).into()))
            .collect::<Vec<_>>()
    };
    let (name, help) =
        ("flowcast_resource_used", "What admission counts as in use: cores, bytes, bits per second");
    page.family(Kind::Gauge, name, help, None, of(|of| of.used))?;
    let (name, help) = ("flowcast_resource_budget", "What may be used: cores, bytes, bits per second");
    page.family(Kind::Gauge, name, help, None, of(|of| of.budget))?;
    let starts = [("started", counts.started), ("failed", counts.not_started)];
    page.split("flowcast_starts", "Starts of streams", "outcome", starts)?;
    let failed = counts.failed.saturating_sub(counts.abandoned);
    let ends = [("clean", counts.ended), ("failed", failed), ("forced", counts.abandoned)];
    page.split("flowcast_ends", "Ends of streams", "outcome", ends)?;
    let (name, help) = ("flowcast_abandoned_threads", "Threads of abandoned streams that have not ended");
    page.one(Kind::Gauge, name, help, None, figures.abandoned_now as u64)?;
    let event = |name| counts.events.get(name).copied().unwrap_or(0);
    let (name, help) = ("flowcast_cleanup_failures", "Times something made for a stream was left behind");
    page.one(Kind::Counter, name, help, None, event("cleanup_failed"))?;
    let each = |counts: &BTreeMap<&'static str, u64>| {
        counts.iter().map(|(name, count)| (*name, *count)).collect::<Vec<_>>()
    };
    page.split("flowcast_events", "Events of streams", "event", each(&counts.events))?;
    page.split("flowcast_errors", "Errors of streams and of starts", "code", each(&counts.errors))
}

fn what_is_used(figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
    let totals = &figures.totals;
    let cpu = [("own", totals.cpu_time), ("codec", totals.codec_cpu_time)];
    let cpu = cpu.map(|(threads, time)| ([("threads", threads)], time.into()));
    page.family(Kind::Counter, "flowcast_cpu", "CPU time of streams", Some(&Unit::Seconds), cpu)?;
    let mut held = flowcast_core::HeldBytes::default();
    figures.streams.iter().for_each(|stream| held += stream.held);
    let parts = [
        ("read_ahead", held.read_ahead),
        ("encoder", held.encoder),
        ("ring", held.ring),
        ("outputs", held.outputs),
        ("kernel", held.kernel),
    ];
    let parts = parts.map(|(part, bytes)| ([("part", part)], bytes.into()));
    page.family(Kind::Gauge, "flowcast_held", "Media held by streams", Some(&Unit::Bytes), parts)?;
    let (name, help) = ("flowcast_sent", "What streams sent and wrote");
    page.one(Kind::Counter, name, help, Some(&Unit::Bytes), totals.bytes_sent)
}

fn what_is_lost(figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
    let (counts, totals, streams) = (&figures.counts, &figures.totals, &figures.streams);
    let (name, help) = ("flowcast_reconnects", "Times an output was connected again");
    page.one(Kind::Counter, name, help, None, totals.reconnects)?;
    let dropped = [
        ("output_behind", totals.drops),
        ("encoder_behind", totals.encoder_drops),
        ("header_missing", counts.headerless),
    ];
    page.split("flowcast_dropped_tags", "Tags left out", "reason", dropped)?;
    let most =
        |of: fn(&StreamFigures) -> std::time::Duration| streams.iter().map(of).max().unwrap_or_default();
    let (name, help) = ("flowcast_output_lag", "Lag of the output that is furthest behind");
    page.one(Kind::Gauge, name, help, Some(&Unit::Seconds), most(|stream| stream.lag))?;
    let (name, help) = ("flowcast_schedule_lag", "How late the thread of a stream was at worst");
    page.one(Kind::Gauge, name, help, Some(&Unit::Seconds), most(|stream| stream.schedule_lag))
}

fn encoders(figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
    let totals = &figures.totals;
    let (name, help) = ("flowcast_encoded_frames", "Pictures encoded on the air");
    page.one(Kind::Counter, name, help, None, totals.frames_encoded)?;
    let (name, help) = ("flowcast_encoded_pixels", "Pixels of the pictures encoded on the air");
    page.one(Kind::Counter, name, help, None, totals.pixels_encoded)?;
    let mut at_work: BTreeMap<&str, u64> = BTreeMap::new();
    for encoder in figures.streams.iter().filter_map(|stream| stream.encoder.as_deref()) {
        *at_work.entry(encoder).or_default() += 1;
    }
    let at_work = at_work.into_iter().map(|(encoder, count)| ([("encoder", encoder)], count.into()));
    page.family(Kind::Gauge, "flowcast_encoding_streams", "Streams that encode", None, at_work)?;
    let sessions = figures.hardware.iter();
    let sessions = sessions.map(|(encoder, open)| ([("encoder", encoder.as_str())], u64::from(*open).into()));
    let (name, help) = ("flowcast_hardware_sessions", "Encoders that devices run for the process");
    page.family(Kind::Gauge, name, help, None, sessions)
}

fn fallbacks_and_reels(figures: &EngineFigures, page: &mut Page<'_>) -> fmt::Result {
    let (name, help) = ("flowcast_fallback", "For how long fallbacks were on the air");
    page.one(Kind::Counter, name, help, Some(&Unit::Seconds), figures.totals.fallback_time)?;
    let on_air = |stream: &&StreamFigures| stream.fallback.is_some_and(|fallback| fallback.on_air);
    let on_air = figures.streams.iter().filter(on_air).count() as u64;
    page.one(Kind::Gauge, "flowcast_fallbacks_on_air", "Fallbacks that are on the air", None, on_air)?;
    let Some(reels) = &figures.reels else { return Ok(()) };
    page.one(Kind::Gauge, "flowcast_reels", "Complete reels in the store", None, reels.reels as u64)?;
    page.one(Kind::Gauge, "flowcast_reel", "What the store of reels takes", Some(&Unit::Bytes), reels.bytes)?;
    let (name, help) = ("flowcast_reels_open", "Reels that are played or grow");
    page.one(Kind::Gauge, name, help, None, reels.in_use as u64)?;
    let (name, help) = ("flowcast_reel_jobs", "Files that are being cut into reels or wait for that");
    page.one(Kind::Gauge, name, help, None, reels.cutting as u64)
}

/// One figure of each stream.
struct Figure {
    kind: Kind,
    /// Without what its unit and its kind append.
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    of: fn(&StreamFigures) -> Value,
}

static OF_STREAMS: [Figure; 7] = [
    Figure {
        kind: Kind::Counter,
        name: "flowcast_stream_cpu",
        help: "CPU time of all threads of the stream",
        unit: Some(Unit::Seconds),
        of: |stream| (stream.totals.cpu_time + stream.totals.codec_cpu_time).into(),
    },
    Figure {
        kind: Kind::Gauge,
        name: "flowcast_stream_held",
        help: "Media the stream holds",
        unit: Some(Unit::Bytes),
        of: |stream| stream.held.total().into(),
    },
    Figure {
        kind: Kind::Counter,
        name: "flowcast_stream_sent",
        help: "What the stream sent and wrote",
        unit: Some(Unit::Bytes),
        of: |stream| stream.totals.bytes_sent.into(),
    },
    Figure {
        kind: Kind::Counter,
        name: "flowcast_stream_reconnects",
        help: "Times an output of the stream was connected again",
        unit: None,
        of: |stream| stream.totals.reconnects.into(),
    },
    Figure {
        kind: Kind::Counter,
        name: "flowcast_stream_dropped_tags",
        help: "Tags left out because an output or an encoder was behind",
        unit: None,
        of: |stream| (stream.totals.drops + stream.totals.encoder_drops).into(),
    },
    Figure {
        kind: Kind::Gauge,
        name: "flowcast_stream_schedule_lag",
        help: "How late the thread of the stream was at worst",
        unit: Some(Unit::Seconds),
        of: |stream| stream.schedule_lag.into(),
    },
    Figure {
        kind: Kind::Counter,
        name: "flowcast_stream_fallback",
        help: "For how long fallbacks of the stream were on the air",
        unit: Some(Unit::Seconds),
        of: |stream| stream.totals.fallback_time.into(),
    },
];

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
