//! A stream's place in a list, and which item comes next from there.

use super::cursor::{Command, Next};
use super::{ItemId, PlaylistItem};

/// In which order items come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Listed,
    Shuffled,
}

/// How a list is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rules {
    pub(super) order: Order,
    pub(super) once: bool,
}

impl Rules {
    /// How often an item comes in a round.
    pub(super) fn turns(self, weight: u32) -> u32 {
        match self.order {
            Order::Listed => 1,
            Order::Shuffled if self.once => weight.min(1),
            Order::Shuffled => weight,
        }
    }
}

/// How one item stands in one stream's round.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// How often it still comes.
    left: u32,
    /// The turn in which it failed last; 0 for never, [`WAITS`] while it is not to be tried again.
    failed_in: u32,
}

/// In place of a turn: the item failed and waits until it is released.
const WAITS: u32 = u32::MAX;

/// Where one stream stands.
pub(super) struct Place {
    /// The item given last, also if it is not in the list any more.
    last: Option<ItemId>,
    /// That one is being played.
    playing: bool,
    /// It did not fail, so far.
    good: bool,
    /// Counts the items given; looking ahead belongs to the turn of the item that plays.
    turn: u32,
    /// The turn of the last item that did not fail, before this one.
    good_turn: u32,
    /// The position where the list goes on; its length if nothing comes behind.
    next_at: usize,
    /// One for each item of the list, at the same position.
    marks: Vec<Mark>,
    /// What a shuffled list drew ahead, so that looking at it does not change it.
    drawn: Option<(ItemId, Round)>,
    jump: Option<ItemId>,
    command: Option<Command>,
    random: Random,
}

/// The round that an item is chosen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    This,
    New,
}

impl Place {
    pub(super) fn new(items: &[PlaylistItem], rules: Rules, seed: u64) -> Self {
        let mut place = Self {
            last: None,
            playing: false,
            good: true,
            turn: 1,
            good_turn: 1,
            next_at: 0,
            marks: Vec::new(),
            drawn: None,
            jump: None,
            command: None,
            random: Random(seed),
        };
        place.begin_round(items, rules);
        place
    }

    /// Begins with item number `first`, if there is one. What comes before it in a list in order was played.
    pub(super) fn begin_at(&mut self, first: usize, items: &[PlaylistItem], rules: Rules) {
        let Some(item) = items.get(first) else { return };
        self.jump = Some(item.id);
        if rules.order == Order::Listed {
            self.marks.iter_mut().take(first).for_each(|mark| mark.left = 0);
        }
    }

    /// The next item, which is being played from here on.
    pub(super) fn next(&mut self, items: &[PlaylistItem], rules: Rules) -> Next {
        // A skip that comes together with the end of the item was meant for that item.
        self.command = None;
        let next = self.look(items, rules);
        match &next {
            Ok((index, round)) => self.take(*index, *round, items, rules),
            Err(Next::AllFailed) => self.begin_round(items, rules),
            Err(_) => {}
        }
        self.playing = next.is_ok();
        next.map_or_else(|stop| stop, |(index, _)| Next::Item(items[index].clone()))
    }

    pub(super) fn peek(&mut self, items: &[PlaylistItem], rules: Rules) -> Option<PlaylistItem> {
        self.look(items, rules).ok().map(|(index, _)| items[index].clone())
    }

    /// The item cannot be played. It does not come again in this round, nor before another one was played.
    pub(super) fn failed(&mut self, id: ItemId, items: &[PlaylistItem]) {
        if self.last == Some(id) {
            // What was drawn ahead may be an item that failed before this one.
            self.good = false;
            self.drawn = None;
        }
        self.forget(id);
        if let Some(index) = position(items, id) {
            self.marks[index] = Mark { left: 0, failed_in: self.turn };
        }
    }

    /// The item failed, and does not come again before it is [released](Self::release).
    pub(super) fn hold(&mut self, id: ItemId, items: &[PlaylistItem]) {
        self.failed(id, items);
        if let Some(index) = position(items, id) {
            self.marks[index].failed_in = WAITS;
        }
    }

    /// Items that waited and are `due` may come again.
    pub(super) fn release(&mut self, due: impl Fn(ItemId) -> bool, items: &[PlaylistItem], rules: Rules) {
        // Where nothing else plays, also a list that is played once gives them again.
        let is_stuck = self.why_none(items, rules) == Next::AllFailed;
        for (mark, item) in self.marks.iter_mut().zip(items) {
            if mark.failed_in == WAITS && due(item.id) {
                mark.failed_in = 0;
                if is_stuck {
                    mark.left = rules.turns(item.weight);
                }
            }
        }
    }

    /// Nothing is played from here on, so that there is nothing to skip.
    pub(super) fn rest(&mut self) {
        self.playing = false;
        self.command = None;
    }

    /// Why nothing comes next; `None` if something does.
    pub(super) fn stop(&mut self, items: &[PlaylistItem], rules: Rules) -> Option<Next> {
        self.look(items, rules).err()
    }

    pub(super) fn take_command(&mut self) -> Option<Command> {
        self.command.take()
    }

    pub(super) fn skip(&mut self, items: &[PlaylistItem], rules: Rules) {
        // A jump that was not followed yet is what is skipped.
        if let Some(index) = self.jump.and_then(|id| position(items, id)) {
            self.take(index, Round::This, items, rules);
        }
        self.command = self.playing.then_some(Command::Skip);
    }

    pub(super) fn jump(&mut self, id: ItemId) {
        self.jump = Some(id);
        self.command = self.playing.then_some(Command::Jump(id));
    }

    /// An item is at `position` now that was not there.
    pub(super) fn inserted(&mut self, position: usize, turns: u32) {
        self.insert_mark(position, Mark { left: turns, failed_in: 0 });
    }

    pub(super) fn removed(&mut self, position: usize, id: ItemId) {
        self.remove_mark(position);
        self.forget(id);
    }

    /// The place itself stays where it is, so that nothing behind it is passed over when the item that plays is moved.
    pub(super) fn moved(&mut self, from: usize, to: usize) {
        let mark = self.remove_mark(from);
        self.insert_mark(to, mark);
    }

    /// What was played in this round stays played.
    pub(super) fn rules_changed(&mut self, items: &[PlaylistItem], rules: Rules) {
        self.drawn = None;
        for (mark, item) in self.marks.iter_mut().zip(items) {
            if mark.left > 0 {
                mark.left = rules.turns(item.weight);
            }
        }
    }

    fn insert_mark(&mut self, position: usize, mark: Mark) {
        self.marks.insert(position, mark);
        if position < self.next_at {
            self.next_at += 1;
        }
    }

    fn remove_mark(&mut self, position: usize) -> Mark {
        if position < self.next_at {
            self.next_at -= 1;
        }
        self.marks.remove(position)
    }

    fn forget(&mut self, id: ItemId) {
        self.jump = self.jump.filter(|&jump| jump != id);
        self.drawn = self.drawn.filter(|&(drawn, _)| drawn != id);
    }

    fn begin_round(&mut self, items: &[PlaylistItem], rules: Rules) {
        let fresh = |item: &PlaylistItem| Mark { left: rules.turns(item.weight), failed_in: 0 };
        self.marks.clear();
        self.marks.extend(items.iter().map(fresh));
    }

    fn take(&mut self, index: usize, round: Round, items: &[PlaylistItem], rules: Rules) {
        let id = items[index].id;
        if round == Round::New {
            for (mark, item) in self.marks.iter_mut().zip(items) {
                mark.left = rules.turns(item.weight);
            }
        }
        if self.jump == Some(id) && rules.order == Order::Listed {
            for (position, mark) in self.marks.iter_mut().enumerate() {
                mark.left = u32::from(position >= index);
            }
        }
        let mark = &mut self.marks[index];
        mark.left = mark.left.saturating_sub(1);
        self.last = Some(id);
        self.good_turn = self.last_good_turn();
        self.turn = self.turn.saturating_add(1).min(WAITS - 1);
        self.good = true;
        self.next_at = index + 1;
        self.jump = None;
        self.drawn = None;
    }

    /// The item that comes next, and whether a new round begins with it; otherwise why there is none.
    fn look(&mut self, items: &[PlaylistItem], rules: Rules) -> Result<(usize, Round), Next> {
        if let Some(index) = self.jump.and_then(|id| position(items, id)) {
            return Ok((index, Round::This));
        }
        let found = match rules.order {
            Order::Listed => self.listed(items, rules),
            Order::Shuffled => self.shuffled(items, rules),
        };
        found.ok_or_else(|| self.why_none(items, rules))
    }

    fn listed(&self, items: &[PlaylistItem], rules: Rules) -> Option<(usize, Round)> {
        let due = |&index: &usize| self.left(index, Round::This, items, rules) > 0;
        if let Some(index) = (self.next_at..items.len()).find(due) {
            return Some((index, Round::This));
        }
        if rules.once {
            return (0..self.next_at).find(due).map(|index| (index, Round::This));
        }
        // An item that was moved to the top while it played, as the last of its round, does not come again at once.
        let open = |&index: &usize| !self.is_barred(self.marks[index]);
        let other = |&index: &usize| Some(items[index].id) != self.last;
        let all = 0..items.len();
        let index = all.clone().filter(open).find(other).or_else(|| all.clone().find(open))?;
        Some((index, Round::New))
    }

    fn shuffled(&mut self, items: &[PlaylistItem], rules: Rules) -> Option<(usize, Round)> {
        // That an item follows itself is looked at again: there may be another now.
        let drawn = self.drawn.filter(|&(id, _)| Some(id) != self.last);
        let drawn = drawn.and_then(|(id, round)| Some((position(items, id)?, round)));
        if drawn.is_some() {
            return drawn;
        }
        let drawn = self.draw(Round::This, items, rules).map(|index| (index, Round::This));
        let drawn = match drawn {
            None if !rules.once => self.draw(Round::New, items, rules).map(|index| (index, Round::New)),
            drawn => drawn,
        };
        // Only where there is no other does an item follow itself.
        let (index, round) = drawn.or_else(|| {
            let index = self.last.and_then(|id| position(items, id))?;
            let round = if rules.once { Round::This } else { Round::New };
            (self.left(index, round, items, rules) > 0).then_some((index, round))
        })?;
        self.drawn = Some((items[index].id, round));
        Some((index, round))
    }

    /// Draws any item that is left but the last one, like a card from a deck in which each item has a card for every turn
    /// it has left.
    fn draw(&mut self, round: Round, items: &[PlaylistItem], rules: Rules) -> Option<usize> {
        let last = self.last;
        let others = || (0..items.len()).filter(|&index| Some(items[index].id) != last);
        if !rules.once {
            // As long as no item has more turns than all others together, it can be kept from following itself: when it has
            // as many as that, it comes now.
            let left = |index: usize| self.left(index, round, items, rules);
            let heaviest = others().max_by_key(|&index| left(index))?;
            let rest: u64 = (0..items.len()).filter(|&index| index != heaviest).map(left).sum();
            if left(heaviest) > rest {
                return Some(heaviest);
            }
        }
        let total: u64 = others().map(|index| self.cards(index, round, items, rules)).sum();
        if total == 0 {
            return None;
        }
        let drawn = self.random.below(total);
        let mut seen = 0;
        others().find(|&index| {
            seen += self.cards(index, round, items, rules);
            drawn < seen
        })
    }

    /// What an item counts in a draw: its turns, or its weight where all have one turn only.
    fn cards(&self, index: usize, round: Round, items: &[PlaylistItem], rules: Rules) -> u64 {
        match self.left(index, round, items, rules) {
            0 => 0,
            _ if rules.once => u64::from(items[index].weight),
            left => left,
        }
    }

    /// How often an item still comes in a round; not at all if it failed.
    fn left(&self, index: usize, round: Round, items: &[PlaylistItem], rules: Rules) -> u64 {
        let mark = self.marks[index];
        u64::from(match round {
            _ if self.is_barred(mark) => 0,
            Round::This => mark.left,
            Round::New => rules.turns(items[index].weight),
        })
    }

    /// The turn since which nothing was played: the one before a failure. An item that plays is taken for good until it fails.
    fn last_good_turn(&self) -> u32 {
        if self.good { self.turn } else { self.good_turn }
    }

    /// It failed, and nothing was played since.
    fn is_barred(&self, mark: Mark) -> bool {
        mark.failed_in >= self.last_good_turn()
    }

    fn why_none(&self, items: &[PlaylistItem], rules: Rules) -> Next {
        let playable = || items.iter().zip(&self.marks).filter(|(item, _)| rules.turns(item.weight) > 0);
        if playable().next().is_none() {
            if rules.once && self.last.is_some() { Next::Complete } else { Next::Empty }
        } else if playable().all(|(_, &mark)| self.is_barred(mark)) {
            Next::AllFailed
        } else {
            Next::Complete
        }
    }
}

pub(super) fn position(items: &[PlaylistItem], id: ItemId) -> Option<usize> {
    items.iter().position(|item| item.id == id)
}

/// SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014): the same numbers for the same
/// seed on every machine and in every version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`. The bias of the multiplication is `limit` / 2⁶⁴: not to be noticed.
    fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(limit);
        u64::try_from(product >> 64).expect("the upper half of 128 bits has 64")
    }
}
