//! Which encoders this machine has: compiled in, working, and the one that is taken.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;

use flowcast::av::encoder::{AudioCodecKind, AudioEncoder, AudioSettings, VideoCodecKind};
use flowcast::av::{EncoderReport, Hardware};
use flowcast::{Config, chain};
use support::Result;
use support::args::Args;
use support::json::Object;

const USAGE: &str = "\
usage: encoders [--json]

  --json   print one JSON object

Each encoder is opened and given pictures until a packet comes out. `hardware` is the one taken where hardware is preferred
(PREFER_HARDWARE_ENCODING=true), `software` the one taken otherwise.

exit code: 0 there is an encoder for H.264 and one for AAC; 2 there is not; 1 the arguments are wrong";

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
    /// Which is taken, hardware first and software first.
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
    let args = Args::parse(USAGE, &[], &["--json"])?;
    if let Some(word) = args.rest().first() {
        return Err(format!("what is {word} for?\n{USAGE}").into());
    }
    let prefer_hardware = Config::from_env()?.prefer_hardware_encoding;
    let video: Vec<Codec> = CODECS.into_iter().map(video).collect();
    let audio = [AudioCodecKind::Aac, AudioCodecKind::Opus].map(|kind| {
        let opened = AudioEncoder::open(0, &AudioSettings { codec: kind, ..AudioSettings::new(48_000, 2) });
        (kind.codec().name().to_owned(), opened.err().map(|error| chain(&error)))
    });
    if args.has("--json") {
        let codecs = video.iter().map(Codec::object);
        let sound = audio.iter().map(|(name, error)| {
            let object = Object::default().text("codec", name).value("works", error.is_none());
            error.iter().fold(object, |object, error| object.text("why_not", error))
        });
        let object = Object::default()
            .value("prefer_hardware", prefer_hardware)
            .list("video", codecs)
            .list("audio", sound);
        println!("{}", object.finish());
    } else {
        tell(&video, &audio, prefer_hardware);
    }
    let works = video.first().is_some_and(|codec| codec.hardware.is_some())
        && audio.first().is_some_and(|(_, error)| error.is_none());
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::from(MISSING) })
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
    fn object(&self) -> Object {
        let encoders = self.encoders.iter().map(|encoder| {
            let object = Object::default()
                .text("name", &encoder.name)
                .value("hardware", encoder.is_hardware)
                .value("compiled_in", encoder.compiled_in)
                .value("works", encoder.opens.is_ok())
                .value("full", encoder.is_full)
                .value("sessions", encoder.sessions);
            match &encoder.opens {
                Ok(()) => object,
                Err(why) => object.text("why_not", why),
            }
        });
        let object = Object::default().text("codec", &self.name).list("encoders", encoders);
        let taken = [("hardware", &self.hardware), ("software", &self.software)];
        taken.into_iter().fold(object, |object, (name, taken)| match taken {
            Some(taken) => object.text(name, taken),
            None => object.value(name, "null"),
        })
    }

    /// What an encoder is taken for.
    fn role(&self, name: &str) -> &'static str {
        let is = |taken: &Option<String>| taken.as_deref() == Some(name);
        match (is(&self.hardware), is(&self.software)) {
            (true, true) => "taken",
            (true, false) => "taken where hardware is preferred",
            (false, true) => "taken where software is preferred",
            (false, false) => "",
        }
    }
}

fn tell(video: &[Codec], audio: &[(String, Option<String>)], prefer_hardware: bool) {
    println!("{:<6}{:<19}{:<10}{:<13}works", "codec", "encoder", "by", "compiled in");
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
            println!("{}", line.trim_end());
        }
    }
    for (name, error) in audio {
        let works = if error.is_none() { "yes" } else { "no" };
        let remark = error.as_deref().unwrap_or("taken");
        println!("{name:<6}{:<19}{:<10}{:<13}{works:<7}{remark}", "", "software", "");
    }
    let preferred = if prefer_hardware { "hardware" } else { "software" };
    println!("{preferred} is preferred (PREFER_HARDWARE_ENCODING)");
}
