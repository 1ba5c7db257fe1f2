//! Who publishes: what comes in through a server, and what is made from it.

#[cfg(feature = "libav")]
pub(crate) mod encoder;
pub(crate) mod ingest;
pub(crate) mod published;
