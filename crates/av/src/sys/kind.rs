//! What frames are like: libav's numbers in words, and back.

use std::ffi::{CString, c_int};

use super::check::Failure;
use super::ffi::{self, by_int};
use super::frame::{PictureKey, RawFrame};
use super::layout;
use crate::{AudioFormat, ColorInfo, Ratio, VideoFormat};

/// libav's numbers for a colour description; 2 is "unspecified" for all but the range, for which 0 is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Color {
    pub(super) range: c_int,
    pub(super) space: c_int,
    pub(super) primaries: c_int,
    pub(super) transfer: c_int,
}

impl Color {
    pub(super) fn of(info: &ColorInfo) -> Self {
        type Lookup = unsafe extern "C" fn(*const std::ffi::c_char) -> c_int;
        let number = |name: &Option<String>, lookup: Lookup, unknown: c_int| {
            let name = name.as_deref().and_then(|name| CString::new(name).ok());
            // SAFETY: NUL-terminated.
            name.map_or(unknown, |name| unsafe { lookup(name.as_ptr()) }.max(unknown.min(0))).max(0)
        };
        Self {
            range: number(&info.range, ffi::av_color_range_from_name, 0),
            space: number(&info.space, ffi::av_color_space_from_name, 2),
            primaries: number(&info.primaries, ffi::av_color_primaries_from_name, 2),
            transfer: number(&info.transfer, ffi::av_color_transfer_from_name, 2),
        }
    }
}

/// Primaries, transfer and matrix as H.273 numbers them, which libav does, too; 2 is unknown.
pub(crate) fn color_numbers(info: &ColorInfo) -> (u8, u8, u8) {
    let color = Color::of(info);
    let number = |value: c_int| u8::try_from(value).unwrap_or(2);
    (number(color.primaries), number(color.transfer), number(color.space))
}

/// The number of a pixel format by libav's name for it.
pub(super) fn pixel_format(name: &str) -> Result<c_int, Failure> {
    let refuse = Failure::new(Failure::INVALID_ARGUMENT, "av_get_pix_fmt");
    let name = CString::new(name).map_err(|_| refuse)?;
    // SAFETY: NUL-terminated.
    let number = unsafe { by_int::av_get_pix_fmt(name.as_ptr()) };
    if number < 0 { Err(refuse) } else { Ok(number) }
}

/// Whether libav knows a pixel format of this name.
pub(crate) fn is_pixel_format(name: &str) -> bool {
    pixel_format(name).is_ok()
}

/// Whether pixels of this format are made of red, green and blue, or of a palette of them.
pub(crate) fn is_rgb(name: &str) -> bool {
    let flags = ffi::AV_PIX_FMT_FLAG_RGB as u64 | ffi::AV_PIX_FMT_FLAG_PAL as u64;
    let Ok(format) = pixel_format(name) else { return false };
    // SAFETY: null or static data.
    unsafe {
        let description = by_int::av_pix_fmt_desc_get(format);
        !description.is_null() && (*description).flags & flags != 0
    }
}

/// libav's name of a pixel format; empty if it has none.
pub(super) fn pixel_format_name(number: c_int) -> String {
    // SAFETY: null or a static string.
    unsafe { ffi::text(by_int::av_get_pix_fmt_name(number)) }.unwrap_or_default()
}

impl PictureKey {
    pub(crate) fn describe(self) -> VideoFormat {
        let unsigned = |value: c_int| u32::try_from(value).unwrap_or(0);
        // SAFETY: null or static strings.
        let color = unsafe {
            let known = |name| ffi::text(name).filter(|name| name != "unknown");
            ColorInfo {
                range: known(by_int::av_color_range_name(self.range)),
                space: known(by_int::av_color_space_name(self.space)),
                primaries: known(by_int::av_color_primaries_name(self.primaries)),
                transfer: known(by_int::av_color_transfer_name(self.transfer)),
            }
        };
        VideoFormat {
            width: unsigned(self.width),
            height: unsigned(self.height),
            pixel_format: pixel_format_name(self.format),
            sample_aspect: Ratio::new(unsigned(self.aspect.0), unsigned(self.aspect.1)),
            color,
        }
    }
}

impl RawFrame {
    pub(crate) fn describe_sound(&self) -> AudioFormat {
        let frame = self.as_ptr();
        // SAFETY: our own frame; the name is null or a static string.
        unsafe {
            AudioFormat {
                sample_rate: u32::try_from((*frame).sample_rate).unwrap_or(0),
                channels: u32::try_from((*frame).ch_layout.nb_channels).unwrap_or(0),
                layout: layout::describe(&raw const (*frame).ch_layout),
                sample_format: ffi::text(by_int::av_get_sample_fmt_name((*frame).format)).unwrap_or_default(),
            }
        }
    }
}
