//! Secrets as they are kept: their hashes.

use std::fmt;
use std::hash::{Hash, Hasher};

use flowcast_rtmp::key::StreamKey;
use ring::digest::{Context, SHA256};

use crate::error::Error;
use crate::net::random;

/// Bytes of a hash.
const LENGTH: usize = 32;

/// What secrets are hashed with. It is random and leaves the process only with the hashes, when a program exports them, so that
/// hashes seen in a memory dump, or through the time a lookup takes, fit no table made before.
#[derive(Clone, PartialEq)]
pub(super) struct Salt([u8; LENGTH]);

/// The salted SHA-256 of a secret. To look one up in a map is safe: who does not know the salt cannot choose which hashes
/// share their first bytes.
#[derive(Clone, Copy, Eq)]
pub(super) struct Digest([u8; LENGTH]);

impl Digest {
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Salt {
    pub(super) fn new() -> Self {
        Self(random::bytes())
    }

    pub(super) fn digest(&self, secret: &StreamKey) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(secret.reveal().as_bytes());
        let mut digest = [0; LENGTH];
        digest.copy_from_slice(context.finish().as_ref());
        Digest(digest)
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

/// As hexadecimal digits.
#[cfg(feature = "serde")]
mod written {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    use super::{Digest, LENGTH, Salt};

    fn hex(bytes: &[u8; LENGTH]) -> String {
        use std::fmt::Write as _;
        bytes.iter().fold(String::with_capacity(2 * LENGTH), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; LENGTH], D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let malformed = || D::Error::custom("a hash is 64 hexadecimal digits");
        if text.len() != 2 * LENGTH || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let mut bytes = [0; LENGTH];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * place..2 * place + 2).ok_or_else(malformed)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
        }
        Ok(bytes)
    }

    impl Serialize for Salt {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(&hex(&self.0))
        }
    }

    impl Serialize for Digest {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(&hex(&self.0))
        }
    }

    impl<'de> Deserialize<'de> for Salt {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            bytes(from).map(Self)
        }
    }

    impl<'de> Deserialize<'de> for Digest {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            bytes(from).map(Self)
        }
    }
}

/// A new random secret of 128 bits, as 32 hexadecimal digits.
pub(super) fn random_key() -> Result<StreamKey, Error> {
    use std::fmt::Write as _;
    let Some(bytes) = random::secret::<16>() else {
        let source = std::io::Error::from(std::io::ErrorKind::Unsupported).into();
        return Err(Error::System { what: "the system gives no random numbers", source });
    };
    let mut text = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(StreamKey::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_secrets_apart_and_mean_nothing_elsewhere() {
        let (here, elsewhere) = (Salt::new(), Salt::new());
        let digest = here.digest(&"s3cret".into());
        assert_eq!(digest, here.digest(&"s3cret".into()));
        for other in ["s3cre", "s3crets", "S3cret", ""] {
            assert_ne!(digest, here.digest(&other.into()), "{other}");
        }
        assert_ne!(digest, elsewhere.digest(&"s3cret".into()));
        assert_eq!(format!("{here:?} {digest:?}"), "Salt(****) Digest(****)");
    }
}
