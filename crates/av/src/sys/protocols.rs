//! The protocols and network formats that libav was built with.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::ffi;
use crate::Direction;

/// libav's names of all protocols of one direction.
pub(crate) fn protocols(direction: Direction) -> Vec<String> {
    let is_output = c_int::from(direction == Direction::Write);
    let mut place: *mut c_void = ptr::null_mut();
    let mut names = Vec::new();
    loop {
        // SAFETY: `place` is null at first, and then what the last call left there; it points into libav's own static table. The result is
        // null or a static string.
        let name = unsafe { ffi::text(ffi::avio_enum_protocols(&raw mut place, is_output)) };
        match name {
            Some(name) => names.push(name),
            None => return names,
        }
    }
}

/// Whether there is a demuxer (to read) or a muxer (to write) of this name.
pub(crate) fn has_format(name: &CStr, direction: Direction) -> bool {
    // SAFETY: NUL-terminated strings or null, none of them kept; the results are null or static.
    unsafe {
        match direction {
            Direction::Read => !ffi::av_find_input_format(name.as_ptr()).is_null(),
            Direction::Write => !ffi::av_guess_format(name.as_ptr(), ptr::null(), ptr::null()).is_null(),
        }
    }
}
