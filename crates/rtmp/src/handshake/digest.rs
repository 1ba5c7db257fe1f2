//! The digest handshake of Flash Player 9 and later: 32 bytes of HMAC-SHA256 at a place that the packet itself names.
//!
//! No specification describes it. What is here is what FFmpeg (`libavformat/rtmpproto.c`), librtmp (`handshake.h`) and
//! nginx's RTMP module (`ngx_rtmp_handshake.c`) agree on. The keys are public constants that every Flash Player
//! carried; a digest proves nothing, but old players want to see one before they play H.264.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::PACKET;

/// What Adobe's programs sign with: their own name, then 32 bytes that both share.
const CLIENT_NAME: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_NAME: &[u8] = b"Genuine Adobe Flash Media Server 001";
const SHARED: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Bytes of a digest.
pub(super) const DIGEST: usize = 32;

/// Places a digest may begin at after its four bytes of offset.
const PLACES: usize = 728;

/// Which half of the packet holds the digest; the other one has a Diffie-Hellman key that only RTMPE uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    /// Schema 0: the second half, from byte 772.
    Second,
    /// Schema 1: the first half, from byte 8.
    First,
}

impl Schema {
    const fn base(self) -> usize {
        match self {
            Self::Second => 772,
            Self::First => 8,
        }
    }

    /// Where the digest is in `packet`: its four bytes of offset, added up.
    fn place(self, packet: &[u8; PACKET]) -> usize {
        let offset: usize = packet.iter().skip(self.base()).take(4).map(|byte| usize::from(*byte)).sum();
        self.base().saturating_add(4).saturating_add(offset.checked_rem(PLACES).unwrap_or_default())
    }
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    Client,
    Server,
}

impl Signer {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Client => CLIENT_NAME,
            Self::Server => SERVER_NAME,
        }
    }
}

/// Writes the digest of C1 or S1 into its place and returns it.
pub(super) fn sign(signer: Signer, schema: Schema, packet: &mut [u8; PACKET]) -> [u8; DIGEST] {
    let digest = digest(signer, schema, packet);
    let place = schema.place(packet);
    if let Some(place) = packet.get_mut(place..).and_then(<[u8]>::first_chunk_mut) {
        *place = digest;
    }
    digest
}

/// The schema and digest of C1 or S1; `None` if it has no valid digest, as in the simple handshake.
pub(super) fn find(signer: Signer, packet: &[u8; PACKET]) -> Option<(Schema, [u8; DIGEST])> {
    [Schema::Second, Schema::First].into_iter().find_map(|schema| {
        let seen = packet.get(schema.place(packet)..)?.first_chunk::<DIGEST>()?;
        (*seen == digest(signer, schema, packet)).then_some((schema, *seen))
    })
}

/// Turns `packet` into C2 or S2: its last 32 bytes sign the rest of it under a key made from the peer's digest.
pub(super) fn respond(signer: Signer, peer_digest: &[u8; DIGEST], packet: &mut [u8; PACKET]) {
    let mut key = [0; 68];
    let whole = signer.name().iter().chain(&SHARED);
    let length = key.iter_mut().zip(whole).map(|(to, byte)| *to = *byte).count();
    let key = hmac(key.get(..length).unwrap_or_default(), &[peer_digest]);
    if let Some((signed, place)) = packet.split_last_chunk_mut::<DIGEST>() {
        *place = hmac(&key, &[signed]);
    }
}

/// The digest of a packet: over everything but the digest's own place.
fn digest(signer: Signer, schema: Schema, packet: &[u8; PACKET]) -> [u8; DIGEST] {
    let place = schema.place(packet);
    let before = packet.get(..place).unwrap_or_default();
    let after = packet.get(place.saturating_add(DIGEST)..).unwrap_or_default();
    hmac(signer.name(), &[before, after])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    // HMAC takes keys of any length, so that the error cannot happen; zeros would fail to verify.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

    use super::*;

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(&[0x0b; 20], &[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(hmac(b"Jefe", &[b"what do ya want for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn the_place_never_leaves_its_half() {
        for fill in 0..=255 {
            let packet = [fill; PACKET];
            let first = Schema::First.place(&packet);
            let second = Schema::Second.place(&packet);
            assert!((12..=772 - 32).contains(&first), "{first}");
            assert!((776..=PACKET - 32).contains(&second), "{second}");
        }
    }

    #[test]
    fn a_signed_packet_is_found_and_a_changed_one_is_not() {
        for schema in [Schema::First, Schema::Second] {
            for signer in [Signer::Client, Signer::Server] {
                let mut packet = [0; PACKET];
                for (index, byte) in packet.iter_mut().enumerate() {
                    *byte = (index * 31) as u8;
                }
                assert_eq!(find(signer, &packet), None);
                let digest = sign(signer, schema, &mut packet);
                assert_eq!(find(signer, &packet), Some((schema, digest)));
                let other = if signer == Signer::Client { Signer::Server } else { Signer::Client };
                assert_eq!(find(other, &packet), None);
                for at in (0..PACKET).step_by(13) {
                    let mut changed = packet;
                    changed[at] ^= 0x40;
                    assert_eq!(find(signer, &changed), None, "byte {at}");
                }
            }
        }
    }
}
