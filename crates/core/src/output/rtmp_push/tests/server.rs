//! A server that is served by the test's own thread, between two turns of the push.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use bytes::Buf;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::session::{Reject, ServerConfig, ServerEvent, ServerSession};

/// What the server does with publishers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lets {
    /// As many as come.
    All,
    /// One at a time.
    One,
    /// Nobody.
    Nobody,
    /// The last one: the one before is cut off.
    Last,
    /// It does not say.
    Undecided,
    /// Nothing is said to who comes.
    Mute,
}

pub(super) struct Server {
    /// `None` while nobody listens.
    listener: Option<TcpListener>,
    address: SocketAddr,
    pub(super) lets: Lets,
    /// Reads nothing.
    pub(super) is_deaf: bool,
    pub(super) visits: Vec<Visit>,
}

/// A connection.
pub(super) struct Visit {
    socket: TcpStream,
    session: ServerSession,
    pub(super) is_live: bool,
    pub(super) is_refused: bool,
    /// It wants to publish, and was not answered.
    pub(super) has_asked: bool,
    pub(super) said_goodbye: bool,
    is_open: bool,
    /// Kind, time, number; headers and metadata left out.
    pub(super) tags: Vec<(TagKind, i64, u32)>,
}

impl Visit {
    /// What arrived, in order.
    pub(super) fn numbers(&self) -> Vec<(TagKind, u32)> {
        self.tags.iter().map(|&(kind, _, number)| (kind, number)).collect()
    }

    pub(super) fn last(&self) -> Option<(TagKind, u32)> {
        self.tags.last().map(|&(kind, _, number)| (kind, number))
    }

    fn take(&mut self, tag: &Tag) {
        if tag.is_script() || tag.is_sequence_header() {
            return;
        }
        let body = tag.body.to_bytes();
        let at = if tag.is_video() { 5 } else { 2 };
        let number = body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        self.tags.push((tag.kind, tag.timestamp.as_millis(), number.expect("a tag of the test")));
    }

    fn close(&mut self) {
        self.is_open = false;
        self.is_live = false;
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Server {
    pub(super) fn new(lets: Lets) -> Self {
        // Of this process alone: while it does not listen, nobody else gets the port.
        let own = Ipv4Addr::new(127, 64, 0, 0) | Ipv4Addr::from_bits(std::process::id() & 0x3f_ffff);
        let listener = TcpListener::bind((own, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut server = Self { listener: None, address, lets, is_deaf: false, visits: Vec::new() };
        server.listen(listener);
        server
    }

    /// Listens.
    pub(super) fn up(&mut self) {
        self.listen(TcpListener::bind(self.address).expect("nobody else has the port"));
    }

    fn listen(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).expect("a socket that can be");
        let _ = socket2::SockRef::from(&listener).set_recv_buffer_size(64 << 10);
        self.listener = Some(listener);
    }

    /// Listens no more; those who are there stay.
    pub(super) fn down(&mut self) {
        self.listener = None;
    }

    pub(super) fn url(&self) -> String {
        format!("rtmp://{}/live", self.address)
    }

    /// Each connection: whether it is live, was refused, is open, and its tags.
    pub(super) fn summary(&self) -> Vec<(bool, bool, bool, usize)> {
        self.visits.iter().map(|it| (it.is_live, it.is_refused, it.is_open, it.tags.len())).collect()
    }

    /// Cuts the connections off, without a word.
    pub(super) fn cut(&mut self) {
        self.visits.iter_mut().for_each(Visit::close);
    }

    /// Lets those in that it has not answered.
    pub(super) fn accept(&mut self) {
        for visit in self.visits.iter_mut().filter(|visit| visit.is_open && visit.has_asked) {
            visit.session.accept_publish(Instant::now());
            (visit.is_live, visit.has_asked) = (true, false);
        }
    }

    /// Asks the last one who came to go there; whether that one can be asked.
    pub(super) fn send_away(&mut self, url: &str) -> bool {
        self.visits.last_mut().is_some_and(|visit| visit.session.request_reconnect(Some(url), "it ends"))
    }

    /// Takes what came and answers.
    pub(super) fn serve(&mut self) {
        while let Some(Ok((socket, _))) = self.listener.as_ref().map(TcpListener::accept) {
            socket.set_nonblocking(true).expect("a socket that can be");
            let session = ServerSession::new(ServerConfig::default(), None, [0x5a; 1528], Instant::now());
            self.visits.push(Visit {
                socket,
                session,
                is_live: false,
                is_refused: false,
                has_asked: false,
                said_goodbye: false,
                is_open: true,
                tags: Vec::new(),
            });
        }
        for index in 0..self.visits.len() {
            let is_taken = self.visits.iter().any(|visit| visit.is_live);
            let Some(visit) = self.visits.get_mut(index).filter(|visit| visit.is_open) else { continue };
            let begins = visit.serve(self.is_deaf, self.lets, is_taken);
            if begins && self.lets == Lets::Last {
                self.visits.iter_mut().take(index).for_each(Visit::close);
            }
        }
    }
}

impl Visit {
    /// Whether it has just begun to publish.
    fn serve(&mut self, is_deaf: bool, lets: Lets, is_taken: bool) -> bool {
        let (mut buffer, mut begins) = ([0; 16 << 10], false);
        while if self.is_live { !is_deaf } else { lets != Lets::Mute } {
            match self.socket.read(&mut buffer) {
                Ok(0) => {
                    self.close();
                    return begins;
                }
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.session.handle_input(Instant::now(), bytes).expect("a client that keeps to RTMP");
                    begins |= self.hear(lets, is_taken);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.close();
                    return begins;
                }
            }
        }
        while self.session.wire().has_remaining() {
            let wire = self.session.wire();
            let Ok(written) = self.socket.write(wire.chunk()) else { break };
            wire.advance(written);
        }
        begins
    }

    fn hear(&mut self, lets: Lets, is_taken: bool) -> bool {
        let (now, mut begins) = (Instant::now(), false);
        while let Some(event) = self.session.poll_event() {
            match event {
                ServerEvent::Publish(_) if lets == Lets::Undecided => self.has_asked = true,
                ServerEvent::Publish(_) => {
                    let is_free = match lets {
                        Lets::All | Lets::Last => true,
                        Lets::One => !is_taken,
                        Lets::Nobody | Lets::Undecided | Lets::Mute => false,
                    };
                    if is_free {
                        self.session.accept_publish(now);
                        (self.is_live, begins) = (true, true);
                    } else {
                        let reject = if lets == Lets::One { Reject::Busy } else { Reject::Denied };
                        self.session.reject(reject, now);
                        self.is_refused = true;
                    }
                }
                ServerEvent::Tag(tag) => self.take(&tag),
                ServerEvent::Unpublish => {
                    self.said_goodbye = true;
                    self.is_live = false;
                }
                _ => {}
            }
        }
        begins
    }
}
