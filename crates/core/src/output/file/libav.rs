//! A recording in a container that libav writes: Matroska, MPEG-TS.
//!
//! In: tags with times from zero. Out: with each write, what libav's muxer makes of them, whole clusters or packets, so that the file plays up to
//! its last write. At the end libav goes back and fills in the duration and the index, where the container has them. On the writer's thread.

use std::io;
use std::path::Path;
use std::sync::Arc;

use flowcast_av as av;
use flowcast_rtmp::flv::data::DataCodec;
use flowcast_rtmp::flv::tag::Tag;

use super::existing::{self, Existing};
use super::format::{FileFormat, Format};
use super::whole::WholeFile;
use crate::files::StreamFiles;
use crate::output::cues::Weaver;
use crate::output::media::{Cue, Media, Sample, Track};
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
    /// What puts data into it, if there is any, and what that has made so far.
    weaver: Option<Box<Weaver>>,
    woven: Vec<u8>,
}

impl Muxing {
    /// A muxer for these tracks.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(in crate::output) fn new(format: FileFormat, tracks: &[Track]) -> io::Result<Self> {
        let options = match format {
            FileFormat::MpegTs => &[("max_delay", TS_DELAY_MICROS)][..],
            _ => &[],
        };
        Self::with(format, tracks, options)
    }

    /// A muxer of MPEG-TS that goes on where another one ended: its packets say that they are not counted from those before.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(in crate::output) fn behind_another(tracks: &[Track]) -> io::Result<Self> {
        let options = [("max_delay", TS_DELAY_MICROS), ("mpegts_flags", "initial_discontinuity")];
        Self::with(FileFormat::MpegTs, tracks, &options)
    }

    fn with(format: FileFormat, tracks: &[Track], options: &[(&str, &str)]) -> io::Result<Self> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options: Vec<_> = options.iter().map(owned).collect();
        // Only Matroska goes back.
        let is_amended = format == FileFormat::Mkv;
        let muxer = av::MemoryMuxer::create(muxer_of(format), is_amended, &packets::infos(tracks), &options);
        let muxer = muxer.map_err(io::Error::other)?;
        let packets = Packets::new(tracks);
        Ok(Self { muxer, packets, tracks: tracks.to_vec(), weaver: None, woven: Vec::new() })
    }

    /// The same of a transport stream, with tracks of data.
    fn with_data(self, tracks: &[DataCodec]) -> Self {
        Self { weaver: Weaver::new(tracks).map(Box::new), ..self }
    }

    /// Gives it samples, and data among them.
    fn write_all(&mut self, samples: Vec<Sample>, cues: Vec<Cue>) -> io::Result<()> {
        let mut cues = cues.into_iter().peekable();
        for sample in samples {
            while let Some(cue) = cues.next_if(|cue| cue.at_ms < sample.dts_ms) {
                self.weave(&cue)?;
            }
            self.write(sample)?;
        }
        cues.try_for_each(|cue| self.weave(&cue))
    }

    /// Puts data behind what it was given so far.
    fn weave(&mut self, cue: &Cue) -> io::Result<()> {
        if self.weaver.is_none() {
            return Ok(());
        }
        self.flush()?;
        let written = self.muxer.take();
        if let Some(weaver) = &mut self.weaver {
            self.woven.extend(weaver.weave(&written.appended));
            self.woven.extend(weaver.packets(cue));
        }
        Ok(())
    }

    /// With the data that was put into it.
    fn woven(&mut self, written: av::Written) -> av::Written {
        let Some(weaver) = &mut self.weaver else { return written };
        let mut appended = std::mem::take(&mut self.woven);
        appended.extend(weaver.weave(&written.appended));
        av::Written { appended, ..written }
    }

    /// Ends it; what was written since the last call of [`take`](Self::take).
    fn finish(self) -> io::Result<av::Written> {
        let Self { muxer, weaver, woven: mut appended, .. } = self;
        let written = muxer.finish().map_err(io::Error::other)?;
        let Some(mut weaver) = weaver else { return Ok(written) };
        appended.extend(weaver.weave(&written.appended));
        Ok(av::Written { appended, ..written })
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
        if let (Some(weaver), Some(track)) = (&mut self.weaver, self.tracks.get(sample.track)) {
            weaver.note(track.is_video(), sample.pts_ms);
        }
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
        let written = self.muxer.take();
        self.woven(written)
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
        let (samples, cues) = (self.media.drain(), self.media.drain_cues());
        let muxing = match &mut self.muxing {
            Some(muxing) => muxing,
            none => {
                let muxing = Muxing::new(self.format, self.media.tracks())?;
                none.insert(match self.format {
                    FileFormat::MpegTs => muxing.with_data(self.media.data_tracks()),
                    _ => muxing,
                })
            }
        };
        muxing.write_all(samples, cues)?;
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
        let written = muxing.finish()?;
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
