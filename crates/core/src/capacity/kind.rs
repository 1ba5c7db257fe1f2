//! The question: kinds of streams, and how they are mixed.

use std::fmt;

use crate::bit_rate::BitRate;
use crate::stats::{OutputTransport, StreamStats};
use crate::words::words;

/// How a stream's media gets from source to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Processing {
    /// Packets are sent as they are in the file.
    #[default]
    Copy,
}

/// How an output is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TransportKind {
    /// RTMP over TCP.
    #[default]
    Plain,
    /// RTMPS: over TLS.
    Tls,
}

words!(Processing, "processing", Copy = "copy");
words!(TransportKind, "transport", Plain = "rtmp", Tls = "rtmps");

/// A kind of stream: a looped file of some bitrate and where it goes.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod capacity { pub use flowcast_core::*; } }
/// use flowcast::BitRate;
/// use flowcast::capacity::StreamKind;
/// let kind = StreamKind::copy(BitRate::from_mbps(2.65)).tls().outputs(2);
/// assert_eq!(kind.to_string(), "copy 2.65 Mbit/s, 2 × rtmps");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StreamKind {
    /// Media bits per second: video and audio together. At least 64 kbit/s.
    pub bit_rate: BitRate,
    /// What is done to the media.
    pub processing: Processing,
    /// How its outputs are connected.
    pub transport: TransportKind,
    /// RTMP outputs of one stream. At least 1.
    pub outputs: u32,
}

/// What a stream has at least.
pub(super) const LEAST: BitRate = BitRate::from_kbps(64);

impl StreamKind {
    /// A looped file of this bit rate, sent as it is to one RTMP server.
    #[must_use]
    pub fn copy(bit_rate: BitRate) -> Self {
        Self {
            bit_rate: bit_rate.max(LEAST),
            processing: Processing::Copy,
            transport: TransportKind::Plain,
            outputs: 1,
        }
    }

    /// The same to RTMPS servers.
    #[must_use]
    pub fn tls(self) -> Self {
        Self { transport: TransportKind::Tls, ..self }
    }

    /// The same to `outputs` servers each (at least one).
    #[must_use]
    pub fn outputs(self, outputs: u32) -> Self {
        Self { outputs: outputs.max(1), ..self }
    }

    /// Whether a running stream is of this kind: bitrate within a quarter, as many RTMP outputs, connected the same way, and
    /// no other outputs.
    pub(crate) fn describes(&self, stats: &StreamStats) -> bool {
        let transport = match self.transport {
            TransportKind::Plain => OutputTransport::Rtmp,
            TransportKind::Tls => OutputTransport::Rtmps,
        };
        stats.bit_rate.bps().abs_diff(self.bit_rate.bps()) <= self.bit_rate.bps() / 4
            && usize::try_from(self.outputs).is_ok_and(|outputs| outputs == stats.outputs.len())
            && stats.outputs.iter().all(|output| output.transport == transport)
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} × {}", self.processing, self.bit_rate, self.outputs, self.transport)
    }
}

/// Kinds of streams and how often each occurs.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod capacity { pub use flowcast_core::*; } }
/// use flowcast::BitRate;
/// use flowcast::capacity::{Mix, StreamKind};
/// // Of ten streams, nine go to one plain RTMP server and one to two RTMPS servers.
/// let one = StreamKind::copy(BitRate::from_mbps(2.65));
/// let two = StreamKind::copy(BitRate::from_mbps(6.0)).tls().outputs(2);
/// let mix = Mix::of(one).weight(9.0).and(two, 1.0);
/// assert_eq!(mix.kinds().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    kinds: Vec<(StreamKind, f64)>,
}

impl Mix {
    /// All streams are of one kind.
    #[must_use]
    pub fn of(kind: StreamKind) -> Self {
        Self { kinds: vec![(kind, 1.0)] }
    }

    /// The weight of the kind that was added last. Default 1.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        if let Some((_, last)) = self.kinds.last_mut() {
            *last = weight;
        }
        self
    }

    /// Adds another kind.
    #[must_use]
    pub fn and(mut self, kind: StreamKind, weight: f64) -> Self {
        self.kinds.push((kind, weight));
        self
    }

    /// The kinds with their weights.
    #[must_use]
    pub fn kinds(&self) -> &[(StreamKind, f64)] {
        &self.kinds
    }
}
