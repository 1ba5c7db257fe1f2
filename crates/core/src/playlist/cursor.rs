//! What a stream holds of the list it plays.

use std::sync::atomic::Ordering;

use super::order::{Place, Rules};
use super::{ItemId, List, ParameterChange, Playlist, PlaylistItem};
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
    pub(crate) fn cursor(&self) -> PlaylistCursor {
        let mut list = self.shared.list.lock();
        let seed = list.seed.unwrap_or_else(|| u64::from_le_bytes(random::bytes()));
        let place = Place::new(&list.items, list.rules, seed);
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
    #[cfg(test)]
    pub(crate) fn current(&self) -> Option<&PlaylistItem> {
        self.current.as_ref()
    }

    /// An item, current or peeked at, cannot be played at all. It does not come again in this round, nor before another
    /// one was played.
    pub(crate) fn failed(&self, id: ItemId) {
        self.at_place(|place, items, _| place.failed(id, items));
    }

    /// Some once after a skip or jump: the current item is to be left now, and [`PlaylistCursor::next`] gives the one
    /// to go on with. Takes no lock as long as nobody gave a command.
    pub(crate) fn take_command(&mut self) -> Option<Command> {
        let commands = self.list.shared.commands.load(Ordering::Acquire);
        if commands == self.seen {
            return None;
        }
        self.seen = commands;
        self.at_place(|place, _, _| place.take_command())
    }

    /// What happens when an item's parameters differ from those of the one before.
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

impl Drop for PlaylistCursor {
    fn drop(&mut self) {
        self.list.shared.list.lock().places.remove(&self.key);
    }
}
