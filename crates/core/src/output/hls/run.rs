//! Segments with one codec configuration, one after another.
//!
//! In: tags with the times of the output. Out: segments, as fragments of MP4 behind a header of their own, or as MPEG-TS; cut before keyframes. A change of the
//! configuration is another run. On the writer's thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowcast_rtmp::flv::tag::Tag;
use parking_lot::Mutex;

use super::channel::{Channel, Tracks};
use super::codecs;
use super::cuts::{Cut, Cuts};
use super::packing::Packing;
use super::sets::Sets;
use crate::output::file::files::Row;
use crate::output::file::format::{FileFormat, Format};
use crate::output::media::{Media, Sample, Track};

/// The largest body: sizes have 32 bits.
const LARGEST_BODY: usize = 1 << 28;
/// Time without media is a gap from this on, in milliseconds.
const GAP_MS: i64 = 500;
/// How long the last picture is shown if no other follows, in milliseconds.
const PICTURE_MS: i64 = 40;

/// What an output is written with: runs, one after another.
pub(super) struct Runs {
    channel: Arc<Mutex<Channel>>,
    is_over: bool,
}

impl Runs {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel: Arc::new(Mutex::new(channel)), is_over: false }
    }
}

impl Row for Runs {
    fn open(&mut self, _is_first: bool) -> io::Result<Box<dyn Format>> {
        Ok(Box::new(Run::new(self.channel.clone())))
    }

    fn holds_all(&self) -> bool {
        false
    }

    fn counts_from_zero(&self) -> bool {
        false
    }

    fn finish(&mut self) -> io::Result<()> {
        self.is_over = true;
        self.channel.lock().end()
    }
}

impl Drop for Runs {
    /// An output that fails has an end, too.
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = self.channel.lock().end()
        {
            log::warn!("the end of an HLS playlist: {error}");
        }
    }
}

/// One run.
struct Run {
    channel: Arc<Mutex<Channel>>,
    path: PathBuf,
    media: Media,
    packing: Option<Packing>,
    cuts: Cuts,
    /// The track by which segments are cut.
    main: usize,
    /// What each segment repeats, where the header is another one than that of the segments before.
    sets: Option<Sets>,
    is_open: bool,
    /// Pictures of the segment that is written.
    pictures: u32,
    /// Where the newest sample ends, in milliseconds.
    end_ms: i64,
    /// The same by the clock by which segments begin, that of the main track's decoder.
    main_end_ms: i64,
    /// How long after its decoding the picture is shown with which the segment begins.
    delay_ms: i64,
    /// A picture came, and the distance to the one before.
    picture_ms: Option<i64>,
    step_ms: i64,
    /// Headers came again: time may have gone on without media.
    may_have_gap: bool,
    /// It was told that keyframes come too late.
    is_late_told: bool,
}

impl Run {
    fn new(channel: Arc<Mutex<Channel>>) -> Self {
        let (path, cuts, format) = {
            let channel = channel.lock();
            let format = if channel.is_ts() { FileFormat::MpegTs } else { FileFormat::Mp4 };
            (channel.path().to_owned(), Cuts::new(channel.target(), channel.published()), format)
        };
        Self {
            channel,
            path,
            media: Media::new(format.container()),
            packing: None,
            cuts,
            main: 0,
            sets: None,
            is_open: false,
            pictures: 0,
            end_ms: 0,
            main_end_ms: 0,
            delay_ms: 0,
            picture_ms: None,
            step_ms: PICTURE_MS,
            may_have_gap: false,
            is_late_told: false,
        }
    }

    /// Writes what waits, if the tracks are known.
    fn put(&mut self, is_end: bool) -> io::Result<()> {
        if !self.media.settle(is_end) {
            return Ok(());
        }
        let channel = self.channel.clone();
        let mut channel = channel.lock();
        let mut packing = match self.packing.take() {
            Some(packing) => packing,
            None => self.begin(&mut channel)?,
        };
        let samples = self.media.drain();
        let newest_ms = samples.iter().map(|sample| sample.dts_ms).max().unwrap_or(0);
        for sample in samples {
            self.sample(sample, newest_ms, &mut packing, &mut channel)?;
        }
        if is_end {
            self.end(&mut packing, &mut channel)?;
        } else {
            channel.add(&packing.pieces());
        }
        self.packing = Some(packing);
        Ok(())
    }

    fn begin(&mut self, channel: &mut Channel) -> io::Result<Packing> {
        let tracks = self.media.tracks();
        self.main = tracks.iter().position(Track::is_video).unwrap_or(0);
        let names: Vec<_> = tracks.iter().map(|track| codecs::name(track.codec, &track.config)).collect();
        let codecs = names.into_iter().collect::<Option<_>>().unwrap_or_default();
        let picture = tracks.iter().find_map(|track| track.picture.filter(|_| track.is_video()));
        let packing =
            if channel.is_ts() { Packing::ts(tracks, channel.has_begun())? } else { Packing::mp4(tracks) };
        // The run before may have published it since this one was made.
        if let Some(seconds) = channel.published() {
            self.cuts.publish(seconds);
        }
        let is_other = channel.configure(packing.header(tracks), Tracks { codecs, picture });
        let main = tracks.get(self.main).filter(|_| is_other);
        self.sets = main.and_then(|track| Sets::of(track.codec, &track.config));
        Ok(packing)
    }

    fn sample(
        &mut self,
        sample: Sample,
        newest_ms: i64,
        packing: &mut Packing,
        channel: &mut Channel,
    ) -> io::Result<()> {
        let ms = sample.dts_ms;
        if self.is_gap(ms) {
            self.end(packing, channel)?;
            channel.break_off();
        }
        let is_main = sample.track == self.main;
        let length_ms = self.length_ms(&sample);
        let cut = if is_main { self.cuts.main(ms, sample.is_key) } else { self.cuts.other(ms, length_ms) };
        let cut = match cut {
            _ if self.is_open => cut,
            _ if is_main && !sample.is_key => Cut::Between,
            _ => Cut::AtKeyframe,
        };
        if cut == Cut::None {
            self.note(is_main, ms + length_ms);
            return packing.take(sample);
        }
        let delay_ms = if is_main { sample.pts_ms - ms } else { 0 };
        let sample = match &self.sets {
            Some(sets) if is_main && sample.is_key => Sample { data: sets.repeated(sample.data), ..sample },
            _ => sample,
        };
        let before = packing.cut(sample)?;
        if std::mem::replace(&mut self.is_open, true) {
            channel.add(&before);
            self.complete(ms, channel);
        }
        if cut == Cut::Between && !std::mem::replace(&mut self.is_late_told, true) {
            channel.tell_late();
        }
        let behind = Duration::from_millis(u64::try_from(newest_ms - ms).unwrap_or(0));
        channel.begin(ms, behind, cut == Cut::AtKeyframe);
        channel.add(&packing.beginning());
        self.cuts.begin(ms);
        self.delay_ms = delay_ms;
        self.note(is_main, ms + length_ms);
        Ok(())
    }

    /// Whether media is missing before this time. Sound has no holes; pictures alone may come as seldom as they like, as long as a segment can
    /// hold them.
    fn is_gap(&mut self, ms: i64) -> bool {
        let may_have_gap = std::mem::take(&mut self.may_have_gap);
        let has_sound = self.media.tracks().iter().any(|track| track.sound.is_some());
        ms - self.end_ms > GAP_MS
            && (may_have_gap || self.is_open && (has_sound || self.cuts.is_too_long(ms)))
    }

    fn note(&mut self, is_main: bool, end_ms: i64) {
        self.end_ms = self.end_ms.max(end_ms);
        // What is heard with a picture is not decoded as early as that.
        let main_end_ms = if is_main { end_ms } else { end_ms - self.delay_ms };
        self.main_end_ms = self.main_end_ms.max(main_end_ms);
        self.pictures += u32::from(is_main);
    }

    /// How long a sample lasts as far as is known.
    fn length_ms(&mut self, sample: &Sample) -> i64 {
        let track = self.media.tracks().get(sample.track);
        match track.and_then(|track| track.sound) {
            Some(sound) => i64::from(sample.samples) * 1000 / i64::from(sound.clock_hz.max(1)),
            None => {
                if let Some(before) = self.picture_ms.replace(sample.dts_ms) {
                    self.step_ms = sample.dts_ms - before;
                }
                self.step_ms
            }
        }
    }

    fn complete(&mut self, end_ms: i64, channel: &mut Channel) {
        channel.complete(end_ms, std::mem::take(&mut self.pictures));
        if let Some(seconds) = channel.published() {
            self.cuts.publish(seconds);
        }
    }

    /// Ends the segment that is written.
    fn end(&mut self, packing: &mut Packing, channel: &mut Channel) -> io::Result<()> {
        channel.add(&packing.end()?);
        if std::mem::take(&mut self.is_open) {
            self.complete(self.main_end_ms, channel);
        }
        self.cuts.end();
        self.picture_ms = None;
        Ok(())
    }
}

impl Format for Run {
    fn largest_body(&self) -> usize {
        LARGEST_BODY
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        for tag in tags {
            if tag.is_sequence_header() && self.packing.is_some() {
                // What is before the gap is before it.
                self.put(false)?;
                self.may_have_gap = true;
            }
            self.media.take(tag)?;
        }
        self.put(false)
    }

    fn written(&self) -> u64 {
        self.channel.lock().written()
    }

    fn has_media(&self) -> bool {
        self.channel.lock().has_media()
    }

    fn fits(&self, tag: &Tag) -> bool {
        self.media.fits(tag)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.put(true)
    }
}
