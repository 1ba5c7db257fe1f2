//! What the runner's thread does: looks, takes, starts, ends, gives back.
//!
//! In: the list, what is free, orders of the program, what became of jobs. Out: jobs, and what Redis is told. One thread has all of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use flowcast_core::StreamRef;

use super::Running;
use super::hands::{Done, Hands};
use super::options::RunnerOptions;
use super::waiting::Waiting;
use crate::desired::{DesiredStream, DesiredStreams, Kept, Turn, WHY};
use crate::error::Error;
use crate::lease::Lease;
use crate::nodes::Nodes;
use crate::room::Room;

/// How often it is looked what is to be done.
const TURN: Duration = Duration::from_millis(100);
/// How often it is looked what is free.
const LOOK: Duration = Duration::from_millis(300);
/// A stream that has run for this long did not fail at the start.
const STEADY: Duration = Duration::from_secs(30);
/// What there is no room for is asked about again after this.
const FULL: Duration = Duration::from_secs(2);
/// What another node has after all is asked about again after this.
const TAKEN: Duration = Duration::from_millis(500);
/// Why a stream does not run here is told again after this.
const AGAIN: Duration = Duration::from_secs(20);
/// Reasons that are told in one turn.
const TOLD: usize = 20;
/// The list of when to look is mended if it was wrong for this long.
const WRONG: Duration = Duration::from_secs(5);

/// What the program asks of the runner.
pub(super) enum Order {
    /// A stream is to end here: it was offered to another node.
    GiveUp { name: String, reply: Sender<Result<(), String>> },
    /// All are to end.
    End { reply: Sender<()> },
    /// Which streams are this node's: what runs, begins and ends.
    Names { reply: Sender<Vec<String>> },
}

/// A stream of this node.
struct Mine {
    lease: Arc<Lease>,
    kept: Arc<Kept>,
    phase: Phase,
    since: Instant,
    /// Redis knows that it is on the air.
    is_told: bool,
}

enum Phase {
    Starting,
    Running(StreamRef),
    Ending(Then),
}

/// What follows once it has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GiveBack,
    Restart,
}

pub(super) struct Work {
    desired: DesiredStreams,
    nodes: Nodes,
    hands: Hands,
    done: Receiver<Done>,
    options: RunnerOptions,
    running: Arc<Running>,
    mine: HashMap<String, Mine>,
    waiting: Waiting,
    /// Leases that are being given back, and who waits for it.
    returning: HashMap<String, Vec<Sender<Result<(), String>>>>,
    /// What was told of streams, and when.
    told: HashMap<String, (String, Instant)>,
    tells: usize,
    hold_at: Instant,
    look_at: Instant,
    /// Since when the list of when to look is not that of what should run.
    wrong_since: Option<Instant>,
    random: u64,
}

impl Work {
    pub(super) fn new(
        desired: DesiredStreams,
        nodes: Nodes,
        hands: Hands,
        done: Receiver<Done>,
        options: RunnerOptions,
        running: Arc<Running>,
    ) -> Self {
        let now = Instant::now();
        let random = crate::placement::weight("random", nodes.name()) | 1;
        Self {
            desired,
            nodes,
            hands,
            done,
            options,
            running,
            mine: HashMap::new(),
            waiting: Waiting::default(),
            returning: HashMap::new(),
            told: HashMap::new(),
            tells: 0,
            hold_at: now,
            look_at: now,
            wrong_since: None,
            random,
        }
    }

    /// The life of the thread.
    pub(super) fn live(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(TURN) {
                Ok(Order::GiveUp { name, reply }) => self.give_up(&name, reply),
                Ok(Order::Names { reply }) => drop(reply.send(self.mine.keys().cloned().collect())),
                Ok(Order::End { reply }) => {
                    self.end();
                    let _ = reply.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
            self.tells = 0;
            self.take_results();
            self.keep();
            self.give_back();
            self.hold();
            // Who others do not see may be another process's double, and a list that is lost is not to be filled from here.
            if self.desired.is_known() && self.nodes.is_listed() {
                self.look();
                self.decline();
                if !self.nodes.is_draining() {
                    self.claim();
                }
            }
        }
    }

    fn give_up(&mut self, name: &str, reply: Sender<Result<(), String>>) {
        let answer = match self.mine.get_mut(name) {
            Some(mine) => match &mine.phase {
                Phase::Running(stream) => {
                    self.hands.stop(name, stream.clone(), self.options.stop);
                    mine.phase = Phase::Ending(Then::GiveBack);
                    self.returning.entry(name.to_owned()).or_default().push(reply);
                    return;
                }
                Phase::Starting => "it is being started",
                Phase::Ending(_) => "it is ending",
            },
            None => "it does not run here any more",
        };
        let _ = reply.send(Err(answer.to_owned()));
    }

    /// What became of jobs.
    fn take_results(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Started(name, Ok(stream)) => {
                    let Some(mine) = self.mine.get_mut(&name) else { continue };
                    log::info!("{name}: runs here, epoch {}", mine.lease.epoch());
                    mine.phase = Phase::Running(stream.clone());
                    mine.since = Instant::now();
                    self.running.lock().insert(name.clone(), stream);
                    self.tell_air(&name);
                }
                Done::Started(name, Err(why)) => self.fail(&name, &why),
                Done::Stopped { name, has_ended } => {
                    self.running.lock().remove(&name);
                    let Some(mine) = self.mine.get_mut(&name) else { continue };
                    let Phase::Ending(then) = mine.phase else { continue };
                    // One that did not end in time ends with its lease.
                    let may_begin = then == Then::Restart && has_ended && mine.lease.is_held();
                    let kept = self.desired.find(&name).filter(|_| may_begin);
                    let stream = kept.as_ref().and_then(|kept| self.desired.read(&name, kept));
                    // A node that is drained begins nothing anew.
                    let stream = stream.filter(|_| !self.nodes.is_draining());
                    let before = self.desired.read(&name, &mine.kept);
                    match (kept, stream) {
                        (Some(kept), Some(stream))
                            if stays(before.as_ref(), &stream, self.nodes.labels(), &self.options) =>
                        {
                            (mine.kept, mine.phase, mine.is_told) = (kept, Phase::Starting, false);
                            self.hands.start(stream, mine.lease.clone());
                        }
                        _ => self.part_with(&name),
                    }
                }
            }
        }
    }

    /// It could not be started here, or has ended by itself.
    fn fail(&mut self, name: &str, why: &str) {
        let pause = self.waiting.failed(name, Instant::now());
        log::warn!("{name}: {why}; this node leaves it to others for {pause:?}");
        self.part_with(name);
        self.tell_why(name, why);
    }

    /// Gives its lease up.
    fn part_with(&mut self, name: &str) {
        self.running.lock().remove(name);
        if self.mine.remove(name).is_some() {
            self.returning.entry(name.to_owned()).or_default();
        }
    }

    /// Looks whether what runs here should, as it does.
    fn keep(&mut self) {
        let is_known = self.desired.is_known();
        let mut ended = Vec::new();
        for (name, mine) in &mut self.mine {
            let Phase::Running(stream) = &mine.phase else { continue };
            if stream.has_ended() {
                ended.push((name.clone(), stream.clone(), mine.lease.is_held()));
                continue;
            }
            if mine.since.elapsed() > STEADY {
                self.waiting.succeeded(name);
            }
            if !is_known {
                continue;
            }
            let then = match self.desired.find(name) {
                None => Then::GiveBack,
                Some(kept) if Arc::ptr_eq(&kept, &mine.kept) => continue,
                Some(kept) => {
                    let [before, now] = [&mine.kept, &kept].map(|kept| self.desired.read(name, kept));
                    // Only where it may run has changed, and it may run here.
                    if let (Some(before), Some(now)) = (&before, &now)
                        && before.spec == now.spec
                        && stays(Some(before), now, self.nodes.labels(), &self.options)
                    {
                        mine.kept = kept;
                        continue;
                    }
                    Then::Restart
                }
            };
            log::info!(
                "{name}: {}",
                if then == Then::Restart { "is changed" } else { "should not run any more" }
            );
            self.hands.stop(name, stream.clone(), self.options.stop);
            mine.phase = Phase::Ending(then);
        }
        for (name, stream, was_held) in ended {
            // It has ended: the answer is there.
            let why = match stream.stop(Duration::ZERO) {
                _ if !was_held => "its lease was lost".to_owned(),
                Ok(_) => "it was complete, or the program has stopped it".to_owned(),
                Err(error) => format!("it ended: {error}"),
            };
            self.fail(&name, &why);
        }
    }

    /// Says of what was given back that it is free.
    fn give_back(&mut self) {
        let leases = self.desired.leases();
        let free: Vec<_> = self.returning.keys().filter(|name| !leases.has(name)).cloned().collect();
        if free.is_empty() {
            return;
        }
        let names = free.clone();
        // If it cannot be said now, it shows when the time is over for which it was held.
        let _ = self.desired.index(move |index, worker, until| index.turn(worker, until, Turn::Free, &names));
        for name in free {
            for waits in self.returning.remove(&name).into_iter().flatten() {
                let _ = waits.send(Ok(()));
            }
        }
    }

    /// Says what is held here.
    fn hold(&mut self) {
        if Instant::now() < self.hold_at {
            return;
        }
        let ttl = self.desired.leases().ttl();
        self.hold_at = Instant::now() + ttl / 4;
        let names: Vec<_> = self.mine.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        self.say_held(names);
        let untold =
            self.mine.iter().filter(|(_, mine)| !mine.is_told && matches!(mine.phase, Phase::Running(_)));
        let untold: Vec<_> = untold.map(|(name, _)| name.clone()).collect();
        untold.iter().for_each(|name| self.tell_air(name));
    }

    fn say_held(&self, names: Vec<String>) {
        let ttl = self.desired.leases().ttl();
        let _ = self
            .desired
            .index(move |index, worker, until| index.turn(worker, until, Turn::Hold(ttl), &names));
    }

    fn tell_air(&mut self, name: &str) {
        let Some(mine) = self.mine.get_mut(name) else { return };
        let (said, node, epoch) = (name.to_owned(), self.nodes.name().to_owned(), mine.lease.epoch());
        let told =
            self.desired.index(move |index, worker, until| index.on_air(worker, until, &said, &node, epoch));
        mine.is_told = told.is_ok();
        self.told.remove(name);
    }

    fn tell_why(&mut self, name: &str, why: &str) {
        let now = Instant::now();
        let is_told = self.told.get(name).is_some_and(|(told, at)| told == why && now < *at + AGAIN);
        if is_told || self.tells >= TOLD {
            return;
        }
        self.tells += 1;
        self.told.retain(|_, (_, at)| now < *at + WHY);
        self.told.insert(name.to_owned(), (why.to_owned(), now));
        let (name, node, why) = (name.to_owned(), self.nodes.name().to_owned(), why.to_owned());
        let _ =
            self.desired.index(move |index, worker, until| index.say_why(worker, until, &name, &node, &why));
    }

    /// Looks what is free.
    fn look(&mut self) {
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK;
        let news = self.desired.news();
        if !news.is_empty() {
            let _ =
                self.desired.index(move |index, worker, until| index.turn(worker, until, Turn::Put, &news));
        }
        let part = self.random();
        let Ok(free) = self.desired.index(move |index, worker, until| index.free(worker, until, part)) else {
            return;
        };
        let now = Instant::now();
        if free.is_whole {
            self.wrong_since = None;
        } else if *self.wrong_since.get_or_insert(now) + WRONG < now {
            self.mend(&free.names);
        }
        let is_all = free.names.len() < crate::desired::LOOKED_AT;
        let others = free.names.into_iter().filter(|(name, _)| !self.mine.contains_key(name));
        let others = others.collect();
        self.waiting.saw(now, others, is_all);
    }

    /// Brings the list of when to look in line with what should run.
    fn mend(&mut self, free: &[(String, Option<String>)]) {
        self.wrong_since = None;
        let all = self.desired.names();
        let gone: Vec<_> = free
            .iter()
            .map(|(name, _)| name)
            .filter(|name| self.desired.find(name).is_none())
            .cloned()
            .collect();
        let _ = self.desired.index(move |index, worker, until| {
            index.turn(worker, until, Turn::Put, &all)?;
            index.turn(worker, until, Turn::Gone, &gone)
        });
    }

    /// Says of what it was offered, and does not take, that others may.
    fn decline(&mut self) {
        let is_everything = self.nodes.is_draining();
        for name in self.waiting.declined(Instant::now(), self.nodes.name(), is_everything) {
            let node = self.nodes.name().to_owned();
            // If it cannot be said now, the offer ends by itself.
            let _ =
                self.desired.index(move |index, worker, until| index.decline(worker, until, &name, &node));
        }
    }

    /// Takes what is free and fits, as far as it is this node's turn.
    fn claim(&mut self) {
        let starting = self.mine.values().filter(|mine| matches!(mine.phase, Phase::Starting)).count();
        let mut places = self.options.starts_at_once.saturating_sub(starting);
        if places == 0 {
            return;
        }
        let mut room = self.nodes.room();
        let due = self.waiting.due(Instant::now(), self.nodes.name(), room.load(), self.options.claim_delay);
        let mut taken = Vec::new();
        for name in due {
            if places == 0 {
                break;
            }
            if self.mine.contains_key(&name) || self.returning.contains_key(&name) {
                continue;
            }
            let Some(kept) = self.desired.find(&name) else { continue };
            match self.try_claim(&name, &kept, &mut room) {
                Ok((stream, lease)) => {
                    self.waiting.forget(&name);
                    let (lease, phase, since) = (Arc::new(lease), Phase::Starting, Instant::now());
                    self.hands.start(stream, lease.clone());
                    self.mine.insert(name.clone(), Mine { lease, kept, phase, since, is_told: false });
                    taken.push(name);
                    places -= 1;
                }
                Err(NotHere::Taken) => self.waiting.taken(&name, Instant::now() + TAKEN),
                Err(NotHere::Because(why, pause)) => {
                    self.waiting.leave(&name, Instant::now() + pause);
                    self.tell_why(&name, &why);
                }
                Err(NotHere::Away) => break,
            }
        }
        if !taken.is_empty() {
            self.say_held(taken);
        }
    }

    fn try_claim(&self, name: &str, kept: &Kept, room: &mut Room) -> Result<(DesiredStream, Lease), NotHere> {
        let because = |why: String| NotHere::Because(why, FULL);
        let Some(stream) = self.desired.read(name, kept) else {
            return Err(because(
                "its spec cannot be read: it is of a later version, or of another secret".into(),
            ));
        };
        if let Some(label) = stream.labels.iter().find(|label| !self.nodes.labels().contains(label)) {
            return Err(because(format!("the node does not have the label {label}")));
        }
        let demand = self.hands.runs().demand(&stream).map_err(|error| because(error.to_string()))?;
        if let Some(short) = room.lacks(&demand) {
            return Err(because(format!("there is not enough room ({short})")));
        }
        let leases = self.desired.leases();
        let lease = match (&stream.spec.owner, self.options.most_per_owner) {
            (Some(owner), Some(most)) => leases.acquire_for(name, owner, most),
            _ => leases.acquire(name),
        };
        match lease {
            Ok(lease) => {
                *room = room.with(&demand);
                Ok((stream, lease))
            }
            Err(Error::Held { .. }) => Err(NotHere::Taken),
            Err(error @ (Error::Core(_) | Error::Config { .. } | Error::Young { .. })) => {
                Err(because(error.to_string()))
            }
            Err(_) => Err(NotHere::Away),
        }
    }

    /// Ends all streams in order, and gives their leases back.
    fn end(&mut self) {
        let until = Instant::now() + self.options.stop + super::LEASES / 2;
        for (name, mine) in &mut self.mine {
            if let Phase::Running(stream) = &mine.phase {
                self.hands.stop(name, stream.clone(), self.options.stop);
                mine.phase = Phase::Ending(Then::GiveBack);
            } else if matches!(mine.phase, Phase::Ending(_)) {
                mine.phase = Phase::Ending(Then::GiveBack);
            }
        }
        // One that is being started ends with its lease.
        let starting = self.mine.iter().filter(|(_, mine)| matches!(mine.phase, Phase::Starting));
        let starting: Vec<_> = starting.map(|(name, _)| name.clone()).collect();
        starting.iter().for_each(|name| self.part_with(name));
        while !self.mine.is_empty() && Instant::now() < until {
            if let Ok(Done::Stopped { name, .. }) = self.done.recv_timeout(TURN) {
                self.part_with(&name);
            }
        }
        let left: Vec<_> = self.mine.keys().cloned().collect();
        left.iter().for_each(|name| self.part_with(name));
        let until = Instant::now() + super::LEASES / 2;
        while !self.returning.is_empty() && Instant::now() < until {
            std::thread::park_timeout(TURN / 2);
            self.give_back();
        }
    }

    /// A number from 0 to 1: it only spreads what nodes look at.
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Whether a stream that was changed may begin anew behind the lease it has: what else a lease is asked for with has to be the same still. If not, the stream is
/// given back, and taken where it fits.
fn stays(
    before: Option<&DesiredStream>,
    now: &DesiredStream,
    labels: &[String],
    options: &RunnerOptions,
) -> bool {
    // The place of an owner is part of the lease.
    let is_his = before.is_some_and(|before| before.spec.owner == now.spec.owner);
    (is_his || options.most_per_owner.is_none()) && now.labels.iter().all(|label| labels.contains(label))
}

/// Why a stream is not taken.
enum NotHere {
    /// Another node has it after all.
    Taken,
    /// It does not fit here; it is asked about again after so long.
    Because(String, Duration),
    /// Redis cannot be asked.
    Away,
}
