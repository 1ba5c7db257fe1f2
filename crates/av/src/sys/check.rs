//! Results of libav's functions: negative is an error code.

use std::ffi::c_int;

use super::ffi;

/// A failed call: libav's code, and the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: c_int,
    pub(crate) operation: &'static str,
}

impl Failure {
    pub(crate) const END: c_int = ffi::AVERROR_EOF;
    pub(crate) const AGAIN: c_int = ffi::AVERROR(ffi::EAGAIN);
    pub(crate) const INVALID_DATA: c_int = ffi::AVERROR_INVALIDDATA;
    pub(crate) const INVALID_ARGUMENT: c_int = ffi::AVERROR(ffi::EINVAL);
    pub(crate) const NO_MEMORY: c_int = ffi::AVERROR(ffi::ENOMEM);
    pub(crate) const ACCESS: c_int = ffi::AVERROR(ffi::EACCES);
    pub(crate) const NO_SYSTEM: c_int = ffi::AVERROR(ffi::ENOSYS);
    pub(crate) const NO_DECODER: c_int = ffi::AVERROR_DECODER_NOT_FOUND;
    /// Something outside of libav: NVENC's library found no device it can use.
    pub(crate) const EXTERNAL: c_int = ffi::AVERROR_EXTERNAL;
    pub(crate) const EXIT: c_int = ffi::AVERROR_EXIT;

    pub(crate) const fn new(code: c_int, operation: &'static str) -> Self {
        Self { code, operation }
    }

    /// The operating system's error behind the code: a missing directory, a full disk. `None` for libav's own codes, and for
    /// invalid arguments, which are nearly always libav's.
    pub(crate) fn system_error(self) -> Option<std::io::Error> {
        let number = ffi::AVUNERROR(self.code);
        let is_system = (1..4096).contains(&number) && self.code != Self::INVALID_ARGUMENT;
        is_system.then(|| std::io::Error::from_raw_os_error(number))
    }

    /// The status with which a server of HTTP or RTSP refused; 400 and 500 for those that libav has no code of its own for.
    pub(crate) const fn http_status(self) -> Option<u16> {
        match self.code {
            ffi::AVERROR_HTTP_UNAUTHORIZED => Some(401),
            ffi::AVERROR_HTTP_FORBIDDEN => Some(403),
            ffi::AVERROR_HTTP_NOT_FOUND => Some(404),
            ffi::AVERROR_HTTP_BAD_REQUEST | ffi::AVERROR_HTTP_OTHER_4XX => Some(400),
            ffi::AVERROR_HTTP_SERVER_ERROR => Some(500),
            _ => None,
        }
    }

    /// libav's text for the code.
    pub(crate) fn message(self) -> String {
        let mut buffer = [0_u8; 128];
        // SAFETY: av_strerror writes at most the given number of bytes, NUL included, into our own array.
        unsafe { ffi::av_strerror(self.code, buffer.as_mut_ptr().cast(), buffer.len()) };
        let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(buffer.len());
        String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).into_owned()
    }
}

impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        Self::Libav { code: failure.code, operation: failure.operation, message: failure.message() }
    }
}

/// The result of a libav function, unless it is negative.
pub(super) const fn check(code: c_int, operation: &'static str) -> Result<c_int, Failure> {
    if code < 0 { Err(Failure::new(code, operation)) } else { Ok(code) }
}

/// The pointer an allocating function of libav gave, unless it is null.
pub(super) fn non_null<T>(pointer: *mut T, operation: &'static str) -> Result<std::ptr::NonNull<T>, Failure> {
    std::ptr::NonNull::new(pointer).ok_or(Failure::new(Failure::NO_MEMORY, operation))
}
