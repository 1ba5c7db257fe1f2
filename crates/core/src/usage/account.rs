//! The account of one stream: what of its figures is in records already.
//!
//! In: outputs that come and go, owners that change, and the stream's figures when a record is to be cut. Out: records, each with the
//! difference since the last one. On whichever thread cuts; nothing is done between two cuts.
//!
//! Figures of players are not kept one by one: they are what the stream has sent without its outputs. Figures that are published
//! are up to a second old, those of an output that has ended are exact; so this difference may come too small, and is made up for by the
//! next cut. It never comes too large: an output is known here before it sends and until its last figures are counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::desk::{Desk, Unnumbered};
use super::record::{UsageCut, UsageSubject, Used, in_millis};
use crate::id::{OutputId, StreamId};
use crate::stats::{OutputStats, OutputTransport, StreamStats};

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) at: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { now: Instant::now(), at: SystemTime::now() }
    }
}

/// A stream's figures at one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) stats: StreamStats,
    /// CPU time of threads that libav started for it.
    pub(crate) codecs: Duration,
}

/// The account of one stream. Of a branch it stays empty.
#[derive(Debug)]
pub(crate) struct Account {
    desk: Option<Arc<Desk>>,
    label: Option<Arc<str>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since it is on the air, and until its last records are cut.
    is_open: bool,
    owner: Option<Arc<str>>,
    counted: Counted,
    outputs: BTreeMap<OutputId, Output>,
    players: Counted,
    /// What outputs that have ended had sent and dropped.
    ended: Used,
}

/// What is in records already, and until when.
#[derive(Debug, Clone, Copy)]
struct Counted {
    used: Used,
    until: SystemTime,
}

impl Counted {
    /// What is new of `used`.
    fn advance(&mut self, used: Used) -> Used {
        let new = used.in_micros().since(self.used);
        self.used += new;
        new
    }
}

#[derive(Debug)]
struct Output {
    label: Option<Arc<str>>,
    name: Arc<str>,
    transport: OutputTransport,
    since: Instant,
    counted: Counted,
}

impl Output {
    /// What it has used by its own figures.
    fn used(&self, stats: Option<&OutputStats>, now: Instant) -> Used {
        let wall_time = now.saturating_duration_since(self.since);
        let Some(stats) = stats else { return Used { wall_time, ..self.counted.used } };
        let OutputStats { bytes_sent: bytes, drops, reconnects, .. } = *stats;
        Used { wall_time, bytes, drops, reconnects, ..Used::default() }
    }

    fn is_called(&mut self, stats: &OutputStats) {
        self.transport = stats.transport;
        if *self.name != *stats.name {
            self.name = Arc::from(stats.name.as_str());
        }
    }

    fn subject(&self, id: OutputId) -> UsageSubject {
        let (label, name) = (self.label.clone(), self.name.clone());
        UsageSubject::Output { id, label, name, transport: self.transport }
    }
}

impl Default for Account {
    /// One that nobody asks for.
    fn default() -> Self {
        Self::with(None, None, SystemTime::now())
    }
}

impl Account {
    /// Of a stream that is about to be made.
    pub(crate) fn of(desk: &Arc<Desk>, label: Option<Arc<str>>) -> Self {
        Self::with(Some(desk.clone()), label, SystemTime::now())
    }

    fn with(desk: Option<Arc<Desk>>, label: Option<Arc<str>>, at: SystemTime) -> Self {
        let counted = Counted { used: Used::default(), until: in_millis(at) };
        let (outputs, ended) = (BTreeMap::new(), Used::default());
        let state = State { is_open: false, owner: None, counted, outputs, players: counted, ended };
        Self { desk, label, state: Mutex::new(state) }
    }

    /// The stream goes on the air for `owner`.
    pub(crate) fn open(&self, owner: Option<String>) {
        let mut state = self.state.lock();
        (state.is_open, state.owner) = (true, owner.map(Arc::from));
    }

    /// An output is on its way to the stream; known by figures that say what it is.
    pub(crate) fn output_comes(&self, moment: Moment, stats: &OutputStats) {
        let counted = Counted { used: Used::default(), until: in_millis(moment.at) };
        let output = Output {
            label: stats.label.clone(),
            name: Arc::from(stats.name.as_str()),
            transport: stats.transport,
            since: moment.now,
            counted,
        };
        self.state.lock().outputs.insert(stats.id, output);
    }

    /// An output did not get to the stream.
    pub(crate) fn output_is_refused(&self, id: OutputId) {
        self.state.lock().outputs.remove(&id);
    }

    /// An output has ended, with these figures.
    pub(crate) fn output_ends(&self, moment: Moment, stream: StreamId, stats: &OutputStats) {
        let mut state = self.state.lock();
        let state = &mut *state;
        // Players are no outputs here, and what ends after the stream did is in its last records.
        let Some(mut output) = state.outputs.remove(&stats.id) else { return };
        state.ended.bytes += stats.bytes_sent;
        state.ended.drops += stats.drops;
        if let Some(desk) = self.desk.as_ref().filter(|desk| state.is_open && desk.is_wanted()) {
            output.is_called(stats);
            let used = output.used(Some(stats), moment.now);
            let new = output.counted.advance(used);
            let subject = output.subject(stats.id);
            let cut = Cut { stream, why: UsageCut::End, at: in_millis(moment.at) };
            desk.push(self.record(cut, state.owner.clone(), subject, output.counted.until, new));
        }
    }

    /// Cuts records of the stream, its outputs and its players, or only of the output `only`. `figures` is asked for the stream's figures,
    /// unless nobody wants records.
    pub(crate) fn cut(
        &self,
        why: UsageCut,
        only: Option<OutputId>,
        moment: Moment,
        figures: impl FnOnce() -> Figures,
    ) {
        let Some(desk) = self.desk.as_ref().filter(|desk| desk.takes(why)) else {
            if why == UsageCut::End {
                self.state.lock().is_open = false;
            }
            return;
        };
        let mut state = self.state.lock();
        if state.is_open {
            self.cut_under(&mut state, why, only, moment, figures, |record| desk.push(record));
        }
    }

    /// The stream goes on for another owner: what was used until now is the one's before, whether somebody wants records of it or not.
    pub(crate) fn passes_to(&self, owner: Option<String>, moment: Moment, figures: impl FnOnce() -> Figures) {
        let Some(desk) = &self.desk else { return };
        let mut state = self.state.lock();
        if state.is_open {
            self.cut_under(&mut state, UsageCut::Owner, None, moment, figures, |record| {
                if desk.is_wanted() {
                    desk.push(record);
                }
            });
        }
        state.owner = owner.map(Arc::from);
    }

    fn cut_under(
        &self,
        state: &mut State,
        why: UsageCut,
        only: Option<OutputId>,
        moment: Moment,
        figures: impl FnOnce() -> Figures,
        push: impl Fn(Unnumbered),
    ) {
        let Figures { stats, codecs } = figures();
        let cut = Cut { stream: stats.id, why, at: in_millis(moment.at) };
        let mut of_outputs = state.ended;
        for (id, output) in &mut state.outputs {
            let shown = stats.outputs.iter().find(|shown| shown.id == *id);
            of_outputs.bytes += shown.map_or(0, |shown| shown.bytes_sent);
            of_outputs.drops += shown.map_or(0, |shown| shown.drops);
            if only.is_some_and(|only| only != *id) {
                continue;
            }
            let used = output.used(shown, moment.now);
            let new = output.counted.advance(used);
            if let Some(shown) = shown {
                output.is_called(shown);
            }
            let from = std::mem::replace(&mut output.counted.until, cut.at);
            push(self.record(cut, state.owner.clone(), output.subject(*id), from, new));
        }
        if only.is_some() {
            return;
        }
        let (bytes, drops) = (stats.bytes_sent, stats.drops);
        let sent = Used { bytes, drops, ..Used::default() };
        let new = state.players.advance(sent.since(of_outputs));
        if new != Used::default() {
            let from = std::mem::replace(&mut state.players.until, cut.at);
            push(self.record(cut, state.owner.clone(), UsageSubject::Players, from, new));
        }
        let media = u64::try_from(stats.media_time.as_millis()).unwrap_or(0);
        let used = Used {
            wall_time: stats.uptime,
            media_time: Duration::from_millis(media),
            cpu_time: stats.cpu_time,
            codec_cpu_time: codecs,
            frames_encoded: stats.frames_encoded,
            pixels_encoded: stats.pixels_encoded,
            fallback_time: stats.fallback.map_or(Duration::ZERO, |fallback| fallback.time),
            ..Used::default()
        };
        let new = state.counted.advance(used);
        let from = std::mem::replace(&mut state.counted.until, cut.at);
        push(self.record(cut, state.owner.clone(), UsageSubject::Stream, from, new));
        if why == UsageCut::End {
            state.is_open = false;
            state.outputs.clear();
        }
    }

    fn record(
        &self,
        cut: Cut,
        owner: Option<Arc<str>>,
        subject: UsageSubject,
        from: SystemTime,
        used: Used,
    ) -> Unnumbered {
        let Cut { stream, why, at } = cut;
        // A clock that was set back is not a time that goes backwards.
        let (from, to, label) = (from.min(at), at, self.label.clone());
        Unnumbered { cut: why, owner, stream, label, subject, from, to, used }
    }
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    stream: StreamId,
    why: UsageCut,
    at: SystemTime,
}
