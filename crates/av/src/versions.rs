//! Which libav is at work.

use std::fmt;

use crate::sys;

/// A version of one library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes when programs must be compiled again.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
    /// Changes with every fix.
    pub micro: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// The libav that is loaded in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// libavutil.
    pub avutil: Version,
    /// libavcodec.
    pub avcodec: Version,
    /// libavformat.
    pub avformat: Version,
    /// libavfilter.
    pub avfilter: Version,
    /// libswresample.
    pub swresample: Version,
    /// The FFmpeg release whose headers this was compiled with ("5.1"); the loaded one has the same major versions.
    pub headers: &'static str,
    /// libavformat's licence ("GPL version 2 or later"). It binds a program that is given to others.
    pub licence: String,
    /// The options libavformat was configured with.
    pub configuration: String,
}

/// Which libav is loaded.
///
/// ```
/// let versions = flowcast_av::versions();
/// assert!(versions.avformat.major >= 59);
/// ```
#[must_use]
pub fn versions() -> Versions {
    let [avutil, avcodec, avformat, avfilter, swresample] = sys::linked().map(|(_, packed, _)| Version {
        major: sys::major(packed),
        minor: packed >> 8 & 0xFF,
        micro: packed & 0xFF,
    });
    Versions {
        avutil,
        avcodec,
        avformat,
        avfilter,
        swresample,
        headers: env!("FLOWCAST_AV_FFMPEG"),
        licence: sys::licence(),
        configuration: sys::configuration(),
    }
}
