//! Where publishers of one name ask for each other's place: who may take over, and whether the stream waits for one.
//!
//! In: questions of connections, on their threads. Out: answers, and what the stream's source does about them. Both sides see
//! the same standing, so that no publisher is let in that the other side no longer waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::driver::SourceDriver;

/// Where a publication stands, seen from both sides.
#[derive(Debug)]
pub(crate) struct Desk(Mutex<Standing>);

#[derive(Debug, Clone, Copy)]
struct Standing {
    /// When media last came, or a publisher.
    heard: Instant,
    /// Nobody publishes at the moment.
    vacant: bool,
    /// A publisher was let in and is on the way.
    promised: bool,
    /// The stream has ended, or is about to.
    over: bool,
    /// What is on the air is no publisher: whoever comes takes its place.
    yields: bool,
}

/// The desk's answer to a client that wants to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The publisher was lost: come in.
    Vacant,
    /// The publisher is silent: replace it.
    Silent,
    /// Somebody publishes.
    Taken,
    /// This publication is over: begin another.
    Over,
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        let heard = Instant::now();
        let standing = Standing { heard, vacant: false, promised: false, over: false, yields: false };
        Arc::new(Self(Mutex::new(standing)))
    }

    /// Asks for the place of a publisher that is lost, or has been silent for `takeover_after`. Unless the answer is a no,
    /// the stream waits for a delivery from then on; [`withdraw`](Self::withdraw) if there is none.
    pub(crate) fn ask(&self, takeover_after: Duration) -> Answer {
        let mut standing = self.0.lock();
        let answer = match *standing {
            Standing { over: true, .. } => Answer::Over,
            Standing { promised: true, .. } => Answer::Taken,
            Standing { vacant: true, .. } => Answer::Vacant,
            Standing { yields: true, .. } => Answer::Silent,
            Standing { heard, .. } if heard.elapsed() >= takeover_after => Answer::Silent,
            _ => Answer::Taken,
        };
        standing.promised |= matches!(answer, Answer::Vacant | Answer::Silent);
        answer
    }

    /// What is on the air gives way to the first publisher that comes.
    pub(crate) fn yields(&self) {
        self.0.lock().yields = true;
    }

    /// Whether what is on the air is no publisher.
    pub(crate) fn is_yielding(&self) -> bool {
        self.0.lock().yields
    }

    /// Nobody comes after all.
    pub(crate) fn withdraw(&self) {
        self.0.lock().promised = false;
    }

    pub(crate) fn heard(&self, now: Instant) {
        self.0.lock().heard = now;
    }

    pub(crate) fn vacate(&self) {
        self.0.lock().vacant = true;
    }

    /// The one who was promised is here.
    pub(crate) fn arrived(&self) {
        let mut standing = self.0.lock();
        (standing.heard, standing.vacant, standing.promised) = (Instant::now(), false, false);
        standing.yields = false;
    }

    /// Ends the publication unless a publisher is on the way.
    pub(crate) fn try_end(&self) -> bool {
        let mut standing = self.0.lock();
        standing.over |= !standing.promised;
        standing.over
    }

    pub(crate) fn close(&self) {
        self.0.lock().over = true;
    }
}

/// A publisher on its way to the thread of its stream.
pub(crate) struct Delivery(pub(crate) Box<dyn SourceDriver>);
