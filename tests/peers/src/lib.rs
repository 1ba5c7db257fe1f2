//! What the peer programs share: their command line, FLV files, and the pace of real time.
//!
//! Nothing here comes from flowcast, so that a mistake of flowcast's cannot hide behind the same mistake here.

pub mod cli;
pub mod flv;

/// Any error, with its text.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
