//! Encoding of samples.

use std::ffi::CStr;

use crate::sys::{self, RawEncoder, RawFrame, Sound};
use crate::{AudioFormat, AudioFrame, AudioInfo, Codec, Error, Packet, TrackInfo, TrackKind, describe};

/// A codec samples can be encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodecKind {
    /// AAC-LC: what every platform takes.
    Aac,
    /// Opus, at 48, 24, 16, 12 or 8 kHz.
    Opus,
}

impl AudioCodecKind {
    /// The codec of the packets.
    #[must_use]
    pub const fn codec(self) -> Codec {
        match self {
            Self::Aac => Codec::Aac,
            Self::Opus => Codec::Opus,
        }
    }
}

/// How to encode audio.
#[derive(Debug, Clone)]
pub struct AudioSettings {
    /// The codec. Default AAC.
    pub codec: AudioCodecKind,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels: 1 to 8.
    pub channels: u32,
    /// libav's name of the channel layout ("5.1"). `None` (the default) for the usual one for this number of channels.
    pub layout: Option<String>,
    /// Bits per second on average. Default 128,000.
    pub bit_rate: u64,
    /// AAC with about half the CPU: libav's coder `fast` instead of `twoloop`, whose bit rate is more even and which
    /// distorts pure tones less. Default `false`. Not for less than 64 kbit/s; other codecs do not know it.
    pub fast: bool,
}

impl AudioSettings {
    /// The defaults for a rate in samples per second and a number of channels.
    #[must_use]
    pub fn new(sample_rate: u32, channels: u32) -> Self {
        Self {
            codec: AudioCodecKind::Aac,
            sample_rate,
            channels,
            layout: None,
            bit_rate: 128_000,
            fast: false,
        }
    }
}

/// An encoder of samples: as [`VideoEncoder`](super::VideoEncoder). Its clock ticks once per sample, and its first packet
/// lies before 0 by the encoder's priming.
#[derive(Debug)]
pub struct AudioEncoder {
    encoder: RawEncoder,
    track: TrackInfo,
    format: AudioFormat,
    sound: Sound,
}

impl AudioEncoder {
    /// Opens an encoder whose packets carry the track index `track`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this libav has no encoder for the codec that takes these settings;
    /// [`Error::InvalidArgument`] for a layout of another number of channels; [`Error::VersionMismatch`].
    pub fn open(track: usize, settings: &AudioSettings) -> Result<Self, Error> {
        sys::check_versions()?;
        // The encoders that take float: libav's own AAC encoder, which others named "aac" may not.
        let (name, codec, sample_format): (&CStr, &CStr, &str) = match settings.codec {
            AudioCodecKind::Aac => (c"aac", c"aac", "fltp"),
            AudioCodecKind::Opus => (c"libopus", c"opus", "flt"),
        };
        let mut format = AudioFormat {
            sample_rate: settings.sample_rate,
            channels: settings.channels,
            layout: settings.layout.clone().unwrap_or_default(),
            sample_format: sample_format.to_owned(),
        };
        let sound =
            Sound::of(&format).map_err(|_| refuse("a rate of zero, or a layout of other channels"))?;
        format.layout = sound.layout_name();
        let is_fast = settings.fast && settings.codec == AudioCodecKind::Aac;
        let options: &[_] = if is_fast { &[("aac_coder", "fast".to_owned())] } else { &[] };
        let encoder = RawEncoder::audio(Some(name), codec, &sound, settings.bit_rate, options)
            .or_else(|_| RawEncoder::audio(None, codec, &sound, settings.bit_rate, &[]))
            .map_err(|_| Error::Unavailable {
                what: "encoder",
                name: settings.codec.codec().name().to_owned(),
            })?;
        let output = encoder.output();
        let mut info = TrackInfo::new(track, TrackKind::Audio, settings.codec.codec(), output.time_base);
        info.bit_rate = Some(settings.bit_rate);
        info.config = output.config;
        info.default = true;
        info.audio = Some(AudioInfo {
            sample_rate: settings.sample_rate,
            channels: settings.channels,
            layout: format.layout.clone(),
            frame_samples: output.frame_samples,
            priming_samples: output.priming_samples,
        });
        describe::complete(&mut info);
        Ok(Self { encoder, track: info, format, sound })
    }

    /// The form of the samples it takes: what a [`Resampler`](crate::Resampler) has to make.
    #[must_use]
    pub fn format(&self) -> &AudioFormat {
        &self.format
    }

    /// What it makes, as a demuxer would describe it.
    #[must_use]
    pub fn track(&self) -> &TrackInfo {
        &self.track
    }

    /// Samples per channel it takes at once; only the last push may have fewer.
    #[must_use]
    pub fn frame_samples(&self) -> usize {
        self.track.audio.as_ref().map_or(1024, |audio| audio.frame_samples as usize)
    }

    /// Gives it samples from -1 to 1, one slice for each channel, all of [`frame_samples`](Self::frame_samples). `pts` is the
    /// number of the first sample.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another number of channels, or slices of different lengths; [`Error::Libav`].
    pub fn push(&mut self, channels: &[&[f32]], pts: i64) -> Result<(), Error> {
        let samples = channels.first().map_or(0, |channel| channel.len());
        let is_right = channels.len() == self.format.channels as usize;
        if !is_right || samples == 0 || samples > self.frame_samples() {
            return Err(refuse("a wrong number of channels or samples"));
        }
        let mut frame = RawFrame::silence(samples, &self.sound)?;
        for (index, channel) in channels.iter().enumerate() {
            frame.fill_channel(index, channel).map_err(|_| refuse("channels of different lengths"))?;
        }
        frame.set_pts(Some(pts));
        Ok(self.encoder.send(Some(&frame))?)
    }

    /// Gives it samples of a resampler, which are not copied. Their [`pts`](AudioFrame::pts) is the number of the first sample.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for samples of another form, more than [`frame_samples`](Self::frame_samples), or without
    /// a time; [`Error::Libav`].
    pub fn push_frame(&mut self, frame: &AudioFrame) -> Result<(), Error> {
        let is_right = *frame.format() == self.format && frame.samples() <= self.frame_samples();
        if !is_right || frame.pts().is_none() {
            return Err(refuse("samples of another form, too many, or without a time"));
        }
        Ok(self.encoder.send(Some(frame.raw()))?)
    }

    /// The next packet, or `None` if it needs more samples, or has given all after [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn pull(&mut self) -> Result<Option<Packet>, Error> {
        let packet = self.encoder.receive()?;
        Ok(packet.map(|packet| Packet { track: self.track.index, ..packet }))
    }

    /// Says that no samples follow.
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn finish(&mut self) -> Result<(), Error> {
        Ok(self.encoder.send(None)?)
    }
}

fn refuse(message: &str) -> Error {
    Error::InvalidArgument { message: message.to_owned() }
}
