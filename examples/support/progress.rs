//! A line that is written over while the example runs; silent unless a terminal shows it.

use std::io::{IsTerminal, Write};

/// Columns of a terminal that does not tell.
const USUAL_COLUMNS: usize = 80;

/// The progress line, on standard error.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    width: usize,
}

impl Default for Progress {
    fn default() -> Self {
        Self { shown: std::io::stderr().is_terminal(), width: 0 }
    }
}

impl Progress {
    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Shows `text` in place of what was shown before; what the terminal has no room for is left out.
    pub fn show(&mut self, text: &str) {
        if self.shown {
            // A line that fills the last column would go on in the next one, and could not be written over.
            let room = columns().saturating_sub(1);
            let text: String = text.chars().take(room).collect();
            eprint!("\r{text:<width$}", width = self.width.min(room));
            let _ = std::io::stderr().flush();
            self.width = text.chars().count();
        }
    }

    /// Makes room for a line that stays.
    pub fn clear(&mut self) {
        self.show("");
        if self.shown {
            eprint!("\r");
        }
    }
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(USUAL_COLUMNS)
}
