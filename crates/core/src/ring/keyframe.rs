//! The newest keyframe of a stream, for who wants to look at it.
//!
//! In: entries as they come, and batches as they are forgotten. Out: the newest keyframe with its headers. One that can be made again costs
//! nothing to keep; one that cannot is kept only while somebody asks for it now and then. On the stream's thread.

use std::cell::Cell;
use std::sync::Arc;

use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::batch::Batch;
use super::{Entry, Headers, Preparer, Read, Ring};

/// Who asked once is expected to ask again for this long, in milliseconds of the stream.
const WANTED_FOR: i64 = 60_000;

/// A keyframe, and what a decoder needs before it.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nobody looks at it"))]
pub(crate) struct Keyframe {
    pub(crate) tag: Tag,
    pub(crate) headers: Arc<Headers>,
    /// How far the stream is beyond it, in milliseconds.
    pub(crate) behind: i64,
}

/// What is left of the newest keyframe once the ring itself has forgotten it.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// It, if it was wanted.
    entry: Option<Entry>,
    /// What makes it again.
    batch: Option<Batch>,
    /// When somebody asked last.
    wanted: Cell<Option<MediaTime>>,
}

impl Left {
    /// A newer keyframe came.
    pub(super) fn replace(&mut self, entry: &Entry, newest: MediaTime) {
        self.batch = None;
        let is_wanted = self.wanted.get().is_some_and(|wanted| newest.millis_since(wanted) <= WANTED_FOR);
        self.entry = is_wanted.then(|| entry.clone());
    }

    /// The ring forgets a batch; `join` is the number of the newest keyframe.
    pub(super) fn note_forgotten(&mut self, batch: Batch, join: Option<u64>) {
        if join.is_some_and(|join| (batch.first()..batch.end()).contains(&join)) {
            self.batch = Some(batch);
        }
    }
}

impl Ring {
    /// The newest keyframe, if it is kept or can be made again. From now on the newest one is kept for a while.
    ///
    /// # Blocking
    ///
    /// As [`read`](Self::read), for one batch.
    pub(crate) fn keyframe(&self) -> Option<Keyframe> {
        self.left.wanted.set(Some(self.newest()));
        self.kept_keyframe()
    }

    /// The newest keyframe, if it is kept or can be made again anyway.
    ///
    /// # Blocking
    ///
    /// As [`read`](Self::read), for one batch.
    pub(crate) fn kept_keyframe(&self) -> Option<Keyframe> {
        let (number, _) = self.newest_join?;
        let mut found = None;
        if number >= self.first {
            self.read(number, &mut |read| {
                if let Read::Tag(entry) = read {
                    found = Some(entry.clone());
                }
                false
            });
        } else if let Some(entry) = &self.left.entry {
            found = Some(entry.clone());
        } else if let Some(batch) = &self.left.batch {
            let mut again = self.again.take();
            found = again
                .make(batch)
                .and_then(|entries| entries.iter().find(|entry| entry.number == number))
                .cloned();
            self.again.replace(again);
        }
        let entry = found.filter(|entry| entry.number == number)?;
        let headers = entry.join.clone().filter(|headers| headers.has_video())?;
        let tag = entry.message.tag().clone();
        let behind = self.newest().millis_since(tag.timestamp).max(0);
        Some(Keyframe { tag, headers, behind })
    }

    /// The number of the newest keyframe that came, kept or not.
    pub(crate) fn keyframe_number(&self) -> Option<u64> {
        let (number, _) = self.newest_join?;
        self.preparer.headers.has_video().then_some(number)
    }

    /// Whether sound has come for a while, and no picture was even announced.
    pub(crate) fn is_sound_alone(&self) -> bool {
        let Preparer { headers, picture, alone_after, .. } = &self.preparer;
        // Without pictures, it is when the first sound came.
        !headers.has_video() && picture.is_some_and(|first| self.newest().millis_since(first) >= *alone_after)
    }
}
