//! Why the bit rate of pictures was changed.

use crate::words::words;

/// Why the bit rate that pictures are encoded to was changed; see [`Adaptation`](crate::Adaptation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateReason {
    /// The program asked for it: [`StreamRef::set_bitrate`](crate::StreamRef::set_bitrate).
    Asked,
    /// An output was behind and delivered less than was encoded.
    Congestion,
    /// The outputs have caught up: the rate is what the slowest of them was seen to deliver.
    CaughtUp,
    /// The outputs have been calm for long enough to try a little more.
    Calm,
}

/// Why a stream went to another rung of the [`QualityLadder`](crate::QualityLadder).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadReason {
    /// The machine has nothing left, and it was this stream's turn.
    Cpu,
    /// Its encoder takes longer for pictures than they are shown.
    EncodeTime,
    /// Its pictures wait for the encoder.
    Queue,
    /// There is room again.
    Room,
}

words!(
    LoadReason,
    "reason for another quality",
    Cpu = "cpu",
    EncodeTime = "encode_time",
    Queue = "queue",
    Room = "room",
);

words!(
    RateReason,
    "reason for another bit rate",
    Asked = "asked",
    Congestion = "congestion",
    CaughtUp = "caught_up",
    Calm = "calm",
);
