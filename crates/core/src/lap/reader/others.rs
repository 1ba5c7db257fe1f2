//! Sound beside the sound of a lap, and timed data: tracks that go along with the picture, and settle nothing of the lap.
//!
//! In: packets of these tracks, each in its own order. Out: the same in the order of their times, up to what is handed out of the lap. On the
//! thread that reads.

use std::collections::VecDeque;

use bytes::Bytes;
use flowcast_av::{Packet, TimeBase, TrackInfo, TrackKind};

use super::unit;
use crate::lap::Unit;

/// Bytes of one track that wait, at most; the oldest are left out then.
const MOST_BYTES: usize = 4 << 20;

/// The tracks.
#[derive(Debug, Default)]
pub(super) struct Others(Vec<Other>);

#[derive(Debug)]
struct Other {
    index: usize,
    unit: Unit,
    /// Of data, several packets may have one time, or none of their own.
    is_data: bool,
    /// Packets with their times in milliseconds, which increase.
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    at: i64,
    source_time: Option<i64>,
    data: Bytes,
}

/// A packet that is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The number of its track: those of sound come first.
    pub(super) number: usize,
    /// When it is, in milliseconds.
    pub(super) time: i64,
    /// When it was on the clock of its source, in ticks of 90 kHz.
    pub(super) source_time: Option<i64>,
    pub(super) data: Bytes,
}

/// The clock of MPEG-TS.
const SOURCE_CLOCK: TimeBase = TimeBase::new(1, 90_000);

impl Others {
    pub(super) fn new<'a>(tracks: impl IntoIterator<Item = &'a TrackInfo>) -> Self {
        let other = |track: &TrackInfo| Other {
            index: track.index,
            unit: unit(track.time_base),
            is_data: track.kind == TrackKind::Data,
            waiting: VecDeque::new(),
            bytes: 0,
        };
        Self(tracks.into_iter().map(other).collect())
    }

    /// Whether the track is one of them.
    pub(super) fn has(&self, track: usize) -> bool {
        self.0.iter().any(|other| other.index == track)
    }

    /// Takes a packet, which is moved on by `shift` milliseconds; data without a time is taken to be at `now`. Where the clock goes back, what waited
    /// behind that is left out.
    pub(super) fn push(&mut self, packet: Packet, shift: i64, now: i64) {
        let Some(other) = self.0.iter_mut().find(|other| other.index == packet.track) else { return };
        if packet.corrupt || packet.data.is_empty() {
            return;
        }
        let ticks = packet.pts.or(packet.dts);
        let at = match ticks {
            Some(ticks) => other.unit.to_millis(ticks).saturating_add(shift),
            None if other.is_data => now,
            None => return,
        };
        let is_behind = |last: &Waiting| last.at > at || (last.at == at && !other.is_data);
        while other.waiting.back().is_some_and(is_behind) {
            other.bytes -= other.waiting.pop_back().map_or(0, |last| last.data.len());
        }
        other.bytes += packet.data.len();
        let Unit { num, den } = other.unit;
        let base = TimeBase::new(num, den);
        let source_time = ticks.map(|ticks| base.rescale(ticks, SOURCE_CLOCK));
        other.waiting.push_back(Waiting { at, source_time, data: packet.data });
        while other.bytes > MOST_BYTES {
            other.pop();
        }
    }

    /// The next packet up to `until`, on a clock that begins at `zero`. Data goes behind the first picture, from `floor` on, however long before that it
    /// was sent.
    pub(super) fn next(&mut self, zero: i64, until: i64, floor: Option<i64>) -> Option<Next> {
        loop {
            let first = |(number, other): (usize, &Other)| {
                let time = other.waiting.front()?.at.saturating_sub(zero);
                Some((number, if other.is_data { time.max(floor?) } else { time }))
            };
            let (number, time) = self.0.iter().enumerate().filter_map(first).min_by_key(|(_, time)| *time)?;
            if time > until {
                return None;
            }
            let Waiting { at, source_time, data } = self.0.get_mut(number)?.pop()?;
            // Sound that comes before everything else has no place.
            if time >= 0 {
                let later = time.saturating_sub(at.saturating_sub(zero));
                let source_time = source_time.map(|source| source.saturating_add(later.saturating_mul(90)));
                return Some(Next { number, time, source_time, data });
            }
        }
    }

    /// Reading goes on elsewhere.
    pub(super) fn clear(&mut self) {
        for other in &mut self.0 {
            other.waiting.clear();
            other.bytes = 0;
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|other| other.bytes).sum()
    }
}

impl Other {
    fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.data.len();
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use flowcast_av::Codec;

    use super::*;

    fn others(tracks: &[usize]) -> Others {
        let info = |&index: &usize| TrackInfo::new(index, TrackKind::Audio, Codec::Aac, TimeBase::MILLIS);
        Others::new(&tracks.iter().map(info).collect::<Vec<_>>())
    }

    fn packet(track: usize, at: i64, bytes: usize) -> Packet {
        Packet::new(track, Some(at), Some(at), Bytes::from(vec![1; bytes]))
    }

    fn times(others: &mut Others, zero: i64, until: i64) -> Vec<(usize, i64)> {
        std::iter::from_fn(|| others.next(zero, until, None)).map(|next| (next.number, next.time)).collect()
    }

    #[test]
    fn tracks_come_out_in_the_order_of_their_times_up_to_what_is_handed_out() {
        let mut others = others(&[2, 5]);
        assert!(others.has(5) && !others.has(1));
        for (track, at) in [(2, 90), (2, 110), (2, 130), (5, 95), (5, 125), (1, 100)] {
            others.push(packet(track, at, 10), 0, 0);
        }
        assert_eq!(times(&mut others, 100, 26), [(0, 10), (1, 25)]);
        assert_eq!((times(&mut others, 100, 29), others.bytes()), (vec![], 10));
        assert_eq!(times(&mut others, 100, i64::MAX), [(0, 30)]);
    }

    #[test]
    fn a_clock_that_goes_back_and_a_track_that_is_never_asked_for_are_bounded() {
        let mut others = others(&[0]);
        for at in [0, 20, 5000, 40] {
            others.push(packet(0, at, 10), 0, 0);
        }
        others.push(packet(0, 0, 10), 60, 0);
        assert_eq!(times(&mut others, 0, 100), [(0, 0), (0, 20), (0, 40), (0, 60)]);
        for at in 0..100 {
            others.push(packet(0, at, 1 << 20), 0, 0);
        }
        assert!(others.bytes() <= MOST_BYTES, "{}", others.bytes());
        others.clear();
        assert_eq!(others.bytes(), 0);
    }

    #[test]
    fn data_may_have_one_time_or_none_and_says_when_it_was_at_its_source() {
        let info = |index| TrackInfo::new(index, TrackKind::Data, Codec::from_name("klv"), TimeBase::MILLIS);
        let mut others = Others::new([&info(3)]);
        others.push(packet(3, 40, 1), 100, 0);
        others.push(packet(3, 40, 2), 100, 0);
        others.push(Packet::new(3, None, None, Bytes::from_static(b"klv")), 0, 150);
        let all: Vec<_> = std::iter::from_fn(|| others.next(100, 1000, Some(1))).collect();
        assert_eq!(
            all.iter().map(|next| (next.time, next.data.len())).collect::<Vec<_>>(),
            [(40, 1), (40, 2), (50, 3)]
        );
        assert_eq!(
            all.iter().map(|next| next.source_time).collect::<Vec<_>>(),
            [Some(3600), Some(3600), None]
        );
        // What was sent before the first picture is behind it, which was that much later at its source.
        others.push(packet(3, 40, 1), 0, 0);
        assert_eq!(others.next(100, 1000, None), None);
        let early = others.next(100, 1000, Some(1)).map(|next| (next.time, next.source_time));
        assert_eq!(early, Some((1, Some(9090))));
    }
}
