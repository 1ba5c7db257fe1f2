//! A line that is written over while the example runs; silent unless a terminal shows it.

use std::io::{IsTerminal, Write};

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

    /// Shows `text` in place of what was shown before.
    pub fn show(&mut self, text: &str) {
        if self.shown {
            eprint!("\r{text:<width$}", width = self.width);
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
