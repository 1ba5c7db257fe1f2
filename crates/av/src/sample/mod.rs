//! Clips for tests, examples and benchmarks: a moving picture and a tone, made here and encoded by libav's encoders.

mod drawing;

use std::path::Path;

use crate::encoder::{AudioEncoder, AudioSettings, RateControl, VideoEncoder, VideoSettings};
use crate::{Error, Muxer, MuxerOptions, Packet, Ratio};

/// What a sample clip is like.
#[derive(Debug, Clone)]
pub struct SampleSpec {
    /// Width in pixels, even. Default 320.
    pub width: u32,
    /// Height in pixels, even. Default 180.
    pub height: u32,
    /// Frames per second. Default 25.
    pub fps: u32,
    /// Length of the picture in seconds; rounded to whole frames. Default 2. Without effect if `video` is false.
    pub seconds: f64,
    /// Length of the sound in seconds, if it differs from that of the picture.
    pub audio_seconds: Option<f64>,
    /// Whether there is a picture. Default true.
    pub video: bool,
    /// Frames from one keyframe to the next. Default 25.
    pub gop_frames: u32,
    /// B-frames in a row. Default 0.
    pub b_frames: u32,
    /// Sound: samples per second and channels; `None` for none. Default 48000 and 2.
    pub audio: Option<(u32, u32)>,
    /// Bits per second of the picture. Default 400,000.
    pub bitrate: u64,
    /// How far a player has to turn the picture clockwise: 0, 90, 180 or 270. Default 0.
    pub rotation_degrees: u16,
    /// How to write the file. Default: by the extension of the path.
    pub muxer: MuxerOptions,
}

impl Default for SampleSpec {
    fn default() -> Self {
        Self {
            width: 320,
            height: 180,
            fps: 25,
            seconds: 2.0,
            audio_seconds: None,
            video: true,
            gop_frames: 25,
            b_frames: 0,
            audio: Some((48_000, 2)),
            bitrate: 400_000,
            rotation_degrees: 0,
            muxer: MuxerOptions::default(),
        }
    }
}

/// Writes a clip: a gradient that moves, a box that runs through it, the frame number as bars (its lowest 16 bits, lowest bit
/// left), and a 440 Hz tone (an octave higher in every odd channel). The same spec gives the same packets, with the same
/// encoders.
///
/// # Errors
/// [`Error::Unavailable`] if this libav has no H.264 or no AAC encoder, [`Error::InvalidArgument`] for a spec with neither
/// picture nor sound or an odd size; else as for [`Muxer::create`].
///
/// # Blocking
/// For as long as encoding takes: some 10 ms per second of a small picture.
pub fn sample_clip(path: &Path, spec: &SampleSpec) -> Result<(), Error> {
    let mut picture = spec.video.then(|| PictureTrack::open(spec)).transpose()?;
    let index = usize::from(picture.is_some());
    let mut sound = spec.audio.map(|audio| SoundTrack::open(index, audio, spec)).transpose()?;
    let mut tracks = Vec::new();
    tracks.extend(picture.as_ref().map(|picture| picture.encoder.track().clone()));
    tracks.extend(sound.as_ref().map(|sound| sound.encoder.track().clone()));
    for video in tracks.iter_mut().filter_map(|track| track.video.as_mut()) {
        video.rotation_degrees = spec.rotation_degrees;
    }
    let mut muxer = Muxer::create_with(path, &tracks, &spec.muxer)?;
    // Alternates by time, so that the muxer has little to hold back.
    loop {
        let picture_at = picture.as_ref().and_then(PictureTrack::position);
        let sound_at = sound.as_ref().and_then(SoundTrack::position);
        let packets = match (picture_at, sound_at, &mut picture, &mut sound) {
            (Some(at), other, Some(picture), _) if other.is_none_or(|other| at <= other) => picture.step()?,
            (_, Some(_), _, Some(sound)) => sound.step()?,
            _ => break,
        };
        for packet in packets {
            muxer.write(&packet)?;
        }
    }
    muxer.finish()
}

/// The picture's encoder and where it is.
struct PictureTrack {
    encoder: VideoEncoder,
    width: u32,
    height: u32,
    next: u32,
    frames: u32,
    fps: u32,
    ended: bool,
}

impl PictureTrack {
    fn open(spec: &SampleSpec) -> Result<Self, Error> {
        let rate = Ratio::new(spec.fps, 1)
            .ok_or_else(|| Error::InvalidArgument { message: "0 frames per second".to_owned() })?;
        let settings = VideoSettings {
            gop_frames: spec.gop_frames,
            b_frames: spec.b_frames,
            rate_control: RateControl::Abr(spec.bitrate),
            preset: "ultrafast".to_owned(),
            // As many B-frames in a row as there may be, whatever the picture.
            x264_params: Some("b-adapt=0".to_owned()),
            ..VideoSettings::new(spec.width, spec.height, rate)
        };
        Ok(Self {
            encoder: VideoEncoder::open(0, &settings)?,
            width: spec.width,
            height: spec.height,
            next: 0,
            frames: (spec.seconds * f64::from(spec.fps)).round() as u32,
            fps: spec.fps,
            ended: false,
        })
    }

    /// Seconds done, until all is.
    fn position(&self) -> Option<f64> {
        (!self.ended).then(|| f64::from(self.next) / f64::from(self.fps))
    }

    fn step(&mut self) -> Result<Vec<Packet>, Error> {
        if self.next < self.frames {
            let picture = drawing::picture(self.width, self.height, self.next);
            self.encoder.push(&picture, i64::from(self.next))?;
            self.next += 1;
        } else {
            self.encoder.finish()?;
            self.ended = true;
        }
        let mut packets = Vec::new();
        while let Some(packet) = self.encoder.pull()? {
            packets.push(packet);
        }
        Ok(packets)
    }
}

/// The sound's encoder and where it is.
struct SoundTrack {
    encoder: AudioEncoder,
    rate: u32,
    channels: u32,
    next: u64,
    samples: u64,
    ended: bool,
}

impl SoundTrack {
    fn open(index: usize, (rate, channels): (u32, u32), spec: &SampleSpec) -> Result<Self, Error> {
        let seconds = spec.audio_seconds.unwrap_or(spec.seconds);
        Ok(Self {
            encoder: AudioEncoder::open(index, &AudioSettings::new(rate, channels))?,
            rate,
            channels,
            next: 0,
            samples: (seconds * f64::from(rate)).round() as u64,
            ended: false,
        })
    }

    fn position(&self) -> Option<f64> {
        (!self.ended).then(|| self.next as f64 / f64::from(self.rate))
    }

    fn step(&mut self) -> Result<Vec<Packet>, Error> {
        let left = usize::try_from(self.samples - self.next).unwrap_or(usize::MAX);
        if left > 0 {
            let count = left.min(self.encoder.frame_samples());
            let sound = drawing::tone(self.next, count, self.rate, self.channels);
            let planes: Vec<&[f32]> = sound.iter().map(Vec::as_slice).collect();
            self.encoder.push(&planes, i64::try_from(self.next).unwrap_or(i64::MAX))?;
            self.next += count as u64;
        } else {
            self.encoder.finish()?;
            self.ended = true;
        }
        let mut packets = Vec::new();
        while let Some(packet) = self.encoder.pull()? {
            packets.push(packet);
        }
        Ok(packets)
    }
}
