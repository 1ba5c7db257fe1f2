//! Which encoders this machine has: compiled in, working, and the one that is taken.

#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use flowcast::Config;
use flowcast::av::encoder::{AudioCodecKind, AudioEncoder, AudioSettings, VideoCodecKind};
use flowcast::av::{EncoderReport, Hardware};
use flowcast::error::chain;
use serde::Serialize;
use support::print::out;
use support::{Result, cli, print, progress};

/// Lists the encoders of this machine: compiled in, working, and which one is used.
///
/// Each encoder is opened and given pictures until a packet comes out.
#[derive(Parser)]
#[command(max_term_width = cli::WIDTH, after_help = HELP)]
struct Cli {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Environment:
  PREFER_HARDWARE_ENCODING=false  use software even where hardware works

Exit codes:
  0  there is an encoder for H.264 and one for AAC
  1  the arguments are wrong
  2  there is none";

/// Without these nothing can be encoded for a platform.
const MISSING: u8 = 2;

const CODECS: [VideoCodecKind; 5] = [
    VideoCodecKind::H264,
    VideoCodecKind::Hevc,
    VideoCodecKind::Av1,
    VideoCodecKind::Vp8,
    VideoCodecKind::Vp9,
];

/// The encoders of one codec.
struct Codec {
    name: String,
    encoders: Vec<EncoderReport>,
    /// Which is used, hardware first and software first.
    hardware: Option<String>,
    software: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => support::exit(Err(error)),
    }
}

fn run() -> Result<ExitCode> {
    let cli: Cli = cli::parse();
    let prefer_hardware = Config::from_env()?.prefer_hardware_encoding;
    let spinner = progress::spinner("opening encoders");
    let video: Vec<Codec> = CODECS.into_iter().map(video).collect();
    let audio = [AudioCodecKind::Aac, AudioCodecKind::Opus].map(audio);
    drop(spinner);
    if cli.json {
        let video = video.iter().map(CodecView::from).collect();
        print::json(&Report { prefer_hardware, video, audio: &audio })?;
    } else {
        tell(&video, &audio, prefer_hardware)?;
    }
    let works = video.first().is_some_and(|codec| codec.hardware.is_some())
        && audio.first().is_some_and(|audio| audio.works);
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::from(MISSING) })
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    prefer_hardware: bool,
    video: Vec<CodecView<'a>>,
    audio: &'a [Audio],
}

#[derive(Serialize)]
struct CodecView<'a> {
    codec: &'a str,
    encoders: &'a [EncoderReport],
    hardware: Option<&'a str>,
    software: Option<&'a str>,
}

impl<'a> From<&'a Codec> for CodecView<'a> {
    fn from(codec: &'a Codec) -> Self {
        Self {
            codec: &codec.name,
            encoders: &codec.encoders,
            hardware: codec.hardware.as_deref(),
            software: codec.software.as_deref(),
        }
    }
}

/// The encoder of a codec for sound.
#[derive(Serialize)]
struct Audio {
    codec: String,
    works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

fn audio(kind: AudioCodecKind) -> Audio {
    let opened = AudioEncoder::open(0, &AudioSettings { codec: kind, ..AudioSettings::new(48_000, 2) });
    Audio {
        codec: kind.codec().name().to_owned(),
        works: opened.is_ok(),
        why_not: opened.err().map(|error| chain(&error)),
    }
}

fn video(kind: VideoCodecKind) -> Codec {
    let hardware = Hardware::shared();
    Codec {
        name: kind.codec().name().to_owned(),
        encoders: hardware.candidates(kind),
        hardware: hardware.best(kind, true).ok(),
        software: hardware.best(kind, false).ok(),
    }
}

impl Codec {
    /// What an encoder is used for.
    fn role(&self, name: &str) -> &'static str {
        let is = |taken: &Option<String>| taken.as_deref() == Some(name);
        match (is(&self.hardware), is(&self.software)) {
            (true, true) => "used",
            (true, false) => "used where hardware is preferred",
            (false, true) => "used where software is preferred",
            (false, false) => "",
        }
    }
}

fn tell(video: &[Codec], audio: &[Audio], prefer_hardware: bool) -> Result<()> {
    out!("{:<6}{:<19}{:<10}{:<13}works", "codec", "encoder", "by", "compiled in")?;
    for codec in video {
        for encoder in &codec.encoders {
            let by = if encoder.is_hardware { "hardware" } else { "software" };
            let yes = |is| if is { "yes" } else { "no" };
            let remark = match &encoder.opens {
                Err(why) if encoder.compiled_in => why.as_str(),
                Ok(()) if encoder.is_full => "all its sessions are in use",
                _ => codec.role(&encoder.name),
            };
            let (compiled_in, works) = (yes(encoder.compiled_in), yes(encoder.opens.is_ok()));
            let (codec, name) = (&codec.name, &encoder.name);
            let line = format!("{codec:<6}{name:<19}{by:<10}{compiled_in:<13}{works:<7}{remark}");
            out!("{}", line.trim_end())?;
        }
    }
    for Audio { codec: name, works, why_not } in audio {
        let works = if *works { "yes" } else { "no" };
        let remark = why_not.as_deref().unwrap_or("used");
        out!("{name:<6}{:<19}{:<10}{:<13}{works:<7}{remark}", "", "software", "")?;
    }
    let preferred = if prefer_hardware { "hardware" } else { "software" };
    out!("{preferred} is preferred (PREFER_HARDWARE_ENCODING)")?;
    Ok(())
}
