//! The handshake, both roles: the simple form
//! ([RTMP 1.0, section 5.2](https://rtmp.veriskope.com/docs/spec/#52handshake)) and the digest form of Flash Player 9.
//!
//! A server looks for a digest in C1 and answers in kind: with the schema that the client used, or in the simple form if
//! there is none that verifies. A client speaks the simple form, which every known server takes, unless it is made
//! with [`Handshake::with_digest`]; then it falls back if S1 has no digest.
//!
//! In the simple form the four bytes after the time are zero, which tells the peer that no digest follows.

mod digest;

use self::digest::Signer;
use crate::error::Error;
use crate::wire::WireBuf;

/// The only version: plain RTMP.
const VERSION: u8 = 3;

/// Bytes of C1, S1, C2 and S2.
const PACKET: usize = 1536;

/// Bytes each side sends before the first chunk.
pub const HANDSHAKE_BYTES: u64 = 1 + 2 * PACKET as u64;

/// What the four bytes after the time say where a digest follows: any version but 0 does; these are nginx's and
/// FFmpeg's.
const SERVER_VERSION: [u8; 4] = [0x0D, 0x0E, 0x0A, 0x0D];
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

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
    /// What goes into the own packet; gone once that was sent.
    random: Option<Box<[u8; 1528]>>,
    /// Whether C1 had a digest.
    digest: bool,
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
    /// Starts; a client's C0 and C1 go to `out` at once, in the simple form.
    #[must_use]
    pub fn new(role: Role, random: [u8; 1528], out: &mut WireBuf) -> Self {
        let mut handshake = Self::waiting(role, random);
        if role == Role::Client {
            handshake.put_first(None, out);
        }
        handshake
    }

    /// Starts as a client whose C1 has a digest, schema 1; C0 and C1 go to `out` at once. For servers that want one.
    ///
    /// ```
    /// use flowcast_rtmp::{handshake::Handshake, wire::WireBuf};
    /// let mut out = WireBuf::new();
    /// let handshake = Handshake::with_digest([7; 1528], &mut out);
    /// assert_eq!((out.len(), handshake.offset()), (1537, 0));
    /// ```
    #[must_use]
    pub fn with_digest(random: [u8; 1528], out: &mut WireBuf) -> Self {
        let mut handshake = Self::waiting(Role::Client, random);
        handshake.put_first(Some(digest::Schema::First), out);
        handshake
    }

    fn waiting(role: Role, random: [u8; 1528]) -> Self {
        Self {
            role,
            random: Some(Box::new(random)),
            digest: false,
            state: State::Version,
            packet: Vec::new(),
            offset: 0,
        }
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

    /// Answers the peer's packet, a server with its own packet first: a digest with one of the same schema, everything
    /// else with its echo.
    fn answer(&mut self, out: &mut WireBuf) {
        let mut packet = std::mem::take(&mut self.packet);
        let peer = match self.role {
            Role::Client if !self.digest => None,
            Role::Client => Some(Signer::Server),
            Role::Server => Some(Signer::Client),
        };
        let whole = <&mut [u8; PACKET]>::try_from(packet.as_mut_slice()).ok();
        let found = peer.zip(whole).and_then(|(peer, whole)| {
            digest::find(peer, whole).map(|(schema, digest)| (schema, digest, whole))
        });
        let schema = found.as_ref().map(|(schema, ..)| *schema);
        if let Some((_, peer_digest, whole)) = found {
            let signer = if self.role == Role::Server { Signer::Server } else { Signer::Client };
            // The rest of the packet stays the echo: no peer checks it.
            digest::respond(signer, &peer_digest, whole);
        }
        if self.role == Role::Server {
            self.put_first(schema, out);
        }
        out.put_slice(&packet);
    }

    /// C0 and C1, or S0 and S1: version, time 0, random bytes; a version and a digest if there is a schema for it.
    fn put_first(&mut self, schema: Option<digest::Schema>, out: &mut WireBuf) {
        let mut packet = [0; PACKET];
        if let (Some(place), Some(random)) = (packet.last_chunk_mut(), self.random.take()) {
            *place = *random;
        }
        if let Some(schema) = schema {
            let (version, signer) = match self.role {
                Role::Client => (CLIENT_VERSION, Signer::Client),
                Role::Server => (SERVER_VERSION, Signer::Server),
            };
            if let Some(place) = packet.get_mut(4..8) {
                place.copy_from_slice(&version);
            }
            digest::sign(signer, schema, &mut packet);
            self.digest = true;
        }
        out.put_slice(&[VERSION]);
        out.put_slice(&packet);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

    use bytes::Buf;

    use super::*;

    use super::digest::Schema;

    fn take(wire: &mut WireBuf) -> Vec<u8> {
        wire.copy_to_bytes(wire.remaining()).to_vec()
    }

    /// Everything that went to the server, and to the client.
    fn shake(client: impl FnOnce(&mut WireBuf) -> Handshake, step: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut to_server, mut to_client) = (WireBuf::new(), WireBuf::new());
        let mut client = client(&mut to_server);
        let mut server = Handshake::new(Role::Server, [2; 1528], &mut to_client);
        let (mut client_done, mut server_done) = (false, false);
        let (mut all_to_server, mut all_to_client) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let bytes = take(&mut to_server);
            for mut piece in bytes.chunks(step) {
                server_done = server.pull(&mut piece, &mut to_client).unwrap();
                assert!(piece.is_empty());
            }
            all_to_server.extend(bytes);
            let bytes = take(&mut to_client);
            for mut piece in bytes.chunks(step) {
                client_done = client.pull(&mut piece, &mut to_server).unwrap();
            }
            all_to_client.extend(bytes);
        }
        assert!(client_done && server_done);
        assert_eq!((client.offset(), server.offset()), (HANDSHAKE_BYTES, HANDSHAKE_BYTES));
        (all_to_server, all_to_client)
    }

    #[test]
    fn both_roles_agree_at_every_cut() {
        for step in [1, 2, 7, 1536, 1537, 4000] {
            shake(|out| Handshake::new(Role::Client, [1; 1528], out), step);
            shake(|out| Handshake::with_digest([1; 1528], out), step);
        }
    }

    /// The 1536 bytes from `at`.
    fn packet(bytes: &[u8], at: usize) -> [u8; PACKET] {
        *bytes[at..].first_chunk().unwrap()
    }

    /// What `signer` has to send second, seen by the other side that verifies it.
    fn is_response(signer: Signer, peer_digest: &[u8; 32], seen: &[u8; PACKET]) -> bool {
        let mut expected = *seen;
        digest::respond(signer, peer_digest, &mut expected);
        expected == *seen
    }

    #[test]
    fn a_digest_is_answered_with_digests() {
        let (to_server, to_client) = shake(|out| Handshake::with_digest([1; 1528], out), 4000);
        let (schema, client_digest) = digest::find(Signer::Client, &packet(&to_server, 1)).unwrap();
        let (answered, server_digest) = digest::find(Signer::Server, &packet(&to_client, 1)).unwrap();
        assert_eq!((schema, answered), (Schema::First, Schema::First));
        assert_ne!(to_client[5..9], [0; 4], "no version means no digest");
        assert!(is_response(Signer::Server, &client_digest, &packet(&to_client, 1537)));
        assert!(is_response(Signer::Client, &server_digest, &packet(&to_server, 1537)));
    }

    #[test]
    fn both_schemas_are_answered_in_kind() {
        for schema in [Schema::First, Schema::Second] {
            let mut c1 = [3; PACKET];
            let client_digest = digest::sign(Signer::Client, schema, &mut c1);
            let mut out = WireBuf::new();
            let mut server = Handshake::new(Role::Server, [2; 1528], &mut out);
            let bytes = [&[VERSION], c1.as_slice(), &[0; PACKET]].concat();
            assert!(server.pull(&mut bytes.as_slice(), &mut out).unwrap());
            let sent = take(&mut out);
            let (answered, _) = digest::find(Signer::Server, &packet(&sent, 1)).unwrap();
            assert_eq!(answered, schema);
            assert!(is_response(Signer::Server, &client_digest, &packet(&sent, 1537)));
        }
    }

    /// What FFmpeg 5.1 and librtmp 2.4 (with a SWF hash) said to nginx's RTMP module 1.2, and what that answered.
    const CAPTURES: [(&[u8; 3073], &[u8; 3073]); 2] = [
        (
            include_bytes!("../../tests/data/handshake/ffmpeg_to_nginx.bin"),
            include_bytes!("../../tests/data/handshake/nginx_to_ffmpeg.bin"),
        ),
        (
            include_bytes!("../../tests/data/handshake/librtmp_to_nginx.bin"),
            include_bytes!("../../tests/data/handshake/nginx_to_librtmp.bin"),
        ),
    ];

    #[test]
    fn digests_of_real_peers_are_found_and_answered_as_nginx_does() {
        for (to_server, to_client) in CAPTURES {
            let (schema, client_digest) = digest::find(Signer::Client, &packet(to_server, 1)).unwrap();
            let (answered, server_digest) = digest::find(Signer::Server, &packet(to_client, 1)).unwrap();
            assert_eq!((schema, answered), (Schema::First, Schema::First));
            assert!(is_response(Signer::Server, &client_digest, &packet(to_client, 1537)));
            assert!(is_response(Signer::Client, &server_digest, &packet(to_server, 1537)));
            for step in [1, 100, 1537, 3073] {
                let mut out = WireBuf::new();
                let mut server = Handshake::new(Role::Server, [2; 1528], &mut out);
                let mut done = false;
                for mut piece in to_server.chunks(step) {
                    done = server.pull(&mut piece, &mut out).unwrap();
                }
                assert!(done);
                let sent = take(&mut out);
                assert_eq!(digest::find(Signer::Server, &packet(&sent, 1)).unwrap().0, Schema::First);
                assert!(is_response(Signer::Server, &client_digest, &packet(&sent, 1537)));
            }
        }
    }

    #[test]
    fn a_broken_digest_gets_the_simple_form() {
        let mut c1 = [3; PACKET];
        digest::sign(Signer::Client, Schema::First, &mut c1);
        c1[1535] ^= 1;
        let mut out = WireBuf::new();
        let mut server = Handshake::new(Role::Server, [2; 1528], &mut out);
        let bytes = [&[VERSION], c1.as_slice(), &[0; PACKET]].concat();
        assert!(server.pull(&mut bytes.as_slice(), &mut out).unwrap());
        let sent = take(&mut out);
        assert_eq!(sent[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(sent[1537..], c1);
    }

    #[test]
    fn every_c1_is_answered_whatever_it_holds() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (mut simple, mut signed) = (0, 0);
        for round in 0..2000 {
            let mut bytes = CAPTURES[round % 2].0.to_vec();
            // C2 is of no interest; changes there leave the digest of C1 alone.
            for _ in 0..next() % 3 {
                bytes[1 + (next() % 3072) as usize] = next() as u8;
            }
            let mut out = WireBuf::new();
            let mut server = Handshake::new(Role::Server, [2; 1528], &mut out);
            assert!(server.pull(&mut bytes.as_slice(), &mut out).unwrap());
            let sent = take(&mut out);
            assert_eq!(sent.len(), 3073);
            match digest::find(Signer::Client, &packet(&bytes, 1)) {
                Some((schema, _)) => {
                    signed += 1;
                    assert_eq!(digest::find(Signer::Server, &packet(&sent, 1)).unwrap().0, schema);
                }
                None => {
                    simple += 1;
                    assert_eq!(sent[1537..], bytes[1..1537]);
                }
            }
        }
        assert!(simple > 200 && signed > 200, "{simple} simple, {signed} signed");
    }

    #[test]
    fn a_client_with_digest_takes_a_simple_server() {
        let mut out = WireBuf::new();
        let mut client = Handshake::with_digest([1; 1528], &mut out);
        take(&mut out);
        let s1: Vec<u8> = (0..1536).map(|i| (i * 7) as u8).collect();
        let bytes = [&[VERSION], s1.as_slice(), &[0; PACKET]].concat();
        assert!(client.pull(&mut bytes.as_slice(), &mut out).unwrap());
        assert_eq!(take(&mut out), s1);
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
