//! What a stream holds of the list it plays.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::order::{Place, Rules};
use super::{ItemId, List, NothingPlays, ParameterChange, Playlist, PlaylistItem};
use crate::net::random;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// This item, which is the current one now.
    Item(PlaylistItem),
    /// Nothing: the list has no item to play. There may be one later.
    Empty,
    /// Nothing: the list is played once, and all of it was. An item that is added later still comes.
    Complete,
    /// Every item failed, and none was played since. Asked again, the list gives all of them again, also one that is played
    /// once: the caller waits for a while before it asks, or gives up.
    AllFailed,
}

/// What the embedding program wants of the stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Leave the current item.
    Skip,
    /// Leave the current item for this one.
    Jump(ItemId),
}

/// A stream's own place in a list. Dropped, it is forgotten by the list.
#[derive(Debug)]
pub(crate) struct PlaylistCursor {
    list: Playlist,
    key: u64,
    current: Option<PlaylistItem>,
    /// The count of commands when they were looked at last.
    seen: u64,
}

impl Playlist {
    /// A place of its own, before the first item.
    #[cfg(test)]
    pub(crate) fn cursor(&self) -> PlaylistCursor {
        self.cursor_at(None)
    }

    /// A place of its own, before item number `first`, counted from 0, if there is such a one. Of a list in order, what comes before it
    /// counts as played in this round.
    pub(crate) fn cursor_at(&self, first: Option<usize>) -> PlaylistCursor {
        let mut list = self.shared.list.lock();
        let seed = list.seed.unwrap_or_else(|| u64::from_le_bytes(random::bytes()));
        let mut place = Place::new(&list.items, list.rules, seed);
        if let Some(first) = first {
            place.begin_at(first, &list.items, list.rules);
        }
        list.last_cursor += 1;
        let key = list.last_cursor;
        list.places.insert(key, place);
        let seen = self.shared.commands.load(Ordering::Acquire);
        PlaylistCursor { list: self.clone(), key, current: None, seen }
    }
}

impl PlaylistCursor {
    /// The item to play next. The one before counts as played, unless [`PlaylistCursor::failed`] said otherwise, and
    /// a command that was meant for it is void.
    pub(crate) fn next(&mut self) -> Next {
        let next = self.at_place(Place::next);
        self.current = match &next {
            Next::Item(item) => Some(item.clone()),
            _ => None,
        };
        next
    }

    /// What [`PlaylistCursor::next`] will give, unless the list is edited meanwhile.
    pub(crate) fn peek(&self) -> Option<PlaylistItem> {
        self.at_place(Place::peek)
    }

    /// The item that [`PlaylistCursor::next`] gave last, also if it was taken out of the list since.
    pub(crate) fn current(&self) -> Option<&PlaylistItem> {
        self.current.as_ref()
    }

    /// An item, current or peeked at, cannot be played at all. It does not come again in this round, nor before another
    /// one was played.
    #[cfg(test)]
    pub(crate) fn failed(&self, id: ItemId) {
        self.at_place(|place, items, _| place.failed(id, items));
    }

    /// Some once after a skip or jump: the current item is to be left now, and [`PlaylistCursor::next`] gives the one
    /// to go on with. Takes no lock as long as there was no command.
    pub(crate) fn take_command(&mut self) -> Option<Command> {
        let commands = self.list.shared.commands.load(Ordering::Acquire);
        if commands == self.seen {
            return None;
        }
        self.seen = commands;
        self.at_place(|place, _, _| place.take_command())
    }

    /// The item `id` to play next, if it is what comes next. As [`PlaylistCursor::next`] then.
    pub(crate) fn take(&mut self, id: ItemId) -> bool {
        let taken = self.at_place(|place, items, rules| {
            let comes = place.peek(items, rules).filter(|item| item.id == id)?;
            place.next(items, rules);
            Some(comes)
        });
        let is_taken = taken.is_some();
        if is_taken {
            self.current = taken;
        }
        is_taken
    }

    /// Nothing is played until [`PlaylistCursor::take`] or [`PlaylistCursor::next`].
    pub(crate) fn rest(&self) {
        self.at_place(|place, _, _| place.rest());
    }

    /// The numbers of all items.
    pub(crate) fn ids(&self) -> HashSet<ItemId> {
        self.at_place(|_, items, _| items.iter().map(|item| item.id).collect())
    }

    /// Why [`PlaylistCursor::next`] would give nothing; `None` if it would.
    pub(crate) fn stop(&self) -> Option<Next> {
        self.at_place(Place::stop)
    }

    /// Items that [`Looker::hold`] keeps back and that are `due` may come again.
    pub(crate) fn release(&self, due: impl Fn(ItemId) -> bool) {
        self.at_place(|place, items, rules| place.release(due, items, rules));
    }

    /// The same place, for those who look ahead on other threads.
    pub(crate) fn looker(&self) -> Looker {
        Looker { list: self.list.clone(), key: self.key }
    }

    /// Counts the edits of the list. Takes no lock.
    pub(crate) fn edits(&self) -> u64 {
        self.list.shared.edits.load(Ordering::Acquire)
    }

    /// What is done when no item can be played.
    pub(crate) fn nothing_plays(&self) -> NothingPlays {
        self.list.shared.list.lock().nothing_plays
    }

    /// What happens if an item's parameters differ from those of the one before.
    pub(crate) fn parameter_change(&self) -> ParameterChange {
        self.list.shared.list.lock().on_change
    }

    fn at_place<R>(&self, action: impl FnOnce(&mut Place, &[PlaylistItem], Rules) -> R) -> R {
        let mut list = self.list.shared.list.lock();
        let List { items, rules, places, .. } = &mut *list;
        let place = places.get_mut(&self.key).expect("a cursor's place is kept until the cursor is dropped");
        action(place, items, *rules)
    }
}

/// Looks ahead from a cursor's place, on any thread.
#[derive(Debug, Clone)]
pub(crate) struct Looker {
    list: Playlist,
    key: u64,
}

impl Looker {
    /// As [`PlaylistCursor::peek`]; nothing once the cursor is gone.
    pub(crate) fn peek(&self) -> Option<PlaylistItem> {
        self.at_place(Place::peek).flatten()
    }

    /// An item cannot be played. It does not come again before it is [released](PlaylistCursor::release), unless it is jumped
    /// to.
    pub(crate) fn hold(&self, id: ItemId) {
        self.at_place(|place, items, _| place.hold(id, items));
    }

    fn at_place<R>(&self, action: impl FnOnce(&mut Place, &[PlaylistItem], Rules) -> R) -> Option<R> {
        let mut list = self.list.shared.list.lock();
        let List { items, rules, places, .. } = &mut *list;
        Some(action(places.get_mut(&self.key)?, items, *rules))
    }
}

impl Drop for PlaylistCursor {
    fn drop(&mut self) {
        self.list.shared.list.lock().places.remove(&self.key);
    }
}
