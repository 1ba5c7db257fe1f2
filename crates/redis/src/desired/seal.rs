//! Specs as they are kept in Redis: encrypted, if the cluster has a secret.
//!
//! In: the text of a spec, and its name. Out: what only nodes with the same secret can read, and only under the same name. AES-256-GCM with a random
//! nonce; the key is derived from the secret with HKDF-SHA256 ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)).

use std::fmt::Write as _;

use flowcast_rtmp::key::StreamKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SecureRandom as _;

/// What specs are encrypted with.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// Of a secret, in the cluster whose keys begin with `prefix`.
    pub(super) fn new(secret: &StreamKey, prefix: &str) -> Option<Self> {
        let salt = Salt::new(HKDF_SHA256, prefix.as_bytes());
        let drawn = salt.extract(secret.reveal().as_bytes());
        let key = drawn.expand(&[b"flowcast desired streams"], &AES_256_GCM).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// Encrypts. `None` from a system that gives no random numbers.
    pub(super) fn close(&self, name: &str, text: &str) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        ring::rand::SystemRandom::new().fill(&mut nonce).ok()?;
        let mut bytes = text.as_bytes().to_vec();
        let whole = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(whole, Aad::from(name.as_bytes()), &mut bytes).ok()?;
        let mut sealed = String::with_capacity(2 * (NONCE_LEN + bytes.len()));
        for byte in nonce.iter().chain(&bytes) {
            let _ = write!(sealed, "{byte:02x}");
        }
        Some(sealed)
    }

    /// Decrypts. `None` for what was closed with another secret, or under another name.
    pub(super) fn open(&self, name: &str, sealed: &str) -> Option<String> {
        let digits = sealed.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let mut bytes = digits.map(byte).collect::<Option<Vec<u8>>>()?;
        if bytes.len() < NONCE_LEN {
            return None;
        }
        let nonce: Vec<u8> = bytes.drain(..NONCE_LEN).collect();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let text = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut bytes).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_in_the_same_cluster_opens_it_under_the_same_name() {
        let seal = |secret: &str, prefix| Seal::new(&secret.into(), prefix).expect("a key");
        let one = seal("a-secret-of-some-bytes", "fc:{one}:");
        let sealed = one.close("rain", "canary").expect("random numbers");
        assert!(!sealed.contains("canary") && sealed != one.close("rain", "canary").expect("random numbers"));
        assert_eq!(
            seal("a-secret-of-some-bytes", "fc:{one}:").open("rain", &sealed).as_deref(),
            Some("canary")
        );
        assert_eq!(one.open("snow", &sealed), None);
        assert_eq!(seal("another-secret-of-some-bytes", "fc:{one}:").open("rain", &sealed), None);
        assert_eq!(seal("a-secret-of-some-bytes", "fc:{two}:").open("rain", &sealed), None);
        for text in ["", "00", "0", "zz", &sealed[..sealed.len() - 2], &sealed.replace('0', "1"), "é"] {
            assert_eq!(one.open("rain", text), None, "{text}");
        }
    }
}
