//! What stands for readers and encoders of files where libav is not built: nobody can have one, so only files that are reels already
//! are played.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use flowcast_rtmp::flv::tag::Tag;

use super::recipes::{Recipes, Settled};
use super::supply::{DirectOptions, Use};
use crate::error::Error;
use crate::event::EventKind;
use crate::fragment::{Held, Reading};
use crate::lap::{Step, Taken};
use crate::reel::{Cut, Cutter};
use crate::stats::EncodingStats;
use crate::tracks::Tracks;

/// Whether files can be played directly.
pub(super) const IS_BUILT: bool = false;

const NOT_BUILT: Error = Error::NotBuilt { feature: "libav" };

/// An open file.
#[derive(Debug)]
pub(super) enum OpenFile {}

impl OpenFile {
    pub(super) fn open(_: &Path, _: &Recipes, _: Use) -> Result<Self, Error> {
        Err(NOT_BUILT)
    }

    pub(super) fn primed(self) -> Result<Self, Error> {
        match self {}
    }

    pub(super) fn entered(self, _: i64) -> Result<(Self, Entered), Error> {
        match self {}
    }

    pub(super) fn skipped(&self) -> &[(usize, String)] {
        match *self {}
    }

    pub(super) fn headers(&self) -> Vec<Tag> {
        match *self {}
    }

    pub(super) fn start(self, _: Use, _: usize, _: &DirectOptions) -> Result<DirectFeed, Error> {
        match self {}
    }
}

/// Where a file was entered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    pub(super) lead: Option<i64>,
    pub(super) begins: i64,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) enum DirectFeed {}

impl DirectFeed {
    pub(super) fn open(_: PathBuf, _: &Recipes, _: Use, _: usize, _: &DirectOptions) -> Result<Self, Error> {
        Err(NOT_BUILT)
    }

    pub(super) fn open_fragment(
        _: Held,
        _: Arc<Reading>,
        _: &Recipes,
        _: &DirectOptions,
    ) -> Result<Self, Error> {
        Err(NOT_BUILT)
    }

    pub(super) fn open_first(
        _: PathBuf,
        _: &Recipes,
        _: Use,
        _: &DirectOptions,
        _: impl FnMut(Result<(), Error>) -> Option<PathBuf> + Send + 'static,
    ) -> Result<Self, Error> {
        Err(NOT_BUILT)
    }

    pub(super) fn glance(
        _: PathBuf,
        _: &Recipes,
        _: &DirectOptions,
        _: impl FnMut(Result<(), Error>) -> Option<PathBuf> + Send + 'static,
    ) -> Result<Self, Error> {
        Err(NOT_BUILT)
    }

    pub(super) fn take(&self, _: i64, _: impl FnMut(Step)) -> Taken {
        match *self {}
    }

    pub(super) fn take_from_picture(&self, _: i64, _: impl FnMut(Step)) -> (Taken, Option<i64>) {
        match *self {}
    }

    pub(super) fn is_read(&self) -> bool {
        match *self {}
    }

    pub(super) fn encoding(&self) -> Option<EncodingStats> {
        match *self {}
    }

    pub(super) fn length(&self) -> Option<Duration> {
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

/// Nothing else can be tried.
pub(super) fn is_of_file(_: &Error) -> bool {
    true
}

pub(super) fn track_skipped((track, reason): (usize, String)) -> EventKind {
    EventKind::TrackSkipped { track, reason }
}

/// What is encoded.
#[derive(Debug, Clone)]
pub(super) enum Encoding {}

impl Encoding {
    pub(super) fn end_scans(&self) {
        match *self {}
    }

    pub(super) fn settle(&self, _: &Path, _: Tracks) -> Result<Settled, Error> {
        match *self {}
    }

    pub(super) fn tell(&self, _: &mut Vec<EventKind>) {
        match *self {}
    }
}

/// Cuts nothing.
#[derive(Debug)]
pub(super) struct FileCutter(Settled);

impl FileCutter {
    pub(super) fn new(settled: Settled, _: &Recipes) -> Self {
        Self(settled)
    }
}

impl Cutter for FileCutter {
    fn open(self: Box<Self>, _: &Path, _: &AtomicBool) -> Result<Box<dyn Cut>, Error> {
        Err(NOT_BUILT)
    }

    fn estimate(&self) -> Option<u64> {
        self.0.bytes
    }
}
