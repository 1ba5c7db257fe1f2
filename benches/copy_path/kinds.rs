//! flowcast's sides: an engine with as many streams as are asked for.
//!
//! In: a job. Out: figures, until the input ends.

use std::path::Path;
use std::time::{Duration, Instant};

use flowcast::config::TlsRoots;
use flowcast::encode::EncoderChoice;
use flowcast::stats::SourceMode;
use flowcast::{
    Config, Encoding, Engine, Mode, Output, Profile, RtmpServer, RtmpServerExt, Source, StreamHandle,
};
use flowcast_bench::{process, reels};

use crate::Result;
use crate::case::{Case, Kind};
use crate::side::{Figures, Job, PATIENCE, serve, tell, wait_until};

const STOP: Duration = Duration::from_secs(10);

pub(crate) fn run(job: &Job) -> Result<()> {
    let directory = job.directory();
    std::fs::create_dir_all(&directory)?;
    let mut config = Config::default();
    config.max_streams = job.case.streams.max(20);
    if matches!(job.case.kind, Kind::Reel | Kind::Rtmps) {
        reels::keep_in(&mut config, &directory);
    }
    let engine = Engine::new(config)?;
    match job.case.kind {
        Kind::Reel | Kind::Rtmps => {
            cut_reel(&engine, &job.clip())?;
            push(&engine, job, SourceMode::Reel)
        }
        Kind::Direct => push(&engine, job, SourceMode::Direct),
        Kind::Encoded => {
            tell("settings", encoded_with(&engine, &source(job), &directory.join("encoded.flv"))?);
            push(&engine, job, SourceMode::Direct)
        }
        Kind::Restreamed => restream(&engine, job),
        Kind::Played => play(&engine, job.case),
    }
}

fn source(job: &Job) -> Source {
    let source = Source::file(job.clip()).looped();
    if job.case.kind != Kind::Encoded {
        return source;
    }
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.encoder = EncoderChoice::Software;
    source.mode(Mode::Encode).encoding(encoding)
}

/// Has the clip's reel made before anything is measured.
pub(crate) fn cut_reel(engine: &Engine, clip: &Path) -> Result<()> {
    let first = engine.stream(Source::file(clip).looped()).record("/dev/null").start()?;
    reels::wait_for_cutter(engine, PATIENCE);
    first.stop(STOP)?;
    match engine.reel_store_stats() {
        Some(stats) if stats.reels > 0 => Ok(()),
        _ => Err("there is no reel".into()),
    }
}

/// Streams of a file, each pushed to a key of its own.
fn push(engine: &Engine, job: &Job, mode: SourceMode) -> Result<()> {
    let scheme = if job.case.kind.is_tls() { "rtmps" } else { "rtmp" };
    let roots =
        if job.case.kind.is_tls() { TlsRoots::from_pem_file(job.authority())? } else { TlsRoots::Platform };
    let start = |number| {
        let output = Output::rtmp_url(&format!("{scheme}://{}/live/key-{number}", job.to));
        engine.stream(source(job)).to(output.tls_roots(roots.clone())).start()
    };
    let streams = (0..job.case.streams).map(start).collect::<std::result::Result<Vec<_>, _>>()?;
    wait_until("all streams are on the air", || streams.iter().all(is_on_the_air))?;
    if let Some(other) = streams.iter().map(|stream| stream.stats().mode).find(|&found| found != mode) {
        return Err(format!("a stream is played from {other}, not from {mode}").into());
    }
    give_figures(&streams);
    Ok(())
}

fn is_on_the_air(stream: &StreamHandle) -> bool {
    stream.stats().bytes_sent > 0
}

fn give_figures(streams: &[StreamHandle]) {
    serve(|| {
        let mut figures = Figures { cpu: process::cpu_time(), ..Figures::default() };
        for stats in streams.iter().map(|stream| stream.stats()) {
            figures.seconds += stats.media_time.as_millis() as f64 / 1000.0;
            figures.bytes += stats.bytes_sent;
            figures.lost += stats.drops + stats.reconnects;
        }
        figures
    });
}

/// A server that takes this many publishers.
fn server(engine: &Engine, publishers: usize) -> Result<RtmpServer> {
    for number in 0..publishers {
        engine.keys().add(&name(number), key(number))?;
    }
    let server =
        engine.rtmp_server("127.0.0.1:0").options(|options| options.max_connections = 10_000).start()?;
    tell("address", server.address());
    Ok(server)
}

/// The name that publisher's stream is played under.
pub(crate) fn name(number: usize) -> String {
    format!("stream-{number}")
}

/// What that publisher publishes with.
pub(crate) fn key(number: usize) -> String {
    format!("key-{number}")
}

/// Streams that are published to a server here, each pushed on.
fn restream(engine: &Engine, job: &Job) -> Result<()> {
    let server = server(engine, job.case.streams)?;
    let start = |number| {
        let output = Output::rtmp_url(&format!("rtmp://{}/live/{}", job.to, key(number)));
        engine.stream(Source::published(name(number))).to(output).start()
    };
    let streams = (0..job.case.streams).map(start).collect::<std::result::Result<Vec<_>, _>>()?;
    wait_until("all streams are published", || streams.iter().all(is_on_the_air))?;
    give_figures(&streams);
    server.stop(STOP);
    Ok(())
}

/// Players of one stream that is published to a server here.
fn play(engine: &Engine, case: Case) -> Result<()> {
    let server = server(engine, 1)?;
    wait_until("all players are there", || server.stats().players == case.streams as u64)?;
    let began = Instant::now();
    serve(|| {
        let stats = server.stats();
        Figures {
            cpu: process::cpu_time(),
            // The publisher's clock is that of the machine.
            seconds: began.elapsed().as_secs_f64() * stats.players as f64,
            bytes: stats.bytes_sent,
            lost: case.streams as u64 - stats.players.min(case.streams as u64),
        }
    });
    server.stop(STOP);
    Ok(())
}

/// What libx264 writes of its settings when a stream of `source` is encoded.
fn encoded_with(engine: &Engine, source: &Source, recording: &Path) -> Result<String> {
    let stream = engine.stream(source.clone()).record(recording).start()?;
    let mut found = None;
    wait_until("libx264 has written its settings", || {
        found = std::fs::read(recording).ok().and_then(|bytes| x264_settings(&bytes));
        found.is_some()
    })?;
    stream.stop(STOP)?;
    found.ok_or_else(|| "no settings".into())
}

/// The settings libx264 writes into its first picture.
pub(crate) fn x264_settings(bytes: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b" - options: ";
    let begin = bytes.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let text = bytes.get(begin..)?;
    let end = text.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
}
