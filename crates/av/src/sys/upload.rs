//! Pictures in the memory of a device, for encoders that take no others (VA-API).

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use super::RawFrame;
use super::check::{Failure, check, non_null};
use super::ffi::{self, set_enum_field};

/// Surfaces of a device at most: what an encoder holds at a time, and some more.
const SURFACES: c_int = 20;

/// A pool of pictures on a device.
#[derive(Debug)]
pub(super) struct Upload {
    /// An `AVHWFramesContext`, which refers to its device.
    pool: NonNull<ffi::AVBufferRef>,
}

// SAFETY: a reference to a pool that libav's own threads share, too.
unsafe impl Send for Upload {}

impl Upload {
    /// Opens the first device of VA-API, with room for pictures of `format` as pictures of `hardware_format`.
    pub(super) fn vaapi(
        width: c_int,
        height: c_int,
        format: c_int,
        hardware_format: c_int,
    ) -> Result<Self, Failure> {
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        let mut device = ptr::null_mut();
        // SAFETY: no name and no options: libav looks for a device. The device is a reference of ours; the pool takes one of
        // its own, so ours is given up here. The fields are those to be set before the pool is initialised.
        unsafe {
            let result = ffi::av_hwdevice_ctx_create(&raw mut device, kind, ptr::null(), ptr::null_mut(), 0);
            check(result, "av_hwdevice_ctx_create")?;
            let pool = ffi::av_hwframe_ctx_alloc(device);
            ffi::av_buffer_unref(&raw mut device);
            let upload = Self { pool: non_null(pool, "av_hwframe_ctx_alloc")? };
            let frames = (*pool).data.cast::<ffi::AVHWFramesContext>();
            set_enum_field!(frames, format, hardware_format);
            set_enum_field!(frames, sw_format, format);
            (*frames).width = width;
            (*frames).height = height;
            (*frames).initial_pool_size = SURFACES;
            check(ffi::av_hwframe_ctx_init(pool), "av_hwframe_ctx_init")?;
            Ok(upload)
        }
    }

    /// Another reference to the pool, for an encoder.
    pub(super) fn share(&self) -> Result<*mut ffi::AVBufferRef, Failure> {
        // SAFETY: our own reference.
        let shared = unsafe { ffi::av_buffer_ref(self.pool.as_ptr()) };
        non_null(shared, "av_buffer_ref").map(NonNull::as_ptr)
    }

    /// Copies a picture to the device.
    pub(super) fn put(&self, frame: &RawFrame) -> Result<RawFrame, Failure> {
        let place = RawFrame::empty()?;
        // SAFETY: our own pool, an empty frame of ours, and a frame with a picture in memory.
        unsafe {
            let (to, from) = (place.as_ptr(), frame.as_ptr());
            check(ffi::av_hwframe_get_buffer(self.pool.as_ptr(), to, 0), "av_hwframe_get_buffer")?;
            check(ffi::av_hwframe_transfer_data(to, from, 0), "av_hwframe_transfer_data")?;
            check(ffi::av_frame_copy_props(to, from), "av_frame_copy_props")?;
        }
        Ok(place)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut pool = self.pool.as_ptr();
        // SAFETY: this reference is ours.
        unsafe { ffi::av_buffer_unref(&raw mut pool) };
    }
}
