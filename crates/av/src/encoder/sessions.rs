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
    /// It has opened in this process.
    worked: bool,
    refused: Option<Instant>,
}

impl Entry {
    /// Whether the same device encodes for both: "hevc_nvenc" takes a session from "h264_nvenc".
    fn shares_device(&self, encoder: &str) -> bool {
        device(&self.encoder) == device(encoder)
    }
}

fn device(encoder: &str) -> &str {
    encoder.rsplit_once('_').map_or(encoder, |(_, device)| device)
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
        entry.worked = true;
        forgive(&mut ledger, encoder);
        Self(encoder.to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut ledger = ledger();
        let entry = entry(&mut ledger, &self.0);
        entry.open = entry.open.saturating_sub(1);
        forgive(&mut ledger, &self.0);
    }
}

/// Forgets that the device had no session free.
fn forgive(ledger: &mut [Entry], encoder: &str) {
    ledger.iter_mut().filter(|entry| entry.shares_device(encoder)).for_each(|entry| entry.refused = None);
}

/// Notes that an encoder found no free session.
pub(crate) fn refuse(encoder: &str) {
    entry(&mut ledger(), encoder).refused = Some(Instant::now());
}

/// Sessions of this process.
pub(crate) fn open(encoder: &str) -> u32 {
    entry(&mut ledger(), encoder).open
}

/// Encoders that devices run for this process now, by libav's name, in the order in which each was first opened.
#[must_use]
pub fn hardware_sessions() -> Vec<(String, u32)> {
    let ledger = ledger();
    ledger.iter().filter(|entry| entry.worked).map(|entry| (entry.encoder.clone(), entry.open)).collect()
}

/// Whether an encoder of the same device has ever opened in this process.
pub(crate) fn has_worked(encoder: &str) -> bool {
    ledger().iter().any(|entry| entry.shares_device(encoder) && entry.worked)
}

/// Whether an encoder of the same device has lately found no free session, and none has been given back since.
pub(crate) fn is_full(encoder: &str) -> bool {
    let is_refused = |entry: &Entry| entry.refused.is_some_and(|at| at.elapsed() < REFUSAL);
    ledger().iter().any(|entry| entry.shares_device(encoder) && is_refused(entry))
}

fn ledger() -> MutexGuard<'static, Vec<Entry>> {
    // Nothing panics while it is held; what a panic left would still be counts.
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry<'a>(ledger: &'a mut Vec<Entry>, encoder: &str) -> &'a mut Entry {
    let place = ledger.iter().position(|entry| entry.encoder == encoder).unwrap_or(ledger.len());
    if place == ledger.len() {
        ledger.push(Entry { encoder: encoder.to_owned(), open: 0, worked: false, refused: None });
    }
    &mut ledger[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_a_session_of_the_device() {
        let [name, other] = ["h264_ofthistest", "hevc_ofthistest"];
        assert!(!has_worked(name));
        let (first, second) = (Session::begin(name), Session::begin(name));
        assert_eq!((open(name), open(other)), (2, 0));
        assert!(has_worked(other), "it is the same device");
        refuse(other);
        assert!(is_full(name) && is_full(other));
        drop(second);
        assert!(!is_full(name) && !is_full(other));
        assert_eq!(open(name), 1);
        refuse(name);
        drop(first);
        assert!(!is_full(name));
        assert_eq!(open(name), 0);
        assert!(!is_full("h264_another") && !has_worked("h264_another"));
    }
}
