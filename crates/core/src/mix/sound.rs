//! Decoded sound becomes samples of a mix.
//!
//! In: frames as decoders give them, whose format may change. Out: 32-bit float at the rate and with the channels of the mix, a row for each channel. On
//! the thread that decodes.

use flowcast_av::{AudioFrame, Resampler};

use super::control::MixFormat;
use super::sink::form;
use crate::error::Error;

/// Decoded sound becomes samples of the mix.
#[derive(Debug)]
pub(crate) struct Sound {
    format: MixFormat,
    /// Samples that are made at once.
    piece: usize,
    resampler: Option<Resampler>,
}

/// Pieces of it, each with a row for each channel.
type Pieces = Vec<Vec<Vec<f32>>>;

impl Sound {
    pub(crate) const fn new(format: MixFormat, piece: usize) -> Self {
        Self { format, piece, resampler: None }
    }

    /// The samples of a frame, as far as they can be made.
    ///
    /// # Errors
    ///
    /// [`Error::Media`]: libav cannot convert it.
    pub(crate) fn take(&mut self, frame: &AudioFrame) -> Result<Pieces, Error> {
        let mut pieces = match &self.resampler {
            Some(resampler) if !resampler.accepts(frame.format()) => self.end()?,
            _ => Vec::new(),
        };
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            none => {
                let to = form(self.format.rate, self.format.channels);
                none.insert(Resampler::new(frame.format(), &to, self.piece)?)
            }
        };
        resampler.push(frame)?;
        drain(resampler, &mut pieces)?;
        Ok(pieces)
    }

    /// What is held back comes out.
    ///
    /// # Errors
    ///
    /// As of [`take`](Self::take).
    pub(crate) fn end(&mut self) -> Result<Pieces, Error> {
        let mut pieces = Vec::new();
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish()?;
            drain(&mut resampler, &mut pieces)?;
        }
        Ok(pieces)
    }
}

fn drain(resampler: &mut Resampler, pieces: &mut Pieces) -> Result<(), Error> {
    while let Some(frame) = resampler.pull()? {
        pieces.push(frame.to_channels()?);
    }
    Ok(())
}
