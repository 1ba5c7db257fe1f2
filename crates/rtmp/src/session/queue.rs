//! Events that wait for the caller.

use std::collections::VecDeque;

use super::aggregate::Aggregate;
use crate::flv::Tag;

/// Events in order of arrival; an aggregate message stands for the tags in it.
#[derive(Debug)]
pub(super) struct EventQueue<E> {
    entries: VecDeque<Entry<E>>,
    of_tag: fn(Tag) -> E,
}

#[derive(Debug)]
enum Entry<E> {
    Event(E),
    Aggregate(Aggregate),
}

impl<E> EventQueue<E> {
    /// An empty queue; `of_tag` makes the event of a tag.
    pub(super) fn new(of_tag: fn(Tag) -> E) -> Self {
        Self { entries: VecDeque::new(), of_tag }
    }

    pub(super) fn push_back(&mut self, event: E) {
        self.entries.push_back(Entry::Event(event));
    }

    pub(super) fn push_tag(&mut self, tag: Tag) {
        self.push_back((self.of_tag)(tag));
    }

    pub(super) fn push_aggregate(&mut self, aggregate: Aggregate) {
        self.entries.push_back(Entry::Aggregate(aggregate));
    }

    pub(super) fn pop_front(&mut self) -> Option<E> {
        loop {
            if let Entry::Aggregate(aggregate) = self.entries.front_mut()?
                && let Some(tag) = aggregate.pull()
            {
                return Some((self.of_tag)(tag));
            }
            if let Entry::Event(event) = self.entries.pop_front()? {
                return Some(event);
            }
        }
    }
}
