//! Screens a stream of NAL units with start codes, cut anywhere.

use super::Syntax;
use crate::h264::find_start_code;
use crate::limits::{Exceeded, InputLimits};

/// This many bytes of a unit are available when it is examined: all of a usual parameter set.
const AHEAD: usize = 512;

/// Counts units and bytes from one picture to the next, and looks at parameter sets. What it costs is a search for start codes.
#[derive(Debug, Clone)]
pub(crate) struct ByteScreen {
    syntax: Syntax,
    limits: InputLimits,
    /// Since the last unit that begins a picture.
    units: u32,
    bytes: u64,
    /// Bytes not looked at yet.
    tail: Vec<u8>,
}

impl ByteScreen {
    pub(crate) fn new(syntax: Syntax, limits: InputLimits) -> Self {
        Self { syntax, limits, units: 0, bytes: 0, tail: Vec::new() }
    }

    /// Takes in the next bytes.
    pub(crate) fn feed(&mut self, data: &[u8]) -> Result<(), Exceeded> {
        let mut work = std::mem::take(&mut self.tail);
        work.extend_from_slice(data);
        let seen = work.len().saturating_sub(AHEAD);
        self.look(&work, seen)?;
        work.drain(..seen);
        self.tail = work;
        Ok(())
    }

    /// No bytes follow.
    pub(crate) fn end(&mut self) -> Result<(), Exceeded> {
        let work = std::mem::take(&mut self.tail);
        self.look(&work, work.len())
    }

    /// What follows is from elsewhere in the stream.
    pub(crate) fn restart(&mut self) {
        (self.units, self.bytes) = (0, 0);
        self.tail.clear();
    }

    /// Looks at the units that begin before `until`.
    fn look(&mut self, work: &[u8], until: usize) -> Result<(), Exceeded> {
        let mut at = 0;
        while let Some(code) = find_start_code(work, at).filter(|code| *code < until) {
            let begin = code + 3;
            let unit = work.get(begin..work.len().min(begin + AHEAD)).unwrap_or_default();
            self.bytes = self.bytes.saturating_add((code - at) as u64);
            if self.syntax.begins_picture(unit) {
                (self.units, self.bytes) = (0, 0);
            }
            self.units = self.units.saturating_add(1);
            if self.units > self.syntax.most_units(&self.limits) {
                return Err(Exceeded::new("max_units", u64::from(self.limits.max_units)));
            }
            self.syntax.check_unit(unit, &self.limits)?;
            at = begin;
        }
        self.bytes = self.bytes.saturating_add(until.saturating_sub(at) as u64);
        self.limits.check_bytes(self.bytes)
    }
}
