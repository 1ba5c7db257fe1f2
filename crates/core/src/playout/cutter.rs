//! Cuts a file into a reel: the reader of a file as the store wants it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use flowcast_av::Interrupt;
use flowcast_rtmp::flv::tag::Tag;

use super::direct::{OpenFile, track_skipped};
use super::recipes::{Recipes, Settled};
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{LapReader, Step, Tail};
use crate::reel::{Cut, Cutter, Recipe};
use crate::transcode::{Encoders, Settling};

/// Copies packets, or encodes them.
#[derive(Debug)]
pub(super) struct FileCutter {
    /// What happens to the file.
    settled: Settled,
    /// What opens encoders, if any are needed.
    encoders: Option<Arc<dyn Encoders>>,
    /// The receiver of events about them.
    listener: Option<Weak<Settling>>,
}

impl FileCutter {
    /// Cuts a file of which `recipes` have settled what happens to it.
    pub(super) fn new(settled: Settled, recipes: &Recipes) -> Self {
        Self { settled, encoders: recipes.encoders().cloned(), listener: recipes.listener() }
    }
}

struct FileCut {
    reader: LapReader,
    /// Tracks that are left out, to be reported first.
    skipped: std::vec::IntoIter<(usize, String)>,
    listener: Option<Weak<Settling>>,
}

impl Cutter for FileCutter {
    fn open(self: Box<Self>, path: &Path, cancel: &AtomicBool) -> Result<Box<dyn Cut>, Error> {
        let interrupt = Interrupt::new();
        if cancel.load(Ordering::Relaxed) {
            interrupt.cancel();
        }
        let Recipe { tracks, plan } = &self.settled.recipe;
        let encoding = (plan, self.encoders.as_ref());
        let file = OpenFile::open_settled(path, *tracks, encoding, Tail::Looped, interrupt)?;
        Ok(Box::new(FileCut {
            skipped: file.skipped().to_vec().into_iter(),
            reader: file.into_reader(),
            listener: self.listener,
        }))
    }

    fn estimate(&self) -> Option<u64> {
        self.settled.bytes
    }
}

impl Cut for FileCut {
    fn headers(&self) -> Vec<Tag> {
        self.reader.headers()
    }

    fn next(&mut self) -> Result<Step, Error> {
        if let Some(skipped) = self.skipped.next() {
            return Ok(Step::Notice(track_skipped(skipped)));
        }
        loop {
            match self.reader.next()? {
                Step::Notice(kind @ EventKind::EncoderChanged { .. }) => {
                    match self.listener.as_ref().and_then(Weak::upgrade) {
                        Some(listener) => listener.note_event(kind),
                        None => log::warn!("a reel that nobody waits for any more: {kind:?}"),
                    }
                }
                Step::End => return self.reader.take_failure().map_or(Ok(Step::End), Err),
                step => return Ok(step),
            }
        }
    }
}
