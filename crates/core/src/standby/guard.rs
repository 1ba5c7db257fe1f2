//! A source that is watched, and stood in for while it gives nothing.
//!
//! In: the driver of the source, and how it and its fallback are opened. Out: the tags of the source, or of its fallback, as one
//! stream. The source comes back at a keyframe, once it has been steady for a while. Runs on the stream's thread; what blocks is
//! done on another one.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::away::{Away, Back, RETRY, STABLE, longer};
use super::child::{Beginning, Candidate, begins_anew, is_picture};
use super::opener::Reopen;
use super::slate::{Slate, Times};
use super::splice::{OnAir, Place, Splice};
use super::watch::{Reaction, Stall, Watch, Watchdog};
use crate::content::ContentWatch;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::stats::{ContentFault, EncodingStats, FallbackStats, Origin, Playing, Seam, SourceMode};

/// A source that was opened again may give nothing for this long, unless its watchdog says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ticks are closer together than this, unless the stream's thread could not run.
const STOOD_STILL: Duration = Duration::from_millis(1500);

/// A source does not come back within this.
const NOT_YET: Duration = Duration::from_secs(3600);

/// What a guard is made of.
pub(crate) struct Guarding {
    /// What threads are named after.
    pub(crate) name: String,
    pub(crate) source: Box<dyn SourceDriver>,
    /// How the source is opened again.
    pub(crate) again: Arc<dyn Reopen>,
    pub(crate) watchdog: Watchdog,
    /// What looks at its content, if anything does.
    pub(crate) content: Option<ContentWatch>,
    /// How the fallback is opened, and when it stands in.
    pub(crate) fallback: Option<(Arc<dyn Reopen>, Times)>,
}

/// The driver.
pub(crate) struct Guard {
    name: String,
    air: Air,
    /// The source while it is not on the air.
    away: Option<Away>,
    again: Arc<dyn Reopen>,
    watch: Watch,
    content: Option<ContentWatch>,
    /// The watchdog wants the fallback: since when there was no keyframe, or nothing.
    wanted: Option<Duration>,
    slate: Option<Slate>,
    /// The fallback that was on the air last was encoded to the source.
    fitted: bool,
    splice: Splice,
    /// The source, as it is now, has given pictures.
    pictured: bool,
    /// Since when it is on the air, and how long is waited if it fails soon.
    tried: (Instant, Duration),
    /// The last tick.
    ticked: Instant,
    leaving: Vec<Box<dyn SourceDriver>>,
    begun: bool,
}

/// What is on the air.
enum Air {
    Source(Box<dyn SourceDriver>),
    Slate(Box<dyn SourceDriver>),
    Nothing,
}

impl Air {
    fn driver(&self) -> Option<&dyn SourceDriver> {
        match self {
            Self::Source(driver) | Self::Slate(driver) => Some(driver.as_ref()),
            Self::Nothing => None,
        }
    }
}

/// How a turn of what is on the air went.
enum Turn {
    /// All is well.
    Goes,
    /// The fallback is needed: nothing has come for so long.
    Needs(Duration),
    /// The turn is over with this.
    Over(SourceState),
}

impl Guard {
    pub(crate) fn new(parts: Guarding) -> Self {
        let Guarding { name, source, again, watchdog, content, fallback } = parts;
        let now = Instant::now();
        Self {
            name,
            air: Air::Source(source),
            away: None,
            again,
            watch: Watch::new(watchdog, now),
            content,
            wanted: None,
            slate: fallback.map(|(how, times)| Slate::new(how, times)),
            fitted: false,
            splice: Splice::new(now, OnAir::default()),
            pictured: false,
            tried: (now, RETRY[0]),
            ticked: now,
            leaving: Vec::new(),
            begun: false,
        }
    }

    /// Takes what is on the air.
    fn pull_air(&mut self, cx: &mut SourceContext<'_>) -> Turn {
        let (from, refills, told) = (cx.tags.len(), cx.refills.len(), cx.notices.len());
        match &mut self.air {
            Air::Source(source) => {
                let state = source.pull(cx);
                let rests = source.is_resting();
                let (given, said) = (cx.tags.get(from..), cx.notices.get(told..));
                let is_anew = said.unwrap_or_default().iter().any(begins_anew);
                self.pictured = self.pictured && !is_anew || given.unwrap_or_default().iter().any(is_picture);
                if let Some(content) = &mut self.content {
                    content.note(cx.now, given.unwrap_or_default());
                }
                if let Some(after) = self.watch.note(cx.now, given.unwrap_or_default()) {
                    cx.notices.push(EventKind::SourceResumed { after });
                }
                self.splice.pass(cx, from, refills);
                match state {
                    SourceState::Running if self.begun => self.look(cx, rests),
                    SourceState::Failed(error) => self.lose_source(cx, error),
                    state => Turn::Over(state),
                }
            }
            Air::Slate(slate) => {
                let state = slate.pull(cx);
                without_laps(cx.notices, told);
                self.splice.pass(cx, from, refills);
                match state {
                    SourceState::More => return Turn::Over(SourceState::More),
                    SourceState::Running => return Turn::Goes,
                    SourceState::Failed(error) => cx.notices.push(EventKind::SourceFault { error }),
                    SourceState::Ended => {}
                }
                self.leave_air();
                if let Some(slate) = &mut self.slate {
                    slate.breaks(cx.now);
                }
                Turn::Needs(Duration::ZERO)
            }
            Air::Nothing => Turn::Needs(cx.now.saturating_duration_since(self.watch.heard())),
        }
    }

    /// Whether the source on the air gives what it should; `rests` says that it is not expected to give anything.
    fn look(&mut self, cx: &mut SourceContext<'_>, rests: bool) -> Turn {
        if rests {
            self.watch.rests(cx.now);
            let over = self.content.as_mut().map(|content| content.rests(cx.now));
            cx.notices.extend(over.into_iter().flatten());
        } else if cx.tick
            && let Some(stall) = self.watch.check(cx.now)
            && let Some(turn) = self.react(cx, stall)
        {
            return turn;
        }
        if !rests
            && cx.tick
            && let Some(turn) = self.look_at_content(cx)
        {
            return turn;
        }
        let is_alarming = self.content.as_ref().is_some_and(ContentWatch::is_alarming);
        self.wanted.take_if(|_| !self.watch.is_stalled() && !is_alarming);
        let silent = cx.now.saturating_duration_since(self.watch.heard());
        match &self.slate {
            Some(slate) if silent >= slate.times.after => Turn::Needs(silent),
            Some(_) => self.wanted.map_or(Turn::Goes, Turn::Needs),
            None => Turn::Goes,
        }
    }

    /// Does what is to be done about a stall.
    fn react(&mut self, cx: &mut SourceContext<'_>, stall: Stall) -> Option<Turn> {
        let (what, after) = match stall {
            Stall::Packets(after) => ("packet", after),
            Stall::Keyframes(after) => ("keyframe", after),
        };
        cx.notices.push(match stall {
            Stall::Packets(_) => EventKind::SourceStalled { after },
            Stall::Keyframes(_) => EventKind::KeyframeMissing { after },
        });
        match self.watch.rules.then {
            Reaction::Tell => {}
            Reaction::Restart => {
                self.leave_air();
                self.forget_content(cx);
                self.away = Some(Away::reopened(&self.name, &self.again));
                return Some(Turn::Needs(after));
            }
            Reaction::Fallback => self.wanted = Some(after),
            Reaction::End => {
                return Some(Turn::Over(SourceState::Failed(Error::SourceStalled { what, after })));
            }
        }
        None
    }

    /// Tells what was found in the content of the source, and does what is to be done about it.
    fn look_at_content(&mut self, cx: &mut SourceContext<'_>) -> Option<Turn> {
        let news = self.content.as_mut()?.check(cx.now);
        let begun = news.iter().find_map(|kind| match kind {
            EventKind::ContentAlarm { fault, after } => Some((*fault, *after)),
            _ => None,
        });
        cx.notices.extend(news);
        let (fault, after) = begun?;
        match self.watch.rules.then {
            Reaction::Tell => {}
            Reaction::Restart => {
                self.leave_air();
                self.forget_content(cx);
                self.away = Some(Away::reopened(&self.name, &self.again));
                return Some(Turn::Needs(after));
            }
            Reaction::Fallback => self.wanted = Some(after),
            Reaction::End => {
                let what = match fault {
                    ContentFault::Black => "picture that is not black",
                    ContentFault::Frozen => "picture that moves",
                    ContentFault::Silent => "sound",
                };
                return Some(Turn::Over(SourceState::Failed(Error::SourceStalled { what, after })));
            }
        }
        None
    }

    /// What was seen of the source says nothing of what comes of it next.
    fn forget_content(&mut self, cx: &mut SourceContext<'_>) {
        let over = self.content.as_mut().map(|content| content.reset(cx.now));
        cx.notices.extend(over.into_iter().flatten());
    }

    /// The source has failed: it is opened again where something stands in for it, or where that is what the watchdog is for.
    fn lose_source(&mut self, cx: &mut SourceContext<'_>, error: Error) -> Turn {
        if self.slate.is_none() && self.watch.rules.then != Reaction::Restart {
            return Turn::Over(SourceState::Failed(error));
        }
        cx.notices.push(EventKind::SourceFault { error });
        self.leave_air();
        self.forget_content(cx);
        // One that opens and fails right after is tried less and less.
        let lasted = cx.now.saturating_duration_since(self.tried.0);
        let wait = if lasted >= STABLE { RETRY[0] } else { self.tried.1 };
        self.tried.1 = longer(wait);
        self.away = Some(Away::failed(cx.now, wait));
        Turn::Needs(cx.now.saturating_duration_since(self.watch.heard()))
    }

    /// Nothing is on the air.
    fn leave_air(&mut self) {
        if let Air::Source(driver) | Air::Slate(driver) = std::mem::replace(&mut self.air, Air::Nothing) {
            self.retire(driver);
        }
    }

    fn retire(&mut self, mut driver: Box<dyn SourceDriver>) {
        driver.stop();
        if !driver.is_stopped() {
            self.leaving.push(driver);
        }
    }

    /// Puts a driver on the air with what it begins with.
    fn join(
        &mut self,
        cx: &mut SourceContext<'_>,
        candidate: Candidate,
        beginning: Beginning,
        fitted: bool,
    ) -> (Box<dyn SourceDriver>, Seam) {
        let Candidate { driver, headers, notices, .. } = candidate;
        let (from, refills, told) = (cx.tags.len(), cx.refills.len(), cx.notices.len());
        let mut seam = Seam::Seamless;
        if let Some(first) = beginning.tags.first() {
            let joint = self.splice.join(Place::At(cx.now), &headers, first, fitted);
            seam = joint.seam;
            cx.tags.extend(joint.headers);
        }
        cx.tags.extend(beginning.tags);
        self.splice.pass(cx, from, refills);
        cx.notices.extend(notices);
        without_laps(cx.notices, told);
        (driver, seam)
    }

    /// Lets the fallback take over, once it can; the source stays on the air until then.
    fn fall(&mut self, cx: &mut SourceContext<'_>, after: Duration) {
        let Some(slate) = &mut self.slate else { return };
        slate.prepare(cx, &self.name, &self.splice, true);
        let Some((candidate, beginning, fitted)) = slate.rise(cx) else { return };
        let begins = slate.begins(cx.now);
        let said = self.splice.said().clone();
        let (driver, seam) = self.join(cx, candidate, beginning, fitted);
        if let Air::Source(source) = std::mem::replace(&mut self.air, Air::Slate(driver)) {
            let candidate = Candidate::returning(source, said, self.pictured);
            self.away = Some(Away::silent(candidate.watched(self.content.is_some())));
        }
        (self.wanted, self.fitted) = (None, fitted);
        if begins {
            cx.notices.push(EventKind::FallbackBegan { after, seam });
        }
    }

    /// Looks after a source that is not on the air, and puts it back once it can be.
    fn pull_away(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let Some(away) = self.away.take() else { return SourceState::Running };
        let mut back = self.slate.as_ref().and_then(|slate| Some((slate.until()?, slate.times.steady)));
        if let (Some(content), Some((until, _))) = (&self.content, &mut back)
            && content.is_alarming()
        {
            // Not before there is something to see and to hear.
            *until = cx.now + NOT_YET;
        }
        let rules = &self.watch.rules;
        let patience = rules.no_packet.into_iter().chain(rules.no_keyframe).max().unwrap_or(PATIENCE);
        let was_there = away.is_there();
        let patience = (patience.max(PATIENCE), self.content.is_some());
        match away.pull(cx, (&self.name, &self.again), back, patience) {
            Back::Ended => SourceState::Ended,
            Back::Stays(mut away, state) => {
                if was_there && !away.is_there() {
                    // Nobody would ever see that its content is right again.
                    self.forget_content(cx);
                }
                if let (Some(content), Some(tags)) = (&mut self.content, away.take_seen()) {
                    content.note(cx.now, &tags);
                    if cx.tick {
                        cx.notices.extend(content.check(cx.now));
                    }
                }
                self.away = Some(away);
                state
            }
            Back::Comes(candidate, beginning) => {
                self.watch.begins(cx.now);
                self.pictured = beginning.tags.iter().any(is_picture);
                self.tried.0 = cx.now;
                if let Some(content) = &mut self.content {
                    // Drivers say their headers once.
                    candidate.headers.tags().for_each(|tag| content.note(cx.now, std::slice::from_ref(tag)));
                    content.note(cx.now, &beginning.tags);
                }
                let fitted = self.fitted;
                let (driver, seam) = self.join(cx, candidate, beginning, fitted);
                self.leave_air();
                self.air = Air::Source(driver);
                let lasted = self.slate.as_mut().and_then(|slate| slate.ends(cx.now));
                cx.notices.push(match lasted {
                    Some(after) => EventKind::FallbackEnded { after, seam },
                    None => EventKind::SourceSwitched { seam },
                });
                SourceState::Running
            }
        }
    }
}

/// Laps are those of the source: takes out what was told of others since there were `told` notices.
fn without_laps(notices: &mut Vec<EventKind>, told: usize) {
    let mut index = 0;
    notices.retain(|notice| {
        index += 1;
        index <= told || !matches!(notice, EventKind::Looped { .. })
    });
}

impl SourceDriver for Guard {
    fn attach(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.air {
            Air::Source(driver) | Air::Slate(driver) => driver.attach(registry, token),
            Air::Nothing => Ok(()),
        }
    }

    fn start(&mut self, now: Instant) {
        self.begun = true;
        self.watch.begins(now);
        (self.tried.0, self.ticked) = (now, now);
        if let Air::Source(driver) = &mut self.air {
            driver.start(now);
        }
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        if cx.tick {
            self.leaving.retain_mut(|driver| !driver.is_stopped());
            let apart = cx.now.saturating_duration_since(std::mem::replace(&mut self.ticked, cx.now));
            if apart >= STOOD_STILL {
                self.watch.stood_still(apart);
            }
        }
        match self.pull_air(cx) {
            Turn::Over(state) => return state,
            Turn::Needs(after) => self.fall(cx, after),
            Turn::Goes => {
                if cx.tick
                    && matches!(self.air, Air::Source(_))
                    && let Some(slate) = &mut self.slate
                {
                    let sunk = slate.sinks();
                    // Half of the time is left to open it, where it is not open yet.
                    let silent = cx.now.saturating_duration_since(self.watch.heard());
                    let is_near = self.begun && silent * 2 >= slate.times.after;
                    slate.prepare(cx, &self.name, &self.splice, is_near);
                    if let Some(driver) = sunk {
                        self.retire(driver);
                    }
                }
            }
        }
        self.pull_away(cx)
    }

    fn is_due(&self) -> bool {
        self.air.driver().is_some_and(SourceDriver::is_due)
            || self.away.as_ref().is_some_and(Away::is_due)
            || self.slate.as_ref().is_some_and(Slate::is_due)
    }

    fn is_resting(&self) -> bool {
        // What is stood in for goes on.
        if self.slate.is_some() && self.splice.has_begun() {
            return false;
        }
        match (&self.air, &self.away) {
            (Air::Source(source), _) => source.is_resting(),
            (Air::Nothing, Some(away)) => away.is_resting(),
            _ => false,
        }
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &Registry, token: Token) {
        match (&mut self.air, &mut self.away) {
            (Air::Source(source), _) => source.deliver(message, registry, token),
            (_, Some(Away::There(there))) => there.candidate.driver.deliver(message, registry, token),
            _ => {}
        }
    }

    fn seek(&mut self, to: Duration) {
        if let Air::Source(source) = &mut self.air {
            source.seek(to);
        }
    }

    fn mode(&self) -> SourceMode {
        self.air.driver().map_or(SourceMode::Live, SourceDriver::mode)
    }

    fn encoding(&self) -> Option<EncodingStats> {
        self.air.driver()?.encoding()
    }

    fn playing(&self) -> Option<Playing> {
        self.air.driver()?.playing()
    }

    fn origin(&self) -> Option<Origin> {
        self.air.driver()?.origin()
    }

    fn playing_sound(&self) -> Option<Playing> {
        self.air.driver()?.playing_sound()
    }

    fn fallback(&self) -> Option<FallbackStats> {
        self.slate.as_ref().map(Slate::figures)
    }

    fn end_fallback(&mut self, now: Instant) -> Option<Duration> {
        self.slate.as_mut()?.ends(now)
    }

    fn bytes_held(&self) -> usize {
        let air = self.air.driver().map_or(0, SourceDriver::bytes_held);
        let away = self.away.as_ref().map_or(0, Away::bytes_held);
        let content = self.content.as_ref().map_or(0, ContentWatch::bytes_held);
        content + air + away + self.slate.as_ref().map_or(0, Slate::bytes_held)
    }

    fn stop(&mut self) {
        if let Air::Source(driver) | Air::Slate(driver) = &mut self.air {
            driver.stop();
        }
        self.away.iter_mut().for_each(Away::stop);
        self.slate.iter_mut().for_each(Slate::stop);
    }

    fn is_stopped(&mut self) -> bool {
        self.leaving.retain_mut(|driver| !driver.is_stopped());
        let air = match &mut self.air {
            Air::Source(driver) | Air::Slate(driver) => driver.is_stopped(),
            Air::Nothing => true,
        };
        air && self.leaving.is_empty()
            && self.away.as_mut().is_none_or(Away::is_stopped)
            && self.slate.as_mut().is_none_or(Slate::is_stopped)
    }
}
