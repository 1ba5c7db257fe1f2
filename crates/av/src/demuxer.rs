//! Reads packets out of a file or a live input. One thread at a time; every call may block.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::convert::{Converted, Converter};
use crate::interrupt::Reason;
use crate::probe::{self, Opened, Request};
use crate::redact::{self, Secrets};
use crate::sys::{self, Failure, Guard, Input, Io, Opening, Source};
use crate::{Error, Interrupt, MediaInfo, OpenOptions, Packet, origin};

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

/// Where an input came from, for messages and for opening it again.
#[derive(Debug)]
pub(crate) struct Context {
    /// The input as it may be shown.
    pub(crate) shown: String,
    name: CString,
    path: Option<PathBuf>,
    size: Option<u64>,
    guard: Arc<Guard>,
    _secrets: Secrets,
}

/// What makes a packet known again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    track: usize,
    pts: Option<i64>,
    dts: Option<i64>,
    length: usize,
    skip_start: u32,
}

impl Mark {
    fn of(packet: &Packet) -> Self {
        Self {
            track: packet.track,
            pts: packet.pts,
            dts: packet.dts,
            length: packet.data.len(),
            skip_start: packet.skip_start,
        }
    }
}

impl Context {
    /// Turns a failure of libav into an error of this input.
    pub(crate) fn error(&self, failure: Failure, operation: &'static str, input: Option<&Input>) -> Error {
        match self.guard.reason() {
            Some(Reason::Cancelled) => return Error::Cancelled { operation },
            Some(Reason::Deadline) => return Error::Timeout { operation },
            None => {}
        }
        if let Some(protocol) = self.guard.refused() {
            return Error::ProtocolRefused { input: self.shown.clone(), protocol };
        }
        if let (Some(source), Some(path)) = (input.and_then(Input::take_source_error), &self.path) {
            return Error::Io { path: path.clone(), operation: "read", source };
        }
        match failure.code {
            // Demuxers say both of damaged headers; our own arguments are checked before.
            Failure::INVALID_DATA | Failure::END | Failure::INVALID_ARGUMENT => {
                Error::InvalidData { input: self.shown.clone(), message: redact::line(&failure.message()) }
            }
            _ => failure.into(),
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
    /// file system can be ended by nobody.
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
        sys::check_versions()?;
        if data.is_empty() {
            return Err(Error::Empty { input: name.to_owned() });
        }
        let guard = guarded(options, interrupt);
        let context = Context {
            shown: name.to_owned(),
            name: origin::hint(Path::new(name)),
            path: None,
            size: u64::try_from(data.len()).ok(),
            guard: Arc::clone(&guard),
            _secrets: Secrets::default(),
        };
        Self::open_source(Box::new(Cursor::new(data)), context, options, guard)
    }

    /// Opens a live input: `rtmp`, `rtmps`, `http`, `https`, `rtsp`, `srt`, `udp`, `rtp`, `tcp`, `tls` and `rist` addresses, as
    /// far as this libav was built with them. TLS certificates are verified.
    ///
    /// While it is open, the key and other secrets of the address are kept out of libav's log lines; in errors the address is
    /// redacted.
    ///
    /// # Errors
    /// [`Error::ProtocolRefused`] for other schemes; else as for [`open`](Self::open).
    ///
    /// # Blocking
    /// On the network, for [`OpenOptions::timeout`] at most; `interrupt` ends it earlier. A DNS look-up cannot be ended:
    /// resolve the host first where that matters.
    pub fn open_url(url: &str, options: &OpenOptions, interrupt: &Interrupt) -> Result<Self, Error> {
        sys::check_versions()?;
        let shown = redact::address(url);
        let Some(access) = origin::access(url, options.protocols) else {
            let protocol = url.split(':').next().unwrap_or_default();
            let protocol = if protocol.len() < url.len() { protocol } else { "no scheme" };
            return Err(Error::ProtocolRefused { input: shown, protocol: protocol.to_owned() });
        };
        let name = CString::new(url)
            .map_err(|_| Error::InvalidArgument { message: "the address holds a NUL byte".to_owned() })?;
        let guard = guarded(options, interrupt);
        let context = Context {
            shown,
            name: name.clone(),
            path: None,
            size: None,
            guard: Arc::clone(&guard),
            _secrets: Secrets::of_address(url),
        };
        let limits = probe::limits(options, Some(access));
        let opening = if access.is_format {
            Opening::by_format(c"rtsp", name, &guard)
                .map_err(|failure| context.error(failure, "open", None))?
        } else {
            let io = open_connection(&name, access, &guard);
            let io = io.map_err(|failure| context.error(failure, "open", None))?;
            probe::recognise(io, name, &guard, &limits, access.playlists, &context)?
        };
        let opened = probe::open(Request { opening, limits, options, size: None }, &context)?;
        Ok(Self::assemble(opened, context, options, guard))
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

    /// Goes back to the first packet. What follows is what a freshly opened input gives: the same packets, each with the same
    /// timestamps, and the configuration of [`media`](Self::media) holds again.
    ///
    /// MP4 is sought by its index, and the first packet of each track is compared with the one of the first lap; other formats,
    /// and an MP4 that comes back otherwise, are opened again from the same file handle.
    ///
    /// # Errors
    /// [`Error::NotSeekable`] for live inputs; else as for [`open`](Self::open). After an error the demuxer can only be
    /// dropped.
    ///
    /// # Blocking
    /// As for [`open`](Self::open).
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.guard.set_deadline(Instant::now().checked_add(self.options.timeout));
        let result = if self.seek_back()? { Ok(()) } else { self.open_again() };
        self.guard.set_deadline(None);
        result
    }

    /// Seeks to the start, for formats with an index of every packet. False if that did not lead to the first packets.
    fn seek_back(&mut self) -> Result<bool, Error> {
        let Some(Mark { track, dts: Some(dts), .. }) = self.firsts.first().cloned() else { return Ok(false) };
        if !self.media.format.starts_with("mov,") {
            return Ok(false);
        }
        let Some(input) = &mut self.input else { return Err(self.not_seekable()) };
        // The first packets may be of tracks that are not selected; they must come back to be known again.
        let playable: Vec<bool> = self.media.tracks.iter().map(crate::TrackInfo::is_playable).collect();
        input.discard(|index| playable.get(index).copied().unwrap_or(false));
        // By the track of the earliest packet: libav takes the others to the same time, and so to their first packets, too.
        if input.seek(track, dts).is_err() {
            return Ok(false);
        }
        self.ahead.clear();
        for (converter, track) in self.converters.iter_mut().zip(&self.media.tracks) {
            converter.restart(track.config.as_ref());
        }
        let mut expected: Vec<Mark> = self.firsts.clone();
        for _ in 0..self.options.max_probe_packets {
            let Some(packet) = self.read_raw()? else { return Ok(false) };
            let (converted, track) = self.convert(packet);
            let Converted::Packet(packet) = &converted else { return Ok(false) };
            match expected.iter().position(|mark| mark.track == track) {
                Some(0) if expected.first() == Some(&Mark::of(packet)) => {
                    expected.remove(0);
                }
                Some(_) => return Ok(false),
                None => {}
            }
            self.ahead.push_back(Demuxed::Done(converted, track));
            if expected.is_empty() {
                self.apply_selection();
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_again(&mut self) -> Result<(), Error> {
        let source = self.input.take().and_then(Input::into_source);
        let Some(source) = source else { return Err(self.not_seekable()) };
        let opened = read_source(source, &self.context, &self.options, &self.guard)?;
        let Opened { input, media, converters, ahead } = opened;
        self.input = Some(input);
        self.converters = converters;
        self.ahead = ahead;
        // A file that is still written to may show more tracks now; the description stays that of the first lap.
        self.converters.truncate(self.media.tracks.len().min(media.tracks.len()));
        self.apply_selection();
        Ok(())
    }

    fn not_seekable(&self) -> Error {
        Error::NotSeekable { input: self.context.shown.clone() }
    }
}

/// A guard whose deadline for opening runs from now.
fn guarded(options: &OpenOptions, interrupt: &Interrupt) -> Arc<Guard> {
    let guard = Guard::new(interrupt);
    guard.set_deadline(Instant::now().checked_add(options.timeout));
    Arc::new(guard)
}

fn read_source(
    mut source: Box<dyn Source>,
    context: &Context,
    options: &OpenOptions,
    guard: &Arc<Guard>,
) -> Result<Opened, Error> {
    source.rewind().map_err(|source| Error::Io {
        path: context.path.clone().unwrap_or_default(),
        operation: "read",
        source,
    })?;
    let limits = probe::limits(options, None);
    let failed = |failure| context.error(failure, "open", None);
    let io = Io::from_source(source, guard).map_err(failed)?;
    let opening = probe::recognise(io, context.name.clone(), guard, &limits, false, context)?;
    probe::open(Request { opening, limits, options, size: context.size }, context)
}

fn open_connection(name: &CString, access: origin::Access, guard: &Arc<Guard>) -> Result<Io, Failure> {
    let mut options = sys::Dict::new();
    options.set("protocol_whitelist", access.protocols)?;
    options.set("tls_verify", "1")?;
    Io::open_url(name, options, guard)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    /// The second wall behind the list of formats: even where a playlist is let through, libav's hook for opening what it names
    /// refuses. Tested by itself, as the first wall hides it.
    #[test]
    fn what_a_playlist_names_is_refused_by_the_hook() {
        sys::check_versions().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        for (entry, protocol) in [
            (format!("http://127.0.0.1:{port}/a.ts"), "http"),
            ("file:/etc/hostname.ts".to_owned(), "file"),
            ("/etc/hostname.ts".to_owned(), "file"),
        ] {
            let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{entry}\n#EXT-X-ENDLIST\n");
            let options = OpenOptions::default();
            let guard = guarded(&options, &Interrupt::new());
            let context = Context {
                shown: "list".to_owned(),
                name: c"file:list.m3u8".to_owned(),
                path: None,
                size: None,
                guard: Arc::clone(&guard),
                _secrets: Secrets::default(),
            };
            let mut limits = probe::limits(&options, None);
            limits.formats.push_str(",hls");
            let io = Io::from_source(Box::new(Cursor::new(text)), &guard).unwrap();
            let opening =
                probe::recognise(io, context.name.clone(), &guard, &limits, true, &context).unwrap();
            let error = probe::open(Request { opening, limits, options: &options, size: None }, &context)
                .unwrap_err();
            assert!(
                matches!(&error, Error::ProtocolRefused { protocol: found, .. } if found == protocol),
                "{entry}: {error:?}"
            );
        }
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_mp4_is_sought_and_not_opened_again() {
        for b_frames in [0, 2] {
            let name = format!("flowcast-av-seek-{}-{b_frames}.mp4", std::process::id());
            let path = std::env::temp_dir().join(name);
            let spec = crate::SampleSpec { b_frames, width: 64, height: 64, ..crate::SampleSpec::default() };
            crate::sample_clip(&path, &spec).unwrap();
            let mut input = Demuxer::open(&path, &OpenOptions::default(), &Interrupt::new()).unwrap();
            while input.read().unwrap().is_some() {}
            let sought = input.seek_back().unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(sought, "{b_frames} B-frames");
        }
    }
}
