//! CPU use over a window that is long enough. In: CPU time so far, with the time. Out: percent of one core. No clock of its own.

use std::time::{Duration, Instant};

/// The shortest window. Threads add what they used once a second, so over less a second's use, or nothing, would be taken for the use of
/// a moment.
const LEAST: Duration = Duration::from_secs(5);

/// CPU time when the window began, and what was used over the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    began: Instant,
    used: Duration,
    /// In percent of one core; 0 before the first window has ended.
    pub(super) percent: f64,
}

impl Window {
    /// Begins with what was `used` by then.
    pub(super) const fn new(began: Instant, used: Duration) -> Self {
        Self { began, used, percent: 0.0 }
    }

    /// So much was `used` by `now`; a look too early changes nothing.
    pub(super) fn look(&mut self, now: Instant, used: Duration) {
        let length = now.saturating_duration_since(self.began);
        if length >= LEAST {
            let percent = used.saturating_sub(self.used).as_secs_f64() / length.as_secs_f64() * 100.0;
            *self = Self { began: now, used, percent };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_too_early_neither_ends_the_window_nor_changes_the_figure() {
        let start = Instant::now();
        let mut window = Window::new(start, Duration::from_millis(100));
        // A thread reports once a second; looks come in between, and twice at once.
        let mut look = |at, used| {
            window.look(start + Duration::from_millis(at), Duration::from_millis(used));
            window.percent
        };
        assert_eq!([look(0, 100), look(900, 1000), look(4999, 4000)], [0.0; 3]);
        assert_eq!(look(5000, 4100), 80.0);
        assert_eq!([look(5000, 4100), look(5001, 4900), look(9999, 5000)], [80.0; 3]);
        // What was used before those looks is part of the window.
        assert_eq!(look(10_000, 5100), 20.0);
        assert_eq!(look(70_000, 5100), 0.0);
        assert_eq!(look(75_000, 0), 0.0, "what goes back is no use");
    }
}
