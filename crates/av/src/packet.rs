//! One encoded packet of one track.

use std::fmt;

use bytes::Bytes;

/// An encoded packet of one track: for video one picture, for audio one frame.
///
/// `data` owns libav's buffer (no copy), unless the packet had to be converted: H.264 and HEVC always have length prefixes, AV1
/// has no temporal delimiters, AAC never has ADTS headers. Cloning is cheap. `Send`: the last clone may be dropped on any thread.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// Index of the track, as in [`TrackInfo::index`](crate::TrackInfo::index).
    pub track: usize,
    /// When to show it, in ticks of the track's time base. May be negative.
    pub pts: Option<i64>,
    /// When to decode it, in ticks of the track's time base. May be negative.
    pub dts: Option<i64>,
    /// How long it is shown, in ticks of the track's time base; 0 if unknown.
    pub duration: i64,
    /// Decoding can start here.
    pub keyframe: bool,
    /// libav saw damage in it.
    pub corrupt: bool,
    /// It must be decoded but not shown (a container's edit list cuts it off).
    pub discard: bool,
    /// The payload.
    pub data: Bytes,
    /// A new codec configuration that holds from this packet on, as in [`TrackInfo::config`](crate::TrackInfo::config). Only set
    /// when it differs from the one before.
    pub config: Option<Bytes>,
    /// Samples per channel to leave out at the start of the decoded packet (encoder priming).
    pub skip_start: u32,
    /// Samples per channel to leave out at the end of the decoded packet (padding).
    pub skip_end: u32,
}

impl Packet {
    /// A packet with timestamps and a payload, and everything else unset.
    #[must_use]
    pub fn new(track: usize, pts: Option<i64>, dts: Option<i64>, data: Bytes) -> Self {
        Self {
            track,
            pts,
            dts,
            duration: 0,
            keyframe: false,
            corrupt: false,
            discard: false,
            data,
            config: None,
            skip_start: 0,
            skip_end: 0,
        }
    }
}

/// Sizes instead of bytes.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("track", &self.track)
            .field("pts", &self.pts)
            .field("dts", &self.dts)
            .field("duration", &self.duration)
            .field("keyframe", &self.keyframe)
            .field("corrupt", &self.corrupt)
            .field("discard", &self.discard)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("config", &self.config)
            .field("skip_start", &self.skip_start)
            .field("skip_end", &self.skip_end)
            .finish()
    }
}
