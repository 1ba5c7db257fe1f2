//! Opens a source: finds out what is wrong with it before anything else happens.

use std::sync::Arc;
use std::time::Duration;

use flowcast_rtmp::flv::silence::aac_config;

use super::{Media, Source};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::files::Reads;
use crate::playout::Playout;
#[cfg(feature = "libav")]
use crate::playout::direct::DirectOptions;
use crate::playout::lane::{Lane, MetadataRole};
use crate::playout::recipes::Recipes;
use crate::playout::sequencer::Sequencer;
use crate::playout::supply::{Supply, Use};
#[cfg(feature = "libav")]
use crate::publish::encoder::{LiveEncoder, LiveOptions};
use crate::publish::published::{Published, Reader};
use crate::stream::hub::check_name;
use crate::stream::opening::{OpenSource, SourceOpening};
use crate::tracks::Tracks;
#[cfg(feature = "libav")]
use crate::transcode::{EncoderDefaults, LibavEncoders, Settling};

/// Sample rate, in hertz, and channels of silence where there is no audio to go by.
const SILENCE: (u32, u8) = (44_100, 2);

/// What a source is opened with.
struct Opening<'a>(&'a SourceOpening<'a>);

/// Opens a source and gets its first seconds ready.
///
/// # Errors
///
/// What is wrong with its files.
///
/// # Blocking
///
/// On the files; where all of one has to be read to find out what is encoded, until the engine shuts down.
pub(super) fn open(source: &Source, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
    let opening = Opening(cx);
    let mut notices = Vec::new();
    let silence = silence(source).and_then(|(rate, channels)| aac_config(rate, channels));
    let lane = Lane::new(MetadataRole::Sends { companion: None }, silence.filter(|_| source.sound.is_none()));
    let main = match &source.media {
        Media::File { path, looped, video_only } => {
            let supply = opening.supply(if *video_only { Tracks::Video } else { Tracks::Both }, source)?;
            let file = (path.as_path(), if *looped { Use::Loop } else { Use::Once });
            Sequencer::file(lane, supply, file, source.start_at, &mut notices)?
        }
        Media::Playlist(list) => {
            let tracks = if source.sound.is_some() { Tracks::Video } else { Tracks::Both };
            Sequencer::list(lane, opening.supply(tracks, source)?, list, source.start_at, &mut notices)?
        }
        Media::Published { name, once } => return opening.published(source, name, *once),
    };
    let sound = match &source.sound {
        Some(list) => {
            let (lane, supply) =
                (Lane::new(MetadataRole::Silent, None), opening.supply(Tracks::Audio, source)?);
            Some(Sequencer::list(lane, supply, list, Duration::ZERO, &mut notices)?)
        }
        None => None,
    };
    Ok(Box::new(Playout::new(main, sound, notices)))
}

/// Sample rate, in hertz, and channels of what is sent where there is no sound, if anything is.
fn silence(source: &Source) -> Option<(u32, u8)> {
    let audio = &source.wish.encoding.audio;
    let wanted = || {
        let channels = audio.channels.map_or(Some(SILENCE.1), |channels| u8::try_from(channels).ok())?;
        let wanted = (audio.sample_rate.unwrap_or(SILENCE.0), channels);
        aac_config(wanted.0, wanted.1).map(|_| wanted)
    };
    // What is encoded is like it.
    let wanted = if source.wish.is_copy() { None } else { wanted() };
    (source.silence || source.wish.needs_audio()).then(|| wanted.unwrap_or(SILENCE))
}

impl OpenSource for Source {
    fn check(&self) -> Result<(), Error> {
        self.check_settings()
    }

    fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        match &self.media {
            Media::File { path, .. } => reads.files.push(path.clone()),
            Media::Playlist(list) => reads.playlists.push(list.clone()),
            Media::Published { name, .. } => reads.published = Some(name.clone()),
        }
        reads.playlists.extend(self.sound.clone());
        reads
    }

    fn open(self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        open(&self, cx)
    }
}

impl Opening<'_> {
    fn published(&self, source: &Source, name: &str, once: bool) -> Result<Box<dyn SourceDriver>, Error> {
        check_name(name)?;
        let (mailbox, bounds) = (self.0.waker().clone(), self.0.config().read_ahead);
        let reader = Reader { id: self.0.stream(), mailbox, bounds };
        let published = Published::new(self.0.hub().clone(), name.to_owned(), once, reader);
        self.encoded(source, name, published)
    }

    #[cfg(feature = "libav")]
    fn encoded(
        &self,
        source: &Source,
        name: &str,
        published: Published,
    ) -> Result<Box<dyn SourceDriver>, Error> {
        source.wish.check()?;
        if source.wish.is_copy() {
            return Ok(Box::new(published));
        }
        let mut wish = source.wish.clone();
        // Who publishes live wants to be seen soon.
        wish.encoding.tune.get_or_insert_with(|| "zerolatency".to_owned());
        wish.encoding.b_frames.get_or_insert(0);
        let encoder = LiveEncoder::start(LiveOptions {
            name: name.to_owned(),
            bounds: self.0.config().read_ahead,
            reader: self.0.waker().clone(),
            cpu: self.0.cpu(),
            settling: Settling::new(wish, self.encoder_defaults()),
            encoders: Arc::new(LibavEncoders),
        })?;
        Ok(Box::new(published.encoded(encoder)))
    }

    #[cfg(not(feature = "libav"))]
    fn encoded(
        &self,
        source: &Source,
        _: &str,
        published: Published,
    ) -> Result<Box<dyn SourceDriver>, Error> {
        if source.wish.is_copy() {
            Ok(Box::new(published))
        } else {
            Err(Error::NotBuilt { feature: "libav" })
        }
    }

    #[cfg(feature = "libav")]
    fn encoder_defaults(&self) -> EncoderDefaults {
        EncoderDefaults {
            prefer_hardware: self.0.config().prefer_hardware_encoding,
            fallback: self.0.config().hardware_encoder_fallback,
        }
    }

    fn supply(&self, tracks: Tracks, source: &Source) -> Result<Supply, Error> {
        Ok(Supply {
            store: self.0.store().cloned(),
            recipes: self.recipes(tracks, source)?,
            #[cfg(feature = "libav")]
            direct: DirectOptions {
                name: self.0.stream().to_string(),
                read_ahead: self.0.config().read_ahead,
                cpu: self.0.cpu(),
            },
        })
    }

    /// The recipes of the files of a lane.
    #[cfg(feature = "libav")]
    fn recipes(&self, tracks: Tracks, source: &Source) -> Result<Recipes, Error> {
        source.wish.check()?;
        if source.wish.is_copy() {
            return Ok(Recipes::copy(tracks, source.wish.carriage()).of(self.0.files()));
        }
        let mut settling = Settling::new(source.wish.clone(), self.encoder_defaults());
        if tracks == Tracks::Audio || matches!(source.media, Media::Playlist(_)) {
            settling = settling.of_list(silence(source));
        }
        let recipes = Recipes::encoded(tracks, settling, Arc::new(LibavEncoders)).of(self.0.files());
        if let Some(scans) = recipes.scans().cloned() {
            self.0.on_shutdown(move || scans.cancel());
        }
        Ok(recipes)
    }

    #[cfg(not(feature = "libav"))]
    fn recipes(&self, tracks: Tracks, source: &Source) -> Result<Recipes, Error> {
        if source.wish.is_copy() {
            Ok(Recipes::copy(tracks, source.wish.carriage()).of(self.0.files()))
        } else {
            Err(Error::NotBuilt { feature: "libav" })
        }
    }
}
