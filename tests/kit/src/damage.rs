//! Real files, damaged: the same way in every run.

/// A number that looks random and is the same in every run.
fn mixed(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

/// Cuts a file off for even seeds; flips bits for odd ones: every other time up to 32 in the first kilobytes, where headers are, else up
/// to `flips` anywhere.
pub fn damage(mut bytes: Vec<u8>, seed: u64, flips: u64) -> Vec<u8> {
    let place = |number: u64, length: usize| (mixed(number) % length.max(1) as u64) as usize;
    if seed.is_multiple_of(2) {
        bytes.truncate(place(seed, bytes.len()));
        return bytes;
    }
    let (reach, flips) = if seed % 4 == 1 { (4096, 32) } else { (usize::MAX, flips) };
    let reach = bytes.len().min(reach);
    for flip in 0..1 + mixed(seed) % flips {
        let at = place(seed * 1000 + flip, reach);
        bytes[at] ^= 1 << (mixed(flip ^ seed) % 8);
    }
    bytes
}
