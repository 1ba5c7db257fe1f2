//! A small RTMP player: one blocking socket around flowcast's client session, which does no I/O of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Buf;
use flowcast::rtmp::flv::Tag;
use flowcast::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};
use flowcast::rtmp::url::Destination;

use crate::support::Result;

/// Plays `url` and gives each tag to `sink` until it says enough (`false`) or the stream ends.
pub(crate) fn play(url: &str, limit: Duration, mut sink: impl FnMut(&Tag) -> bool) -> Result<()> {
    let destination = Destination::parse(url)?;
    let mut socket = TcpStream::connect((destination.host(), destination.port()))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let began = Instant::now();
    // The handshake's random bytes need not be secret.
    let mut session =
        ClientSession::new(ClientRole::Play, &destination, ClientConfig::default(), [0x5a; 1528], began);
    let mut buffer = vec![0; 64 << 10];
    while began.elapsed() < limit {
        while session.wire().has_remaining() {
            let written = socket.write(session.wire().chunk())?;
            session.wire().advance(written);
        }
        while let Some(event) = session.poll_event() {
            match event {
                ClientEvent::Tag(tag) if !sink(&tag) => {
                    session.finish();
                    return Ok(());
                }
                ClientEvent::Closed { .. } | ClientEvent::StreamEof => return Ok(()),
                _ => {}
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => session.handle_input(Instant::now(), buffer.get(..count).unwrap_or_default())?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        session.handle_timeout(Instant::now())?;
    }
    Err("the player ran out of time".into())
}
