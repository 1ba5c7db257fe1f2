//! Where a stream's tags come from.

mod cost;
#[cfg_attr(not(feature = "libav"), path = "without_libav.rs")]
mod encode;
mod fallback;
#[cfg(feature = "libav")]
mod fit;
#[cfg(feature = "libav")]
mod frames;
mod heard;
#[cfg(feature = "libav")]
mod joint;
#[cfg(feature = "libav")]
mod ladder;
#[cfg(feature = "libav")]
mod looped;
#[cfg(feature = "serde")]
mod mix_wire;
mod open;
mod renditions;
#[cfg(feature = "serde")]
mod wire;

pub use self::fallback::Fallback;
pub use self::renditions::{Rendition, Renditions};
#[cfg(feature = "serde")]
pub(crate) use self::wire::WithKey;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::fragment::{FragmentDirectory, FragmentPace, FragmentPublisher, Fragments};
use crate::loudness::Loudness;
use crate::mix::{Feed, Mixer};
use crate::playlist::Playlist;
use crate::pull::Pull;
use crate::standby::Watchdog;
use crate::stream::check_name;
use crate::transcode::{Encoding, Mode, Profile, Wish};
use crate::verdict::{Facts, Platform, Split, Strictness, plan_for, verdict};

/// What a stream plays.
///
/// ```no_run
/// # extern crate flowcast_core as flowcast;
/// use flowcast::{Playlist, Source};
///
/// let intro = Source::file("intro.mp4").looped();
/// let channel = Source::playlist(Playlist::dir("shows")?.shuffled());
/// let lofi = Source::video("rain.mp4").looped().with_audio(Playlist::dir("music")?.shuffled());
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a source does nothing until a stream is started with it"]
pub struct Source {
    pub(crate) media: Media,
    pub(crate) sound: Option<Playlist>,
    pub(crate) all_tracks: bool,
    pub(crate) silence: bool,
    pub(crate) start_at: Duration,
    /// The item of a list that comes first.
    pub(crate) start_item: Option<usize>,
    /// The same of the sound, and where in it.
    pub(crate) sound_at: (Option<usize>, Duration),
    pub(crate) wish: Wish,
    /// What its sound is mixed with.
    pub(crate) mixer: Option<Mixer>,
    /// Which rendition it is, if it is one.
    rung: Option<Box<renditions::Rung>>,
    fallback: Option<Fallback>,
    watchdog: Watchdog,
    /// The settings that have no effect on such a source, and why: `start` refuses them.
    in_vain: Vec<(&'static str, &'static str)>,
}

/// Where the pictures, or both tracks, come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Media {
    File {
        path: PathBuf,
        looped: bool,
        video_only: bool,
    },
    Playlist(Playlist),
    Published {
        name: String,
        once: bool,
    },
    Pull(Box<Pull>),
    Fragments(Fragments),
    #[cfg(feature = "libav")]
    Frames(crate::frames::Made),
}

impl Media {
    /// Whether it comes as it happens.
    pub(crate) fn is_live(&self) -> bool {
        match self {
            Self::File { .. } | Self::Playlist(_) | Self::Fragments(_) => false,
            Self::Published { .. } | Self::Pull(_) => true,
            #[cfg(feature = "libav")]
            Self::Frames(_) => true,
        }
    }
}

impl Source {
    /// A media file: MP4, MOV, FLV, Matroska, MPEG-TS and whatever else libav reads. Its first H.264 track and its
    /// first AAC or MP3 track are sent as they are; with [`Source::enhanced`], also those of newer codecs. Played
    /// once; see [`Source::looped`].
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Media::File { path: path.into(), looped: false, video_only: false })
    }

    /// The pictures of a media file, without its sound; see [`Source::with_audio`].
    pub fn video(path: impl Into<PathBuf>) -> Self {
        Self::of(Media::File { path: path.into(), looped: false, video_only: true })
    }

    /// Files one after another, without a gap in time. Items with equal parameters play through as if they were one
    /// file; where parameters change, [`Playlist::on_change`] decides what happens to the item. An item that is
    /// missing or broken is left out, with an event.
    pub fn playlist(playlist: Playlist) -> Self {
        Self::of(Media::Playlist(playlist))
    }

    /// What is published under `name` on this engine's server, or put there by [`Output::publish`](crate::Output::publish):
    /// to be pushed elsewhere, recorded, or offered under another name. The tags are shared with the players; nothing
    /// is copied.
    ///
    /// The stream may be started before anybody publishes. As long as nobody does, its pushes are not connected. When
    /// a publication ends, they disconnect in an orderly way, and they are dialled again for the next one; each
    /// begins with its first keyframe after that. Recordings stay open, and their time goes on with real time. While
    /// the stream waits for a publisher that was lost, everything stays up. See [`Source::once`].
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let live = engine
    ///     .stream(Source::published("studio"))
    ///     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
    ///     .record("studio.flv")
    ///     .start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn published(name: impl Into<String>) -> Self {
        Self::of(Media::Published { name: name.into(), once: false })
    }

    /// What a program pushes to `publisher`, one fragment after another, without a gap in time: see [`FragmentPublisher`]. A publisher
    /// feeds one stream at a time. The stream ends behind the last fragment when the publisher is finished or dropped.
    ///
    /// There is nothing to write in a file of such a source: [fragments of a directory](Self::fragments_in) can be.
    pub fn fragments(publisher: &FragmentPublisher) -> Self {
        Self::of(Media::Fragments(Fragments::Pushed(publisher.shared().clone())))
    }

    /// The files that are put into a directory, each as a fragment, in the order of their names: see [`FragmentDirectory`]. The stream goes
    /// on until it is stopped; with [`once`](Self::once), until all that is there was played.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod fragment { pub use flowcast_core::*; } }
    /// use flowcast::fragment::FragmentDirectory;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let spool = FragmentDirectory::new("spool").removing();
    /// let live = engine
    ///     .stream(Source::fragments_in(spool))
    ///     .to(Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key"))
    ///     .start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn fragments_in(directory: impl Into<FragmentDirectory>) -> Self {
        Self::of(Media::Fragments(Fragments::Directory(Box::new(directory.into()))))
    }

    /// A stream of another server, played from there: `rtmp://host/app/name` or `rtmps://…`. It is dialled when the stream starts, and
    /// again whenever it is lost; see [`Pull`], and [`Source::pull`] for its settings.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let relay = engine.stream(Source::url("rtmp://origin.example.com/live/show")).record("show.flv").start()?;
    /// # drop(relay);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn url(url: &str) -> Self {
        Self::pull(url)
    }

    /// As [`url`](Self::url), with the settings of a [`Pull`].
    pub fn pull(pull: impl Into<Pull>) -> Self {
        Self::of(Media::Pull(Box::new(pull.into())))
    }

    /// Ends a stream that is made from a [published](Self::published) one together with the publication, and one that is played from another
    /// [server](Self::url) when that says it has ended. Files are
    /// played once anyway, and lists have [`Playlist::once`]: [`start`](crate::StreamBuilder::start) refuses it for
    /// both.
    pub fn once(mut self) -> Self {
        match &mut self.media {
            Media::Published { once, .. } => *once = true,
            Media::File { .. } => {
                self.has_no_effect("once", "a file that is not looped is played once anyway")
            }
            Media::Playlist(_) => self.has_no_effect("once", "use Playlist::once for a list"),
            Media::Pull(pull) => pull.once = true,
            Media::Fragments(Fragments::Directory(directory)) => directory.once = true,
            Media::Fragments(Fragments::Pushed(_)) => {
                self.has_no_effect("once", "use FragmentPublisher::finish");
            }
            #[cfg(feature = "libav")]
            Media::Frames(_) => self.has_no_effect("once", "it is complete when its sinks are dropped"),
        }
        self
    }

    fn of(media: Media) -> Self {
        Self {
            media,
            sound: None,
            all_tracks: false,
            silence: false,
            start_at: Duration::ZERO,
            start_item: None,
            sound_at: (None, Duration::ZERO),
            wish: Wish::default(),
            mixer: None,
            rung: None,
            fallback: None,
            watchdog: Watchdog::default(),
            in_vain: Vec::new(),
        }
    }

    fn has_no_effect(&mut self, name: &'static str, reason: &'static str) {
        self.in_vain.push((name, reason));
    }

    /// The same, with lists of its own that stay as they are now.
    pub(crate) fn frozen(&self) -> Self {
        let mut frozen = self.clone();
        if let Media::Playlist(list) = &mut frozen.media {
            *list = list.frozen();
        }
        frozen.sound = frozen.sound.as_ref().map(Playlist::frozen);
        frozen.rung = frozen.rung.as_ref().map(|rung| Box::new(rung.frozen()));
        for (_, input) in frozen.mixer.iter_mut().flat_map(|mixer| &mut mixer.inputs) {
            if let Feed::Playlist(list) = &mut input.feed {
                *list = list.frozen();
            }
        }
        frozen
    }

    /// All settings that cannot work, or have no effect on such a source.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut in_vain = self.in_vain.clone();
        let encodes = self.wish.mode.is_some() || !self.wish.platforms.is_empty();
        let is_default = self.wish.encoding == Encoding::default();
        if !encodes && !is_default && self.wish.encoding.profile != Profile::Copy {
            let of_sound = Encoding { audio: self.wish.encoding.audio.clone(), ..Encoding::default() };
            if self.mixer.is_none() && self.wish.loudness.is_none() {
                in_vain.push(("encoding", "nothing is encoded unless a mode or a platform is named"));
            } else if self.wish.encoding != of_sound {
                in_vain.push((
                    "encoding",
                    "only sound is encoded for a mix or a loudness unless a mode or a platform is named",
                ));
            }
        }
        if self.silence && self.sound.is_some() {
            in_vain.push(("with_silence", "gaps in the sound of with_audio are silent anyway"));
        }
        if let Some(reason) = self.all_tracks.then(|| self.one_sound()).flatten() {
            in_vain.push(("all_tracks", reason));
        }
        if self.mixer.is_some() && self.is_burst() {
            in_vain.push(("with_mix", "what is sent faster than real time is not mixed"));
        }
        let in_vain = in_vain.into_iter();
        let mut found: Vec<_> =
            in_vain.map(|(name, reason)| Error::Config { name, reason: reason.to_owned() }).collect();
        found.extend(self.wish.problems());
        found.extend(self.guard_problems());
        found.extend(self.rendition_problems());
        found.extend(self.mixer.iter().flat_map(Mixer::problems));
        match &self.media {
            Media::Published { name, .. } => found.extend(check_name(name).err()),
            Media::Pull(pull) => found.extend(pull.problems()),
            Media::Fragments(fragments) => {
                found.extend(fragments.problems());
                found.extend(self.burst_problem());
            }
            Media::File { .. } | Media::Playlist(_) => {}
            #[cfg(feature = "libav")]
            Media::Frames(_) => found.extend(self.frame_problems()),
        }
        found
    }

    /// Whether what is played goes out as fast as it is taken.
    fn is_burst(&self) -> bool {
        matches!(&self.media, Media::Fragments(fragments) if fragments.options().pace == FragmentPace::Off)
    }

    /// What is sent at once is silent between two fragments: nothing may take that for a fault.
    fn burst_problem(&self) -> Option<Error> {
        let is_burst = self.is_burst();
        let is_watched = self.fallback.is_some() || self.watchdog != Watchdog::default();
        let reason =
            "fragments that are not paced leave pauses, which a fallback or a watchdog takes for a fault";
        (is_burst && (is_watched || self.sound.is_some())).then(|| Error::Config {
            name: "pace",
            reason: if is_watched { reason } else { "the sound of with_audio is paced" }.to_owned(),
        })
    }

    /// Plays the file again and again, without a seam a player could notice: times strictly increase, the video sets
    /// the length of a lap, and the audio follows it to within half a frame for ever. Only for files: a playlist goes
    /// on for ever unless it is [`Playlist::once`], and so does what is published unless it is [`Source::once`].
    pub fn looped(mut self) -> Self {
        match &mut self.media {
            Media::File { looped, .. } => *looped = true,
            Media::Playlist(_) => {
                self.has_no_effect("looped", "a list repeats for ever unless it is Playlist::once");
            }
            Media::Published { .. } => {
                self.has_no_effect("looped", "what is published has no end to loop from")
            }
            Media::Pull(_) => self.has_no_effect("looped", "it is dialled again without that"),
            Media::Fragments(_) => self.has_no_effect("looped", "a fragment is played once for each push"),
            #[cfg(feature = "libav")]
            Media::Frames(_) => self.has_no_effect("looped", "what a program makes is not kept"),
        }
        self
    }

    /// Plays the sound of these files under the pictures, whose own sound is left out. Each has its own length;
    /// neither waits for the other.
    pub fn with_audio(mut self, playlist: Playlist) -> Self {
        match &mut self.media {
            Media::File { video_only, .. } => *video_only = true,
            Media::Playlist(_) | Media::Fragments(_) => {}
            Media::Published { .. } => {
                self.has_no_effect("with_audio", "what is published has its own sound")
            }
            Media::Pull(_) => self.has_no_effect("with_audio", "what a server sends has its own sound"),
            #[cfg(feature = "libav")]
            Media::Frames(_) => self.has_no_effect("with_audio", "a program sends its own sound"),
        }
        self.sound = Some(playlist);
        self
    }

    /// Sends what else of a file, or a live input, can be copied: other sound of the picture's programme (AAC; Opus where it is [enhanced](Source::enhanced)) as
    /// tracks 1 to 7 of Enhanced RTMP, and splice information (SCTE 35) and KLV. Default false: one track of sound is sent. What is left out, of an
    /// item that is encoded all of this, is named in [`TrackSkipped`](crate::EventKind::TrackSkipped). Where laps or items meet, other
    /// sound may be half a frame too long or too short; nothing is put where an item lacks it.
    ///
    /// What an output takes of it: see [`Output::all_tracks`](crate::Output::all_tracks); data goes to MPEG-TS. Refused for what is published,
    /// which is sent with the tracks it has, and together with [`Source::with_audio`] and [`Source::with_mix`].
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let film = Source::file("film.mkv").all_tracks(); // two languages
    /// let live = engine.stream(film).to(Output::record("film.ts").all_tracks()).start()?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn all_tracks(mut self) -> Self {
        self.all_tracks = true;
        self
    }

    /// Why only one sound of it can be sent.
    fn one_sound(&self) -> Option<&'static str> {
        match &self.media {
            Media::Published { .. } => Some("what is published is sent with the tracks it has"),
            #[cfg(feature = "libav")]
            Media::Frames(_) => Some("a program makes one sound"),
            Media::File { video_only: true, .. } => Some("its own sound is not played"),
            Media::Playlist(_) | Media::Fragments(_) if self.sound.is_some() => {
                Some("its own sound is not played")
            }
            _ => self.mixer.as_ref().map(|_| "a mix is one sound"),
        }
    }

    /// Mixes the sound of the source with others: music under a voice, say. Pictures are sent as they would be without it; sound is
    /// decoded, mixed and encoded again, to AAC with 48,000 Hz and two channels unless [`encoding`](Self::encoding) says otherwise. The mix
    /// is on the clock of the source: it begins, pauses and ends with it. A source without sound, or one whose sound fails, is silent in it.
    ///
    /// Sound comes out 5.2 ms later than it would otherwise be encoded, because the limiter looks ahead that far; the times of sound and
    /// picture are not moved against each other. What stands in for the source ([`fallback`](Self::fallback)) is not mixed.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod mix { pub use flowcast_core::*; } }
    /// use std::time::Duration;
    /// use flowcast::mix::{MixInput, Mixer};
    /// use flowcast::{Config, Engine, Output, Playlist, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let music = MixInput::playlist(Playlist::dir("music")?.shuffled()).gain_db(-10.0).duck_under(Mixer::SOURCE);
    /// let show = Source::published("studio").with_mix(Mixer::new().input("music", music));
    /// let live = engine.stream(show).to(Output::publish("show")).start()?;
    /// let mixer = live.mixer().ok_or("it is mixed")?;
    /// mixer.fade("music", -30.0, Duration::from_secs(3))?; // on the air
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_mix(mut self, mixer: Mixer) -> Self {
        self.mixer = Some(mixer);
        self
    }

    /// Brings each file to the same loudness: the items of a list, a loop, the sound of [`with_audio`](Self::with_audio). Its integrated
    /// loudness is measured once (ITU-R BS.1770-4), and its sound is encoded at the gain that brings it to the target, with a limiter that keeps its
    /// true peak below the ceiling. By default it is left as it is.
    ///
    /// Sound is decoded and encoded again for it, also with [`Mode::Copy`]; pictures are sent as they would be without it. Each file is
    /// told of with [`EventKind::Leveled`](crate::EventKind::Leveled). Files are measured on a thread of their own, ahead of their turn. One
    /// that begins before its loudness is known waits for it up to 3 s; then it plays as it is, with
    /// [`EventKind::LoudnessUnknown`](crate::EventKind::LoudnessUnknown), and the gain moves there within 3 s once it is known. From a
    /// [reel](crate::Config::reels) a file is always played leveled from its first sample on.
    ///
    /// Refused for what has no files whose loudness could be known: what is [published](Self::published), [pulled](Self::pull), made by the program, or
    /// pushed as fragments.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod loudness { pub use flowcast_core::*; } }
    /// use flowcast::loudness::Loudness;
    /// use flowcast::{Playlist, Source};
    ///
    /// let channel = Source::playlist(Playlist::dir("shows")?).leveled(Loudness::default()); // -14 LUFS, at most -1 dBTP
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// Starting the stream waits up to 3 s for the loudness of the first file.
    pub fn leveled(mut self, loudness: Loudness) -> Self {
        match &self.media {
            Media::File { .. } | Media::Playlist(_) => {}
            Media::Published { .. } | Media::Pull(_) => {
                self.has_no_effect("leveled", "how loud it will be is not known of what comes live");
            }
            Media::Fragments(_) => self.has_no_effect("leveled", "fragments are parts of one programme"),
            #[cfg(feature = "libav")]
            Media::Frames(_) => self.has_no_effect("leveled", "a program sends its own sound"),
        }
        self.wish.loudness = Some(loudness);
        self
    }

    /// The list of its pictures, or of both tracks.
    pub(crate) fn list(&self) -> Option<&Playlist> {
        if let Media::Playlist(list) = &self.media { Some(list) } else { None }
    }

    /// The list of its sound.
    pub(crate) fn sound_list(&self) -> Option<&Playlist> {
        self.sound.as_ref()
    }

    /// The lists of the mixer.
    pub(crate) fn mixed_lists(&self) -> impl Iterator<Item = &Playlist> {
        self.mixer.iter().flat_map(|mixer| &mixer.inputs).filter_map(|(_, input)| match &input.feed {
            Feed::Playlist(list) => Some(list),
            _ => None,
        })
    }

    /// Sends silence if there is no audio track: many platforms show nothing without one. AAC-LC, 44.1 kHz, stereo.
    /// Without this, only gaps in existing audio are filled with silence. Refused for what is
    /// [published](Self::published), and together with [`Source::with_audio`].
    pub fn with_silence(mut self) -> Self {
        if self.media.is_live() {
            self.has_no_effect("with_silence", "what comes live is sent with the tracks it has");
        }
        self.silence = true;
        self
    }

    /// Begins at the last keyframe up to `offset` of the file's first lap, or of a list's first item; what is encoded, at `offset`
    /// itself. Default zero. Behind the end of the file, at its last keyframe. A file that has no index and is
    /// not played from a reel is read up to there first, for five seconds at most. Refused for what is [published](Self::published).
    pub fn starting_at(mut self, offset: Duration) -> Self {
        if self.media.is_live() {
            self.has_no_effect("starting_at", "what comes live is joined where it is");
        } else if matches!(self.media, Media::Fragments(_)) {
            self.has_no_effect("starting_at", "fragments are played whole");
        }
        self.start_at = offset;
        self
    }

    /// Begins a list with item number `item`, counted from 0; what comes before it in a list in order counts as played. Default:
    /// the first, or any of a shuffled list; so is a number that the list does not have. Refused for what is no list.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use std::time::Duration;
    /// use flowcast::{Playlist, Source};
    ///
    /// let shows = Playlist::dir("shows")?;
    /// let from_the_third = Source::playlist(shows).starting_item(2).starting_at(Duration::from_secs(90));
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn starting_item(mut self, item: usize) -> Self {
        if !matches!(self.media, Media::Playlist(_)) {
            self.has_no_effect("starting_item", "only a list has items");
        }
        self.start_item = Some(item);
        self
    }

    /// Whether tracks are sent as they are or encoded. Default [`Mode::Copy`], and [`Mode::Auto`] once a
    /// [platform](Self::platform) is named.
    ///
    /// With [`Mode::Auto`], the items of a list keep one codec, size, sampling rate and number of channels: those of
    /// the first item. An item that could be sent as it is but differs from that is encoded, too. If there is no
    /// encoder for the first item's sound, such as MP3, all sound is encoded from the beginning. With [`Mode::Copy`],
    /// [`Playlist::on_change`] decides.
    ///
    /// A looped file, or an item of a list, is encoded once, into its reel, if there is a [reel
    /// store](crate::Config::reels); without one, it is encoded again in every lap.
    ///
    /// What is [published](Self::published) is encoded once for all streams that ask for the same encoding of it; one that comes later begins with
    /// the next keyframe. It is encoded for a stream alone with a [mix](Self::with_mix), an [adaptation](crate::Encoding::adaptation), overlays that change, or
    /// a watchdog that looks at the content.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Mode, Profile, Source};
    ///
    /// let old = Source::file("old.avi").looped().mode(Mode::Auto).encoding(Profile::High);
    /// ```
    pub fn mode(mut self, mode: Mode) -> Self {
        self.wish.mode = Some(mode);
        self
    }

    /// A platform the stream goes to; call it once for each. What one of the platforms does not take is encoded,
    /// within the limits of all of them unless the [encoding](Self::encoding) says otherwise. If there is no sound
    /// and one of them needs it, silence is sent. No effect with [`Mode::Copy`].
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Platform, Source};
    ///
    /// let show = Source::file("show.mp4").looped().platform(Platform::youtube()).platform(Platform::twitch());
    /// ```
    ///
    /// # Blocking
    ///
    /// With [`Mode::Auto`], starting the stream reads the whole file once to find out what is in it.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.wish.platforms.push(platform);
        self
    }

    /// Two sources in place of one that goes to several [platforms](Self::platform): one for those that take the file
    /// of these facts as it is, and one, encoded once, for all others. As one stream, what a single platform does not
    /// take is encoded for all.
    ///
    /// Start each as a stream of its own, to the outputs of the platforms it is for: those of [`Split::copy_to`] and
    /// [`Split::encode_for`], by name and in the order they were named here. The two streams are not synchronised
    /// beyond the moment they are started. A source that is not [`Mode::Auto`] goes to all platforms as its mode
    /// says.
    ///
    #[cfg_attr(feature = "libav", doc = "```no_run")]
    #[cfg_attr(not(feature = "libav"), doc = "```ignore")]
    /// # mod flowcast { pub use flowcast_core::*; pub mod verdict { pub use flowcast_core::{*, verdict::*}; } }
    /// use flowcast::verdict::Interrupt;
    /// use flowcast::{Config, Engine, Output, Platform, Source};
    /// use flowcast::verdict::{ScanOptions, facts};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let facts = facts("show.mp4".as_ref(), &ScanOptions::default(), &Interrupt::new())?;
    /// let show = Source::file("show.mp4").looped().platform(Platform::youtube()).platform(Platform::twitch());
    /// let split = show.split(&facts);
    /// let output = |platform: &str| match platform {
    ///     "youtube" => Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "a-stream-key"),
    ///     _ => Output::rtmp("rtmps://live.twitch.tv/app", "another-key"),
    /// };
    /// let streams = [(split.copied, split.plan.copy_to), (split.encoded, split.plan.encode_for)];
    /// for (source, verdicts) in streams {
    ///     let Some(source) = source else { continue };
    ///     let outputs = verdicts.iter().map(|verdict| output(&verdict.platform));
    ///     engine.stream(source).outputs(outputs).start()?.detach();
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn split(self, facts: &Facts) -> SplitSource {
        let plan = plan_for(facts, &self.wish.platforms, self.wish.strictness);
        let needs_encoding =
            |platform: &Platform| verdict(facts, platform, self.wish.strictness).needs_encoding();
        let (encode_for, copy_to): (Vec<_>, Vec<_>) =
            self.wish.platforms.iter().cloned().partition(needs_encoding);
        let for_these = |platforms: Vec<Platform>| {
            let wish = Wish { platforms, ..self.wish.clone() };
            (!wish.platforms.is_empty()).then(|| Self { wish, ..self.clone() })
        };
        SplitSource { copied: for_these(copy_to), encoded: for_these(encode_for), plan }
    }

    /// Also takes tracks that only Enhanced RTMP carries, as they are: HEVC, AV1, VP9, VP8 and Opus. Default off, and
    /// on with a [platform](Self::platform) that has [`enhanced`](Platform::enhanced): receivers that do not know
    /// these codecs show nothing.
    ///
    /// Each RTMP output of such a stream has to be [`Output::enhanced`](crate::Output::enhanced), and its server has
    /// to take the codec. Recordings and the players of the embedded server get the stream as it is.
    ///
    /// ```no_run
    /// # extern crate flowcast_core as flowcast;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let server = Output::rtmp("rtmps://a.rtmps.youtube.com/live2", "your-stream-key").enhanced();
    /// let live = engine.stream(Source::file("hevc.mp4").looped().enhanced()).to(server).start()?;
    /// # drop(live);
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    pub fn enhanced(mut self) -> Self {
        self.wish.enhanced = true;
        self
    }

    /// Whether to encode, too, what the platforms only advise against. Default [`Strictness::Lenient`]: no.
    pub fn strictness(mut self, strictness: Strictness) -> Self {
        self.wish.strictness = strictness;
        self
    }

    /// How tracks are encoded that have to be. Refused if neither a [mode](Self::mode) nor a
    /// [platform](Self::platform) is set, because nothing would be encoded. Default [`Profile::Default`]. All items
    /// of a list are encoded to the same size, frame rate and sound; the first item sets those that are not given
    /// here.
    pub fn encoding(mut self, encoding: impl Into<Encoding>) -> Self {
        self.wish.encoding = encoding.into();
        self
    }
}

/// The result of [`Source::split`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SplitSource {
    /// For the platforms that take a copy; `None` if there are none.
    pub copied: Option<Source>,
    /// For the others, which share one encode; `None` if there are none.
    pub encoded: Option<Source>,
    /// Which platforms these are, and why.
    pub plan: Split,
}
