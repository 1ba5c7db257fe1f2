//! The thread of a live input: connects, opens, reads, until it ends or nobody wants it any more.
//!
//! In: where it is. Out: tags in a queue, which is waited for while it is full, and why it ended. All connections to the web and to RTSP
//! servers are made here; libav connects to nothing but the address of an SRT server, which was judged before.

use std::cell::{Cell, RefCell};
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flowcast_av::{Demuxer, Error as Media, Interrupt, OpenOptions};
use parking_lot::Mutex;

use super::hls::{self, Part, Rendition, Shared};
use super::playlist::{Master, Playlist, is_playlist};
use super::relay::Relay;
use super::tags::{Clock, GoOn, Sink};
use super::{Setting, Told};
use crate::error::Error;
use crate::fetch::{Client, Dial, connect, lost};
use crate::lap::{Stop, TagSender};
use crate::net::location::{Location, Protocol};
use crate::sys::{CodecHost, CpuLap, Leave, yield_to_others};
use crate::tracks::Carriage;

/// Redirections of an RTSP server in a row.
const MOST_HOPS: u32 = 5;
/// Packets between two reports of the CPU time.
const REPORT_EVERY: u32 = 32;
/// Bytes by which a playlist is known.
const START: u64 = 16;

pub(super) struct Worker {
    pub(super) location: Location,
    pub(super) dial: Dial,
    /// How long nothing may come, before the first media and between two bytes.
    pub(super) silence: Duration,
    pub(super) setting: Setting,
    pub(super) sender: TagSender,
    pub(super) told: Arc<Told>,
    pub(super) interrupt: Interrupt,
    pub(super) used: Used,
}

/// What the thread has used, and when it last told.
#[derive(Debug, Default)]
pub(super) struct Used {
    lap: RefCell<CpuLap>,
    since_report: Cell<u32>,
    has_woken: Cell<bool>,
}

impl Worker {
    pub(super) fn run(self) {
        let _host = CodecHost::enter(&self.setting.cpu);
        yield_to_others(Leave::Some);
        self.sender.finish(self.play().into());
        self.setting.cpu.lap(&mut self.used.lap.borrow_mut());
        self.setting.mailbox.wake();
    }

    /// There is something for the stream's thread, which takes it with its ticks if that is early enough.
    fn wake(&self) {
        let used = &self.used;
        used.since_report.set(used.since_report.get() + 1);
        if used.since_report.get() >= REPORT_EVERY {
            used.since_report.set(0);
            self.setting.cpu.lap(&mut used.lap.borrow_mut());
        }
        if !used.has_woken.replace(true) || !self.told.is_paced.load(Ordering::Relaxed) {
            self.setting.mailbox.wake();
        }
    }

    fn play(&self) -> Result<(), Stop> {
        match self.location.protocol() {
            Protocol::Srt => self.srt(),
            Protocol::Rtsp | Protocol::Rtsps => self.rtsp(),
            Protocol::Http | Protocol::Https => self.web(),
        }
    }

    fn options(&self) -> OpenOptions {
        OpenOptions { timeout: self.silence, ..OpenOptions::default() }
    }

    /// An error of libav's as one of the connection.
    fn of_connection(&self, error: Media) -> Error {
        let host = self.location.host().to_owned();
        let source = match error {
            Media::Libav { message, .. } => std::io::Error::other(message),
            Media::Timeout { .. } => {
                std::io::Error::new(std::io::ErrorKind::TimedOut, "no media came in time")
            }
            Media::Io { source, .. } => return Error::ConnectionLost { host, source },
            error => return error.into(),
        };
        Error::ConnectionLost { host, source: source.into() }
    }

    /// Plays an open input to its end.
    fn feed(&self, demuxer: Demuxer) -> Result<(), Stop> {
        self.feed_all(&mut Clock::new(&self.setting), vec![demuxer], &mut |_| Ok(None))
    }

    /// Plays open inputs, and what they go on with, to their end.
    fn feed_all(&self, clock: &mut Clock, demuxers: Vec<Demuxer>, go_on: GoOn<'_>) -> Result<(), Stop> {
        let wake = || self.wake();
        let mut sink = Sink { sender: &self.sender, wake: &wake, fresh: false };
        let played = clock.play(demuxers, &self.location.to_string(), &mut sink, go_on);
        played.map_err(|stop| match stop {
            Stop::Failed(Error::Media(error)) => Stop::Failed(self.of_connection(error)),
            stop => stop,
        })
    }

    fn srt(&self) -> Result<(), Stop> {
        let mut failure = None;
        for address in self.dial.look_up(&self.location)? {
            let (url, options) = (self.location.reveal(), self.options());
            match Demuxer::open_url_at(&url, address, &options, &self.interrupt) {
                Ok(demuxer) => return self.feed(demuxer),
                Err(error) => failure = Some(self.of_connection(error)),
            }
        }
        Err(failure.map_or(Stop::Gone, Stop::Failed))
    }

    fn rtsp(&self) -> Result<(), Stop> {
        let mut location = self.location.clone();
        for _ in 0..=MOST_HOPS {
            let connection = connect(&self.dial, &location)?;
            let relay = Relay::start(connection, &self.setting, &self.dial.cancel)
                .map_err(|source| Error::System { what: "no relay of RTSP", source: source.into() })?;
            // With TLS, it is the relay that has it.
            let url = location.reveal();
            let url = url.strip_prefix("rtsps").map_or(url.clone(), |rest| format!("rtsp{rest}"));
            let opened = Demuxer::open_url_at(&url, relay.address(), &self.options(), &self.interrupt);
            let seen = relay.seen();
            let error = match opened {
                Ok(demuxer) => {
                    let played = self.feed(demuxer);
                    return match (played, relay.seen().failure) {
                        (Err(Stop::Failed(_)), Some(source)) => {
                            let host = location.host().to_owned();
                            Err(Error::ConnectionLost { host, source }.into())
                        }
                        (played, _) => played,
                    };
                }
                Err(error) => error,
            };
            let host = || location.host().to_owned();
            if let Some(to) = seen.heard.moved_to {
                location = moved(&location, &to)?;
                continue;
            }
            return Err(match (seen.heard.status, error) {
                (Some(status), _) if status >= 400 => Error::HttpStatus { host: host(), status }.into(),
                (_, Media::Cancelled { .. }) => Stop::Gone,
                (_, error) => match (seen.failure, self.of_connection(error)) {
                    (Some(source), Error::ConnectionLost { .. }) => {
                        Error::ConnectionLost { host: host(), source }.into()
                    }
                    (_, error) => error.into(),
                },
            });
        }
        Err(lost(&location, std::io::Error::other("the server redirects again and again")).into())
    }

    fn web(&self) -> Result<(), Stop> {
        let client = Client::new(self.dial.clone(), self.silence);
        let response = client.get(&self.location, None)?;
        let (location, mut body) = (response.location, response.body);
        let mut start = Vec::new();
        let read = body.by_ref().take(START).read_to_end(&mut start);
        read.map_err(|source| lost(&location, source))?;
        let is_list = is_playlist(&start);
        let whole = Cursor::new(start).chain(body);
        if is_list {
            return self.playlist(&client, location.clone(), hls::read_list(whole, &location)?);
        }
        self.told.note_body(response.length.is_some());
        let opened =
            Demuxer::open_stream(Box::new(whole), &location.reveal(), &self.options(), &self.interrupt);
        let demuxer = opened.map_err(|error| self.of_connection(error))?;
        self.feed(demuxer)
    }

    fn playlist(&self, client: &Client, location: Location, list: Playlist) -> Result<(), Stop> {
        let mut renditions: Vec<Shared> = Vec::new();
        match list {
            Playlist::Media(list) => renditions.push(self.rendition(client, location, list)),
            Playlist::Master(master) => {
                for location in self.chosen(&location, &master)? {
                    let (location, list) = hls::load_list(client, &location)?;
                    let Playlist::Media(list) = list else {
                        let source = std::io::Error::other("a playlist of playlists names another one");
                        return Err(lost(&location, source).into());
                    };
                    renditions.push(self.rendition(client, location, list));
                }
            }
        }
        let mut clock = Clock::new(&self.setting);
        loop {
            let (mut demuxers, mut playing) = (Vec::new(), Vec::new());
            for rendition in &renditions {
                if let Some(demuxer) = self.next_part(rendition)? {
                    demuxers.push(demuxer);
                    playing.push(rendition);
                }
            }
            if demuxers.is_empty() {
                return Ok(());
            }
            // The parts of one are not as long as those of the other.
            let mut go_on = |number: usize| match playing.get(number) {
                Some(rendition) if rendition.lock().goes_on() => self.next_part(rendition),
                _ => Ok(None),
            };
            let played = self.feed_all(&mut clock, demuxers, &mut go_on);
            // What a reader says of itself is more than what libav makes of it.
            let failure = renditions.iter().find_map(|rendition| rendition.lock().take_failure());
            match (played, failure) {
                (Err(Stop::Failed(_)), Some(error)) => return Err(error.into()),
                (played, _) => played?,
            }
        }
    }

    fn rendition(&self, client: &Client, location: Location, list: super::playlist::Media) -> Shared {
        // Each keeps its own connection.
        let client = Client::new(self.dial.clone(), client.silence());
        Arc::new(Mutex::new(Rendition::new(client, location, list, self.told.clone())))
    }

    /// Where the playlists are that are played together.
    fn chosen(&self, at: &Location, master: &Master) -> Result<Vec<Location>, Error> {
        let is_plain = self.setting.carriage == Carriage::Plain;
        let is_carried = |codec: &str| {
            let name = codec.split('.').next().unwrap_or_default();
            matches!(name, "avc1" | "avc3" | "mp4a")
                || !is_plain && matches!(name, "hvc1" | "hev1" | "av01" | "vp09" | "Opus" | "opus")
        };
        let Some((variant, sound)) = master.best(is_carried) else {
            return Err(lost(at, std::io::Error::other("the playlist names no other")));
        };
        let uris = [Some(&variant.uri), sound.and_then(|sound| sound.uri.as_ref())];
        let join = |uri: &String| at.join(uri).map_err(|refused| crate::fetch::refused_by(at, &refused));
        uris.into_iter().flatten().map(join).collect()
    }

    /// The next part of a rendition, opened; waits for it.
    fn next_part(&self, rendition: &Shared) -> Result<Option<Demuxer>, Stop> {
        if !rendition.lock().begin_part()? {
            return Ok(None);
        }
        let reader = Box::new(Part(rendition.clone()));
        let opened = Demuxer::open_stream(reader, &self.location.reveal(), &self.options(), &self.interrupt);
        opened.map(Some).map_err(|error| {
            let failure = rendition.lock().take_failure();
            Stop::Failed(failure.unwrap_or_else(|| self.of_connection(error)))
        })
    }
}

/// Where an RTSP server wants the client to go; with its user information, if that is the same server.
fn moved(from: &Location, to: &str) -> Result<Location, Error> {
    let refused =
        |why: &str| Err(lost(from, std::io::Error::new(std::io::ErrorKind::ConnectionRefused, why)));
    let Ok(to) = Location::parse(to) else {
        return refused("the server redirects to a malformed address");
    };
    match to.protocol() {
        Protocol::Rtsp if from.protocol() == Protocol::Rtsps => {
            refused("the server redirects to an address without TLS")
        }
        Protocol::Rtsp | Protocol::Rtsps => Ok(to.with_userinfo_of(from)),
        _ => refused("the server redirects to another protocol"),
    }
}
