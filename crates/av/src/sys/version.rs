//! The libav that is loaded, against the one whose headers this was compiled with.

use std::ffi::c_uint;
use std::sync::OnceLock;

use super::ffi;
use crate::Error;

/// Name, version of the loaded library, major version of the headers.
pub(crate) fn linked() -> [(&'static str, c_uint, c_uint); 5] {
    let (util, codec, format) =
        (ffmpeg_next::util::version(), ffmpeg_next::codec::version(), ffmpeg_next::format::version());
    // SAFETY: functions without arguments that return a constant.
    let (filter, resample) = unsafe { (ffi::avfilter_version(), ffi::swresample_version()) };
    [
        ("libavutil", util, ffi::LIBAVUTIL_VERSION_MAJOR.unsigned_abs()),
        ("libavcodec", codec, ffi::LIBAVCODEC_VERSION_MAJOR.unsigned_abs()),
        ("libavformat", format, ffi::LIBAVFORMAT_VERSION_MAJOR.unsigned_abs()),
        ("libavfilter", filter, ffi::LIBAVFILTER_VERSION_MAJOR.unsigned_abs()),
        ("libswresample", resample, ffi::LIBSWRESAMPLE_VERSION_MAJOR.unsigned_abs()),
    ]
}

/// The major version of a packed version number.
pub(crate) const fn major(version: c_uint) -> u32 {
    version >> 16
}

/// Refuses a libav whose structs are laid out otherwise than the headers said. Every entry into libav starts here, before a
/// struct is touched. The first call also sets the log level.
pub(crate) fn check_versions() -> Result<(), Error> {
    static MISMATCH: OnceLock<Option<(&'static str, u32, u32)>> = OnceLock::new();
    let mismatch = MISMATCH.get_or_init(|| {
        crate::log::quiet_by_default();
        linked()
            .into_iter()
            .map(|(library, version, compiled)| (library, major(version), compiled))
            .find(|(_, linked, compiled)| linked != compiled)
    });
    match *mismatch {
        Some((library, linked, compiled)) => Err(Error::VersionMismatch { library, linked, compiled }),
        None => Ok(()),
    }
}

/// The licence of the loaded libavformat.
pub(crate) fn licence() -> String {
    ffmpeg_next::format::license().to_owned()
}

/// The options the loaded libavformat was configured with.
pub(crate) fn configuration() -> String {
    ffmpeg_next::format::configuration().to_owned()
}
