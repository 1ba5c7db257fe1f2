//! How a source is encoded, by the command line.

use flowcast::{EncoderChoice, Encoding, Mode, Platform, Profile, Source};

use super::Result;
use super::args::Args;

/// Lines for the usage.
pub const USAGE: &str = "\
  --mode M       copy (the default), auto (encode what does not fit) or encode
  --platform P   youtube, twitch, facebook or any: where it has to fit; may be given several times
  --profile P    ultra, default, high, ladder-high, ladder-medium, ladder-low, ladder-potato or low-latency-cbr
  --bitrate K    thousand bits per second of what is encoded
  --encoder E    auto, hardware, software, or libav's name of an encoder
";

/// Options that take a value.
pub const OPTIONS: [&str; 5] = ["--mode", "--platform", "--profile", "--bitrate", "--encoder"];

/// The same source, encoded as the arguments say.
pub fn apply(source: Source, args: &Args) -> Result<Source> {
    let mut encoding = Encoding::default();
    if let Some(name) = args.all("--profile").last() {
        encoding.profile = Profile::by_name(name).ok_or_else(|| format!("no profile is called {name}"))?;
    }
    encoding.video_kbps = args.last("--bitrate")?;
    encoding.encoder = match args.all("--encoder").last().copied() {
        None | Some("auto") => EncoderChoice::Auto,
        Some("hardware") => EncoderChoice::Hardware,
        Some("software") => EncoderChoice::Software,
        Some(name) => EncoderChoice::Named(name.to_owned()),
    };
    let mode = match args.all("--mode").last().copied() {
        None | Some("copy") => Mode::Copy,
        Some("auto") => Mode::Auto,
        Some("encode") => Mode::Encode,
        Some(name) => return Err(format!("no mode is called {name}").into()),
    };
    let mut source = source.mode(mode).encoding(encoding);
    for name in args.all("--platform") {
        let platform = Platform::by_name(name).ok_or_else(|| format!("no platform is called {name}"))?;
        source = source.platform(platform);
    }
    Ok(source)
}
