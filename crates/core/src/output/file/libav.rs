//! A recording in a container that libav writes: Matroska, MPEG-TS.
//!
//! In: tags with times from zero. Out: with each write, what libav's muxer makes of them, whole clusters or packets, so that the file plays up to
//! its last write. At the end libav goes back and fills in the duration and the index, where the container has them. On the writer's thread.

use std::io;
use std::path::Path;
use std::sync::Arc;

use flowcast_av as av;
use flowcast_rtmp::flv::tag::Tag;

use super::existing::{self, Existing};
use super::format::{FileFormat, Format};
use super::whole::WholeFile;
use crate::files::StreamFiles;
use crate::output::media::{Media, Sample, Track};
use crate::output::packets::{self, Packets};

/// The largest body that is handed to libav.
const LARGEST_BODY: usize = 1 << 28;
/// How far MPEG-TS tells times ahead of the clock in it, in microseconds: decoders need the time to take in a picture.
const TS_DELAY_MICROS: &str = "500000";

/// The file.
#[derive(Debug)]
pub(super) struct LibavFile {
    file: WholeFile,
    format: FileFormat,
    media: Media,
    /// Once the tracks are known.
    muxing: Option<Muxing>,
}

/// A muxer of libav and what it was given.
#[derive(Debug)]
pub(in crate::output) struct Muxing {
    muxer: av::MemoryMuxer,
    tracks: Vec<Track>,
    packets: Packets,
}

impl Muxing {
    /// A muxer for these tracks.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(in crate::output) fn new(format: FileFormat, tracks: &[Track]) -> io::Result<Self> {
        // Only Matroska goes back.
        let options = match format {
            FileFormat::MpegTs => vec![("max_delay".to_owned(), TS_DELAY_MICROS.to_owned())],
            _ => Vec::new(),
        };
        let is_amended = format == FileFormat::Mkv;
        let muxer = av::MemoryMuxer::create(muxer_of(format), is_amended, &packets::infos(tracks), &options);
        let muxer = muxer.map_err(io::Error::other)?;
        Ok(Self { muxer, packets: Packets::new(tracks), tracks: tracks.to_vec() })
    }

    /// Whether libav has a muxer for the format.
    ///
    /// # Errors
    ///
    /// `Unsupported`.
    pub(in crate::output) fn check(format: FileFormat) -> io::Result<()> {
        let name = muxer_of(format);
        if av::MemoryMuxer::is_available(name) {
            return Ok(());
        }
        let reason = format!("the FFmpeg libraries were built without the muxer `{name}`");
        Err(io::Error::new(io::ErrorKind::Unsupported, reason))
    }

    /// Gives it a sample.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(in crate::output) fn write(&mut self, sample: Sample) -> io::Result<()> {
        self.muxer.write(&self.packets.packet(&self.tracks, sample)).map_err(io::Error::other)
    }

    /// Ends what libav has begun, so that all samples are in what is taken.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(in crate::output) fn flush(&mut self) -> io::Result<()> {
        self.muxer.flush().map_err(io::Error::other)
    }

    /// What was written since the last call.
    pub(in crate::output) fn take(&mut self) -> av::Written {
        self.muxer.take()
    }

    /// Has MPEG-TS say anew what is in it, with the next packet: a player may begin there.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(in crate::output) fn say_tables(&mut self) -> io::Result<()> {
        self.muxer.set_option("mpegts_flags", "+resend_headers").map_err(io::Error::other)
    }
}

impl LibavFile {
    /// Opens a file for a recording of the stream with these files.
    ///
    /// # Errors
    ///
    /// As [`existing::open`]; it cannot be continued; `Unsupported` if the linked libav has no such muxer.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(
        format: FileFormat,
        path: &Path,
        existing: Existing,
        files: &Arc<StreamFiles>,
    ) -> io::Result<Self> {
        Muxing::check(format)?;
        let opened = existing::open(path, existing, files, |_| Err(existing::no_end(format)))?;
        Ok(Self { file: WholeFile::new(opened), format, media: Media::new(format.container()), muxing: None })
    }

    fn put(&mut self, is_end: bool) -> io::Result<()> {
        if !self.media.settle(is_end) {
            return Ok(());
        }
        let samples = self.media.drain();
        let muxing = match &mut self.muxing {
            Some(muxing) => muxing,
            none => none.insert(Muxing::new(self.format, self.media.tracks())?),
        };
        samples.into_iter().try_for_each(|sample| muxing.write(sample))?;
        muxing.flush()?;
        let written = muxing.take();
        self.keep(&written)
    }

    fn keep(&mut self, written: &av::Written) -> io::Result<()> {
        if !written.appended.is_empty() {
            self.file.add(&written.appended);
            self.file.end_part()?;
        }
        self.file.flush()?;
        written.amended.iter().try_for_each(|(at, bytes)| self.file.amend(*at, bytes))
    }
}

impl Format for LibavFile {
    fn largest_body(&self) -> usize {
        LARGEST_BODY
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        tags.iter().try_for_each(|tag| self.media.take(tag))?;
        self.put(false)
    }

    fn written(&self) -> u64 {
        self.file.taken()
    }

    fn has_media(&self) -> bool {
        self.muxing.is_some()
    }

    fn fits(&self, tag: &Tag) -> bool {
        self.media.fits(tag)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.put(true)?;
        let Some(muxing) = self.muxing.take() else { return Ok(()) };
        let written = muxing.muxer.finish().map_err(io::Error::other)?;
        self.keep(&written)
    }
}

/// libav's name of a format.
const fn muxer_of(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Flv => "flv",
        FileFormat::Mp4 => "mp4",
        FileFormat::Mkv => "matroska",
        FileFormat::MpegTs => "mpegts",
    }
}
