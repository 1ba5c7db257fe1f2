//! libav's log: one level and one callback for the whole process.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ffi;

/// The C type of a `va_list` argument.
#[cfg(all(target_arch = "x86_64", not(windows)))]
type VaList = *mut ffi::__va_list_tag;
/// The C type of a `va_list` argument.
#[cfg(not(all(target_arch = "x86_64", not(windows))))]
type VaList = ffi::va_list;

/// libav's numbers for its levels.
pub(crate) const FATAL: c_int = ffi::AV_LOG_FATAL;

/// Leaves out what is above (less important than) `level`, for libav's own printing to stderr too.
pub(crate) fn set_level(level: c_int) {
    // SAFETY: an atomic store in libav.
    unsafe { ffi::av_log_set_level(level) };
}

/// The level libav has now.
pub(crate) fn level() -> c_int {
    // SAFETY: an atomic load in libav.
    unsafe { ffi::av_log_get_level() }
}

/// The level libav starts with.
pub(crate) const DEFAULT: c_int = ffi::AV_LOG_INFO;

/// Sends lines to [`crate::log::receive`] instead of stderr.
pub(crate) fn install() {
    // SAFETY: the callback is a plain function that lives as long as the program.
    unsafe { ffi::av_log_set_callback(Some(receive)) };
}

/// Gives the log back to libav's own printing.
pub(crate) fn uninstall() {
    // SAFETY: libav's own callback.
    unsafe { ffi::av_log_set_callback(Some(ffi::av_log_default_callback)) };
}

/// libav's callback. Runs on any thread, inside any call of libav.
unsafe extern "C" fn receive(object: *mut c_void, level: c_int, format: *const c_char, arguments: VaList) {
    // The upper bits are a colour.
    let level = level & 0xFF;
    if level > self::level() {
        return;
    }
    let mut line: [c_char; 1024] = [0; 1024];
    // No prefix: it would hold addresses of objects, and with them a state between calls.
    let mut print_prefix: c_int = 0;
    let size = c_int::try_from(line.len()).unwrap_or(c_int::MAX);
    // SAFETY: `object`, `format` and `arguments` come from libav's av_vlog unchanged and are used once; the line is our own
    // array, which is NUL-terminated by the call.
    let result = unsafe {
        ffi::av_log_format_line2(
            object,
            level,
            format,
            arguments,
            line.as_mut_ptr(),
            size,
            &raw mut print_prefix,
        )
    };
    if result < 0 {
        return;
    }
    // SAFETY: NUL-terminated within the array, as above.
    let text = unsafe { CStr::from_ptr(line.as_ptr()) }.to_string_lossy();
    // A panic in the program's logger must not cross libav's frames.
    let _ = catch_unwind(AssertUnwindSafe(|| crate::log::receive(level, &text)));
}
