//! Says what a media file is, track by track, and whether a platform takes it as it is.

mod judged;
#[path = "../support/mod.rs"]
mod support;
mod tracks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast::Platform;
use flowcast::av::{Demuxer, Interrupt, MediaInfo, OpenOptions, Probe};
use flowcast::verdict::{Facts, Verdict};
use flowcast::verdict::{ScanOptions, Strictness, facts, verdict_of_failure};
use judged::Judged;
use serde::Serialize;
use support::{Result, cli, exit, print, progress};

/// Shows what a media file is, track by track, and whether a platform takes it as it is.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH, after_help = EXIT_CODES)]
struct Cli {
    /// The media file
    file: PathBuf,

    /// Judge the file for this platform ("any" is any RTMP server), and say what it does not take and why; reads
    /// the whole file without decoding it. May be given several times
    #[arg(long = "platform", value_name = "NAME", value_parser = cli::platform())]
    platforms: Vec<Platform>,

    /// The stream is sent over Enhanced RTMP
    #[arg(long)]
    enhanced: bool,

    /// How strict the judgement is
    #[arg(long, value_name = "HOW", default_value = "lenient", value_parser = strictness())]
    strictness: Strictness,

    /// Scan the file for this many seconds at most
    #[arg(long, value_name = "SECONDS", default_value = "120", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Duration,

    /// Let libav read packets even where the file's header is complete
    #[arg(long)]
    thorough: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  the file was read, and every platform takes a copy of it, with fixes or without
  1  the file cannot be read, or the arguments are wrong
  2  a platform needs something encoded";

/// Something has to be encoded.
const NEEDS_ENCODING: u8 = 2;

fn strictness() -> impl clap::builder::TypedValueParser<Value = Strictness> {
    cli::one_of(vec![
        (
            "seed",
            "encode only what cannot be sent at all, or is above 1920x1080 or 30 pictures per second",
            Strictness::Seed,
        ),
        ("lenient", "encode what a platform refuses", Strictness::Lenient),
        ("strict", "encode what a platform advises against, too", Strictness::Strict),
    ])
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    #[serde(flatten)]
    media: Option<&'a MediaInfo>,
    #[serde(flatten)]
    judged: Option<JudgedView<'a>>,
}

#[derive(Serialize)]
struct JudgedView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strictness: Option<&'a str>,
    verdicts: Vec<Verdict>,
}

fn main() -> ExitCode {
    match run(&cli::parse()) {
        Ok(code) => code,
        Err(error) => exit(Err(error)),
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let mut open = OpenOptions::default();
    if cli.thorough {
        open.probe = Probe::Thorough;
    }
    let demuxer = match Demuxer::open(&cli.file, &open, &Interrupt::new()) {
        Ok(demuxer) => demuxer,
        Err(error) => return failed(cli, error.into()),
    };
    let media = demuxer.media();
    if !cli.json {
        tracks::tell(&cli.file, media)?;
    }
    let mut report = Report { file: name(&cli.file), media: Some(media), judged: None };
    let mut code = ExitCode::SUCCESS;
    if !cli.platforms.is_empty() {
        let mut options = ScanOptions::default();
        options.deadline = cli.seconds;
        options.open = open;
        let began = Instant::now();
        let spinner = progress::spinner("scanning the file");
        let scanned = facts(&cli.file, &options, &Interrupt::new());
        drop(spinner);
        let facts = match scanned {
            Ok(facts) => facts,
            Err(error) => return failed(cli, error),
        };
        let platforms = cli.platforms.iter().cloned().map(|mut platform| {
            platform.enhanced = cli.enhanced;
            platform
        });
        let judged = Judged {
            facts: &facts,
            platforms: &platforms.collect::<Vec<_>>(),
            strictness: cli.strictness,
            took: began.elapsed(),
        };
        if !cli.json {
            judged.tell()?;
        }
        if judged.needs_encoding() {
            code = ExitCode::from(NEEDS_ENCODING);
        }
        report.judged = Some(JudgedView {
            facts: Some(Facts::clone(&facts)),
            strictness: Some(cli.strictness.as_str()),
            verdicts: judged.verdicts(),
        });
    }
    if cli.json {
        print::json(&report)?;
    }
    Ok(code)
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

/// A file that cannot be read is no copy: says so, and why.
fn failed(cli: &Cli, error: flowcast::Error) -> Result<ExitCode> {
    let is_judged = !cli.platforms.is_empty();
    if is_judged && cli.json {
        let verdicts = vec![verdict_of_failure(&error)];
        let judged = Some(JudgedView { facts: None, strictness: None, verdicts });
        print::json(&Report { file: name(&cli.file), media: None, judged })?;
    } else if is_judged {
        judged::tell_verdict(&verdict_of_failure(&error), "")?;
    }
    Err(error.into())
}
