//! Notices laps that give less than they should: libav takes a file that was cut off for one that ends there.
//!
//! In: the packets of a lap. Out: what is missing, once per change.

use crate::scan;

/// Counts what a lap gives.
#[derive(Debug)]
pub(super) struct Shortfall {
    /// What a lap should give: at first what the container says, then what the first lap gave.
    expected: Option<u64>,
    first: bool,
    whole: u64,
    damaged: u64,
    told: Option<(u64, u64)>,
    /// Pictures before the first that can be decoded, in this lap and in the one before.
    lead: u64,
    lead_told: u64,
}

impl Shortfall {
    /// For a track of which the container counts `packets`.
    pub(super) fn new(packets: Option<u64>) -> Self {
        Self { expected: packets, first: true, whole: 0, damaged: 0, told: None, lead: 0, lead_told: 0 }
    }

    /// A packet of the track.
    pub(super) fn packet(&mut self, damaged: bool) {
        if damaged {
            self.damaged += 1;
        } else {
            self.whole += 1;
        }
    }

    /// So many were left out on purpose.
    pub(super) fn left_out(&mut self, packets: u64) {
        self.whole += packets;
    }

    /// A picture that is left out: no decoder could begin with it.
    pub(super) fn before_start(&mut self) {
        self.lead += 1;
    }

    /// The lap is over: what was left out before its beginning, unless it was the same in the lap before.
    pub(super) fn take_lead(&mut self) -> Option<String> {
        let lead = std::mem::take(&mut self.lead);
        let told = std::mem::replace(&mut self.lead_told, lead);
        (lead > 0 && lead != told).then(|| {
            format!("{lead} pictures before the first keyframe with a configuration are left out: they cannot be decoded")
        })
    }

    /// The lap is over: what it lacked, unless the lap before lacked the same.
    pub(super) fn end_lap(&mut self) -> Option<String> {
        let (whole, damaged) = (std::mem::take(&mut self.whole), std::mem::take(&mut self.damaged));
        let expected = self.expected.unwrap_or(whole);
        let tolerated = if self.first { scan::tolerated(expected) } else { 0 };
        if self.first {
            self.first = false;
            self.expected = Some(whole.max(1));
        }
        let short = whole + tolerated < expected;
        if !short && damaged == 0 {
            self.told = None;
            return None;
        }
        if self.told.replace((whole, damaged)) == Some((whole, damaged)) {
            return None;
        }
        Some(match (short, damaged) {
            (false, _) => format!("{}, {}", are_whole(whole), are_damaged(damaged)),
            (true, 0) => format!("gave {whole} of {}", frames(expected)),
            (true, _) => {
                let are = if whole == 1 { "is" } else { "are" };
                format!("{whole} of {} {are} whole, {}", frames(expected), are_damaged(damaged))
            }
        })
    }
}

fn frames(count: u64) -> String {
    format!("{count} frame{}", if count == 1 { "" } else { "s" })
}

fn are_whole(count: u64) -> String {
    format!("{} {} whole", frames(count), if count == 1 { "is" } else { "are" })
}

fn are_damaged(count: u64) -> String {
    format!("{count} {} damaged or cut off", if count == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lap(shortfall: &mut Shortfall, whole: u64, damaged: u64) -> Option<String> {
        (0..whole).for_each(|_| shortfall.packet(false));
        (0..damaged).for_each(|_| shortfall.packet(true));
        shortfall.end_lap()
    }

    #[test]
    fn what_is_missing_is_told_once_per_change() {
        let mut shortfall = Shortfall::new(Some(100));
        assert_eq!(lap(&mut shortfall, 96, 0), None, "edit lists leave a few out");
        assert_eq!(lap(&mut shortfall, 96, 0), None);
        assert_eq!(
            lap(&mut shortfall, 40, 1).as_deref(),
            Some("40 of 96 frames are whole, 1 is damaged or cut off")
        );
        assert_eq!(lap(&mut shortfall, 40, 1), None, "it was told");
        assert_eq!(lap(&mut shortfall, 20, 0).as_deref(), Some("gave 20 of 96 frames"));
        shortfall.left_out(50);
        assert_eq!(lap(&mut shortfall, 46, 0), None, "the rest was left out on purpose");
        assert_eq!(lap(&mut shortfall, 96, 0), None);
    }

    #[test]
    fn sentences_agree_with_their_numbers() {
        let mut all = Shortfall::new(Some(50));
        assert_eq!(lap(&mut all, 50, 1).as_deref(), Some("50 frames are whole, 1 is damaged or cut off"));
        assert_eq!(lap(&mut all, 50, 2).as_deref(), Some("50 frames are whole, 2 are damaged or cut off"));
        let mut few = Shortfall::new(Some(1));
        assert_eq!(lap(&mut few, 1, 1).as_deref(), Some("1 frame is whole, 1 is damaged or cut off"));
        assert_eq!(lap(&mut few, 0, 0).as_deref(), Some("gave 0 of 1 frame"));
    }

    #[test]
    fn a_file_that_was_cut_off_before_it_was_opened_is_told_about() {
        let mut shortfall = Shortfall::new(Some(100));
        assert_eq!(lap(&mut shortfall, 50, 0).as_deref(), Some("gave 50 of 100 frames"));
        assert_eq!(lap(&mut shortfall, 50, 0), None, "that is all there is of it");
        let mut unknown = Shortfall::new(None);
        assert_eq!((lap(&mut unknown, 50, 0), lap(&mut unknown, 50, 0)), (None, None));
        assert!(lap(&mut unknown, 49, 0).is_some());
    }
}
