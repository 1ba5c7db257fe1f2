//! What the examples are to encode, and how: `--mode`, `--platform`, `--profile`, `--bitrate`, `--size`, `--fps`, `--encoder`;
//! how loud it is to be: `--level`; what is drawn over it: `--logo`, `--text`, `--clock`, `--filters`; and whether the bit rate follows the network:
//! `--adapt`.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;
use clap::builder::TypedValueParser;
use flowcast::av::Hardware;
use flowcast::av::encoder::VideoCodecKind;
use flowcast::encode::{Adaptation, EncoderChoice, Follow, FrameRate};
use flowcast::loudness::Loudness;
use flowcast::overlay::{Anchor, Color, Font, Overlay, TextStyle};
use flowcast::stats::StreamStats;
use flowcast::{BitRate, Config, Encoding, EventKind, Mode, Platform, Profile, Source};

use crate::support::cli;

/// How pictures are encoded.
#[derive(Args, Debug)]
pub(crate) struct Picture {
    /// Bit rate of the picture, such as 2500k or 6M; otherwise as the profile and the platforms say
    #[arg(long = "bitrate", value_name = "RATE")]
    bit_rate: Option<BitRate>,

    /// Width and height in pixels, such as 1280x720; otherwise the input's, within what the platforms take
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,

    /// Frames per second, such as 25 or 30000/1001; otherwise the input's, within what the platforms take
    #[arg(long, value_name = "N", value_parser = frame_rate)]
    fps: Option<FrameRate>,

    /// What encodes the picture: auto, software, hardware, or libav's name of an encoder, such as h264_nvenc; one
    /// that does not open is replaced by software
    #[arg(long, value_name = "NAME", value_parser = encoder)]
    encoder: Option<EncoderChoice>,
}

/// What is encoded, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "Encoding")]
pub(crate) struct EncodingArgs {
    /// What is encoded; without it copy, or auto where a platform is named or something is drawn
    #[arg(long, value_name = "MODE", value_parser = modes())]
    mode: Option<Mode>,

    /// Where the stream goes, which says what fits ("any" is any RTMP server). May be given several times
    #[arg(long = "platform", value_name = "NAME", value_parser = cli::platform())]
    platforms: Vec<Platform>,

    /// Settings of the encoder, for what is encoded
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = profiles())]
    profile: Profile,

    #[command(flatten)]
    picture: Picture,

    /// Bring each file to this loudness, -14 LUFS unless another one is given. Sound is encoded for it, pictures are not
    #[arg(long, value_name = "LUFS", num_args = 0..=1, require_equals = true, default_missing_value = "-14")]
    level: Option<f64>,

    /// The bit rate follows the network of the outputs: the slowest, the primary, or the majority of them. With it the picture is
    /// encoded
    #[arg(long, value_name = "WHOSE", num_args = 0..=1, require_equals = true, default_missing_value = "slowest", value_parser = follows())]
    adapt: Option<Follow>,

    #[command(flatten)]
    drawn: Drawn,
}

/// What is drawn over the picture. With any of it the picture is encoded.
#[derive(Args, Debug)]
struct Drawn {
    /// An image (PNG, JPEG, WebP) over the picture
    #[arg(long, value_name = "FILE")]
    logo: Option<PathBuf>,

    /// Where the image is: top-right, bottom-left, center and so on
    #[arg(long, value_name = "PLACE", default_value = "top-right", requires = "logo", value_parser = places())]
    logo_at: Anchor,

    /// A line of text at the lower edge of the picture
    #[arg(long, value_name = "TEXT", requires = "font")]
    text: Option<String>,

    /// The time of day in UTC in the upper left corner, such as %H:%M:%S
    #[arg(long, value_name = "FORM", requires = "font")]
    clock: Option<String>,

    /// The font of text: a TrueType or OpenType file
    #[arg(long, value_name = "FILE")]
    font: Option<PathBuf>,

    /// A filter graph for the picture in libav's notation, such as eq=contrast=1.1,unsharp
    #[arg(long, value_name = "GRAPH")]
    filters: Option<String>,
}

fn places() -> impl TypedValueParser<Value = Anchor> {
    clap::builder::PossibleValuesParser::new(Anchor::NAMES).try_map(|name| name.parse::<Anchor>())
}

impl Drawn {
    fn is_asked_for(&self) -> bool {
        self.logo.is_some() || self.text.is_some() || self.clock.is_some() || self.filters.is_some()
    }

    /// Puts what was given into an encoding.
    fn apply(&self, mut encoding: Encoding) -> Encoding {
        if let Some(graph) = &self.filters {
            encoding = encoding.filters(graph);
        }
        if let Some(logo) = &self.logo {
            encoding = encoding.overlay(Overlay::image(logo).at(self.logo_at).offset(24, 24));
        }
        let Some(font) = &self.font else { return encoding };
        let style = TextStyle::new(Font::file(font))
            .with(|style| style.background = Some(Color::BLACK.with_alpha(128)));
        if let Some(line) = &self.text {
            let line = Overlay::text(line, style.clone()).named("text");
            encoding = encoding.overlay(line.at(Anchor::Bottom).offset(0, 24));
        }
        if let Some(form) = &self.clock {
            encoding = encoding.overlay(Overlay::clock(form.as_str(), style).offset(24, 24));
        }
        encoding
    }
}

fn follows() -> impl TypedValueParser<Value = Follow> {
    clap::builder::PossibleValuesParser::new(Follow::NAMES).try_map(|name| name.parse::<Follow>())
}

fn modes() -> impl TypedValueParser<Value = Mode> {
    cli::one_of(vec![
        ("copy", "nothing: packets are sent as they are", Mode::Copy),
        ("auto", "what does not fit where it goes", Mode::Auto),
        ("encode", "everything", Mode::Encode),
    ])
}

fn profiles() -> impl TypedValueParser<Value = Profile> {
    clap::builder::PossibleValuesParser::new(Profile::NAMES).try_map(|name| name.parse::<Profile>())
}

fn size(text: &str) -> Result<(u32, u32), &'static str> {
    let sides =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides.ok_or("width and height are needed, such as 1280x720")
}

fn frame_rate(text: &str) -> Result<FrameRate, &'static str> {
    let (num, den) = text.split_once('/').unwrap_or((text, "1"));
    let rate = num.parse().ok().zip(den.parse().ok()).and_then(|(num, den)| FrameRate::new(num, den));
    rate.ok_or("frames per second are needed, such as 25 or 30000/1001")
}

fn encoder(text: &str) -> Result<EncoderChoice, Infallible> {
    Ok(match text {
        "auto" => EncoderChoice::Auto,
        "software" => EncoderChoice::Software,
        "hardware" => EncoderChoice::Hardware,
        name => EncoderChoice::Named(name.to_owned()),
    })
}

impl Picture {
    /// Puts what was given into an encoding.
    pub(crate) fn apply(&self, encoding: &mut Encoding) {
        encoding.video_bit_rate = self.bit_rate.or(encoding.video_bit_rate);
        encoding.size = self.size.or(encoding.size);
        encoding.frame_rate = self.fps.or(encoding.frame_rate);
        if let Some(encoder) = &self.encoder {
            encoding.encoder = encoder.clone();
        }
    }
}

impl EncodingArgs {
    /// Gives a source what was asked for.
    pub(crate) fn source(&self, source: Source) -> Source {
        let mut encoding = Encoding::new(self.profile);
        self.picture.apply(&mut encoding);
        encoding.adaptation =
            self.adapt.map(|follow| Adaptation::default().with(|adaptation| adaptation.follow = follow));
        let source = match self.mode {
            Some(mode) => source.mode(mode),
            None if self.encodes() => source.mode(Mode::Auto),
            None => source,
        };
        let encoding = self.drawn.apply(encoding);
        let source = match self.level {
            Some(lufs) => source.leveled(Loudness::default().with(|loudness| loudness.target_lufs = lufs)),
            None => source,
        };
        self.platforms.iter().cloned().fold(source.encoding(encoding), Source::platform)
    }

    /// Whether the picture is encoded whatever fits.
    fn encodes(&self) -> bool {
        self.drawn.is_asked_for() || self.adapt.is_some()
    }

    fn mode(&self) -> Mode {
        let encodes = !self.platforms.is_empty() || self.encodes();
        self.mode.unwrap_or(if encodes { Mode::Auto } else { Mode::Copy })
    }
}

/// What is encoded, as far as a person is told.
#[derive(Debug)]
pub(crate) struct Asked {
    mode: Mode,
    /// The encoder that is used where something is encoded; `None` if nothing ever is.
    encoder: Option<String>,
}

impl Asked {
    /// What the arguments say; the rest is as the engine is configured.
    pub(crate) fn of(args: &EncodingArgs, config: &Config) -> Self {
        let mode = args.mode();
        let software = || "libx264".to_owned();
        let best = || Hardware::shared().best(VideoCodecKind::H264, true).unwrap_or_else(|_| software());
        let encoder = match args.picture.encoder.clone().unwrap_or_default() {
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
        Self { mode, encoder }
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
