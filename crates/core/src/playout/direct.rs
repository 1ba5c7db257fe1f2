//! A file that is played directly: a worker thread reads and tags ahead, the stream thread takes what is due.
//!
//! For files without a reel. In: a path. Out: tags on the item's own clock, lap after lap, through a bounded queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::{Demuxer, Interrupt, OpenOptions};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::recipes::Recipes;
use super::supply::{DirectOptions, Use};
use crate::error::Error;
use crate::event::EventKind;
use crate::fragment::{Held, Reader, Reading};
use crate::lap::{Finish, InStep, LapReader, Paced, Step, TagReceiver, TagSender, Tail, Taken, queue};
use crate::reel::SLOT_MS;
use crate::stats::EncodingStats;
use crate::sys::{CodecHost, CpuLap, CpuMeter, Worker};
use crate::tracks::Tracks;
use crate::transcode::{Control, Encoders, PacketSource, Plan, Transcoder};

/// Stack of the worker: libav's demuxers and parsers need a few tens of kilobytes, its encoders some hundreds.
const WORKER_STACK: usize = 256 << 10;
const ENCODING_STACK: usize = 2 << 20;
/// How long a file without an index is read to come to the place where it is begun.
const REACH: Duration = Duration::from_secs(5);

/// A file that is open and whose worker has not started.
#[derive(Debug)]
pub(super) struct OpenFile {
    reader: LapReader,
    control: Control,
}

/// Where a file was entered, in milliseconds of its clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    /// Its first picture.
    pub(super) lead: Option<i64>,
    /// The picture it begins with; 0 for the beginning.
    pub(super) begins: i64,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct DirectFeed {
    receiver: Option<TagReceiver>,
    control: Control,
    thread: Worker,
}

/// Whether files can be played directly.
pub(super) const IS_BUILT: bool = true;

impl OpenFile {
    /// Opens a file, looks for tracks that can be sent, and opens encoders for those that are encoded.
    ///
    /// # Blocking
    ///
    /// On the file, up to the open options' timeout; on reading all of it, if that decides what is encoded, until
    /// [`Recipes::end_scans`].
    pub(super) fn open(path: &Path, recipes: &Recipes, how: Use) -> Result<Self, Error> {
        let control = Control::default();
        let scans = recipes.scans().unwrap_or(&control.interrupt).clone();
        Self::open_with(path, recipes, tail(how), control, &scans)
    }

    fn open_with(
        path: &Path,
        recipes: &Recipes,
        tail: Tail,
        control: Control,
        scans: &Interrupt,
    ) -> Result<Self, Error> {
        let control = Control { patience: recipes.patience(), ..control };
        recipes.check(path)?;
        let file = Demuxer::open(path, &OpenOptions::default(), &control.interrupt)?;
        let plan = recipes.plan(path, file.media(), scans)?;
        let control = Control { dial: recipes.dial(), ..control };
        Self::assemble(path, file, recipes.tracks, (&plan, recipes.encoders()), tail, control)
    }

    /// Opens a fragment, which is read once and in order: what is encoded is decided by what its header says.
    fn open_fragment(
        name: &Path,
        (reader, size): (Reader, u64),
        recipes: &Recipes,
        control: Control,
    ) -> Result<Self, Error> {
        let shown = name.display().to_string();
        let options = OpenOptions::default();
        let file = Demuxer::open_seekable(reader, size, &shown, &options, &control.interrupt)?;
        let plan = recipes.plan_unscanned(file.media());
        let control = Control { dial: recipes.dial(), ..control };
        Self::assemble(name, file, recipes.tracks, (&plan, recipes.encoders()), Tail::Joined, control)
    }

    /// Opens a file of which it is settled what is encoded.
    pub(super) fn open_settled(
        path: &Path,
        tracks: Tracks,
        encoding: (&Plan, Option<&Arc<dyn Encoders>>),
        tail: Tail,
        interrupt: Interrupt,
    ) -> Result<Self, Error> {
        let control = Control { interrupt, ..Control::default() };
        let file = Demuxer::open(path, &OpenOptions::default(), &control.interrupt)?;
        Self::assemble(path, file, tracks, encoding, tail, control)
    }

    fn assemble(
        path: &Path,
        file: Demuxer,
        tracks: Tracks,
        (plan, encoders): (&Plan, Option<&Arc<dyn Encoders>>),
        tail: Tail,
        control: Control,
    ) -> Result<Self, Error> {
        control.length.set(file.media().duration);
        // Before a decoder: packets that wait take less room than what is made of them.
        let file = InStep::new(Paced::new(file));
        let source: Box<dyn PacketSource> = match encoders {
            Some(encoders) if !plan.is_copy() => {
                Box::new(Transcoder::new(path, file, plan, encoders, &control)?)
            }
            _ => Box::new(file),
        };
        Ok(Self { reader: LapReader::new(path, source, (tracks, plan.carriage), tail)?, control })
    }

    /// The reader, to be used on this thread.
    pub(super) fn into_reader(self) -> LapReader {
        self.reader
    }

    /// Tracks that are left out, and why.
    pub(super) fn skipped(&self) -> &[(usize, String)] {
        &self.reader.selection().skipped
    }

    /// What a session begins with.
    pub(super) fn headers(&self) -> Vec<Tag> {
        self.reader.headers()
    }

    /// The same, once it has given something.
    ///
    /// # Errors
    ///
    /// The file gives nothing, or cannot be read.
    ///
    /// # Blocking
    ///
    /// On the file.
    pub(super) fn primed(mut self) -> Result<Self, Error> {
        self.reader.prime()?;
        Ok(self)
    }

    /// Begins with the keyframe at or before `millis` of the file; what is encoded, with a keyframe there.
    ///
    /// # Blocking
    ///
    /// On the file.
    pub(super) fn entered(mut self, millis: i64) -> Result<(Self, Entered), Error> {
        let lead = self.reader.next_picture()?;
        let mut entered = Entered { lead, begins: 0 };
        if lead.is_none_or(|lead| millis <= lead) {
            return Ok((self, entered));
        }
        self.reader.skip_to(millis)?;
        // What is encoded begins with a keyframe wherever it is begun.
        let reached = match self.reader.encodes() {
            true => self.reader.next_picture()?,
            false => self.reader.reach(millis, Instant::now() + REACH)?,
        };
        match reached {
            Some(begins) => entered.begins = if Some(begins) > lead { begins } else { 0 },
            None => self.reader.rewind()?,
        }
        Ok((self, entered))
    }

    /// Reads on this thread until the stream or the file ends.
    fn read_ahead(self, how: Use, sender: &TagSender, cpu: &CpuMeter) {
        let skipped = self.skipped().to_vec();
        read_ahead(self.reader, skipped, how, 0, sender, cpu, None);
    }

    /// Starts the worker; its first lap begins with slot number `from` of the item.
    pub(super) fn start(self, how: Use, from: usize, options: &DirectOptions) -> Result<DirectFeed, Error> {
        let control = self.control.clone();
        let encodes = self.reader.encodes();
        DirectFeed::spawn(options, control, encodes, move |sender, cpu| {
            read_ahead(self.reader, Vec::new(), how, from, sender, cpu, None);
        })
    }
}

impl DirectFeed {
    /// Opens and reads a file on a thread of its own, from slot number `from` of its first lap on.
    pub(super) fn open(
        path: PathBuf,
        recipes: &Recipes,
        how: Use,
        from: usize,
        options: &DirectOptions,
    ) -> Result<Self, Error> {
        let control = Control::default();
        let (opener, recipes) = (control.clone(), recipes.clone());
        Self::spawn(options, control, recipes.may_encode(), move |sender, cpu| {
            let scans = opener.interrupt.clone();
            match OpenFile::open_with(&path, &recipes, tail(how), opener, &scans) {
                // A stream that goes on in the middle of a file got the report of what is left out when it began.
                Ok(file) if from > 0 => read_ahead(file.reader, Vec::new(), how, from, sender, cpu, None),
                Ok(file) => file.read_ahead(how, sender, cpu),
                Err(error) => sender.finish(Finish::Failed(error)),
            }
        })
    }

    /// Opens and reads a fragment on a thread of its own, and says in `reading` how far.
    pub(super) fn open_fragment(
        held: Held,
        reading: Arc<Reading>,
        recipes: &Recipes,
        options: &DirectOptions,
    ) -> Result<Self, Error> {
        let control = Control::default();
        let (opener, recipes) = (control.clone(), recipes.clone());
        Self::spawn(options, control, recipes.may_encode(), move |sender, cpu| {
            let since = Instant::now();
            let name = PathBuf::from(&held.name);
            let reader = held.into_reader(reading.clone());
            match OpenFile::open_fragment(&name, reader, &recipes, opener).and_then(OpenFile::primed) {
                Ok(file) => {
                    let skipped = file.skipped().to_vec();
                    let note = || reading.note(since, sender.waited());
                    read_ahead(file.reader, skipped, Use::Item, 0, sender, cpu, Some(&note));
                }
                Err(error) => sender.finish(Finish::Failed(error)),
            }
        })
    }

    /// Opens and reads the first file that can be opened and gives a frame. `tried` is called for each one from `first` on, and
    /// says which is next after one that failed; `None` ends the worker.
    pub(super) fn open_first(
        first: PathBuf,
        recipes: &Recipes,
        how: Use,
        options: &DirectOptions,
        mut tried: impl FnMut(Result<(), Error>) -> Option<PathBuf> + Send + 'static,
    ) -> Result<Self, Error> {
        let control = Control::default();
        let (opener, recipes) = (control.clone(), recipes.clone());
        Self::spawn(options, control, recipes.may_encode(), move |sender, cpu| {
            let mut next = Some(first);
            while let Some(path) = next.take() {
                let scans = opener.interrupt.clone();
                let opened = OpenFile::open_with(&path, &recipes, tail(how), opener.clone(), &scans);
                match opened.and_then(OpenFile::primed) {
                    Ok(file) => {
                        tried(Ok(()));
                        return file.read_ahead(how, sender, cpu);
                    }
                    Err(error) => next = tried(Err(error)),
                }
            }
        })
    }

    /// Looks whether files can be opened, from `first` on, and closes them again; `tried` as for
    /// [`open_first`](Self::open_first).
    pub(super) fn glance(
        first: PathBuf,
        recipes: &Recipes,
        options: &DirectOptions,
        mut tried: impl FnMut(Result<(), Error>) -> Option<PathBuf> + Send + 'static,
    ) -> Result<Self, Error> {
        let control = Control::default();
        let (opener, recipes) = (control.clone(), recipes.clone());
        Self::spawn(options, control, recipes.may_encode(), move |_, _| {
            let mut next = Some(first);
            while let Some(path) = next.take() {
                next = tried(glance(&path, &recipes, &opener));
            }
        })
    }

    fn spawn(
        options: &DirectOptions,
        control: Control,
        encodes: bool,
        work: impl FnOnce(&TagSender, &CpuMeter) + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, receiver) = queue(options.read_ahead);
        let sender = sender.telling(control.ahead.clone()).waking(options.wake.clone());
        let cpu = options.cpu.clone();
        control.meter.counts_for(&cpu);
        let thread = Worker::start(
            "a file reader",
            format!("fw-{}", options.name),
            if encodes { ENCODING_STACK } else { WORKER_STACK },
            move || {
                if encodes {
                    crate::sys::yield_to_others(crate::sys::Leave::Some);
                }
                let _host = CodecHost::enter(&cpu);
                work(&sender, &cpu);
            },
        )
        .map_err(|source| Error::System { what: "no thread for the file's reader", source: source.into() })?;
        Ok(Self { receiver: Some(receiver), control, thread })
    }

    /// Hands over what is due until `until` of the item's clock, at most to the end of the lap.
    pub(super) fn take(&self, until: i64, sink: impl FnMut(Step)) -> Taken {
        let Some(receiver) = &self.receiver else { return Taken::Ended };
        receiver.take(MediaTime::from_millis(until), to_lap_end(sink))
    }

    /// As [`take`](Self::take), but `after` milliseconds are counted from the first picture that waits, if one does; also says
    /// when that is on the item's clock.
    pub(super) fn take_from_picture(&self, after: i64, sink: impl FnMut(Step)) -> (Taken, Option<i64>) {
        let Some(receiver) = &self.receiver else { return (Taken::Ended, None) };
        let (taken, picture) = receiver.take_from_picture(after, to_lap_end(sink));
        (taken, picture.map(MediaTime::as_millis))
    }

    /// Whether the file was read to the end of what is asked of it.
    pub(super) fn is_read(&self) -> bool {
        self.receiver.as_ref().is_none_or(TagReceiver::is_read)
    }

    /// What it encodes, if it does.
    pub(super) fn encoding(&self) -> Option<EncodingStats> {
        self.control.meter.stats()
    }

    /// How long its file is, as that says.
    pub(super) fn length(&self) -> Option<Duration> {
        self.control.length.get()
    }

    /// Bytes read ahead.
    pub(super) fn bytes_held(&self) -> usize {
        self.receiver.as_ref().map_or(0, TagReceiver::bytes)
    }

    /// Stops reading.
    pub(super) fn stop(&mut self) {
        self.control.interrupt.cancel();
        self.receiver = None;
    }

    /// Whether the worker has ended.
    pub(super) fn is_stopped(&mut self) -> bool {
        self.thread.is_stopped()
    }
}

impl Drop for DirectFeed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Gives steps to `sink` up to the end of a lap.
fn to_lap_end(mut sink: impl FnMut(Step)) -> impl FnMut(Step) -> bool {
    move |step| {
        let goes_on = !matches!(step, Step::End);
        sink(step);
        goes_on
    }
}

/// What happens to audio after the end of the video.
fn tail(how: Use) -> Tail {
    if how == Use::Once { Tail::Whole } else { Tail::Looped }
}

/// Whether it is certain that the file cannot be played in any way: it need not be opened again to find out.
pub(super) fn is_of_file(error: &Error) -> bool {
    matches!(
        error,
        Error::Media(
            flowcast_av::Error::NotFound { .. }
                | flowcast_av::Error::Io { .. }
                | flowcast_av::Error::NotAFile { .. }
                | flowcast_av::Error::Empty { .. }
        ) | Error::NoPlayableTrack { .. }
            | Error::SourceDried { .. }
    )
}

/// What is reported about a track that is left out.
pub(super) fn track_skipped((track, reason): (usize, String)) -> EventKind {
    EventKind::TrackSkipped { track, reason }
}

/// From this size on a file is not opened only to look at it: libav's tables of a ten-hour file take some 200 MB.
const HEAVY: u64 = 1 << 30;

/// Whether a file can be opened and gives something.
fn glance(path: &Path, recipes: &Recipes, control: &Control) -> Result<(), Error> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size >= HEAVY && std::fs::File::open(path).is_ok() {
        return Ok(());
    }
    if recipes.may_encode() {
        // To find out what is encoded may take reading all of it, which is done once, when its turn has come.
        let file = Demuxer::open(path, &OpenOptions::default(), &control.interrupt)?;
        recipes.expect(path, file.media());
        return Ok(());
    }
    let scans = control.interrupt.clone();
    let file = OpenFile::open_with(path, recipes, Tail::Looped, control.clone(), &scans)?;
    file.primed().map(drop)
}

/// The worker: reads until the stream or the file ends.
fn read_ahead(
    mut reader: LapReader,
    skipped: Vec<(usize, String)>,
    how: Use,
    from: usize,
    sender: &TagSender,
    cpu: &CpuMeter,
    note: Option<&dyn Fn()>,
) {
    let mut lap = CpuLap::default();
    let mut begin = vec![Step::Opened(reader.headers())];
    begin.extend(skipped.into_iter().map(|skipped| Step::Notice(track_skipped(skipped))));
    let finish = match sender.send_together(begin) {
        Ok(()) => read_laps(&mut reader, how, from, sender, || {
            cpu.lap(&mut lap);
            note.iter().for_each(|note| note());
        }),
        Err(_) => Finish::Ended,
    };
    sender.finish(finish);
    cpu.lap(&mut lap);
}

/// Slots that are sooner read through than sought over.
const WORTH_SEEKING: usize = 100;
/// Items between two reports of the worker's CPU time.
const REPORT_EVERY: u32 = 64;

fn read_laps(
    reader: &mut LapReader,
    how: Use,
    from: usize,
    sender: &TagSender,
    mut report: impl FnMut(),
) -> Finish {
    let mut skip = Skip { slot: 0, from };
    // What is encoded begins with a keyframe just there; of what is copied, a slot is read that is left out.
    let (seeks, to) =
        if reader.encodes() { (from > 0, from) } else { (from > WORTH_SEEKING, from.max(1) - 1) };
    if seeks && let Err(error) = reader.skip_to(to as i64 * SLOT_MS) {
        return Finish::Failed(error);
    }
    let mut since_report = 0u32;
    // Where an item's picture begins has to be known with its first sound.
    let mut first = (from == 0 && reader.selection().video.is_some()).then(Vec::new);
    loop {
        let step = match reader.next() {
            Ok(Step::Tag(tag)) if skip.takes(&tag) => continue,
            Ok(step) => step,
            Err(error) => {
                // Its reports come first; if there is no receiver any more, the error is not needed either.
                let _ = sender.send_together(first.take().unwrap_or_default());
                return Finish::Failed(error);
            }
        };
        let is_end = matches!(step, Step::End);
        if is_end {
            // Who hears of the end asks for what it took.
            report();
        }
        let shows = matches!(&step, Step::Tag(tag) if tag.is_video() && !tag.is_sequence_header());
        let sent = match &mut first {
            Some(held) => {
                held.push(step);
                if shows || is_end { sender.send_together(first.take().unwrap_or_default()) } else { Ok(()) }
            }
            None => sender.send(step),
        };
        if sent.is_err() {
            return Finish::Ended;
        }
        if is_end {
            match (how, reader.take_failure()) {
                (Use::Loop, _) => {}
                (_, Some(error)) => return Finish::Failed(error),
                (_, None) => return Finish::Ended,
            }
            if let Err(error) = reader.rewind() {
                return Finish::Failed(error);
            }
            skip.from = 0;
        }
        since_report += 1;
        if since_report == REPORT_EVERY {
            since_report = 0;
            sender.note_held(reader.bytes_held());
            report();
        }
    }
}

/// Leaves the beginning of an item out, cut where a reel's slots are cut.
struct Skip {
    slot: usize,
    from: usize,
}

impl Skip {
    fn takes(&mut self, tag: &Tag) -> bool {
        if self.slot >= self.from {
            return false;
        }
        self.slot = self.slot.max(usize::try_from(tag.timestamp.as_millis() / SLOT_MS).unwrap_or(0));
        self.slot < self.from && !tag.is_sequence_header()
    }
}
