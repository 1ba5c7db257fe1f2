//! Reads a recording back, from a keyframe on.
//!
//! In: files that are complete, or still written. Out: tags on the clock of the recording, in order. On the thread that asks.

use std::path::Path;
use std::time::Instant;

use flowcast_av::{Demuxer, Error as Media, Interrupt, OpenOptions, Packet, TimeBase, TrackInfo};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::time::MediaTime;

use super::past::Past;
use crate::clock::interleave::Interleaver;
use crate::error::Error;
use crate::tracks::{Carriage, Selection, Tagged, Tagger};

/// What is read of one file.
struct Reading {
    demuxer: Demuxer,
    tagger: Tagger,
    interleaver: Interleaver,
    /// What is added to the times in the file, in milliseconds.
    shift: i64,
}

impl Reading {
    fn open(path: &Path, begin_ms: i64, interrupt: &Interrupt) -> Result<Self, Error> {
        let mut demuxer = Demuxer::open(path, &OpenOptions::default(), interrupt)?;
        let selection = Selection::of(demuxer.media(), Carriage::Enhanced);
        demuxer.select(&selection.indices());
        let interleaver = Interleaver::new(selection.video.is_some(), selection.audio.is_some());
        // All but a transport stream begin at zero.
        let begins = demuxer.media().start_micros.filter(|_| demuxer.media().format.starts_with("mpegts"));
        let shift = begin_ms - begins.unwrap_or(0) / 1000;
        Ok(Self { demuxer, tagger: Tagger::new(selection), interleaver, shift })
    }

    /// Goes to a keyframe before `at_ms`, where the format has an index.
    fn seek(&mut self, at_ms: i64) {
        if let Some(track) = &self.tagger.selection().video {
            let ticks = TimeBase::MILLIS.rescale(at_ms - self.shift, track.time_base);
            self.demuxer.seek(track.index, ticks.max(0));
        }
    }

    /// The next tag; `None` behind the last that is whole.
    fn next(&mut self) -> Result<Option<Tag>, Error> {
        loop {
            if let Some(tag) = self.interleaver.pull() {
                return Ok(Some(tag));
            }
            match self.demuxer.read() {
                Ok(Some(packet)) => self.take(packet),
                Err(error @ (Media::Timeout { .. } | Media::Cancelled { .. })) => return Err(error.into()),
                // What is being written may end anywhere.
                Ok(None) | Err(_) => return Ok(self.interleaver.flush()),
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        let Some(track) = self.demuxer.media().track(packet.track) else { return };
        let Some((dts, pts)) = self.tagger.times(&packet).filter(|_| !packet.data.is_empty()) else { return };
        let millis = |track: &TrackInfo, ticks| track.time_base.rescale(ticks, TimeBase::MILLIS);
        let (dts, pts) = (millis(track, dts), millis(track, pts));
        let at = MediaTime::from_millis((dts + self.shift).max(0));
        let Tagged { header, frame } = self.tagger.tags(packet, at, pts - dts);
        for tag in header.into_iter().chain(frame) {
            self.interleaver.push(tag, 0);
        }
    }
}

impl Past {
    /// Gives tags to `sink` from the last keyframe up to `from_ms` of the recording on, or from its first; where it begins, in milliseconds of the
    /// recording. `None` if there is no keyframe.
    ///
    /// # Errors
    ///
    /// What is wrong with the first file; what `sink` fails with; [`Error::NotInTime`].
    ///
    /// # Blocking
    ///
    /// On the files, up to `until`.
    pub(super) fn read(
        &self,
        from_ms: i64,
        until: Instant,
        mut sink: impl FnMut(Tag) -> Result<(), Error>,
    ) -> Result<Option<i64>, Error> {
        let interrupt = Interrupt::new();
        interrupt.set_deadline(Some(until));
        let first = self.files.iter().rposition(|(_, begin)| *begin <= from_ms).unwrap_or(0);
        let mut start = Start { from_ms, held: Vec::new(), begun: None };
        for (number, (path, begin)) in self.files.iter().enumerate().skip(first) {
            let mut reading = match Reading::open(path, *begin, &interrupt) {
                Ok(reading) => reading,
                Err(error) if number == first => return Err(error),
                // It has nothing yet.
                Err(_) => break,
            };
            if number == first {
                reading.seek(from_ms);
            }
            let has_picture = reading.tagger.selection().video.is_some();
            let mut headers = Some(reading.tagger.headers());
            while let Some(tag) = reading.next()? {
                let at = tag.timestamp;
                for header in headers.take().into_iter().flatten() {
                    start.take(Tag { timestamp: at, ..header }, false, &mut sink)?;
                }
                let can_begin = if has_picture { tag.is_keyframe() } else { !tag.is_header() };
                start.take(tag, can_begin, &mut sink)?;
            }
        }
        start.end(&mut sink)
    }
}

/// Finds the place to begin at.
struct Start {
    from_ms: i64,
    /// From the best place so far on, and headers.
    held: Vec<Tag>,
    /// Where it is, in milliseconds of the recording, and whether all before it was left out for good.
    begun: Option<(i64, bool)>,
}

impl Start {
    fn take(
        &mut self,
        tag: Tag,
        can_begin: bool,
        sink: &mut impl FnMut(Tag) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let at = tag.timestamp.as_millis();
        match self.begun {
            Some((_, true)) => return sink(tag),
            Some((_, false)) if at > self.from_ms => {
                self.end(sink)?;
                return sink(tag);
            }
            _ if can_begin => {
                self.held.retain(Tag::is_header);
                self.begun = Some((at, false));
            }
            // Nothing can be decoded before that.
            None if !tag.is_header() => return Ok(()),
            _ => {}
        }
        self.held.push(tag);
        Ok(())
    }

    /// Hands over what is held.
    fn end(&mut self, sink: &mut impl FnMut(Tag) -> Result<(), Error>) -> Result<Option<i64>, Error> {
        let Some((at, _)) = self.begun else { return Ok(None) };
        self.begun = Some((at, true));
        let time = MediaTime::from_millis(at);
        for tag in std::mem::take(&mut self.held) {
            // Headers of the file, and what was before the keyframe.
            sink(if tag.is_header() { Tag { timestamp: time.max(tag.timestamp), ..tag } } else { tag })?;
        }
        Ok(Some(at))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::TagKind;

    use super::*;

    fn begin(from_ms: i64, tags: &[(i64, &'static [u8])]) -> (Option<i64>, Vec<i64>) {
        let mut given = Vec::new();
        let mut start = Start { from_ms, held: Vec::new(), begun: None };
        let mut sink = |tag: Tag| {
            given.push(tag.timestamp.as_millis());
            Ok(())
        };
        for (at, body) in tags {
            let tag = Tag::from_wire(TagKind::Video, MediaTime::from_millis(*at), Bytes::from_static(body));
            let can_begin = tag.is_keyframe();
            start.take(tag, can_begin, &mut sink).expect("it is taken");
        }
        let begun = start.end(&mut sink).expect("it is taken");
        (begun, given)
    }

    #[test]
    fn it_begins_with_the_last_keyframe_that_is_old_enough_behind_its_headers() {
        const HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1];
        const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 9];
        const FRAME: &[u8] = &[0x27, 1, 0, 0, 0, 9];
        let tags = [
            (0, HEADER),
            (0, FRAME),
            (40, KEY),
            (80, FRAME),
            (120, KEY),
            (160, FRAME),
            (200, KEY),
            (240, FRAME),
        ];
        assert_eq!(begin(130, &tags), (Some(120), vec![120, 120, 160, 200, 240]));
        assert_eq!(begin(0, &tags), (Some(40), vec![40, 40, 80, 120, 160, 200, 240]));
        assert_eq!(begin(1000, &tags), (Some(200), vec![200, 200, 240]));
        assert_eq!(begin(0, &tags[..2]), (None, vec![]));
    }
}
