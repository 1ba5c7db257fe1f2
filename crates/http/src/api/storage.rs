//! What is on the disk and what would be kept: reels, recordings, clips, the snapshot.

use std::path::PathBuf;

use axum::extract::State;
use flowcast_core::{OutputPhase, OutputStats, OutputTransport, seconds as as_seconds, utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::{Created, Json};
use crate::events::Recorded;
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Named, Sent, seconds};

/// The longest clip.
const LONGEST_CLIP: f64 = 24.0 * 3600.0;
/// How long a clip may take to write where nothing is said, and at most.
const CLIP_WITHIN: f64 = 30.0;
const CLIP_LONGEST: f64 = 300.0;

/// The store of reels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reels {
    /// There is one.
    has_store: bool,
    /// Complete reels.
    reels: usize,
    /// Bytes they take on the disk.
    bytes: u64,
    /// Reels that are open.
    in_use: usize,
    /// Files that are being cut, or wait for that.
    cutting: usize,
}

/// The store of reels
#[utoipa::path(
    get, path = "/api/v1/reels", tag = "storage", operation_id = "reels",
    responses((status = 200, description = "Its figures", body = Reels), Problems)
)]
pub(crate) async fn reels(_: May<Watch>, State(house): State<House>) -> Outcome<Json<Reels>> {
    let stats = house.blocking(|engine| engine.reel_store_stats()).await?;
    let of = |figure: fn(&flowcast_core::ReelStoreStats) -> usize| stats.as_ref().map_or(0, figure);
    Ok(Json(Reels {
        has_store: stats.is_some(),
        reels: of(|stats| stats.reels),
        bytes: stats.as_ref().map_or(0, |stats| stats.bytes),
        in_use: of(|stats| stats.in_use),
        cutting: of(|stats| stats.cutting),
    }))
}

/// A file that is written.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenRecording {
    stream: String,
    label: Option<String>,
    output: String,
    path: Option<String>,
    /// `file`, `hls` and so on.
    transport: &'static str,
    bytes: u64,
}

/// A file that is complete.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recording {
    /// When it was completed.
    #[schema(format = DateTime)]
    at: String,
    stream: String,
    label: Option<String>,
    output: String,
    path: String,
    length_seconds: f64,
    bytes: u64,
}

/// Recordings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recordings {
    /// Those that are written now.
    open: Vec<OpenRecording>,
    /// The last 1000 that were completed, the newest first.
    complete: Vec<Recording>,
}

impl Recording {
    fn of(recorded: Recorded) -> Self {
        Self {
            at: utc(recorded.at).to_string(),
            stream: recorded.stream.to_string(),
            label: recorded.label.as_deref().map(str::to_owned),
            output: recorded.output.to_string(),
            path: recorded.path.display().to_string(),
            length_seconds: as_seconds(recorded.length),
            bytes: recorded.bytes,
        }
    }
}

/// Recordings
///
/// Those that are written now, and those that were completed since the program began.
#[utoipa::path(
    get, path = "/api/v1/recordings", tag = "storage", operation_id = "recordings",
    responses((status = 200, description = "Both", body = Recordings), Problems)
)]
pub(crate) async fn recordings(_: May<Watch>, State(house): State<House>) -> Json<Recordings> {
    let mut open = Vec::new();
    for stats in house.engine.watch().stats() {
        // Of those that have ended the journal knows.
        let is_open = |output: &&OutputStats| {
            output.transport == OutputTransport::File && output.phase != OutputPhase::Ended
        };
        let files = stats.outputs.iter().filter(is_open);
        open.extend(files.map(|output| OpenRecording {
            stream: stats.id.to_string(),
            label: stats.label.as_deref().map(str::to_owned),
            output: output.id.to_string(),
            path: output.path.as_ref().map(|path| path.display().to_string()),
            transport: output.transport.as_str(),
            bytes: output.bytes_sent,
        }));
    }
    let complete = house.journal().recordings().into_iter().rev().map(Recording::of).collect();
    Json(Recordings { open, complete })
}

/// A part of a stream.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClip {
    /// The file, on the server; its extension says in which format. A file of this name stays as it is, and the clip has a number in its name.
    #[schema(value_type = String)]
    path: PathBuf,
    /// How far back it goes, as far as the stream keeps that.
    #[schema(minimum = 0.1, maximum = 86400)]
    last_seconds: f64,
    /// How long writing it may take. Default 30 s.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 300)]
    within_seconds: Option<f64>,
}

/// A part of a stream, in a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClipView {
    path: String,
    /// Further files, where the codec configuration changed.
    more: Vec<String>,
    length_seconds: f64,
    bytes: u64,
    /// There was less than was asked for.
    is_short: bool,
}

/// Writes what was on the air to a file
///
/// Nothing is encoded. Blocks until the file is complete.
#[utoipa::path(
    post, path = "/api/v1/streams/{id}/clips", tag = "storage", operation_id = "clip",
    params(("id" = String, Path, description = "The stream: `s1`")), request_body = NewClip,
    responses((status = 201, description = "The file is complete", body = ClipView), Problems)
)]
pub(crate) async fn clip(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
    Sent(new): Sent<NewClip>,
) -> Outcome<Created<ClipView>> {
    let stream = house.stream(&id)?;
    let last = seconds("last_seconds", new.last_seconds, 0.1..=LONGEST_CLIP)?;
    let within = seconds("within_seconds", new.within_seconds.unwrap_or(CLIP_WITHIN), 1.0..=CLIP_LONGEST)?;
    let path = new.path;
    let clip = house.blocking(move |_| stream.clip(path, last, within)).await??;
    let shown = ClipView {
        path: clip.path.display().to_string(),
        more: clip.more.iter().map(|path| path.display().to_string()).collect(),
        length_seconds: as_seconds(clip.to.saturating_sub(clip.from)),
        bytes: clip.bytes,
        is_short: clip.is_short,
    };
    Ok(Created("/api/v1/recordings".to_owned(), shown))
}

/// What runs, as data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotView {
    /// The snapshot, without keys.
    #[schema(value_type = Object)]
    snapshot: Value,
    /// What cannot be kept, because it is no data.
    left_out: Vec<LeftOutView>,
}

/// Something that is no data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftOutView {
    stream: String,
    label: Option<String>,
    /// `the stream`, or an output by its number.
    what: String,
}

/// What runs, as data
///
/// What a restart would go on with. Keys are written as `****`.
#[utoipa::path(
    get, path = "/api/v1/snapshot", tag = "storage", operation_id = "snapshot",
    responses((status = 200, description = "Streams, their places, and schedules", body = SnapshotView), Problems)
)]
pub(crate) async fn snapshot(_: May<Operate>, State(house): State<House>) -> Outcome<Json<SnapshotView>> {
    let snapshot = house.blocking(|engine| engine.snapshot()).await?;
    let left_out = snapshot.left_out.iter().map(|left| LeftOutView {
        stream: left.stream.to_string(),
        label: left.label.clone(),
        what: left.what.clone(),
    });
    let left_out = left_out.collect();
    let written = serde_json::to_value(&snapshot).map_err(|_| {
        // An HLS output in memory, most likely.
        let detail = "something that runs cannot be written as data";
        Problem::new(axum::http::StatusCode::CONFLICT, "SNAPSHOT_UNWRITABLE", detail)
    })?;
    Ok(Json(SnapshotView { snapshot: written, left_out }))
}
