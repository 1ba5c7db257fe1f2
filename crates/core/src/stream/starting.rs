//! Starts that are under way: there is no handle to such a stream yet, and an engine that shuts down ends what they wait for.

use std::fmt;

use parking_lot::Mutex;

use crate::id::StreamId;

/// Ends what a start waits for.
type End = Box<dyn Fn() + Send>;

/// The starts of an engine that read files to find out what is to be encoded.
#[derive(Default)]
pub(crate) struct Starting(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    ends: Vec<(StreamId, End)>,
}

impl Starting {
    /// Has `end` called when the engine shuts down before the start of `stream` is [over](Self::over); at once if it has already.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is scanned"))]
    pub(crate) fn add(&self, stream: StreamId, end: impl Fn() + Send + 'static) {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            end();
        } else {
            state.ends.push((stream, Box::new(end)));
        }
    }

    /// A start has succeeded or failed.
    pub(crate) fn over(&self, stream: StreamId) {
        self.0.lock().ends.retain(|(of, _)| *of != stream);
    }

    /// What is being opened for `stream` is not needed any more.
    pub(crate) fn end(&self, stream: StreamId) {
        let mut state = self.0.lock();
        let (ended, ends) = std::mem::take(&mut state.ends).into_iter().partition(|(of, _)| *of == stream);
        state.ends = ends;
        drop(state);
        let ended: Vec<(StreamId, End)> = ended;
        ended.into_iter().for_each(|(_, end)| end());
    }

    /// The engine shuts down.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let ends = std::mem::take(&mut state.ends);
        drop(state);
        ends.into_iter().for_each(|(_, end)| end());
    }
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_under_way_is_ended_and_what_comes_later_is_too() {
        let (starting, ended) = (Starting::default(), Arc::new(AtomicU64::new(0)));
        let add = |number: u64| {
            let ended = ended.clone();
            starting.add(StreamId(number), move || {
                ended.fetch_add(number, Ordering::SeqCst);
            });
        };
        add(1);
        add(10);
        add(10);
        starting.over(StreamId(1));
        starting.close();
        assert_eq!(ended.load(Ordering::SeqCst), 20);
        add(100);
        starting.close();
        assert_eq!(ended.load(Ordering::SeqCst), 120, "once each");
    }
}
