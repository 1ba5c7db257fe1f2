//! Opens a rendition of a looped file: it plays a reel of its own, which is encoded once, in step with the others.

use std::path::Path;
use std::sync::Arc;

use flowcast_av::{Demuxer, Interrupt, OpenOptions};
use flowcast_rtmp::flv::silence::aac_config;

use super::open::{Opening, silence};
use super::renditions::{Rendition, Rung};
use super::{Media, Source};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::playout::{Lane, MetadataRole, Playout, Sequencer, SyncGroup, Use};
use crate::stream::Data;
use crate::tracks::{Chosen, Tracks};
use crate::transcode::{FrameRate, Mode, Wish, shown_size};

impl Opening<'_> {
    /// The driver of a rendition of a looped file; `None` if it is made while it plays: there is no store, something may change on the air, or
    /// the file has no pictures.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; [`Error::Config`]: the rendition would be larger.
    ///
    /// # Blocking
    ///
    /// On the file: until its first seconds are encoded.
    pub(super) fn looped(
        &self,
        rung: &Rung,
        rendition: &Rendition,
    ) -> Result<Option<Box<dyn SourceDriver>>, Error> {
        let Media::File { path, looped: true, video_only } = &rung.of.media else { return Ok(None) };
        let may_change = rung.of.sound.is_some() || rung.of.wish.encoding.changes();
        if self.0.store().is_none() || may_change {
            return Ok(None);
        }
        let Some(own) = rung.of.sized(path, rendition)? else { return Ok(None) };
        let key: Data = Arc::new(rung.clone());
        let is_it = |key: &Data, group: Option<&Arc<SyncGroup>>| {
            let Some(other) = key.downcast_ref::<Rung>() else { return false };
            let is_at_hand = group.is_none_or(|group| !group.has_begun());
            rung.is_beside(other) && (rung.is_made_with(other) || rung.is_saved_with(other) || is_at_hand)
        };
        let make = || Ok(Arc::new(SyncGroup::new(rung.all.len(), rung.begins())));
        let group = self.0.together().find_or_make(is_it, &key, |_| true, make)?;
        let member = group.join(rung.this);
        let mut notices = Vec::new();
        let silence = silence(&own).and_then(|(rate, channels)| aac_config(rate, channels));
        let lane = Lane::new(MetadataRole::Sends { companion: None }, silence);
        let supply = self.supply(if *video_only { Tracks::Video } else { Tracks::Both }, &own)?;
        let main = Sequencer::file(lane, supply, (path, Use::Loop), group.begins(), &mut notices)?;
        Ok(Some(Box::new(Playout::new(main.in_step(member), None, notices))))
    }
}

impl Source {
    /// The source of which all renditions are made, so that it is played as this one; `None` if it has no pictures.
    fn sized(&self, path: &Path, rendition: &Rendition) -> Result<Option<Self>, Error> {
        if rendition.is_source() {
            return Ok(Some(self.as_it_is()));
        }
        let mut own = self.clone();
        own.wish.mode = Some(own.wish.mode.unwrap_or(Mode::Auto));
        let file = Demuxer::open(path, &OpenOptions::default(), &Interrupt::new())?;
        let Some(track) = Chosen::of(file.media(), own.wish.carriage()).video else { return Ok(None) };
        let size = rendition.size_of(shown_size(&track))?;
        let video = track.video.as_ref();
        let known =
            video.and_then(|video| video.frame_rate).and_then(|rate| FrameRate::new(rate.num, rate.den));
        let Wish { encoding, is_rendition, .. } = &mut own.wish;
        encoding.video_bit_rate = Some(rendition.bit_rate_of(size, encoding.frame_rate.or(known)));
        encoding.size = Some(size);
        *is_rendition = true;
        Ok(Some(own))
    }
}
