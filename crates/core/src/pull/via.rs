//! The relays that a pulled stream passes on its way to who watches it, so that none plays from itself.
//!
//! In: numbers of relays, from any thread, also while the stream is pulled. Out: what each dial says of them in `connect`.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// The longest text, in bytes: what servers take of it.
const MOST: usize = 1024;

/// Numbers of relays, as text with commas between them. A clone is the same list.
#[derive(Clone, Default)]
pub struct Via(Arc<Mutex<String>>);

impl Via {
    /// Of this relay alone.
    #[must_use]
    pub fn new(relay: &str) -> Self {
        let via = Self::default();
        via.add(relay);
        via
    }

    /// Adds those of `relays` that are not in it, as far as there is room.
    pub fn add(&self, relays: &str) {
        let mut text = self.0.lock();
        for relay in relays.split(',').filter(|relay| !relay.is_empty()) {
            let is_known = text.split(',').any(|known| known == relay);
            if !is_known && text.len() + 1 + relay.len() <= MOST {
                if !text.is_empty() {
                    text.push(',');
                }
                text.push_str(relay);
            }
        }
    }

    /// All of them.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.lock().clone()
    }
}

impl PartialEq for Via {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.text() == other.text()
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Via").field(&self.text()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relay_is_in_it_once_and_it_is_bounded() {
        let via = Via::new("a");
        let clone = via.clone();
        clone.add("b,a,,c");
        assert_eq!(via.text(), "a,b,c");
        (0..1000).for_each(|number| via.add(&format!("{number:016x}")));
        assert!(via.text().len() <= MOST && via.text().len() > MOST - 20);
    }
}
