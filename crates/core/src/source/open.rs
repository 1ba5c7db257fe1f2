//! Opens a source: finds out what is wrong with it before anything else happens.

use std::sync::Arc;

use flowcast_rtmp::flv::silence::aac_config;

use super::{Media, Source};
use crate::config::{ConnectConfig, QueueBounds, ReconnectPolicy};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::files::Reads;
use crate::fragment::Fragments;
use crate::net::Backoff;
use crate::net::dialer::Dialer;
use crate::playlist::Playlist;
use crate::playout::{DirectOptions, Lane, MetadataRole, Playout, Sequencer, Supply, Use, Wake};
use crate::publish::encoder::LiveEncoder;
use crate::publish::published::{Published, Reader};
use crate::pull::{Pull, Puller, Setting, With};
use crate::stream::{Data, OpenSource, SourceMailbox, SourceOpening, check_name};
use crate::sys::CpuMeter;
use crate::tracks::{Carriage, Tracks};

/// Sample rate, in hertz, and channels of silence where there is no audio to go by.
const SILENCE: (u32, u8) = (44_100, 2);

/// What a source is opened with.
pub(super) struct Opening<'a>(pub(super) &'a SourceOpening<'a>);

/// Opens a source without what watches it, and gets its first seconds ready.
///
/// # Errors
///
/// What is wrong with its files.
///
/// # Blocking
///
/// On the files; where all of one has to be read to find out what is encoded, until the engine shuts down.
pub(super) fn open_bare(source: &Source, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
    let opening = Opening(cx);
    if let Some(rung) = &source.rung {
        return opening.rendition(source, rung);
    }
    #[cfg(feature = "libav")]
    let fitted = cx.beside().and_then(|on_air| super::fit::fitted(source, on_air));
    #[cfg(feature = "libav")]
    let source = fitted.as_ref().map_or(source, |fitted| {
        cx.is_fitted();
        fitted
    });
    let lists = [source.sound_list(), source.list()];
    lists.into_iter().flatten().chain(source.mixed_lists()).try_for_each(Playlist::load)?;
    let mut notices = Vec::new();
    let silence = silence(source).and_then(|(rate, channels)| aac_config(rate, channels));
    let lane = Lane::new(MetadataRole::Sends { companion: None }, silence.filter(|_| source.sound.is_none()));
    let own = if source.all_tracks { Tracks::All } else { Tracks::Both };
    let main = match &source.media {
        Media::File { path, looped, video_only } => {
            let supply = opening.supply(if *video_only { Tracks::Video } else { own }, source)?;
            let file = (path.as_path(), if *looped { Use::Loop } else { Use::Once });
            Sequencer::file(lane, supply, file, source.start_at, &mut notices)?
        }
        Media::Playlist(list) => {
            let tracks = if source.sound.is_some() { Tracks::Video } else { own };
            let list = (list, source.start_item);
            Sequencer::list(lane, opening.supply(tracks, source)?, list, source.start_at, &mut notices)?
        }
        Media::Fragments(fragments) => {
            if !cfg!(feature = "libav") {
                return Err(Error::NotBuilt { feature: "libav" });
            }
            let feed = match fragments {
                Fragments::Pushed(shared) => shared.attach()?,
                Fragments::Directory(directory) => directory.open()?,
            };
            let tracks = if source.sound.is_some() { Tracks::Video } else { own };
            Sequencer::fragments(lane, opening.supply(tracks, source)?, feed)
        }
        Media::Published { name, once } => return opening.published(source, name, *once),
        Media::Pull(pull) => return opening.pulled(source, pull),
        #[cfg(feature = "libav")]
        Media::Frames(made) => return opening.framed(source, made),
    };
    let sound = match &source.sound {
        Some(list) => {
            let (lane, supply) =
                (Lane::new(MetadataRole::Silent, None), opening.supply(Tracks::Audio, source)?);
            let (item, offset) = source.sound_at;
            Some(Sequencer::list(lane, supply, (list, item), offset, &mut notices)?)
        }
        None => None,
    };
    let playout = Playout::new(main, sound, notices);
    opening.mixed(source, Box::new(if source.is_burst() { playout.at_once() } else { playout }))
}

/// Sample rate, in hertz, and channels of what is sent where there is no sound, if anything is.
pub(super) fn silence(source: &Source) -> Option<(u32, u8)> {
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

/// What is needed to play from another server, as often as it is opened.
pub(super) struct Pulling {
    pub(super) pull: Pull,
    name: String,
    bounds: QueueBounds,
    cpu: CpuMeter,
    dialer: Dialer,
    connect: ConnectConfig,
    policy: ReconnectPolicy,
}

impl Pulling {
    /// For a driver that is reached by this mailbox.
    pub(super) fn with(
        &self,
        mailbox: SourceMailbox,
        carriage: Carriage,
        all_tracks: bool,
        encoder: Option<LiveEncoder>,
    ) -> With {
        let setting = Setting {
            name: self.name.clone(),
            bounds: self.bounds,
            cpu: self.cpu.clone(),
            // What is encoded may be of any codec that tags can carry.
            carriage: if encoder.is_some() { Carriage::Enhanced } else { carriage },
            all_tracks: all_tracks && encoder.is_none(),
            mailbox: mailbox.clone(),
        };
        With {
            setting,
            dialer: self.dialer.clone(),
            mailbox,
            connect: self.connect.clone(),
            backoff: Backoff::new(self.policy.clone()),
            enhanced: carriage == Carriage::Enhanced,
            encoder,
        }
    }
}

impl OpenSource for Source {
    fn check(&self) -> Result<(), Error> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        match &self.media {
            Media::File { path, .. } => reads.files.push(path.clone()),
            Media::Playlist(list) => reads.playlists.push(list.clone()),
            Media::Published { name, .. } => reads.published = Some(name.clone()),
            Media::Pull(_) | Media::Fragments(_) => {}
            #[cfg(feature = "libav")]
            Media::Frames(_) => {}
        }
        reads.playlists.extend(self.sound.clone());
        reads.playlists.extend(self.mixed_lists().cloned());
        reads.heard.extend(self.heard_names().map(str::to_owned));
        reads.files.extend(self.fallback.as_ref().map(|fallback| fallback.path().to_owned()));
        reads
    }

    fn as_data(&self) -> Option<Data> {
        #[cfg(feature = "libav")]
        if matches!(self.media, Media::Frames(_)) {
            return None;
        }
        if matches!(self.media, Media::Fragments(Fragments::Pushed(_))) {
            return None;
        }
        #[cfg(feature = "serde")]
        if !crate::written::is_data(self) {
            return None;
        }
        Some(Arc::new(self.clone()))
    }

    fn as_asked(&self) -> Option<Data> {
        Some(Arc::new(self.clone()))
    }

    fn open(mut self: Box<Self>, cx: &SourceOpening<'_>) -> Result<Box<dyn SourceDriver>, Error> {
        #[cfg(feature = "libav")]
        cx.give_way(&self.wish.encoding.under_load, self.wish.is_copy())?;
        #[cfg(feature = "libav")]
        cx.dial().follow(self.wish.encoding.adaptation.as_ref().filter(|_| !self.wish.is_copy()));
        if let Media::Fragments(fragments) = &mut self.media {
            fragments.begin();
        }
        open_bare(&self, cx).map(|driver| self.guarded(driver, cx))
    }
}

impl Opening<'_> {
    fn published(&self, source: &Source, name: &str, once: bool) -> Result<Box<dyn SourceDriver>, Error> {
        check_name(name)?;
        if let Some(driver) = self.joint(source, (name, once))? {
            return Ok(driver);
        }
        let (mailbox, bounds) = (self.0.waker().clone(), self.0.config().read_ahead);
        let reader = Reader { id: self.0.stream(), mailbox, bounds };
        let encoder = self.encoder(source, name)?;
        Ok(Box::new(Published::new(self.0.hub().clone(), name.to_owned(), once, reader, encoder)))
    }

    fn pulled(&self, source: &Source, pull: &Pull) -> Result<Box<dyn SourceDriver>, Error> {
        let pulling = self.pulling(pull)?;
        let encoder = self.encoder(source, "pull")?;
        let with = pulling.with(self.0.mailbox(), source.wish.carriage(), source.all_tracks, encoder);
        Ok(Box::new(Puller::new(pulling.pull, with)?))
    }

    /// What is needed to play from another server.
    pub(super) fn pulling(&self, pull: &Pull) -> Result<Pulling, Error> {
        let config = self.0.config();
        let mut pull = pull.clone();
        pull.roots = pull.roots.loaded()?;
        let policy = pull.reconnect.clone().unwrap_or_else(|| config.reconnect.clone());
        Ok(Pulling {
            pull,
            name: self.0.stream().to_string(),
            bounds: config.read_ahead,
            cpu: self.0.cpu(),
            dialer: self.0.dialer(),
            connect: config.connect.clone(),
            policy,
        })
    }

    pub(super) fn supply(&self, tracks: Tracks, source: &Source) -> Result<Supply, Error> {
        Ok(Supply {
            // What changes on the air cannot be encoded ahead.
            store: self.0.store().filter(|_| tracks == Tracks::Audio || !source.wish.changes()).cloned(),
            recipes: self.recipes(tracks, source)?.of(self.0.files()),
            direct: DirectOptions {
                name: self.0.stream().to_string(),
                read_ahead: self.read_ahead(source),
                cpu: self.0.cpu(),
                wake: source.is_burst().then(|| {
                    let mailbox = self.0.mailbox();
                    Wake::new(move || mailbox.wake())
                }),
            },
        })
    }

    /// How far ahead of the stream its files are read: less where another bit rate is to show soon.
    fn read_ahead(&self, source: &Source) -> QueueBounds {
        let bounds = self.0.config().read_ahead;
        let ahead = source.wish.encoding.adaptation.as_ref().filter(|_| !source.wish.is_copy());
        let ahead = ahead.map_or(bounds.media, |adaptation| adaptation.ahead);
        QueueBounds { media: bounds.media.min(ahead), ..bounds }
    }
}
