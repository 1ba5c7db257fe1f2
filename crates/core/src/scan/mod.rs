//! What is in a file: every packet read once, without decoding.
//!
//! In: a path. Out: the [`Facts`](crate::verdict::Facts) that verdicts and plans are made from.

#[cfg(feature = "libav")]
mod audio;
#[cfg(feature = "libav")]
mod boxes;
#[cfg(feature = "libav")]
mod cache;
#[cfg(feature = "libav")]
mod clock;
#[cfg(feature = "libav")]
mod empty;
mod failure;
#[cfg(feature = "libav")]
mod intervals;
#[cfg(feature = "libav")]
mod patience;
#[cfg(feature = "libav")]
mod scanner;
#[cfg(feature = "libav")]
mod video;
#[cfg(feature = "libav")]
mod windows;

#[cfg(feature = "libav")]
pub use cache::facts;
#[cfg(feature = "libav")]
pub(crate) use cache::{Cache, Stamp};
pub use failure::verdict_of_failure;
#[cfg(feature = "libav")]
pub(crate) use patience::{Damage, Patience, tolerated};
#[cfg(feature = "libav")]
pub use scanner::ScanOptions;
