//! What is given of an item, step by step.
//!
//! The reader of a file makes the steps. They go through the queue of a worker to the item that is played, or through a cutter into
//! a reel.

use flowcast_rtmp::flv::tag::Tag;

use super::LapFacts;
use crate::event::EventKind;

/// A step of a lap.
#[derive(Debug)]
pub(crate) enum Step {
    /// The item was opened: what a session begins with. A worker that opens a file says so before anything else of it.
    Opened(Vec<Tag>),
    /// The next tag, on the item's own clock, which begins at zero.
    Tag(Tag),
    /// Something to tell, in order with the tags.
    Notice(EventKind),
    /// All of the lap was read; the tags that are still to come end it. Before this nothing is known of where it ends.
    Ending(LapFacts),
    /// The lap is over. The next one begins, if there is one.
    End,
}
