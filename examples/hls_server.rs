//! Loops a file and serves it with HLS over HTTP, from memory: no disk is used, and any number of players read what is there.

use std::io::Cursor;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use flowcast::output::{Hls, HlsStore};
use flowcast::{Config, Engine, EventKind, Output, Source};
use tiny_http::{Header, Method, Request, Response, Server};

#[path = "support/mod.rs"]
mod support;

use support::print::out;
use support::{Result, cli, events, print};

/// Threads that answer requests.
const THREADS: usize = 4;

/// Loops a media file and serves it with HLS from memory: play http://ADDRESS/index.m3u8.
#[derive(Parser)]
#[command(name = "hls_server", max_term_width = cli::WIDTH)]
struct Cli {
    /// The file to loop
    file: PathBuf,

    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,

    /// How long segments are to be, in whole seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds, default_value = "4")]
    segment: Duration,
}

fn main() -> ExitCode {
    support::exit(run(&cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;
    let engine = Engine::new(Config::from_env()?)?;
    let happened = engine.events();
    let store = HlsStore::new();
    let hls = Hls::memory(&store).target_duration(cli.segment);
    let live = engine.stream(Source::file(&cli.file).looped()).to(Output::hls(hls)).start()?;
    let server = Server::http(&cli.listen).map_err(|error| format!("--listen {}: {error}", cli.listen))?;
    let server = Arc::new(server);
    if let Some(address) = server.server_addr().to_ip() {
        out!("serves http://{address}/index.m3u8")?;
    }
    let answering = (0..THREADS).map(|_| {
        let (server, store) = (server.clone(), store.clone());
        std::thread::spawn(move || server.incoming_requests().for_each(|request| answer(request, &store)))
    });
    let answering: Vec<_> = answering.collect();
    let mut is_over = false;
    while !is_over && !stop.load(Ordering::Relaxed) {
        if let Some(event) = happened.next_timeout(Duration::from_millis(100)) {
            is_over = matches!(event.kind, EventKind::Ended { .. });
            events::text(&event).iter().for_each(print::note);
        }
    }
    let ended = live.stop(Duration::from_secs(5));
    answering.iter().for_each(|_| server.unblock());
    ended?;
    Ok(())
}

/// Answers with what is in the store.
fn answer(request: Request, store: &HlsStore) {
    let path = request.url().split('?').next().unwrap_or_default();
    let file = store.get(path).filter(|_| matches!(request.method(), Method::Get | Method::Head));
    // Whoever asked may have gone.
    let _ = match file {
        None => request.respond(Response::empty(404)),
        Some(file) => {
            // Playlists change with each segment; all else never does.
            let cache = if path.ends_with(".m3u8") { "no-cache" } else { "max-age=3600, immutable" };
            let headers = [
                ("Content-Type", file.content_type),
                ("Cache-Control", cache),
                ("Access-Control-Allow-Origin", "*"),
            ];
            let headers = headers.iter().filter_map(|(name, value)| Header::from_bytes(*name, *value).ok());
            let length = file.bytes.len();
            request.respond(Response::new(
                200.into(),
                headers.collect(),
                Cursor::new(file.bytes),
                Some(length),
                None,
            ))
        }
    };
}
