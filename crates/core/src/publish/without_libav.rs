//! What stands for the encoder of live media where libav is not built: nobody can have one.

use std::time::Instant;

use flowcast_rtmp::flv::tag::Tag;

use crate::driver::{SourceContext, SourceState};
use crate::stats::EncodingStats;

/// The end of an encoder on the stream's thread.
#[derive(Debug)]
pub(crate) enum LiveEncoder {}

impl LiveEncoder {
    pub(super) fn push(&self, _: Instant, _: impl Iterator<Item = Tag>) {
        match *self {}
    }

    pub(super) fn end(&self, _: Instant) {
        match *self {}
    }

    pub(super) fn finish(&self) {
        match *self {}
    }

    pub(super) fn pull(&self, _: &mut SourceContext<'_>) -> SourceState {
        match *self {}
    }

    pub(super) fn is_due(&self) -> bool {
        match *self {}
    }

    pub(super) fn encoding(&self) -> Option<EncodingStats> {
        match *self {}
    }

    pub(super) fn drops(&self) -> u64 {
        match *self {}
    }

    pub(super) fn is_idle(&self) -> bool {
        match *self {}
    }

    pub(super) fn has_given_up(&self) -> bool {
        match *self {}
    }

    pub(super) fn bytes_held(&self) -> usize {
        match *self {}
    }

    pub(super) fn stop(&self) {
        match *self {}
    }

    pub(super) fn is_stopped(&self) -> bool {
        match *self {}
    }
}
