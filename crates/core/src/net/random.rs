//! Randomness from the TLS provider's generator: keys, handshakes, jitter.

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).is_err() {
        // Only a kernel without a random device gets here; jitter and handshakes do without, keys must not.
        log::error!("the system gives no random numbers");
    }
    bytes
}

/// A number in 0..1.
pub(crate) fn unit() -> f64 {
    let number = u32::from_le_bytes(bytes());
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}
