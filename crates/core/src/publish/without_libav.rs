//! What stands for the encoder of live media where libav is not built: nobody can have one.

use std::time::Instant;

use flowcast_rtmp::flv::tag::Tag;

use crate::driver::{SourceContext, SourceState};
use crate::stats::EncodingStats;

/// The end of an encoder on the stream's thread.
#[derive(Debug)]
pub(crate) enum LiveEncoder {}

impl LiveEncoder {
    pub(crate) fn push(&self, _: Instant, _: impl Iterator<Item = Tag>) {
        match *self {}
    }

    pub(crate) fn end(&self, _: Instant) {
        match *self {}
    }

    pub(crate) fn finish(&self) {
        match *self {}
    }

    pub(crate) fn pull(&self, _: &mut SourceContext<'_>) -> SourceState {
        match *self {}
    }

    pub(crate) fn is_due(&self) -> bool {
        match *self {}
    }

    pub(crate) fn encoding(&self) -> Option<EncodingStats> {
        match *self {}
    }

    pub(crate) fn drops(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn is_idle(&self) -> bool {
        match *self {}
    }

    pub(crate) fn has_given_up(&self) -> bool {
        match *self {}
    }

    pub(crate) fn bytes_held(&self) -> usize {
        match *self {}
    }

    pub(crate) fn stop(&self) {
        match *self {}
    }

    pub(crate) fn is_stopped(&self) -> bool {
        match *self {}
    }
}
