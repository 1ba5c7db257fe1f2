//! Reads packets out of a file or a live input.

use std::path::Path;

use crate::{Error, Interrupt, MediaInfo, OpenOptions, Packet};

/// An open input.
#[derive(Debug)]
pub struct Demuxer {
    media: MediaInfo,
}

impl Demuxer {
    /// Opens a local file.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(path: &Path, _options: &OpenOptions, _interrupt: &Interrupt) -> Result<Self, Error> {
        Err(Error::NotFound { path: path.to_owned() })
    }

    /// Opens a live input by its address.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open_url(_url: &str, _options: &OpenOptions, _interrupt: &Interrupt) -> Result<Self, Error> {
        Err(Error::Timeout { operation: "open" })
    }

    /// What is in the input.
    #[must_use]
    pub fn media(&self) -> &MediaInfo {
        &self.media
    }

    /// Reads only these tracks from here on.
    pub fn select(&mut self, tracks: &[usize]) {
        self.media.tracks.retain(|track| tracks.contains(&track.index));
    }

    /// The next packet, or `None` at the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(&mut self) -> Result<Option<Packet>, Error> {
        Ok(None)
    }

    /// Goes back to the first packet.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.media.tracks.clear();
        Ok(())
    }
}
