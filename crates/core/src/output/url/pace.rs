//! How bytes go out over time, and not all at once.
//!
//! In: the bytes of a turn. Out: the pieces to send, with pauses between them. What a turn brings, a keyframe above all, would otherwise be one burst
//! that is larger than the receive buffer of most programs. On the thread that sends.

use std::time::Duration;

/// Bytes that are sent without a pause: half of what the smallest usual receive buffer holds.
const AT_ONCE: usize = 32 << 10;
/// The pause between two such pieces.
const PAUSE: Duration = Duration::from_millis(8);
/// How long the bytes of a turn take at most: less than a tick.
const MOST: Duration = Duration::from_millis(72);
/// Turns that wait, from which on it hurries.
const HURRY: usize = 3;

/// How many bytes are sent at once of this many, in whole datagrams.
pub(super) fn piece(length: usize, datagram: usize) -> usize {
    let pauses = usize::try_from(MOST.as_millis() / PAUSE.as_millis()).unwrap_or(1);
    // No more pieces than there is time for: then they are larger.
    AT_ONCE.max(length.div_ceil(pauses + 1)).next_multiple_of(datagram.max(1))
}

/// The pause between two pieces, while this many turns wait to be sent after them.
pub(super) const fn pause(waiting: usize) -> Duration {
    if waiting >= HURRY { Duration::ZERO } else { PAUSE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_is_spread_and_never_beyond_a_turn() {
        assert!(piece(10_000, 1316) >= 10_000, "at once");
        for length in [100_000_usize, 1_000_000, 20_000_000] {
            let piece = piece(length, 1316);
            let pieces = length.div_ceil(piece);
            assert!(piece.is_multiple_of(1316) && (3..=10).contains(&pieces), "{length}: {piece}");
            assert!(pause(0) * (u32::try_from(pieces).expect("few") - 1) <= MOST);
        }
        assert_eq!(pause(HURRY), Duration::ZERO);
    }
}
