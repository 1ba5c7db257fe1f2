//! Says what a media file is, track by track, and whether a platform takes it as it is.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod judged;
#[path = "../support/mod.rs"]
mod support;
mod tracks;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flowcast::av::{Demuxer, Interrupt, OpenOptions, Probe};
use flowcast::{Platform, ScanOptions, Strictness, facts, verdict_of_failure};
use judged::Judged;
use support::args::Args;
use support::json::Object;
use support::{Result, exit};

const USAGE: &str = "\
usage: probe FILE [--platform P]... [--enhanced] [--strictness seed|lenient|strict] [--seconds N] [--thorough] [--json]

  --platform P     say whether youtube, twitch, facebook or any (RTMP server) takes it as it is, and why not; reads the
                   whole file, without decoding; may be given several times
  --enhanced       streams are sent over Enhanced RTMP
  --strictness S   lenient (default): encode what a platform refuses; strict: also what it advises against; seed: only
                   what cannot be sent at all, or is above 1920x1080 or 30 pictures per second
  --seconds N      scan for N seconds at most (default 120)
  --thorough       let libav read packets even where the file's header is complete
  --json           print one JSON object

exit code: 0 the file was read and every platform takes a copy, with fixes or without; 2 a platform needs something
encoded; 1 the file cannot be read, or the arguments are wrong";

/// Something has to be encoded.
const NEEDS_ENCODING: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => exit(Err(error)),
    }
}

fn run() -> Result<ExitCode> {
    let options = ["--platform", "--strictness", "--seconds"];
    let args = Args::parse(USAGE, &options, &["--json", "--thorough", "--enhanced"])?;
    let [file] = args.rest() else { return Err(format!("one file, please\n{USAGE}").into()) };
    let platforms = platforms(&args)?;
    let strictness = args.last::<String>("--strictness")?.unwrap_or_else(|| "lenient".to_owned());
    let strictness =
        Strictness::by_name(&strictness).ok_or_else(|| format!("{strictness}: no such strictness"))?;
    let mut open = OpenOptions::default();
    if args.has("--thorough") {
        open.probe = Probe::Thorough;
    }
    let json = args.has("--json");
    let demuxer = match Demuxer::open(file.as_ref(), &open, &Interrupt::new()) {
        Ok(demuxer) => demuxer,
        Err(error) => return failed(file, error.into(), !platforms.is_empty(), json),
    };
    let media = demuxer.media();
    if !json {
        tracks::tell(file, media);
    }
    let mut object = tracks::object(file, media);
    let mut code = ExitCode::SUCCESS;
    if !platforms.is_empty() {
        let mut options = ScanOptions::default();
        options.deadline = Duration::from_secs(args.last("--seconds")?.unwrap_or(120));
        options.open = open;
        let began = Instant::now();
        let facts = match facts(Path::new(file), &options, &Interrupt::new()) {
            Ok(facts) => facts,
            Err(error) => return failed(file, error, true, json),
        };
        let judged = Judged { facts: &facts, platforms: &platforms, strictness, took: began.elapsed() };
        if json {
            object = judged.add_to(object);
        } else {
            judged.tell();
        }
        if judged.needs_encoding() {
            code = ExitCode::from(NEEDS_ENCODING);
        }
    }
    if json {
        println!("{}", object.finish());
    }
    Ok(code)
}

fn platforms(args: &Args) -> Result<Vec<Platform>> {
    let named = args.all("--platform").into_iter().map(|name| {
        let known = Platform::NAMES.join(", ");
        let mut platform =
            Platform::by_name(name).ok_or_else(|| format!("{name}: no such platform, but {known}"))?;
        platform.enhanced = args.has("--enhanced");
        Ok(platform)
    });
    named.collect()
}

/// A file that cannot be read is no copy: says so, and why.
fn failed(file: &str, error: flowcast::Error, asked: bool, json: bool) -> Result<ExitCode> {
    if asked && json {
        let verdict = judged::verdict_object(&verdict_of_failure(&error));
        println!("{}", Object::default().text("file", file).list("verdicts", [verdict]).finish());
    } else if asked {
        judged::tell_verdict(&verdict_of_failure(&error), "");
    }
    Err(error.into())
}
