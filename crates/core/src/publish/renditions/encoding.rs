//! One rendition: its encoder, on a thread of its own.
//!
//! In: pictures of its size, and the sound that all renditions share ([`Queue`]). Out: tags to the streams that show it ([`Fan`]). What fails
//! here is told to these streams; no other rendition hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowcast_av::{Packet, TimeBase};
use flowcast_rtmp::flv::tag::Tag;
use parking_lot::Mutex;

use super::PlanPictures;
use super::queue::{Begun, Item, Queue, Size};
use crate::clock::interleave::Interleaver;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::Finish;
use crate::publish::encoder::{Inbox, Times, is_final};
use crate::publish::fan::{Fan, Member};
use crate::publish::share::Costs;
use crate::stats::{DropReason, EncodingStats};
use crate::sys::{self, CodecHost, Leave, yield_to_others};
use crate::tracks::{Carriage, Selection, Tagger};
use crate::transcode::{Control, Encoders, RenditionEncoder, VideoPlan};

/// After a failure, it is tried again after this many milliseconds of media.
const TRY_AGAIN: i64 = 10_000;

/// One rendition, to whoever has to do with it.
#[derive(Debug)]
pub(super) struct Rung {
    pub(super) queue: Queue,
    /// Streams that have come and are not served yet.
    coming: Mutex<Vec<Member>>,
    /// How its pictures are encoded; `None` if they are copied.
    plan: Option<PlanPictures>,
    pub(super) control: Control,
    /// What waits for the decoder of all of them.
    source: Arc<Inbox>,
    /// Of its encoder.
    pub(super) costs: Costs,
    /// Nothing comes of it now.
    has_given_up: AtomicBool,
    /// The part it was told of last, and the size of its pictures there, if there are any.
    told: Mutex<Option<(u64, Option<Size>)>>,
    pub(super) thread: Mutex<Option<sys::Worker>>,
}

impl Rung {
    pub(super) fn new(plan: Option<PlanPictures>, control: Control, source: Arc<Inbox>) -> Self {
        let costs = Costs::default();
        control.meter.counts_for(costs.meter());
        Self {
            queue: Queue::default(),
            coming: Mutex::default(),
            plan,
            control,
            source,
            costs,
            has_given_up: AtomicBool::new(false),
            told: Mutex::default(),
            thread: Mutex::default(),
        }
    }

    /// Whether its pictures are those of the source.
    pub(super) fn is_copy(&self) -> bool {
        self.plan.is_none()
    }

    /// A stream comes.
    pub(super) fn come(&self, member: Member) {
        self.coming.lock().push(member);
    }

    /// The streams that have come since the last time.
    pub(super) fn take_coming(&self) -> Vec<Member> {
        std::mem::take(&mut self.coming.lock())
    }

    /// The size it wants pictures of this part in, if it wants any. It is told of each part once.
    pub(super) fn wants(&self, begun: &Arc<Begun>) -> Option<Size> {
        let plan = self.plan.as_ref().filter(|_| !self.queue.is_closed())?;
        let mut told = self.told.lock();
        if let Some((number, size)) = *told
            && number == begun.number
        {
            return size;
        }
        let size = match plan.of(&begun.track) {
            Ok(plan) => {
                let size = (plan.width, plan.height);
                self.queue.put(Item::Begin(begun.clone(), Box::new(plan)));
                Some(size)
            }
            Err(error) => {
                self.queue.put(Item::Unfit(error));
                None
            }
        };
        *told = Some((begun.number, size));
        size
    }

    /// Whether it was told of this part, so that it takes the sound of it.
    pub(super) fn hears(&self, begun: &Begun) -> bool {
        matches!(*self.told.lock(), Some((number, Some(_))) if number == begun.number)
    }

    /// Whether nothing comes of it, and nothing will before something else is published.
    pub(super) fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// What it encodes. What the decoder had no time for is missing in each rendition.
    pub(super) fn encoding(&self) -> Option<EncodingStats> {
        let stats = self.control.meter.stats()?;
        let (queued, bytes) = self.queue.waiting();
        let not_decoded = self.source.drops();
        let drops = self.control.meter.drops(not_decoded);
        Some(EncodingStats {
            queued: queued as u64,
            queued_bytes: bytes as u64,
            dropped: self.queue.dropped() + not_decoded.iter().map(|(_, count)| count).sum::<u64>(),
            drops: drops.and(DropReason::Behind, self.queue.dropped()),
            wait: self.source.waits(),
            ..stats
        })
    }
}

/// The end that encodes.
pub(super) struct Encoding {
    pub(super) rung: Arc<Rung>,
    pub(super) encoders: Arc<dyn Encoders>,
    pub(super) carriage: Carriage,
    fan: Fan,
    times: Times,
    work: Option<Work>,
    /// The part, to try again.
    part: Option<(Arc<Begun>, Box<VideoPlan>)>,
    /// When that is, in ticks of the part.
    again: Option<i64>,
    fault: Option<Error>,
    told_drops: u64,
}

/// What is at work on a part.
struct Work {
    encoder: RenditionEncoder,
    tagger: Tagger,
    order: Interleaver,
}

impl Work {
    fn open(
        (begun, plan): (&Begun, &VideoPlan),
        encoders: &Arc<dyn Encoders>,
        carriage: Carriage,
        control: &Control,
        notices: &mut Vec<EventKind>,
    ) -> Result<Self, Error> {
        let mut track = begun.track.clone();
        if let Some(video) = &mut track.video {
            (video.width, video.height) = (plan.width, plan.height);
        }
        let encoder = RenditionEncoder::open(&track, plan, encoders, control, notices)?;
        let mut media = begun.media.clone();
        media.tracks = std::iter::once(encoder.output().clone()).chain(begun.sound.clone()).collect();
        let selection = Selection::of(&media, carriage);
        let order = Interleaver::live(selection.video.is_some(), selection.audio.is_some());
        Ok(Self { encoder, tagger: Tagger::new(selection), order })
    }
}

impl Encoding {
    pub(super) fn new(rung: Arc<Rung>, encoders: Arc<dyn Encoders>, carriage: Carriage) -> Self {
        let (fan, times) = (Fan::default(), Times::default());
        Self {
            rung,
            encoders,
            carriage,
            fan,
            times,
            work: None,
            part: None,
            again: None,
            fault: None,
            told_drops: 0,
        }
    }

    pub(super) fn run(mut self) {
        let cpu = self.rung.costs.meter().clone();
        let _host = CodecHost::enter(&cpu);
        yield_to_others(Leave::Some);
        let mut lap = sys::CpuLap::default();
        while let Some(item) = self.rung.queue.recv() {
            self.fan.admit(self.rung.take_coming());
            match item {
                Item::Begin(begun, plan) => {
                    self.part = Some((begun, plan));
                    self.begin();
                }
                Item::Unfit(error) => {
                    (self.part, self.work) = (None, None);
                    self.fail(error);
                }
                Item::Picture(picture, origin) => {
                    let at = picture.pts().unwrap_or(origin);
                    if self.work.is_none() && self.again.is_some_and(|again| at >= again) {
                        self.begin();
                    }
                    self.encode(at, |work, packets, notices| {
                        work.encoder.take(picture, origin, packets, notices)
                    });
                    self.note_drops();
                }
                Item::Sound(packet) => self.hand_over(vec![packet]),
                Item::End(all_end) => {
                    self.encode(0, |work, packets, notices| work.encoder.finish(all_end, packets, notices));
                    if let Some(mut work) = self.work.take() {
                        let rest: Vec<Tag> = std::iter::from_fn(|| work.order.flush()).collect();
                        self.fan.give(&rest);
                    }
                    (self.part, self.again) = (None, None);
                }
                Item::Notice(notice) => self.fan.notify(&notice),
                Item::Finish(finish) => {
                    self.fan.admit(self.rung.take_coming());
                    self.finish(finish);
                    break;
                }
            }
            cpu.lap(&mut lap);
        }
        self.rung.queue.close();
        cpu.lap(&mut lap);
    }

    /// Opens an encoder for the part.
    fn begin(&mut self) {
        (self.work, self.again) = (None, None);
        let Some((begun, plan)) = &self.part else { return };
        let mut notices = Vec::new();
        let control = &self.rung.control;
        let opened = Work::open((begun, plan), &self.encoders, self.carriage, control, &mut notices);
        notices.iter().for_each(|notice| self.fan.notify(notice));
        match opened {
            Ok(work) => {
                self.fan.begin(work.tagger.headers());
                self.rung.has_given_up.store(false, Ordering::Relaxed);
                self.work = Some(work);
            }
            Err(error) if !self.fan.has_begun() && is_final(&error) => {
                // There is no such encoder, whatever is published.
                self.finish(Finish::Failed(error));
                self.rung.queue.close();
            }
            Err(error) => self.fail(error),
        }
    }

    /// Nothing comes of the part, or of what is left of it.
    fn fail(&mut self, error: Error) {
        self.rung.has_given_up.store(true, Ordering::Relaxed);
        self.fan.notify(&EventKind::SourceFault { error: error.clone() });
        self.fault = Some(error);
    }

    fn encode(
        &mut self,
        at: i64,
        encode: impl FnOnce(&mut Work, &mut Vec<Packet>, &mut Vec<EventKind>) -> Result<(), Error>,
    ) {
        let Some(work) = &mut self.work else {
            // Until it is known when it failed.
            if self.part.is_some() && self.again.is_none() {
                self.again = self.later(at);
            }
            return;
        };
        let (mut packets, mut notices) = (Vec::new(), Vec::new());
        let result = encode(work, &mut packets, &mut notices);
        self.hand_over(packets);
        notices.iter().for_each(|notice| self.fan.notify(notice));
        if let Err(error) = result {
            self.work = None;
            self.again = self.later(at);
            self.fail(error);
        }
    }

    fn later(&self, at: i64) -> Option<i64> {
        let (begun, _) = self.part.as_ref()?;
        Some(at.saturating_add(TimeBase::MILLIS.rescale(TRY_AGAIN, begun.track.time_base)))
    }

    fn hand_over(&mut self, packets: Vec<Packet>) {
        let Some(work) = &mut self.work else { return };
        for packet in packets {
            for tag in self.times.tags(&work.tagger, packet) {
                work.order.push(tag, 0);
            }
        }
        let tags: Vec<Tag> = std::iter::from_fn(|| work.order.pull()).collect();
        self.fan.give(&tags);
    }

    fn note_drops(&mut self) {
        let drops = self.rung.queue.dropped();
        if drops > self.told_drops {
            self.rung.control.meter.left_out(drops - self.told_drops);
            self.told_drops = drops;
        }
    }

    fn finish(&mut self, finish: Finish) {
        let finish = match (finish, self.fault.take()) {
            (Finish::Ended, Some(fault)) if !self.fan.has_begun() => Finish::Failed(fault),
            (finish, _) => finish,
        };
        self.fan.finish(&finish);
    }
}
