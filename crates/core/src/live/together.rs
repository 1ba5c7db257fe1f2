//! Tags put together for many sessions.
//!
//! Sessions that stand at the same place of the ring get the same bytes. The first of them that asks is sent them tag by
//! tag; if a second one asks, they are copied together once, and it and all others send that one piece.

use flowcast_rtmp::chunk::SharedBatch;
use flowcast_rtmp::time::MediaTime;

use super::Entry;
use crate::output::gate::is_plain;

/// Bytes put together at most, unless the first tag alone is larger.
const LIMIT: usize = 128 << 10;
/// Places where sessions stand in one turn that are remembered; at others tags are sent one by one.
const PLACES: usize = 8;

/// Some tags in a row as one piece.
#[derive(Debug)]
pub struct Together {
    /// The bytes.
    pub batch: SharedBatch,
    /// The number after that of the last tag.
    pub end: u64,
    /// The time of the first tag.
    pub oldest: MediaTime,
    /// Each of them is sent to every player as it is.
    pub(crate) is_plain: bool,
}

/// What was asked for in this turn.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    from: u64,
    together: Made,
}

#[derive(Debug)]
enum Made {
    /// One session asked.
    Once,
    Yes(Together),
    /// There is a tag that cannot be shared.
    Cannot,
}

impl Places {
    /// The tags from the first of `entries` on, if more than one session asked for them.
    pub(super) fn at<'a>(
        &mut self,
        from: u64,
        entries: impl FnOnce() -> (&'a [Entry], &'a [Entry]),
    ) -> Option<&Together> {
        let Some(index) = self.0.iter().rposition(|place| place.from == from) else {
            if self.0.len() < PLACES {
                self.0.push(Place { from, together: Made::Once });
            }
            return None;
        };
        let place = self.0.get_mut(index)?;
        if matches!(place.together, Made::Once) {
            place.together = make(from, entries()).map_or(Made::Cannot, Made::Yes);
        }
        match &place.together {
            Made::Yes(together) => Some(together),
            _ => None,
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn make(from: u64, (front, back): (&[Entry], &[Entry])) -> Option<Together> {
    let in_a_row =
        (from..).zip(front.iter().chain(back)).take_while(|(number, entry)| entry.number == *number);
    let messages = in_a_row.map(|(_, entry)| &entry.message);
    let oldest = messages.clone().next()?.tag().timestamp;
    let (batch, count) = SharedBatch::collect(messages.clone(), LIMIT)?;
    let is_plain = messages.take(count).all(|message| is_plain(message.tag()));
    Some(Together { batch, end: from + count as u64, oldest, is_plain })
}
