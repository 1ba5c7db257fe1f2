//! What a stream's thread shares with the handles to it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::branch::Branches;
use super::described::Described;
use super::glance::Glance;
use super::labels::Labels;
use super::mailbox::{Command, Mailbox};
use super::mixers::Mixers;
use super::thumbnail::Thumbnails;
use super::traffic::Traffic;
use crate::adapt::Dial;
use crate::admission::Slot;
use crate::error::Error;
use crate::event::{Event, EventBus, EventKind, Recent};
use crate::fence::Fence;
use crate::files::StreamFiles;
use crate::health::Before;
use crate::id::{OutputId, StreamId};
use crate::limiter::Permit;
use crate::overlay::Board;
use crate::stats::{Histogram, Origin, OutputStats, StreamPhase, StreamStats};
use crate::stream::hub::{Claim, Place};
use crate::sys::{CpuMeter, Latch, Span};
use crate::usage::{Account, Figures, Moment, UsageCut};

/// How a stream ended.
pub(crate) type Outcome = Result<(), Error>;

/// One stream, seen from outside its thread.
#[derive(Debug)]
pub(crate) struct StreamShared {
    pub(crate) id: StreamId,
    /// What the program calls it.
    pub(crate) label: Option<Arc<str>>,
    /// What the program calls its outputs.
    pub(crate) labels: Labels,
    /// Outputs and their backups.
    pairs: Mutex<Vec<(OutputId, OutputId)>>,
    /// What it is made of.
    pub(crate) described: Arc<Described>,
    pub(crate) mailbox: Mailbox,
    pub(crate) events: EventBus,
    pub(crate) cpu: CpuMeter,
    /// What happened to it lately.
    pub(crate) recent: Recent,
    /// What was said of its health.
    pub(crate) health: Mutex<Before>,
    /// What of its figures is in usage records.
    pub(crate) usage: Account,
    /// Where its log lines belong.
    pub(crate) span: Span,
    pub(crate) started: Instant,
    /// The files it is made from, and those it is recorded to.
    pub(crate) files: Arc<StreamFiles>,
    stats: Mutex<StreamStats>,
    /// When the thread published them last.
    heard: Mutex<Option<Instant>>,
    /// Outputs that are on their way to the thread.
    coming: Mutex<Vec<OutputStats>>,
    permit: Mutex<Option<Permit>>,
    next_output: AtomicU64,
    /// How it ended; what waits for that does not keep the rest.
    pub(super) end: Arc<Latch<Outcome>>,
    ended_at: Mutex<Option<Instant>>,
    /// Until when the thread may take to stop; `None` until it is asked to.
    stop_by: Mutex<Option<Instant>>,
    /// The names players find the stream by.
    claims: Mutex<Vec<Claim>>,
    /// Players, wherever they are served.
    pub(crate) players: Arc<AtomicUsize>,
    /// Other threads that serve its players.
    pub(crate) branches: Branches,
    /// A branch of another one: its beginning and its end are no news.
    is_branch: bool,
    /// Sources opened for it, besides the one it began with. Locked while one is being opened.
    pub(super) sources: Mutex<u64>,
    /// Overlays that the program can change.
    pub(crate) board: Board,
    /// What sets the bit rate of its pictures.
    pub(crate) dial: Dial,
    /// Thumbnails that were made last.
    pub(crate) thumbnails: Thumbnails,
    /// How the program reaches what mixes its sound.
    pub(super) mixers: Mixers,
    /// It plays otherwise than it was to because something failed.
    mode_failed: AtomicBool,
    /// Until when it may send, if that has an end.
    pub(super) fence: OnceLock<Fence>,
}

impl StreamShared {
    /// Whether it may send no longer.
    /// Whether somebody else says how long it may send.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fence.get().is_some()
    }

    pub(super) fn is_fenced_off(&self) -> bool {
        self.fence.get().is_some_and(|fence| !fence.is_open())
    }

    /// An output and its backup.
    pub(super) fn note_pair(&self, primary: OutputId, backup: OutputId) {
        self.pairs.lock().push((primary, backup));
    }

    /// The backup of an output, if it has one.
    pub(crate) fn backup_of(&self, primary: OutputId) -> Option<OutputId> {
        self.pairs.lock().iter().find(|pair| pair.0 == primary).map(|pair| pair.1)
    }

    /// The outputs that are removed together with this one, and it.
    pub(super) fn removed_with(&self, output: OutputId) -> Vec<OutputId> {
        let mut pairs = self.pairs.lock();
        match pairs.iter().position(|pair| pair.0 == output || pair.1 == output) {
            Some(place) => <[OutputId; 2]>::from(pairs.swap_remove(place)).to_vec(),
            None => vec![output],
        }
    }

    pub(crate) fn new(
        id: StreamId,
        label: Option<Arc<str>>,
        mailbox: Mailbox,
        events: EventBus,
        permit: Option<Permit>,
        files: Arc<StreamFiles>,
    ) -> Self {
        let span = Span::of_stream(id, label.as_deref());
        Self { permit: Mutex::new(permit), ..Self::with_span(span, id, label, mailbox, events, files) }
    }

    /// A branch of `root`, with its number.
    pub(crate) fn branch(root: &Self, mailbox: Mailbox) -> Self {
        let (span, label) = (root.span.clone(), root.label.clone());
        let (events, files) = (root.events.clone(), root.files.clone());
        Self { is_branch: true, ..Self::with_span(span, root.id, label, mailbox, events, files) }
    }

    fn with_span(
        span: Span,
        id: StreamId,
        label: Option<Arc<str>>,
        mailbox: Mailbox,
        events: EventBus,
        files: Arc<StreamFiles>,
    ) -> Self {
        Self {
            id,
            stats: Mutex::new(StreamStats::new(id, label.clone())),
            label,
            labels: Labels::default(),
            pairs: Mutex::default(),
            described: Arc::default(),
            mailbox,
            events,
            cpu: CpuMeter::default(),
            recent: Recent::default(),
            health: Mutex::default(),
            usage: Account::default(),
            span,
            started: Instant::now(),
            files,
            heard: Mutex::new(None),
            coming: Mutex::default(),
            permit: Mutex::default(),
            next_output: AtomicU64::new(0),
            end: Arc::default(),
            ended_at: Mutex::new(None),
            stop_by: Mutex::new(None),
            claims: Mutex::default(),
            players: Arc::default(),
            branches: Branches::default(),
            is_branch: false,
            sources: Mutex::new(0),
            board: Board::default(),
            dial: Dial::default(),
            thumbnails: Thumbnails::default(),
            mixers: Mixers::default(),
            mode_failed: AtomicBool::new(false),
            fence: OnceLock::new(),
        }
    }

    /// Reports an event. Of a branch, only events about its players are reported.
    pub(crate) fn tell(&self, kind: EventKind) {
        let is_players = matches!(
            kind,
            EventKind::OutputLive { .. } | EventKind::OutputEnded { .. } | EventKind::OutputDropped { .. }
        );
        if !self.is_branch || is_players {
            let is_recovery = match &kind {
                EventKind::ModeChanged { error, .. } => {
                    self.mode_failed.swap(error.is_some(), Ordering::Relaxed) && error.is_none()
                }
                _ => false,
            };
            let output_label = kind.output().and_then(|output| self.labels.of(output));
            if let EventKind::OutputReplaced { output, .. } = &kind {
                // The figures that are published are still those of where it went before.
                self.cut_usage(UsageCut::Replaced, Some(*output));
            }
            let (at, stream, label) = (SystemTime::now(), self.id, self.label.clone());
            self.recent.note(Instant::now(), at, &kind);
            let event = Event { at, stream, label, output_label, kind };
            self.events.emit(&event, is_recovery, &self.span);
        }
    }

    /// CPU use of its own thread over the last second, in percent of one core.
    pub(crate) fn cpu_percent(&self) -> f64 {
        self.stats.lock().cpu_percent
    }

    /// The owner of the stream, if it has one.
    pub(crate) fn owner(&self) -> Option<String> {
        self.permit.lock().as_ref().and_then(|permit| permit.owner().map(str::to_owned))
    }

    /// It counts among the started streams no longer.
    pub(super) fn gives_its_place_back(&self) {
        let place = self.permit.lock().take();
        drop(place);
    }

    /// Where it counts with what it uses.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.permit.lock().as_ref().and_then(Permit::slot)
    }

    /// Does something with its place among the streams, if it has one.
    pub(crate) fn with_permit(&self, work: impl FnOnce(&Permit)) {
        if let Some(permit) = &*self.permit.lock() {
            work(permit);
        }
    }

    /// How long until it is complete, if it ends with its file and it is known how long that is.
    pub(super) fn ends_with_its_file(&self) -> Option<Duration> {
        let is_once = self.permit.lock().as_ref().is_some_and(Permit::is_once);
        let playing = self.stats.lock().playing.clone().filter(|_| is_once)?;
        Some(playing.length?.saturating_sub(playing.position))
    }

    /// What admission asks of it, every second: of its network, and whether it is on the air.
    pub(super) fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::of(&self.stats.lock());
        self.branches.add_to_traffic(&mut traffic);
        traffic
    }

    /// Whose the stream is now: who started it, or whose key it is published with.
    pub(crate) fn owner_now(&self) -> Option<String> {
        if let Some(owner) = self.owner() {
            return Some(owner);
        }
        let claims: Vec<_> = self.claims.lock().iter().map(Claim::place).collect();
        // Outside the lock: the hub has one of its own.
        claims.iter().find_map(Place::owner)
    }

    /// Whether players find the stream by this name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.claims.lock().iter().any(|claim| claim.name() == name)
    }

    /// Whether it is a publication: its source is whoever publishes.
    pub(crate) fn is_publication(&self) -> bool {
        self.claims.lock().iter().any(Claim::is_published)
    }

    /// Takes over a name players find the stream by, until its source ends.
    pub(crate) fn hold_name(&self, claim: Claim) {
        self.claims.lock().push(claim);
    }

    /// Gives a name back.
    pub(crate) fn release_name(&self, name: &str) {
        let claim = {
            let mut claims = self.claims.lock();
            let index = claims.iter().position(|claim| claim.name() == name);
            index.map(|index| claims.swap_remove(index))
        };
        // Outside the lock: the hub may hold the last reference to this stream.
        drop(claim);
    }

    /// Gives all names back.
    pub(crate) fn release_names(&self) {
        let claims = std::mem::take(&mut *self.claims.lock());
        drop(claims);
    }

    /// A number for a new output.
    pub(crate) fn next_output(&self) -> OutputId {
        OutputId(self.next_output.fetch_add(1, Ordering::Relaxed))
    }

    /// The latest figures; CPU time and uptime are of this instant.
    pub(crate) fn stats(&self) -> StreamStats {
        // Before the figures: what arrives in between is in both, and else it would be in neither.
        let coming = self.coming.lock().clone();
        let mut stats = self.stats.lock().clone();
        for output in coming {
            if !stats.outputs.iter().any(|there| there.id == output.id) {
                stats.outputs.push(output);
            }
        }
        stats.cpu_time = self.cpu.total();
        (stats.frames_encoded, stats.pixels_encoded) = self.cpu.encoded();
        if stats.phase != StreamPhase::Ended {
            stats.uptime = self.started.elapsed();
        }
        self.branches.add_to(&mut stats);
        stats
    }

    /// The server it is played from, if that is its source.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.stats.lock().origin.clone()
    }

    /// The figures that are wanted often.
    pub(crate) fn glance(&self) -> Glance {
        let mut glance = Glance::of(&self.stats.lock());
        let totals = &mut glance.totals;
        (totals.cpu_time, totals.codec_cpu_time) = (self.cpu.total(), self.cpu.codecs());
        (totals.frames_encoded, totals.pixels_encoded) = self.cpu.encoded();
        totals.encoder_drops = self.cpu.left_out();
        if glance.phase != StreamPhase::Ended {
            glance.uptime = self.started.elapsed();
        }
        self.branches.add_to_glance(&mut glance);
        glance
    }

    /// How long its encoder took for pictures, and how long they waited for it, in all.
    pub(super) fn encode_times(&self) -> (Histogram, Histogram) {
        let stats = self.stats.lock();
        stats
            .encoding
            .as_ref()
            .map_or_else(Default::default, |encoding| (encoding.encode_time, encoding.wait))
    }

    /// The encoder it has at work, by libav's name.
    pub(crate) fn encoder(&self) -> Option<String> {
        Some(self.stats.lock().encoding.as_ref()?.encoder.clone())
    }

    /// Cuts usage records of it, or of one of its outputs, if somebody wants them.
    pub(crate) fn cut_usage(&self, why: UsageCut, only: Option<OutputId>) {
        self.usage.cut(why, only, Moment::now(), || self.figures());
    }

    /// It goes on for another owner.
    pub(crate) fn passes_to(&self, owner: Option<String>) {
        self.usage.passes_to(owner, Moment::now(), || self.figures());
    }

    fn figures(&self) -> Figures {
        Figures { stats: self.stats(), codecs: self.cpu.codecs() }
    }

    /// Its phase, and when its thread last published figures: it does so every second.
    pub(crate) fn heard(&self) -> (StreamPhase, Option<Instant>) {
        (self.stats.lock().phase, *self.heard.lock())
    }

    /// Replaces the figures; called by the thread.
    pub(crate) fn publish_stats(&self, update: impl FnOnce(&mut StreamStats)) {
        let mut stats = self.stats.lock();
        // An abandoned thread has no more say.
        if stats.phase != StreamPhase::Ended {
            update(&mut stats);
            *self.heard.lock() = Some(Instant::now());
        }
    }

    /// Shows an output that is on its way to the thread.
    pub(super) fn output_comes(&self, output: OutputStats) {
        self.coming.lock().push(output);
    }

    /// These outputs have arrived, and are among the thread's own figures or not shown any more.
    pub(super) fn outputs_came(&self, outputs: &mut Vec<OutputId>) {
        if !outputs.is_empty() {
            self.coming.lock().retain(|coming| !outputs.contains(&coming.id));
            outputs.clear();
        }
    }

    /// Asks the thread to end by `deadline`; an earlier deadline of another caller holds.
    pub(crate) fn ask_to_stop(&self, deadline: Instant) {
        {
            let mut stop_by = self.stop_by.lock();
            *stop_by = Some(stop_by.map_or(deadline, |earlier| earlier.min(deadline)));
        }
        self.mailbox.send(Command::Stop);
    }

    /// By when the thread was asked to end.
    pub(crate) fn stop_by(&self) -> Option<Instant> {
        *self.stop_by.lock()
    }

    /// The stream has ended: frees its place and wakes the waiting threads. Only the first call counts, so that a thread that
    /// was abandoned cannot end the stream a second time.
    pub(crate) fn end(&self, outcome: Outcome) -> bool {
        // All of this holds before the end of the stream becomes visible.
        let is_first = self.end.set_after(outcome.clone(), || {
            self.release_names();
            if !self.is_branch {
                self.files.end();
            }
            *self.permit.lock() = None;
            self.publish_stats(|stats| {
                stats.phase = StreamPhase::Ended;
                stats.uptime = self.started.elapsed();
            });
            *self.ended_at.lock() = Some(Instant::now());
            self.cut_usage(UsageCut::End, None);
            self.coming.lock().clear();
        });
        if is_first {
            self.tell(EventKind::Ended { error: outcome.err() });
            self.end.announce();
        }
        is_first
    }

    /// Gives the stream up: its thread does not answer. `true` if it had not ended by itself.
    pub(crate) fn abandon(&self, deadline: Duration) -> bool {
        let ended = self.end(Err(Error::ForceKillRequired { stream: self.id, deadline }));
        if ended {
            self.tell(EventKind::Abandoned);
        }
        ended
    }

    /// Its phase.
    pub(crate) fn phase(&self) -> StreamPhase {
        self.stats.lock().phase
    }

    /// How long after `asked` it ended; up to now if it has not.
    pub(crate) fn ended_after(&self, asked: Instant) -> Duration {
        self.ended_at.lock().unwrap_or_else(Instant::now).saturating_duration_since(asked)
    }

    /// How the stream ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.end.get()
    }

    /// Waits for the end, up to `until`.
    pub(crate) fn wait_until(&self, until: Option<Instant>) -> Option<Outcome> {
        self.end.wait_until(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::files::Reads;
    use crate::stream::Registry;
    use crate::stream::registry::Prepared;

    #[test]
    fn an_output_that_arrives_while_somebody_looks_is_seen() {
        let registry = Registry::new(Config::default()).expect("usable settings");
        let prepared = registry.prepare(None, None, StreamFiles::new(Reads::default())).expect("descriptors");
        let Prepared { shared, .. } = prepared;
        let output = OutputStats::new(shared.next_output(), None, "an output".to_owned());
        shared.output_comes(output.clone());
        std::thread::scope(|scope| {
            let mut coming = shared.coming.lock();
            let looks = scope.spawn(|| shared.stats());
            // Whoever looked at the figures first would do so now.
            (0..10_000).for_each(|_| std::thread::yield_now());
            shared.publish_stats(|stats| stats.outputs.push(output.clone()));
            coming.clear();
            drop(coming);
            let seen = looks.join().expect("it does not panic");
            assert_eq!(seen.outputs.iter().map(|output| output.id).collect::<Vec<_>>(), [output.id]);
        });
    }
}
