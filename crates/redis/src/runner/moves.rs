//! Streams that go to another node: when this one is drained, or the cluster is balanced on purpose.
//!
//! In: a call of the program. Out: what went where, and what stays and why. On the caller's thread.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::StreamRunner;
use super::work::Order;
use crate::desired::DesiredStatus;
use crate::error::Error;
use crate::node::Node;
use crate::placement::{Verdict, place};
use crate::room::Demand;

/// How long the other node has to put a stream on the air; for as long, nobody else takes it.
const TAKES: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(100);
/// What could not go is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Why a stream stays is said again after this: it is forgotten after a minute.
const TELL: Duration = Duration::from_secs(20);
/// What has ended here by itself begins elsewhere within this.
const SETTLES: Duration = Duration::from_secs(5);
/// A stream is moved if the other node is less loaded with it than this one, by this much.
const WORTH: f64 = 0.1;
/// Beside the time that a stream has to end.
const GRACE: Duration = Duration::from_secs(10);

/// What became of the streams of a node that were to go. `Display` gives it in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MoveReport {
    /// Streams that another node has put on the air: the name, and the node.
    pub moved: Vec<(String, String)>,
    /// Streams that did not go, or have not come up elsewhere: the name, and why.
    pub left: Vec<(String, String)>,
}

impl StreamRunner {
    /// Takes nothing new from now on, and hands its streams over one by one: each goes to the node where it fits best, and the next follows once that has it on the air.
    /// What fits nowhere stays here, and is tried again until `deadline`. The node goes on to take nothing new afterwards; with
    /// [`Nodes::set_draining`](crate::Nodes::set_draining) it takes streams again, and this ends.
    ///
    /// Each stream is off the air for as long as it takes to end it here and to start it there: about a second, where both are quick.
    ///
    /// # Blocking
    ///
    /// Until nothing runs here any more, up to `deadline` and what the last stream takes.
    pub fn drain(&self, deadline: Duration) -> MoveReport {
        self.nodes.set_draining(true);
        self.hand_all(deadline, &|| true)
    }

    /// Does that for as long as the node is drained this time, and `goes_on`.
    pub(crate) fn hand_all(&self, deadline: Duration, goes_on: &dyn Fn() -> bool) -> MoveReport {
        let until = Instant::now().checked_add(deadline);
        let turn = self.nodes.draining();
        let takes_again = || turn.is_none() || self.nodes.draining() != turn;
        let is_over = || takes_again() || !goes_on() || until.is_some_and(|until| Instant::now() >= until);
        let (mut moved, mut left) = (Vec::new(), BTreeMap::new());
        let mut told: HashMap<String, (String, Instant)> = HashMap::new();
        let mut empty_since = None;
        loop {
            let mut has_moved = false;
            for name in self.all_names() {
                if is_over() {
                    break;
                }
                match self.hand_over(&name, &mut |_, _, _| true) {
                    Ok(node) => {
                        left.remove(&name);
                        moved.push((name, node));
                        has_moved = true;
                    }
                    Err(why) => {
                        let is_told =
                            told.get(&name).is_some_and(|(said, at)| *said == why && at.elapsed() < TELL);
                        if !is_told {
                            self.tell_why(&name, &why);
                            told.insert(name.clone(), (why.clone(), Instant::now()));
                        }
                        left.insert(name, why);
                    }
                }
            }
            let names = self.all_names();
            // What was being started anew ends here, and begins elsewhere; what should not run any more has ended.
            for name in left.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>() {
                match self.elsewhere(&name) {
                    Some(node) => moved.push((name.clone(), node)),
                    None if self.desired.get(&name).is_none() => {}
                    None => continue,
                }
                left.remove(&name);
            }
            let settles = *empty_since.get_or_insert_with(Instant::now) + SETTLES;
            if !names.is_empty() {
                empty_since = None;
            }
            let is_empty = names.is_empty() && (left.is_empty() || Instant::now() >= settles);
            if is_empty || is_over() {
                for name in names {
                    let why = || match takes_again() {
                        true => "the node takes streams again".to_owned(),
                        false => "there was no time left for it".to_owned(),
                    };
                    left.entry(name).or_insert_with(why);
                }
                return MoveReport { moved, left: left.into_iter().collect() };
            }
            if !has_moved {
                std::thread::park_timeout(AGAIN);
            }
        }
    }

    /// Moves up to `most` of its streams to nodes that would be less loaded with them than this one is, by ten points or more. One by one, as
    /// [`drain`](Self::drain) does. Nothing moves by itself.
    ///
    /// # Errors
    ///
    /// What is in the way with Redis.
    ///
    /// # Blocking
    ///
    /// Until it is done: each stream takes what it takes to end it here, and up to half a minute there.
    pub fn rebalance(&self, most: usize) -> Result<MoveReport, Error> {
        let mut report = MoveReport::default();
        // What went to a node is in its next heartbeat only.
        let mut gone: HashMap<String, Vec<Demand>> = HashMap::new();
        self.nodes.list()?;
        for name in self.names() {
            if report.moved.len() >= most {
                break;
            }
            let mut is_worth = |node: &Node, demand: &Demand, load: f64| {
                let with = gone
                    .get(&node.name)
                    .into_iter()
                    .flatten()
                    .fold(node.room, |room, demand| room.with(demand));
                let there = load.max(with.with(demand).load());
                there + WORTH <= self.nodes.room().load()
            };
            let demand = self.demand(&name);
            match self.hand_over(&name, &mut is_worth) {
                Ok(node) => {
                    gone.entry(node.clone()).or_default().extend(demand.ok());
                    report.moved.push((name, node));
                }
                Err(why) => report.left.push((name, why)),
            }
        }
        Ok(report)
    }

    /// What runs.
    fn names(&self) -> Vec<String> {
        self.running.lock().keys().cloned().collect()
    }

    /// What runs, what is just being started, and what is ending to be started anew.
    fn all_names(&self) -> Vec<String> {
        let (reply, names) = bounded(1);
        // A thread that waits for Redis answers later.
        let asked = self.orders.send(Order::Names { reply });
        asked.ok().and_then(|()| names.recv_timeout(GRACE).ok()).unwrap_or_else(|| self.names())
    }

    /// The other node that has it on the air.
    fn elsewhere(&self, name: &str) -> Option<String> {
        match self.desired.status(name) {
            Ok(DesiredStatus::Running { node, .. }) if node != self.nodes.name() => Some(node),
            _ => None,
        }
    }

    /// Says in Redis why a stream stays, for who looks what becomes of it.
    fn tell_why(&self, name: &str, why: &str) {
        log::warn!("{name} is not handed over: {why}");
        let (name, node, why) = (name.to_owned(), self.nodes.name().to_owned(), format!("it stays: {why}"));
        // What cannot be said now is said the next time.
        let _ =
            self.desired.index(move |index, worker, until| index.say_why(worker, until, &name, &node, &why));
    }

    fn demand(&self, name: &str) -> Result<Demand, String> {
        let stream = self.desired.get(name).ok_or("it is not in the list any more")?;
        self.runs.0.demand(&stream).map_err(|error| error.to_string())
    }

    /// Gives a stream to the node where it fits best, if `is_worth` it: asked with the node, what the stream needs, and the load of the node with it. The node, once it is
    /// on the air there; or why not.
    fn hand_over(
        &self,
        name: &str,
        is_worth: &mut dyn FnMut(&Node, &Demand, f64) -> bool,
    ) -> Result<String, String> {
        let said = |error: Error| error.to_string();
        let demand = self.demand(name)?;
        let labels = self.desired.get(name).map(|stream| stream.labels).unwrap_or_default();
        let mut others = self.nodes.list().map_err(said)?;
        others.retain(|node| node.has_runner && node.name != self.nodes.name());
        let placement = place(name, &demand, &labels, &others);
        let Some(to) = placement.node.clone() else { return Err(placement.to_string()) };
        let load = placement.choices.first().map_or(1.0, |choice| match choice.verdict {
            Verdict::Fits { load, .. } => load,
            _ => 1.0,
        });
        let node = others.iter().find(|node| node.name == to);
        if !node.is_some_and(|node| is_worth(node, &demand, load)) {
            return Err(format!("no node would be much less loaded with it: {placement}"));
        }
        let (offered, node) = (name.to_owned(), to.clone());
        let time = self.options.stop + TAKES;
        let offer =
            self.desired.index(move |index, worker, until| index.offer(worker, until, &offered, &node, time));
        offer.map_err(said)?;
        let (reply, given_up) = bounded(1);
        let order = Order::GiveUp { name: name.to_owned(), reply };
        self.orders.send(order).map_err(|_| "the runner has ended")?;
        let given_up = given_up.recv_timeout(self.options.stop + GRACE);
        given_up.map_err(|_| "it did not end in time".to_owned())??;
        let until = Instant::now() + TAKES;
        loop {
            if let Some(node) = self.elsewhere(name) {
                return Ok(node);
            }
            if Instant::now() >= until {
                return Err(format!("it was given to {to}, and is not on the air there"));
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

impl fmt::Display for MoveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moved, left } = self;
        write!(f, "{} moved", moved.len())?;
        for (number, (name, node)) in moved.iter().enumerate() {
            write!(f, "{}{name} to {node}", if number == 0 { ": " } else { ", " })?;
        }
        write!(f, "; {} left", left.len())?;
        left.iter().try_for_each(|(name, why)| write!(f, "; {name}: {why}"))
    }
}
