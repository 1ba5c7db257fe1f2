//! Secrets as they are kept: their salted hashes.

use std::fmt;
use std::hash::{Hash, Hasher};

use flowcast_rtmp::key::StreamKey;
use ring::digest::{Context, SHA256};

/// Bytes of a hash.
const LENGTH: usize = 32;

/// What the secrets of a cluster are hashed with; it is kept beside the hashes, and tells one life of the store from another.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Salt([u8; LENGTH]);

/// The salted SHA-256 of a secret. To look one up in a map is safe: who does not know the salt cannot choose which hashes share their first
/// bytes.
#[derive(Clone, Copy, Eq)]
pub(crate) struct Digest([u8; LENGTH]);

impl Salt {
    /// A new one; `None` from a system that gives no random numbers.
    pub(crate) fn random() -> Option<Self> {
        random().map(Self)
    }

    pub(crate) fn parse(hex: &str) -> Option<Self> {
        bytes(hex).map(Self)
    }

    pub(crate) fn hex(&self) -> String {
        hex(&self.0)
    }

    pub(crate) fn digest(&self, secret: &StreamKey) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(secret.reveal().as_bytes());
        let mut digest = [0; LENGTH];
        digest.copy_from_slice(context.finish().as_ref());
        Digest(digest)
    }
}

impl Digest {
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        bytes(hex).map(Self)
    }

    pub(crate) fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// All bytes are looked at, wherever the first difference is.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        let difference =
            self.0.iter().zip(&other.0).fold(0u8, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
        difference == 0
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(****)")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(****)")
    }
}

/// A new random stream key of 128 bits.
pub(crate) fn random_key() -> Option<StreamKey> {
    random::<16>().map(|bytes| StreamKey::new(hex(&bytes)))
}

fn random<const N: usize>() -> Option<[u8; N]> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Option<[u8; LENGTH]> {
    if hex.len() != 2 * LENGTH || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_outlive_being_written_and_show_nothing() {
        let salt = Salt::random().expect("random numbers");
        let digest = salt.digest(&"canary-key".into());
        assert_eq!(Digest::parse(&digest.hex()), Some(digest));
        assert_eq!(Salt::parse(&salt.hex()), Some(salt.clone()));
        assert_ne!(Salt::random().expect("random numbers").digest(&"canary-key".into()), digest);
        assert_ne!(salt.digest(&"canary-kez".into()), digest);
        assert_eq!(format!("{salt:?} {digest:?}"), "Salt(****) Digest(****)");
        for wrong in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
        let (one, other) = (random_key().expect("a key"), random_key().expect("a key"));
        assert!(one != other && one.reveal().len() == 32);
    }
}
