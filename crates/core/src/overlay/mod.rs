//! What is drawn over pictures: logos, lines of text, clocks.
//!
//! In: descriptions, and what the program changes on the air. Out: pictures in which it shows, on the thread that encodes them. What is drawn is
//! made ready once and again after each change; a picture costs the pixels of the box that are not transparent, and a copy of itself where a decoder needs it as it is.

mod board;
mod clock;
#[cfg_attr(not(feature = "libav"), path = "without_libav.rs")]
mod loaded;
#[cfg(feature = "libav")]
mod painter;
#[cfg(feature = "libav")]
mod text;
#[cfg(feature = "serde")]
mod wire;

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

pub(crate) use self::board::Board;
#[cfg(feature = "libav")]
pub(crate) use self::board::Kind;
pub use self::board::OverlayHandle;
pub use self::clock::Clock;
pub(crate) use self::loaded::Overlays;
#[cfg(feature = "libav")]
pub(crate) use self::painter::Painter;
use crate::error::Error;
use crate::words::words;

/// The longest name, in characters.
const MAX_NAME: usize = 128;
/// The longest text, in characters.
const MAX_TEXT: usize = 1000;
/// Heights of text, in pixels.
const TEXT_SIZES: std::ops::RangeInclusive<u32> = 6..=1000;
/// The largest distance from an edge, and the largest width, in pixels.
const MOST_PIXELS: u32 = 8192;

/// Where something is in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Anchor {
    /// The upper left corner.
    #[default]
    TopLeft,
    /// The middle of the upper edge.
    Top,
    /// The upper right corner.
    TopRight,
    /// The middle of the left edge.
    Left,
    /// The middle.
    Center,
    /// The middle of the right edge.
    Right,
    /// The lower left corner.
    BottomLeft,
    /// The middle of the lower edge.
    Bottom,
    /// The lower right corner.
    BottomRight,
}

words!(
    Anchor,
    "place in a picture",
    TopLeft = "top-left",
    Top = "top",
    TopRight = "top-right",
    Left = "left",
    Center = "center",
    Right = "right",
    BottomLeft = "bottom-left",
    Bottom = "bottom",
    BottomRight = "bottom-right",
);

/// How wide an image is drawn; its height follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverlayWidth {
    /// In pixels, 1 to 8192.
    Pixels(u32),
    /// In percent of the width of the picture, 1 to 100.
    Percent(u8),
}

/// A colour: red, green, blue and alpha, 8 bits each; alpha 0 is transparent. As text `#rrggbb` or `#rrggbbaa`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color {
    /// Red.
    pub red: u8,
    /// Green.
    pub green: u8,
    /// Blue.
    pub blue: u8,
    /// From 0, transparent, to 255, opaque.
    pub alpha: u8,
}

impl Color {
    /// White, opaque.
    pub const WHITE: Self = Self::rgb(255, 255, 255);
    /// Black, opaque.
    pub const BLACK: Self = Self::rgb(0, 0, 0);

    /// An opaque colour.
    #[must_use]
    pub const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue, alpha: 255 }
    }

    /// The same colour with another alpha.
    #[must_use]
    pub const fn with_alpha(self, alpha: u8) -> Self {
        Self { alpha, ..self }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)?;
        if self.alpha == 255 { Ok(()) } else { write!(f, "{:02x}", self.alpha) }
    }
}

impl std::str::FromStr for Color {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits =
            text.strip_prefix('#').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.filter(|digits| matches!(digits.len(), 6 | 8));
        let number = digits.and_then(|digits| u32::from_str_radix(&format!("{digits:f<8}"), 16).ok());
        let [red, green, blue, alpha] = number.map(u32::to_be_bytes).ok_or_else(|| Error::Config {
            name: "color",
            reason: format!("{text:?} is no colour, such as \"#ff8800\" or \"#ff880080\""),
        })?;
        Ok(Self { red, green, blue, alpha })
    }
}

/// A font: a TrueType or OpenType file with outlines. There is none by default.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Font(FontSource);

#[derive(Clone, PartialEq, Eq, Hash)]
enum FontSource {
    File(PathBuf),
    Bytes(Bytes),
}

impl Font {
    /// The font of a file, which is read when the stream starts.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(FontSource::File(path.into()))
    }

    /// The bytes of such a file.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(FontSource::Bytes(bytes.into()))
    }
}

impl fmt::Debug for Font {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            FontSource::File(path) => write!(f, "Font({})", path.display()),
            FontSource::Bytes(bytes) => write!(f, "Font({} bytes)", bytes.len()),
        }
    }
}

/// What text looks like. Characters are set from left to right, each by itself, with the kerning of the font; scripts that need more than that (Arabic,
/// Devanagari) are not set right. A line feed begins another line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TextStyle {
    /// The font.
    pub font: Font,
    /// The height of a line in pixels, 6 to 1000. Default 32.
    pub size: u32,
    /// The colour of the characters. Default white.
    pub color: Color,
    /// The colour of the box behind them. Default `None`: there is no box.
    pub background: Option<Color>,
}

impl TextStyle {
    /// White, 32 pixels high, without a box.
    #[must_use]
    pub fn new(font: Font) -> Self {
        Self { font, size: 32, color: Color::WHITE, background: None }
    }
}

crate::settings::settings!(TextStyle);

/// What is drawn.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    File(PathBuf),
    Pixels { width: u32, height: u32, pixels: Bytes },
    Text { line: String, style: TextStyle },
    Clock { clock: Clock, style: TextStyle },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Pixels { width, height, .. } => write!(f, "Pixels({width}x{height})"),
            Self::Text { line, style } => f.debug_tuple("Text").field(line).field(style).finish(),
            Self::Clock { clock, style } => f.debug_tuple("Clock").field(clock).field(style).finish(),
        }
    }
}

/// Something that is drawn over the pictures of a stream that is encoded; see [`Encoding::overlay`](crate::Encoding::overlay).
///
/// One with a [name](Self::named) can be changed on the air, by [`StreamRef::overlay`](crate::StreamRef::overlay). Where several overlap, the later one
/// is on top. Pixels beside them are encoded as if there were none.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod overlay { pub use flowcast_core::*; } }
/// use std::time::Duration;
///
/// use flowcast::overlay::{Anchor, Clock, Font, Overlay, TextStyle};
/// use flowcast::{Config, Encoding, Engine, Mode, Output, Source};
///
/// let style = TextStyle::new(Font::file("DejaVuSans.ttf"));
/// let encoding = Encoding::default()
///     .overlay(Overlay::image("logo.png").at(Anchor::TopRight).offset(24, 16))
///     .overlay(Overlay::clock(Clock::new("%H:%M:%S"), style.clone()).at(Anchor::TopLeft))
///     .overlay(Overlay::text("starting soon", style).named("line").at(Anchor::Bottom).offset(0, 40));
/// let engine = Engine::new(Config::default())?;
/// let source = Source::published("studio").mode(Mode::Encode).encoding(encoding);
/// let live = engine.stream(source).to(Output::record("show.flv")).start()?;
/// live.overlay("line")?.set_text("now: the news")?;
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use = "an overlay does nothing until an encoding has it"]
pub struct Overlay {
    pub(crate) content: Content,
    pub(crate) name: Option<String>,
    pub(crate) at: Anchor,
    pub(crate) offset: (u32, u32),
    pub(crate) width: Option<OverlayWidth>,
    /// In percent.
    pub(crate) opacity: u8,
    pub(crate) hidden: bool,
}

impl Overlay {
    fn of(content: Content) -> Self {
        let (at, offset) = (Anchor::default(), (0, 0));
        Self { content, name: None, at, offset, width: None, opacity: 100, hidden: false }
    }

    /// The picture of a PNG, JPEG, WebP or BMP file with its transparency. The file is read when the stream starts.
    pub fn image(path: impl Into<PathBuf>) -> Self {
        Self::of(Content::File(path.into()))
    }

    /// A picture of these pixels: red, green, blue and alpha, 8 bits each, not multiplied by alpha, row by row without padding.
    pub fn pixels(width: u32, height: u32, pixels: impl Into<Bytes>) -> Self {
        Self::of(Content::Pixels { width, height, pixels: pixels.into() })
    }

    /// Text, at most 1000 characters.
    pub fn text(line: impl Into<String>, style: TextStyle) -> Self {
        Self::of(Content::Text { line: line.into(), style })
    }

    /// The time of day, by the system's clock, when a picture is on the air. Of what is read ahead, that is expected, and may be off by as much as the
    /// stream is held up.
    pub fn clock(clock: impl Into<Clock>, style: TextStyle) -> Self {
        Self::of(Content::Clock { clock: clock.into(), style })
    }

    /// The name it can be changed by on the air, 1 to 128 characters. Files with such an overlay are encoded while they are played: they have no
    /// [reel](crate::Config::reels). Default none.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it is. Default the upper left corner.
    pub fn at(mut self, at: Anchor) -> Self {
        self.at = at;
        self
    }

    /// How far it is from the edges that [`at`](Self::at) names, in pixels; from the middle, to the right and down. At most 8192. Both are made
    /// even, as colours of two pixels by two are encoded together. Default 0.
    pub fn offset(mut self, x: u32, y: u32) -> Self {
        self.offset = (x, y);
        self
    }

    /// How wide an image is. Default: as many pixels as it has; one that is larger than the picture is made as large as that. Refused for text.
    pub fn width(mut self, width: OverlayWidth) -> Self {
        self.width = Some(width);
        self
    }

    /// From 0, nothing to see, to 100. Default 100.
    pub fn opacity(mut self, percent: u8) -> Self {
        self.opacity = percent;
        self
    }

    /// It does not show until it is [shown](OverlayHandle::show). Only for one with a name.
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Whether it may look otherwise later.
    pub(crate) fn changes(&self) -> bool {
        self.name.is_some() || matches!(self.content, Content::Clock { .. })
    }

    #[cfg(feature = "libav")]
    pub(crate) fn kind(&self) -> Kind {
        match self.content {
            Content::File(_) | Content::Pixels { .. } => Kind::Image,
            Content::Text { .. } | Content::Clock { .. } => Kind::Text,
        }
    }

    fn style(&self) -> Option<&TextStyle> {
        match &self.content {
            Content::Text { style, .. } | Content::Clock { style, .. } => Some(style),
            Content::File(_) | Content::Pixels { .. } => None,
        }
    }

    /// All that cannot work.
    fn problems(&self, mut fail: impl FnMut(String)) {
        if self.name.as_ref().is_some_and(|name| !is_name(name)) {
            fail(format!("a name is 1 to {MAX_NAME} characters without control characters"));
        }
        if self.opacity > 100 {
            fail("the opacity must be 0 to 100".to_owned());
        }
        if self.offset.0.max(self.offset.1) > MOST_PIXELS {
            fail(format!("the offset must be at most {MOST_PIXELS}"));
        }
        if self.hidden && self.name.is_none() {
            fail("it is hidden and has no name to be shown by".to_owned());
        }
        match self.width {
            Some(_) if self.style().is_some() => {
                fail("the width of text follows from its size".to_owned());
            }
            Some(OverlayWidth::Pixels(pixels)) if !(1..=MOST_PIXELS).contains(&pixels) => {
                fail(format!("the width must be 1 to {MOST_PIXELS} pixels"));
            }
            Some(OverlayWidth::Percent(percent)) if !(1..=100).contains(&percent) => {
                fail("the width must be 1 to 100 percent".to_owned());
            }
            _ => {}
        }
        if self.style().is_some_and(|style| !TEXT_SIZES.contains(&style.size)) {
            fail(format!("the size of text must be {} to {}", TEXT_SIZES.start(), TEXT_SIZES.end()));
        }
        match &self.content {
            Content::Pixels { width, height, pixels } => {
                if let Err(reason) = check_pixels(*width, *height, pixels.len()) {
                    fail(reason);
                }
            }
            Content::Text { line, .. } => check_text(line).err().into_iter().for_each(&mut fail),
            Content::Clock { clock, .. } => clock.problems().into_iter().for_each(&mut fail),
            Content::File(_) => {}
        }
    }
}

/// All that cannot work of these.
pub(crate) fn problems(overlays: &[Overlay]) -> Vec<Error> {
    let mut found = Vec::new();
    for (number, overlay) in overlays.iter().enumerate() {
        let mut fail = |reason: String| {
            let name = overlay.name.clone().unwrap_or_else(|| number.to_string());
            found.push(Error::Config { name: "encoding.overlays", reason: format!("{name}: {reason}") });
        };
        overlay.problems(&mut fail);
        let is_taken = overlays.iter().take(number).any(|other| other.name == overlay.name);
        if overlay.name.is_some() && is_taken {
            fail("another overlay has this name".to_owned());
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// Why a text cannot be drawn.
fn check_text(text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_TEXT {
        return Err(format!("text is at most {MAX_TEXT} characters"));
    }
    if text.chars().any(|character| character.is_control() && character != '\n') {
        return Err("text holds a control character".to_owned());
    }
    Ok(())
}

/// Why these are no pixels of a picture.
fn check_pixels(width: u32, height: u32, bytes: usize) -> Result<(), String> {
    let sides = 1..=MOST_PIXELS;
    let is_right =
        sides.contains(&width) && sides.contains(&height) && bytes == width as usize * height as usize * 4;
    if !is_right {
        return Err(format!("{bytes} bytes for {width} x {height} pixels of four bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let style = || TextStyle::new(Font::file("a.ttf"));
        let refused = |overlay: Overlay| problems(&[overlay]).first().expect("it cannot work").to_string();
        assert!(problems(&[Overlay::image("a.png"), Overlay::text("a\nb", style())]).is_empty());
        assert!(refused(Overlay::image("a").opacity(101)).contains("encoding.overlays: 0: the opacity"));
        assert!(refused(Overlay::pixels(u32::MAX, u32::MAX, vec![0; 4])).contains("4 bytes for"));
        assert!(refused(Overlay::image("a").named("logo").offset(9000, 0)).contains("logo: the offset"));
        assert!(refused(Overlay::image("a").hidden()).contains("no name"));
        assert!(refused(Overlay::image("a").named("")).contains("a name"));
        assert!(refused(Overlay::image("a").width(OverlayWidth::Percent(0))).contains("percent"));
        assert!(refused(Overlay::text("a", style()).width(OverlayWidth::Pixels(9))).contains("text"));
        assert!(refused(Overlay::text("a\t", style())).contains("control"));
        assert!(refused(Overlay::text("a", style().with(|style| style.size = 5))).contains("6 to 1000"));
        assert!(refused(Overlay::pixels(2, 2, vec![0; 15])).contains("15 bytes"));
        assert!(refused(Overlay::clock("%H:%Q", style())).contains("%Q"));
        let twice = [Overlay::image("a").named("x"), Overlay::image("b").named("x")];
        assert!(problems(&twice)[0].to_string().contains("another overlay"));
    }

    #[test]
    fn colours_are_read_as_they_are_written() {
        for text in ["#ff8800", "#01020304", "#000000"] {
            assert_eq!(text.parse::<Color>().expect("a colour").to_string(), text);
        }
        for text in ["", "red", "#fff", "ff8800", "#gg0000", "#ff88001"] {
            assert!(text.parse::<Color>().is_err(), "{text}");
        }
    }
}
