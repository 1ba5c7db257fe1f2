//! AAC encoding.

use crate::sys::{self, AudioSetup, RawEncoder, RawFrame};
use crate::{AudioInfo, Codec, Error, Packet, TrackInfo, TrackKind, describe};

/// How to encode audio.
#[derive(Debug, Clone)]
pub struct AudioSettings {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels: 1 to 8.
    pub channels: u32,
    /// Bits per second on average. Default 128,000.
    pub bit_rate: u64,
}

impl AudioSettings {
    /// The defaults for a rate in samples per second and a number of channels.
    #[must_use]
    pub fn new(sample_rate: u32, channels: u32) -> Self {
        Self { sample_rate, channels, bit_rate: 128_000 }
    }
}

/// An AAC-LC encoder: as [`VideoEncoder`](super::VideoEncoder), for samples. Its clock ticks once per sample, and its first packet
/// lies before 0 by the encoder's priming.
#[derive(Debug)]
pub struct AudioEncoder {
    encoder: RawEncoder,
    track: TrackInfo,
    settings: AudioSettings,
}

impl AudioEncoder {
    /// Opens an encoder whose packets carry the track index `track`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this libav has no AAC encoder that takes these settings; [`Error::VersionMismatch`].
    pub fn open(track: usize, settings: &AudioSettings) -> Result<Self, Error> {
        sys::check_versions()?;
        let setup = AudioSetup {
            sample_rate: settings.sample_rate,
            channels: settings.channels,
            bit_rate: settings.bit_rate,
        };
        // libav's own encoder takes planar float, which others named "aac" may not.
        let encoder = RawEncoder::audio(Some(c"aac"), c"aac", &setup)
            .or_else(|_| RawEncoder::audio(None, c"aac", &setup))
            .map_err(|_| Error::Unavailable { what: "encoder", name: "aac".to_owned() })?;
        let output = encoder.output();
        let mut info = TrackInfo::new(track, TrackKind::Audio, Codec::Aac, output.time_base);
        info.bit_rate = Some(settings.bit_rate);
        info.config = output.config;
        info.default = true;
        info.audio = Some(AudioInfo {
            sample_rate: settings.sample_rate,
            channels: settings.channels,
            layout: String::new(),
            frame_samples: output.frame_samples,
            priming_samples: output.priming_samples,
        });
        describe::complete(&mut info);
        Ok(Self { encoder, track: info, settings: settings.clone() })
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
        let refuse = |message: &str| Error::InvalidArgument { message: message.to_owned() };
        let samples = channels.first().map_or(0, |channel| channel.len());
        if channels.len() != self.settings.channels as usize || samples == 0 || samples > self.frame_samples()
        {
            return Err(refuse("a wrong number of channels or samples"));
        }
        let mut frame = RawFrame::sound(samples, channels.len(), self.settings.sample_rate)?;
        for (index, channel) in channels.iter().enumerate() {
            frame.fill_channel(index, channel).map_err(|_| refuse("channels of different lengths"))?;
        }
        frame.set_pts(pts);
        Ok(self.encoder.send(Some(&frame))?)
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
