//! How to open an input.

use std::time::Duration;

use crate::Ratio;

/// What an input may reach beyond itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Protocols {
    /// Nothing: the one file that was named, or the one connection that was named. No playlists.
    #[default]
    Itself,
    /// For [`Demuxer::open_url`](crate::Demuxer::open_url) over HTTP(S): also what an HLS or DASH playlist names, over
    /// HTTP(S). Never local files. A playlist makes libav call hosts the playlist chooses.
    Playlists,
}

/// How to open an input. All bounds together keep a hostile or broken file from holding the caller.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Absolute limit for opening and probing together. Default 10 s. A DNS look-up of [`open_url`] and a read of a dead
    /// network file system are outside what libav can interrupt.
    ///
    /// [`open_url`]: crate::Demuxer::open_url
    pub timeout: Duration,
    /// Bytes read at most to find the format and the tracks' parameters. Default 5 MiB.
    pub probe_bytes: u64,
    /// Media time read at most to find the tracks' parameters. Default 5 s.
    pub analyze: Duration,
    /// Packets held at most while the tracks' parameters are found by reading ahead. Default 512.
    pub max_probe_packets: usize,
    /// What the input may reach beyond itself. Default: nothing.
    pub protocols: Protocols,
    /// Skip libav's packet analysis where the header is complete (MP4, MOV, FLV). Default [`Probe::Fast`].
    pub probe: Probe,
    /// Frame rate for raw H.264 without timestamps whose own headers do not tell. Default 25.
    pub raw_frame_rate: Ratio,
}

/// How thoroughly to look at an input when opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Probe {
    /// Trust complete container headers; analyse packets only where they say too little.
    #[default]
    Fast,
    /// Always let libav analyse packets (and decode some): finds what headers do not tell, at 5 to 50 times the cost.
    Thorough,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            probe_bytes: 5 << 20,
            analyze: Duration::from_secs(5),
            max_probe_packets: 512,
            protocols: Protocols::Itself,
            probe: Probe::Fast,
            raw_frame_rate: Ratio { num: 25, den: 1 },
        }
    }
}
