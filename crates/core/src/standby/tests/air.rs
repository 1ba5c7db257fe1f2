//! A guarded source whose parts do what a test says: the source itself, what is opened in its place, and its fallback.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::content::ContentWatch;
use crate::standby::{Guard, Guarding, Opened, Parameters, Reopen, Times, Watchdog};
use crate::sys::Cancel;

pub(super) const AFTER: Duration = Duration::from_secs(2);
pub(super) const TIMES: Times =
    Times { after: AFTER, steady: Duration::from_secs(1), at_least: Duration::from_secs(2) };
/// A turn, milliseconds.
pub(super) const TICK: u64 = 40;

/// A clip at 25 pictures a second, with sound, on a clock of its own that runs while it is on.
pub(super) struct Clip {
    pub(super) headers: [Tag; 2],
    /// Pictures from one keyframe to the next.
    pub(super) gop: i64,
    pub(super) state: Arc<State>,
    pub(super) started: Option<Instant>,
    pub(super) next: i64,
    pub(super) said: bool,
}

#[derive(Default)]
pub(super) struct State {
    /// It gives nothing.
    pub(super) off: AtomicBool,
    /// It gives no keyframe.
    pub(super) keyless: AtomicBool,
    /// It gives no picture.
    pub(super) sound_alone: AtomicBool,
    /// Somebody else begins to publish.
    pub(super) began: AtomicBool,
    pub(super) fails: AtomicBool,
    pub(super) ends: AtomicBool,
    pub(super) rests: AtomicBool,
    pub(super) stopped: AtomicBool,
    /// What it says once more, if it is something else.
    pub(super) headers: Mutex<Option<[Tag; 2]>>,
}

pub(super) fn set(switch: &AtomicBool, on: bool) {
    switch.store(on, Ordering::SeqCst);
}

pub(super) fn clip(headers: [Tag; 2], gop: i64) -> (Box<dyn SourceDriver>, Arc<State>) {
    let state = Arc::new(State::default());
    let clip = Clip { headers, gop, state: state.clone(), started: None, next: 0, said: false };
    (Box::new(clip), state)
}

impl SourceDriver for Clip {
    fn start(&mut self, now: Instant) {
        self.started = Some(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(started) = self.started else { return SourceState::Running };
        if self.state.fails.swap(false, Ordering::SeqCst) {
            return SourceState::Failed(broken());
        }
        if self.state.ends.load(Ordering::SeqCst) {
            return SourceState::Ended;
        }
        let due = (cx.now - started).as_millis() as i64 / 40;
        let is_off = self.state.off.load(Ordering::SeqCst);
        if self.state.began.swap(false, Ordering::SeqCst) {
            cx.notices.push(EventKind::PublicationBegan { name: "studio".to_owned() });
        }
        let sound_alone = self.state.sound_alone.load(Ordering::SeqCst);
        if !is_off {
            let other = self.state.headers.lock().take();
            self.said &= other.is_none();
            self.headers = other.unwrap_or_else(|| self.headers.clone());
            if !std::mem::replace(&mut self.said, true) {
                let said = self.headers.iter().filter(|header| header.is_audio() || !sound_alone);
                cx.tags.extend(said.cloned());
            }
        }
        while self.next <= due {
            let (number, time) = (self.next, self.next * 40);
            self.next += 1;
            if is_off {
                continue;
            }
            let is_key = number % self.gop == 0 && !self.state.keyless.load(Ordering::SeqCst);
            if !sound_alone {
                cx.tags.push(if is_key { key(time) } else { picture(time) });
            }
            cx.tags.push(sound(time + 7));
        }
        SourceState::Running
    }

    fn is_resting(&self) -> bool {
        self.state.rests.load(Ordering::SeqCst)
    }

    /// Shows in the figures of the guard that it is ready.
    fn bytes_held(&self) -> usize {
        usize::from(self.started.is_none())
    }

    fn stop(&mut self) {
        set(&self.state.stopped, true);
    }
}

/// Opens clips.
pub(super) struct Opens {
    pub(super) headers: Mutex<[Tag; 2]>,
    pub(super) fails: AtomicBool,
    pub(super) panics: AtomicBool,
    /// What is opened rests.
    pub(super) rests: AtomicBool,
    pub(super) count: AtomicUsize,
    pub(super) beside: Mutex<Option<Parameters>>,
    pub(super) last: Mutex<Option<Arc<State>>>,
}

impl Opens {
    pub(super) fn new(headers: [Tag; 2]) -> Arc<Self> {
        Arc::new(Self {
            headers: Mutex::new(headers),
            fails: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            rests: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            beside: Mutex::default(),
            last: Mutex::default(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn last(&self) -> Arc<State> {
        self.last.lock().clone().expect("one was opened")
    }
}

impl Reopen for Opens {
    fn open(&self, beside: Option<Parameters>, _: &Arc<Cancel>) -> Result<Opened, Error> {
        *self.beside.lock() = beside;
        let (driver, state) = clip(self.headers.lock().clone(), 25);
        let rests = self.rests.load(Ordering::SeqCst);
        set(&state.rests, rests);
        set(&state.off, rests);
        *self.last.lock() = Some(state);
        let fails = self.fails.load(Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "the test says so");
        if fails { Err(broken()) } else { Ok(Opened { driver, fitted: true }) }
    }
}

/// A guarded source on the air.
pub(super) struct Air {
    pub(super) rig: Rig,
    pub(super) source: Arc<State>,
    pub(super) again: Arc<Opens>,
    pub(super) slate: Arc<Opens>,
}

impl Air {
    pub(super) fn new(watchdog: Watchdog, has_fallback: bool, slate: [Tag; 2]) -> Self {
        Self::looked_at(watchdog, has_fallback, slate, None)
    }

    pub(super) fn looked_at(
        watchdog: Watchdog,
        has_fallback: bool,
        slate: [Tag; 2],
        content: Option<ContentWatch>,
    ) -> Self {
        let (source, state) = clip(headers(H1, A1), 25);
        let (again, slate) = (Opens::new(headers(H1, A1)), Opens::new(slate));
        let fallback = has_fallback.then(|| (slate.clone() as Arc<dyn Reopen>, TIMES));
        let name = "s1".to_owned();
        let guard = Guard::new(Guarding { name, source, again: again.clone(), watchdog, content, fallback });
        Self { rig: Rig::new(Box::new(guard)), source: state, again, slate }
    }

    pub(super) fn with_fallback() -> Self {
        Self::new(Watchdog::default(), true, headers(H2, A1_LONG))
    }

    /// This much time passes.
    #[track_caller]
    pub(super) fn pass(&mut self, millis: u64) {
        for _ in 0..millis / TICK {
            let (_, state) = self.rig.turn(TICK);
            assert!(matches!(state, SourceState::Running), "{state:?}");
        }
    }

    /// Waits, without any time passing on the stream's clock, until something that is opened beside it is there.
    #[track_caller]
    pub(super) fn opened(&mut self, count: impl Fn(&Self) -> usize, wanted: usize) {
        self.wait(|air| count(air) == wanted);
    }

    #[track_caller]
    pub(super) fn spare(&mut self) {
        self.wait(|air| air.rig.driver.bytes_held() == 1);
    }

    #[track_caller]
    pub(super) fn wait(&mut self, is_there: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is_there(self) {
            assert!(Instant::now() < until, "it does not come");
            std::thread::yield_now();
            self.rig.turn(0);
        }
    }

    /// Time passes until that is so.
    #[track_caller]
    pub(super) fn pass_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(Instant::now() < until, "it does not come");
            std::thread::yield_now();
            self.pass(TICK);
        }
    }

    pub(super) fn on_air(&self) -> bool {
        self.rig.driver.fallback().expect("it has one").on_air
    }

    /// The names of what was reported since this was last asked.
    pub(super) fn told(&mut self) -> Vec<&'static str> {
        self.rig.notices.drain(..).map(|notice| notice.name()).collect()
    }

    /// The longest distance of two pictures.
    pub(super) fn longest(&self) -> i64 {
        let pictures = self.rig.tags.iter().filter(|tag| tag.is_video() && !tag.is_header());
        let times: Vec<_> = pictures.map(|tag| tag.timestamp.as_millis()).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }
}
