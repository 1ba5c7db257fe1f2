//! What is shown of streams: the forms of answers.
//!
//! In: figures of the engine. Out: data of the document's schemas. Lengths of time are seconds, rates bits per second, points in time RFC 3339 in
//! UTC, numbers of streams, outputs and items as they print. No key is in any of it.

use flowcast_core::health::{Health, HealthReason};
use flowcast_core::{
    OutputPhase, OutputStats, Playing, StreamError, StreamFigures, StreamRef, StreamStats, seconds, utc,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What is on the air now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct NowPlaying {
    /// The item of the playlist; `null` for a single file.
    item: Option<String>,
    /// Its title: the name of the file, without directory and extension.
    pub(crate) title: String,
    /// The file.
    path: String,
    /// How far into it.
    pub(crate) position_seconds: f64,
    /// How long it is; `null` if that is not known.
    pub(crate) length_seconds: Option<f64>,
}

impl NowPlaying {
    pub(crate) fn of(playing: &Playing) -> Self {
        Self {
            item: playing.item.map(|item| item.to_string()),
            title: playing.path.file_stem().map(|stem| stem.display().to_string()).unwrap_or_default(),
            path: playing.path.display().to_string(),
            position_seconds: seconds(playing.position),
            length_seconds: playing.length.map(seconds),
        }
    }
}

/// A stream in one line.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StreamLine {
    /// Its number.
    #[schema(example = "s1")]
    pub(crate) id: String,
    /// What it is called.
    pub(crate) label: Option<String>,
    /// Whose it is.
    pub(crate) owner: Option<String>,
    /// The names that players ask for.
    pub(crate) names: Vec<String>,
    /// `starting`, `running`, `stopping`, `ended`.
    pub(crate) phase: &'static str,
    /// `good`, `fair`, `bad`.
    pub(crate) health: &'static str,
    /// `live`, `direct`, `reel`.
    mode: &'static str,
    uptime_seconds: f64,
    /// Pictures per second, over the last second.
    fps: f64,
    /// Media, bits per second, over the last second.
    bit_rate: u64,
    /// The codec of the picture.
    video: Option<String>,
    /// The codec of the sound.
    audio: Option<String>,
    /// CPU use, in percent of a core.
    cpu_percent: f64,
    /// Bytes held in memory.
    bytes_held: u64,
    bytes_sent: u64,
    /// Of the output that is furthest behind.
    pub(crate) lag_seconds: f64,
    /// How late its thread was, at worst over the last second.
    schedule_lag_seconds: f64,
    /// Tags dropped.
    drops: u64,
    reconnects: u64,
    players: usize,
    /// Outputs, players left out.
    outputs: usize,
    /// Of these, on the air.
    outputs_live: usize,
    /// The encoder at work, by libav's name.
    encoder: Option<String>,
    /// Its fallback is on the air.
    is_fallback: bool,
    playing: Option<NowPlaying>,
}

impl StreamLine {
    pub(crate) fn of(stream: &StreamRef, figures: Option<&StreamFigures>, names: Vec<String>) -> Self {
        let stats = stream.stats();
        let is_live = |phase: OutputPhase| phase == OutputPhase::Live;
        let outputs = || {
            let is_player = |transport| transport == flowcast_core::OutputTransport::Player;
            // What has failed for good is still one of them; what was removed, or was done, is not.
            let is_done =
                |output: &OutputStats| output.phase == OutputPhase::Ended && output.last_error.is_none();
            let is_gone = move |output: &OutputStats| output.removed || is_done(output);
            stats.outputs.iter().filter(move |output| !is_player(output.transport) && !is_gone(output))
        };
        Self {
            id: stats.id.to_string(),
            label: stats.label.as_deref().map(str::to_owned),
            owner: figures.and_then(|figures| figures.owner.clone()),
            names,
            phase: stats.phase.as_str(),
            health: word(&stream.health()),
            mode: stats.mode.as_str(),
            uptime_seconds: seconds(stats.uptime),
            fps: stats.fps,
            bit_rate: stats.bit_rate.bps(),
            video: stats.video.map(|codec| codec.to_string()),
            audio: stats.audio.map(|codec| codec.to_string()),
            cpu_percent: stats.cpu_percent,
            bytes_held: stats.bytes_held,
            bytes_sent: stats.bytes_sent,
            lag_seconds: seconds(stats.lag),
            schedule_lag_seconds: seconds(stats.schedule_lag),
            drops: stats.drops,
            reconnects: stats.reconnects,
            players: stream.players(),
            outputs: outputs().count(),
            outputs_live: outputs().filter(|output| is_live(output.phase)).count(),
            encoder: figures.and_then(|figures| figures.encoder.clone()),
            is_fallback: stats.fallback.as_ref().is_some_and(|fallback| fallback.on_air),
            playing: stats.playing.as_ref().map(NowPlaying::of),
        }
    }

    pub(crate) fn players(&self) -> usize {
        self.players
    }
}

/// How a stream is, in a word.
fn word(health: &Health) -> &'static str {
    match health {
        Health::Good => "good",
        Health::Fair(_) => "fair",
        _ => "bad",
    }
}

/// All that is known of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamView {
    /// It in one line.
    summary: StreamLine,
    /// Why it is not good.
    reasons: Vec<ReasonView>,
    /// All figures of the stream, and of each output.
    #[schema(value_type = Object)]
    stats: StreamStats,
    /// What it is made of, without keys; `null` if that is no data: what is published, and sources of the program's own.
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
    /// The last 50 errors, oldest first.
    errors: Vec<ErrorView>,
    /// The items of its list can be edited: `/playlist`.
    has_playlist: bool,
    /// So can those of the list of its sound: `/playlist?of=sound`.
    has_sound_playlist: bool,
}

impl StreamView {
    pub(crate) fn of(stream: &StreamRef, summary: StreamLine) -> Self {
        Self {
            summary,
            reasons: stream.health().reasons().iter().map(ReasonView::of).collect(),
            stats: stream.stats(),
            // An HLS output in memory cannot be written.
            spec: stream.spec().and_then(|spec| serde_json::to_value(spec).ok()),
            errors: stream.errors().iter().map(ErrorView::of).collect(),
            has_playlist: stream.playlist().is_some(),
            has_sound_playlist: stream.sound_playlist().is_some(),
        }
    }
}

/// Why a stream is not good.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonView {
    /// `source_stalled`, `lag`, `drops` and so on.
    kind: &'static str,
    /// A sentence.
    text: String,
    /// The output it is about.
    output: Option<String>,
    /// The figure, in the unit of the limit.
    value: f64,
    limit: f64,
    /// Bad, not only fair.
    is_bad: bool,
}

impl ReasonView {
    fn of(reason: &HealthReason) -> Self {
        Self {
            kind: reason.kind.as_str(),
            text: reason.to_string(),
            output: reason.output.map(|output| output.to_string()),
            value: reason.value,
            limit: reason.limit,
            is_bad: reason.is_bad,
        }
    }
}

/// An error that an event reported.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorView {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Its stable code.
    code: &'static str,
    text: String,
    /// The name of the event.
    event: &'static str,
    /// The output it is about.
    output: Option<String>,
}

impl ErrorView {
    fn of(error: &StreamError) -> Self {
        Self {
            at: utc(error.at).to_string(),
            code: error.code,
            text: error.text.clone(),
            event: error.event,
            output: error.output.map(|output| output.to_string()),
        }
    }
}

/// `null` as a value for nothing in particular: an answer that only says that it was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Always `true`.
    done: bool,
}

impl Done {
    pub(crate) const YES: Self = Self { done: true };
}
