//! Renditions: one source, decoded once, encoded several times.
//!
//! In: a source, as a driver; for each stream, which rendition it shows. Out: for each stream a driver of its own, with tags of the same times as those
//! of all others, and keyframes at the same times where pictures are encoded.
//!
//! A group has a thread for the source ([`feed`]), one that decodes and scales ([`decoding`]), and one for each encoder ([`encoding`]). It lives as
//! long as one of its streams does, and an encoder as long as a stream shows what it makes.

mod decoding;
mod encoding;
mod feed;
mod queue;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av::TrackInfo;
use parking_lot::Mutex;

use self::decoding::Decoding;
use self::encoding::{Encoding, Rung};
use self::feed::Feed;
use self::shared::Shared;
use super::encoder::{Outbox, Reader, writing};
use super::fan::{Member, Missed};
use super::seat::Seat;
use super::share::since;
use crate::adapt::{Dial, Sharing};
use crate::config::QueueBounds;
use crate::content::Probe;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::stats::EncodingStats;
use crate::stream::{Mailbox, Reading};
use crate::sys::{self, CpuMeter};
use crate::tracks::Carriage;
use crate::transcode::{Control, Encoders, Settling, VideoPlan};

/// Stack of the threads that decode and encode, and of the one that reads, for what libav needs.
const STACK: usize = 2 << 20;
const FEED_STACK: usize = 1 << 20;

type PlanFor = dyn Fn(&TrackInfo) -> Result<VideoPlan, Error> + Send + Sync;

/// Says how the pictures of a track, which are upright and whole, are encoded for a rendition.
pub(crate) struct PlanPictures(Box<PlanFor>);

impl PlanPictures {
    pub(crate) fn new(plan: impl Fn(&TrackInfo) -> Result<VideoPlan, Error> + Send + Sync + 'static) -> Self {
        Self(Box::new(plan))
    }

    /// The plan.
    ///
    /// # Errors
    ///
    /// Why there is no such rendition of these pictures.
    fn of(&self, track: &TrackInfo) -> Result<VideoPlan, Error> {
        (self.0)(track)
    }
}

impl fmt::Debug for PlanPictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlanPictures")
    }
}

/// What a group is opened with.
pub(crate) struct GroupOptions {
    /// What the source is, for messages and the names of threads.
    pub(crate) name: String,
    /// How many renditions there are.
    pub(crate) renditions: usize,
    /// What sound is encoded to.
    pub(crate) settling: Settling,
    pub(crate) encoders: Arc<dyn Encoders>,
    /// How often the source has its turn.
    pub(crate) tick: Duration,
}

/// A stream that comes to a rendition.
pub(crate) struct Coming {
    /// Which one.
    pub(crate) place: usize,
    /// How pictures are encoded; `None` if they are copied.
    pub(crate) plan: Option<PlanPictures>,
    pub(crate) dial: Dial,
    /// What is told what the encoder sees.
    pub(crate) probe: Option<Probe>,
    /// Whose CPU time a part of it is.
    pub(crate) cpu: CpuMeter,
    /// What is woken when there is something for the stream's thread, and the bounds of what waits for it.
    pub(crate) reader: Mailbox,
    pub(crate) bounds: QueueBounds,
    /// That the stream is made from what is published.
    pub(crate) reading: Option<Reading>,
}

/// A source and its renditions.
#[derive(Debug)]
pub(crate) struct Group {
    shared: Arc<Shared>,
    encoders: Arc<dyn Encoders>,
    carriage: Carriage,
    threads: Mutex<Vec<sys::Worker>>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Group {
    /// Opens the source with `open`, on this thread, and starts the threads. It begins with the first of its streams.
    ///
    /// # Errors
    ///
    /// What `open` says; there are no threads.
    pub(crate) fn start(
        options: GroupOptions,
        open: impl FnOnce(&Mailbox) -> Result<Box<dyn SourceDriver>, Error>,
    ) -> Result<Self, Error> {
        let GroupOptions { name, renditions, settling, encoders, tick } = options;
        let carriage = settling.carriage();
        if let Some((codec, plan)) = settling.encoder_of_pictures() {
            // Devices are looked for before anything comes.
            encoders.candidates(codec, &plan);
        }
        let seat = Seat::take(open)?;
        let shared = Arc::new(Shared::new(name, renditions, Control::default(), seat.driver.is_resting()));
        let feed = Feed { shared: shared.clone(), seat, tick };
        let decoding = Decoding { shared: shared.clone(), settling, encoders: encoders.clone(), parts: 0 };
        let group = Self { shared, encoders, carriage, threads: Mutex::default() };
        let name = group.shared.name.clone();
        let feeds = thread("a source of renditions", format!("fr-{name}"), FEED_STACK, move || feed.run())?;
        group.threads.lock().push(feeds);
        let decodes = thread("a decoder of renditions", format!("fd-{name}"), STACK, move || decoding.run())?;
        group.threads.lock().push(decodes);
        Ok(group)
    }

    /// Whether the source plays.
    pub(crate) fn has_begun(&self) -> bool {
        self.shared.has_begun()
    }

    /// Whether the source is over: no stream can come any more.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// A stream comes; `None` if the source is over.
    ///
    /// # Errors
    ///
    /// There is no thread.
    pub(crate) fn join(self: &Arc<Self>, coming: Coming) -> Result<Option<RenditionDriver>, Error> {
        let Coming { place, plan, dial, probe, cpu, reader, bounds, reading } = coming;
        let make = || self.rung(plan, probe);
        let Some(rung) = self.shared.join(place, make)? else { return Ok(None) };
        // The thread that writes is metered by itself.
        let (writer, outbox) = writing(bounds, Reader::at_once(reader), CpuMeter::default());
        let missed = Missed::default();
        rung.come(Member::new(writer, missed.clone()));
        let sharing = rung.control.dial.serve(&dial);
        [&self.shared.costs, &rung.costs].into_iter().for_each(|costs| costs.come(&cpu));
        let before = rung.encoding().unwrap_or_default();
        Ok(Some(RenditionDriver {
            group: Some(self.clone()),
            place,
            rung,
            outbox,
            missed,
            before,
            cpu,
            ending: None,
            sharing: Some(sharing),
            _reading: reading,
        }))
    }

    fn rung(&self, plan: Option<PlanPictures>, probe: Option<Probe>) -> Result<Arc<Rung>, Error> {
        let control = Control { probe, ..Control::default() };
        let rung = Arc::new(Rung::new(plan, control, self.shared.inbox.clone()));
        if !rung.is_copy() {
            let encoding = Encoding::new(rung.clone(), self.encoders.clone(), self.carriage);
            let name = format!("fw-{}", self.shared.name);
            let worker = thread("an encoder of a rendition", name, STACK, move || encoding.run())?;
            *rung.thread.lock() = Some(worker);
        }
        Ok(rung)
    }
}

fn thread(
    what: &'static str,
    name: String,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> Result<sys::Worker, Error> {
    sys::Worker::start(what, name, stack, work)
        .map_err(|source| Error::System { what: "no thread for renditions", source: source.into() })
}

/// The source of a stream that shows a rendition.
#[derive(Debug)]
pub(crate) struct RenditionDriver {
    /// `None` once it has left.
    group: Option<Arc<Group>>,
    place: usize,
    rung: Arc<Rung>,
    outbox: Outbox,
    missed: Missed,
    /// The figures when it came.
    before: EncodingStats,
    cpu: CpuMeter,
    /// What ends with this stream.
    ending: Option<Ending>,
    /// That its bit rate counts.
    sharing: Option<Sharing>,
    /// Held so that the stream is not put where it comes from.
    _reading: Option<Reading>,
}

/// What ends because the last stream has left it.
#[derive(Debug)]
struct Ending {
    is_last_of_rung: bool,
    group: Option<Group>,
}

impl RenditionDriver {
    fn leave(&mut self) {
        let Some(group) = self.group.take() else { return };
        self.outbox.close();
        if self.missed.pictures() > 0 {
            log::warn!("{}: a stream missed {} pictures", group.shared.name, self.missed.pictures());
        }
        self.sharing = None;
        [&group.shared.costs, &self.rung.costs].into_iter().for_each(|costs| costs.leave(&self.cpu));
        let is_last_of_rung = group.shared.leave(self.place, &self.rung);
        let group = Arc::into_inner(group);
        if let Some(group) = &group {
            group.shared.stop();
        }
        self.ending = Some(Ending { is_last_of_rung, group });
    }
}

impl Drop for RenditionDriver {
    fn drop(&mut self) {
        self.leave();
    }
}

impl SourceDriver for RenditionDriver {
    fn start(&mut self, _now: Instant) {
        if let Some(group) = &self.group {
            group.shared.begins(self.place);
        }
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.outbox.pull(cx)
    }

    fn is_due(&self) -> bool {
        self.outbox.is_due()
    }

    fn is_resting(&self) -> bool {
        let Some(group) = &self.group else { return false };
        if self.outbox.is_due() {
            return false;
        }
        let (shared, rung) = (&group.shared, &self.rung);
        if !rung.is_copy() && (rung.has_given_up() || shared.has_given_up()) {
            return true;
        }
        shared.rests() && (rung.is_copy() || rung.queue.is_idle())
    }

    fn encoding(&self) -> Option<EncodingStats> {
        let stats = self.rung.encoding()?;
        Some(since(stats, &self.before, &self.missed))
    }

    fn bytes_held(&self) -> usize {
        self.outbox.bytes() + self.rung.queue.waiting().1
    }

    fn stop(&mut self) {
        self.leave();
    }

    fn is_stopped(&mut self) -> bool {
        let Some(ending) = &self.ending else { return false };
        let has_ended = |thread: &mut sys::Worker| thread.is_stopped();
        let rung = !ending.is_last_of_rung || self.rung.thread.lock().as_mut().is_none_or(has_ended);
        let group = ending.group.as_ref().is_none_or(|group| {
            let mut threads = group.threads.lock();
            threads.retain_mut(|thread| !has_ended(thread));
            threads.is_empty()
        });
        rung && group
    }
}
