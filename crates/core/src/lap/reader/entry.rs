//! Where a lap is entered: at its beginning, or at a place within.
//!
//! In: a place on the file's own clock. Out: a reader that goes on there. On the reader's thread.

use std::collections::VecDeque;
use std::time::Instant;

use flowcast_rtmp::flv::tag::Tag;

use super::{LapReader, PRELUDE, Progress, unit};
use crate::clock::continuity::{Continuity, Forward};
use crate::clock::interleave::Interleaver;
use crate::error::Error;
use crate::lap::{Step, Unit};

impl LapReader {
    /// Reads until the next picture is known, or the next sound where there is no picture, and says when it is on the file's own
    /// clock, in milliseconds; `None` if the lap has no more. Nothing is taken: [`next`](Self::next) gives it.
    ///
    /// # Errors
    ///
    /// As [`LapReader::next`].
    ///
    /// # Blocking
    ///
    /// As [`LapReader::next`].
    pub(crate) fn next_picture(&mut self) -> Result<Option<i64>, Error> {
        let mut read = VecDeque::new();
        let begins = loop {
            match self.next()? {
                Step::End => break None,
                step => {
                    let shows = |tag: &Tag| {
                        !tag.is_sequence_header()
                            && (tag.is_video() || self.video.is_none() && tag.is_audio())
                    };
                    let at = match &step {
                        Step::Tag(tag) if shows(tag) => Some(tag.timestamp.as_millis()),
                        _ => None,
                    };
                    read.push_back(step);
                    if at.is_some() {
                        break at;
                    }
                }
            }
        };
        read.append(&mut self.ready);
        self.ready = read;
        Ok(begins)
    }

    /// Reads on to the last keyframe up to `millis` of the file's own clock, or, where there is no picture, to the last sound: the first
    /// one that is left is there, and this says when that is. Where a format has no index, that may be far to read: it ends with what was
    /// reached `until` then. To be called after [`skip_to`](Self::skip_to).
    ///
    /// # Errors
    ///
    /// As [`LapReader::next`].
    ///
    /// # Blocking
    ///
    /// As [`LapReader::next`].
    pub(crate) fn reach(&mut self, millis: i64, until: Instant) -> Result<Option<i64>, Error> {
        let (mut read, mut begins) = (VecDeque::new(), None);
        let is_frame = |step: &Step| matches!(step, Step::Tag(tag) if !tag.is_sequence_header());
        loop {
            let step = self.next()?;
            let mut is_behind = false;
            match &step {
                Step::End => break,
                Step::Tag(tag) if !tag.is_sequence_header() => {
                    let at = tag.timestamp.as_millis();
                    let can_begin = if self.video.is_some() { tag.is_keyframe() } else { tag.is_audio() };
                    if can_begin && (begins.is_none() || at <= millis) {
                        // Headers and notices hold for what follows.
                        read.retain(|step| !is_frame(step));
                        begins = Some(at);
                    }
                    is_behind = at > millis && begins.is_some();
                }
                _ => {}
            }
            read.push_back(step);
            if is_behind || begins.is_some() && Instant::now() >= until {
                break;
            }
        }
        read.append(&mut self.ready);
        self.ready = read;
        Ok(begins)
    }

    /// Goes on near `millis` of the file's own clock, at a keyframe before it, where the format has an index; nothing is handed
    /// over twice or left out behind it. To be called before the first step of a lap.
    ///
    /// # Errors
    ///
    /// As [`LapReader::next`].
    ///
    /// # Blocking
    ///
    /// As [`LapReader::next`].
    pub(crate) fn skip_to(&mut self, millis: i64) -> Result<(), Error> {
        // The file's first packets say where its clock and its tracks begin. The very first of its sound may only warm a decoder
        // up; the lap would then seem to begin its sound where reading goes on.
        let mut more = PRELUDE.0;
        while self.prelude.is_some() || more > 0 && self.awaits_sound() {
            if self.prelude.is_none() {
                more -= 1;
            }
            self.read()?;
            if !matches!(self.progress, Progress::Reading) {
                // All of it was read.
                return Ok(());
            }
        }
        let selection = self.tagger.selection();
        let Some(track) = selection.video.as_ref().or(selection.audio.as_ref()) else { return Ok(()) };
        let (index, unit) = (track.index, unit(track.time_base));
        if self.source.seek(index, Unit::MILLIS.to(self.zero + millis, unit)) {
            self.continuity = Continuity::new(Forward::File);
            self.interleaver = Interleaver::new(self.video.is_some(), self.audio.is_some());
            self.ready.clear();
            self.others.clear();
            (self.moved, self.floor) = (0, None);
            if let Some(audio) = &mut self.audio {
                audio.seek(Unit::MILLIS.to(self.zero + millis, audio.lap.unit()));
            }
        }
        Ok(())
    }

    /// Whether it is not known yet where the sound of this lap begins.
    fn awaits_sound(&self) -> bool {
        self.audio.as_ref().is_some_and(|audio| audio.lap.start().is_none())
    }
}
