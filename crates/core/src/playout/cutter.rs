//! Cuts a file into a reel: the reader of a file as the store wants it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use flowcast_av::Interrupt;
use flowcast_rtmp::flv::tag::Tag;

use super::direct::OpenFile;
use super::recipes::Settled;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::LapFacts;
use crate::lap::reader::{LapReader, Step, Tail};
use crate::reel::{Cut, CutStep, Cutter, Note, Recipe};
use crate::transcode::{Encoders, Settling};

/// Copies packets, or encodes them.
#[derive(Debug)]
pub(crate) struct FileCutter {
    /// What happens to the file.
    pub(crate) settled: Settled,
    /// What opens encoders, if any are needed.
    pub(crate) encoders: Option<Arc<dyn Encoders>>,
    /// The receiver of events about them.
    pub(crate) listener: Option<Weak<Settling>>,
}

struct FileCut {
    path: PathBuf,
    reader: LapReader,
    /// Tracks that are left out, to be reported first.
    skipped: std::vec::IntoIter<(usize, String)>,
    listener: Option<Weak<Settling>>,
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
        Ok(Box::new(FileCut {
            path: path.to_owned(),
            skipped: file.skipped().to_vec().into_iter(),
            reader: file.into_reader(),
            listener: self.listener,
            facts: None,
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

    fn next(&mut self) -> Result<CutStep, Error> {
        if let Some((track, reason)) = self.skipped.next() {
            return Ok(CutStep::Note(Note::Skipped { track, reason }));
        }
        loop {
            return Ok(match self.reader.next()? {
                Step::Tag(tag) => CutStep::Tag(tag),
                Step::Notice(EventKind::SourceFault { error }) => {
                    CutStep::Note(Note::damage(&error, &self.path))
                }
                Step::Notice(EventKind::TrackSkipped { track, reason }) => {
                    CutStep::Note(Note::Skipped { track, reason })
                }
                Step::Notice(EventKind::ClockJumped { millis }) => {
                    CutStep::Note(Note::ClockJumped { millis })
                }
                Step::Notice(kind @ EventKind::EncoderChanged { .. }) => {
                    match self.listener.as_ref().and_then(Weak::upgrade) {
                        Some(listener) => listener.note_event(kind),
                        None => log::warn!("a reel that nobody waits for any more: {kind:?}"),
                    }
                    continue;
                }
                // This concerns the stream that had the reel cut, not those that play it later.
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
