//! The addresses of one stream, in the order in which they are dialled.
//!
//! In: what became of the one that was dialled. Out: the next. A round is over when all have failed since one last gave media; the next begins
//! with the first again. On the stream's thread.

use super::address::Address;

/// One address at least, and which of them it is at the moment.
pub(super) struct Homes {
    first: Address,
    others: Vec<Address>,
    /// 0 for the first.
    at: usize,
    /// How many have failed in this round.
    failed: usize,
    /// One of them may have the stream later.
    has_hope: bool,
}

/// What comes after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another address, at once.
    Dial,
    /// All were dialled. Some may have the stream later, or none will.
    RoundOver { has_hope: bool },
}

impl Homes {
    pub(super) fn new(first: Address, others: Vec<Address>) -> Self {
        Self { first, others, at: 0, failed: 0, has_hope: false }
    }

    /// The first is elsewhere now: the round begins with it.
    pub(super) fn move_to(&mut self, first: Address) {
        if self.first != first {
            (self.first, self.at) = (first, 0);
            self.works();
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The one that is dialled, or gives the stream.
    pub(super) fn now(&self) -> &Address {
        self.at.checked_sub(1).and_then(|index| self.others.get(index)).unwrap_or(&self.first)
    }

    /// It gives media.
    pub(super) fn works(&mut self) {
        (self.failed, self.has_hope) = (0, false);
    }

    /// It was lost, could not be reached, or does not have the stream.
    pub(super) fn failed(&mut self, is_retryable: bool) -> Next {
        self.failed += 1;
        self.has_hope |= is_retryable;
        if self.failed < self.count() {
            self.at = (self.at + 1) % self.count();
            return Next::Dial;
        }
        let has_hope = self.has_hope;
        self.at = 0;
        self.works();
        Next::RoundOver { has_hope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(count: usize) -> Homes {
        let mut all = (0..count)
            .map(|number| Address::parse(&format!("rtmp://origin{number}/live/show")).expect("an address"));
        Homes::new(all.next().expect("one"), all.collect())
    }

    #[test]
    fn each_is_dialled_once_in_a_round_which_begins_with_the_first() {
        let mut homes = homes(3);
        for _ in 0..2 {
            for host in ["origin0", "origin1"] {
                assert_eq!(homes.now().host(), host);
                assert_eq!(homes.failed(true), Next::Dial);
            }
            assert_eq!(homes.now().host(), "origin2");
            assert_eq!(homes.failed(false), Next::RoundOver { has_hope: true });
        }
        let refused = [(); 3].map(|()| homes.failed(false));
        assert_eq!(refused, [Next::Dial, Next::Dial, Next::RoundOver { has_hope: false }]);
    }

    #[test]
    fn a_first_that_has_moved_begins_a_round() {
        let mut homes = homes(2);
        assert_eq!(homes.failed(true), Next::Dial);
        homes.move_to(Address::parse("rtmp://origin0/live/show").expect("an address"));
        assert_eq!(homes.now().host(), "origin1", "it has not moved");
        homes.move_to(Address::parse("rtmp://elsewhere/live/show").expect("an address"));
        assert_eq!(homes.now().host(), "elsewhere");
        assert_eq!(
            [homes.failed(false), homes.failed(false)],
            [Next::Dial, Next::RoundOver { has_hope: false }]
        );
    }

    #[test]
    fn one_that_is_lost_is_dialled_again_after_the_others() {
        let mut homes = homes(3);
        assert_eq!(homes.failed(true), Next::Dial);
        homes.works();
        assert_eq!(homes.now().host(), "origin1");
        for host in ["origin2", "origin0"] {
            assert_eq!(homes.failed(true), Next::Dial);
            assert_eq!(homes.now().host(), host);
        }
        assert_eq!(homes.failed(true), Next::RoundOver { has_hope: true });
        let mut alone = self::homes(1);
        assert_eq!(alone.failed(false), Next::RoundOver { has_hope: false });
        assert_eq!(alone.now().host(), "origin0");
    }
}
