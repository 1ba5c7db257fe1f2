//! The table in the terminal. Nothing is shown where standard error is none.

use indicatif::{MultiProgress, ProgressBar};

use crate::fleet::Row;
use crate::support::print::note;
use crate::support::progress::style;

/// Channels that have a line.
const MOST: usize = 40;

/// A line for each channel; lines that stay are printed above.
pub(crate) struct Table {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { all: MultiProgress::new(), lines: Vec::new() }
    }

    pub(crate) fn is_shown(&self) -> bool {
        !self.all.is_hidden()
    }

    pub(crate) fn show(&mut self, rows: &[Row]) {
        let rows = &rows[..rows.len().min(MOST)];
        while self.lines.len() < rows.len() {
            self.lines.push(self.all.add(ProgressBar::new_spinner().with_style(style("{wide_msg}"))));
        }
        for gone in self.lines.drain(rows.len()..) {
            gone.finish_and_clear();
            self.all.remove(&gone);
        }
        for (line, Row { name, state, stream }) in self.lines.iter().zip(rows) {
            let figures = stream.as_ref().map(|stream| stream.stats().to_string()).unwrap_or_default();
            line.set_message(format!("{name:<20} {state:<20} {figures}"));
        }
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        self.all.suspend(|| note(text));
    }

    pub(crate) fn clear(&self) {
        self.lines.iter().for_each(ProgressBar::finish_and_clear);
        // What cannot be written cannot be taken off either.
        let _ = self.all.clear();
    }
}
