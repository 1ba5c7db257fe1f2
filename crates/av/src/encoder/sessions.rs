//! How many encoders each device runs for this process, and which devices have said that they run no more. Consumer GPUs
//! allow a few sessions each, in all processes together, and say "out of memory" to the next: such an encoder is busy, not
//! broken.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a refusal holds if no session of this process ends before: one of another process may.
const REFUSAL: Duration = Duration::from_secs(10);

static LEDGER: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Entry {
    encoder: String,
    open: u32,
    refused: Option<Instant>,
}

/// A running encoder of a device.
#[derive(Debug)]
pub(crate) struct Session(String);

impl Session {
    /// Enters an encoder that has just opened.
    pub(crate) fn begin(encoder: &str) -> Self {
        let mut ledger = ledger();
        let entry = entry(&mut ledger, encoder);
        entry.open += 1;
        entry.refused = None;
        Self(encoder.to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut ledger = ledger();
        let entry = entry(&mut ledger, &self.0);
        entry.open = entry.open.saturating_sub(1);
        entry.refused = None;
    }
}

/// Notes that an encoder found no free session.
pub(crate) fn refuse(encoder: &str) {
    entry(&mut ledger(), encoder).refused = Some(Instant::now());
}

/// Sessions of this process.
pub(crate) fn open(encoder: &str) -> u32 {
    entry(&mut ledger(), encoder).open
}

/// Whether the encoder has lately found no free session, and none has been given back since.
pub(crate) fn is_full(encoder: &str) -> bool {
    entry(&mut ledger(), encoder).refused.is_some_and(|at| at.elapsed() < REFUSAL)
}

fn ledger() -> MutexGuard<'static, Vec<Entry>> {
    // Nothing panics while it is held; what a panic left would still be counts.
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry<'a>(ledger: &'a mut Vec<Entry>, encoder: &str) -> &'a mut Entry {
    let place = ledger.iter().position(|entry| entry.encoder == encoder).unwrap_or(ledger.len());
    if place == ledger.len() {
        ledger.push(Entry { encoder: encoder.to_owned(), open: 0, refused: None });
    }
    &mut ledger[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_a_session() {
        let name = "h264_of_this_test";
        let (first, second) = (Session::begin(name), Session::begin(name));
        assert_eq!(open(name), 2);
        refuse(name);
        assert!(is_full(name));
        drop(second);
        assert!(!is_full(name));
        assert_eq!(open(name), 1);
        refuse(name);
        drop(first);
        assert!(!is_full(name));
        assert_eq!(open(name), 0);
    }
}
