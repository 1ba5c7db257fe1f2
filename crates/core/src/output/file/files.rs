//! A recording as one file after another: what one of them cannot hold goes to the next.
//!
//! In: tags with times from zero. Out: files of one format, each with headers and times of its own, that together have every tag once. A file ends
//! where the codec configuration changes and the format has no place for two, and where it is to be cut. The next begins with a keyframe. On the
//! writer's thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

use super::existing::Existing;
use super::flv::FlvFile;
use super::format::{FileFormat, Format};
use super::keep;
#[cfg(feature = "libav")]
use super::libav::LibavFile;
use super::mp4::Mp4File;
use super::names::Names;
use super::segments::Segments;
use crate::files::StreamFiles;
use crate::recorded::{Complete, Seat};
use crate::ring::Headers;

/// Media without a picture for this long is sound alone, in milliseconds.
const SOUND_ALONE_MS: i64 = 10_000;
/// Bytes of sound that wait for the keyframe with which the next file begins.
const MOST_HELD: usize = 1 << 20;

/// How the files of an output are opened, one after another.
pub(in crate::output) trait Row: Send {
    /// Opens the next one, the first if it `is_first`.
    ///
    /// # Errors
    ///
    /// What the file system said; `Unsupported` for a format that this build cannot write.
    ///
    /// # Blocking
    ///
    /// On the file system.
    fn open(&mut self, is_first: bool) -> io::Result<Box<dyn Format>>;

    /// Whether one file holds any number of codec configurations.
    fn holds_all(&self) -> bool;

    /// Whether the time of each file counts from its own beginning, and not from that of the first.
    fn counts_from_zero(&self) -> bool {
        true
    }

    /// Whether the file that is written has to end, which has this much.
    fn is_due(&self, _media_ms: i64, _bytes: u64) -> bool {
        false
    }

    /// Whether another one begins when the source is back after it was lost.
    fn cuts_at_returns(&self) -> bool {
        false
    }

    /// The names of files that may be removed to make room for others; `None` if none may.
    fn names(&self) -> Option<&Names> {
        None
    }

    /// Another one was begun.
    fn begun(&self) {}

    /// The last one is complete.
    ///
    /// # Errors
    ///
    /// What the file system said.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::output) struct Closed {
    pub(super) path: PathBuf,
    /// The part of the recording that is in it, from its beginning.
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) bytes: u64,
}

/// What files are made of.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) format: FileFormat,
    /// The name of the first.
    pub(super) path: PathBuf,
    pub(super) existing: Existing,
    pub(super) files: Arc<StreamFiles>,
    /// Where it is cut, if it is.
    pub(super) parts: Option<Parts>,
}

/// Where a recording is cut.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) segments: Segments,
    pub(super) names: Names,
    /// The number of the next file; `None` before the first.
    pub(super) number: Option<u64>,
    /// The clock of the wall.
    pub(super) clock: fn() -> SystemTime,
    /// When the file that is written has to end by it.
    pub(super) until: Option<SystemTime>,
}

impl Parts {
    pub(super) fn new(segments: Segments, names: Names) -> Self {
        Self { segments, names, number: None, clock: SystemTime::now, until: None }
    }

    /// Opens the next file.
    fn open(&mut self, format: FileFormat, files: &Arc<StreamFiles>) -> io::Result<Box<dyn Format>> {
        let now = (self.clock)();
        let opened = loop {
            // Behind those of earlier runs, also where some of them have been removed.
            let number = *self.number.get_or_insert_with(|| keep::next_number(&self.names));
            let name = self.names.name(number, now);
            let existing = if self.names.is_numbered() { Existing::Refuse } else { Existing::Number };
            self.number = Some(number + 1);
            match open(format, &name, existing, files) {
                // Somebody else's: the numbers go on behind it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.names.is_numbered() => {}
                other => break other?,
            }
        };
        self.until = self.segments.next_cut(now);
        Ok(opened)
    }

    /// Removes complete files that are too old, or too many.
    fn remove_old(&self) {
        keep::remove_old(&self.segments, &self.names, (self.clock)());
    }

    /// Whether the file that is written has to end, which has this much.
    fn is_due(&self, media_ms: i64, bytes: u64) -> bool {
        let media = Duration::from_millis(u64::try_from(media_ms).unwrap_or(0));
        self.segments.is_full(media, bytes) || self.until.is_some_and(|until| (self.clock)() >= until)
    }
}

impl Row for Plan {
    fn open(&mut self, is_first: bool) -> io::Result<Box<dyn Format>> {
        // What is there later was written by this recording, or by somebody else.
        let existing = if is_first { self.existing } else { Existing::Number };
        match &mut self.parts {
            Some(parts) => parts.open(self.format, &self.files),
            None => open(self.format, &self.path, existing, &self.files),
        }
    }

    fn holds_all(&self) -> bool {
        self.format == FileFormat::Flv
    }

    fn is_due(&self, media_ms: i64, bytes: u64) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.is_due(media_ms, bytes))
    }

    fn cuts_at_returns(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.segments.cuts_at_returns())
    }

    fn names(&self) -> Option<&Names> {
        self.parts.as_ref().map(|parts| &parts.names)
    }

    fn begun(&self) {
        if let Some(parts) = &self.parts {
            parts.remove_old();
        }
    }
}

fn open(
    format: FileFormat,
    path: &Path,
    existing: Existing,
    files: &Arc<StreamFiles>,
) -> io::Result<Box<dyn Format>> {
    Ok(match format {
        FileFormat::Flv => Box::new(FlvFile::open(path, existing, files)?),
        FileFormat::Mp4 => Box::new(Mp4File::open(path, existing, files)?),
        #[cfg(feature = "libav")]
        format => Box::new(LibavFile::open(format, path, existing, files)?),
        #[cfg(not(feature = "libav"))]
        format => {
            let reason = format!("this build has no feature `libav`, which {format} needs");
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    })
}

/// The files.
pub(in crate::output) struct Files {
    row: Box<dyn Row>,
    current: Box<dyn Format>,
    /// What holds now and was said before: metadata, and the configuration of each track.
    headers: Headers,
    /// Where the current file begins, and the newest tag, in milliseconds of the recording.
    begin_ms: i64,
    now_ms: i64,
    has_video: bool,
    /// The newest picture, in milliseconds of the recording.
    picture_ms: i64,
    /// Tracks that the current file cannot go on with, and their tags.
    changed: Vec<Key>,
    held: Vec<Tag>,
    held_bytes: usize,
    /// Bytes and media of the files before.
    bytes: u64,
    had_media: bool,
    /// The current file was given media.
    is_given: bool,
    /// The source is back after it was lost, and the next file is to begin with that.
    is_return: bool,
    closed: Sender<Closed>,
    /// Its place among the recordings of the engine, if somebody counts what they take.
    seat: Option<Seat>,
}

/// A track by its kind and number.
type Key = (TagKind, u8);

/// Where a tag goes.
enum Place {
    /// To the current file.
    Here,
    /// To the next one, which begins now.
    Begin,
    /// To the next one, which begins later.
    Held,
    /// What it says is kept, and it is written at the beginning of the next file.
    Noted,
}

impl Files {
    /// Opens the first file. Those that are complete are told through `closed`.
    ///
    /// # Errors
    ///
    /// As [`Row::open`].
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(in crate::output) fn open(row: impl Row + 'static, closed: Sender<Closed>) -> io::Result<Self> {
        let mut row: Box<dyn Row> = Box::new(row);
        let current = row.open(true)?;
        row.begun();
        Ok(Self {
            row,
            current,
            headers: Headers::default(),
            begin_ms: 0,
            now_ms: 0,
            has_video: false,
            picture_ms: 0,
            changed: Vec::new(),
            held: Vec::new(),
            held_bytes: 0,
            bytes: 0,
            had_media: false,
            is_given: false,
            is_return: false,
            closed,
            seat: None,
        })
    }

    /// The same, counted with all recordings of the engine.
    pub(super) fn counted(mut self, seat: Option<Seat>) -> Self {
        if let (Some(seat), Some(names)) = (&seat, self.row.names()) {
            seat.complete(keep::there(names));
        }
        self.seat = seat;
        self
    }

    /// Where the tag goes, all before it being written or held.
    fn place(&mut self, tag: &Tag) -> Place {
        if tag.is_header() {
            return self.place_header(tag);
        }
        if tag.is_script() {
            return if self.changed.is_empty() { Place::Here } else { Place::Held };
        }
        self.headers.note_frame(tag);
        let key = (tag.kind, tag.track());
        if !self.changed.contains(&key) && !self.current.fits(tag) {
            self.changed.push(key);
        }
        if self.changed.is_empty() {
            return if self.is_due(tag) { Place::Begin } else { Place::Here };
        }
        let is_changed = self.changed.contains(&key);
        if tag.is_keyframe() || (is_changed && (tag.is_video() || self.is_sound_alone(tag))) {
            return Place::Begin;
        }
        match (is_changed, self.held_bytes < MOST_HELD) {
            (false, _) => Place::Here,
            (true, true) => Place::Held,
            // No keyframe comes.
            (true, false) => Place::Begin,
        }
    }

    /// Whether the recording is to be cut before this tag: a keyframe, or any sound where there is no picture.
    fn is_due(&self, tag: &Tag) -> bool {
        let is_place = tag.is_keyframe() || (tag.is_audio() && self.is_sound_alone(tag));
        let media_ms = tag.timestamp.as_millis() - self.begin_ms;
        let is_due = |bytes: u64| self.row.is_due(media_ms, bytes);
        let is_given = is_place && self.is_given;
        is_given && (self.is_return || self.current.is_full() || is_due(self.current.written()))
    }

    /// Whether there is no picture in the current file, or none any more.
    fn is_sound_alone(&self, tag: &Tag) -> bool {
        !self.has_video || tag.timestamp.as_millis() - self.picture_ms >= SOUND_ALONE_MS
    }

    fn place_header(&mut self, tag: &Tag) -> Place {
        let key = (tag.kind, tag.track());
        self.headers.note(tag);
        if !self.changed.contains(&key) && !self.current.fits(tag) {
            self.changed.push(key);
        }
        let goes_on = if tag.is_metadata() { self.changed.is_empty() } else { !self.changed.contains(&key) };
        if goes_on { Place::Here } else { Place::Noted }
    }

    /// Writes tags to the current file, in its time.
    fn give(&mut self, tags: &[Tag]) -> io::Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        self.is_given = self.is_given || tags.iter().any(|tag| !tag.is_header());
        if self.begin_ms == 0 {
            return self.current.write(tags);
        }
        let begin_ms = self.begin_ms;
        let moved = |tag: &Tag| {
            let timestamp = MediaTime::from_millis((tag.timestamp.as_millis() - begin_ms).max(0));
            Tag { timestamp, ..tag.clone() }
        };
        let tags: Vec<_> = tags.iter().map(moved).collect();
        self.current.write(&tags)
    }

    /// Ends the current file, and begins the next with what was held for it.
    fn begin_next(&mut self, at_ms: i64) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        (self.held_bytes, self.has_video, self.is_return) = (0, false, false);
        self.changed.clear();
        let begin_ms = held.first().map_or(at_ms, |tag| tag.timestamp.as_millis());
        let next = self.row.open(false);
        let failed;
        let current = match next {
            Ok(next) => {
                failed = None;
                std::mem::replace(&mut self.current, next)
            }
            Err(error) => {
                failed = Some(error);
                std::mem::replace(&mut self.current, Box::new(Nothing))
            }
        };
        self.close(current, at_ms)?;
        self.row.begun();
        if let Some(error) = failed {
            return Err(error);
        }
        self.begin_ms = if self.row.counts_from_zero() { begin_ms } else { 0 };
        let headers: Vec<_> = self.headers.at(MediaTime::from_millis(begin_ms)).collect();
        self.give(&headers)?;
        self.give(&held)
    }

    fn close(&mut self, file: Box<dyn Format>, to_ms: i64) -> io::Result<()> {
        let (path, is_given) = (file.path().to_owned(), std::mem::take(&mut self.is_given));
        file.finish()?;
        // Where the times of all are one, so are the bytes, which the next one goes on counting.
        let is_own = self.row.counts_from_zero();
        let bytes = if is_own { std::fs::metadata(&path).map_or(0, |facts| facts.len()) } else { 0 };
        self.bytes += bytes;
        self.had_media |= is_given;
        let time = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        if is_given && bytes > 0 {
            if let Some(seat) = &self.seat {
                let may_go = self.row.names().is_some();
                seat.complete(vec![Complete { at: SystemTime::now(), path: path.clone(), bytes, may_go }]);
            }
            let _ = self.closed.send(Closed { path, from: time(self.begin_ms), to: time(to_ms), bytes });
        }
        Ok(())
    }
}

impl Format for Files {
    fn largest_body(&self) -> usize {
        self.current.largest_body()
    }

    fn path(&self) -> &Path {
        self.current.path()
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        // What goes to the current file lies in a row, from here on.
        let mut from = 0;
        for (at, tag) in tags.iter().enumerate() {
            // Whether a header is another one than that before shows when the one before is written.
            if tag.is_header() && !self.row.holds_all() {
                self.give(tags.get(from..at).unwrap_or_default())?;
                from = at;
            }
            let place = self.place(tag);
            self.now_ms = self.now_ms.max(tag.timestamp.as_millis());
            if !matches!(place, Place::Here) {
                self.give(tags.get(from..at).unwrap_or_default())?;
                from = at + 1;
            }
            match place {
                Place::Here | Place::Noted => {}
                Place::Held => {
                    self.held_bytes += tag.body.len();
                    self.held.push(tag.clone());
                }
                Place::Begin => {
                    self.begin_next(tag.timestamp.as_millis())?;
                    from = at;
                }
            }
            if tag.is_video() && !tag.is_header() {
                (self.has_video, self.picture_ms) = (true, tag.timestamp.as_millis());
            }
        }
        self.give(tags.get(from..).unwrap_or_default())
    }

    fn note_return(&mut self) {
        self.is_return |= self.row.cuts_at_returns() && self.is_given;
    }

    fn written(&self) -> u64 {
        self.bytes + self.current.written()
    }

    fn has_media(&self) -> bool {
        self.had_media || self.current.has_media()
    }

    fn is_over(&mut self) -> Option<String> {
        let seat = self.seat.as_ref()?;
        let has_room = seat.has_room(self.current.written());
        (!has_room).then(|| format!("all recordings together have {} bytes, which are taken", seat.most()))
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if !self.held.is_empty() {
            self.begin_next(self.now_ms)?;
        }
        let current = std::mem::replace(&mut self.current, Box::new(Nothing));
        let now_ms = self.now_ms;
        self.close(current, now_ms)?;
        self.row.finish()
    }
}

/// In place of a file that is being closed.
struct Nothing;

impl Format for Nothing {
    fn largest_body(&self) -> usize {
        usize::MAX
    }

    fn path(&self) -> &Path {
        Path::new("")
    }

    fn write(&mut self, _tags: &[Tag]) -> io::Result<()> {
        Ok(())
    }

    fn written(&self) -> u64 {
        0
    }

    fn has_media(&self) -> bool {
        false
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
