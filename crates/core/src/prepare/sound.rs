//! Lays the sound out under the picture: from the first picture to the end of the last, without a hole.
//!
//! In: packets of a sound track at their times, and how far the picture is. Out: the same packets in a row without gaps, where
//! none is silence; what lies before the first picture or behind the last is left out. All in samples, from the first picture on.

use std::collections::VecDeque;

use bytes::Bytes;
use flowcast_av::Packet;

/// Bytes held at most until the picture has come as far: over an hour of sound. A file may have all its sound before its
/// pictures.
const MOST_HELD: usize = 64 << 20;

/// [`push`](Self::push) packets, [`pull`](Self::pull) what the picture has reached, [`finish`](Self::finish) once the picture
/// has ended, pull the rest.
#[derive(Debug)]
pub(super) struct Sound {
    track: usize,
    /// Samples in a packet.
    frame: i64,
    silence: Bytes,
    /// Where the next packet goes.
    next: Option<i64>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// What begins behind this is not even held.
    limit: i64,
    end: Option<i64>,
}

/// What waits for the picture.
#[derive(Debug)]
enum Held {
    Packet(Packet),
    /// This many packets of silence from a sample on: hours of it take no room.
    Silence {
        at: i64,
        packets: i64,
    },
}

impl Sound {
    /// For packets of `frame` samples on track `track`. `limit` is a sample that surely lies behind the last picture.
    pub(super) fn new(track: usize, frame: u32, silence: Bytes, limit: i64) -> Self {
        let frame = i64::from(frame.max(1));
        Self { track, frame, silence, next: None, held: VecDeque::new(), held_bytes: 0, limit, end: None }
    }

    /// Takes a packet that begins at sample `at`, `skip` of which only warm the decoder up.
    pub(super) fn push(&mut self, packet: Packet, at: i64) {
        let frame = self.frame;
        let next = match self.next {
            Some(next) => next,
            // One that ends before the first picture warms the decoder up for the next; those before that are of no use.
            None if at <= -2 * frame => return,
            None if at < frame => at,
            None => at % frame,
        };
        if at >= self.limit {
            return;
        }
        // Times are rounded by some containers, packets are not.
        let missing = (at - next) / frame;
        if missing < 0 {
            self.next = Some(next);
            return;
        }
        let is_first = self.next.is_none();
        self.next = Some(next);
        self.fill(missing);
        let skip = if is_first && missing == 0 { packet.skip_start } else { 0 };
        self.put(packet, skip);
    }

    /// Where the next packet goes.
    pub(super) fn next(&self) -> i64 {
        self.next.unwrap_or(0)
    }

    /// Nothing more begins before `until`: what is not there by now is silence.
    pub(super) fn fill_to(&mut self, until: i64) {
        let next = *self.next.get_or_insert(0);
        self.fill((until - next) / self.frame);
    }

    /// The picture ends at a sample.
    pub(super) fn finish(&mut self, end: i64) {
        let next = *self.next.get_or_insert(0);
        self.fill((end - next + self.frame - 1).max(0) / self.frame);
        self.end = Some(end);
    }

    /// The next packet, if the picture has come to `until`, where it ends.
    pub(super) fn pull(&mut self, until: i64) -> Option<Packet> {
        let first = match self.held.front()? {
            Held::Packet(packet) => packet.pts.unwrap_or(0),
            Held::Silence { at, .. } => *at,
        };
        let is_due = match self.end {
            Some(end) => first < end,
            None => first + self.frame <= until || self.held_bytes > MOST_HELD,
        };
        if !is_due {
            return None;
        }
        let mut packet = match self.held.pop_front()? {
            Held::Packet(packet) => {
                self.held_bytes -= packet.data.len();
                packet
            }
            Held::Silence { at, packets } => {
                if packets > 1 {
                    self.held.push_front(Held::Silence { at: at + self.frame, packets: packets - 1 });
                }
                let mut packet = Packet::new(self.track, None, None, self.silence.clone());
                packet.keyframe = true;
                self.placed(packet, at, 0)
            }
        };
        if let Some(end) = self.end {
            packet.duration = packet.duration.min(end - first);
        }
        Some(packet)
    }

    fn fill(&mut self, packets: i64) {
        if packets > 0 {
            let at = self.next();
            self.held.push_back(Held::Silence { at, packets });
            self.next = Some(at + packets * self.frame);
        }
    }

    fn put(&mut self, packet: Packet, skip: u32) {
        let at = self.next();
        self.held_bytes += packet.data.len();
        let packet = self.placed(packet, at, skip);
        self.held.push_back(Held::Packet(packet));
        self.next = Some(at + self.frame);
    }

    fn placed(&self, mut packet: Packet, at: i64, skip: u32) -> Packet {
        (packet.pts, packet.dts, packet.duration) = (Some(at), Some(at), self.frame);
        packet.track = self.track;
        packet.skip_start = u32::try_from(-at).unwrap_or(0).max(skip);
        packet.skip_end = 0;
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 1024;

    /// Where packets go that come at these samples under a picture up to `end`, `s` for silence; with their lengths.
    fn laid(times: &[i64], end: i64) -> Vec<(i64, i64, bool)> {
        let mut sound = Sound::new(1, 1024, Bytes::from_static(b"s"), i64::MAX);
        let mut laid = Vec::new();
        let mut drain = |sound: &mut Sound, until: i64| {
            while let Some(packet) = sound.pull(until) {
                let silent = packet.data[..] == b"s"[..];
                laid.push((packet.pts.expect("a time"), packet.duration, silent));
            }
        };
        for &time in times {
            sound.push(Packet::new(1, Some(time), Some(time), Bytes::from_static(b"sound")), time);
            drain(&mut sound, end.min(time));
        }
        sound.finish(end);
        drain(&mut sound, end);
        for pair in laid.windows(2) {
            assert_eq!(pair[0].0 + pair[0].1, pair[1].0, "no hole and no overlap: {laid:?}");
        }
        laid
    }

    #[test]
    fn what_fits_stays_and_ends_with_the_picture() {
        assert_eq!(laid(&[0, 1024, 2048], 2500), [(0, 1024, false), (1024, 1024, false), (2048, 452, false)]);
        // Priming stays before the first picture, and rounded times are mended.
        assert_eq!(
            laid(&[-1024, 3, 1020], 2048),
            [(-1024, 1024, false), (0, 1024, false), (1024, 1024, false)]
        );
    }

    #[test]
    fn what_is_missing_is_silence() {
        assert_eq!(laid(&[], 1500), [(0, 1024, true), (1024, 476, true)]);
        assert_eq!(laid(&[0], 1500), [(0, 1024, false), (1024, 476, true)]);
        let late = laid(&[2 * FRAME + 300, 3 * FRAME + 300], 4 * FRAME);
        assert_eq!(late[..3], [(300, 1024, true), (1324, 1024, true), (2348, 1024, false)]);
        let hole = laid(&[0, 3 * FRAME + 100], 4 * FRAME);
        assert_eq!(hole[..2], [(0, 1024, false), (1024, 1024, true)]);
        assert_eq!(hole[3], (3072, 1024, false));
    }

    #[test]
    fn silence_comes_with_the_picture_and_takes_no_room() {
        let mut sound = Sound::new(1, 1024, Bytes::from_static(b"s"), i64::MAX);
        sound.fill_to(2 * FRAME + 500);
        let mut times = Vec::new();
        while let Some(packet) = sound.pull(2 * FRAME + 500) {
            times.push(packet.pts);
        }
        assert_eq!((times, sound.next()), (vec![Some(0), Some(FRAME)], 2 * FRAME));
        sound.fill_to(FRAME);
        sound.finish(1_000_000 * FRAME);
        assert_eq!(sound.held.len(), 1, "a run, not a million packets");
        let rest = std::iter::from_fn(|| sound.pull(i64::MAX)).map(|packet| packet.pts.expect("a time"));
        assert!(rest.eq((2..1_000_000).map(|packet| packet * FRAME)));
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        assert_eq!(laid(&[0, 1024, 2048, 3072], 1024), [(0, 1024, false)]);
        // Of what comes before the picture, one packet is kept for the decoder.
        let early = laid(&[-3500, -2476, -1452, -428, 596], 1620);
        assert_eq!(early[0], (-1452, 1024, false));
        assert_eq!(early.len(), 3);
        // Back in time: once is enough.
        assert_eq!(laid(&[0, 1024, 0, 1024, 2048], 3072).len(), 3);
    }

    #[test]
    fn only_what_the_picture_has_reached_comes_out() {
        let mut sound = Sound::new(1, 1024, Bytes::from_static(b"s"), 10 * FRAME);
        for at in [0, FRAME, 2 * FRAME, 20 * FRAME] {
            sound.push(Packet::new(1, Some(at), Some(at), Bytes::from_static(b"sound")), at);
        }
        assert!(sound.pull(FRAME - 1).is_none());
        assert!(sound.pull(FRAME).is_some());
        assert!(sound.pull(FRAME).is_none());
        sound.finish(2 * FRAME);
        assert!(sound.pull(i64::MAX).is_some());
        assert!(sound.pull(i64::MAX).is_none(), "behind the end");
    }
}
