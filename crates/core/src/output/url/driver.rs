//! The driver of an output that libav sends: connects, sends, connects again.
//!
//! In: tags from the stream's ring, and reports of the [worker](super::worker). Out: tags in the worker's queue. Whatever libav does on its thread, the
//! stream's thread never waits for it: a worker that is behind is skipped for, one that stands still is left behind.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_rtmp::time::MediaTime;

use super::address::{Address, Mode, Protocol};
use super::sending::Sending;
use super::titles::Titles;
use super::worker::{Job, Progress, Report, What};
use crate::config::{Config, ReconnectPolicy};
use crate::driver::{LinkState, OutputContext, OutputDriver, OutputState, Readiness};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::net::dialer::{Dialer, Place, Reply, Seek};
use crate::net::{Backoff, random};
use crate::output::feed::LagMeter;
use crate::output::gate::Intake;
use crate::output::queue;
use crate::ring::{Cursor, Join};
use crate::stats::{OutputFailure, OutputPhase, OutputStats};
use crate::stream::{OpenedOutput, OutputMailbox, OutputOpening};
use crate::sys::{CpuMeter, Left, LeftBehind, Worker};

/// libav's protocols and TLS libraries need more than a writer of files.
const STACK: usize = 512 << 10;
/// When the source rests, how long what came before may take to be sent.
const DRAIN: Duration = Duration::from_secs(5);
/// Workers of earlier connections that have not ended yet: with this many, nothing is dialled.
const MOST_LEFT: usize = 4;
/// Ticks after which a worker that ended without a word is taken to have panicked.
const GONE_TICKS: u32 = 3;

/// An output that libav sends.
pub(super) struct UrlOutput {
    id: OutputId,
    address: Arc<Address>,
    config: Arc<Config>,
    mailbox: OutputMailbox,
    cpu: CpuMeter,
    intake: Intake,
    backoff: Backoff,
    state: State,
    attempt: u64,
    connections: u64,
    /// Since it was last on the air.
    failures: u32,
    /// In all.
    failed: u64,
    last_error: Option<OutputFailure>,
    settled: bool,
    finishing: bool,
    /// The source rests; until when what came before may be sent.
    rest: Option<Instant>,
    /// Pictures are left out, and that was told.
    told_pictures: bool,
    sent_before: u64,
    drops_before: u64,
    first_media: Option<Instant>,
    /// What an Icecast server is told of what plays.
    titles: Option<Titles>,
    dialer: Dialer,
    /// Where workers go that were told to end, and those of this output.
    left_behind: LeftBehind,
    left: Vec<Left>,
}

enum State {
    Idle,
    Waiting {
        until: Instant,
    },
    /// It waits for its turn to be dialled.
    Queued {
        cancelled: Arc<AtomicBool>,
    },
    Resting,
    Sending(Box<Sending>),
    Ended,
}

impl UrlOutput {
    /// An output that connects with its first turn.
    pub(super) fn open(
        address: Arc<Address>,
        reconnect: Option<ReconnectPolicy>,
        all_tracks: bool,
        cx: &OutputOpening<'_>,
    ) -> OpenedOutput {
        let (name, config) = (address.to_string(), cx.shared_config());
        let tells = address.protocol == Protocol::Icecast;
        let titles = tells.then(|| Titles::new(address.clone(), &config, cx.playing_item()));
        let driver = Self {
            id: cx.output(),
            mailbox: cx.mailbox(),
            cpu: cx.cpu(),
            intake: Intake::file(all_tracks)
                .with_data(matches!(address.protocol, Protocol::Srt | Protocol::Udp)),
            address,
            backoff: Backoff::new(reconnect.unwrap_or_else(|| config.reconnect.clone())),
            config,
            state: State::Idle,
            attempt: 0,
            connections: 0,
            failures: 0,
            failed: 0,
            last_error: None,
            settled: false,
            finishing: false,
            rest: None,
            told_pictures: false,
            sent_before: 0,
            drops_before: 0,
            first_media: None,
            titles,
            dialer: cx.dialer(),
            left_behind: cx.left(),
            left: Vec::new(),
        };
        OpenedOutput { name, driver: Box::new(driver) }
    }

    /// Whether a connection can only be made once the tracks are known.
    fn needs_tracks(&self) -> bool {
        matches!(self.address.protocol, Protocol::Icecast | Protocol::Rtsp)
    }

    /// Dials, once it is its turn.
    fn begin(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.left.retain(|left| !left.has_ended());
        if self.left.len() >= MOST_LEFT {
            self.state = State::Waiting { until: cx.now + Duration::from_secs(1) };
            return OutputState::Running;
        }
        if self.needs_tracks() && cx.ring.start() == cx.ring.end() {
            // It would keep others waiting while it has nothing to show.
            self.state = State::Idle;
            return OutputState::Running;
        }
        self.attempt += 1;
        if self.address.mode() == Mode::Listener {
            return self.start(cx, None);
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let (attempt, mailbox) = (self.attempt, self.mailbox.clone());
        self.dialer.seek(Seek {
            host: self.address.host.clone(),
            port: self.address.port,
            is_again: attempt > 1,
            cancelled: cancelled.clone(),
            reply: Reply::new(move |place| {
                mailbox.send(Box::new(Report { attempt, what: What::Turn(place) }));
            }),
        });
        self.state = State::Queued { cancelled };
        OutputState::Running
    }

    /// Starts a worker, which connects; with its place among the dials, if it dials.
    fn start(&mut self, cx: &mut OutputContext<'_>, place: Option<Place>) -> OutputState {
        let (queue, batches) = queue::queue(Duration::ZERO);
        let (interrupt, progress) = (flowcast_av::Interrupt::new(), Arc::new(Progress::default()));
        let job = Job {
            attempt: self.attempt,
            address: self.address.clone(),
            place,
            config: self.config.clone(),
            interrupt: interrupt.clone(),
            batches,
            progress: progress.clone(),
            mailbox: self.mailbox.clone(),
            cpu: self.cpu.clone(),
        };
        let what = "the sender of an output";
        let started = Worker::start(what, format!("fu-{}", self.id), STACK, move || job.run());
        let worker = match started {
            Ok(worker) => worker,
            Err(source) => {
                let what = "no thread for an output";
                return self.failed(cx, Error::System { what, source: source.into() });
            }
        };
        // Who has to show the tracks first begins with what is there.
        let cursor = self.needs_tracks().then(|| Cursor::new(cx.ring, Join::Newest));
        self.state = State::Sending(Box::new(Sending {
            interrupt,
            worker,
            progress,
            queue,
            cursor,
            lag: LagMeter::default(),
            handed: 0,
            newest: MediaTime::ZERO,
            is_open: false,
            until: None,
            reported_drops: 0,
            gone: 0,
            silent_since: None,
            newest_seen: None,
            is_heard: false,
            is_refillable: false,
        }));
        OutputState::Running
    }

    /// Its connection, or the attempt to make one, is over.
    fn close(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Sending(sending) => {
                sending.interrupt.cancel();
                self.sent_before += sending.bytes();
                self.drops_before += sending.drops();
                self.left.push(self.left_behind.add(sending.worker, Instant::now()));
            }
            State::Queued { cancelled } => {
                cancelled.store(true, Ordering::Relaxed);
                self.dialer.drop_cancelled();
            }
            _ => {}
        }
        self.left.retain(|left| !left.has_ended());
    }

    /// The connection is lost, or there never was one: connects again later, or ends.
    fn failed(&mut self, cx: &mut OutputContext<'_>, error: Error) -> OutputState {
        self.settled = true;
        let was_open = matches!(&self.state, State::Sending(sending) if sending.is_open);
        self.close();
        self.failed += 1;
        self.last_error = Some(OutputFailure::now(&error));
        if self.finishing {
            self.state = State::Ended;
            return OutputState::Ended(None);
        }
        let (unit, was_taken) = (random::unit(), self.connections > 0);
        // A caller who leaves is no failure of ours, and the next one may come at once.
        let is_left = was_open && self.address.mode() == Mode::Listener;
        let wait = if is_left {
            Some(Duration::ZERO)
        } else if error.is_retryable() {
            self.backoff.failed(cx.now, unit)
        } else if was_taken {
            self.backoff.refused(cx.now, unit)
        } else {
            self.state = State::Ended;
            return OutputState::Ended(Some(error));
        };
        let Some(wait) = wait else {
            self.state = State::Ended;
            return OutputState::Ended(Some(self.backoff.given_up(error)));
        };
        self.state = State::Waiting { until: cx.now + wait };
        self.failures = self.failures.saturating_add(1);
        cx.notices.push(EventKind::OutputRetrying { output: self.id, error, wait });
        if is_left { OutputState::More } else { OutputState::Running }
    }

    fn opened(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.settled = true;
        let State::Sending(sending) = &mut self.state else { return OutputState::Running };
        sending.is_open = true;
        if sending.cursor.is_none() {
            sending.cursor = Some(Cursor::new(cx.ring, Join::Next));
        }
        self.backoff.connected(cx.now);
        let failures = std::mem::take(&mut self.failures);
        cx.notices.push(EventKind::OutputLive { output: self.id, reconnects: self.connections, failures });
        self.connections += 1;
        self.last_error = None;
        self.titles.iter().for_each(Titles::say);
        self.take_turn(cx)
    }

    fn ended(&mut self, cx: &mut OutputContext<'_>, result: Result<(), Error>) -> OutputState {
        match result {
            Err(error) => self.failed(cx, error),
            Ok(()) if self.finishing => {
                self.close();
                self.state = State::Ended;
                OutputState::Ended(None)
            }
            Ok(()) => {
                self.close();
                self.state = if self.rest.is_some() { State::Resting } else { State::Idle };
                OutputState::Running
            }
        }
    }

    fn take_turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        match &mut self.state {
            State::Idle if self.finishing => self.state = State::Ended,
            State::Idle if self.rest.is_some() => self.state = State::Resting,
            State::Waiting { .. } if self.rest.is_some() => self.state = State::Resting,
            State::Idle => return self.begin(cx),
            State::Waiting { until } if *until <= cx.now => return self.begin(cx),
            State::Sending(sending) => {
                let takes_pictures = self.address.protocol != Protocol::Icecast;
                if cx.tick {
                    // What it reported is here by now; a thread that panicked reports nothing.
                    sending.gone += u32::from(sending.worker.is_stopped());
                    if sending.gone > GONE_TICKS {
                        let source = std::io::Error::other("the thread that sends it panicked").into();
                        return self.failed(cx, Error::System { what: "an output cannot be sent", source });
                    }
                    let lag = &self.config.lag;
                    sending.measure(cx.ring, cx.now, lag);
                    let drops = sending.drops() - sending.reported_drops;
                    if drops > 0 {
                        sending.reported_drops += drops;
                        cx.notices.push(EventKind::OutputDropped { output: self.id, tags: drops });
                    }
                    if let Err(error) = sending.check_pace(cx.now, lag, &self.address) {
                        return self.failed(cx, error);
                    }
                }
                let State::Sending(sending) = &mut self.state else { return OutputState::Running };
                sending.feed(cx.ring, cx.now, &self.config.lag, &mut self.intake, takes_pictures);
                if !takes_pictures && !self.told_pictures && cx.ring.headers().has_video() {
                    self.told_pictures = true;
                    let reason = "Icecast is sent sound only".to_owned();
                    cx.notices.push(EventKind::OutputTrackSkipped { output: self.id, track: 0, reason });
                }
                if sending.is_silent() {
                    let (host, reason) = (self.address.peer(), "Icecast is sent AAC and MP3");
                    let codec = "a picture without sound".to_owned();
                    return self.failed(cx, Error::CodecNotTaken { host, codec, reason });
                }
                if self.first_media.is_none() {
                    self.first_media = sending.progress.first.get().copied();
                }
                if let Some(until) = self.rest.filter(|_| !self.finishing)
                    && cx.now >= until
                {
                    self.close();
                    self.state = State::Resting;
                }
                cx.notices.extend(self.intake.take_news(self.id));
            }
            State::Waiting { .. } | State::Queued { .. } | State::Resting | State::Ended => {}
        }
        OutputState::Running
    }
}

impl OutputDriver for UrlOutput {
    fn turn(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.take_turn(cx)
    }

    fn deliver(&mut self, cx: &mut OutputContext<'_>, message: Box<dyn Any + Send>) -> OutputState {
        let Ok(report) = message.downcast::<Report>() else { return OutputState::Running };
        if report.attempt != self.attempt {
            return OutputState::Running;
        }
        match (report.what, &self.state) {
            (What::Turn(Ok(place)), State::Queued { .. }) => self.start(cx, Some(place)),
            (What::Turn(Err(error)), State::Queued { .. }) => self.failed(cx, error),
            (What::Opened, State::Sending(_)) => self.opened(cx),
            (What::Ended(result), State::Sending(_)) => self.ended(cx, result),
            _ => OutputState::Running,
        }
    }

    fn rest(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.rest = Some(cx.now + DRAIN);
        match &mut self.state {
            State::Sending(sending) if sending.is_open => {
                sending.until.get_or_insert(cx.ring.end());
                return self.take_turn(cx);
            }
            State::Ended => {}
            _ => {
                self.close();
                self.state = State::Resting;
            }
        }
        OutputState::Running
    }

    fn resume(&mut self, cx: &mut OutputContext<'_>) -> OutputState {
        self.rest = None;
        match &mut self.state {
            // One that was told that nothing follows cannot go on.
            State::Sending(sending) if sending.queue.is_closed() => self.close(),
            State::Sending(sending) => sending.until = None,
            State::Resting => self.state = State::Idle,
            _ => {}
        }
        self.take_turn(cx)
    }

    fn hear(&mut self, notice: &EventKind) {
        let is_live = matches!(&self.state, State::Sending(sending) if sending.is_open);
        if let (EventKind::ItemStarted { path }, Some(titles)) = (notice, &mut self.titles) {
            titles.begins(path, is_live);
        }
    }

    fn cursor(&self) -> Option<u64> {
        let State::Sending(sending) = &self.state else { return None };
        sending.cursor.as_ref().filter(|_| !sending.queue.is_closed()).map(Cursor::next)
    }

    fn is_away(&self) -> bool {
        match &self.state {
            State::Idle | State::Queued { .. } | State::Waiting { .. } => true,
            State::Sending(sending) => !sending.is_open,
            State::Resting | State::Ended => false,
        }
    }

    fn finish(&mut self, cx: &mut OutputContext<'_>) {
        self.finishing = true;
        match &mut self.state {
            State::Sending(sending) if sending.is_open => {
                sending.until.get_or_insert(cx.ring.end());
                self.take_turn(cx);
            }
            _ => {
                self.close();
                self.state = State::Ended;
            }
        }
    }

    fn cut(&mut self) {
        self.finishing = true;
        self.close();
        self.state = State::Ended;
    }

    fn is_finished(&mut self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn readiness(&self) -> Readiness {
        // A listener may wait for long, and who needs the tracks has to see some media first.
        if self.address.mode() == Mode::Listener || self.needs_tracks() {
            Readiness::Always
        } else if self.settled {
            Readiness::Settled
        } else {
            Readiness::Pending
        }
    }

    fn first_media(&self) -> Option<Instant> {
        self.first_media
    }

    fn link(&self) -> Option<LinkState> {
        match &self.state {
            // libav waits where the network takes no more: what it has written was taken.
            State::Sending(sending) if sending.is_open && self.address.protocol != Protocol::Icecast => {
                Some(LinkState { lag: sending.lag.lag, delivered: Some(sending.bytes()) })
            }
            _ => None,
        }
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = match &self.state {
            State::Idle => OutputPhase::Connecting,
            State::Sending(sending) if sending.is_open => OutputPhase::Live,
            State::Sending(_) | State::Queued { .. } => OutputPhase::Connecting,
            State::Waiting { .. } => OutputPhase::Waiting,
            State::Resting => OutputPhase::Resting,
            State::Ended => OutputPhase::Ended,
        };
        stats.transport = self.address.protocol.transport();
        (stats.bytes_sent, stats.drops) = (self.sent_before, self.drops_before);
        stats.reconnects = self.connections.saturating_sub(1);
        stats.failures = self.failed;
        stats.last_error.clone_from(&self.last_error);
        if let State::Sending(sending) = &self.state {
            stats.bytes_sent += sending.bytes();
            stats.drops += sending.drops();
            stats.bytes_held = sending.queue.bytes() as u64;
            if sending.is_open {
                (stats.lag, stats.lags) = (sending.lag.lag, sending.lag.lags);
            }
        }
    }
}

impl Drop for UrlOutput {
    fn drop(&mut self) {
        self.close();
    }
}
