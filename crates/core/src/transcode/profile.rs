//! Profiles: ready-made figures for encoding.

use super::encoding::Threading;
use crate::words::words;

/// A set of figures for encoding, from the cheapest to the best picture. An [`Encoding`](super::Encoding) can change
/// each of them.
///
/// All are H.264 at a constant bit rate with a closed GOP of 2 s, and AAC-LC. The level follows from size, frame rate and
/// reference frames. A buffer (VBV) of a third of a second keeps two seconds within about a tenth of the bit rate; that of the ladder is
/// larger, for a better picture where it changes.
///
/// | profile | preset | threads | kbit/s | VBV, kbit | B-frames | H.264 profile, at most | AAC kbit/s |
/// |---|---|---|---|---|---|---|---|
/// | `Ultra` | ultrafast, zerolatency | 1 | 1500 | 500 | 0 | Baseline | 96, [fast](super::AudioEncoding::fast) |
/// | `Default` | ultrafast | 2 | 2500 | 830 | 0 | Main | 128 |
/// | `High` | fast | 2 | 3000 | 1000 | 2 | High | 128 |
/// | `LadderHigh` | ultrafast | 1 | 2500 | 5000 | 0 | Main | 128 |
/// | `LadderMedium` | ultrafast | 1 | 1800 | 3600 | 0 | Main | 128 |
/// | `LadderLow` | ultrafast | 1 | 1200 | 2400 | 0 | Main | 96 |
/// | `LadderPotato` | ultrafast | 1 | 800 | 1600 | 0 | Main | 96 |
/// | `LowLatencyCbr` | veryfast | 2, slices | 6000 | 2000 | 0 | High | 128 |
///
/// `LowLatencyCbr` also sets, for x264, `lookahead-threads=1:sync-lookahead=0:rc-lookahead=10:aq-mode=2:direct=auto:me=hex:subme=6:trellis=1:deblock=1,1:psy-rd=0.8,0.8:aq-strength=0.9:ref=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Nothing is encoded, as with [`Mode::Copy`](super::Mode::Copy). 2 to 5 % of a core or less.
    Copy,
    /// The least CPU: meant for dozens of streams on a small machine. Good for 720p with little motion.
    Ultra,
    /// One stream among about ten on a small machine.
    #[default]
    Default,
    /// A better picture, for a few streams.
    High,
    /// The highest step of a ladder whose steps cost about the same CPU and differ in bit rate.
    LadderHigh,
    /// The second step.
    LadderMedium,
    /// The third step.
    LadderLow,
    /// The lowest step.
    LadderPotato,
    /// For live sources: little delay at a constant bit rate, with two threads that share each picture.
    LowLatencyCbr,
}

/// What a profile says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) preset: &'static str,
    pub(super) tune: Option<&'static str>,
    pub(super) threads: u32,
    pub(super) threading: Threading,
    pub(super) kbps: u32,
    pub(super) vbv_kbits: u32,
    pub(super) b_frames: u32,
    pub(super) profile: &'static str,
    pub(super) x264_params: &'static str,
    pub(super) audio_kbps: u32,
    pub(super) fast_audio: bool,
}

const LOW_LATENCY: &str = "lookahead-threads=1:sync-lookahead=0:rc-lookahead=10:aq-mode=2:direct=auto:me=hex:subme=6:trellis=1:\
deblock=1,1:psy-rd=0.8,0.8:aq-strength=0.9:ref=1";

impl Profile {
    /// Its figures; for `Copy`, those of a track that has to be encoded all the same.
    pub(super) const fn figures(self) -> Figures {
        match self {
            Self::Ultra => Figures {
                tune: Some("zerolatency"),
                vbv_kbits: 500,
                profile: "baseline",
                fast_audio: true,
                ..step(1500, 96)
            },
            Self::Copy | Self::Default => Figures { threads: 2, vbv_kbits: 830, ..step(2500, 128) },
            Self::High => Figures {
                preset: "fast",
                threads: 2,
                vbv_kbits: 1000,
                b_frames: 2,
                profile: "high",
                ..step(3000, 128)
            },
            Self::LadderHigh => step(2500, 128),
            Self::LadderMedium => step(1800, 128),
            Self::LadderLow => step(1200, 96),
            Self::LadderPotato => step(800, 96),
            Self::LowLatencyCbr => Figures {
                preset: "veryfast",
                threads: 2,
                threading: Threading::Slice,
                vbv_kbits: 2000,
                profile: "high",
                x264_params: LOW_LATENCY,
                ..step(6000, 128)
            },
        }
    }
}

/// A step of the ladder.
const fn step(kbps: u32, audio_kbps: u32) -> Figures {
    Figures {
        preset: "ultrafast",
        tune: None,
        threads: 1,
        threading: Threading::Frame,
        kbps,
        vbv_kbits: 2 * kbps,
        b_frames: 0,
        profile: "main",
        x264_params: "",
        audio_kbps,
        fast_audio: false,
    }
}

// The cheapest first.
words!(
    Profile,
    "profile",
    Copy = "copy",
    Ultra = "ultra",
    LadderPotato = "ladder-potato",
    LadderLow = "ladder-low",
    LadderMedium = "ladder-medium",
    LadderHigh = "ladder-high",
    Default = "default",
    High = "high",
    LowLatencyCbr = "low-latency-cbr",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(*profile));
        }
        assert!("best".parse::<Profile>().is_err());
    }

    #[test]
    fn figures_are_those_that_are_promised() {
        let figures = |profile: Profile| {
            let figures = profile.figures();
            (figures.preset, figures.threads, figures.kbps, figures.vbv_kbits)
        };
        assert_eq!(figures(Profile::Ultra), ("ultrafast", 1, 1500, 500));
        assert_eq!(figures(Profile::Default), ("ultrafast", 2, 2500, 830));
        assert_eq!(figures(Profile::High), ("fast", 2, 3000, 1000));
        assert_eq!(figures(Profile::LadderHigh), ("ultrafast", 1, 2500, 5000));
        assert_eq!(figures(Profile::LadderMedium), ("ultrafast", 1, 1800, 3600));
        assert_eq!(figures(Profile::LadderLow), ("ultrafast", 1, 1200, 2400));
        assert_eq!(figures(Profile::LadderPotato), ("ultrafast", 1, 800, 1600));
    }
}
