//! Opens a rendition: with the others of its source, if they are there, else with what they will share.

use std::sync::Arc;

use flowcast_av::TrackInfo;

use super::open::{Opening, open_bare};
use super::renditions::{Rendition, Rung};
use super::{Media, Source};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::publish::published::{Published, Reader};
use crate::publish::renditions::{Coming, Group, GroupOptions, PlanPictures};
use crate::pull::Puller;
use crate::stream::{Data, Mailbox, SourceMailbox};
use crate::tracks::Carriage;
use crate::transcode::{Encoding, FrameRate, LibavEncoders, Mode, Settling, Wish};

/// A group that is over when a stream comes is replaced by another one, which is over at once only if the source is.
const TRIES: usize = 3;

impl Opening<'_> {
    /// The driver of a rendition.
    pub(super) fn rendition(&self, source: &Source, rung: &Rung) -> Result<Box<dyn SourceDriver>, Error> {
        let rendition = rung.rendition().ok_or(Error::Ended)?;
        rung.of.wish.check()?;
        if let Some(driver) = self.looped(rung, rendition)? {
            return Ok(driver);
        }
        let key: Data = Arc::new(rung.clone());
        for _ in 0..TRIES {
            let is_it = |key: &Data, group: Option<&Arc<Group>>| {
                let Some(other) = key.downcast_ref::<Rung>() else { return false };
                // What comes live is the same for all. A file is played from its beginning for those that are started together.
                let is_at_hand = rung.of.media.is_live() || group.is_none_or(|group| !group.has_begun());
                rung.is_beside(other) && (rung.is_made_with(other) || is_at_hand)
            };
            let make = || self.group(&rung.of, rung.all.len()).map(Arc::new);
            let group = self.0.together().find_or_make(is_it, &key, |group| !group.is_over(), make)?;
            if let Some(driver) = group.join(self.coming(source, rung, rendition)?)? {
                return Ok(Box::new(driver));
            }
        }
        Err(Error::Ended)
    }

    fn coming(&self, source: &Source, rung: &Rung, rendition: &Rendition) -> Result<Coming, Error> {
        let plan = match rendition.is_source() {
            true => None,
            false => Some(self.plan_pictures(source, &rung.of, rendition)?),
        };
        let reading = match &rung.of.media {
            Media::Published { name, .. } => Some(self.0.hub().read(name, self.0.stream())),
            _ => None,
        };
        Ok(Coming {
            place: rung.this,
            plan,
            dial: self.0.dial().clone(),
            probe: source.watches_content().then(|| self.0.probe().clone()),
            cpu: self.0.cpu(),
            reader: self.0.waker().clone(),
            bounds: self.0.config().read_ahead,
            reading,
        })
    }

    /// How the pictures of a rendition are encoded, once they are seen.
    fn plan_pictures(
        &self,
        source: &Source,
        of: &Source,
        rendition: &Rendition,
    ) -> Result<PlanPictures, Error> {
        let (overlays, defaults) = (self.overlays(source)?, self.encoder_defaults());
        let wish = Wish { encoding: of.encoding_on_air(), mode: Some(Mode::Encode), ..of.wish.clone() };
        let rendition = rendition.clone();
        Ok(PlanPictures::new(move |track: &TrackInfo| {
            let video = track.video.as_ref().ok_or(Error::Ended)?;
            let size = rendition.size_of((video.width, video.height))?;
            let known = video.frame_rate.and_then(|rate| FrameRate::new(rate.num, rate.den));
            let mut wish = wish.clone();
            let rate = wish.encoding.frame_rate.or(known);
            wish.encoding.video_bit_rate = Some(rendition.bit_rate_of(size, rate));
            wish.encoding.size = Some(size);
            Ok(Settling::new(wish, defaults).drawing(overlays.clone()).plan_pictures(track))
        }))
    }

    /// What all renditions of a source share.
    fn group(&self, of: &Source, renditions: usize) -> Result<Group, Error> {
        let wish = Wish {
            mode: Some(of.wish.mode.unwrap_or(Mode::Auto)),
            encoding: of.encoding_on_air(),
            ..of.wish.clone()
        };
        let name = match &of.media {
            Media::Published { name, .. } => name.clone(),
            _ => self.0.stream().to_string(),
        };
        let options = GroupOptions {
            name,
            renditions,
            settling: Settling::new(wish, self.encoder_defaults()),
            encoders: Arc::new(LibavEncoders),
            tick: self.0.config().tick,
        };
        Group::start(options, |mailbox| self.feed(of, mailbox))
    }

    /// The driver of what they are made of, on a thread that is reached by this mailbox.
    fn feed(&self, of: &Source, mailbox: &Mailbox) -> Result<Box<dyn SourceDriver>, Error> {
        match &of.media {
            Media::Published { name, once } => {
                let (id, bounds) = (self.0.stream(), self.0.config().read_ahead);
                let reader = Reader { id, mailbox: mailbox.clone(), bounds };
                let hub = self.0.hub().clone();
                let driver = Published::new(hub, name.clone(), *once, reader, None);
                Ok(Box::new(driver.decoded_elsewhere().for_several()))
            }
            Media::Pull(pull) => {
                let pulling = self.pulling(pull)?;
                let with = pulling.with(SourceMailbox::to(mailbox.clone()), Carriage::Enhanced, false, None);
                Ok(Box::new(Puller::new(pulling.pull, with)?))
            }
            _ => open_bare(&of.as_it_is(), self.0),
        }
    }
}

impl Source {
    /// What all renditions are made of, for who decodes it or sends it as it is.
    pub(super) fn as_it_is(&self) -> Self {
        let mut copied = self.clone();
        copied.silence |= self.wish.platforms.iter().any(|platform| platform.needs_audio);
        copied.wish = Wish {
            mode: Some(Mode::Copy),
            encoding: Encoding { audio: self.wish.encoding.audio.clone(), ..Encoding::default() },
            platforms: Vec::new(),
            // What is decoded may be of any codec that tags can carry.
            enhanced: true,
            ..self.wish.clone()
        };
        copied
    }
}
