//! What stands for the sink of samples where libav is not built: nothing is mixed, so nobody can have one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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

    /// Samples of each channel that are taken now.
    #[must_use]
    pub const fn room(&self) -> usize {
        match *self {}
    }

    /// Becomes ready once there is room.
    #[must_use]
    pub const fn ready(&self) -> SampleRoom {
        match *self {}
    }
}

/// Becomes ready when there is room. Without libav there is none.
#[derive(Debug)]
pub enum SampleRoom {}

impl Future for SampleRoom {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match *self {}
    }
}
