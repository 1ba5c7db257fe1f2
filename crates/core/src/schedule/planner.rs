//! What is to be done at which time. Logic alone: it is asked what to do now, and told what came of it.
//!
//! In: the time on two clocks, schedules, and which streams have ended. Out: starts, stops and events for the keeper to carry out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::calendar::{Calendar, End, Occurrence};
use super::event::ScheduleEventKind;
use super::keeper::{Schedule, ScheduleId, Scheduled};
use super::when::{Missed, Overlap, When};
use crate::error::Error;
use crate::id::StreamId;
use crate::spec::StreamSpec;

/// Occurrences a schedule remembers, so that none begins twice when the clock is set back.
const REMEMBERED: usize = 64;
/// How long a start that was refused waits.
pub(super) const AGAIN: Duration = Duration::from_secs(30);

/// The time, on two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// What the calendar goes by. It can be set.
    pub(super) wall: SystemTime,
    /// What only goes forward, from any beginning.
    pub(super) steady: Duration,
}

/// One start, from the decision to its end.
pub(super) type RunNumber = u64;

/// What the keeper has to do.
#[derive(Debug)]
pub(super) enum Action {
    Start {
        schedule: ScheduleId,
        run: RunNumber,
        spec: Arc<StreamSpec>,
        /// The run whose stream has to be gone before.
        after: Option<RunNumber>,
    },
    Stop {
        run: RunNumber,
    },
    Tell {
        schedule: ScheduleId,
        label: Option<Arc<str>>,
        kind: ScheduleEventKind,
    },
}

/// When a run ends.
#[derive(Debug, Clone, Copy)]
struct Until {
    ends: Option<SystemTime>,
    /// For what has a length: the clock that nobody sets decides.
    steady: Option<Duration>,
}

#[derive(Debug)]
struct Run {
    number: RunNumber,
    occurrence: Occurrence,
    until: Until,
    stream: Option<StreamId>,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<StreamSpec>,
    label: Option<Arc<str>>,
    when: Arc<When>,
    /// Up to here, on the wall clock, what begins was seen.
    seen: SystemTime,
    /// When it was taken in.
    added: SystemTime,
    done: VecDeque<SystemTime>,
    run: Option<Run>,
    /// A start that was refused, and when it is tried again on the steady clock.
    again: Option<(Occurrence, Duration)>,
    /// The code of the last refusal that was told.
    refused: Option<&'static str>,
}

/// All schedules of an engine.
#[derive(Debug, Default)]
pub(super) struct Planner {
    entries: BTreeMap<ScheduleId, Entry>,
    schedules: u64,
    runs: RunNumber,
}

impl Until {
    fn of(occurrence: &Occurrence, now: Now) -> Self {
        let left = occurrence.ends.map(|ends| ends.duration_since(now.wall).unwrap_or_default());
        let steady = occurrence.length.and(left).map(|left| now.steady.saturating_add(left));
        Self { ends: occurrence.ends, steady }
    }

    /// How long until then; `None` if it does not end.
    fn left(&self, now: Now) -> Option<Duration> {
        match (self.steady, self.ends) {
            (Some(steady), _) => Some(steady.saturating_sub(now.steady)),
            (None, Some(ends)) => Some(ends.duration_since(now.wall).unwrap_or_default()),
            (None, None) => None,
        }
    }

    fn is_due(&self, now: Now) -> bool {
        self.left(now) == Some(Duration::ZERO)
    }
}

/// What a tick of one schedule works with.
struct Turn<'a> {
    id: ScheduleId,
    now: Now,
    runs: &'a mut RunNumber,
    actions: &'a mut Vec<Action>,
}

impl Planner {
    /// Takes a schedule in: what has begun already and may be late begins with the next [`tick`](Self::tick).
    pub(super) fn add(&mut self, schedule: Schedule, now: Now) -> Result<ScheduleId, Error> {
        let nothing =
            || Error::Config { name: "windows", reason: "nothing of the schedule lies ahead".to_owned() };
        let Schedule { spec, when, began, done } = schedule;
        // One that lies ahead is of a clock that was wrong.
        let done = done.filter(|done| *done <= now.wall);
        let calendar = Calendar::of(&when).ok_or_else(nothing)?;
        // What ran when the schedule was kept goes on, however late that is.
        let resumed = began.and_then(|began| calendar.next_after(began - Duration::from_nanos(1)));
        let resumed = resumed.filter(|found| Some(found.begins) == began && found.lasts(now.wall));
        let is_done = |begins| done.is_some_and(|done| begins <= done);
        let lasting = calendar.lasting_at(now.wall, when.missed.within(), &is_done);
        let begun = match (resumed, lasting) {
            // What ran has the place.
            (Some(resumed), Some(_)) if when.overlap == Overlap::Skip => Some(resumed),
            (Some(resumed), Some(lasting)) => Some(calendar.later(resumed, lasting)),
            (resumed, lasting) => resumed.or(lasting),
        };
        if begun.is_none() && !calendar.matters(now.wall) {
            return Err(nothing());
        }
        drop(calendar);
        self.schedules += 1;
        let id = ScheduleId(self.schedules);
        let label = spec.label.as_deref().map(Arc::from);
        let entry = Entry {
            spec: Arc::new(spec),
            label,
            when: Arc::new(when),
            seen: now.wall,
            added: now.wall,
            done: done.into_iter().collect(),
            run: None,
            again: begun.map(|begun| (begun, now.steady)),
            refused: None,
        };
        self.entries.insert(id, entry);
        Ok(id)
    }

    /// Takes one schedule out, and says which run it had.
    pub(super) fn remove(&mut self, id: ScheduleId, now: Now) -> Option<(Scheduled, Option<RunNumber>)> {
        let entry = self.entries.remove(&id)?;
        Some((entry.listed(id, now), entry.run.map(|run| run.number)))
    }

    pub(super) fn list(&self, now: Now) -> Vec<Scheduled> {
        self.entries.iter().map(|(id, entry)| entry.listed(*id, now)).collect()
    }

    /// The streams that are on the air, and how long until each is stopped, where that is known.
    pub(super) fn ends(&self, now: Now) -> Vec<(StreamId, Duration)> {
        let runs = self.entries.values().filter_map(|entry| entry.run.as_ref());
        runs.filter_map(|run| Some((run.stream?, run.until.left(now)?))).collect()
    }

    /// What is to be done now.
    pub(super) fn tick(&mut self, now: Now, has_ended: &dyn Fn(RunNumber) -> bool) -> Vec<Action> {
        self.note_ended(has_ended);
        let mut actions = Vec::new();
        let runs = &mut self.runs;
        self.entries.retain(|id, entry| {
            let mut turn = Turn { id: *id, now, runs, actions: &mut actions };
            let is_over = entry.tick(&mut turn);
            if is_over {
                entry.tell(&mut turn, ScheduleEventKind::Finished);
            }
            !is_over
        });
        actions
    }

    /// Takes note of streams that have ended.
    pub(super) fn note_ended(&mut self, has_ended: &dyn Fn(RunNumber) -> bool) {
        for entry in self.entries.values_mut() {
            entry.run.take_if(|run| has_ended(run.number));
        }
    }

    /// How long nothing is to be done if the clocks run on; `None` without schedules.
    pub(super) fn idle(&self, now: Now) -> Option<Duration> {
        self.entries.values().map(|entry| entry.idle(now)).min()
    }

    /// A start has succeeded or failed.
    pub(super) fn started(
        &mut self,
        id: ScheduleId,
        number: RunNumber,
        outcome: Result<StreamId, Error>,
        now: Now,
    ) -> Option<Action> {
        let entry = self.entries.get_mut(&id)?;
        let run = entry.run.as_mut().filter(|run| run.number == number)?;
        let occurrence = run.occurrence;
        let late = now.wall.duration_since(occurrence.begins).unwrap_or_default();
        let kind = match outcome {
            Ok(stream) => {
                run.stream = Some(stream);
                entry.refused = None;
                ScheduleEventKind::Started { stream, late }
            }
            Err(error) => {
                entry.run = None;
                // What had begun when the schedule was taken in is late from then on.
                let since = entry.added.max(occurrence.begins);
                let late = now.wall.duration_since(since).unwrap_or_default();
                let is_left = occurrence.lasts(now.wall + AGAIN);
                let again = (is_left && entry.may_be_late(late + AGAIN)).then_some(AGAIN);
                entry.again = again.map(|wait| (occurrence, now.steady + wait));
                let code = error.code();
                if entry.refused.replace(code) == Some(code) && again.is_some() {
                    return None;
                }
                ScheduleEventKind::Refused { error, again }
            }
        };
        Some(Action::Tell { schedule: id, label: entry.label.clone(), kind })
    }
}

impl Entry {
    fn listed(&self, id: ScheduleId, now: Now) -> Scheduled {
        let next = Calendar::of(&self.when).and_then(|calendar| calendar.next_after(now.wall));
        let run = self.run.as_ref();
        let began = run.map(|run| run.occurrence.begins).or_else(|| Some(self.again?.0.begins));
        let done = self.done.iter().filter(|begins| began.is_none() && **begins <= now.wall).max().copied();
        let schedule = Schedule { spec: (*self.spec).clone(), when: (*self.when).clone(), began, done };
        Scheduled { id, schedule, stream: run.and_then(|run| run.stream), next }
    }

    fn tell(&self, turn: &mut Turn<'_>, kind: ScheduleEventKind) {
        turn.actions.push(Action::Tell { schedule: turn.id, label: self.label.clone(), kind });
    }

    /// Whether a start may still be made up for when it is this late.
    fn may_be_late(&self, late: Duration) -> bool {
        matches!(self.when.missed, Missed::StartLate(_)) && late <= self.when.missed.within()
    }

    /// Says whether nothing of it lies ahead.
    fn tick(&mut self, turn: &mut Turn<'_>) -> bool {
        let now = turn.now;
        let when = self.when.clone();
        let calendar = Calendar::of(&when);
        if let Some(calendar) = &calendar {
            if now.wall < self.seen {
                // Set back: what lies between is met again, also what lasts at this time, and what was done is known.
                self.seen = now.wall;
                let is_done = |begins| self.done.contains(&begins);
                let lasting = calendar.lasting_at(now.wall, when.missed.within(), &is_done);
                lasting.into_iter().for_each(|found| self.meet(found, turn));
            }
            while let Some(found) = calendar.next_after(self.seen).filter(|found| found.begins <= now.wall) {
                self.seen = found.begins;
                self.meet(found, turn);
            }
            self.seen = now.wall;
        }
        if let Some((occurrence, at)) = self.again
            && at <= now.steady
        {
            self.again = None;
            if occurrence.lasts(now.wall) {
                self.begin(occurrence, turn);
            }
        }
        if let Some(run) = self.run.take_if(|run| run.until.is_due(now)) {
            self.stop(&run, turn);
        }
        self.run.is_none()
            && self.again.is_none()
            && !calendar.is_none_or(|calendar| calendar.matters(now.wall))
    }

    /// A window has begun since the last look.
    fn meet(&mut self, found: Occurrence, turn: &mut Turn<'_>) {
        if self.done.contains(&found.begins) {
            return;
        }
        let late = turn.now.wall.duration_since(found.begins).unwrap_or_default();
        if late <= self.when.missed.within() && found.lasts(turn.now.wall) {
            self.begin(found, turn);
        } else {
            // Not noted as done: a clock that was ahead by mistake and is set right meets it again, in time.
            self.tell(turn, ScheduleEventKind::Missed { begins: found.begins, late });
        }
    }

    fn note(&mut self, found: Occurrence) {
        if self.done.contains(&found.begins) {
            return;
        }
        if self.done.len() == REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back(found.begins);
    }

    fn begin(&mut self, found: Occurrence, turn: &mut Turn<'_>) {
        self.note(found);
        // A start that waits for its next try is the same stream: the newer window takes its place, unless it extends it and ends before.
        let waiting = self.again.take().map(|(waiting, _)| waiting);
        let found = match waiting.filter(|_| self.when.overlap == Overlap::Extend) {
            Some(waiting) if End(waiting.ends) > End(found.ends) => waiting,
            _ => found,
        };
        let until = Until::of(&found, turn.now);
        let Some(run) = &mut self.run else {
            return self.start(found, until, None, turn);
        };
        match self.when.overlap {
            Overlap::Extend => {
                if End(until.ends) > End(run.until.ends) {
                    run.until = until;
                    run.occurrence = found;
                    self.tell(turn, ScheduleEventKind::Extended { ends: until.ends });
                }
            }
            // One that ends where this one begins does not overlap it.
            Overlap::Skip if !run.until.is_due(turn.now) => {
                self.tell(turn, ScheduleEventKind::LeftOut { begins: found.begins });
            }
            Overlap::Skip | Overlap::Replace => {
                let Some(run) = self.run.take() else { return };
                self.stop(&run, turn);
                self.start(found, until, Some(run.number), turn);
            }
        }
    }

    fn start(&mut self, occurrence: Occurrence, until: Until, after: Option<RunNumber>, turn: &mut Turn<'_>) {
        *turn.runs += 1;
        let number = *turn.runs;
        self.run = Some(Run { number, occurrence, until, stream: None });
        turn.actions.push(Action::Start { schedule: turn.id, run: number, spec: self.spec.clone(), after });
    }

    fn stop(&self, run: &Run, turn: &mut Turn<'_>) {
        turn.actions.push(Action::Stop { run: run.number });
        if let Some(stream) = run.stream {
            self.tell(turn, ScheduleEventKind::Stopped { stream });
        }
    }

    fn idle(&self, now: Now) -> Duration {
        let next = Calendar::of(&self.when).and_then(|calendar| calendar.next_after(now.wall));
        let next = next.and_then(|next| next.begins.duration_since(now.wall).ok());
        let until = self.run.as_ref().and_then(|run| run.until.left(now));
        let again = self.again.map(|(_, at)| at.saturating_sub(now.steady));
        [next, until, again].into_iter().flatten().min().unwrap_or(Duration::MAX)
    }
}
