//! Cuts a file into a reel: the reader of a file as the store wants it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowcast_av::Interrupt;
use flowcast_rtmp::flv::tag::Tag;

use super::direct::OpenFile;
use super::reader::{LapReader, Step, Tail};
use super::wanted::Settled;
use crate::error::{Error, chain};
use crate::event::EventKind;
use crate::lap::LapFacts;
use crate::reel::{Cut, CutStep, Cutter, Recipe};
use crate::transcode::Encoders;

/// Copies packets, or encodes them.
#[derive(Debug)]
pub(crate) struct FileCutter {
    /// What becomes of the file.
    pub(crate) settled: Settled,
    /// What opens encoders, if any are needed.
    pub(crate) encoders: Option<Arc<dyn Encoders>>,
}

struct FileCut {
    reader: LapReader,
    facts: Option<LapFacts>,
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
        Ok(Box::new(FileCut { reader: file.into_reader(), facts: None }))
    }

    fn estimate(&self) -> Option<u64> {
        self.settled.bytes
    }
}

impl Cut for FileCut {
    fn headers(&self) -> Vec<Tag> {
        self.reader.headers()
    }

    fn next(&mut self) -> Result<CutStep, Error> {
        loop {
            return Ok(match self.reader.next()? {
                Step::Tag(tag) => CutStep::Tag(tag),
                Step::Notice(EventKind::SourceFault { error }) => CutStep::Fault(error),
                Step::Notice(EventKind::EncoderChanged { from, to, error }) => {
                    log::warn!("a reel's encoder {from} failed, {to} goes on: {}", chain(&*error));
                    continue;
                }
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
