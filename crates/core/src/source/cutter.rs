//! Cuts a file into a reel by copying packets: the reader of a file as the store wants it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flowcast_av::Interrupt;
use flowcast_rtmp::flv::tag::Tag;

use super::direct::OpenFile;
use super::reader::{LapReader, Step, Tail};
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::LapFacts;
use crate::reel::{Cut, CutStep, Cutter, Recipe};

/// Copies packets.
#[derive(Debug)]
pub(crate) struct CopyCutter {
    /// Which tracks.
    pub(crate) recipe: Recipe,
}

struct CopyCut {
    reader: LapReader,
    facts: Option<LapFacts>,
}

impl Cutter for CopyCutter {
    fn open(self: Box<Self>, path: &Path, cancel: &AtomicBool) -> Result<Box<dyn Cut>, Error> {
        let interrupt = Interrupt::new();
        if cancel.load(Ordering::Relaxed) {
            interrupt.cancel();
        }
        let file = OpenFile::open_with(path, self.recipe, Tail::Looped, interrupt)?;
        Ok(Box::new(CopyCut { reader: file.into_reader(), facts: None }))
    }
}

impl Cut for CopyCut {
    fn headers(&self) -> Vec<Tag> {
        self.reader.headers()
    }

    fn next(&mut self) -> Result<CutStep, Error> {
        loop {
            return Ok(match self.reader.next()? {
                Step::Tag(tag) => CutStep::Tag(tag),
                Step::Notice(EventKind::SourceFault { error }) => CutStep::Fault(error),
                // A clock that jumped was mended: the reel has none of it.
                Step::Notice(_) => continue,
                Step::Ending(facts) => {
                    self.facts = Some(facts);
                    continue;
                }
                Step::End => match self.reader.take_failure() {
                    Some(error) => return Err(error),
                    None => CutStep::End(self.facts.take().unwrap_or_default()),
                },
            });
        }
    }
}
