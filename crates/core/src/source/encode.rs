//! What a source that may be encoded is opened with.

use std::sync::Arc;

use super::open::{Opening, silence};
use super::{Media, Source};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::mix::{MixFormat, MixOptions, Mixer, Mixing};
use crate::overlay::Overlays;
use crate::playout::Recipes;
use crate::publish::encoder::{LiveEncoder, LiveOptions};
use crate::publish::heard::{Heard, OpenHeard};
use crate::publish::mixed::Mixed;
use crate::publish::published::{Published, Reader};
use crate::pull::Puller;
use crate::stream::{Mailbox, SourceMailbox};
use crate::tracks::{Carriage, Tracks};
use crate::transcode::{EncoderDefaults, LibavEncoders, Mode, Settling, Wish};

impl Opening<'_> {
    /// The encoder of what is published as `name`, if it is encoded or mixed.
    pub(super) fn encoder(&self, source: &Source, name: &str) -> Result<Option<LiveEncoder>, Error> {
        source.wish.check()?;
        if source.wish.is_copy() && source.mixer.is_none() {
            return Ok(None);
        }
        let wish = Wish { encoding: source.encoding_on_air(), ..source.wish.clone() };
        LiveEncoder::start(self.live_options(source, name, wish)?).map(Some)
    }

    /// The driver of a source of files, behind which its sound is mixed if it is to be.
    pub(super) fn mixed(
        &self,
        source: &Source,
        driver: Box<dyn SourceDriver>,
    ) -> Result<Box<dyn SourceDriver>, Error> {
        if source.mixer.is_none() {
            return Ok(driver);
        }
        // Its pictures are what they are to be by then.
        let wish = Wish { mode: Some(Mode::Copy), loudness: None, ..source.wish.clone() };
        let encoder = LiveEncoder::start(self.live_options(source, &self.0.stream().to_string(), wish)?)?;
        Ok(Box::new(Mixed::new(driver, encoder)))
    }

    /// What an encoder of what comes live is started with; what the source is mixed with is started here.
    pub(super) fn live_options(&self, source: &Source, name: &str, wish: Wish) -> Result<LiveOptions, Error> {
        // What is copied was drawn on before.
        let is_copy = wish.is_copy();
        let mut settling = Settling::new(wish, self.encoder_defaults());
        if !is_copy {
            settling = settling.drawing(self.overlays(source)?).steered(self.0.dial().clone());
        }
        let mut mixed = None;
        if let Some(mixer) = &source.mixer {
            let plan = settling.mixed_plan();
            let format = MixFormat { rate: plan.sample_rate, channels: plan.channels };
            let (stream, cpu) = (self.0.stream().to_string(), self.0.cpu());
            let mixing = Mixing::start(&MixOptions { stream, mixer, format, cpu })?;
            self.listen(mixer, &mixing)?;
            self.0.has_mixer(mixing.handle());
            mixed = Some((mixing, plan));
        }
        Ok(LiveOptions {
            name: name.to_owned(),
            bounds: self.0.config().read_ahead,
            reader: self.0.waker().clone(),
            cpu: self.0.cpu(),
            settling,
            encoders: Arc::new(LibavEncoders),
            mixed,
            probe: source.watches_content().then(|| self.0.probe().clone()),
        })
    }

    /// Starts to listen to what is live of a mix.
    fn listen(&self, mixer: &Mixer, mixing: &Mixing) -> Result<(), Error> {
        for (live, line) in mixing.lines(mixer) {
            let Some(source) = live.listened().downcast_ref::<Source>() else { continue };
            let (tick, cpu) = (self.0.config().tick, self.0.cpu());
            let heard = Heard { line, open: self.heard(source)?, tick, cpu };
            mixing.is_read_by(heard.start(&self.0.stream().to_string())?);
        }
        Ok(())
    }

    /// How a source is opened of which only the sound is taken.
    fn heard(&self, source: &Source) -> Result<OpenHeard, Error> {
        match &source.media {
            Media::Published { name, .. } => {
                let (hub, name) = (self.0.hub().clone(), name.clone());
                let (id, bounds) = (self.0.stream(), self.0.config().read_ahead);
                Ok(Box::new(move |mailbox: &Mailbox| {
                    let reader = Reader { id, mailbox: mailbox.clone(), bounds };
                    Ok(Box::new(Published::new(hub.clone(), name.clone(), false, reader, None)))
                }))
            }
            Media::Pull(pull) => {
                let pulling = self.pulling(pull)?;
                Ok(Box::new(move |mailbox: &Mailbox| {
                    let with =
                        pulling.with(SourceMailbox::to(mailbox.clone()), Carriage::Enhanced, false, None);
                    Ok(Box::new(Puller::new(pulling.pull.clone(), with)?))
                }))
            }
            _ => Err(Error::Config { name: "mixer.input", reason: "it is not live".to_owned() }),
        }
    }

    /// The recipes of the files of a lane.
    pub(super) fn recipes(&self, tracks: Tracks, source: &Source) -> Result<Recipes, Error> {
        source.wish.check()?;
        if source.wish.is_copy() {
            return Ok(Recipes::copy(tracks, source.wish.carriage()));
        }
        let overlays = if tracks == Tracks::Audio { Overlays::default() } else { self.overlays(source)? };
        let settling = Settling::new(source.wish.clone(), self.encoder_defaults()).drawing(overlays);
        let mut settling = settling.steered(self.0.dial().clone());
        if tracks == Tracks::Audio || matches!(source.media, Media::Playlist(_) | Media::Fragments(_)) {
            settling = settling.of_list(silence(source));
        } else if source.mixer.is_some() {
            settling = settling.for_mix();
        }
        let recipes = Recipes::encoded(tracks, settling, Arc::new(LibavEncoders));
        if let Some(scans) = recipes.scans().cloned() {
            self.0.on_shutdown(move || scans.cancel());
        }
        Ok(recipes)
    }

    /// What is drawn over the pictures, ready.
    pub(super) fn overlays(&self, source: &Source) -> Result<Overlays, Error> {
        Overlays::load(&source.wish.encoding.overlays, self.0.board())
    }

    pub(super) fn encoder_defaults(&self) -> EncoderDefaults {
        EncoderDefaults {
            prefer_hardware: self.0.config().prefer_hardware_encoding,
            fallback: self.0.config().hardware_encoder_fallback,
        }
    }
}
