//! Where encoders come from: libav's, the best that opens, and the next one where it fails.

use std::fmt::Debug;

use flowcast_av::encoder::{RateControl, ThreadMode, VideoCodecKind, VideoEncoder, VideoSettings};
use flowcast_av::{ColorInfo, Error, Hardware, Packet, Ratio, TrackInfo, VideoFrame};

use super::encoding::{Threading, VideoCodec};
use super::plan::{EncoderPlan, FirstEncoder, VideoPlan};
use super::steer::{At, bits};

/// Opens encoders. Tests have others that fail.
pub(crate) trait Encoders: Debug + Send + Sync {
    /// libav's names of the encoders to try, in their order.
    ///
    /// # Blocking
    ///
    /// The first time on devices, up to some seconds.
    fn candidates(&self, codec: VideoCodec, plan: &EncoderPlan) -> Vec<String>;

    /// Whether there are devices among them that may encode later, although none does now: they are busy, or their driver comes
    /// back.
    ///
    /// # Blocking
    ///
    /// As for [`candidates`](Self::candidates).
    fn may_recover(&self, codec: VideoCodec, plan: &EncoderPlan) -> bool {
        let _ = (codec, plan);
        false
    }

    /// Opens the encoder that the settings name.
    fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Error>;

    /// The encoder failed: that it once worked is to be forgotten.
    fn failed(&self, name: &str);
}

/// An open encoder of pictures.
pub(crate) trait PictureEncoder: Debug + Send {
    /// The pixel format it takes.
    fn pixel_format(&self) -> &str;
    /// What it makes.
    fn track(&self) -> &TrackInfo;
    /// Encodes to another constant rate from the next picture on, in bits per second, with a buffer of so many bits; `false`, and nothing has
    /// changed, if it does not take that while it is open.
    fn set_bit_rate(&mut self, bit_rate: u64, vbv_bits: u64) -> bool {
        let _ = (bit_rate, vbv_bits);
        false
    }
    /// Gives it a picture.
    fn push(&mut self, frame: &VideoFrame) -> Result<(), Error>;
    /// Gives it a picture that a GOP begins with.
    fn push_keyframe(&mut self, frame: &VideoFrame) -> Result<(), Error> {
        self.push(frame)
    }
    /// The next packet.
    fn pull(&mut self) -> Result<Option<Packet>, Error>;
    /// No picture follows.
    fn finish(&mut self) -> Result<(), Error>;
}

/// libav's encoders.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LibavEncoders;

/// The encoder that needs no device.
const fn software(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "libx264",
        VideoCodec::Hevc => "libx265",
        VideoCodec::Av1 => "libsvtav1",
        VideoCodec::Vp9 => "libvpx-vp9",
        VideoCodec::Vp8 => "libvpx",
    }
}

/// The codec in av's terms.
const fn kind(codec: VideoCodec) -> VideoCodecKind {
    match codec {
        VideoCodec::H264 => VideoCodecKind::H264,
        VideoCodec::Hevc => VideoCodecKind::Hevc,
        VideoCodec::Av1 => VideoCodecKind::Av1,
        VideoCodec::Vp9 => VideoCodecKind::Vp9,
        VideoCodec::Vp8 => VideoCodecKind::Vp8,
    }
}

impl Encoders for LibavEncoders {
    fn candidates(&self, codec: VideoCodec, plan: &EncoderPlan) -> Vec<String> {
        let software = software(codec);
        let hardware = || {
            let known = Hardware::shared().candidates(kind(codec)).into_iter();
            let works = known.filter(|known| known.is_hardware && known.opens.is_ok() && !known.is_full);
            works.map(|known| known.name).collect::<Vec<_>>()
        };
        let mut names = match &plan.first {
            FirstEncoder::Best | FirstEncoder::Hardware => hardware(),
            FirstEncoder::Software => vec![software.to_owned()],
            FirstEncoder::Named(name) => vec![name.clone()],
        };
        let fallback = plan.fallback || (names.is_empty() && plan.first == FirstEncoder::Best);
        if fallback && !names.iter().any(|name| name == software) {
            names.push(software.to_owned());
        }
        names
    }

    fn may_recover(&self, codec: VideoCodec, plan: &EncoderPlan) -> bool {
        let is_wanted = |name: &str| match &plan.first {
            FirstEncoder::Best | FirstEncoder::Hardware => true,
            FirstEncoder::Software => false,
            FirstEncoder::Named(wanted) => wanted == name,
        };
        let known = Hardware::shared().candidates(kind(codec));
        known.iter().any(|known| known.is_hardware && known.compiled_in && is_wanted(&known.name))
    }

    fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Error> {
        Ok(Box::new(VideoEncoder::open(track, settings)?))
    }

    fn failed(&self, name: &str) {
        Hardware::shared().invalidate(name);
    }
}

impl PictureEncoder for VideoEncoder {
    fn pixel_format(&self) -> &str {
        Self::pixel_format(self)
    }

    fn track(&self) -> &TrackInfo {
        Self::track(self)
    }

    fn set_bit_rate(&mut self, bit_rate: u64, vbv_bits: u64) -> bool {
        Self::set_bit_rate(self, bit_rate, vbv_bits)
    }

    fn push(&mut self, frame: &VideoFrame) -> Result<(), Error> {
        self.push_frame(frame, false)
    }

    fn push_keyframe(&mut self, frame: &VideoFrame) -> Result<(), Error> {
        self.push_frame(frame, true)
    }

    fn pull(&mut self) -> Result<Option<Packet>, Error> {
        Self::pull(self)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Self::finish(self)
    }
}

/// The settings of a plan, for the encoder of this name.
pub(crate) fn settings(plan: &VideoPlan, name: &str, color: &ColorInfo) -> VideoSettings {
    let frame_rate = Ratio { num: plan.frame_rate.num(), den: plan.frame_rate.den() };
    let mut settings = VideoSettings::new(plan.width, plan.height, frame_rate);
    settings.codec = kind(plan.codec);
    settings.encoder = Some(name.to_owned());
    let (bits, vbv_bits) = (1000 * u64::from(plan.kbps), 1000 * u64::from(plan.vbv_kbits));
    settings.rate_control = match plan.crf_tenths {
        Some(tenths) => {
            RateControl::CappedCrf { crf: f32::from(tenths) / 10.0, max_bit_rate: bits, vbv_bits }
        }
        None => RateControl::Cbr { bit_rate: bits, vbv_bits, filler: plan.filler },
    };
    settings.gop_frames = plan.gop_frames;
    settings.b_frames = plan.b_frames;
    settings.refs = plan.refs;
    settings.profile = Some(plan.profile.clone()).filter(|profile| !profile.is_empty());
    settings.preset.clone_from(&plan.preset);
    settings.tune = Some(plan.tune.clone()).filter(|tune| !tune.is_empty());
    settings.threads = plan.threads;
    settings.thread_mode = match plan.threading {
        Threading::Frame => ThreadMode::Frame,
        Threading::Slice => ThreadMode::Slice,
    };
    settings.color = color.clone();
    // Each lap has an encoder of its own, which does not know that the one before has emptied the buffer.
    let own = if plan.crf_tenths.is_none() { "vbv-init=0.6" } else { "" };
    let params = [own, &plan.x264_params].into_iter().filter(|params| !params.is_empty());
    settings.x264_params = Some(params.collect::<Vec<_>>().join(":")).filter(|params| !params.is_empty());
    settings
}

/// The same for an encoder whose rate can be changed while it is on the air, and that begins `at` this: encoders of all rates have equal headers where
/// they can, those of other sizes have not.
pub(super) fn settings_at(
    plan: &VideoPlan,
    name: &str,
    color: &ColorInfo,
    at: At,
    changes: bool,
) -> VideoSettings {
    let mut settings = settings(plan, name, color);
    settings.rate_changes = changes;
    if at.kbps != plan.kbps {
        settings = settings.with_level_kept();
        let (bit_rate, vbv_bits) = bits(plan, at.kbps, at.every);
        settings.rate_control = match settings.rate_control {
            RateControl::Cbr { filler, .. } => RateControl::Cbr { bit_rate, vbv_bits, filler },
            other => other,
        };
    }
    (settings.width, settings.height) = at.size(plan);
    settings
}
