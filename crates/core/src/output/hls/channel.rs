//! What an HLS output has published: its playlist, its segments, its place in a multivariant playlist.
//!
//! In: segments, piece by piece. Out: complete ones in a playlist, and news for the driver. A place that takes nothing (a full disk, a directory that is gone)
//! costs the segments of that time; then it goes on behind a discontinuity. On the writer's thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;

use super::PLAYLIST;
use super::master::{Seat, Variant};
use super::playlist::{Entry, Kept, Playlist, header_name, is_own, segment_name};
use super::shelf::Shelf;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;

/// What the driver shows of it.
#[derive(Debug, Default)]
pub(in crate::output) struct Standing {
    /// Bytes of complete segments.
    pub(in crate::output) bytes: AtomicU64,
    /// Its playlist can be played.
    pub(in crate::output) is_live: AtomicBool,
    /// Segments that were lost.
    pub(in crate::output) failures: AtomicU64,
}

/// How a channel is kept.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) output: OutputId,
    /// What the playlist is called in figures and errors.
    pub(super) path: PathBuf,
    pub(super) kept: Kept,
    /// Seconds.
    pub(super) target: u64,
    pub(super) is_ts: bool,
    /// Players are not told of the end.
    pub(super) stays_open: bool,
    /// The clock of the wall.
    pub(super) clock: fn() -> SystemTime,
}

/// What is known of the tracks, for the multivariant playlist.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tracks {
    pub(super) codecs: Vec<String>,
    pub(super) picture: Option<(u32, u32)>,
}

/// The header of segments.
struct Header {
    name: Arc<str>,
    bytes: Vec<u8>,
    is_stored: bool,
}

/// The segment that is written.
struct Open {
    name: String,
    begin_ms: i64,
    is_independent: bool,
    bytes: u64,
    /// It cannot be stored.
    is_lost: bool,
}

/// A channel.
pub(super) struct Channel {
    settings: Settings,
    shelf: Box<dyn Shelf>,
    playlist: Playlist,
    seat: Option<Seat>,
    header: Option<Header>,
    tracks: Tracks,
    open: Option<Open>,
    /// The next segment has another timeline than the one before.
    is_apart: bool,
    /// A time of the media, and when it was, by the clock of the wall.
    anchor: Option<(i64, SystemTime)>,
    /// The largest segment in bits per second; bits and media of all.
    peak: u64,
    sum: (u64, Duration),
    frame_rate: f64,
    standing: Arc<Standing>,
    /// Failures in a row.
    failed: u32,
    news: Sender<EventKind>,
}

impl Channel {
    /// Goes on with what is there, or begins. Numbers begin with the seconds since 1970: so they do not go back if the playlist was lost.
    ///
    /// # Errors
    ///
    /// What the file system said; `AlreadyExists` for a playlist of somebody else.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(
        settings: Settings,
        shelf: Box<dyn Shelf>,
        seat: Option<Seat>,
        standing: Arc<Standing>,
        news: Sender<EventKind>,
    ) -> io::Result<Self> {
        let now = (settings.clock)();
        let playlist = match shelf.read(PLAYLIST)? {
            Some(text) => Playlist::go_on(&text, settings.kept, settings.target, now).map_err(|reason| {
                io::Error::new(io::ErrorKind::AlreadyExists, format!("a playlist is there: {reason}"))
            })?,
            None => {
                let first = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                Playlist::new(settings.kept, settings.target, first)
            }
        };
        let is_apart = playlist.has_begun();
        let mut channel = Self {
            settings,
            shelf,
            playlist,
            seat,
            header: None,
            tracks: Tracks::default(),
            open: None,
            is_apart,
            anchor: None,
            peak: 0,
            sum: (0, Duration::ZERO),
            frame_rate: 0.0,
            standing,
            failed: 0,
            news,
        };
        channel.clear()?;
        Ok(channel)
    }

    /// Removes files of earlier runs that the playlist does not list any more. Without one, or where all is kept, nobody knows whose they are.
    fn clear(&mut self) -> io::Result<()> {
        let mut others = 0_u32;
        for name in self.shelf.names()? {
            if !is_own(&name) || self.playlist.has(&name) || !self.shelf.is_free(&name) {
                continue;
            }
            if self.playlist.has_begun() && self.settings.kept != Kept::All {
                self.shelf.remove(&name);
            } else {
                others += 1;
            }
        }
        if others > 0 {
            log::info!(
                "{}: {others} files beside it are in no playlist, and stay",
                self.settings.path.display()
            );
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    pub(super) fn target(&self) -> u64 {
        self.settings.target
    }

    pub(super) fn is_ts(&self) -> bool {
        self.settings.is_ts
    }

    /// The target duration in seconds, once it is published.
    pub(super) fn published(&self) -> Option<u64> {
        self.playlist.published()
    }

    /// Whether there ever was a segment.
    pub(super) fn has_begun(&self) -> bool {
        self.playlist.has_begun()
    }

    /// Whether there is something to play.
    pub(super) fn has_media(&self) -> bool {
        !self.playlist.is_empty()
    }

    /// Bytes of all segments so far.
    pub(super) fn written(&self) -> u64 {
        self.standing.bytes.load(Ordering::Relaxed) + self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// The tracks are these from the next segment on, with this header in front of it; whether segments before it have another one.
    pub(super) fn configure(&mut self, header: Option<Vec<u8>>, tracks: Tracks) -> bool {
        self.is_apart |= self.has_begun();
        self.header = header.map(|bytes| {
            let name = header_name(self.playlist.next()).into();
            Header { name, bytes, is_stored: false }
        });
        self.tracks = tracks;
        self.header.is_some() && self.has_begun()
    }

    /// What follows does not follow in time.
    pub(super) fn break_off(&mut self) {
        self.is_apart |= self.has_begun();
    }

    /// Tells that a segment begins without a keyframe.
    pub(super) fn tell_late(&self) {
        let seconds = self.playlist.published().unwrap_or(self.settings.target);
        let (output, target) = (self.settings.output, Duration::from_secs(seconds));
        self.tell(EventKind::SegmentWithoutKeyframe { output, target });
    }

    /// Begins a segment whose first sample is decoded at `begin_ms`, which is `behind` the newest one there is.
    pub(super) fn begin(&mut self, begin_ms: i64, behind: Duration, is_independent: bool) {
        let name = segment_name(self.playlist.next(), self.settings.is_ts);
        let clock = self.settings.clock;
        // It is that of the beginning: clocks of the wall are set. Where players begin anew, it may be corrected.
        if self.anchor.is_none() || self.is_apart {
            self.anchor = Some((begin_ms, clock() - behind));
        }
        let begun = self.prepare().and_then(|()| self.shelf.begin(&name));
        let is_lost = begun.is_err();
        self.open = Some(Open { name, begin_ms, is_independent, bytes: 0, is_lost });
        if let Err(error) = begun {
            self.fail(error);
        }
    }

    /// Makes sure that the place is there, and the header in it.
    fn prepare(&mut self) -> io::Result<()> {
        if !self.shelf.check()? {
            // All that was listed is gone.
            self.playlist.forget();
            if let Some(header) = &mut self.header {
                header.is_stored = false;
            }
        }
        if let Some(header) = self.header.as_mut().filter(|header| !header.is_stored) {
            self.shelf.put(&header.name, &header.bytes)?;
            header.is_stored = true;
        }
        Ok(())
    }

    /// Adds to the segment.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let Some(open) = self.open.as_mut().filter(|open| !open.is_lost && !bytes.is_empty()) else { return };
        open.bytes += bytes.len() as u64;
        if let Err(error) = self.shelf.add(bytes) {
            open.is_lost = true;
            self.fail(error);
        }
    }

    /// The segment is complete; with so many pictures.
    pub(super) fn complete(&mut self, end_ms: i64, pictures: u32) {
        let Some(open) = self.open.take() else { return };
        if open.is_lost {
            return;
        }
        let length = Duration::from_millis(u64::try_from(end_ms - open.begin_ms).unwrap_or(0));
        if let Err(error) = self.shelf.complete() {
            self.fail(error);
            return;
        }
        let (anchor_ms, anchor) = self.anchor.unwrap_or((open.begin_ms, UNIX_EPOCH));
        let since = Duration::from_millis(u64::try_from(open.begin_ms - anchor_ms).unwrap_or(0));
        self.playlist.push(Entry {
            name: open.name,
            length,
            is_discontinuity: std::mem::take(&mut self.is_apart),
            header: self.header.as_ref().map(|header| header.name.clone()),
            at: anchor + since,
            is_independent: open.is_independent,
        });
        self.standing.bytes.fetch_add(open.bytes, Ordering::Relaxed);
        self.measure(open.bytes, length, pictures);
        if let Err(error) = self.publish() {
            self.fail(error);
            return;
        }
        for name in self.playlist.expired() {
            self.shelf.remove(&name);
        }
        match self.say() {
            Ok(()) => self.succeed(),
            // The segment is listed all the same.
            Err(error) => self.tell_failed(error),
        }
    }

    fn publish(&mut self) -> io::Result<()> {
        let text = self.playlist.text();
        self.shelf.put(PLAYLIST, text.as_bytes())
    }

    fn measure(&mut self, bytes: u64, length: Duration, pictures: u32) {
        let bits = bytes * 8;
        self.sum = (self.sum.0 + bits, self.sum.1 + length);
        // The rest of a loop is no measure.
        if length.as_secs() * 2 >= self.settings.target || self.peak == 0 {
            let seconds = length.as_secs_f64().max(0.001);
            self.peak = self.peak.max((bits as f64 / seconds) as u64);
            self.frame_rate = self.frame_rate.max(f64::from(pictures) / seconds);
        }
    }

    /// Says in the multivariant playlist what it is.
    fn say(&self) -> io::Result<()> {
        let Some(seat) = &self.seat else { return Ok(()) };
        let rate = (self.frame_rate * 1000.0).round() / 1000.0;
        seat.say(Variant {
            uri: seat.uri_of(&self.settings.path)?,
            peak: self.peak,
            average: (self.sum.0 as f64 / self.sum.1.as_secs_f64().max(0.001)) as u64,
            codecs: self.tracks.codecs.clone(),
            picture: self.tracks.picture,
            frame_rate: self.tracks.picture.is_some().then_some(rate),
            is_independent: self.playlist.is_independent(),
        })
    }

    /// The segment that is written, or its place in the playlist, is lost.
    fn fail(&mut self, source: io::Error) {
        self.shelf.discard();
        self.is_apart |= self.has_begun();
        self.standing.failures.fetch_add(1, Ordering::Relaxed);
        self.tell_failed(source);
    }

    fn tell_failed(&mut self, source: io::Error) {
        self.failed = self.failed.saturating_add(1);
        self.standing.is_live.store(false, Ordering::Relaxed);
        let error = Error::Hls { path: self.settings.path.clone(), source: source.into() };
        let wait = Duration::from_secs(self.playlist.published().unwrap_or(self.settings.target));
        self.tell(EventKind::OutputRetrying { output: self.settings.output, error, wait });
    }

    fn succeed(&mut self) {
        let failures = std::mem::take(&mut self.failed);
        if !self.standing.is_live.swap(true, Ordering::Relaxed) {
            self.tell(EventKind::OutputLive { output: self.settings.output, reconnects: 0, failures });
        }
    }

    fn tell(&self, news: EventKind) {
        // Nobody listens when the driver is gone.
        let _ = self.news.send(news);
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    ///
    /// What the file system said.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.settings.stays_open || self.playlist.is_empty() {
            return Ok(());
        }
        self.playlist.end();
        self.publish()
    }
}
