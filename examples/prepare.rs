//! Makes of a media file one that loops by copying packets: encodes what a platform does not take gladly, copies the rest.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "support/encoding.rs"]
#[allow(dead_code, reason = "it uses a part")]
mod encoding;
#[path = "support/mod.rs"]
mod support;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flowcast::av::Interrupt;
use flowcast::{Error, EventKind, Prepare, PrepareProgress, PrepareStage, Prepared, Severity, chain};
use support::args::Args;
use support::json::Object;
use support::progress::Progress;
use support::{Result, process};

const USAGE: &str = "\
usage: prepare IN OUT.mp4 [--platform P]... [--preset NAME] [--crf N] [--force] [--json]
               [--bitrate KBPS] [--size WxH] [--fps N] [--encoder NAME|hardware|software]

  --platform P     youtube, twitch, facebook or any (RTMP server); may be given several times, default any
  --preset NAME    from ultrafast to veryslow, default slow
  --crf N          quality, 1 to 51, lower is better, 18 to 28 is usual, default 20
  --bitrate KBPS   the most the picture takes; otherwise by its size and the platforms
  --size WxH       otherwise the input's, within what the platforms take
  --fps N          frames per second; otherwise the input's, at most 60
  --encoder E      software (default), hardware, or libav's name of one
  --force          encode what could be copied, too
  --json           print one JSON object; without a terminal no progress is shown then

Ctrl-C ends it; the output is then what it was before.

exit code: 0 done; 1 arguments are wrong, or anything else; 2 the input cannot be used; 3 the output cannot be written;
4 no room for it; 5 the result was refused; 130 cancelled";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => support::exit(Err(error)),
    }
}

fn run() -> Result<ExitCode> {
    let own = ["--platform", "--preset", "--crf", "--bitrate", "--size", "--fps", "--encoder"];
    let args = Args::parse(USAGE, &own, &["--force", "--json"])?;
    let [input, output] = args.rest() else {
        return Err(format!("one input and one output, please\n{USAGE}").into());
    };
    let mut encoding = Prepare::default_encoding();
    encoding::apply(&args, &mut encoding)?;
    if let Some(preset) = args.last("--preset")? {
        encoding.preset = Some(preset);
    }
    let mut prepare = Prepare::new(input, output).encoding(encoding);
    for platform in encoding::platforms(&args)? {
        prepare = prepare.platform(platform);
    }
    if let Some(crf) = args.last("--crf")? {
        prepare = prepare.crf(crf);
    }
    if args.has("--force") {
        prepare = prepare.force();
    }
    let cancel = Interrupt::new();
    let handle = cancel.clone();
    ctrlc::set_handler(move || handle.cancel())?;

    let cpu_before = process::cpu_time();
    let mut bar = Bar::new(args.has("--json"));
    let done = prepare.run(|progress| bar.show(progress), &cancel);
    bar.end();
    let cpu = process::cpu_time() - cpu_before;
    match done {
        Ok(prepared) => {
            report(&args, &prepared, cpu);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            if args.has("--json") {
                let object = Object::default().text("error", error.code()).text("message", &chain(&error));
                println!("{}", object.finish());
            }
            eprintln!("error: {}", chain(&error));
            if let Error::ResultRefused { verdict, .. } = &error {
                for reason in verdict.at_least(Severity::Warning) {
                    let (platform, code) = (&reason.platform, reason.code);
                    let platform = if platform.is_empty() { "any platform" } else { platform };
                    eprintln!("{platform}, {}: {code}: {}", reason.track, reason.detail);
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

fn report(args: &Args, prepared: &Prepared, cpu: Duration) {
    let (facts, video) = (&prepared.facts, prepared.facts.video.as_ref());
    let seconds = video.map_or(0.0, |video| video.length.as_secs_f64());
    if args.has("--json") {
        let refused = prepared.input.at_least(Severity::Warning).map(|reason| {
            Object::default().text("code", reason.code.as_str()).text("detail", &reason.detail)
        });
        let mut object = Object::default()
            .text("output", &prepared.path.display().to_string())
            .text("platforms", &prepared.verdict.platform)
            .text("action", prepared.verdict.action.as_str())
            .text("video", prepared.video.as_str())
            .text("audio", prepared.audio.as_str())
            .value("took_seconds", format!("{:.2}", prepared.took.as_secs_f64()))
            .value("cpu_seconds", format!("{:.2}", cpu.as_secs_f64()))
            .value("media_seconds", format!("{seconds:.3}"))
            .value("bytes", facts.bytes)
            .optional("end_skew_micros", facts.end_skew_micros())
            .text("encoder", prepared.encoder.as_deref().unwrap_or("none"))
            .value("damaged", prepared.damaged)
            .list("reasons", refused);
        if let Some(video) = video {
            object = object
                .value("width", video.width)
                .value("height", video.height)
                .value("frame_rate", video.frame_rate)
                .value("frames", video.packets)
                .value("bit_rate", video.bit_rate.mean)
                .value("bit_rate_peak_2s", video.bit_rate.peak_2s)
                .value("gop_max_seconds", video.gop_max.as_secs_f64());
        }
        println!("{}", object.finish());
        return;
    }
    let reasons = prepared.input.at_least(Severity::Warning);
    let mut reasons: Vec<_> =
        reasons.map(|reason| format!("{:<8}{}: {}", reason.track, reason.code, reason.detail)).collect();
    // Several platforms may say the same.
    reasons.dedup();
    reasons.iter().for_each(|reason| println!("{reason}"));
    let picture = video.map(|video| {
        let (rate, kbps) = (video.frame_rate, video.bit_rate.mean / 1000);
        format!(" {}x{}, {rate:.2} fps, {kbps} kbit/s", video.width, video.height)
    });
    for event in &prepared.notices {
        if let EventKind::EncoderChanged { from, to, error } = event {
            println!("encoder {from} failed, {to} was taken instead: {}", chain(error.as_ref()));
        }
    }
    if prepared.damaged > 0 {
        println!("{} packets could not be decoded", prepared.damaged);
    }
    println!(
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
    );
}

/// The progress: a line that is written over on a terminal, a line every ten percent into a pipe.
struct Bar {
    line: Progress,
    quiet: bool,
    told: u32,
    shown: Option<Instant>,
}

impl Bar {
    fn new(json: bool) -> Self {
        let quiet = json && !std::io::stderr().is_terminal();
        Self { line: Progress::default(), quiet, told: 0, shown: None }
    }

    fn show(&mut self, progress: &PrepareProgress) {
        let percent = progress.percent();
        if self.line.is_shown() {
            let often = self.shown.is_some_and(|shown| shown.elapsed() < Duration::from_millis(100));
            if progress.stage == PrepareStage::Writing && often {
                return;
            }
            self.shown = Some(Instant::now());
            self.line.show(text(progress, true));
        } else if !self.quiet && percent as u32 / 10 > self.told {
            self.told = percent as u32 / 10;
            eprintln!("{}", text(progress, false));
        }
    }

    fn end(&self) {
        self.line.clear();
    }
}

fn text(progress: &PrepareProgress, with_bar: bool) -> String {
    // Everything has room in 60 columns.
    const WIDTH: usize = 16;
    let percent = progress.percent();
    let bar = if with_bar {
        let full = (percent / 100.0 * WIDTH as f64) as usize;
        format!("[{}{}] ", "#".repeat(full), ".".repeat(WIDTH - full.min(WIDTH)))
    } else {
        String::new()
    };
    let left = match (progress.stage, progress.left()) {
        (PrepareStage::Writing, Some(left)) => format!("{} left", clock(left)),
        (PrepareStage::Writing, None) => String::new(),
        (stage, _) => stage.as_str().to_owned(),
    };
    format!("{bar}{percent:>5.1} %  {:>6.1} fps  {:>5.2}x  {left}", progress.fps(), progress.speed())
}

/// "1:02:03" or "2:03".
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
