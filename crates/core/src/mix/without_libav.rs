//! What stands for the sink of samples where libav is not built: nothing is mixed, so nobody can have one.

use std::sync::Arc;

use super::control::Shared;
use crate::error::Error;
use crate::sound_format::{AudioFormat, Samples};

/// Takes the samples of one input of a mixer. Without libav there is none.
#[derive(Debug)]
pub enum SampleSink {}

impl SampleSink {
    pub(super) fn take(_: &Arc<Shared>, _: usize) -> Result<Self, Error> {
        Err(Error::NotBuilt { feature: "libav" })
    }

    /// What it takes.
    #[must_use]
    pub const fn format(&self) -> AudioFormat {
        match *self {}
    }

    /// Gives samples.
    ///
    /// # Errors
    ///
    /// None: there is no sink.
    pub fn send<'a>(&mut self, _: impl Into<Samples<'a>>) -> Result<(), Error> {
        match *self {}
    }

    /// Gives samples, and never waits.
    ///
    /// # Errors
    ///
    /// None: there is no sink.
    pub fn try_send<'a>(&mut self, _: impl Into<Samples<'a>>) -> Result<bool, Error> {
        match *self {}
    }
}
