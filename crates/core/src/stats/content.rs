//! What can be wrong with what a stream shows.

use crate::words::words;

/// What is wrong with what a source gives, although it gives something; see [`Watchdog`](crate::Watchdog).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentFault {
    /// The pictures are black.
    Black,
    /// The pictures do not move.
    Frozen,
    /// The sound is silent.
    Silent,
}

words!(ContentFault, "fault of content", Black = "black", Frozen = "frozen", Silent = "silent");
