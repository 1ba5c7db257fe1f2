//! What a source that may be encoded is opened with.

use std::sync::Arc;

use super::open::{Opening, silence};
use super::{Media, Source};
use crate::error::Error;
use crate::overlay::Overlays;
use crate::playout::Recipes;
use crate::publish::encoder::{LiveEncoder, LiveOptions};
use crate::tracks::Tracks;
use crate::transcode::{EncoderDefaults, LibavEncoders, Settling, Wish};

impl Opening<'_> {
    /// The encoder of what is published as `name`, if it is encoded.
    pub(super) fn encoder(&self, source: &Source, name: &str) -> Result<Option<LiveEncoder>, Error> {
        source.wish.check()?;
        if source.wish.is_copy() {
            return Ok(None);
        }
        let wish = Wish { encoding: source.encoding_on_air(), ..source.wish.clone() };
        let options = LiveOptions {
            name: name.to_owned(),
            bounds: self.0.config().read_ahead,
            reader: self.0.waker().clone(),
            cpu: self.0.cpu(),
            settling: Settling::new(wish, self.encoder_defaults()).drawing(self.overlays(source)?),
            encoders: Arc::new(LibavEncoders),
        };
        LiveEncoder::start(options).map(Some)
    }

    /// The recipes of the files of a lane.
    pub(super) fn recipes(&self, tracks: Tracks, source: &Source) -> Result<Recipes, Error> {
        source.wish.check()?;
        if source.wish.is_copy() {
            return Ok(Recipes::copy(tracks, source.wish.carriage()));
        }
        let overlays = if tracks == Tracks::Audio { Overlays::default() } else { self.overlays(source)? };
        let mut settling = Settling::new(source.wish.clone(), self.encoder_defaults()).drawing(overlays);
        if tracks == Tracks::Audio || matches!(source.media, Media::Playlist(_) | Media::Fragments(_)) {
            settling = settling.of_list(silence(source));
        }
        let recipes = Recipes::encoded(tracks, settling, Arc::new(LibavEncoders));
        if let Some(scans) = recipes.scans().cloned() {
            self.0.on_shutdown(move || scans.cancel());
        }
        Ok(recipes)
    }

    /// What is drawn over the pictures, ready.
    fn overlays(&self, source: &Source) -> Result<Overlays, Error> {
        Overlays::load(&source.wish.encoding.overlays, self.0.board())
    }

    pub(super) fn encoder_defaults(&self) -> EncoderDefaults {
        EncoderDefaults {
            prefer_hardware: self.0.config().prefer_hardware_encoding,
            fallback: self.0.config().hardware_encoder_fallback,
        }
    }
}
