//! What this build is made of.

use std::fmt;

/// Versions of flowcast and of what it was linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versions {
    /// flowcast itself.
    pub flowcast: &'static str,
    /// The FFmpeg libraries; `None` without feature `libav`.
    pub libav: Option<LibavVersions>,
}

/// The FFmpeg libraries of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LibavVersions {
    /// The FFmpeg release whose headers this build was compiled with (or a newer one up to the next release known).
    pub headers: &'static str,
    /// The libavformat that was linked.
    pub avformat: String,
    /// The libavcodec that was linked.
    pub avcodec: String,
    /// The licence of the linked libraries. A GPL build makes the whole program GPL.
    pub licence: String,
}

/// What this build is made of.
#[must_use]
pub fn versions() -> Versions {
    Versions { flowcast: env!("CARGO_PKG_VERSION"), libav: libav() }
}

#[cfg(feature = "libav")]
fn libav() -> Option<LibavVersions> {
    let linked = flowcast_av::versions();
    Some(LibavVersions {
        headers: env!("FLOWCAST_FFMPEG"),
        avformat: linked.avformat.to_string(),
        avcodec: linked.avcodec.to_string(),
        licence: linked.licence,
    })
}

#[cfg(not(feature = "libav"))]
fn libav() -> Option<LibavVersions> {
    None
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flowcast {}", self.flowcast)?;
        match &self.libav {
            Some(libav) => write!(
                f,
                ", libavformat {}, libavcodec {} ({}; headers of FFmpeg {})",
                libav.avformat, libav.avcodec, libav.licence, libav.headers
            ),
            None => f.write_str(", without libav"),
        }
    }
}
