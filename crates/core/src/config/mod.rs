//! The settings of an engine, with their defaults and environment names.

mod dials;
mod health;
mod monitor;
mod reels;
mod usage;

use std::time::Duration;

use crate::adapt::QualityLadder;
use crate::admission::MeasuredAdmission;
use crate::error::Error;
use crate::limiter::Limits;

pub use dials::DialLimits;
pub use health::{HealthConfig, Limit};
pub(crate) use monitor::MEGABYTE;
pub use monitor::MonitorConfig;
pub use reels::{ReelStore, ReelStoreStats, WhenInUse};
pub use usage::UsageConfig;

/// The chunk size tags are prepared for; every session announces it.
pub const CHUNK_SIZE: u32 = 60_000;

/// The longest that any single step may take.
const MAX_STEP: Duration = Duration::from_secs(3600);

/// Settings of an [`Engine`](crate::Engine). Every field states its unit, its default and, where there is one, the
/// environment variable [`Config::from_env`] reads it from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Streams one owner may run at once, including those published with the owner's keys. At least 1. Default 5;
    /// `MAX_CONCURRENT_STREAMS_PER_USER`. [`Engine::set_limits`](crate::Engine::set_limits) changes it on the running engine.
    pub max_streams_per_owner: usize,
    /// Streams the engine may run at once. At least 1. Default 20; `MAX_CONCURRENT_STREAMS_GLOBAL`. Changed like
    /// [`max_streams_per_owner`](Self::max_streams_per_owner).
    pub max_streams: usize,
    /// How long a stream that was asked to stop may take before its thread is abandoned. Default 5 s;
    /// `FORCE_KILL_TIMEOUT_MS`.
    pub force_stop_after: Duration,
    /// Threads that were abandoned and have not ended since, at most; from then on, starts are refused with
    /// [`Error::TooManyAbandoned`]. Each keeps its memory and its descriptors. At least 1. Default 10.
    pub max_abandoned: usize,
    /// How often a stream hands media to its outputs. Default 100 ms, 20 to 1000 ms. A shorter tick costs more CPU
    /// per stream and lowers only the latency.
    pub tick: Duration,
    /// Players of a stream that one thread serves. Further players are spread over more threads, at most one per
    /// processor, which take the stream's tags from it. A thread that uses 70 % of a core gets no more of them
    /// either. Default 400, at least 1.
    pub players_per_thread: usize,
    /// Deadlines of outgoing connections.
    pub connect: ConnectConfig,
    /// When and how often a lost output is dialled again.
    pub reconnect: ReconnectPolicy,
    /// How many outputs are dialled at once.
    pub dials: DialLimits,
    /// What happens to an output that falls behind.
    pub lag: LagPolicy,
    /// Bounds of what a stream keeps for its outputs.
    pub backlog: BacklogConfig,
    /// How recordings are written.
    pub recording: RecordingConfig,
    /// Bounds of what a source reads ahead, and of the queue between a published stream and one that is made from it.
    pub read_ahead: QueueBounds,
    /// Whether sources that encode take hardware where it works ([`EncoderChoice::Auto`](crate::EncoderChoice::Auto)). Default
    /// `true`; `PREFER_HARDWARE_ENCODING`.
    pub prefer_hardware_encoding: bool,
    /// Whether software takes over if another encoder does not open or fails. Default `true`;
    /// `HARDWARE_ENCODER_FALLBACK`.
    pub hardware_encoder_fallback: bool,
    /// Threads that make thumbnails, for all streams together: as many pictures are decoded at once. They let other threads go first, and end
    /// when they are not needed for ten seconds. At least 1. Default 1.
    pub thumbnail_threads: usize,
    /// Where reels are kept. Default `None`: files are read through libav as they are played, which costs a thread and more CPU
    /// per stream.
    pub reels: Option<ReelStore>,
    /// What the machine has to have left for a stream to be started. Default `None`: only the numbers above count.
    /// [`Engine::set_admission`](crate::Engine::set_admission) changes it on the running engine.
    pub admission: Option<MeasuredAdmission>,
    /// By what streams that are encoded on the air are lowered when the machine does not keep up. Default `None`: they are not, and what is not encoded
    /// in time is left out ([`EncodingStats::drops`](crate::EncodingStats::drops)). [`Encoding::under_load`](crate::Encoding::under_load) has the settings of each stream.
    pub ladder: Option<QualityLadder>,
    /// How the resource monitor works; [`Monitor::start`](crate::monitor::Monitor::start) switches it on.
    pub monitor: MonitorConfig,
    /// By what the health of streams and of the engine is judged.
    pub health: HealthConfig,
    /// How usage records are cut; nothing is cut until somebody [wants](crate::Engine::usage) them.
    pub usage: UsageConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_streams_per_owner: 5,
            max_streams: 20,
            force_stop_after: Duration::from_secs(5),
            max_abandoned: 10,
            tick: Duration::from_millis(100),
            players_per_thread: 400,
            connect: ConnectConfig::default(),
            reconnect: ReconnectPolicy::default(),
            dials: DialLimits::default(),
            lag: LagPolicy::default(),
            backlog: BacklogConfig::default(),
            recording: RecordingConfig::default(),
            read_ahead: QueueBounds { items: 1024, bytes: 2 << 20, media: Duration::from_secs(5) },
            prefer_hardware_encoding: true,
            hardware_encoder_fallback: true,
            thumbnail_threads: 1,
            reels: None,
            admission: None,
            ladder: None,
            monitor: MonitorConfig::default(),
            health: HealthConfig::default(),
            usage: UsageConfig::default(),
        }
    }
}

impl Config {
    /// The defaults, changed by the environment variables named at the fields.
    ///
    /// # Errors
    ///
    /// A variable that is set but is not a positive number; for the two about hardware, one that is not `true`, `false`, `1` or
    /// `0`.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let number = |name: &'static str, default: u64| match lookup(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse::<u64>() {
                Ok(value) if value > 0 => Ok(value),
                _ => Err(Error::Config { name, reason: format!("{text:?} is not a positive number") }),
            },
        };
        let mut config = Self::default();
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        config.max_streams_per_owner =
            count(number("MAX_CONCURRENT_STREAMS_PER_USER", config.max_streams_per_owner as u64)?);
        config.max_streams = count(number("MAX_CONCURRENT_STREAMS_GLOBAL", config.max_streams as u64)?);
        config.force_stop_after = Duration::from_millis(number("FORCE_KILL_TIMEOUT_MS", 5000)?);
        let monitor = &mut config.monitor;
        monitor.interval = Duration::from_millis(number("RESOURCE_MONITOR_INTERVAL_MS", 30_000)?);
        monitor.cpu_percent = number("RESOURCE_WARNING_CPU_PERCENT", 80)? as f64;
        monitor.memory = number("RESOURCE_WARNING_MEMORY_MB", 500)?.saturating_mul(MEGABYTE);
        let flag = |name: &'static str| match lookup(name).as_deref().map(str::trim) {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(text) => Err(Error::Config { name, reason: format!("{text:?} is neither true nor false") }),
        };
        config.prefer_hardware_encoding = flag("PREFER_HARDWARE_ENCODING")?;
        config.hardware_encoder_fallback = flag("HARDWARE_ENCODER_FALLBACK")?;
        Ok(config)
    }

    /// How many streams may run at once.
    pub(crate) fn limits(&self) -> Limits {
        Limits { per_owner: self.max_streams_per_owner, total: self.max_streams }
    }

    /// Refuses settings that cannot work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        self.limits().check()?;
        if !(Duration::from_millis(20)..=Duration::from_secs(1)).contains(&self.tick) {
            return fail("tick", "must be 20 ms to 1 s");
        }
        if self.max_abandoned == 0 {
            return fail("max_abandoned", "must be at least 1");
        }
        if self.players_per_thread == 0 {
            return fail("players_per_thread", "must be at least 1");
        }
        if self.thumbnail_threads == 0 {
            return fail("thumbnail_threads", "must be at least 1");
        }
        let connect = &self.connect;
        let steps =
            [connect.dns, connect.tcp, connect.tls, connect.handshake, connect.reply, self.force_stop_after];
        if steps.iter().any(|step| step.is_zero() || *step > MAX_STEP) {
            return fail("connect, force_stop_after", "each must be more than zero and at most an hour");
        }
        self.reconnect.check()?;
        self.dials.check()?;
        if self.lag.drop_after.is_zero() || self.lag.stall_after.is_zero() {
            return fail("lag", "drop_after and stall_after must be more than zero");
        }
        if self.lag.drop_after >= self.lag.disconnect_after {
            return fail("lag", "drop_after must be shorter than disconnect_after");
        }
        let skip_after = self.lag.skip_after;
        if skip_after < Duration::from_secs(1) || skip_after >= self.backlog.media {
            return fail("lag.skip_after", "must be at least 1 s and shorter than backlog.media");
        }
        let (backlog, ahead) = (&self.backlog, &self.read_ahead);
        if backlog.tags == 0 || backlog.bytes == 0 {
            return fail("backlog", "tags and bytes must be at least 1");
        }
        if backlog.keep > MAX_STEP {
            return fail("backlog.keep", "must be at most an hour");
        }
        if ahead.items == 0 || ahead.bytes == 0 || ahead.media.is_zero() {
            return fail("read_ahead", "items, bytes and media must be more than zero");
        }
        if self.recording.write_within > Duration::from_secs(10) {
            return fail("recording.write_within", "must be at most 10 s");
        }
        self.monitor.check()?;
        self.usage.check()?;
        self.ladder.as_ref().map_or(Ok(()), QualityLadder::check)?;
        self.admission.as_ref().map_or(Ok(()), MeasuredAdmission::check)?;
        self.reels.as_ref().map_or(Ok(()), ReelStore::check)
    }
}

/// Deadlines of an outgoing connection; each step has its own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// Host name look-up. Default 5 s.
    pub dns: Duration,
    /// TCP connect, over all addresses of the host. Default 10 s.
    pub tcp: Duration,
    /// TLS handshake. Default 5 s.
    pub tls: Duration,
    /// RTMP handshake. Default 5 s.
    pub handshake: Duration,
    /// Each answer to connect, createStream and publish. Default 10 s.
    pub reply: Duration,
}

impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(5),
            tcp: Duration::from_secs(10),
            tls: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            reply: Duration::from_secs(10),
        }
    }
}

/// When a lost output is dialled again: `first × factor^n`, capped, then jittered by ±half, so that a hundred outputs
/// lost at once do not come back at once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ReconnectPolicy {
    /// The first wait; more than zero. Default 2 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub first: Duration,
    /// The factor by which the wait grows; at least 1. Default 1.5.
    pub factor: f64,
    /// The longest wait, before jitter; from [`first`](Self::first) to an hour. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub cap: Duration,
    /// Tries in a row before the output ends with [`Error::GaveUp`]; at least 1, `None` tries for ever. Default `None`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub tries: Option<u32>,
    /// How many of those tries in a row may end because the server refuses what it took before: the address, the key
    /// or the certificate of an output that has been on the air. Servers do so while they restart. A name that is
    /// still in use, or a server that is busy, does not count as a refusal. `Some(0)` ends the output with the first
    /// such refusal; `None` sets no bound besides [`tries`](Self::tries). May not exceed `tries`. Default `None`.
    ///
    /// A refusal of an output that has never been on the air ends it at once, whatever this says.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub refusals: Option<u32>,
    /// An output that stayed up this long starts again with the first wait. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub stable_after: Duration,
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            factor: 1.5,
            cap: Duration::from_secs(30),
            tries: None,
            refusals: None,
            stable_after: Duration::from_secs(30),
        }
    }
}

impl ReconnectPolicy {
    /// All that cannot work, by the name of the field.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if self.first.is_zero() || self.first > self.cap {
            fail("reconnect.first", "must be more than zero and at most reconnect.cap");
        }
        if self.cap > MAX_STEP {
            fail("reconnect.cap", "must be at most an hour");
        }
        if !self.factor.is_finite() || self.factor < 1.0 {
            fail("reconnect.factor", "must be a number of at least 1");
        }
        if self.tries == Some(0) {
            fail("reconnect.tries", "must be at least 1; None tries for ever");
        }
        if self.tries.zip(self.refusals).is_some_and(|(tries, refusals)| refusals > tries) {
            fail("reconnect.refusals", "must be at most reconnect.tries");
        }
        found
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: the first of the [problems](Self::problems).
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// The wait before try number `attempt` (0 is the first retry); `random` is uniform in 0..1.
    pub(crate) fn wait(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt.min(64)).unwrap_or(64);
        let grown = self.first.as_secs_f64() * self.factor.powi(exponent);
        let capped = grown.min(self.cap.as_secs_f64());
        Duration::from_secs_f64(capped * (0.5 + random))
    }
}

/// What happens to an output whose network takes data too slowly. Lag is media time that was due and is not yet
/// acknowledged by the peer's kernel; data that waits in our kernel counts.
///
/// An output of a stream whose source can make its tags again (a reel) is neither dropped from nor disconnected: it
/// catches up from the reel, or skips.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LagPolicy {
    /// Beyond this, video is dropped up to the next keyframe; audio goes on. More than zero, less than
    /// [`disconnect_after`](Self::disconnect_after). Default 2 s.
    pub drop_after: Duration,
    /// Beyond this, the output is disconnected (a push dials again). Default 5 s.
    pub disconnect_after: Duration,
    /// Beyond this, an output of a stream that is played from a reel skips to a keyframe, audio included, instead of
    /// the above. Less than [`BacklogConfig::media`], at least 1 s. Default 5 s.
    pub skip_after: Duration,
    /// If data waits and none is acknowledged for this long, the output is disconnected. More than zero. Default 30
    /// s.
    pub stall_after: Duration,
}

impl Default for LagPolicy {
    fn default() -> Self {
        Self {
            drop_after: Duration::from_secs(2),
            disconnect_after: Duration::from_secs(5),
            skip_after: Duration::from_secs(5),
            stall_after: Duration::from_secs(30),
        }
    }
}

/// Bounds of what a stream keeps for outputs that are behind or about to join; all outputs share it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BacklogConfig {
    /// The most tags kept; at least 1. Default 2500.
    pub tags: usize,
    /// The most bytes kept; at least 1. Default 16 MiB.
    pub bytes: usize,
    /// The most media time kept. Default 10 s.
    pub media: Duration,
    /// How much media is kept for [clips](crate::StreamRef::clip), whether an output needs it or not; at most an hour. A stream that is played from
    /// a reel needs about 3 kB a second for it, any other one the media itself: 30 s of 4 Mbit/s are 15 MB for each stream. Default 0: clips have what
    /// happens to be there.
    pub keep: Duration,
    /// The most bytes kept for clips, besides [`bytes`](Self::bytes); where that is not enough, clips are shorter. Default 64 MiB for each stream.
    pub keep_bytes: usize,
    /// If sound has come for this much media time and no picture, a player, push or recording that begins then begins
    /// with sound; the picture follows at its next keyframe. The same holds for outputs that wait for a picture that
    /// was announced and never came. A keyframe that is still kept is used all the same. Default 2 s.
    pub sound_alone_after: Duration,
}

impl Default for BacklogConfig {
    fn default() -> Self {
        Self {
            tags: 2500,
            bytes: 16 << 20,
            media: Duration::from_secs(10),
            keep: Duration::ZERO,
            keep_bytes: 64 << 20,
            sound_alone_after: Duration::from_secs(2),
        }
    }
}

/// How recordings are written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordingConfig {
    /// How long media may wait before it is handed to the kernel. A process that is killed loses this much of a
    /// recording, plus a [`tick`](Config::tick). Default 500 ms, at most 10 s. Each recording makes one write in this
    /// time, or one per 256 KiB. What the kernel has survives the process, but not a power failure.
    pub write_within: Duration,
    /// Bytes of a disk that all recordings on it leave free. Where there are fewer, reels make room; if that is not enough, recordings end in an
    /// orderly way: their files are completed, and the error is that of a full disk. Looked at with each write. Default 0: they go on until the
    /// disk is full.
    pub keep_free: u64,
    /// Bytes that all recordings of the engine may take together: files that are being written, those that were completed since the engine began, and, of
    /// recordings that are cut, those of earlier runs. Where there are more, the oldest complete parts of recordings that are
    /// [cut](crate::Output::segments) are removed, whichever stream they are of; recordings in one file are never removed. If that is not enough, the
    /// recording that writes ends in an orderly way, as with [`keep_free`](Self::keep_free). Looked at with each write, so that it is exceeded by one
    /// write of each recording at most. Default 0: any number.
    pub budget: u64,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self { write_within: Duration::from_millis(500), keep_free: 0, budget: 0 }
    }
}

/// Bounds of a queue between two threads, each more than zero. An empty queue always admits one item.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct QueueBounds {
    /// The most items.
    pub items: usize,
    /// The most bytes.
    pub bytes: usize,
    /// The most media time between the first and the last item.
    pub media: Duration,
}

impl QueueBounds {
    /// The most items, bytes, and media time.
    #[must_use]
    pub const fn new(items: usize, bytes: usize, media: Duration) -> Self {
        Self { items, bytes, media }
    }
}
crate::settings::settings!(
    Config,
    ConnectConfig,
    ReconnectPolicy,
    LagPolicy,
    BacklogConfig,
    RecordingConfig,
    QueueBounds,
    MonitorConfig,
    HealthConfig,
    UsageConfig
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_changes_the_defaults_and_nonsense_is_named() {
        let config =
            Config::from_lookup(|name| (name == "MAX_CONCURRENT_STREAMS_GLOBAL").then(|| "50".into()));
        let config = config.expect("50 is a number");
        assert_eq!((config.max_streams, config.max_streams_per_owner), (50, 5));
        let refused = Config::from_lookup(|name| (name == "FORCE_KILL_TIMEOUT_MS").then(|| "soon".into()));
        assert!(refused.expect_err("not a number").to_string().contains("FORCE_KILL_TIMEOUT_MS"));
        let monitor = |name: &str| match name {
            "RESOURCE_MONITOR_INTERVAL_MS" => Some("1500".into()),
            "RESOURCE_WARNING_CPU_PERCENT" => Some("150".into()),
            "RESOURCE_WARNING_MEMORY_MB" => Some("64".into()),
            _ => None,
        };
        let config = Config::from_lookup(monitor).expect("all are numbers").monitor;
        assert_eq!((config.interval, config.cpu_percent), (Duration::from_millis(1500), 150.0));
        assert_eq!((config.memory, config.calm_at), (64_000_000, 0.9));
        let config = Config::from_lookup(|name| (name == "PREFER_HARDWARE_ENCODING").then(|| "false".into()));
        let config = config.expect("it is one of two words");
        assert!(!config.prefer_hardware_encoding && config.hardware_encoder_fallback);
        let refused =
            Config::from_lookup(|name| (name == "HARDWARE_ENCODER_FALLBACK").then(|| "maybe".into()));
        assert!(refused.expect_err("no word").to_string().contains("HARDWARE_ENCODER_FALLBACK"));
    }

    #[test]
    fn the_wait_grows_to_its_cap_and_jitter_comes_after_the_cap() {
        let policy = ReconnectPolicy::default();
        let middle: Vec<_> = (0..12).map(|n| policy.wait(n, 0.5).as_millis()).collect();
        assert_eq!(&middle[..4], &[2000, 3000, 4500, 6750]);
        assert_eq!(middle[11], 30_000);
        assert_eq!(policy.wait(1000, 0.0), Duration::from_secs(15));
        assert!(policy.wait(1000, 0.999) > Duration::from_secs(44));
    }
}
