//! How the examples are told what to encode: `--mode`, `--platform`, `--profile`, `--bitrate`, `--size`, `--fps`, `--encoder`.

use flowcast::av::Hardware;
use flowcast::av::encoder::VideoCodecKind;
use flowcast::{
    Config, EncoderChoice, Encoding, EventKind, FrameRate, Mode, Platform, Profile, Source, StreamStats,
};

use crate::support::Result;
use crate::support::args::Args;

/// The options, all of which take a value.
pub(crate) const OPTIONS: [&str; 7] =
    ["--mode", "--platform", "--profile", "--bitrate", "--size", "--fps", "--encoder"];
/// What `--help` says of them.
pub(crate) const USAGE: &str =
    "  --mode M       copy (default), encode, or auto (default with --platform): encode what does not fit
  --platform P   youtube, twitch, facebook or any (RTMP server): where it goes; may be given several times
  --profile P    copy, ultra, ladder-potato, -low, -medium, -high, default, high, low-latency-cbr
  --bitrate KBPS   of the picture
  --size WxH, --fps N   otherwise the source's, within what the platforms take
  --encoder E    auto (default: by PREFER_HARDWARE_ENCODING), software, hardware, or libav's name of one";

/// What was asked for, as far as a person is told.
#[derive(Debug)]
pub(crate) struct Asked {
    mode: Mode,
    /// The encoder that is used where something is encoded; `None` if nothing ever is.
    encoder: Option<String>,
}

impl Asked {
    /// What the arguments say; the rest is as the engine is configured.
    pub(crate) fn of(args: &Args, config: &Config) -> Result<Self> {
        let default = if args.all("--platform").is_empty() { Mode::Copy } else { Mode::Auto };
        let mode = mode(args)?.unwrap_or(default);
        let mut encoding = Encoding::default();
        apply(args, &mut encoding)?;
        let software = || "libx264".to_owned();
        let best = || Hardware::shared().best(VideoCodecKind::H264, true).unwrap_or_else(|_| software());
        let encoder = match encoding.encoder {
            _ if mode == Mode::Copy => None,
            // One that does not open is replaced by software.
            EncoderChoice::Named(name) => {
                let candidates = Hardware::shared().candidates(VideoCodecKind::H264);
                let opens = candidates.iter().any(|known| known.name == name && known.opens.is_ok());
                Some(if opens { name } else { software() })
            }
            EncoderChoice::Auto if !config.prefer_hardware_encoding => Some(software()),
            EncoderChoice::Auto | EncoderChoice::Hardware => Some(best()),
            _ => Some(software()),
        };
        Ok(Self { mode, encoder })
    }

    /// Follows what happens.
    pub(crate) fn hear(&mut self, event: &EventKind) {
        if let EventKind::EncoderChanged { to, .. } = event {
            self.encoder = Some(to.clone());
        }
    }

    /// Looks at what a stream really encodes; what comes from a reel was encoded before.
    pub(crate) fn see(&mut self, stats: &StreamStats) {
        if let Some(encoding) = &stats.encoding {
            self.encoder = Some(encoding.encoder.clone());
        }
    }

    /// What was asked for: "copy", "auto", "encode".
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// libav's name of the encoder, or "none".
    pub(crate) fn encoder(&self) -> &str {
        self.encoder.as_deref().unwrap_or("none")
    }

    /// For a line.
    pub(crate) fn text(&self) -> String {
        match &self.encoder {
            Some(encoder) => format!("{} by {encoder}", self.mode),
            None => self.mode.to_string(),
        }
    }
}

/// What was asked for; `None` leaves it to the platforms.
fn mode(args: &Args) -> Result<Option<Mode>> {
    match args.last::<String>("--mode")?.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some(Mode::Auto)),
        Some("copy") => Ok(Some(Mode::Copy)),
        Some("encode") => Ok(Some(Mode::Encode)),
        Some(other) => Err(format!("--mode {other}: copy, encode or auto").into()),
    }
}

/// Gives a source what was asked for.
pub(crate) fn source(source: Source, args: &Args) -> Result<Source> {
    let profile = args.last::<String>("--profile")?;
    let profile = match profile.as_deref() {
        None => Profile::default(),
        Some(name) => Profile::by_name(name).ok_or_else(|| format!("{name}: no such profile"))?,
    };
    let mut encoding = Encoding::new(profile);
    apply(args, &mut encoding)?;
    let source = match mode(args)? {
        Some(mode) => source.mode(mode),
        None => source,
    };
    let source = source.encoding(encoding);
    Ok(platforms(args)?.into_iter().fold(source, Source::platform))
}

/// The platforms that were named.
pub(crate) fn platforms(args: &Args) -> Result<Vec<Platform>> {
    let known = Platform::NAMES.join(", ");
    let named = args.all("--platform").into_iter().map(|name| {
        Platform::by_name(name).ok_or_else(|| format!("{name}: no such platform, but {known}").into())
    });
    named.collect()
}

/// Puts figures that were given into an encoding.
pub(crate) fn apply(args: &Args, encoding: &mut Encoding) -> Result<()> {
    if let Some(kbps) = args.last("--bitrate")? {
        encoding.video_kbps = Some(kbps);
    }
    if let Some(size) = args.last::<String>("--size")? {
        let sides = size
            .split_once('x')
            .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        encoding.size = Some(sides.ok_or_else(|| format!("--size {size}: say 1280x720"))?);
    }
    if let Some(fps) = args.last::<String>("--fps")? {
        let (num, den) = fps.split_once('/').unwrap_or((&fps, "1"));
        let rate = num.parse().ok().zip(den.parse().ok()).and_then(|(num, den)| FrameRate::new(num, den));
        encoding.frame_rate = Some(rate.ok_or_else(|| format!("--fps {fps}: say 25 or 30000/1001"))?);
    }
    match args.last::<String>("--encoder")?.as_deref() {
        None | Some("auto") => {}
        Some("software") => encoding.encoder = EncoderChoice::Software,
        Some("hardware") => encoding.encoder = EncoderChoice::Hardware,
        Some(name) => encoding.encoder = EncoderChoice::Named(name.to_owned()),
    }
    Ok(())
}
