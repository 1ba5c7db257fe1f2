//! A stream as FLV, for any number of players: its newest pieces, each made once and shared by all.
//!
//! In: tags, on the stream's thread, once a tick. Out: pieces of bytes, by number, to the tasks of players. A player begins with the newest
//! piece that begins with a keyframe. One that is slow falls out of what is kept and goes on at the newest keyframe; nobody else notices, and it
//! costs no memory but its place.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use flowcast_rtmp::flv::{FlvWriter, Tag};
use flowcast_rtmp::time::MediaTime;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Bytes that are kept behind the newest keyframe, for players that are slow for a moment; and in all.
const KEPT: usize = 4 << 20;
const MOST: usize = 24 << 20;
/// Pieces that are kept behind the newest keyframe.
const KEPT_PIECES: usize = 100;

/// A part of a stream.
#[derive(Debug, Clone)]
struct Piece {
    /// What a player that begins here is sent first: the file header, metadata, sequence headers. `None` if none can.
    begin: Option<Bytes>,
    bytes: Bytes,
}

/// What a player is sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// These bytes.
    Bytes(Bytes),
    /// There is nothing yet.
    Wait,
    /// There will be nothing more.
    Over,
}

/// The newest pieces of a stream.
#[derive(Debug)]
pub(crate) struct Tape {
    kept: Mutex<Kept>,
    /// Changes when there is a new piece, and at the end.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    pieces: VecDeque<Piece>,
    /// The number of the first one.
    first: u64,
    /// Of the newest that a player can begin with.
    newest: Option<u64>,
    bytes: usize,
    is_over: bool,
}

/// A player's place.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// `None`: it has not begun.
    next: Option<u64>,
    /// Times that it was too slow.
    pub(crate) losses: u64,
}

impl Default for Tape {
    fn default() -> Self {
        Self { kept: Mutex::default(), news: watch::Sender::new(0) }
    }
}

impl Tape {
    /// Changes when there is something new.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Adds what is new.
    fn add(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut dropped = Vec::new();
        {
            let mut kept = self.kept.lock();
            for piece in pieces {
                kept.push(piece);
            }
            kept.trim(&mut dropped);
        }
        self.news.send_modify(|news| *news += 1);
        // What is freed is freed without the lock.
        drop(dropped);
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.kept.lock().is_over = true;
        self.news.send_modify(|news| *news += 1);
    }

    /// Whether nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.kept.lock().is_over
    }

    /// What a player at `place` is sent next.
    pub(crate) fn next(&self, place: &mut Place) -> Next {
        let kept = self.kept.lock();
        let end = kept.first + kept.pieces.len() as u64;
        if place.next.is_some_and(|next| next < kept.first) {
            // It fell out: it goes on like one that comes anew, but without the file header.
            place.losses += 1;
        }
        let (number, begins) = match place.next.filter(|next| *next >= kept.first) {
            Some(next) => (next, false),
            None => match kept.newest {
                Some(newest) => (newest, true),
                None if kept.is_over => return Next::Over,
                None => return Next::Wait,
            },
        };
        if number >= end {
            return if kept.is_over { Next::Over } else { Next::Wait };
        }
        let Some(piece) = usize::try_from(number - kept.first).ok().and_then(|at| kept.pieces.get(at)) else {
            return Next::Wait;
        };
        let first = place.next.is_none();
        place.next = Some(number + 1);
        let Some(begin) = piece.begin.as_ref().filter(|_| begins) else {
            return Next::Bytes(piece.bytes.clone());
        };
        let begin = if first { begin.clone() } else { begin.slice(FILE_HEADER.min(begin.len())..) };
        let bytes = piece.bytes.clone();
        drop(kept);
        let mut both = BytesMut::with_capacity(begin.len() + bytes.len());
        both.extend_from_slice(&begin);
        both.extend_from_slice(&bytes);
        Next::Bytes(both.freeze())
    }
}

/// Bytes of the file header.
const FILE_HEADER: usize = FlvWriter::header(true, true).len();

impl Kept {
    fn push(&mut self, piece: Piece) {
        if piece.begin.is_some() {
            self.newest = Some(self.first + self.pieces.len() as u64);
        }
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// Forgets what nobody is to be sent any more.
    fn trim(&mut self, dropped: &mut Vec<Piece>) {
        loop {
            let behind = self.newest.map_or(0, |newest| newest.saturating_sub(self.first));
            let behind = usize::try_from(behind).unwrap_or(usize::MAX);
            // Pieces before the newest keyframe; of a stream without any for long, the oldest.
            let is_old = behind > 0 && (self.bytes > KEPT || behind > KEPT_PIECES);
            if !is_old && self.bytes <= MOST {
                return;
            }
            let Some(piece) = self.pieces.pop_front() else { return };
            self.bytes -= piece.len();
            if self.newest == Some(self.first) {
                self.newest = None;
            }
            self.first += 1;
            dropped.push(piece);
        }
    }
}

impl Piece {
    fn len(&self) -> usize {
        self.bytes.len() + self.begin.as_ref().map_or(0, Bytes::len)
    }
}

/// Makes pieces of tags.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    /// The stream's time that is zero for players.
    zero: Option<MediaTime>,
    done: Vec<Piece>,
    begin: Option<Bytes>,
    bytes: BytesMut,
    written: u64,
}

impl Cutter {
    /// Players can begin here: what they are sent first.
    pub(crate) fn begin(&mut self, headers: impl Iterator<Item = Tag>, with: &Tag) {
        self.cut();
        let zero = *self.zero.get_or_insert(with.timestamp);
        let headers: Vec<_> = headers.collect();
        let has = |is: fn(&Tag) -> bool| is(with) || headers.iter().any(is);
        let mut begin = BytesMut::from(&FlvWriter::header(has(Tag::is_audio), has(Tag::is_video))[..]);
        for header in &headers {
            write(&rebased(header, zero), &mut begin);
        }
        self.begin = Some(begin.freeze());
    }

    pub(crate) fn tag(&mut self, tag: &Tag) {
        let zero = *self.zero.get_or_insert(tag.timestamp);
        write(&rebased(tag, zero), &mut self.bytes);
    }

    fn cut(&mut self) {
        if self.bytes.is_empty() && self.begin.is_none() {
            return;
        }
        let (begin, bytes) = (self.begin.take(), self.bytes.split().freeze());
        self.written += bytes.len() as u64;
        self.done.push(Piece { begin, bytes });
    }

    /// Hands over what was made.
    pub(crate) fn flush(&mut self, tape: &Tape) {
        self.cut();
        if !self.done.is_empty() {
            tape.add(self.done.drain(..));
        }
    }

    /// Bytes written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }
}

/// The tag on the players' clock. What is a little older than their zero comes at zero.
fn rebased(tag: &Tag, zero: MediaTime) -> Tag {
    let millis = tag.timestamp.millis_since(zero).max(0);
    Tag { timestamp: MediaTime::from_millis(millis), ..tag.clone() }
}

fn write(tag: &Tag, to: &mut BytesMut) {
    // Of a body that no file can hold, nothing is written.
    if let Err(error) = FlvWriter::write_tag(tag, to) {
        log::warn!("a tag is left out of FLV: {error}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use flowcast_rtmp::flv::TagKind;

    use super::*;

    fn tag(kind: TagKind, time: i64, body: &'static [u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(time), Bytes::from_static(body))
    }

    fn header(time: i64) -> Tag {
        tag(TagKind::Video, time, &[0x17, 0, 0, 0, 0, 1])
    }

    fn picture(time: i64, keyframe: bool) -> Tag {
        tag(TagKind::Video, time, if keyframe { &[0x17, 1, 0, 0, 0] } else { &[0x27, 1, 0, 0, 0] })
    }

    /// Sends a GOP of `pictures` that begins at `time`.
    fn gop(cutter: &mut Cutter, tape: &Tape, time: i64, pictures: i64) {
        for number in 0..pictures {
            let picture = picture(time + 40 * number, number == 0);
            if number == 0 {
                cutter.begin([header(time)].into_iter(), &picture);
            }
            cutter.tag(&picture);
            cutter.flush(tape);
        }
    }

    fn all(tape: &Tape, place: &mut Place) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Next::Bytes(next) = tape.next(place) {
            bytes.extend_from_slice(&next);
        }
        bytes
    }

    /// Times of the tags of an FLV file, a header's with a minus.
    fn times(mut file: &[u8]) -> Vec<i64> {
        let mut times = Vec::new();
        while file.len() > 11 {
            let size = usize::from(file[1]) << 16 | usize::from(file[2]) << 8 | usize::from(file[3]);
            let time = i64::from(file[4]) << 16 | i64::from(file[5]) << 8 | i64::from(file[6]);
            let is_header = file[12] == 0;
            times.push(if is_header { -time - 1 } else { time });
            file = &file[11 + size + 4..];
        }
        times
    }

    #[test]
    fn a_player_begins_with_the_newest_keyframe_and_gets_each_piece_once() {
        let (tape, mut cutter) = (Tape::default(), Cutter::default());
        assert_eq!(tape.next(&mut Place::default()), Next::Wait);
        gop(&mut cutter, &tape, 10_000, 3);
        gop(&mut cutter, &tape, 10_120, 2);
        let mut place = Place::default();
        let file = all(&tape, &mut place);
        assert_eq!(file[..5], *b"FLV\x01\x01", "pictures alone");
        assert_eq!(times(&file[13..]), [-121, 120, 160], "on a clock that began with the first of all");
        assert_eq!(tape.next(&mut place), Next::Wait);
        gop(&mut cutter, &tape, 10_200, 1);
        assert_eq!(times(&all(&tape, &mut place)), [200], "no header again");
        tape.end();
        assert_eq!(tape.next(&mut place), Next::Over);
        assert_eq!(times(&all(&tape, &mut Place::default())[13..]), [-201, 200], "what is left can be had");
    }

    #[test]
    fn who_is_too_slow_goes_on_with_the_newest_keyframe_and_the_tape_is_bounded() {
        let (tape, mut cutter) = (Tape::default(), Cutter::default());
        gop(&mut cutter, &tape, 0, 1);
        let mut place = Place::default();
        assert!(!all(&tape, &mut place).is_empty());
        for number in 1..200 {
            gop(&mut cutter, &tape, number * 80, 2);
        }
        assert!(tape.kept.lock().pieces.len() <= KEPT_PIECES + 2);
        let rest = all(&tape, &mut place);
        assert_eq!(
            (times(&rest), place.losses),
            (vec![-15_921, 15_920, 15_960], 1),
            "a header, and no file header"
        );
    }

    #[test]
    fn a_stream_without_keyframes_is_bounded_too() {
        let tape = Tape::default();
        let piece = || Piece { begin: None, bytes: Bytes::from_static(&[0; 1 << 20]) };
        tape.add(std::iter::repeat_with(piece).take(100));
        assert!(tape.kept.lock().bytes <= MOST);
        assert_eq!(tape.next(&mut Place::default()), Next::Wait, "there is no place to begin");
    }
}
