//! The tags of one turn, and how to make them again.

use std::sync::Arc;

use flowcast_rtmp::flv::tag::Tag;

use crate::error::Error;
use crate::lap::{Fill, Placement};
use crate::pool::Shelf;
use crate::reel::Reel;
use crate::ring::Refill;

/// What a turn was made of.
#[derive(Debug)]
pub(super) enum Part {
    /// Headers, as they are.
    Headers(Vec<Tag>),
    /// A slot of a reel.
    Slot {
        /// The reel.
        reel: Arc<Reel>,
        /// The slot's number.
        slot: usize,
        /// Where its tags go.
        placement: Placement,
    },
    /// Frames that no item has.
    Fill(Fill),
}

/// The tags of one turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The tags.
    pub(super) tags: Vec<Tag>,
    /// What they were made of.
    pub(super) parts: Vec<Part>,
    /// They came from several places and are to be put in order of time.
    pub(super) sort: bool,
    /// Some of them cannot be made again.
    once: bool,
}

/// Makes the tags of a turn again.
#[derive(Debug)]
enum Again {
    /// Nearly always a turn is one slot.
    One(Part),
    Several {
        parts: Vec<Part>,
        sort: bool,
    },
}

/// Room for the turns that are going on: what a turn holds is used again by the next stream that wakes.
static TURNS: Shelf<Turn> = Shelf::new();

impl Turn {
    /// Places the tags from number `from` on, which came from `slot` (or cannot be had again), behind `headers`; says whether
    /// other sequence headers are among them.
    pub(super) fn place(
        &mut self,
        headers: Vec<Tag>,
        placement: Placement,
        slot: Option<(Arc<Reel>, usize)>,
        from: usize,
    ) -> bool {
        let changes = placement.apply(&mut self.tags, from);
        if !headers.is_empty() {
            self.tags.splice(from..from, headers.iter().cloned());
            self.parts.push(Part::Headers(headers));
        }
        match slot {
            Some((reel, slot)) => self.parts.push(Part::Slot { reel, slot, placement }),
            None => self.once |= self.tags.len() > from,
        }
        changes
    }

    /// An empty turn.
    pub(super) fn begin() -> Self {
        TURNS.take()
    }

    /// Puts the turn in order; what makes it again, if all of it can be.
    pub(super) fn finish(&mut self) -> Option<Box<dyn Refill>> {
        let (sort, once) = (std::mem::take(&mut self.sort), std::mem::take(&mut self.once));
        if sort {
            self.tags.sort_by_key(|tag| tag.timestamp);
        }
        if once {
            self.parts.clear();
        }
        let again = match self.parts.len() {
            0 => return None,
            1 => Again::One(self.parts.pop()?),
            _ => Again::Several { parts: std::mem::take(&mut self.parts), sort },
        };
        Some(Box::new(again))
    }

    /// Lets the next stream have the room; what is left in it is gone.
    pub(super) fn end(mut self) {
        self.tags.clear();
        self.parts.clear();
        TURNS.put_back(self);
    }
}

impl Part {
    fn refill(&self, tags: &mut Vec<Tag>) -> Result<(), Error> {
        match self {
            Self::Headers(headers) => tags.extend(headers.iter().cloned()),
            Self::Slot { reel, slot, placement } => {
                let from = tags.len();
                reel.read(*slot, tags)?;
                placement.apply(tags, from);
            }
            Self::Fill(fill) => fill.add(tags),
        }
        Ok(())
    }
}

impl Refill for Again {
    fn refill(&self, tags: &mut Vec<Tag>) -> Result<(), Error> {
        let begin = tags.len();
        match self {
            Self::One(part) => part.refill(tags),
            Self::Several { parts, sort } => {
                parts.iter().try_for_each(|part| part.refill(tags))?;
                if *sort && let Some(turn) = tags.get_mut(begin..) {
                    turn.sort_by_key(|tag| tag.timestamp);
                }
                Ok(())
            }
        }
    }
}
