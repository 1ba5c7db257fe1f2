//! Small pictures that are blended into others: logos, lines of text.
//!
//! In: red, green, blue and alpha. Out: pictures in which it shows. What is blended is converted once, to the colours of the pictures and multiplied
//! by its alpha; after that each picture costs what the box has of pixels that are not transparent. Works in the thread that calls.

use bytes::Bytes;

use crate::decoder::{DecoderOptions, VideoDecoder};
use crate::frame::VideoFormats;
use crate::sys::{PlaneMut, RawFrame, RawGraph};
use crate::{Codec, ColorInfo, Error, Packet, TimeBase, TrackInfo, TrackKind, VideoFrame};

/// From this height on, pictures that do not say their matrix are taken as BT.709.
const HD_LINES: u32 = 720;
/// The largest side of what is blended.
const MOST_SIDE: u32 = 8192;

/// A picture of red, green, blue and alpha, 8 bits each, not multiplied by alpha; rows without padding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rgba {
    width: u32,
    height: u32,
    pixels: Bytes,
}

impl Rgba {
    /// A picture of these pixels, four bytes each.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a size of zero or above 8192, and for more or fewer bytes than it needs.
    pub fn new(width: u32, height: u32, pixels: impl Into<Bytes>) -> Result<Self, Error> {
        let pixels = pixels.into();
        let sides = 1..=MOST_SIDE;
        let is_right = sides.contains(&width)
            && sides.contains(&height)
            && pixels.len() == width as usize * height as usize * 4;
        if !is_right {
            let message = format!("{} bytes for {width} x {height} pixels of four bytes", pixels.len());
            return Err(Error::InvalidArgument { message });
        }
        Ok(Self { width, height, pixels })
    }

    /// The picture of a PNG, JPEG, WebP or BMP file, by its bytes.
    ///
    /// # Errors
    /// [`Error::InvalidData`] for anything else, one that is damaged, or one with a side above 8192; [`Error::Unavailable`] if this libav does not
    /// decode the format.
    ///
    /// # Blocking
    /// As long as decoding takes.
    pub fn decode(file: impl Into<Bytes>) -> Result<Self, Error> {
        let file = file.into();
        let invalid =
            |message: &str| Error::InvalidData { input: "picture".to_owned(), message: message.to_owned() };
        let codec = match &file[..] {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [0xFF, 0xD8, 0xFF, ..] => "mjpeg",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "webp",
            [b'B', b'M', ..] => "bmp",
            _ => return Err(invalid("it is none of PNG, JPEG, WebP and BMP")),
        };
        let track = TrackInfo::new(0, TrackKind::Video, Codec::from_name(codec), TimeBase::MILLIS);
        let options =
            DecoderOptions { max_pixels: u64::from(MOST_SIDE * MOST_SIDE), ..DecoderOptions::default() };
        let mut decoder = VideoDecoder::open(&track, &options)?;
        decoder.push(&Packet::new(0, Some(0), Some(0), file))?;
        decoder.finish()?;
        let picture = decoder.pull()?.ok_or_else(|| invalid("no picture comes out of it"))?;
        let (width, height) = (picture.format().width, picture.format().height);
        let rgba = converted(picture, "format=rgba")?;
        Self::new(width, height, rgba.to_bytes()?)
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The same picture in another size. Transparent pixels do not colour those beside them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a size of zero or above 8192; [`Error::Libav`].
    pub fn scaled(&self, width: u32, height: u32) -> Result<Self, Error> {
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        let sides = 1..=MOST_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(Error::InvalidArgument { message: format!("a picture of {width} x {height}") });
        }
        let mut raw = RawFrame::black(self.width, self.height, "rgba")?;
        let row = self.width as usize * 4;
        let PlaneMut { bytes, stride } = raw.own_plane(0)?;
        for (to, from) in bytes.chunks_mut(stride).zip(self.pixels.chunks_exact(row)) {
            for (to, from) in to.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
                let alpha = u16::from(from[3]);
                for (to, from) in to.iter_mut().zip(&from[..3]) {
                    *to = over_255(u16::from(*from) * alpha);
                }
                to[3] = from[3];
            }
        }
        let picture = VideoFrame::new(raw, &mut VideoFormats::default());
        let flags = if width < self.width { "area" } else { "bicubic" };
        let scaled = converted(picture, &format!("scale={width}:{height}:flags={flags},format=rgba"))?;
        let mut pixels = scaled.to_bytes()?;
        for pixel in pixels.chunks_exact_mut(4) {
            let alpha = u16::from(pixel[3]);
            for value in &mut pixel[..3] {
                let whole = (u16::from(*value) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0);
                *value = u8::try_from(whole).unwrap_or(u8::MAX);
            }
        }
        Self::new(width, height, pixels)
    }
}

/// What libav's filters make of one picture.
pub(crate) fn converted(mut picture: VideoFrame, chain: &str) -> Result<VideoFrame, Error> {
    picture.set_pts(Some(0));
    let from = picture.format().clone();
    let mut graph = RawGraph::open(&from, TimeBase::MILLIS, chain, 1)?;
    graph.send(Some(picture.into_raw()))?;
    graph.send(None)?;
    let raw = graph
        .receive()?
        .ok_or_else(|| Error::InvalidArgument { message: "a picture that cannot be converted".to_owned() })?;
    Ok(VideoFrame::new(raw, &mut VideoFormats::default()))
}

/// A picture that is ready to be blended into others of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Luma, and the two differences at half its size.
    planes: [Ink; 3],
}

/// One plane of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ink {
    width: usize,
    alpha: Vec<u8>,
    /// Values multiplied by alpha.
    light: Vec<u16>,
    /// Of each row, where what is not transparent begins and ends.
    spans: Vec<(usize, usize)>,
}

impl Stamp {
    /// Converts a picture to the colours of pictures of limited range that are described like this and `height` pixels high: where they do not say
    /// their matrix, BT.709 from 720 lines on, else BT.601. `opacity` is from 0 to 255.
    #[must_use]
    pub fn new(picture: &Rgba, color: &ColorInfo, height: u32, opacity: u8) -> Self {
        let (red, blue) = match color.space.as_deref() {
            Some("bt709") => (0.2126, 0.0722),
            Some("bt2020nc" | "bt2020c") => (0.2627, 0.0593),
            Some("smpte240m") => (0.212, 0.087),
            None if height >= HD_LINES => (0.2126, 0.0722),
            _ => (0.299, 0.114),
        };
        let (width, rows) = (picture.width as usize, picture.height as usize);
        let mut planes =
            [Ink::empty(width, rows), Ink::empty(width.div_ceil(2), rows.div_ceil(2)), Ink::empty(0, 0)];
        planes[2] = planes[1].clone();
        // Sums over the pixels that share a difference: alpha, and the differences times alpha.
        let mut sums = vec![[0.0_f32; 3]; planes[1].alpha.len()];
        for (index, pixel) in picture.pixels.chunks_exact(4).enumerate() {
            let (x, y) = (index % width, index / width);
            let alpha = over_255(u16::from(pixel[3]) * u16::from(opacity));
            if alpha == 0 {
                continue;
            }
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
            let light = red * r + (1.0 - red - blue) * g + blue * b;
            let difference =
                |value: f32, own: f32| 128.0 + (value - light) / (2.0 * (1.0 - own)) * (224.0 / 255.0);
            let (luma, cb, cr) = (16.0 + light * (219.0 / 255.0), difference(b, blue), difference(r, red));
            planes[0].alpha[index] = alpha;
            planes[0].light[index] = u16::from(alpha) * (luma.round() as u16);
            let sum = &mut sums[y / 2 * planes[1].width + x / 2];
            let alpha = f32::from(alpha);
            *sum = [sum[0] + alpha, sum[1] + alpha * cb, sum[2] + alpha * cr];
        }
        for (index, [alpha, cb, cr]) in sums.into_iter().enumerate() {
            // Of four pixels, whether or not they all belong to it.
            let share = (alpha / 4.0).round() as u8;
            if share == 0 {
                continue;
            }
            for (plane, sum) in planes[1..].iter_mut().zip([cb, cr]) {
                plane.alpha[index] = share;
                plane.light[index] = u16::from(share) * ((sum / alpha).round() as u16);
            }
        }
        planes.iter_mut().for_each(Ink::find_spans);
        Self { planes }
    }

    /// Blends it into a picture, its upper left corner at these pixels; what is outside of the picture is left out. The corner is moved to even numbers, so
    /// that all pixels beside it stay as they are. The picture's pixels are copied first if others show them, too.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a pixel format besides "yuv420p" and "nv12"; [`Error::Libav`] without memory.
    pub fn blend(&self, frame: &mut VideoFrame, x: i32, y: i32) -> Result<(), Error> {
        let (x, y) = (x & !1, y & !1);
        let size = (frame.format().width, frame.format().height);
        let half = (size.0.div_ceil(2), size.1.div_ceil(2));
        let [luma, cb, cr] = &self.planes;
        let is_paired = match frame.format().pixel_format.as_str() {
            "yuv420p" => false,
            "nv12" => true,
            other => {
                let message = format!("nothing can be blended into pictures of {other}");
                return Err(Error::InvalidArgument { message });
            }
        };
        let raw = frame.raw_mut();
        raw.make_own()?;
        luma.blend(raw.own_plane(0)?, size, (x, y), (1, 0));
        if is_paired {
            cb.blend(raw.own_plane(1)?, half, (x / 2, y / 2), (2, 0));
            cr.blend(raw.own_plane(1)?, half, (x / 2, y / 2), (2, 1));
        } else {
            cb.blend(raw.own_plane(1)?, half, (x / 2, y / 2), (1, 0));
            cr.blend(raw.own_plane(2)?, half, (x / 2, y / 2), (1, 0));
        }
        Ok(())
    }
}

impl Ink {
    fn empty(width: usize, rows: usize) -> Self {
        let size = width * rows;
        Self { width, alpha: vec![0; size], light: vec![0; size], spans: Vec::new() }
    }

    fn find_spans(&mut self) {
        self.spans = self
            .alpha
            .chunks_exact(self.width.max(1))
            .map(|row| {
                let begin = row.iter().position(|alpha| *alpha != 0);
                let end = row.iter().rposition(|alpha| *alpha != 0);
                begin.zip(end).map_or((0, 0), |(begin, end)| (begin, end + 1))
            })
            .collect();
    }

    /// Blends it into a plane of this size, whose values are `every` bytes apart, from the byte `first` on.
    fn blend(
        &self,
        PlaneMut { bytes, stride }: PlaneMut<'_>,
        (width, height): (u32, u32),
        (x, y): (i32, i32),
        (every, first): (usize, usize),
    ) {
        // The part of it that is inside, in its own columns and rows.
        let inside = |at: i32, side: u32| {
            let skipped = usize::try_from(-i64::from(at)).unwrap_or(0);
            let room = usize::try_from(i64::from(side) - i64::from(at)).unwrap_or(0);
            (skipped, room)
        };
        let (columns, rows) = (inside(x, width), inside(y, height));
        for (row, &(begin, end)) in self.spans.iter().enumerate().take(rows.1).skip(rows.0) {
            let (begin, end) = (begin.max(columns.0), end.min(columns.1));
            if begin >= end {
                continue;
            }
            let own = row * self.width;
            let (alpha, light) = (&self.alpha[own + begin..own + end], &self.light[own + begin..own + end]);
            let to_row = usize::try_from(i64::from(y) + row as i64).unwrap_or(0) * stride;
            let to = to_row + usize::try_from(i64::from(x) + begin as i64).unwrap_or(0) * every;
            let Some(line) = bytes.get_mut(to..to + (end - begin) * every) else { continue };
            if every == 1 {
                mix(line, alpha, light);
            } else {
                for (pair, (alpha, light)) in line.chunks_exact_mut(every).zip(alpha.iter().zip(light)) {
                    pair[first] = mixed(pair[first], *alpha, *light);
                }
            }
        }
    }
}

/// Apart, so that it becomes vector code.
fn mix(line: &mut [u8], alpha: &[u8], light: &[u16]) {
    for (value, (alpha, light)) in line.iter_mut().zip(alpha.iter().zip(light)) {
        *value = mixed(*value, *alpha, *light);
    }
}

fn mixed(value: u8, alpha: u8, light: u16) -> u8 {
    over_255(light + u16::from(value) * u16::from(255 - alpha))
}

/// Divided by 255 and rounded; right for all products of two bytes.
const fn over_255(value: u16) -> u8 {
    let value = value.saturating_add(128);
    (value.saturating_add(value >> 8) >> 8) as u8
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::encoder::Picture;

    fn gray(width: u32, height: u32) -> VideoFrame {
        let mut picture = Picture::black(width, height);
        for (index, value) in picture.y.iter_mut().enumerate() {
            *value = 16 + (index % 200) as u8;
        }
        for (index, value) in picture.u.iter_mut().enumerate() {
            *value = 16 + (index % 211) as u8;
        }
        VideoFrame::from_picture(&picture).unwrap()
    }

    fn solid(width: u32, height: u32, pixel: [u8; 4]) -> Rgba {
        Rgba::new(width, height, pixel.repeat((width * height) as usize)).unwrap()
    }

    /// Luma and the two differences at a pixel of a yuv420p picture without padding.
    fn at(bytes: &[u8], (width, height): (usize, usize), (x, y): (usize, usize)) -> [u8; 3] {
        let half = width / 2;
        let place = y / 2 * half + x / 2;
        let blue = width * height + place;
        [bytes[y * width + x], bytes[blue], bytes[blue + half * (height / 2)]]
    }

    #[test]
    fn division_by_255_is_exact() {
        for value in 0..=65_025_u32 {
            let exact = (f64::from(value) / 255.0).round() as u8;
            assert_eq!(over_255(value as u16), exact, "{value}");
        }
    }

    #[test]
    fn what_is_opaque_has_its_own_colour_and_all_else_stays() {
        let size = (64, 36);
        let before = gray(64, 36).to_bytes().unwrap();
        // The values of these colours in limited range, by the standards' own formulas.
        for (space, [y, cb, cr]) in [("bt709", [63, 102, 240]), ("smpte170m", [81, 90, 240])] {
            let color = ColorInfo { space: Some(space.to_owned()), ..ColorInfo::default() };
            let stamp = Stamp::new(&solid(8, 6, [255, 0, 0, 255]), &color, 36, 255);
            let mut frame = gray(64, 36);
            let shared = frame.share().unwrap();
            stamp.blend(&mut frame, 11, 5).unwrap();
            assert_eq!(shared.to_bytes().unwrap(), before, "who shares it sees nothing of it");
            let after = frame.to_bytes().unwrap();
            for (x, y_at) in (0..64).flat_map(|x| (0..36).map(move |y| (x, y))) {
                let (is, was) = (at(&after, size, (x, y_at)), at(&before, size, (x, y_at)));
                if (10..18).contains(&x) && (4..10).contains(&y_at) {
                    assert_eq!(is, [y, cb, cr], "{space} {x},{y_at}");
                } else {
                    assert_eq!(is, was, "{space} {x},{y_at}");
                }
            }
        }
    }

    #[test]
    fn what_is_transparent_changes_nothing_and_the_half_is_half() {
        let before = gray(64, 36).to_bytes().unwrap();
        let color = ColorInfo::default();
        for (pixel, opacity) in [([255, 255, 255, 0], 255), ([255, 255, 255, 255], 0)] {
            let mut frame = gray(64, 36);
            Stamp::new(&solid(9, 7, pixel), &color, 36, opacity).blend(&mut frame, 0, 0).unwrap();
            assert_eq!(frame.to_bytes().unwrap(), before);
        }
        let mut frame = gray(64, 36);
        Stamp::new(&solid(8, 8, [255, 255, 255, 255]), &color, 36, 128).blend(&mut frame, 0, 0).unwrap();
        let after = frame.to_bytes().unwrap();
        let expected = (f64::from(before[0]) * 127.0 + 235.0 * 128.0) / 255.0;
        assert_eq!(after[0], expected.round() as u8);
    }

    #[test]
    fn what_is_partly_outside_is_cut_and_pairs_are_as_planes() {
        for (x, y) in [(-5, -3), (60, 30), (-100, 0), (0, 400), (i32::MIN, i32::MAX)] {
            let stamp = Stamp::new(&solid(11, 9, [10, 200, 90, 180]), &ColorInfo::default(), 36, 255);
            let mut planar = gray(64, 36);
            stamp.blend(&mut planar, x, y).unwrap();
            let mut paired = converted(gray(64, 36), "format=nv12").unwrap();
            stamp.blend(&mut paired, x, y).unwrap();
            let back = converted(paired, "format=yuv420p").unwrap();
            assert_eq!(back.to_bytes().unwrap(), planar.to_bytes().unwrap(), "{x},{y}");
        }
        let other = VideoFrame::black(16, 16, "yuv444p").unwrap();
        let stamp = Stamp::new(&solid(2, 2, [0; 4]), &ColorInfo::default(), 16, 255);
        assert!(matches!(stamp.blend(&mut { other }, 0, 0), Err(Error::InvalidArgument { .. })));
    }

    #[test]
    fn scaling_keeps_colours_at_the_edges() {
        // Red beside what is transparent and green.
        let pixels: Vec<u8> =
            (0..64).flat_map(|n| if n % 8 < 4 { [255, 0, 0, 255] } else { [0, 255, 0, 0] }).collect();
        let small = Rgba::new(8, 8, pixels).unwrap().scaled(3, 3).unwrap();
        assert_eq!((small.width(), small.height()), (3, 3));
        for pixel in small.pixels().chunks_exact(4).filter(|pixel| pixel[3] > 8) {
            assert!(pixel[1] < 16 && pixel[0] > 239, "{pixel:?}");
        }
        assert!(Rgba::new(2, 2, vec![0; 15]).is_err() && Rgba::new(0, 2, vec![]).is_err());
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [&b""[..], b"GIF89a", b"\x89PNG\r\n\x1a\n", &[0xFF, 0xD8, 0xFF, 0xE0, 0, 4]] {
            assert!(Rgba::decode(Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
