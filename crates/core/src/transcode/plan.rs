//! What is settled: for each track copy or encode, with every figure.

use std::fmt;

use super::encoding::{AudioCodec, FrameRate, Threading, VideoCodec};
use crate::loudness::Loudness;
use crate::overlay::Overlays;
use crate::tracks::Carriage;

/// What is done to the tracks of a file. `None` is copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Plan {
    pub(crate) carriage: Carriage,
    pub(crate) video: Option<VideoPlan>,
    pub(crate) audio: Option<AudioPlan>,
}

/// How pictures are encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct VideoPlan {
    pub(crate) codec: VideoCodec,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frame_rate: FrameRate,
    /// The constant rate; with `crf_tenths` the most it may be.
    pub(crate) kbps: u32,
    pub(crate) vbv_kbits: u32,
    pub(crate) filler: bool,
    /// Constant quality (x264's CRF, in tenths) instead of a constant rate.
    pub(crate) crf_tenths: Option<u16>,
    pub(crate) gop_frames: u32,
    pub(crate) b_frames: u32,
    /// Pictures a picture may refer to; `None` is as the preset says.
    pub(crate) refs: Option<u32>,
    pub(crate) preset: String,
    pub(crate) tune: String,
    /// Of H.264; empty for other codecs.
    pub(crate) profile: String,
    pub(crate) threads: u32,
    pub(crate) threading: Threading,
    pub(crate) x264_params: String,
    pub(crate) encoder: EncoderPlan,
    pub(crate) drawn: Drawn,
}

/// What is done to pictures besides bringing them into shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Drawn {
    /// A filter graph in libav's notation.
    pub(crate) filters: String,
    /// What is drawn over them after that.
    pub(crate) overlays: Overlays,
}

/// Which encoders are tried, in which order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EncoderPlan {
    pub(crate) first: FirstEncoder,
    /// Others take over where one fails.
    pub(crate) fallback: bool,
}

/// The encoder that is tried first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum FirstEncoder {
    /// Hardware if any works, else software.
    Best,
    Hardware,
    Software,
    Named(String),
}

/// How sound is encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AudioPlan {
    pub(crate) codec: AudioCodec,
    pub(crate) kbps: u32,
    pub(crate) sample_rate: u32,
    pub(crate) channels: u32,
    /// libav's coder `fast`.
    pub(crate) fast: bool,
    /// How loud it is to be; `None` is as it is.
    pub(crate) level: Option<LevelPlan>,
}

/// How loud the sound of a file is to be, in hundredths of a decibel. The gain follows from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LevelPlan {
    target: i32,
    ceiling: i32,
    most: i32,
}

impl LevelPlan {
    pub(crate) fn of(loudness: &Loudness) -> Self {
        let hundredths = |db: f64| (db * 100.0).round() as i32;
        Self {
            target: hundredths(loudness.target_lufs),
            ceiling: hundredths(loudness.ceiling_dbtp),
            most: hundredths(loudness.most_gain_db),
        }
    }

    /// The same as a setting.
    pub(crate) fn loudness(self) -> Loudness {
        let db = |hundredths: i32| f64::from(hundredths) / 100.0;
        Loudness::default().with(|loudness| {
            loudness.target_lufs = db(self.target);
            loudness.ceiling_dbtp = db(self.ceiling);
            loudness.most_gain_db = db(self.most);
        })
    }
}

impl Plan {
    /// Every track as it is, if plain FLV can carry it.
    #[cfg(test)]
    pub(crate) const COPY: Self = Self::copy(Carriage::Plain);

    /// Every track as it is.
    pub(crate) const fn copy(carriage: Carriage) -> Self {
        Self { carriage, video: None, audio: None }
    }

    /// Whether no track is encoded.
    pub(crate) const fn is_copy(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }

    /// About how many bits a second what is encoded has.
    pub(crate) fn encoded_bits(&self) -> u64 {
        let video = self.video.as_ref().map_or(0, |video| video.kbps);
        let audio = self.audio.as_ref().map_or(0, |audio| audio.kbps);
        1000 * (u64::from(video) + u64::from(audio))
    }
}

/// The text that goes into a reel's key. It must change when what comes out does, and never otherwise: reels would not be found
/// again, or wrong ones would be.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.video {
            Some(video) => write!(f, "video {video}")?,
            None => f.write_str("video copy")?,
        }
        match &self.audio {
            Some(audio) => write!(f, "; audio {audio}"),
            None => f.write_str("; audio copy"),
        }
    }
}

impl fmt::Display for VideoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, frame_rate, kbps, vbv_kbits, gop_frames, b_frames, preset, .. } = self;
        let Self { tune, profile, .. } = self;
        let threading = match self.threading {
            Threading::Frame => "frame",
            Threading::Slice => "slice",
        };
        write!(f, "{} {width}x{height} fps {frame_rate} ", self.codec.as_str())?;
        match self.crf_tenths {
            Some(tenths) => write!(f, "crf {}.{} max {kbps}k", tenths / 10, tenths % 10)?,
            None => write!(f, "cbr {kbps}k")?,
        }
        write!(f, " vbv {vbv_kbits}k filler {} gop {gop_frames} b {b_frames} ", self.filler)?;
        if let Some(refs) = self.refs {
            write!(f, "refs {refs} ")?;
        }
        write!(
            f,
            "preset {preset:?} tune {tune:?} profile {profile:?} threads {} {threading} x264 {:?} encoder {}",
            self.threads, self.x264_params, self.encoder
        )?;
        write!(f, "{}", self.drawn)
    }
}

/// Nothing where nothing is done.
impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.filters.is_empty() {
            write!(f, " filters {:?}", self.filters)?;
        }
        write!(f, "{}", self.overlays)
    }
}

impl fmt::Display for EncoderPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            FirstEncoder::Best => f.write_str("best")?,
            FirstEncoder::Hardware => f.write_str("hardware")?,
            FirstEncoder::Software => f.write_str("software")?,
            FirstEncoder::Named(name) => write!(f, "{name:?}")?,
        }
        f.write_str(if self.fallback { " or another" } else { "" })
    }
}

impl fmt::Display for AudioPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = self.codec.as_str();
        write!(f, "{codec} {}k {} Hz {} channels", self.kbps, self.sample_rate, self.channels)?;
        f.write_str(if self.fast { " fast" } else { "" })?;
        self.level.as_ref().map_or(Ok(()), |level| write!(f, "{level}"))
    }
}

impl fmt::Display for LevelPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [target, ceiling, most] = [self.target, self.ceiling, self.most].map(|db| f64::from(db) / 100.0);
        write!(f, " leveled {target:.2} LUFS {ceiling:.2} dBTP at most {most:.2} dB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_plan_stays_what_it_is() {
        let video = VideoPlan {
            codec: VideoCodec::H264,
            width: 1280,
            height: 720,
            frame_rate: FrameRate::new(30_000, 1001).expect("a usual rate"),
            kbps: 2500,
            vbv_kbits: 2500,
            filler: false,
            crf_tenths: None,
            gop_frames: 60,
            b_frames: 2,
            refs: None,
            preset: "ultrafast".to_owned(),
            tune: String::new(),
            profile: "main".to_owned(),
            threads: 2,
            threading: Threading::Frame,
            x264_params: "aq-mode=2".to_owned(),
            encoder: EncoderPlan { first: FirstEncoder::Software, fallback: true },
            drawn: Drawn::default(),
        };
        let audio = AudioPlan {
            codec: AudioCodec::Aac,
            kbps: 128,
            sample_rate: 48_000,
            channels: 2,
            fast: false,
            level: None,
        };
        let level = Some(LevelPlan::of(&Loudness::default()));
        assert_eq!(
            AudioPlan { fast: true, level, ..audio.clone() }.to_string(),
            "aac 128k 48000 Hz 2 channels fast leveled -14.00 LUFS -1.00 dBTP at most 20.00 dB"
        );
        let quality = VideoPlan { crf_tenths: Some(205), refs: Some(4), ..video.clone() };
        assert_eq!(
            quality.to_string(),
            "h264 1280x720 fps 30000/1001 crf 20.5 max 2500k vbv 2500k filler false gop 60 b 2 refs 4 preset \"ultrafast\" tune \"\" \
             profile \"main\" threads 2 frame x264 \"aq-mode=2\" encoder software or another"
        );
        let plan = Plan { carriage: Carriage::Plain, video: Some(video), audio: Some(audio) };
        assert_eq!(
            plan.to_string(),
            "video h264 1280x720 fps 30000/1001 cbr 2500k vbv 2500k filler false gop 60 b 2 preset \"ultrafast\" tune \"\" profile \
             \"main\" threads 2 frame x264 \"aq-mode=2\" encoder software or another; audio aac 128k 48000 Hz 2 channels"
        );
        assert_eq!(Plan::COPY.to_string(), "video copy; audio copy");
    }
}
