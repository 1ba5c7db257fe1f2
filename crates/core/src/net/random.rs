//! Randomness from the TLS provider's generator: keys, handshakes, jitter.

/// `N` random bytes; `None` from a kernel without a random device.
pub(crate) fn secret<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok().map(|()| bytes)
}

/// `N` random bytes for what need not be secret: jitter, handshakes, tokens.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    secret().unwrap_or([0x5a; N])
}

/// A number in 0..1.
pub(crate) fn unit() -> f64 {
    let number = u32::from_le_bytes(bytes());
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}
