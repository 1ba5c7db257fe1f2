//! The picture of a lap: where it begins, and what it is decoded with.

use bytes::Bytes;
use flowcast_av::Packet;

use super::super::measure::VideoMeasure;
use crate::clock::Increasing;
use crate::lap::Unit;

/// The video track's state.
#[derive(Debug)]
pub(super) struct VideoTrack {
    pub(super) unit: Unit,
    pub(super) lap: VideoMeasure,
    pub(super) increasing: Increasing,
    /// The presentation time of this lap's first keyframe; nothing shown earlier belongs to the lap.
    pub(super) keyframe: Option<i64>,
    /// That keyframe, until the frame after it is known.
    pub(super) held: Option<Packet>,
    /// There is a configuration to decode with, at the beginning of a lap, and now.
    pub(super) begins_with_header: bool,
    pub(super) has_header: bool,
    /// The configuration of packets that were left out, for the next one.
    pub(super) config: Option<Bytes>,
}

impl VideoTrack {
    /// Nothing seen yet, in `unit`.
    pub(super) fn new(unit: Unit, begins_with_header: bool) -> Self {
        Self {
            unit,
            lap: VideoMeasure::new(unit),
            increasing: Increasing::default(),
            keyframe: None,
            held: None,
            begins_with_header,
            has_header: begins_with_header,
            config: None,
        }
    }
}
