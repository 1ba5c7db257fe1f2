//! What a terminal shows while an example runs. Nothing is shown where standard error is no terminal.

use std::fmt::Display;
use std::time::Duration;

use flowcast::stats::OutputPhase;
use flowcast::stats::OutputStats;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::print::note;

/// Outputs that have a line of their own.
const MOST_OUTPUTS: usize = 8;
const TICK: Duration = Duration::from_millis(100);

/// One line about the whole, and a line for each of several outputs. A clone shows the same.
#[derive(Clone)]
pub struct Progress {
    all: MultiProgress,
    whole: ProgressBar,
    outputs: Vec<ProgressBar>,
}

impl Default for Progress {
    fn default() -> Self {
        let all = MultiProgress::new();
        let whole = all.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")));
        Self { all, whole, outputs: Vec::new() }
    }
}

impl Progress {
    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        !self.whole.is_hidden()
    }

    /// Shows `text` in place of what was shown before.
    pub fn show(&self, text: impl Into<String>) {
        self.whole.set_message(text.into());
        self.whole.tick();
    }

    /// Shows how several outputs are; of many only the first.
    pub fn show_outputs(&mut self, outputs: impl IntoIterator<Item = OutputStats>) {
        let outputs: Vec<_> = outputs.into_iter().take(MOST_OUTPUTS).collect();
        if outputs.len() < 2 || !self.is_shown() {
            return;
        }
        while self.outputs.len() < outputs.len() {
            let bar = ProgressBar::new_spinner().with_style(style("  {wide_msg}"));
            self.outputs.push(self.all.add(bar));
        }
        for (bar, output) in self.outputs.iter().zip(&outputs) {
            bar.set_message(about(output));
        }
    }

    /// Prints a line that stays.
    pub fn say(&self, text: impl Display) {
        self.all.suspend(|| note(text));
    }

    /// Takes it off the terminal.
    pub fn clear(&self) {
        self.outputs.iter().chain([&self.whole]).for_each(ProgressBar::finish_and_clear);
        // What cannot be written cannot be taken off either.
        let _ = self.all.clear();
    }
}

fn about(output: &OutputStats) -> String {
    let phase = match output.phase {
        OutputPhase::Connecting => "connecting",
        OutputPhase::Waiting => "waiting to try again",
        OutputPhase::Resting => "nothing to send",
        OutputPhase::Live => "on the air",
        OutputPhase::Ended => "ended",
        _ => "",
    };
    let (megabytes, lag) = (output.bytes_sent as f64 / 1e6, output.lag.as_millis());
    format!(
        "{} {}: {phase}, {megabytes:.1} MB, lag {lag} ms, {} drops, {} reconnects",
        output.id, output.name, output.drops, output.reconnects
    )
}

/// For work whose end is not known; it turns until it is dropped.
pub fn spinner(text: impl Into<String>) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg} {elapsed}"));
    let spinner = spinner.with_message(text.into()).with_finish(indicatif::ProgressFinish::AndClear);
    spinner.enable_steady_tick(TICK);
    spinner
}

/// For `steps` pieces of work.
pub fn steps(steps: u64) -> ProgressBar {
    ProgressBar::new(steps).with_style(style("[{bar:16}] {pos}/{len}  {wide_msg}"))
}

/// A style; the templates are this file's.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
