//! The contract of sources and outputs with the thread of their stream.

mod output;
mod source;

pub use output::{LinkState, OutputContext, OutputDriver, OutputState, Readiness};
pub(crate) use source::Refillable;
pub use source::{SourceContext, SourceDriver, SourceState, TurnClock};
/// What drivers are given and give is made of their types.
pub use {bytes, mio};
