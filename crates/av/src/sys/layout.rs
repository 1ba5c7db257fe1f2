//! Channel layouts and sample formats: what a frame of samples is like, in libav's terms.

use std::ffi::{CStr, CString, c_int};
use std::fmt;

use super::check::{Failure, check};
use super::ffi::{self, by_int};
use crate::AudioFormat;

/// An owned `AVChannelLayout`, which may hold a list of its own.
pub(crate) struct Layout(ffi::AVChannelLayout);

// SAFETY: plain data; a list it may point to is its own.
unsafe impl Send for Layout {}

impl Layout {
    const fn empty() -> Self {
        // SAFETY: all zero bytes are libav's empty layout (`AVChannelLayout layout = { 0 }`).
        Self(unsafe { std::mem::zeroed() })
    }

    /// The usual layout of a number of channels.
    pub(crate) fn usual(channels: u32) -> Result<Self, Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_channel_layout_default");
        let count = c_int::try_from(channels).map_err(|_| refuse())?;
        if count == 0 {
            return Err(refuse());
        }
        let mut layout = Self::empty();
        // SAFETY: our own, empty layout.
        unsafe { ffi::av_channel_layout_default(&raw mut layout.0, count) };
        Ok(layout)
    }

    /// The layout libav calls `name`; the usual one of as many channels if the name says nothing but their number.
    pub(crate) fn named(name: &str, channels: u32) -> Result<Self, Failure> {
        let text = CString::new(name)
            .map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "av_channel_layout_from_string"))?;
        let mut layout = Self::empty();
        // SAFETY: our own, empty layout; the name is NUL-terminated.
        let result = unsafe { ffi::av_channel_layout_from_string(&raw mut layout.0, text.as_ptr()) };
        let is_known = result >= 0 && !layout.is_unspecified();
        if !is_known {
            return Self::usual(channels);
        }
        if layout.channels() != channels {
            return Err(Failure::new(Failure::INVALID_ARGUMENT, "av_channel_layout_from_string"));
        }
        Ok(layout)
    }

    fn is_unspecified(&self) -> bool {
        // SAFETY: a field of our own layout, read as `int`.
        unsafe {
            ffi::enum_field!(&raw const self.0, order)
                == ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC as c_int
        }
    }

    pub(crate) fn channels(&self) -> u32 {
        u32::try_from(self.0.nb_channels).unwrap_or(0)
    }

    pub(super) const fn as_ptr(&self) -> *const ffi::AVChannelLayout {
        &raw const self.0
    }

    /// Makes `to` the same.
    ///
    /// # Safety
    /// `to` is a valid layout that may be replaced.
    pub(super) unsafe fn copy_to(&self, to: *mut ffi::AVChannelLayout) -> Result<(), Failure> {
        // SAFETY: our own layout, and a valid one as the caller promises; the copy owns what it points to.
        check(unsafe { ffi::av_channel_layout_copy(to, self.as_ptr()) }, "av_channel_layout_copy").map(drop)
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: our own layout.
        f.write_str(&unsafe { describe(self.as_ptr()) })
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: our own layout.
        unsafe { ffi::av_channel_layout_uninit(&raw mut self.0) };
    }
}

/// libav's name of a layout; empty if it has no channels.
///
/// # Safety
/// `layout` is a valid layout that is not changed during the call.
pub(super) unsafe fn describe(layout: *const ffi::AVChannelLayout) -> String {
    let mut name = [0_u8; 128];
    // SAFETY: a valid layout as the caller promises; described into our own array, NUL included.
    let length = unsafe {
        if (*layout).nb_channels <= 0 {
            return String::new();
        }
        ffi::av_channel_layout_describe(layout, name.as_mut_ptr().cast(), name.len())
    };
    let described = if length > 0 { CStr::from_bytes_until_nul(&name).ok() } else { None };
    described.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What frames of samples are like.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(super) layout: Layout,
    /// `AVSampleFormat`.
    pub(super) format: c_int,
    pub(super) rate: c_int,
}

impl Sound {
    pub(crate) fn of(format: &AudioFormat) -> Result<Self, Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_get_sample_fmt");
        let name = CString::new(format.sample_format.as_str()).map_err(|_| refuse())?;
        // SAFETY: NUL-terminated.
        let number = unsafe { by_int::av_get_sample_fmt(name.as_ptr()) };
        let rate = c_int::try_from(format.sample_rate).map_err(|_| refuse())?;
        if number < 0 || rate == 0 {
            return Err(refuse());
        }
        Ok(Self { layout: Layout::named(&format.layout, format.channels)?, format: number, rate })
    }

    /// libav's name of the channel layout.
    pub(crate) fn layout_name(&self) -> String {
        // SAFETY: a layout of our own.
        unsafe { describe(self.layout.as_ptr()) }
    }
}
