//! Where a reader of the ring begins.

/// Where a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// At the newest keyframe that is kept, or the next one: a player sees a picture at once.
    Newest,
    /// At the next keyframe: a push must not be sent faster than real time.
    Next,
}
