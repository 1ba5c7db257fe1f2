//! One driver for all streams that ask for the same.
//!
//! In: a driver, served on a thread of its own. Out: for each stream a driver that hands over the same tags, from a keyframe on: what is encoded is encoded once.
//! It begins with the first of the streams and lives as long as one of them does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::encoder::{Outbox, Reader, writing};
use super::fan::{Fan, Member, Missed};
use super::seat::Seat;
use super::share::{Costs, since};
use crate::adapt::{Dial, Sharing};
use crate::config::QueueBounds;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::lap::Finish;
use crate::stats::EncodingStats;
use crate::stream::{Mailbox, Reading};
use crate::sys::{self, CpuLap, CpuMeter};

/// Stack of the thread.
const STACK: usize = 1 << 20;
/// How old figures may be.
const FIGURES: Duration = Duration::from_millis(100);

/// What a driver for several streams is started with.
pub(crate) struct JointOptions {
    /// What it plays, for messages and the thread's name.
    pub(crate) name: String,
    /// How often the driver has its turn, whatever comes.
    pub(crate) tick: Duration,
}

/// What it is opened with.
pub(crate) struct OpenWith<'a> {
    /// Where its messages and wakes go.
    pub(crate) mailbox: &'a Mailbox,
    /// What counts what it costs.
    pub(crate) cost: &'a CpuMeter,
    /// What says the bit rate of its encoder.
    pub(crate) dial: &'a Dial,
}

/// A stream that comes.
pub(crate) struct Joining {
    pub(crate) dial: Dial,
    /// Whose CPU time a part of it is.
    pub(crate) cpu: CpuMeter,
    /// What is woken when there is something for the stream's thread, and the bounds of what waits for it.
    pub(crate) reader: Mailbox,
    pub(crate) bounds: QueueBounds,
    /// That the stream is made from what is published.
    pub(crate) reading: Reading,
}

/// A driver for several streams.
#[derive(Debug)]
pub(crate) struct Joint {
    shared: Arc<Shared>,
    dial: Dial,
    thread: Mutex<Option<sys::Worker>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
    resting: AtomicBool,
    held: AtomicUsize,
    costs: Costs,
    encoding: Mutex<Option<EncodingStats>>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are not served yet.
    coming: Vec<Coming>,
    /// Media time of one of them has begun.
    begun: bool,
    stopped: bool,
    over: bool,
}

/// A stream that is not served yet, and the figures when it is.
#[derive(Debug)]
struct Coming {
    member: Member,
    before: Arc<OnceLock<EncodingStats>>,
}

impl Drop for Joint {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Joint {
    /// Opens the driver with `open`, on this thread, and starts its own.
    ///
    /// # Errors
    ///
    /// What `open` says; there is no thread.
    pub(crate) fn start(
        options: JointOptions,
        open: impl FnOnce(&OpenWith<'_>) -> Result<Box<dyn SourceDriver>, Error>,
    ) -> Result<Self, Error> {
        let JointOptions { name, tick } = options;
        let (costs, dial) = (Costs::default(), Dial::default());
        let seat = Seat::take(|mailbox| open(&OpenWith { mailbox, cost: costs.meter(), dial: &dial }))?;
        let thread_name = format!("fr-{name}");
        let shared = Arc::new(Shared {
            name,
            state: Mutex::default(),
            changed: Condvar::new(),
            resting: AtomicBool::new(seat.driver.is_resting()),
            held: AtomicUsize::new(0),
            costs,
            encoding: Mutex::default(),
        });
        let feed = Feed { shared: shared.clone(), seat, fan: Fan::default(), tick };
        let thread =
            sys::Worker::start("a source of several streams", thread_name, STACK, move || feed.run())
                .map_err(|source| Error::System { what: "no thread for a source", source: source.into() })?;
        Ok(Self { shared, dial, thread: Mutex::new(Some(thread)) })
    }

    /// Whether the driver is over: no stream can come any more.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.state.lock().is_over()
    }

    /// A stream comes; `None` if the driver is over.
    pub(crate) fn join(self: &Arc<Self>, joining: Joining) -> Option<JointDriver> {
        let Joining { dial, cpu, reader, bounds, reading } = joining;
        // The thread that writes is metered by itself.
        let (writer, outbox) = writing(bounds, Reader::at_once(reader), CpuMeter::default());
        let (missed, before) = (Missed::default(), Arc::new(OnceLock::new()));
        {
            let mut state = self.shared.state.lock();
            if state.is_over() {
                return None;
            }
            let member = Member::new(writer, missed.clone());
            state.coming.push(Coming { member, before: before.clone() });
        }
        let sharing = Some(self.dial.serve(&dial));
        let shared = self.shared.clone();
        shared.costs.come(&cpu);
        Some(JointDriver {
            joint: Some(self.clone()),
            ending: None,
            shared,
            outbox,
            missed,
            before,
            cpu,
            sharing,
            _reading: reading,
        })
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.stopped || self.over
    }
}

impl Shared {
    fn begin(&self) {
        self.state.lock().begun = true;
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits until media time begins; `false` if the driver is not needed any more.
    ///
    /// # Blocking
    ///
    /// Until then.
    fn wait_until_begun(&self) -> bool {
        let mut state = self.state.lock();
        while !state.begun && !state.stopped {
            self.changed.wait(&mut state);
        }
        !state.stopped
    }

    fn take_coming(&self) -> Vec<Coming> {
        std::mem::take(&mut self.state.lock().coming)
    }

    /// No stream can come any more; those that came last.
    fn close(&self) -> Vec<Coming> {
        let mut state = self.state.lock();
        state.over = true;
        std::mem::take(&mut state.coming)
    }
}

/// Serves the driver.
struct Feed {
    shared: Arc<Shared>,
    seat: Seat,
    fan: Fan,
    tick: Duration,
}

impl Feed {
    fn run(mut self) {
        let mut lap = CpuLap::default();
        let finish = match self.shared.wait_until_begun() {
            true => {
                self.seat.start();
                self.serve(&mut lap)
            }
            false => Finish::Ended,
        };
        self.note_figures(&mut lap);
        let last = self.shared.close();
        self.admit(last);
        self.fan.finish(&finish);
        self.seat.leave();
    }

    /// Until it is over.
    fn serve(&mut self, lap: &mut CpuLap) -> Finish {
        let mut noted: Option<Instant> = None;
        while !self.shared.state.lock().stopped {
            let state = match self.seat.turn(self.tick) {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(error) => return Finish::Failed(error),
            };
            let coming = self.shared.take_coming();
            self.admit(coming);
            self.fan.give(&self.seat.tags);
            self.seat.tags.clear();
            // Behind the tags: what came before the end is shown.
            for notice in self.seat.notices.drain(..) {
                self.fan.notify(&notice);
            }
            self.shared.resting.store(self.seat.driver.is_resting(), Ordering::Relaxed);
            if noted.is_none_or(|noted| noted.elapsed() >= FIGURES) {
                self.note_figures(lap);
                noted = Some(Instant::now());
            }
            match state {
                SourceState::Running | SourceState::More => {}
                SourceState::Ended => return Finish::Ended,
                SourceState::Failed(error) => return Finish::Failed(error),
            }
        }
        Finish::Ended
    }

    fn admit(&mut self, coming: Vec<Coming>) {
        for Coming { member, before } in coming {
            let _ = before.set(self.seat.driver.encoding().unwrap_or_default());
            self.fan.admit(vec![member]);
        }
    }

    fn note_figures(&self, lap: &mut CpuLap) {
        self.shared.costs.meter().lap(lap);
        self.shared.costs.settle();
        *self.shared.encoding.lock() = self.seat.driver.encoding();
        self.shared.held.store(self.seat.driver.bytes_held(), Ordering::Relaxed);
    }
}

/// The source of one of the streams.
#[derive(Debug)]
pub(crate) struct JointDriver {
    /// `None` once it has left.
    joint: Option<Arc<Joint>>,
    /// What ends because this was the last one.
    ending: Option<Joint>,
    shared: Arc<Shared>,
    outbox: Outbox,
    missed: Missed,
    /// The figures when it was first served.
    before: Arc<OnceLock<EncodingStats>>,
    cpu: CpuMeter,
    /// That its bit rate counts.
    sharing: Option<Sharing>,
    /// Held so that the stream is not put where it comes from.
    _reading: Reading,
}

impl JointDriver {
    fn leave(&mut self) {
        let Some(joint) = self.joint.take() else { return };
        self.outbox.close();
        self.sharing = None;
        self.shared.costs.leave(&self.cpu);
        if self.missed.pictures() > 0 {
            log::warn!("{}: a stream missed {} pictures", self.shared.name, self.missed.pictures());
        }
        self.ending = Arc::into_inner(joint).inspect(|joint| joint.shared.stop());
    }
}

impl Drop for JointDriver {
    fn drop(&mut self) {
        self.leave();
    }
}

impl SourceDriver for JointDriver {
    fn start(&mut self, _now: Instant) {
        self.shared.begin();
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        self.outbox.pull(cx)
    }

    fn is_due(&self) -> bool {
        self.outbox.is_due()
    }

    fn is_resting(&self) -> bool {
        !self.outbox.is_due() && self.shared.resting.load(Ordering::Relaxed)
    }

    fn encoding(&self) -> Option<EncodingStats> {
        let (stats, before) = (self.shared.encoding.lock().clone()?, self.before.get()?);
        Some(since(stats, before, &self.missed))
    }

    fn bytes_held(&self) -> usize {
        self.outbox.bytes() + self.shared.held.load(Ordering::Relaxed)
    }

    fn stop(&mut self) {
        self.leave();
    }

    fn is_stopped(&mut self) -> bool {
        let Some(joint) = &self.ending else { return true };
        joint.thread.lock().as_mut().is_none_or(sys::Worker::is_stopped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use flowcast_av::Error as Media;
    use flowcast_av::encoder::VideoSettings;
    use flowcast_rtmp::flv::tag::Tag;

    use super::*;
    use crate::bit_rate::BitRate;
    use crate::config::Config;
    use crate::event::EventKind;
    use crate::id::StreamId;
    use crate::publish::encoder::LiveEncoder;
    use crate::publish::encoder::tests::{pull, reader, start_for, usual};
    use crate::stream::Hub;
    use crate::transcode::{EncoderPlan, Encoders, LibavEncoders, Mode, PictureEncoder, VideoCodec};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Encoders that are counted.
    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl Encoders for Counted {
        fn candidates(&self, _: VideoCodec, _: &EncoderPlan) -> Vec<String> {
            vec!["libx264".to_owned()]
        }

        fn open(&self, track: usize, settings: &VideoSettings) -> Result<Box<dyn PictureEncoder>, Media> {
            self.0.fetch_add(1, Ordering::SeqCst);
            LibavEncoders.open(track, settings)
        }

        fn failed(&self, _: &str) {}
    }

    /// What is published as a clip, and again once it may.
    struct Clip {
        parts: VecDeque<Vec<Tag>>,
        encoder: LiveEncoder,
        may_go_on: Arc<AtomicBool>,
    }

    impl SourceDriver for Clip {
        fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
            let may_play = self.parts.len() > 1 || self.may_go_on.load(Ordering::SeqCst);
            if self.parts.len() > 1 {
                cx.notices.push(EventKind::PublicationBegan { name: "clip".to_owned() });
            }
            if may_play && let Some(tags) = self.parts.pop_front() {
                self.encoder.push(cx.now, tags.into_iter());
                if self.parts.is_empty() {
                    self.encoder.finish();
                }
            }
            self.encoder.pull(cx)
        }

        fn is_due(&self) -> bool {
            self.encoder.is_due()
        }

        fn encoding(&self) -> Option<EncodingStats> {
            self.encoder.encoding()
        }

        fn stop(&mut self) {
            self.encoder.stop();
        }

        fn is_stopped(&mut self) -> bool {
            self.encoder.is_stopped()
        }
    }

    struct Stream {
        poll: mio::Poll,
        driver: JointDriver,
        dial: Dial,
        cpu: CpuMeter,
        tags: Vec<Tag>,
        notices: Vec<EventKind>,
        state: SourceState,
    }

    impl Stream {
        fn of(joint: &Arc<Joint>, number: u64) -> Self {
            let (poll, reader) = reader();
            let (dial, cpu) = (Dial::default(), CpuMeter::default());
            let mut driver = joint
                .join(Joining {
                    dial: dial.clone(),
                    cpu: cpu.clone(),
                    reader,
                    bounds: Config::default().read_ahead,
                    reading: Hub::default().read("clip", StreamId(number)),
                })
                .expect("it plays");
            driver.start(Instant::now());
            let (tags, notices, state) = (Vec::new(), Vec::new(), SourceState::Running);
            Self { poll, driver, dial, cpu, tags, notices, state }
        }

        fn take_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
            let until = Instant::now() + PATIENCE;
            while !is_so(self) {
                let Self { poll, driver, tags, notices, .. } = self;
                let state = pull(poll, tags, notices, |cx| driver.pull(cx));
                self.state = state;
                assert!(Instant::now() < until, "not {what}: {:?}, {:?}", self.state, self.notices);
                std::thread::yield_now();
            }
        }

        fn take_all(&mut self) {
            self.take_until("at its end", |stream| matches!(stream.state, SourceState::Ended));
        }

        fn leave(&mut self) {
            self.driver.stop();
            let until = Instant::now() + PATIENCE;
            while !self.driver.is_stopped() {
                assert!(Instant::now() < until, "it does not end");
                std::thread::yield_now();
            }
        }

        fn pictures(&self) -> Vec<&Tag> {
            self.tags.iter().filter(|tag| tag.is_video() && !tag.is_header()).collect()
        }

        fn is_told(&self) -> bool {
            self.notices.iter().any(|notice| matches!(notice, EventKind::PublicationBegan { .. }))
        }
    }

    #[test]
    fn streams_that_ask_for_the_same_have_one_encoder_and_one_that_leaves_takes_nothing_from_the_others() {
        let (encoders, may_go_on) = (Arc::new(Counted::default()), Arc::new(AtomicBool::new(false)));
        let (opened_by, go_on) = (encoders.clone(), may_go_on.clone());
        let options = JointOptions { name: "clip".to_owned(), tick: Duration::from_millis(5) };
        let open = move |with: &OpenWith<'_>| -> Result<Box<dyn SourceDriver>, Error> {
            let encoder = start_for(with.cost.clone(), opened_by, with.mailbox.clone(), Mode::Encode, None);
            Ok(Box::new(Clip { parts: [usual(0), usual(2000)].into(), encoder, may_go_on: go_on }))
        };
        let joint = Arc::new(Joint::start(options, open).expect("there are threads"));
        let dial = joint.dial.clone();
        let at_work = dial.begin(2500, None);
        let [mut one, mut other] = [1, 2].map(|number| Stream::of(&joint, number));
        let is_shown = |stream: &Stream| stream.pictures().len() >= 10 && stream.is_told();
        one.take_until("shown", is_shown);
        other.take_until("shown", is_shown);
        one.dial.ask(BitRate::from_kbps(300)).expect("it is encoded");
        assert_eq!(dial.target(2500), 300, "the least of what they ask for");
        one.leave();
        assert_eq!((one.dial.now(), dial.target(2500)), (None, 2500));
        // One that comes later begins with a keyframe, and is told what is published.
        let mut late = Stream::of(&joint, 3);
        late.take_until("told", Stream::is_told);
        may_go_on.store(true, Ordering::SeqCst);
        other.take_all();
        late.take_all();
        assert_eq!(other.pictures().len(), 100);
        assert!(other.driver.encoding().is_some_and(|stats| stats.frames == 100));
        assert!(
            late.driver.encoding().is_some_and(|stats| (50..100).contains(&stats.frames)),
            "since it came"
        );
        let (all, later) = (other.pictures(), late.pictures());
        assert!(
            later.first().is_some_and(|tag| tag.is_keyframe())
                && late.tags.iter().any(Tag::is_sequence_header)
        );
        assert!(later.len() < all.len() && all.ends_with(&later), "the same");
        assert_eq!(encoders.0.load(Ordering::SeqCst), 1);
        assert!(joint.is_over());
        drop((joint, at_work));
        other.leave();
        late.leave();
        // It was encoded once, and is paid for once.
        let paid = [one, other, late].map(|stream| stream.cpu.encoded().0);
        assert_eq!(paid.iter().sum::<u64>(), 100, "{paid:?}");
        assert!(paid[1] > paid[2] && paid[2] > 0, "{paid:?}");
    }
}
