//! What pictures of a program are like: said, never guessed.

use flowcast_av::ColorInfo;

use crate::error::Error;
use crate::transcode::FrameRate;
use crate::words::words;

/// The largest side of a picture, in pixels.
const MOST_PIXELS: u32 = 8192;

/// How the pixels of a picture lie in memory: 8 bits for each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Three planes: brightness, and two of colour with half the width and half the height. What encoders take: nothing is converted.
    Yuv420p,
    /// Two planes: brightness, and both colours in turn with half the width and half the height.
    Nv12,
    /// One plane, four bytes a pixel: red, green, blue, opacity, which is ignored.
    Rgba,
    /// One plane, four bytes a pixel: blue, green, red, opacity, which is ignored.
    Bgra,
    /// One plane, three bytes a pixel: red, green, blue.
    Rgb24,
}

// As libav calls them.
words!(
    PixelFormat,
    "pixel format",
    Yuv420p = "yuv420p",
    Nv12 = "nv12",
    Rgba = "rgba",
    Bgra = "bgra",
    Rgb24 = "rgb24"
);

impl PixelFormat {
    /// Its planes.
    #[must_use]
    pub const fn planes(self) -> usize {
        match self {
            Self::Yuv420p => 3,
            Self::Nv12 => 2,
            Self::Rgba | Self::Bgra | Self::Rgb24 => 1,
        }
    }

    /// Whether pixels are red, green and blue.
    #[must_use]
    pub const fn is_rgb(self) -> bool {
        matches!(self, Self::Rgba | Self::Bgra | Self::Rgb24)
    }

    /// Bytes of a row of this plane that are pixels, and its rows; zeros for a plane it does not have.
    #[must_use]
    pub const fn plane_size(self, plane: usize, (width, height): (u32, u32)) -> (usize, usize) {
        let (width, height) = (width as usize, height as usize);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        match (self, plane) {
            (Self::Yuv420p | Self::Nv12, 0) => (width, height),
            (Self::Yuv420p, 1 | 2) => (half_width, half_height),
            (Self::Nv12, 1) => (2 * half_width, half_height),
            (Self::Rgba | Self::Bgra, 0) => (4 * width, height),
            (Self::Rgb24, 0) => (3 * width, height),
            _ => (0, 0),
        }
    }
}

/// The matrix between YUV and red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ColorMatrix {
    /// BT.709, of high definition.
    #[default]
    Bt709,
    /// BT.601, of standard definition.
    Bt601,
}

/// Which values stand for black and white in YUV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ColorRange {
    /// 16 and 235.
    #[default]
    Limited,
    /// 0 and 255. It is brought to the limited range, which players of live streams expect.
    Full,
}

words!(ColorMatrix, "colour matrix", Bt709 = "bt709", Bt601 = "bt601");
words!(ColorRange, "colour range", Limited = "limited", Full = "full");

/// What the pictures of a program are like.
///
/// ```
/// # mod flowcast { pub mod frames { pub use flowcast_core::frames::*; } pub mod encode { pub use flowcast_core::FrameRate; } }
/// use flowcast::encode::FrameRate;
/// use flowcast::frames::{ColorMatrix, PixelFormat, VideoFormat};
///
/// let drawn = VideoFormat::new(PixelFormat::Rgba, 1280, 720, FrameRate::whole(30));
/// let camera = VideoFormat::new(PixelFormat::Nv12, 640, 480, FrameRate::whole(25)).matrix(ColorMatrix::Bt601);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VideoFormat {
    pub(crate) pixels: PixelFormat,
    pub(crate) size: (u32, u32),
    pub(crate) rate: FrameRate,
    pub(crate) matrix: ColorMatrix,
    pub(crate) range: ColorRange,
}

impl VideoFormat {
    /// Pictures of this width and height in pixels, 2 to 8192 each, at about this rate. The stream has the size that
    /// [`Encoding::size`](crate::Encoding::size) says, or else this one, made even; and the rate of
    /// [`Encoding::frame_rate`](crate::Encoding::frame_rate), or else this one, at most 60 a second.
    #[must_use]
    pub const fn new(pixels: PixelFormat, width: u32, height: u32, rate: FrameRate) -> Self {
        let (matrix, range) = (ColorMatrix::Bt709, ColorRange::Limited);
        Self { pixels, size: (width, height), rate, matrix, range }
    }

    /// The matrix of YUV pictures, which the stream keeps. Default [`ColorMatrix::Bt709`]. Refused for red, green and blue, which become
    /// BT.709.
    #[must_use]
    pub const fn matrix(mut self, matrix: ColorMatrix) -> Self {
        self.matrix = matrix;
        self
    }

    /// The range of YUV pictures. Default [`ColorRange::Limited`]. Refused for red, green and blue, which always have all values.
    #[must_use]
    pub const fn range(mut self, range: ColorRange) -> Self {
        self.range = range;
        self
    }

    /// How the pixels lie in memory.
    #[must_use]
    pub const fn pixel_format(&self) -> PixelFormat {
        self.pixels
    }

    /// Width and height in pixels.
    #[must_use]
    pub const fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Pictures a second.
    #[must_use]
    pub const fn rate(&self) -> FrameRate {
        self.rate
    }

    /// Bytes of the pixels of a picture.
    pub(super) fn bytes(&self) -> usize {
        let plane = |plane| {
            let (row, rows) = self.pixels.plane_size(plane, self.size);
            row * rows
        };
        (0..self.pixels.planes()).map(plane).sum()
    }

    pub(super) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        let (width, height) = self.size;
        if !(2..=MOST_PIXELS).contains(&width) || !(2..=MOST_PIXELS).contains(&height) {
            fail("frames.size", "each side must be 2 to 8192 pixels");
        }
        if self.pixels.is_rgb() && self.matrix != ColorMatrix::default() {
            fail("frames.matrix", "red, green and blue have no matrix: they become BT.709");
        }
        if self.pixels.is_rgb() && self.range != ColorRange::default() {
            fail("frames.range", "red, green and blue always have all values");
        }
        found
    }

    /// The same in libav's words.
    pub(crate) fn described(&self) -> flowcast_av::VideoFormat {
        let name = match self.matrix {
            ColorMatrix::Bt709 => "bt709",
            ColorMatrix::Bt601 => "smpte170m",
        };
        let range = match self.range {
            ColorRange::Limited => "tv",
            ColorRange::Full => "pc",
        };
        let said = |text: &str| (!self.pixels.is_rgb()).then(|| text.to_owned());
        flowcast_av::VideoFormat {
            width: self.size.0,
            height: self.size.1,
            pixel_format: self.pixels.as_str().to_owned(),
            sample_aspect: None,
            color: ColorInfo {
                range: said(range),
                space: said(name),
                primaries: said(name),
                transfer: said(name),
            },
        }
    }
}
