//! Tags that their source makes again.

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::{Entry, Preparer};
use crate::error::Error;
use crate::ring::Refill;

/// Some tags in a row that are not in memory: which ones, and how to make them again.
#[derive(Debug)]
pub(super) struct Batch {
    first: u64,
    end: u64,
    /// The time of the first of them.
    oldest: MediaTime,
    /// As it was before the first of them.
    preparer: Preparer,
    refill: Box<dyn Refill>,
}

impl Batch {
    /// About what one takes in memory.
    pub(super) const SIZE: usize = size_of::<Self>() + 64;

    pub(super) fn new(
        first: u64,
        end: u64,
        oldest: MediaTime,
        preparer: Preparer,
        refill: Box<dyn Refill>,
    ) -> Self {
        Self { first, end, oldest, preparer, refill }
    }

    /// The number of the first tag.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number after that of the last tag.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The time of the first tag.
    pub(super) fn oldest(&self) -> MediaTime {
        self.oldest
    }
}

/// The batch that was made last: outputs that are equally far behind share the read.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// The number of its first tag.
    batch: Option<u64>,
    entries: Vec<Entry>,
    tags: Vec<Tag>,
    /// The last batch that could not be made: it is not tried again by each output.
    lost: Option<u64>,
    fault: Option<Error>,
}

impl Again {
    /// The entries of `batch`; `None` if they cannot be made.
    pub(super) fn make(&mut self, batch: &Batch) -> Option<&[Entry]> {
        if self.batch != Some(batch.first) {
            if self.lost == Some(batch.first) {
                return None;
            }
            self.batch = None;
            self.entries.clear();
            self.tags.clear();
            if !self.read(batch) {
                self.lost = Some(batch.first);
                self.tags.clear();
                return None;
            }
            let mut preparer = batch.preparer.clone();
            let numbered = (batch.first..).zip(self.tags.drain(..));
            self.entries.extend(numbered.map(|(number, tag)| preparer.entry(number, tag)));
            self.batch = Some(batch.first);
        }
        Some(&self.entries)
    }

    fn read(&mut self, batch: &Batch) -> bool {
        match batch.refill.refill(&mut self.tags) {
            Ok(()) if self.tags.len() as u64 == batch.end - batch.first => true,
            Ok(()) => {
                log::error!("a source made {} tags of {}", self.tags.len(), batch.end - batch.first);
                false
            }
            Err(error) => {
                self.fault = Some(error);
                false
            }
        }
    }

    pub(super) fn take_fault(&mut self) -> Option<Error> {
        self.fault.take()
    }

    /// Lets go of the tags; of the room for them, too, if none is going to be made soon.
    pub(super) fn let_go(&mut self, all: bool) {
        if all {
            if self.entries.capacity() > 0 {
                *self = Self { fault: self.fault.take(), ..Self::default() };
            }
        } else {
            self.batch = None;
            self.entries.clear();
        }
    }
}
