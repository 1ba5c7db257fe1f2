//! Reads packets out of a file or a live input. One thread at a time; every call may block.

mod context;
mod live;
mod rewind;

use std::collections::VecDeque;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::convert::{Conversion, Converted, Converter};
use crate::probe::Opened;
use crate::redact::Secrets;
use crate::sys::{self, Guard, Input, Source};
use crate::{Error, Interrupt, MediaInfo, OpenOptions, Packet, origin};

pub(crate) use context::{Context, recognise_source};
use context::{guarded, read_source};
use rewind::Mark;

/// An open input.
///
/// ```no_run
/// use flowcast_av::{Demuxer, Interrupt, OpenOptions};
///
/// let mut input = Demuxer::open("intro.mp4".as_ref(), &OpenOptions::default(), &Interrupt::new())?;
/// for _lap in 0..2 {
///     while let Some(packet) = input.read()? {
///         println!("{:?}", packet.dts);
///     }
///     input.rewind()?;
/// }
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct Demuxer {
    input: Option<Input>,
    media: MediaInfo,
    converters: Vec<Converter>,
    /// Packets read while probing, or after a rewind, and not yet handed out.
    ahead: VecDeque<Demuxed>,
    /// Which tracks are read, by index.
    selected: Vec<bool>,
    /// How the first packet of each track looked, in their order, to know them again after a seek.
    firsts: Vec<Mark>,
    dropped: u64,
    /// A read failed: libav may take the input as ended from then on.
    broken: bool,
    context: Context,
    options: OpenOptions,
    guard: Arc<Guard>,
}

/// A packet read ahead.
#[derive(Debug, Clone)]
pub(crate) enum Demuxed {
    /// As libav gave it.
    Raw(Packet),
    /// After its track's converter; with the index of the track.
    Done(Converted, usize),
}

impl Demuxed {
    pub(crate) fn packet(&self) -> Option<&Packet> {
        match self {
            Self::Raw(packet) | Self::Done(Converted::Packet(packet), _) => Some(packet),
            Self::Done(..) => None,
        }
    }
}

impl Demuxer {
    /// Opens a local file: reads its header and describes its tracks.
    ///
    /// The path is always taken as the name of a file, whatever it looks like (`concat:a|b`, `http://x`), and must be a regular
    /// file. The format is found by content, not by name; formats that name other files or hosts (HLS, DASH, concat scripts)
    /// are refused, and whatever else a file may ask for, libav can open nothing but the file itself.
    ///
    /// The cost: see [`Probe`](crate::Probe).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAFile`], [`Error::Io`], [`Error::Empty`], [`Error::InvalidData`],
    /// [`Error::UnsupportedFormat`], [`Error::ProtocolRefused`], [`Error::NoPlayableTrack`], [`Error::Timeout`],
    /// [`Error::Cancelled`], [`Error::VersionMismatch`], or [`Error::Libav`] for what has no variant.
    ///
    /// # Blocking
    /// On the file system, for [`OpenOptions::timeout`] at most; `interrupt` ends it earlier. A single read of a dead network
    /// file system cannot be interrupted.
    pub fn open(path: &Path, options: &OpenOptions, interrupt: &Interrupt) -> Result<Self, Error> {
        sys::check_versions()?;
        let (file, size) = origin::open_file(path)?;
        let guard = guarded(options, interrupt);
        let context = Context {
            shown: path.display().to_string(),
            name: origin::hint(path),
            path: Some(path.to_owned()),
            size: Some(size),
            guard: Arc::clone(&guard),
            _secrets: Secrets::default(),
        };
        Self::open_source(Box::new(file), context, options, guard)
    }

    /// Opens media that is in memory, such as a fragment behind its init segment. `name` is for messages, and its extension
    /// helps to find the format.
    ///
    /// # Errors
    /// As for [`open`](Self::open), without those of the file system.
    pub fn open_bytes(
        data: Bytes,
        name: &str,
        options: &OpenOptions,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        Self::open_seekable(Cursor::new(data), size, name, options, interrupt)
    }

    /// As [`open_bytes`](Self::open_bytes), of what a reader gives that can go back: `size` bytes.
    ///
    /// # Errors
    /// As for [`open_bytes`](Self::open_bytes), and [`Error::Io`].
    ///
    /// # Blocking
    /// On the reader, for [`OpenOptions::timeout`] at most between two of its reads; `interrupt` ends it earlier.
    pub fn open_seekable(
        reader: impl std::io::Read + std::io::Seek + Send + 'static,
        size: u64,
        name: &str,
        options: &OpenOptions,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        sys::check_versions()?;
        if size == 0 {
            return Err(Error::Empty { input: name.to_owned() });
        }
        let guard = guarded(options, interrupt);
        let context = Context {
            shown: name.to_owned(),
            name: origin::hint(Path::new(name)),
            path: None,
            size: Some(size),
            guard: Arc::clone(&guard),
            _secrets: Secrets::default(),
        };
        Self::open_source(Box::new(reader), context, options, guard)
    }

    fn open_source(
        source: Box<dyn Source>,
        context: Context,
        options: &OpenOptions,
        guard: Arc<Guard>,
    ) -> Result<Self, Error> {
        let opened = read_source(source, &context, options, &guard)?;
        Ok(Self::assemble(opened, context, options, guard))
    }

    fn assemble(opened: Opened, context: Context, options: &OpenOptions, guard: Arc<Guard>) -> Self {
        guard.set_deadline(None);
        let Opened { input, media, converters, ahead } = opened;
        let selected = media.tracks.iter().map(crate::TrackInfo::is_playable).collect();
        let mut demuxer = Self {
            input: Some(input),
            media,
            converters,
            ahead,
            selected,
            firsts: Vec::new(),
            dropped: 0,
            broken: false,
            context,
            options: options.clone(),
            guard,
        };
        demuxer.apply_selection();
        for packet in demuxer.ahead.iter().filter_map(Demuxed::packet) {
            if !demuxer.firsts.iter().any(|mark| mark.track == packet.track) {
                demuxer.firsts.push(Mark::of(packet));
            }
        }
        demuxer
    }

    /// What is in the input.
    #[must_use]
    pub fn media(&self) -> &MediaInfo {
        &self.media
    }

    /// What is done to the packets of a track on the way out, if anything.
    #[must_use]
    pub fn conversion(&self, track: usize) -> Option<Conversion> {
        self.converters.get(track).and_then(Converter::conversion)
    }

    /// Packets left out so far because they were no frames of their codec (an ADTS track without ADTS headers).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Reads only the tracks with these indices from here on; libav skips the others. Without a call, every playable track is
    /// read. Tracks that do not exist are ignored.
    pub fn select(&mut self, tracks: &[usize]) {
        for (index, selected) in self.selected.iter_mut().enumerate() {
            *selected = tracks.contains(&index);
        }
        self.apply_selection();
    }

    fn apply_selection(&mut self) {
        let selected = &self.selected;
        if let Some(input) = &mut self.input {
            input.discard(|index| selected.get(index).copied().unwrap_or(false));
        }
    }

    fn is_selected(&self, track: usize) -> bool {
        self.selected.get(track).copied().unwrap_or(false)
    }

    /// The next packet of the selected tracks in the order of the input, or `None` at the end.
    ///
    /// Packets of one track come in decoding order. After an error of a damaged place ([`Error::InvalidData`]) reading may be
    /// tried again and goes on behind it. After a time-out or a lost connection in the middle of a read, libav takes the input as
    /// ended: then [`rewind`](Self::rewind) a file, and open a live input again.
    ///
    /// # Errors
    /// [`Error::InvalidData`], [`Error::Io`], [`Error::MissingTimestamps`], [`Error::Timeout`] and [`Error::Cancelled`] by the
    /// [`Interrupt`], or [`Error::Libav`] for what has no variant (a lost connection).
    ///
    /// # Blocking
    /// On the file or the connection, until there is a packet; the [`Interrupt`] ends it.
    pub fn read(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            let (converted, track) = match self.ahead.pop_front() {
                Some(Demuxed::Done(converted, track)) => (converted, track),
                Some(Demuxed::Raw(packet)) => self.convert(packet),
                None => match self.read_raw()? {
                    Some(packet) => self.convert(packet),
                    None => return Ok(None),
                },
            };
            if !self.is_selected(track) {
                continue;
            }
            match converted {
                Converted::Packet(packet) => return Ok(Some(packet)),
                Converted::Dropped => self.dropped = self.dropped.saturating_add(1),
                Converted::NoTimestamps => {
                    return Err(Error::MissingTimestamps { input: self.context.shown.clone(), track });
                }
            }
        }
    }

    fn read_raw(&mut self) -> Result<Option<Packet>, Error> {
        let Some(input) = &mut self.input else { return Err(self.not_seekable()) };
        let result = input.read();
        self.broken |= result.is_err();
        result.map_err(|failure| self.context.error(failure, "read", self.input.as_ref()))
    }

    /// Converts a packet. Tracks that were not there when the input was opened are left out.
    fn convert(&mut self, packet: Packet) -> (Converted, usize) {
        let track = packet.track;
        match self.converters.get_mut(track) {
            Some(converter) => (converter.convert(packet), track),
            None => (Converted::Dropped, track),
        }
    }

    fn not_seekable(&self) -> Error {
        Error::NotSeekable { input: self.context.shown.clone() }
    }
}

#[cfg(test)]
mod tests;
