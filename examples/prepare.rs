//! Makes of a media file one that loops by copying packets: encodes what a platform does not take gladly, copies the rest.
#[path = "support/encoding.rs"]
#[allow(dead_code, reason = "it uses a part")]
mod encoding;
#[path = "support/mod.rs"]
mod support;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use encoding::Picture;
use flowcast::av::Interrupt;
use flowcast::error::chain;
use flowcast::prepare::{PrepareProgress, PrepareStage, Prepared};
use flowcast::verdict::Severity;
use flowcast::{BitRate, Error, EventKind, Platform, Prepare};
use indicatif::{FormattedDuration, ProgressBar};
use serde::Serialize;
use support::print::{note, out, round};
use support::{Result, cli, print, process, progress};

/// Makes of a media file one that loops by copying packets: encodes what a platform does not take, copies the rest.
///
/// Ctrl-C ends it; the output is then what it was before.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH, after_help = EXIT_CODES)]
struct Cli {
    /// The media file to prepare
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The MP4 file to make; one that is there is replaced
    #[arg(value_name = "OUT.mp4")]
    output: PathBuf,

    /// Where the file is to go ("any" is any RTMP server, and the default). May be given several times
    #[arg(long = "platform", value_name = "NAME", value_parser = cli::platform())]
    platforms: Vec<Platform>,

    /// Speed of the encoder, from ultrafast to veryslow; otherwise slow
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Quality, 1 to 51: lower is better, 18 to 28 is usual; otherwise 20
    #[arg(long, value_name = "N")]
    crf: Option<f32>,

    #[command(flatten)]
    picture: Picture,

    /// Encode what could be copied, too
    #[arg(long)]
    force: bool,

    /// Print one JSON object; without a terminal no progress is printed then
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    the file is made
  1    the arguments are wrong, or anything else went wrong
  2    the input cannot be used
  3    the output cannot be written
  4    there is no room for it
  5    the result was refused
  130  cancelled";

/// What `--json` prints of a failure.
#[derive(Serialize)]
struct Failure {
    error: &'static str,
    message: String,
}

/// What `--json` prints of success.
#[derive(Serialize)]
struct Report<'a> {
    output: String,
    platforms: &'a str,
    action: &'a str,
    video: &'a str,
    audio: &'a str,
    took_seconds: f64,
    cpu_seconds: f64,
    media_seconds: f64,
    bytes: u64,
    end_skew_micros: Option<i64>,
    encoder: &'a str,
    damaged: u64,
    reasons: Vec<ReasonReport<'a>>,
    #[serde(flatten)]
    picture: Option<PictureReport>,
}

#[derive(Serialize)]
struct ReasonReport<'a> {
    code: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct PictureReport {
    width: u32,
    height: u32,
    frame_rate: f64,
    frames: u64,
    bit_rate: BitRate,
    bit_rate_peak_2s: BitRate,
    gop_max_seconds: f64,
}

fn main() -> ExitCode {
    match run(&cli::parse()) {
        Ok(code) => code,
        Err(error) => support::exit(Err(error)),
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let mut encoding = Prepare::default_encoding();
    cli.picture.apply(&mut encoding);
    if let Some(preset) = &cli.preset {
        encoding.preset = Some(preset.clone());
    }
    let prepare = Prepare::new(&cli.input, &cli.output).encoding(encoding);
    let mut prepare = cli.platforms.iter().cloned().fold(prepare, Prepare::platform);
    if let Some(crf) = cli.crf {
        prepare = prepare.crf(crf);
    }
    if cli.force {
        prepare = prepare.force();
    }
    let cancel = Interrupt::new();
    let handle = cancel.clone();
    ctrlc::set_handler(move || handle.cancel())?;

    let cpu_before = process::cpu_time();
    let mut bar = Bar::new(cli.json);
    let done = prepare.run(|progress| bar.show(progress), &cancel);
    bar.bar.finish_and_clear();
    let cpu = process::cpu_time() - cpu_before;
    match done {
        Ok(prepared) if cli.json => {
            print::json(&report(&prepared, cpu))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(prepared) => {
            tell(&prepared)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            if cli.json {
                print::json(&Failure { error: error.code(), message: chain(&error) })?;
            }
            note(format_args!("error: {}", chain(&error)));
            if let Error::ResultRefused { verdict, .. } = &error {
                for reason in verdict.at_least(Severity::Warning) {
                    let (platform, code) = (&reason.platform, reason.code);
                    let platform = if platform.is_empty() { "any platform" } else { platform };
                    note(format_args!("{platform}, {}: {code}: {}", reason.track, reason.detail));
                }
            }
            Ok(ExitCode::from(code(&error)))
        }
    }
}

fn code(error: &Error) -> u8 {
    match error {
        Error::Media(_) | Error::InputUnusable { .. } => 2,
        Error::OutputUnwritable { .. } => 3,
        Error::DiskFull { .. } => 4,
        Error::ResultRefused { .. } => 5,
        Error::Cancelled { .. } => 130,
        _ => 1,
    }
}

fn media_seconds(prepared: &Prepared) -> f64 {
    prepared.facts.video.as_ref().map_or(0.0, |video| video.length.as_secs_f64())
}

fn report(prepared: &Prepared, cpu: Duration) -> Report<'_> {
    let facts = &prepared.facts;
    let reasons = prepared.input.at_least(Severity::Warning);
    Report {
        output: prepared.path.display().to_string(),
        platforms: &prepared.verdict.platform,
        action: prepared.verdict.action.as_str(),
        video: prepared.video.as_str(),
        audio: prepared.audio.as_str(),
        took_seconds: round(prepared.took.as_secs_f64(), 2),
        cpu_seconds: round(cpu.as_secs_f64(), 2),
        media_seconds: round(media_seconds(prepared), 3),
        bytes: facts.bytes,
        end_skew_micros: facts.end_skew_micros(),
        encoder: prepared.encoder.as_deref().unwrap_or("none"),
        damaged: prepared.damaged,
        reasons: reasons
            .map(|reason| ReasonReport { code: reason.code.as_str(), detail: &reason.detail })
            .collect(),
        picture: facts.video.as_ref().map(|video| PictureReport {
            width: video.width,
            height: video.height,
            frame_rate: video.frame_rate,
            frames: video.packets,
            bit_rate: video.bit_rate.mean,
            bit_rate_peak_2s: video.bit_rate.peak_2s,
            gop_max_seconds: video.gop_max.as_secs_f64(),
        }),
    }
}

fn tell(prepared: &Prepared) -> Result<()> {
    let (facts, seconds) = (&prepared.facts, media_seconds(prepared));
    let reasons = prepared.input.at_least(Severity::Warning);
    let mut reasons: Vec<_> =
        reasons.map(|reason| format!("{:<8}{}: {}", reason.track, reason.code, reason.detail)).collect();
    // Several platforms may say the same.
    reasons.dedup();
    for reason in reasons {
        out!("{reason}")?;
    }
    let picture = facts.video.as_ref().map(|video| {
        let (rate, kbps) = (video.frame_rate, video.bit_rate.mean.bps() / 1000);
        format!(" {}x{}, {rate:.2} fps, {kbps} kbit/s", video.width, video.height)
    });
    for event in &prepared.notices {
        if let EventKind::EncoderChanged { from, to, error } = event {
            out!("encoder {from} failed, {to} was taken instead: {}", chain(error))?;
        }
    }
    if prepared.damaged > 0 {
        out!("{} packets could not be decoded", prepared.damaged)?;
    }
    out!(
        "{}: video {}{}{}, audio {}, {seconds:.1} s, {:.1} MB, in {:.1} s; verdict for {}: {}",
        prepared.path.display(),
        prepared.video.as_str(),
        prepared.encoder.as_ref().map_or_else(String::new, |encoder| format!(" by {encoder}")),
        picture.unwrap_or_default(),
        prepared.audio.as_str(),
        facts.bytes as f64 / 1e6,
        prepared.took.as_secs_f64(),
        prepared.verdict.platform,
        prepared.verdict.action,
    )?;
    Ok(())
}

/// The progress: a bar on a terminal, a line every ten percent into a pipe.
struct Bar {
    bar: ProgressBar,
    quiet: bool,
    told: u32,
}

impl Bar {
    fn new(json: bool) -> Self {
        let bar = ProgressBar::new(100).with_style(progress::style("[{bar:16}] {wide_msg}"));
        Self { bar, quiet: json && !std::io::stderr().is_terminal(), told: 0 }
    }

    fn show(&mut self, progress: &PrepareProgress) {
        let percent = progress.percent();
        if !self.bar.is_hidden() {
            self.bar.set_message(text(progress));
            self.bar.set_position(percent as u64);
        } else if !self.quiet && percent as u32 / 10 > self.told {
            self.told = percent as u32 / 10;
            note(text(progress));
        }
    }
}

fn text(progress: &PrepareProgress) -> String {
    let left = match (progress.stage, progress.left()) {
        (PrepareStage::Writing, Some(left)) => format!("{} left", FormattedDuration(left)),
        (PrepareStage::Writing, None) => String::new(),
        (stage, _) => stage.as_str().to_owned(),
    };
    format!("{:>5.1} %  {:>6.1} fps  {:>5.2}x  {left}", progress.percent(), progress.fps(), progress.speed())
}
