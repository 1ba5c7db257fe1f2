//! One connection to the server that is played from: what has arrived is read, and what it asks is answered.

use std::io;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::enhanced;
use flowcast_rtmp::session::{ClientEvent, ClientSession};
use mio::{Interest, Registry, Token};

use crate::clock::continuity::{Continuity, Forward};
use crate::driver::SourceContext;
use crate::error::Error;
use crate::net::ReadPace;
use crate::net::dialer::{Dialed, ServerUrl};
use crate::net::transport::{Transport, tune};

/// Bytes read in one turn, so that a burst does not delay what the stream sends.
const READ_BUDGET: usize = 1 << 20;
/// Tags taken in one turn: a tag of one byte takes a hundred in memory.
const TAG_BUDGET: usize = 2048;

/// A connection to a server that sends the stream.
pub(super) struct Link {
    transport: Transport,
    session: ClientSession,
    continuity: Continuity,
    readable: bool,
    writable: bool,
    pace: ReadPace,
    /// When media last came, or the connection.
    heard: Instant,
    has_media: bool,
    /// How long it may send no media: at first, and later.
    silence: (Duration, Duration),
}

/// What a turn found.
pub(super) enum Found {
    /// Nothing more for now, or something that can wait for the others: `true`.
    Media(bool),
    /// The server has ended the stream.
    Over(String),
    /// It wants the client to connect again, there if it names a place, and goes on meanwhile.
    Elsewhere(Option<ServerUrl>),
    /// It wants the client there, and has ended this connection.
    Redirect(ServerUrl),
}

impl Link {
    /// Takes over what the dialer has connected.
    ///
    /// # Errors
    ///
    /// The socket cannot be set up.
    pub(super) fn new(
        dialed: Dialed,
        silence: (Duration, Duration),
        now: Instant,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Error> {
        let Dialed { mut transport, session } = dialed;
        let system =
            |source: io::Error| Error::System { what: "cannot set a socket up", source: source.into() };
        tune(transport.socket(), silence.1).map_err(system)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(transport.socket(), token, interest).map_err(system)?;
        Ok(Self {
            transport,
            session,
            continuity: Continuity::new(Forward::Live),
            // What came with the acceptance is in the session, and the poll tells nothing of what was there before.
            readable: true,
            writable: true,
            pace: ReadPace::new(now),
            heard: now,
            has_media: false,
            silence,
        })
    }

    /// Whether media has come.
    pub(super) fn has_media(&self) -> bool {
        self.has_media
    }

    /// How long it may send no media.
    fn silence(&self) -> Duration {
        if self.has_media { self.silence.1 } else { self.silence.0 }
    }

    /// Reads what has arrived, and answers.
    ///
    /// # Errors
    ///
    /// The connection is lost, or the server falls silent or makes no sense.
    pub(super) fn turn(&mut self, cx: &mut SourceContext<'_>, host: &str) -> Result<Found, Error> {
        let now = cx.now;
        let is_silent = |link: &Self| now.saturating_duration_since(link.heard) >= link.silence();
        // It is silent only if nothing of it waits in the socket.
        self.readable |= cx.readable || (cx.tick && (self.pace.is_resting() || is_silent(self)));
        self.writable |= cx.writable;
        let before = self.session.received();
        let found = self.read(cx, host)?;
        self.rest(cx, before).map_err(|source| lost(host, source))?;
        if cx.tick {
            self.session.handle_timeout(cx.now).map_err(|source| rtmp(host, source))?;
        }
        self.answer().map_err(|source| lost(host, source))?;
        if matches!(found, Found::Media(false)) && cx.tick && is_silent(self) {
            let reason = format!("the server sent no media for {:?}", self.silence());
            return Err(lost(host, io::Error::new(io::ErrorKind::TimedOut, reason)));
        }
        Ok(found)
    }

    /// Decides whether the server's packets wake this thread.
    fn rest(&mut self, cx: &SourceContext<'_>, before: u64) -> io::Result<()> {
        let received = self.session.received().saturating_sub(before);
        let may_rest = cx.ticks_only && self.has_media;
        let transport = &mut self.transport;
        if let Some(wake) = self.pace.after_turn(cx.now, received, may_rest, || transport.receive_buffer()) {
            let interest = if wake { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
            cx.registry.reregister(transport.socket(), cx.token, interest)?;
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut SourceContext<'_>, host: &str) -> Result<Found, Error> {
        let (mut budget, enough) = (READ_BUDGET, cx.tags.len() + TAG_BUDGET);
        let mut arrived = cx.arrived();
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    ClientEvent::Tag(mut tag) => {
                        cx.notices.extend(self.continuity.mend(&mut tag, cx.now));
                        // As publishers' tags are: one track each, in FLV's own form where the codec has one.
                        cx.tags.extend(enhanced::single_tracks(tag).map(enhanced::in_flv_form));
                        (self.heard, self.has_media) = (arrived, true);
                        if cx.tags.len() >= enough {
                            return Ok(Found::Media(true));
                        }
                    }
                    ClientEvent::Closed { code } => return Ok(Found::Over(code)),
                    ClientEvent::ReconnectRequest { url, .. } => {
                        return Ok(Found::Elsewhere(url.map(ServerUrl)));
                    }
                    ClientEvent::Redirect { url } => return Ok(Found::Redirect(ServerUrl(url))),
                    _ => {}
                }
            }
            if !self.readable {
                return Ok(Found::Media(false));
            }
            if budget == 0 {
                return Ok(Found::Media(true));
            }
            match self.transport.read(cx.scratch) {
                Ok(count) => {
                    let bytes = cx.scratch.get(..count).unwrap_or_default();
                    arrived = cx.arrived();
                    self.session.handle_input(arrived, bytes).map_err(|source| rtmp(host, source))?;
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(lost(host, source)),
            }
        }
    }

    /// Sends acknowledgements and answers to pings, as far as the socket takes them.
    fn answer(&mut self) -> io::Result<()> {
        if self.writable && (!self.session.wire().is_empty() || self.transport.has_pending()) {
            self.transport.write(self.session.wire(), usize::MAX)?;
            self.writable = self.session.wire().is_empty() && !self.transport.has_pending();
        }
        Ok(())
    }
}

/// Says goodbye, as far as that goes without waiting: the server need not find out that nobody plays any more.
impl Drop for Link {
    fn drop(&mut self) {
        self.session.finish();
        let _ = self.transport.write(self.session.wire(), usize::MAX);
        self.transport.close();
    }
}

fn lost(host: &str, source: io::Error) -> Error {
    Error::ConnectionLost { host: host.to_owned(), source: source.into() }
}

fn rtmp(host: &str, source: flowcast_rtmp::error::Error) -> Error {
    Error::Rtmp { host: host.to_owned(), source }
}
