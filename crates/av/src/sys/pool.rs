//! Pictures in memory that is used again: an `AVBufferPool`.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use super::RawFrame;
use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int, set_enum_field};
use super::kind::{self, Color};
use crate::VideoFormat;

/// Rows begin at multiples of this many bytes, and a picture ends with as many to spare: what libav's fastest routines read.
const ALIGN: c_int = 64;

/// A pool of pictures of one format. A picture's memory comes back when its last reference is gone, also after the pool is gone.
#[derive(Debug)]
pub(crate) struct RawPool {
    pool: NonNull<ffi::AVBufferPool>,
    width: c_int,
    height: c_int,
    format: c_int,
    color: Color,
    strides: [c_int; 4],
}

// SAFETY: a buffer pool is locked inside; it may be used by any thread.
unsafe impl Send for RawPool {}
// SAFETY: as above: `av_buffer_pool_get` may be called by several threads at a time.
unsafe impl Sync for RawPool {}

impl RawPool {
    /// A pool without pictures yet. Sizes are in pixels and above 0.
    pub(crate) fn new(of: &VideoFormat) -> Result<Self, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_buffer_pool_init");
        let width = c_int::try_from(of.width).map_err(refuse)?;
        let height = c_int::try_from(of.height).map_err(refuse)?;
        let format = kind::pixel_format(&of.pixel_format)?;
        let mut strides = [0; 4];
        // SAFETY: an array of four of our own; a size of no picture, or a number of no format, is answered with an error.
        unsafe {
            check(ffi::av_image_check_size(of.width, of.height, 0, ptr::null_mut()), "av_image_check_size")?;
            let result = by_int::av_image_fill_linesizes(strides.as_mut_ptr(), format, width);
            check(result, "av_image_fill_linesizes")?;
        }
        for stride in &mut strides {
            *stride = stride.checked_add(ALIGN - 1).unwrap_or(*stride) / ALIGN * ALIGN;
        }
        let mut data = [ptr::null_mut(); 4];
        // SAFETY: arrays of four of our own; with no memory to point to, the pointers are offsets, and the result is the size.
        let size = unsafe {
            by_int::av_image_fill_pointers(
                data.as_mut_ptr(),
                format,
                height,
                ptr::null_mut(),
                strides.as_ptr(),
            )
        };
        let size = check(size, "av_image_fill_pointers")?;
        let size = usize::try_from(size).map_err(refuse)?.saturating_add(ALIGN as usize);
        // SAFETY: plain allocation; new memory is zeroed, so that it can be lent as bytes. The size's type differs between releases.
        let pool = unsafe { ffi::av_buffer_pool_init(size as _, Some(ffi::av_buffer_allocz)) };
        let pool = non_null(pool, "av_buffer_pool_init")?;
        Ok(Self { pool, width, height, format, color: Color::of(&of.color), strides })
    }

    /// A picture, with the pixels it had when it was last used; zeros at first.
    pub(crate) fn get(&self) -> Result<RawFrame, Failure> {
        let frame = RawFrame::empty()?;
        // SAFETY: our own empty frame, which takes over the reference before anything can fail; the buffer has the room that was
        // worked out for these strides. Only formats without a palette come here, which need no second buffer.
        unsafe {
            let raw = frame.as_ptr();
            let buffer = ffi::av_buffer_pool_get(self.pool.as_ptr());
            (*raw).buf[0] = non_null(buffer, "av_buffer_pool_get")?.as_ptr();
            (*raw).width = self.width;
            (*raw).height = self.height;
            (*raw).format = self.format;
            let mut data = [ptr::null_mut(); 4];
            let result = by_int::av_image_fill_pointers(
                data.as_mut_ptr(),
                self.format,
                self.height,
                (*buffer).data,
                self.strides.as_ptr(),
            );
            check(result, "av_image_fill_pointers")?;
            for (plane, (data, stride)) in data.into_iter().zip(self.strides).enumerate() {
                (*raw).data[plane] = data;
                (*raw).linesize[plane] = stride;
            }
            set_enum_field!(raw, color_range, self.color.range);
            set_enum_field!(raw, colorspace, self.color.space);
            set_enum_field!(raw, color_primaries, self.color.primaries);
            set_enum_field!(raw, color_trc, self.color.transfer);
        }
        Ok(frame)
    }
}

impl Drop for RawPool {
    fn drop(&mut self) {
        let mut pool = self.pool.as_ptr();
        // SAFETY: our own pool; pictures that are in use keep what they need of it.
        unsafe { ffi::av_buffer_pool_uninit(&raw mut pool) };
    }
}
