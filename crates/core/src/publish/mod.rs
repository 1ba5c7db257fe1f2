//! Who publishes: what comes in through a server, and what is made from it.

#[cfg_attr(not(feature = "libav"), path = "without_libav.rs")]
pub(crate) mod encoder;
#[cfg(feature = "libav")]
mod fan;
#[cfg(feature = "libav")]
pub(crate) mod heard;
pub(crate) mod ingest;
#[cfg(feature = "libav")]
pub(crate) mod joint;
#[cfg(feature = "libav")]
pub(crate) mod mixed;
pub(crate) mod published;
pub(crate) mod relayed;
#[cfg(feature = "libav")]
pub(crate) mod renditions;
#[cfg(feature = "libav")]
mod seat;
#[cfg(feature = "libav")]
mod share;
