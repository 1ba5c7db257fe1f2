//! Openings that are under way: of streams to which there is no handle yet, and of sources that come later. An engine that shuts down
//! ends what they wait for.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::sys::Cancel;

/// The openings of an engine. Each is known by itself: a stream may have several at once, its source and its fallback, say.
#[derive(Default)]
pub(crate) struct Starting(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    under_way: Vec<Weak<Cancel>>,
}

impl Starting {
    /// Something is being opened from here on, until what is given back is dropped.
    pub(crate) fn begin(&self) -> Arc<Cancel> {
        let opening = Arc::default();
        self.watch(&opening);
        opening
    }

    /// The same, of what somebody else may call off as well.
    pub(crate) fn watch(&self, opening: &Arc<Cancel>) {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            opening.cancel();
        } else {
            state.under_way.retain(|opening| opening.strong_count() > 0);
            state.under_way.push(Arc::downgrade(opening));
        }
    }

    /// The engine shuts down.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let under_way = std::mem::take(&mut state.under_way);
        drop(state);
        under_way.iter().filter_map(Weak::upgrade).for_each(|opening| opening.cancel());
    }
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_under_way_is_ended_and_what_comes_later_is_too() {
        let (starting, ended) = (Starting::default(), Arc::new(AtomicU64::new(0)));
        let add = |number: u64| {
            let (opening, ended) = (starting.begin(), ended.clone());
            opening.on_cancel(move || {
                ended.fetch_add(number, Ordering::SeqCst);
            });
            opening
        };
        let (over, dropped, one, other) = (add(1), add(10), add(100), add(100));
        over.over();
        drop(dropped);
        starting.close();
        assert_eq!(ended.load(Ordering::SeqCst), 200);
        let late = add(1000);
        assert!(late.is_cancelled());
        starting.close();
        one.cancel();
        other.on_cancel(|| ());
        assert_eq!(ended.load(Ordering::SeqCst), 1200, "once each");
    }
}
