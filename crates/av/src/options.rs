//! How to open an input, and what threads share.

use std::time::Duration;

use crate::{InputLimits, Ratio};

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
    /// How thoroughly to probe. Default [`Probe::Fast`].
    pub probe: Probe,
    /// Frame rate for raw H.264 without timestamps whose own headers do not tell. Default 25.
    pub raw_frame_rate: Ratio,
    /// What the input may make libav hold.
    pub limits: InputLimits,
}

/// How thoroughly to probe an input when opening it.
///
/// What [`Demuxer::open`](crate::Demuxer::open) costs, median of 200 with libav 5.1 on one core of a shared machine, file
/// cached:
///
/// | file | fast | thorough |
/// |---|---|---|
/// | MP4, 720p, 5 s | 0.29 ms | 11.5 ms |
/// | the same, 1 hour (267,000 packets; a single run) | 22 ms | 44 ms |
/// | the same 5 s as FLV | 0.08 ms | 13 ms |
/// | MP4, 176x144, 4 s | 0.12 ms | 1.2 ms |
/// | the same 5 s of 720p as Matroska or MPEG-TS | 17 to 21 ms, the thorough probe in both | |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Probe {
    /// Trust headers that are complete and whose codecs this crate reads itself (H.264 and AAC in MP4, MOV or FLV); let libav
    /// analyse packets in all other files.
    #[default]
    Fast,
    /// Always let libav analyse packets, which decodes some.
    Thorough,
}

/// What the threads of a decoder or an encoder share. x264 knows no mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ThreadMode {
    /// Each works on a picture of its own: the better compression, one picture of delay for each further thread.
    #[default]
    Frame,
    /// All work on parts of one picture: no delay, some compression lost.
    Slice,
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
            limits: InputLimits::default(),
        }
    }
}
