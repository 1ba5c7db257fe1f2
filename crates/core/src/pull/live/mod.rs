//! Live inputs that are not RTMP: SRT, RTSP, HLS, and MPEG-TS, FLV or fragmented MP4 over HTTP.
//!
//! In: where it is, and what may be reached. Out: tags. A worker connects and reads, on a thread of its own with libav ([`worker`]); the
//! stream's thread takes what is due from a bounded queue and never waits.

mod answers;
mod cipher;
mod hls;
mod pace;
mod playlist;
mod relay;
mod tags;
mod times;
mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use flowcast_av::Interrupt;
use flowcast_rtmp::time::MediaTime;

use self::pace::Pace;
use self::playlist::Media;
use self::worker::{Used, Worker};
use super::link::Found;
use super::{Pull, Setting};
use crate::config::ConnectConfig;
use crate::driver::SourceContext;
use crate::error::Error;
use crate::fetch::{Cancel, Dial};
use crate::lap::{Step, TagReceiver, Taken, queue};
use crate::net::location::Location;
use crate::net::reach::Judge;
use crate::net::resolver::Resolver;
use crate::sys;

/// Stack of the worker, for what libav's analysis decodes.
const STACK: usize = 2 << 20;
/// How long the first media may take: a camera sends a keyframe every ten seconds, and more.
const FIRST_MEDIA: Duration = Duration::from_secs(20);
/// How long pictures may come before a keyframe.
const KEYFRAME: Duration = Duration::from_secs(30);
/// One for all inputs, so that a name server that is dead costs a bounded number of threads.
static RESOLVER: LazyLock<Resolver> = LazyLock::new(Resolver::default);
/// Tags taken in one turn.
const TAG_BUDGET: usize = 2048;

/// What the worker tells besides tags.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// It does not come at the pace it is played at.
    is_paced: AtomicBool,
    /// It has an end, and so no clock of its own.
    is_finite: AtomicBool,
    /// How long nothing may come, if that is longer than usual; milliseconds.
    patience: AtomicU64,
}

impl Told {
    /// There is such a playlist.
    fn note(&self, list: &Media) {
        let patience = u64::try_from(hls::patience(list).as_millis()).unwrap_or(u64::MAX);
        self.patience.store(patience, Ordering::Relaxed);
        self.is_finite.store(list.is_complete, Ordering::Relaxed);
        self.is_paced.store(true, Ordering::Release);
    }

    /// It is the body of an answer, of a known length or not.
    fn note_body(&self, is_finite: bool) {
        self.is_finite.store(is_finite, Ordering::Relaxed);
        self.is_paced.store(true, Ordering::Release);
    }
}

/// One connection to a live input, or one that is being made.
#[derive(Debug)]
pub(super) struct LiveLink {
    receiver: TagReceiver,
    told: Arc<Told>,
    cancel: Cancel,
    interrupt: Interrupt,
    thread: Option<sys::Worker>,
    pace: Option<Pace>,
    /// Media time that is waited for before anything is taken from it.
    bound: Duration,
    /// How long it may send no media: at first, and later.
    silence: (Duration, Duration),
    /// When media time last went on, or when it was begun.
    heard: Instant,
    /// The newest media time.
    newest: Option<i64>,
    /// Since when there are pictures and no keyframe yet.
    without_key: Option<Instant>,
    had_key: bool,
}

impl LiveLink {
    /// Starts to connect.
    ///
    /// # Errors
    ///
    /// There is no thread.
    pub(super) fn start(
        location: Location,
        pull: &Pull,
        connect: &ConnectConfig,
        setting: &Setting,
    ) -> Result<Self, Error> {
        let (sender, receiver) = queue(setting.bounds);
        let (told, interrupt) = (Arc::new(Told::default()), Interrupt::new());
        let cancel = Cancel::default();
        let first = pull.first_media.unwrap_or_else(|| pull.silence.max(FIRST_MEDIA));
        let dial = Dial {
            reach: Arc::new(Judge::new(pull.reach.clone())),
            roots: pull.roots.clone(),
            connect: connect.clone(),
            resolver: RESOLVER.clone(),
            cancel: cancel.clone(),
        };
        let worker = Worker {
            location,
            dial,
            silence: first.max(pull.silence),
            setting: setting.clone(),
            sender,
            told: told.clone(),
            interrupt: interrupt.clone(),
            used: Used::default(),
        };
        let name = format!("fl-{}", setting.name);
        let thread = sys::Worker::start("a live input", name, STACK, move || worker.run())
            .map_err(|source| Error::System { what: "no thread for a live input", source: source.into() })?;
        Ok(Self {
            receiver,
            told,
            cancel,
            interrupt,
            thread: Some(thread),
            pace: None,
            bound: setting.bounds.media,
            silence: (first, pull.silence),
            heard: Instant::now(),
            newest: None,
            without_key: None,
            had_key: false,
        })
    }

    pub(super) fn has_media(&self) -> bool {
        self.newest.is_some()
    }

    /// Whether there is something to take outside of ticks.
    pub(super) fn is_due(&self) -> bool {
        self.receiver.is_read()
            || !self.receiver.is_empty()
                && (self.pace.is_none() || !self.told.is_paced.load(Ordering::Acquire))
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.receiver.bytes()
    }

    /// Takes what is due.
    ///
    /// # Errors
    ///
    /// It could not be connected to, is lost, falls silent or makes no sense.
    pub(super) fn turn(&mut self, cx: &mut SourceContext<'_>, host: &str) -> Result<Found, Error> {
        let is_paced = self.told.is_paced.load(Ordering::Acquire);
        let waits_much =
            !self.told.is_finite.load(Ordering::Relaxed) && self.receiver.span() > self.bound / 2;
        let until = match &mut self.pace {
            Some(pace) => pace.until(cx.now, waits_much),
            None => i64::MAX,
        };
        let (from, enough) = (cx.tags.len(), cx.tags.len() + TAG_BUDGET);
        let begins = is_paced && self.pace.is_none();
        let taken = self.receiver.take(MediaTime::from_millis(until), |step| {
            match step {
                Step::Tag(tag) => {
                    let is_media = !tag.is_header() && !tag.is_script();
                    cx.tags.push(tag);
                    // The first one says from when on the others are due.
                    return !(begins && is_media) && cx.tags.len() < enough;
                }
                Step::Notice(kind) => cx.notices.push(kind),
                Step::Opened(_) | Step::Ending(_) | Step::End => {}
            }
            true
        });
        let arrived = cx.arrived();
        for tag in cx.tags.iter().skip(from).filter(|tag| !tag.is_header() && !tag.is_script()) {
            let millis = tag.timestamp.as_millis();
            if self.newest.is_none_or(|newest| millis > newest) {
                (self.newest, self.heard) = (Some(millis), arrived);
            }
            if tag.is_video() && !self.had_key {
                self.had_key = tag.is_keyframe();
                self.without_key.get_or_insert(arrived);
            }
        }
        if let (true, Some(first)) = (begins, self.newest) {
            self.pace = Some(Pace::new(cx.now, first));
        }
        match taken {
            Taken::Due => {}
            Taken::Dry => {
                if let (Some(pace), Some(newest)) = (&mut self.pace, self.newest) {
                    pace.dry(newest);
                }
            }
            Taken::Ended => return Ok(Found::Over("the input has ended".to_owned())),
            Taken::Failed(error) => return Err(error),
        }
        if cx.tick {
            self.check(cx.now, host)?;
        }
        Ok(Found::Media(cx.tags.len() >= enough))
    }

    /// Fails if it is silent for too long, or sends nothing that can be decoded.
    fn check(&self, now: Instant, host: &str) -> Result<(), Error> {
        let timed_out = |reason: String| {
            let source = io::Error::new(io::ErrorKind::TimedOut, reason);
            Err(Error::ConnectionLost { host: host.to_owned(), source: source.into() })
        };
        let usual = if self.has_media() { self.silence.1 } else { self.silence.0 };
        let silence = usual.max(Duration::from_millis(self.told.patience.load(Ordering::Relaxed)));
        if now.saturating_duration_since(self.heard) >= silence {
            return timed_out(format!("no media came for {silence:?}"));
        }
        let waits = self.without_key.filter(|_| !self.had_key);
        if waits.is_some_and(|since| now.saturating_duration_since(since) >= KEYFRAME) {
            return timed_out(format!("no keyframe came for {KEYFRAME:?}"));
        }
        Ok(())
    }

    /// Ends it; gives the thread that may take a moment to notice.
    pub(super) fn end(mut self) -> Option<sys::Worker> {
        self.let_go();
        self.thread.take()
    }

    fn let_go(&self) {
        self.cancel.cancel();
        self.interrupt.cancel();
    }
}

impl Drop for LiveLink {
    fn drop(&mut self) {
        self.let_go();
    }
}
