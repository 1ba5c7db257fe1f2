//! Puts a source on the air, to a recording and to a server of others, until it has passed its loop points.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flowcast::stats::{OutputPhase, SourceMode, StreamStats};
use flowcast::{Engine, EventKind, Events, Output, Source, StreamHandle};
use tempfile::TempDir;

use kit::{FfmpegListen, Nginx, PATIENCE, wait_closed, wait_until};

/// Loop points every recording passes.
pub(crate) const SEAMS: u64 = 2;
/// Recorded beyond the last of them, in milliseconds.
const BEYOND: i64 = 1500;
/// Streams at a time: each takes a part of a processor.
const AT_ONCE: usize = 4;

/// Who a stream is pushed to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server<'a> {
    /// nginx with its RTMP module.
    Nginx(&'a Nginx),
    /// `ffmpeg -listen 1`.
    Ffmpeg,
}

/// What became of a stream.
#[derive(Debug)]
pub(crate) struct Aired {
    /// What was recorded, and by whom.
    pub(crate) recordings: Vec<(&'static str, PathBuf)>,
    /// The stream's figures at its end.
    pub(crate) stats: StreamStats,
    /// What was told, in its debugging form; beginnings of laps are left out.
    pub(crate) told: Vec<String>,
    _directory: TempDir,
    _listener: Option<FfmpegListen>,
}

/// Runs a stream of the source until it is beyond its second loop point.
pub(crate) fn air(engine: &Engine, source: Source, name: &str, server: Server<'_>) -> Result<Aired, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("recorded.flv");
    // A name without dots: nginx makes a file of it.
    let key = name.replace(['.', ' '], "-");
    let mut listener = matches!(server, Server::Ffmpeg).then(|| FfmpegListen::start("live", &key));
    let url = match (&server, &listener) {
        (Server::Nginx(nginx), _) => format!("rtmp://{}/live", nginx.address),
        (Server::Ffmpeg, Some(listener)) => {
            listener.url.trim_end_matches(&key).trim_end_matches('/').to_owned()
        }
        (Server::Ffmpeg, None) => unreachable!("it was just started"),
    };
    let events = engine.events();
    let stream = engine.stream(source).to(Output::rtmp(&url, &*key)).record(&recording);
    let live =
        stream.start().map_err(|error| format!("does not start: {}", flowcast::error::chain(&error)))?;
    let watched = watch(&live);
    let told = told(&events, &live);
    if let Err(why) = watched {
        let stats = live.stats();
        let _ = live.stop(PATIENCE);
        return Err(format!("{why}: {stats}; {told:#?}"));
    }
    let stats = live.stop(PATIENCE).map_err(|error| format!("does not end well: {error}"))?;
    let pushed = match (server, &mut listener) {
        (Server::Nginx(nginx), _) => nginx.recording("live", &key),
        (_, Some(listener)) => listener.finish(PATIENCE).to_owned(),
        (_, None) => unreachable!("it was just started"),
    };
    wait_closed(&pushed, PATIENCE);
    let recordings = vec![("recorded", recording), ("pushed", pushed)];
    Ok(Aired { recordings, stats, told, _directory: directory, _listener: listener })
}

fn watch(live: &StreamHandle) -> Result<(), String> {
    let stats = || live.stats();
    let on_air = || stats().outputs.iter().all(|output| output.phase == OutputPhase::Live);
    if !wait_until(2 * PATIENCE, || live.has_ended() || (stats().media_time.as_millis() > 0 && on_air())) {
        return Err("not on the air".to_owned());
    }
    let seams = wait_until(6 * PATIENCE, || live.has_ended() || stats().laps >= SEAMS);
    if !seams || live.has_ended() {
        return Err(format!("{} loop points", stats().laps));
    }
    let enough = stats().media_time.as_millis() + BEYOND;
    let done = wait_until(PATIENCE, || live.has_ended() || stats().media_time.as_millis() >= enough);
    if done && !live.has_ended() { Ok(()) } else { Err("off the air".to_owned()) }
}

fn told(events: &Events, live: &StreamHandle) -> Vec<String> {
    std::iter::from_fn(|| events.try_next())
        .filter(|event| event.stream == live.id() && !matches!(event.kind, EventKind::Looped { .. }))
        .map(|event| format!("{:?}", event.kind))
        .collect()
}

/// Plays a looped source until all of its reel is there.
pub(crate) fn cut(engine: &Engine, source: Source) -> Result<(), String> {
    let stream = engine.stream(source).without_outputs().start();
    let stream = stream.map_err(|error| format!("does not start: {}", flowcast::error::chain(&error)))?;
    let is_cut = || {
        let stats = stream.stats();
        stats.mode == SourceMode::Reel && stats.laps > 0
    };
    let done = wait_until(6 * PATIENCE, || stream.has_ended() || is_cut());
    let stats = stream.stop(PATIENCE).map_err(|error| format!("does not end well: {error}"))?;
    if done { Ok(()) } else { Err(format!("no reel: {stats}")) }
}

/// Does this to all of them, a few at a time, and fails with all that went wrong.
pub(crate) fn each<T: Sync>(all: &[T], check: impl Fn(&T) -> Result<String, String> + Sync) {
    let next = Mutex::new(all.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(all.len()) {
            scope.spawn(|| {
                loop {
                    let Some(one) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
                    match check(one) {
                        Ok(found) => println!("{found}"),
                        Err(why) => wrong.lock().unwrap_or_else(PoisonError::into_inner).push(why),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

/// A place for an engine's reels.
pub(crate) fn reels(directory: &Path) -> Engine {
    kit::rig::engine(|config| config.reels = Some(flowcast::ReelStore::new(directory)))
}
