//! The simple handshake, both roles
//! ([RTMP 1.0, section 5.2](https://rtmp.veriskope.com/docs/spec/#52handshake)).
//!
//! The four bytes after the time are zero in what is sent, which tells the peer that no digest follows; peers that
//! offer a digest (schemas 0 and 1) fall back to the simple form. A digest handshake would take the place of
//! the private `Handshake::answer`.

use crate::error::Error;
use crate::wire::WireBuf;

/// The only version: plain RTMP.
const VERSION: u8 = 3;

/// Bytes of C1, S1, C2 and S2.
const PACKET: usize = 1536;

/// Bytes each side sends before the first chunk.
pub const HANDSHAKE_BYTES: u64 = 1 + 2 * PACKET as u64;

/// Which side this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Speaks first.
    Client,
    /// Answers.
    Server,
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    role: Role,
    /// What the server will send in S1.
    random: Option<Box<[u8; 1528]>>,
    state: State,
    /// The packet that is being received.
    packet: Vec<u8>,
    offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Version,
    /// C1 or S1.
    First,
    /// C2 or S2, of which nothing is needed: many peers send something else than the echo.
    Second {
        left: usize,
    },
    Done,
}

impl Handshake {
    /// Starts; a client's C0 and C1 go to `out` at once.
    #[must_use]
    pub fn new(role: Role, random: [u8; 1528], out: &mut WireBuf) -> Self {
        let mut handshake = Self {
            role,
            random: Some(Box::new(random)),
            state: State::Version,
            packet: Vec::new(),
            offset: 0,
        };
        if role == Role::Client {
            handshake.put_first(out);
        }
        handshake
    }

    /// Takes bytes off the front of `input`; true once the handshake is over and chunks follow.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] if the peer's version is not 3.
    pub fn pull(&mut self, input: &mut &[u8], out: &mut WireBuf) -> Result<bool, Error> {
        let before = input.len();
        let done = self.run(input, out);
        self.offset = self.offset.saturating_add(before.saturating_sub(input.len()) as u64);
        done
    }

    /// Bytes consumed.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn run(&mut self, input: &mut &[u8], out: &mut WireBuf) -> Result<bool, Error> {
        loop {
            match self.state {
                State::Done => return Ok(true),
                State::Version => {
                    let Some((&version, rest)) = input.split_first() else { return Ok(false) };
                    if version != VERSION {
                        let reason = if version == 6 { "encrypted RTMPE" } else { "version is not 3" };
                        return Err(Error::Handshake { reason, offset: self.offset, peer: None });
                    }
                    *input = rest;
                    self.state = State::First;
                }
                State::First => {
                    let missing = PACKET.saturating_sub(self.packet.len());
                    let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
                    self.packet.reserve_exact(taken.len());
                    self.packet.extend_from_slice(taken);
                    *input = rest;
                    if self.packet.len() < PACKET {
                        return Ok(false);
                    }
                    self.answer(out);
                    self.state = State::Second { left: PACKET };
                }
                State::Second { left } => {
                    let (taken, rest) = input.split_at_checked(left).unwrap_or((input, &[]));
                    *input = rest;
                    let left = left.saturating_sub(taken.len());
                    self.state = if left == 0 { State::Done } else { State::Second { left } };
                    if left > 0 {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Sends the echo of the peer's packet, a server its own packet before it.
    fn answer(&mut self, out: &mut WireBuf) {
        if self.role == Role::Server {
            self.put_first(out);
        }
        out.put_slice(&std::mem::take(&mut self.packet));
    }

    /// C0 and C1, or S0 and S1: version, time 0, no digest, random bytes.
    fn put_first(&mut self, out: &mut WireBuf) {
        out.put_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0]);
        if let Some(random) = self.random.take() {
            out.put_slice(random.as_slice());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

    use bytes::Buf;

    use super::*;

    fn take(wire: &mut WireBuf) -> Vec<u8> {
        wire.copy_to_bytes(wire.remaining()).to_vec()
    }

    #[test]
    fn both_roles_agree_at_every_cut() {
        for step in [1, 2, 7, 1536, 1537, 4000] {
            let (mut to_server, mut to_client) = (WireBuf::new(), WireBuf::new());
            let mut client = Handshake::new(Role::Client, [1; 1528], &mut to_server);
            let mut server = Handshake::new(Role::Server, [2; 1528], &mut to_client);
            let (mut client_done, mut server_done) = (false, false);
            for _ in 0..3 {
                for mut piece in take(&mut to_server).chunks(step) {
                    server_done = server.pull(&mut piece, &mut to_client).unwrap();
                    assert!(piece.is_empty());
                }
                for mut piece in take(&mut to_client).chunks(step) {
                    client_done = client.pull(&mut piece, &mut to_server).unwrap();
                }
            }
            assert!(client_done && server_done);
            assert_eq!((client.offset(), server.offset()), (HANDSHAKE_BYTES, HANDSHAKE_BYTES));
        }
    }

    #[test]
    fn the_server_echoes_c1_and_leaves_chunks_alone() {
        let mut out = WireBuf::new();
        let mut server = Handshake::new(Role::Server, [2; 1528], &mut out);
        let mut bytes = vec![3];
        bytes.extend((0..1536).map(|i| i as u8));
        bytes.extend([0; 1536]);
        bytes.extend([9, 9]);
        let mut input = bytes.as_slice();
        assert!(server.pull(&mut input, &mut out).unwrap());
        assert_eq!(input, [9, 9]);
        let sent = take(&mut out);
        assert_eq!(sent.len(), 3073);
        assert_eq!(sent[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(sent[1537..], bytes[1..1537]);
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [0, 1, 2, 4, 6, b'G', 0x16, 255] {
            let mut out = WireBuf::new();
            let mut server = Handshake::new(Role::Server, [0; 1528], &mut out);
            let error = server.pull(&mut &[version, 0][..], &mut out).unwrap_err();
            assert_eq!((error.code(), error.offset()), ("RTMP_HANDSHAKE", Some(0)));
            assert!(out.is_empty());
        }
    }
}
