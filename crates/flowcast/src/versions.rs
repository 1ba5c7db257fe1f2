//! What this build is made of.

use std::fmt;

/// Versions of flowcast and of what it was linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versions {
    /// flowcast itself.
    pub flowcast: &'static str,
    /// The libav this build was compiled against and the one it runs on; `None` without feature `libav`.
    pub libav: Option<String>,
}

/// What this build is made of.
#[must_use]
pub fn versions() -> Versions {
    Versions { flowcast: env!("CARGO_PKG_VERSION"), libav: libav() }
}

#[cfg(feature = "libav")]
fn libav() -> Option<String> {
    None
}

#[cfg(not(feature = "libav"))]
fn libav() -> Option<String> {
    None
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flowcast {}", self.flowcast)?;
        match &self.libav {
            Some(libav) => write!(f, ", {libav}"),
            None => f.write_str(", without libav"),
        }
    }
}
