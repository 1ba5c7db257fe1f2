//! What the threads of a group of renditions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_av::Packet;
use parking_lot::{Condvar, Mutex};

use super::encoding::Rung;
use super::queue::{Begun, Item, Size};
use crate::event::EventKind;
use crate::lap::Finish;
use crate::publish::encoder::Inbox;
use crate::publish::fan::Member;
use crate::publish::share::Costs;
use crate::transcode::Control;

/// An encoder, and the size it wants pictures in.
pub(super) type Wanting = (Arc<Rung>, Size);

/// How long the first stream waits for the others.
const TOGETHER: Duration = Duration::from_secs(2);

/// One group.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) inbox: Arc<Inbox>,
    /// Of what decodes.
    pub(super) control: Control,
    /// Of the source and what decodes it.
    pub(super) costs: Costs,
    state: Mutex<State>,
    changed: Condvar,
    resting: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    places: Vec<Place>,
    /// When the media time of the first stream began.
    since: Option<Instant>,
    /// What is published now, to tell encoders that come later.
    published: Option<EventKind>,
    /// The part that is decoded, and where it ends.
    part: Option<Arc<Begun>>,
    ends: Option<i64>,
    stopped: bool,
    /// How the source ended.
    ended: Option<Finish>,
    /// All is over.
    over: bool,
}

impl State {
    fn is_over(&self) -> bool {
        self.over || self.ended.is_some() || self.stopped
    }

    /// Whether the source is not to wait any longer.
    fn has_begun(&self) -> bool {
        let is_late = |since: Instant| since.elapsed() >= TOGETHER;
        self.since.is_some_and(is_late) || self.places.iter().all(|place| place.begun)
    }
}

/// The place of one rendition.
#[derive(Debug, Default)]
struct Place {
    /// Streams that show it.
    streams: usize,
    /// Media time of one of them has begun.
    begun: bool,
    rung: Option<Arc<Rung>>,
}

impl Shared {
    /// `resting`: the source has nothing to send yet.
    pub(super) fn new(name: String, renditions: usize, control: Control, resting: bool) -> Self {
        let places = (0..renditions).map(|_| Place::default()).collect();
        Self {
            name,
            inbox: Arc::new(Inbox::default()),
            control,
            costs: Costs::default(),
            state: Mutex::new(State { places, ..State::default() }),
            changed: Condvar::new(),
            resting: AtomicBool::new(resting),
        }
    }

    /// A stream comes to rendition number `place`, whose encoder `make` starts if there is none. `None` if all is over.
    ///
    /// # Errors
    ///
    /// What `make` says.
    pub(super) fn join<E>(
        &self,
        place: usize,
        make: impl FnOnce() -> Result<Arc<Rung>, E>,
    ) -> Result<Option<Arc<Rung>>, E> {
        let mut state = self.state.lock();
        if state.is_over() {
            return Ok(None);
        }
        let Some(known) = state.places.get_mut(place) else { return Ok(None) };
        let rung = match known.rung.take().filter(|rung| !rung.queue.is_closed()) {
            Some(rung) => rung,
            None => {
                let rung = make()?;
                if let Some(published) = state.published.clone().filter(|_| !rung.is_copy()) {
                    rung.queue.put(Item::Notice(published));
                }
                rung
            }
        };
        if let Some(place) = state.places.get_mut(place) {
            place.streams += 1;
            place.rung = Some(rung.clone());
        }
        Ok(Some(rung))
    }

    /// A stream leaves it; whether it was the last one there.
    pub(super) fn leave(&self, place: usize, rung: &Arc<Rung>) -> bool {
        let mut state = self.state.lock();
        let Some(place) = state.places.get_mut(place) else { return false };
        place.streams = place.streams.saturating_sub(1);
        let is_last = place.streams == 0;
        if is_last {
            place.rung = None;
            rung.queue.close();
        }
        drop(state);
        self.changed.notify_all();
        is_last
    }

    /// Media time of a stream of that rendition begins.
    pub(super) fn begins(&self, place: usize) {
        let mut state = self.state.lock();
        state.since.get_or_insert_with(Instant::now);
        if let Some(place) = state.places.get_mut(place) {
            place.begun = true;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the source plays.
    pub(super) fn has_begun(&self) -> bool {
        self.state.lock().has_begun()
    }

    /// Whether no stream can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().is_over()
    }

    /// Waits until the source is to begin; `false` if it is not needed any more.
    ///
    /// # Blocking
    ///
    /// Until media time of all streams has begun, or that of one for two seconds.
    pub(super) fn wait_until_begun(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return false;
            }
            if state.has_begun() {
                return true;
            }
            match state.since {
                None => self.changed.wait(&mut state),
                Some(since) => {
                    self.changed.wait_for(&mut state, TOGETHER.saturating_sub(since.elapsed()));
                }
            }
        }
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
        self.control.stop();
        self.inbox.finish(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    fn rungs(&self) -> Vec<Arc<Rung>> {
        self.state.lock().places.iter().filter_map(|place| place.rung.clone()).collect()
    }

    /// What was spent since the last time is the streams'.
    pub(super) fn settle(&self) {
        self.costs.settle();
        self.rungs().iter().for_each(|rung| rung.costs.settle());
    }

    /// The streams that have come to what is copied.
    pub(super) fn come_to_copies(&self) -> Vec<Member> {
        let copies = self.rungs().into_iter().filter(|rung| rung.is_copy());
        copies.flat_map(|rung| rung.take_coming()).collect()
    }

    /// Tells the streams of all renditions that are encoded.
    pub(super) fn notify(&self, notice: &EventKind) {
        match notice {
            EventKind::PublicationBegan { .. } => self.state.lock().published = Some(notice.clone()),
            EventKind::PublicationEnded { .. } => self.state.lock().published = None,
            _ => {}
        }
        for rung in self.rungs().iter().filter(|rung| !rung.is_copy()) {
            rung.queue.put(Item::Notice(notice.clone()));
        }
    }

    /// A part begins.
    pub(super) fn begin(&self, begun: Begun) {
        let mut state = self.state.lock();
        (state.part, state.ends) = (Some(Arc::new(begun)), None);
        drop(state);
        let _ = self.wanting();
    }

    /// The part, and the encoders that want pictures of it, with the size they want them in.
    pub(super) fn wanting(&self) -> Option<(Arc<Begun>, Vec<Wanting>)> {
        let part = self.state.lock().part.clone()?;
        let rungs = self.rungs().into_iter();
        let wanting = rungs.filter_map(|rung| rung.wants(&part).map(|size| (rung, size))).collect();
        Some((part, wanting))
    }

    /// A packet of sound, for all of them.
    pub(super) fn sound(&self, packet: &Packet) {
        let Some(part) = self.state.lock().part.clone() else { return };
        for rung in self.rungs().iter().filter(|rung| rung.hears(&part)) {
            rung.queue.put(Item::Sound(packet.clone()));
        }
    }

    /// All tracks of the part end there, in milliseconds.
    pub(super) fn ends_at(&self, all_end: Option<i64>) {
        self.state.lock().ends = all_end;
    }

    /// The part is over.
    pub(super) fn end(&self) {
        let (part, ends) = {
            let mut state = self.state.lock();
            (state.part.take(), state.ends.take())
        };
        let Some(part) = part else { return };
        for rung in self.rungs().iter().filter(|rung| rung.hears(&part)) {
            rung.queue.put(Item::End(ends));
        }
    }

    /// The source is over; what was read of it is still decoded.
    pub(super) fn source_ended(&self, how: Finish) {
        self.state.lock().ended = Some(how);
        self.inbox.finish(false);
    }

    /// Nothing more is decoded.
    pub(super) fn finish(&self, how: Finish) {
        let mut state = self.state.lock();
        state.over = true;
        let finish = match &state.ended {
            Some(Finish::Failed(error)) => Finish::Failed(error.clone()),
            _ => how,
        };
        let rungs: Vec<_> = state.places.iter().filter_map(|place| place.rung.clone()).collect();
        drop(state);
        for rung in rungs.iter().filter(|rung| !rung.is_copy()) {
            rung.queue.put(Item::Finish(finish.clone()));
        }
    }

    /// Says whether the source has nothing to send.
    pub(super) fn is_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// Whether the source has nothing to send, and all that it sent was decoded.
    pub(super) fn rests(&self) -> bool {
        self.resting.load(Ordering::Relaxed) && self.inbox.is_idle()
    }

    /// Whether nothing can be decoded of what is sent now.
    pub(super) fn has_given_up(&self) -> bool {
        self.inbox.has_given_up()
    }
}
