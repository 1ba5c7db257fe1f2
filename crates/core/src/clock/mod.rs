//! Time that runs: what paces a stream, and what mends the clocks of those it is made from.

mod configured;
pub mod continuity;
#[cfg(feature = "libav")]
mod increasing;
#[cfg(feature = "libav")]
pub(crate) mod interleave;
pub(crate) mod pace;
mod steady;
pub(crate) mod timeline;

#[cfg(feature = "libav")]
pub(crate) use increasing::Increasing;
