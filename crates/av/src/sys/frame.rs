//! Raw pictures and samples.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int};

/// An owned `AVFrame` with buffers of its own.
#[derive(Debug)]
pub(crate) struct RawFrame(NonNull<ffi::AVFrame>);

// SAFETY: an AVFrame is plain heap data; its buffers are counted atomically.
unsafe impl Send for RawFrame {}

impl RawFrame {
    fn new() -> Result<Self, Failure> {
        // SAFETY: plain allocation.
        Ok(Self(non_null(unsafe { ffi::av_frame_alloc() }, "av_frame_alloc")?))
    }

    /// Room for an 8-bit 4:2:0 picture. Sizes are in pixels and above 0.
    pub(crate) fn picture(width: u32, height: u32) -> Result<Self, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_frame_get_buffer");
        let frame = Self::new()?;
        // SAFETY: our own empty frame; get_buffer allocates what the fields ask for.
        unsafe {
            (*frame.as_ptr()).width = c_int::try_from(width).map_err(refuse)?;
            (*frame.as_ptr()).height = c_int::try_from(height).map_err(refuse)?;
            (*frame.as_ptr()).format = by_int::av_get_pix_fmt(c"yuv420p".as_ptr());
            check(ffi::av_frame_get_buffer(frame.as_ptr(), 0), "av_frame_get_buffer")?;
        }
        Ok(frame)
    }

    /// Room for `samples` samples of 32-bit float in each of `channels` planes.
    pub(crate) fn sound(samples: usize, channels: usize, sample_rate: u32) -> Result<Self, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_frame_get_buffer");
        let frame = Self::new()?;
        let count = c_int::try_from(channels).map_err(refuse)?;
        // SAFETY: as for `picture`.
        unsafe {
            (*frame.as_ptr()).nb_samples = c_int::try_from(samples).map_err(refuse)?;
            (*frame.as_ptr()).format = ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP as c_int;
            (*frame.as_ptr()).sample_rate = c_int::try_from(sample_rate).map_err(refuse)?;
            ffi::av_channel_layout_default(&raw mut (*frame.as_ptr()).ch_layout, count);
            check(ffi::av_frame_get_buffer(frame.as_ptr(), 0), "av_frame_get_buffer")?;
        }
        Ok(frame)
    }

    pub(super) const fn as_ptr(&self) -> *mut ffi::AVFrame {
        self.0.as_ptr()
    }

    pub(crate) fn set_pts(&mut self, pts: i64) {
        // SAFETY: our own frame.
        unsafe { (*self.as_ptr()).pts = pts };
    }

    /// Copies one plane of a picture into it, row by row. `plane` is 0 (Y), 1 (U) or 2 (V); `rows` are tightly packed rows of
    /// `width` bytes and must fill the plane.
    pub(crate) fn fill_plane(&mut self, plane: usize, rows: &[u8], width: usize) -> Result<(), Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_frame_make_writable");
        // SAFETY: our own frame with buffers. make_writable gives it buffers nobody else reads. A plane of a 4:2:0 picture has
        // `linesize` bytes for each of its rows; what is written is checked against its size first.
        unsafe {
            let frame = self.as_ptr();
            check(ffi::av_frame_make_writable(frame), "av_frame_make_writable")?;
            let (full_width, full_height) = ((*frame).width, (*frame).height);
            let shrink = |size: c_int| if plane == 0 { size } else { (size + 1) / 2 };
            let plane_width = usize::try_from(shrink(full_width)).map_err(|_| refuse())?;
            let plane_height = usize::try_from(shrink(full_height)).map_err(|_| refuse())?;
            if plane > 2 || width != plane_width || rows.len() != plane_width * plane_height {
                return Err(refuse());
            }
            let stride = usize::try_from((*frame).linesize[plane]).map_err(|_| refuse())?;
            let base = (*frame).data[plane];
            for (row, bytes) in rows.chunks_exact(width).enumerate() {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(row * stride), width);
            }
        }
        Ok(())
    }

    /// Copies the samples of one channel into it; they must fill the plane.
    pub(crate) fn fill_channel(&mut self, channel: usize, samples: &[f32]) -> Result<(), Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_frame_make_writable");
        // SAFETY: our own frame with planes of `nb_samples` floats, one for each channel, made writable first; `extended_data`
        // points to all planes. Both bounds are checked.
        unsafe {
            let frame = self.as_ptr();
            check(ffi::av_frame_make_writable(frame), "av_frame_make_writable")?;
            let channels = usize::try_from((*frame).ch_layout.nb_channels).map_err(|_| refuse())?;
            let room = usize::try_from((*frame).nb_samples).map_err(|_| refuse())?;
            if channel >= channels || samples.len() != room {
                return Err(refuse());
            }
            let plane = *(*frame).extended_data.add(channel);
            std::ptr::copy_nonoverlapping(samples.as_ptr(), plane.cast::<f32>(), room);
        }
        Ok(())
    }
}

impl Drop for RawFrame {
    fn drop(&mut self) {
        let mut frame = self.as_ptr();
        // SAFETY: our own frame; this drops its references too.
        unsafe { ffi::av_frame_free(&raw mut frame) };
    }
}
