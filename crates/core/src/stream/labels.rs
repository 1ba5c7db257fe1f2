//! The labels of a stream's outputs: which output a label means.
//!
//! In: labels of outputs that begin and end. Out: the output of a label, and the label of an output, on any thread.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Error;
use crate::id::OutputId;

/// The longest label, in characters.
const MAX_LABEL: usize = 128;

/// Refuses what cannot be a label of a stream or an output.
pub(crate) fn check_label(label: &str) -> Result<(), Error> {
    let length = label.chars().count();
    if (1..=MAX_LABEL).contains(&length) && !label.chars().any(char::is_control) {
        return Ok(());
    }
    let reason = format!("a label is 1 to {MAX_LABEL} characters without control characters");
    Err(Error::Config { name: "label", reason })
}

/// The labels of a stream's outputs.
#[derive(Debug, Default)]
pub(crate) struct Labels(Mutex<Vec<Label>>);

#[derive(Debug)]
struct Label {
    text: Arc<str>,
    output: OutputId,
    /// The output was removed and is still ending: another one may have the label.
    free: bool,
}

impl Labels {
    /// Gives `output` a label.
    ///
    /// # Errors
    ///
    /// [`Error::LabelInUse`] if another output has it.
    pub(crate) fn take(&self, text: &str, output: OutputId) -> Result<(), Error> {
        let mut labels = self.0.lock();
        if labels.iter().any(|label| !label.free && &*label.text == text) {
            return Err(Error::LabelInUse { label: text.to_owned() });
        }
        labels.push(Label { text: text.into(), output, free: false });
        Ok(())
    }

    /// The output is being removed: its label means it no more, but it is still shown with it.
    pub(crate) fn free(&self, output: OutputId) {
        self.0.lock().iter_mut().filter(|label| label.output == output).for_each(|label| label.free = true);
    }

    /// The output has ended.
    pub(crate) fn release(&self, output: OutputId) {
        self.0.lock().retain(|label| label.output != output);
    }

    /// The output that has this label.
    pub(crate) fn find(&self, text: &str) -> Option<OutputId> {
        let labels = self.0.lock();
        labels.iter().find(|label| !label.free && &*label.text == text).map(|label| label.output)
    }

    /// The label of an output that has not ended.
    pub(crate) fn of(&self, output: OutputId) -> Option<Arc<str>> {
        self.0.lock().iter().find(|label| label.output == output).map(|label| label.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_means_one_output_and_is_free_once_that_is_removed() {
        let labels = Labels::default();
        labels.take("youtube", OutputId(0)).expect("it is free");
        let refused = labels.take("youtube", OutputId(1)).expect_err("it is taken");
        assert_eq!(refused.code(), "LABEL_IN_USE");
        assert_eq!((labels.find("youtube"), labels.find("twitch")), (Some(OutputId(0)), None));
        labels.free(OutputId(0));
        assert_eq!(labels.find("youtube"), None);
        labels.take("youtube", OutputId(2)).expect("the other one is being removed");
        assert_eq!(labels.of(OutputId(0)).as_deref(), Some("youtube"), "its last events are shown with it");
        labels.release(OutputId(0));
        assert_eq!((labels.of(OutputId(0)), labels.find("youtube")), (None, Some(OutputId(2))));
    }

    #[test]
    fn labels_fit_in_a_line() {
        for label in ["youtube", "Früh um 6, Kanal \"3\"", &"x".repeat(128)] {
            assert!(check_label(label).is_ok(), "{label}");
        }
        for label in ["", "a\nb", "\u{1b}[2J", &"x".repeat(129)] {
            assert!(matches!(check_label(label), Err(Error::Config { name: "label", .. })), "{label:?}");
        }
    }
}
