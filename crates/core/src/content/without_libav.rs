//! Without libav nothing is decoded: settings that need it are refused.

use super::{Findings, Rules, Sample};

/// A small picture: there is none.
#[derive(Debug)]
pub(super) struct Thumb;

impl Thumb {
    pub(super) const fn bytes_held(&self) -> usize {
        0
    }
}

pub(super) fn look(_: &Sample, _: &Rules, _: Option<&Thumb>) -> Findings {
    Findings::default()
}
