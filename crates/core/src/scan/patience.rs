//! How much damage of a file is passed over.
//!
//! In: what became of each read. Out: whether to read on. One rule for all who read a file: those who scan, play and prepare it.

use flowcast_av::Error as Media;

use crate::error::Error;

/// Places in a row that may be damaged before the rest of a file is given up.
const MOST_IN_A_ROW: u32 = 16;
/// Of a hundred packets the container counts, this many may be missing without a report: edit lists leave some out.
const TOLERATED_PERCENT: u64 = 5;

/// Counts damaged places in a row.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    in_a_row: u32,
}

/// What an error is to those who read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The first damaged place after something readable: there may be more behind it.
    First,
    /// The next one in a row; the same holds.
    Again,
    /// There are too many in a row: the file ends here.
    TooMuch,
    /// No damage: nothing can be read after such an error.
    Final,
}

impl Patience {
    /// Something was read.
    pub(crate) fn read(&mut self) {
        self.in_a_row = 0;
    }

    /// Nothing could be read, for this reason.
    pub(crate) fn failed(&mut self, error: &Error) -> Damage {
        if is_final(error) {
            return Damage::Final;
        }
        if self.in_a_row >= MOST_IN_A_ROW {
            return Damage::TooMuch;
        }
        self.in_a_row += 1;
        if self.in_a_row == 1 { Damage::First } else { Damage::Again }
    }
}

/// Whether nothing can be read after `error`, as opposed to a damaged place. Where times are missing, not one place is damaged, but
/// every packet of the track.
fn is_final(error: &Error) -> bool {
    let Error::Media(error) = error else { return true };
    matches!(
        error,
        Media::Cancelled { .. }
            | Media::Timeout { .. }
            | Media::LimitExceeded { .. }
            | Media::MissingTimestamps { .. }
    )
}

/// How many of the packets that a container counts may be missing.
pub(crate) const fn tolerated(packets: u64) -> u64 {
    packets.saturating_mul(TOLERATED_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage() -> Error {
        Error::Media(Media::InvalidData { input: "a.ts".to_owned(), message: "damaged".to_owned() })
    }

    #[test]
    fn sixteen_damaged_places_in_a_row_are_passed_over_and_no_more() {
        let mut patience = Patience::default();
        for _ in 0..3 {
            assert_eq!(patience.failed(&damage()), Damage::First);
            assert!((1..16).all(|_| patience.failed(&damage()) == Damage::Again));
            assert_eq!(patience.failed(&damage()), Damage::TooMuch);
            assert_eq!(patience.failed(&damage()), Damage::TooMuch);
            patience.read();
        }
    }

    #[test]
    fn what_is_no_damage_is_final_at_once() {
        let mut patience = Patience::default();
        for error in [
            Media::Cancelled { operation: "read" },
            Media::MissingTimestamps { input: "a.h264".to_owned(), track: 0 },
        ] {
            assert_eq!(patience.failed(&Error::Media(error)), Damage::Final);
        }
        assert_eq!(patience.failed(&damage()), Damage::First, "it is not counted");
    }
}
