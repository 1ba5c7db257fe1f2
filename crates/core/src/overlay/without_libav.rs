//! Without libav nothing is encoded, and so nothing is drawn.

use std::fmt;

/// Overlays that were made ready: there are none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Overlays;

impl fmt::Display for Overlays {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
