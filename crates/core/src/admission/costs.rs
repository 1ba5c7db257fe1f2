//! What streams are expected to cost of which none runs, as data.

use super::kind::{EncodeKind, Kind, Work};
use super::ledger::{NeedBasis, Needs};
use crate::bit_rate::BitRate;
use crate::error::Error;

/// What TCP, IP and the protocol add to the media.
const PACKETS: f64 = 1.05;
/// Bits per second of sound beside pictures that are encoded.
const SOUND_KBPS: u32 = 160;

/// What one thing takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct StreamCost {
    /// CPU seconds per second: a core's worth is 1. Not negative.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// What encoding takes with one preset.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct EncodeCost {
    /// The preset.
    pub preset: String,
    /// CPU seconds for a million pixels, decoding and scaling included. More than zero.
    pub cpu_per_megapixel: f64,
}

/// What streams cost of which none runs: a table that a program can keep in a file, or have filled by
/// [`Capacity::costs`](crate::Capacity::costs).
///
/// A stream costs what its source costs, and each of its outputs. The defaults are what `docs/performance.md` reports for a small virtual machine,
/// rounded up to be on the safe side: two to three times that for copies, which cost little, and about a quarter more for encodes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Costs {
    /// Bits per second that a file or a publication is taken to have. More than zero. Default 6 Mbit/s.
    pub bit_rate: BitRate,
    /// Playing a reel. Default 1 ms of CPU a second and 2 MB.
    pub reel: StreamCost,
    /// Reading a file through libav. Default 2.5 ms and 8 MB.
    pub direct: StreamCost,
    /// Taking over what is published. Default 1 ms and 4 MB.
    pub restream: StreamCost,
    /// A source of the program's own. Default 10 ms and 16 MB.
    pub other: StreamCost,
    /// Each push by RTMP. Default 1.5 ms and 1 MB.
    pub push: StreamCost,
    /// Each push by RTMPS. Default 2 ms and 1 MB.
    pub tls_push: StreamCost,
    /// Each recording. Default 1.5 ms and 2 MB.
    pub recording: StreamCost,
    /// Each output of the program's own, and each name on the server, without its players. Default 0.5 ms and 1 MB.
    pub output: StreamCost,
    /// A fallback that is kept ready. Default 1 ms and 8 MB.
    pub fallback: StreamCost,
    /// Encoding pictures to H.264 in software. At least one; a preset that is not here costs as much as the dearest. Default: each preset of
    /// x264, from 0.010 (`ultrafast`) to 0.60 (`placebo`).
    pub encode: Vec<EncodeCost>,
    /// The same to other codecs, as a multiple. More than zero. Default 3.
    pub other_codecs: f64,
    /// Encoding sound. Default 30 ms and no memory of its own.
    pub sound: StreamCost,
    /// Bytes of memory of an encode besides its pictures. Default 40 MB.
    pub encode_memory: u64,
    /// Bytes of memory of an encode for each pixel of its picture. Default 50.
    pub encode_memory_per_pixel: u64,
    /// The size a source is taken to have that is encoded to its own size. Default 1920x1080.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::size"))]
    pub size: (u32, u32),
    /// The frames per second it is taken to have that is encoded to its own rate. 1 to 240. Default 30.
    pub frame_rate: u32,
}

impl Default for Costs {
    fn default() -> Self {
        let millis = |cpu: f64, megabytes: u64| StreamCost { cpu: cpu / 1e3, memory: megabytes * 1_000_000 };
        let encode = |(preset, cpu_per_megapixel): (&str, f64)| EncodeCost {
            preset: preset.to_owned(),
            cpu_per_megapixel,
        };
        Self {
            bit_rate: BitRate::from_kbps(6000),
            reel: millis(1.0, 2),
            direct: millis(2.5, 8),
            restream: millis(1.0, 4),
            other: millis(10.0, 16),
            push: millis(1.5, 1),
            tls_push: millis(2.0, 1),
            recording: millis(1.5, 2),
            output: millis(0.5, 1),
            fallback: millis(1.0, 8),
            encode: MEASURED.map(encode).to_vec(),
            other_codecs: 3.0,
            sound: millis(30.0, 0),
            encode_memory: 40_000_000,
            encode_memory_per_pixel: 50,
            size: (1920, 1080),
            frame_rate: 30,
        }
    }
}

/// CPU seconds for a million pixels of 720p, in one thread, with each preset of x264; see `docs/performance.md`.
const MEASURED: [(&str, f64); 10] = [
    ("ultrafast", 0.010),
    ("superfast", 0.016),
    ("veryfast", 0.024),
    ("faster", 0.036),
    ("fast", 0.044),
    ("medium", 0.052),
    ("slow", 0.090),
    ("slower", 0.18),
    ("veryslow", 0.30),
    ("placebo", 0.60),
];

crate::settings::settings!(Costs);

impl Costs {
    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let fail = |reason: &str| Err(Error::Config { name: "admission.costs", reason: reason.to_owned() });
        let parts = [
            self.reel,
            self.direct,
            self.restream,
            self.other,
            self.push,
            self.tls_push,
            self.recording,
            self.output,
            self.fallback,
            self.sound,
        ];
        if parts.iter().any(|part| !part.cpu.is_finite() || part.cpu < 0.0) {
            return fail("CPU must be a number that is not negative");
        }
        let is_more = |figure: f64| figure.is_finite() && figure > 0.0;
        if self.encode.is_empty() || !self.encode.iter().all(|cost| is_more(cost.cpu_per_megapixel)) {
            return fail("encode must have a preset, and each must take more than zero");
        }
        if self.bit_rate == BitRate::ZERO || !is_more(self.other_codecs) {
            return fail("bit_rate and other_codecs must be more than zero");
        }
        if self.size.0 == 0 || self.size.1 == 0 || !(1..=240).contains(&self.frame_rate) {
            return fail("size must be more than zero, and frame_rate 1 to 240");
        }
        Ok(())
    }

    /// What a stream of this kind is expected to use.
    pub(super) fn needs(&self, kind: &Kind) -> Needs {
        let (source, bit_rate) = match &kind.work {
            Work::Reel => (self.reel, self.bit_rate),
            Work::Direct => (self.direct, self.bit_rate),
            Work::Restream => (self.restream, self.bit_rate),
            Work::Other => (self.other, self.bit_rate),
            Work::Encode(encode) => {
                (self.encoded(encode), BitRate::from_kbps(u64::from(encode.kbps + SOUND_KBPS)))
            }
        };
        let ways = kind.ways;
        let outputs = [
            (self.push, ways.plain),
            (self.tls_push, ways.tls),
            (self.recording, ways.files),
            (self.output, ways.others),
            (self.fallback, u32::from(kind.has_fallback)),
        ];
        let cpu = outputs.iter().map(|(cost, times)| cost.cpu * f64::from(*times)).sum::<f64>();
        let memory = outputs.iter().map(|(cost, times)| cost.memory.saturating_mul(u64::from(*times)));
        Needs {
            cpu: source.cpu + cpu,
            memory: memory.fold(source.memory, u64::saturating_add),
            uplink: bit_rate.scaled(PACKETS * f64::from(ways.pushes())),
            basis: NeedBasis::Table,
        }
    }

    /// What is read, decoded and encoded.
    fn encoded(&self, encode: &EncodeKind) -> StreamCost {
        let (width, height) = encode.size.unwrap_or_else(|| within(self.size, encode.most_size));
        let pixels = u64::from(width) * u64::from(height);
        let most = encode.most_frame_rate.unwrap_or(u32::MAX);
        let frame_rate = encode.frame_rate.unwrap_or(self.frame_rate.min(most));
        let known = self.encode.iter().find(|cost| cost.preset == encode.preset);
        let dearest = || self.encode.iter().map(|cost| cost.cpu_per_megapixel).fold(0.0, f64::max);
        let each = known.map_or_else(dearest, |cost| cost.cpu_per_megapixel);
        let times = if encode.codec == H264 { 1.0 } else { self.other_codecs };
        let cpu = pixels as f64 / 1e6 * f64::from(frame_rate) * each * times;
        let pictures = pixels.saturating_mul(self.encode_memory_per_pixel);
        StreamCost {
            cpu: self.direct.cpu + cpu + self.sound.cpu,
            memory: self.encode_memory.saturating_add(pictures).saturating_add(self.sound.memory),
        }
    }
}

/// The codec whose presets the table has.
const H264: &str = "h264";

/// A size brought within another one, whichever way it is turned.
fn within((width, height): (u32, u32), most: Option<(u32, u32)>) -> (u32, u32) {
    let Some((longer, shorter)) = most else { return (width, height) };
    let ratio = |most: u32, side: u32| f64::from(most) / f64::from(side.max(1));
    let shrink = ratio(longer, width.max(height)).min(ratio(shorter, width.min(height))).min(1.0);
    let side = |side: u32| (f64::from(side) * shrink).round() as u32;
    (side(width), side(height))
}
