//! Who waits for room, in the order in which they came.

use std::collections::VecDeque;

use crate::error::Shortage;

/// Starts that wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    tickets: VecDeque<u64>,
    next: u64,
    /// What is short for the first.
    shortage: Option<Shortage>,
}

impl Line {
    /// Goes to its end.
    pub(super) fn join(&mut self) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.tickets.push_back(ticket);
        ticket
    }

    pub(super) fn leave(&mut self, ticket: u64) {
        if self.is_first(ticket) {
            self.shortage = None;
        }
        self.tickets.retain(|waiting| *waiting != ticket);
    }

    pub(super) fn is_first(&self, ticket: u64) -> bool {
        self.tickets.front() == Some(&ticket)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// What the first one waits for.
    pub(super) fn set_shortage(&mut self, shortage: Shortage) {
        self.shortage = Some(shortage);
    }

    /// What is short for the first; `None` if nobody waits, or the first has not asked yet.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.shortage
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }
}
