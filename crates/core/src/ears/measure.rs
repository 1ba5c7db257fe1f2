//! Decodes the sound of a file to measure it.
//!
//! In: a path. Out: [`LoudnessFacts`]. On the thread that calls.

use std::path::Path;

use flowcast_av::{
    AudioDecoder, AudioFormat, AudioFrame, DecoderOptions, Demuxer, Error as Media, Interrupt, MediaInfo,
    OpenOptions, Resampler, TrackInfo, TrackKind,
};

use super::meter::Meter;
use crate::error::Error;
use crate::loudness::LoudnessFacts;
use crate::scan::{Damage, Patience};

/// Samples that are measured at once.
const PIECE: usize = 4096;

/// The sound of a file that is played where nothing else decides.
pub(crate) fn sound_of(media: &MediaInfo) -> Option<&TrackInfo> {
    let tracks = media.tracks.iter().filter(|track| track.kind == TrackKind::Audio);
    tracks.min_by_key(|track| (!track.is_playable(), !track.default, track.index))
}

/// Measures track number `track`, mixed to `channels`, until `is_over`.
pub(super) fn measure(
    path: &Path,
    track: Option<usize>,
    channels: Option<u32>,
    is_over: impl Fn() -> bool,
) -> Result<LoudnessFacts, Error> {
    let interrupt = Interrupt::new();
    let mut input = Demuxer::open(path, &OpenOptions::default(), &interrupt)?;
    let found = match track {
        Some(track) => input.media().track(track),
        None => sound_of(input.media()),
    };
    let nothing = || Media::NoPlayableTrack { input: path.display().to_string() };
    let track = found.cloned().ok_or_else(nothing)?;
    let mut decoder = AudioDecoder::open(&track, &DecoderOptions::default())?;
    input.select(&[track.index]);
    let (mut sound, mut patience) = (Sound { channels, resampler: None, meter: None }, Patience::default());
    loop {
        if is_over() {
            return Err(Media::Cancelled { operation: "measure loudness" }.into());
        }
        let packet = match input.read() {
            Ok(packet) => packet,
            Err(error) => {
                let error = Error::Media(error);
                match patience.failed(&error) {
                    Damage::First | Damage::Again => continue,
                    Damage::TooMuch => None,
                    Damage::Final => return Err(error),
                }
            }
        };
        patience.read();
        let pushed = match &packet {
            Some(packet) => decoder.push(packet),
            None => decoder.finish(),
        };
        pushed.or_else(tolerated)?;
        loop {
            match decoder.pull() {
                Ok(Some(frame)) => sound.take(&frame)?,
                Ok(None) => break,
                Err(error) => tolerated(error)?,
            }
        }
        if packet.is_none() {
            break;
        }
    }
    sound.end()?;
    let (meter, _) = sound.meter.ok_or_else(nothing)?;
    Ok(meter.facts())
}

/// What is damaged is left out.
fn tolerated(error: Media) -> Result<(), Error> {
    if error.is_damage() { Ok(()) } else { Err(error.into()) }
}

/// Decoded sound on its way into the meter.
struct Sound {
    channels: Option<u32>,
    resampler: Option<Resampler>,
    /// Of the first format that came: what comes in another one is converted to it.
    meter: Option<(Meter, AudioFormat)>,
}

impl Sound {
    fn take(&mut self, frame: &AudioFrame) -> Result<(), Error> {
        if self.resampler.as_ref().is_some_and(|resampler| !resampler.accepts(frame.format())) {
            self.end()?;
        }
        if self.resampler.is_none() {
            let to = match &self.meter {
                Some((_, format)) => format.clone(),
                None => {
                    let channels = self.channels.unwrap_or(frame.format().channels);
                    let format = plain(frame.format().sample_rate, channels)?;
                    self.meter = Some((Meter::new(format.sample_rate, channels)?, format.clone()));
                    format
                }
            };
            self.resampler = Some(Resampler::new(frame.format(), &to, PIECE)?);
        }
        if let Some(resampler) = &mut self.resampler {
            resampler.push(frame)?;
        }
        self.drain()
    }

    /// What is held back comes out.
    fn end(&mut self) -> Result<(), Error> {
        if let Some(resampler) = &mut self.resampler {
            resampler.finish()?;
        }
        self.drain()?;
        self.resampler = None;
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Error> {
        let (Some(resampler), Some((meter, _))) = (&mut self.resampler, &mut self.meter) else {
            return Ok(());
        };
        while let Some(frame) = resampler.pull()? {
            meter.push(&mut frame.to_channels()?)?;
        }
        Ok(())
    }
}

/// 32-bit float, a row for each channel, in the usual layout for their number.
fn plain(sample_rate: u32, channels: u32) -> Result<AudioFormat, Error> {
    let format =
        AudioFormat { sample_rate, channels, layout: String::new(), sample_format: "fltp".to_owned() };
    Ok(AudioFrame::silence(&format, 1)?.format().clone())
}
