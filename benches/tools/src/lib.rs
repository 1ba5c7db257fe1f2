//! What the measuring programs share: the discarding sink, players, prepared clips, certificates, figures of the process.
#![allow(clippy::missing_errors_doc, reason = "parts of the programs beside it, not for anybody else")]

pub mod clip;
pub mod load;
pub mod process;
pub mod reels;
pub mod sink;
pub mod support;
pub mod tls;
pub mod writer;

/// What the programs' parts return.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
