//! An output that is played with HLS: RFC 8216.
//!
//! In: tags from the stream's ring, which the driver of recordings gathers and its thread writes. Out: segments and playlists, in a directory or in memory.
//! [`Hls`] is what the caller chose, [`cuts`] where segments are cut, [`run`] and [`packing`] what is in them, [`channel`] and [`playlist`] what is published,
//! [`master`] what lists several outputs.

mod channel;
mod codecs;
mod cuts;
mod directory;
mod master;
mod packing;
mod playlist;
mod run;
mod sets;
mod shelf;
mod store;
#[cfg(all(test, feature = "libav"))]
mod tests;
#[cfg(feature = "serde")]
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::file::{FileFormat, HlsParts, start_hls};
use crate::error::Error;
use crate::files::StreamFiles;
use crate::id::OutputId;
use crate::stream::{OpenedOutput, OutputOpening};
use channel::{Channel, Settings};
use directory::Directory;
use master::Seat;
use playlist::Kept;
use run::Runs;
use shelf::Shelf;
use store::Compartment;

pub(super) use channel::Standing;
pub use store::{HlsFile, HlsStore};

/// What the media playlist is called.
const PLAYLIST: &str = "index.m3u8";
/// The range of [`Hls::target_duration`] and its default, in seconds.
const SHORTEST: u64 = 1;
const LONGEST: u64 = 60;
const TARGET: Duration = Duration::from_secs(4);
/// The window has at least this many target durations, and as a rule twice as many.
const FEWEST: u32 = 3;
/// The longest window.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// The longest name.
const MOST_NAME: usize = 64;

/// An output that is played with HLS: where it goes, and how; see [`Output::hls`](crate::Output::hls).
///
/// The output writes `index.m3u8` and segments that it names. Segments are MP4 fragments or MPEG-TS, begin with keyframes, and leave the playlist when
/// its window is full. Whatever happens in the directory costs segments and never the stream.
///
/// ```no_run
/// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
/// use std::time::Duration;
///
/// use flowcast::output::Hls;
/// use flowcast::{Config, Engine, Output, Source};
///
/// let engine = Engine::new(Config::default())?;
/// let hls = Hls::directory("/var/www/rain").target_duration(Duration::from_secs(2)).window(Duration::from_secs(60));
/// let live = engine.stream(Source::file("rain.mp4").looped()).to(Output::hls(hls)).start()?;
/// # drop(live);
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an output does nothing until it is given to a stream"]
pub struct Hls {
    place: Place,
    target_duration: Duration,
    /// `None`: as the target duration says.
    window: Option<Duration>,
    is_event: bool,
    format: FileFormat,
    master: Option<PathBuf>,
    name: Option<String>,
    stays_open: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Directory(PathBuf),
    Memory(HlsStore),
}

impl Hls {
    /// Writes to a directory, for any web server. The directory is made if only the last part of its path is missing. One output has it at a time; another one is
    /// refused, also from another process where the file system has locks.
    ///
    /// Every file is written under another name first and renamed when it is whole. If there is a playlist of an earlier run, the output goes on behind it: with the
    /// next number, behind a discontinuity, and with the segments that are no older than the window. A playlist that is not of such an output is refused. Files that
    /// are not named as segments are left alone.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::new(Place::Directory(path.into()))
    }

    /// Writes to memory, for a server of the program: see [`HlsStore`]. No disk is used. What is in memory is about twice the window and two segments.
    pub fn memory(store: &HlsStore) -> Self {
        Self::new(Place::Memory(store.clone()))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            target_duration: TARGET,
            window: None,
            is_event: false,
            format: FileFormat::Mp4,
            master: None,
            name: None,
            stays_open: false,
        }
    }

    /// How long segments are to be: 1 to 60 whole seconds. Default 4 s: two groups of pictures of the 2 s that platforms ask for, or one of the 4 s that is the most
    /// they take.
    ///
    /// Segments are cut before keyframes, so as not to be longer: one has as many groups of pictures as fit. If the first one of all has a group that is longer, up to
    /// three times this, the playlist's target duration is that; it never changes afterwards. What is longer still is cut between keyframes, and
    /// [`EventKind::SegmentWithoutKeyframe`](crate::EventKind::SegmentWithoutKeyframe) says so. Players begin three target durations behind the newest segment.
    pub fn target_duration(mut self, length: Duration) -> Self {
        self.target_duration = length;
        self
    }

    /// How much media the playlist lists at least: three target durations to 24 h. Default six target durations. Segments that are not listed any more can be fetched
    /// for the time that RFC 8216 section 6.2.2 asks for, their own length and that of the playlist, and are removed then.
    pub fn window(mut self, length: Duration) -> Self {
        self.window = Some(length);
        self
    }

    /// Keeps all segments in the playlist (`EXT-X-PLAYLIST-TYPE:EVENT`), so that players can go back to the beginning. The playlist grows by about 90 bytes with each
    /// segment, and nothing is removed. Only in a directory. Default: a window.
    pub fn event(mut self) -> Self {
        self.is_event = true;
        self
    }

    /// What segments are: [`FileFormat::Mp4`], the default, or [`FileFormat::MpegTs`], which needs the feature `libav`. MPEG-TS holds no AV1 and VP9, and
    /// is about 5 % larger; some old players know nothing else.
    pub fn format(mut self, format: FileFormat) -> Self {
        self.format = format;
        self
    }

    /// Lists the output in a multivariant playlist, a file of this name, with its bit rate, its codecs, its size and its rate of pictures. All outputs of the process
    /// that name the same file are listed in it; each has a directory of its own. Only for a directory; in memory there is `master.m3u8` in any case.
    /// Default none.
    ///
    /// Players change from one to another without a gap if both are cut at the same pictures, such as encodings of one source.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
    /// use flowcast::Output;
    /// use flowcast::output::Hls;
    ///
    /// let high = Output::hls(Hls::directory("/var/www/show/720p").master("/var/www/show/master.m3u8"));
    /// let low = Output::hls(Hls::directory("/var/www/show/360p").master("/var/www/show/master.m3u8"));
    /// # drop((high, low));
    /// ```
    pub fn master(mut self, path: impl Into<PathBuf>) -> Self {
        self.master = Some(path.into());
        self
    }

    /// The part of the store that the output has: `720p` for `720p/index.m3u8`. 1 to 64 letters, digits, `-`, `_` and `.`, the first one no dot. Two outputs cannot have
    /// one name. Only in memory. Default none: `index.m3u8`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Does not tell players of the end (`EXT-X-ENDLIST`), so that they wait for what follows: for streams that are stopped to be started again. Default: they are told.
    pub fn stays_open(mut self) -> Self {
        self.stays_open = true;
        self
    }

    /// Whether it uses no disk.
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    fn kept(&self) -> Kept {
        if self.is_event {
            Kept::All
        } else {
            Kept::Window(self.window.unwrap_or(self.target_duration.saturating_mul(2 * FEWEST)))
        }
    }

    /// What it is called: its playlist.
    fn path(&self) -> PathBuf {
        match &self.place {
            Place::Directory(path) => path.join(PLAYLIST),
            Place::Memory(_) => PathBuf::from(self.prefix()).join(PLAYLIST),
        }
    }

    fn prefix(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("{name}/"))
    }

    /// All that is wrong.
    pub(super) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut wrong = |name, reason: String| found.push(Error::Config { name, reason });
        let target = self.target_duration;
        let least = target.saturating_mul(FEWEST);
        if target.subsec_nanos() > 0 || !(SHORTEST..=LONGEST).contains(&target.as_secs()) {
            wrong("target_duration", format!("{target:?} is not in {SHORTEST} to {LONGEST} whole seconds"));
        }
        if let Some(window) = self.window {
            if self.is_event {
                wrong("window", "has no effect on an event, which keeps all".to_owned());
            } else if window < least || window > LONGEST_WINDOW {
                let reason =
                    format!("{window:?} is not in {least:?} (three target durations) to {LONGEST_WINDOW:?}");
                wrong("window", reason);
            }
        }
        if !matches!(self.format, FileFormat::Mp4 | FileFormat::MpegTs) {
            wrong("format", format!("{} is no format of segments: mp4 or mpegts", self.format));
        }
        match &self.place {
            Place::Directory(path) => {
                if self.name.is_some() {
                    wrong("name", "has no effect on a directory, only in memory".to_owned());
                }
                if self.master.as_ref().is_some_and(|master| is_inside(master, path)) {
                    wrong("master", "is the name of a file of the output itself".to_owned());
                }
            }
            Place::Memory(_) => {
                if self.is_event {
                    wrong("event", "would fill the memory: only in a directory".to_owned());
                }
                if self.master.is_some() {
                    wrong(
                        "master",
                        "has no effect in memory, where there is master.m3u8 in any case".to_owned(),
                    );
                }
                if self.name.as_deref().is_some_and(|name| !is_name(name)) {
                    wrong(
                        "name",
                        "is not 1 to 64 letters, digits, `-`, `_` and `.`, the first one no dot".to_owned(),
                    );
                }
            }
        }
        found
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.')
}

/// Whether a file is one that an output of this directory writes.
fn is_inside(file: &Path, directory: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let place = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parent = place(file).parent().map(Path::to_owned);
    parent == Some(place(directory)) && (name == PLAYLIST || playlist::is_own(name))
}

impl From<PathBuf> for Hls {
    fn from(path: PathBuf) -> Self {
        Self::directory(path)
    }
}

impl From<&Path> for Hls {
    fn from(path: &Path) -> Self {
        Self::directory(path)
    }
}

impl From<&str> for Hls {
    fn from(path: &str) -> Self {
        Self::directory(path)
    }
}

impl From<String> for Hls {
    fn from(path: String) -> Self {
        Self::directory(path)
    }
}

/// Opens an output, and starts its writer.
///
/// # Errors
///
/// [`Error::Hls`] with what is in the way; [`Error::NotBuilt`]; no thread left.
///
/// # Blocking
///
/// On the file system.
pub(super) fn open(hls: &Hls, cx: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
    let (channel, parts) = channel(hls, cx.output(), cx.files(), SystemTime::now)?;
    start_hls(Runs::new(channel), parts, cx)
}

/// What is published, and what the driver sees of it.
fn channel(
    hls: &Hls,
    output: OutputId,
    files: &Arc<StreamFiles>,
    clock: fn() -> SystemTime,
) -> Result<(Channel, HlsParts), Error> {
    if !hls.format.is_built() {
        return Err(Error::NotBuilt { feature: "libav" });
    }
    let path = hls.path();
    let failed = |source: io::Error| Error::Hls { path: hls.path(), source: source.into() };
    let settings = Settings {
        output,
        path: path.clone(),
        kept: hls.kept(),
        target: hls.target_duration.as_secs(),
        is_ts: hls.format == FileFormat::MpegTs,
        stays_open: hls.stays_open,
        clock,
    };
    let (shelf, seat): (Box<dyn Shelf>, _) = match &hls.place {
        Place::Directory(path) => {
            let directory = Directory::open(path, files).map_err(failed)?;
            let seat = hls.master.as_deref().map(Seat::in_file).transpose();
            (Box::new(directory), seat.map_err(failed)?.map(|seat| seat.staying(hls.is_event)))
        }
        Place::Memory(store) => {
            let compartment = Compartment::open(store, hls.prefix()).map_err(failed)?;
            (Box::new(compartment), Some(Seat::in_store(store).staying(hls.is_event)))
        }
    };
    let (news, heard) = crossbeam_channel::unbounded();
    let standing = Arc::new(Standing::default());
    let channel = Channel::open(settings, shelf, seat, standing.clone(), news).map_err(failed)?;
    let (is_file, keeps_free) = (!hls.is_in_memory(), hls.is_event);
    Ok((channel, HlsParts { path, is_file, keeps_free, news: heard, standing }))
}
