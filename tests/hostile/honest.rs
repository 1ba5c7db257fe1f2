//! Somebody honest beside the attack: a publisher in real time and its player, who must miss nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::rtmp::session::{ClientEvent, ClientRole};
use flowcast::rtmp::time::MediaTime;
use rustls::{ClientConnection, StreamOwned};

use crate::server::{KEY, NAME, Server};
use kit::{PATIENCE, Session, tls_stream, wait_for, wait_until};

/// 2.65 Mbit/s in 30 pictures a second, a keyframe each second.
const FRAME: usize = 11_000;
const INTERVAL_MS: u32 = 33;
const GOP: u32 = 30;

/// What the honest ones saw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Pictures that were played.
    pub played: usize,
    /// The longest between two arrivals at the player.
    pub gap: Duration,
    /// The longest the server let the publisher wait to take a picture.
    pub stall: Duration,
}

/// A plain or TLS connection.
trait Stream: Read + Write + Send {}
impl Stream for TcpStream {}
impl Stream for StreamOwned<ClientConnection, TcpStream> {}

/// The pair, on threads of its own.
pub(crate) struct Honest {
    stop: Arc<AtomicBool>,
    played: Arc<AtomicU32>,
    publisher: JoinHandle<(u32, Duration)>,
    player: JoinHandle<(Vec<u32>, Duration)>,
}

impl Honest {
    /// Starts both, over RTMPS if `secure`; returns when the player is served.
    pub(crate) fn start(server: &Server, secure: bool) -> Self {
        let publisher =
            let_in(server, secure, ClientRole::Publish, KEY).expect("an honest publisher is served");
        let (stop, played) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let publisher = std::thread::spawn({
            let stop = stop.clone();
            move || publish(publisher, &stop)
        });
        let player = let_in(server, secure, ClientRole::Play, NAME).expect("an honest player is served");
        let player = std::thread::spawn({
            let played = played.clone();
            move || play(player, &played)
        });
        let honest = Self { stop, played, publisher, player };
        honest.wait_played(2 * GOP);
        honest
    }

    /// Pictures played so far.
    pub(crate) fn played(&self) -> u32 {
        self.played.load(Ordering::Relaxed)
    }

    /// Waits until this many more pictures are played.
    pub(crate) fn wait_played(&self, more: u32) {
        let from = self.played();
        assert!(wait_until(PATIENCE, || self.played() >= from + more), "the honest stream stands still");
    }

    /// Ends both. Every picture from the player's first to the publisher's last has arrived, once and in order.
    #[track_caller]
    pub(crate) fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let (published, stall) = self.publisher.join().expect("the honest publisher is served to its end");
        let (played, gap) = self.player.join().expect("the honest player is served to its end");
        let lost = played.windows(2).find(|pair| !matches!(pair, [a, b] if a + 1 == *b));
        assert_eq!(lost, None, "the player missed something");
        assert_eq!(played.last().map(|last| last + 1), Some(published), "the player misses the end");
        Seen { played: played.len(), gap, stall }
    }
}

/// A publisher or player of the server that was let in. A name is there a moment after its publisher was told so, and on a busy machine the server's
/// deadline may be over before a handshake is.
fn let_in(server: &Server, secure: bool, role: ClientRole, name: &str) -> Option<Session<Box<dyn Stream>>> {
    let (address, scheme) = if secure { (server.secure, "rtmps") } else { (server.address, "rtmp") };
    wait_for(PATIENCE, || {
        let stream: Box<dyn Stream> = if secure {
            Box::new(tls_stream(address, server.authority.pem()).ok()?)
        } else {
            Box::new(kit::tcp(address))
        };
        let mut session = Session::new(role, stream, &format!("{scheme}://{address}/live/{name}"));
        matches!(session.go_live(), Ok(true)).then_some(session)
    })
}

fn publish(mut session: Session<Box<dyn Stream>>, stop: &AtomicBool) -> (u32, Duration) {
    session.session.send_tag(&header());
    let (began, mut number, mut stall) = (Instant::now(), 0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        session.session.send_tag(&picture(number));
        let before = Instant::now();
        session.send().expect("the honest publisher is cut off");
        stall = stall.max(before.elapsed());
        number += 1;
        let due = began + Duration::from_millis(u64::from(number * INTERVAL_MS));
        while Instant::now() < due {
            assert!(matches!(session.read(), Ok(true)), "the honest publisher is cut off");
        }
    }
    session.session.finish();
    session.send().expect("the honest publisher is cut off");
    // The server says goodbye; a close before that could overtake the last pictures.
    while matches!(session.read(), Ok(true)) && !session.session.is_finished() {}
    let _ = wait_until(Duration::from_secs(1), || !matches!(session.read(), Ok(true)));
    (number, stall)
}

fn play(mut session: Session<Box<dyn Stream>>, played: &AtomicU32) -> (Vec<u32>, Duration) {
    let (mut numbers, mut gap, mut last) = (Vec::new(), Duration::ZERO, None::<Instant>);
    loop {
        let on = matches!(session.read(), Ok(true)) && session.send().is_ok();
        let now = Instant::now();
        for event in session.events.drain(..) {
            match event {
                ClientEvent::Tag(tag) if tag.kind == TagKind::Video && !tag.is_sequence_header() => {
                    let body = tag.body.to_bytes();
                    let number =
                        body.get(5..).and_then(|rest| rest.first_chunk()).expect("a picture of ours");
                    numbers.push(u32::from_be_bytes(*number));
                    gap = gap.max(last.map_or(Duration::ZERO, |last| now - last));
                    last = Some(now);
                }
                ClientEvent::StreamEof | ClientEvent::Closed { .. } => return (numbers, gap),
                _ => {}
            }
        }
        played.store(numbers.len() as u32, Ordering::Relaxed);
        if !on {
            return (numbers, gap);
        }
    }
}

fn header() -> Tag {
    let avcc = [0x17, 0, 0, 0, 0, 1, 0x42, 0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0, 0x1e, 1, 0, 2, 0x68, 0];
    Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::copy_from_slice(&avcc))
}

fn picture(number: u32) -> Tag {
    let mut body = vec![if number.is_multiple_of(GOP) { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    body.extend_from_slice(&number.to_be_bytes());
    body.resize(FRAME, number as u8);
    Tag::from_wire(TagKind::Video, MediaTime::from_millis(i64::from(number * INTERVAL_MS)), Bytes::from(body))
}
