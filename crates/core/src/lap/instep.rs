//! Hands the packets of a file out in the order of their times, however far apart it stores its picture and its sound.
//!
//! In: packets in the order of the file. Out: the same packets, each track in its own order, picture and sound side by side, and other sound
//! with them. A file can be read ahead: the track that comes too early is held until the other one has come as far, within bounds of time
//! and bytes. Runs on the thread that reads.

use std::collections::VecDeque;

use flowcast_av::{MediaInfo, Packet, TrackKind};

use crate::clock::continuity::{Continuity, Forward, Side};
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::Unit;
use crate::transcode::PacketSource;

/// How much of a track is held for the other one: milliseconds of media and bytes, whatever is reached first.
#[derive(Debug, Clone, Copy)]
struct Patience {
    millis: i64,
    bytes: usize,
}

const VIDEO_FOR_AUDIO: Patience = Patience { millis: 10_000, bytes: 16 << 20 };
const AUDIO_FOR_VIDEO: Patience = Patience { millis: 60_000, bytes: 8 << 20 };
/// How much of either is held for other sound.
const FOR_OTHERS: Patience = Patience { millis: 10_000, bytes: 8 << 20 };

/// The packets of one track that wait.
#[derive(Debug, Default)]
struct Line {
    /// With their times in milliseconds, jumps of the file's clock taken out.
    packets: VecDeque<(i64, Packet)>,
    bytes: usize,
    /// The time of the latest packet that came.
    newest: i64,
    /// It did not come in time: the other track goes on without it until it comes again.
    is_missing: bool,
}

impl Line {
    fn is_over(&self, patience: Patience) -> bool {
        let first = self.packets.front().map_or(self.newest, |(time, _)| *time);
        self.bytes >= patience.bytes || self.newest.saturating_sub(first) >= patience.millis
    }

    fn push(&mut self, time: i64, packet: Packet) {
        self.newest = time;
        self.bytes += packet.data.len();
        self.is_missing = false;
        self.packets.push_back((time, packet));
    }

    fn pop(&mut self) -> Option<Packet> {
        let (_, packet) = self.packets.pop_front()?;
        self.bytes = self.bytes.saturating_sub(packet.data.len());
        Some(packet)
    }
}

/// Puts the packets of `S` in the order of their times, where a video and an audio track are selected.
#[derive(Debug)]
pub(crate) struct InStep<S> {
    source: S,
    /// The video and the audio track.
    tracks: Option<[(usize, Unit); 2]>,
    video: Line,
    audio: Line,
    /// Other sound: its tracks, and their packets.
    others: Vec<(usize, Unit, Line)>,
    clock: Continuity,
    /// By how many milliseconds that has moved the newest packet.
    moved: i64,
    ended: bool,
}

impl<S: PacketSource> InStep<S> {
    /// Everything as it comes until tracks are selected.
    pub(crate) fn new(source: S) -> Self {
        Self {
            source,
            tracks: None,
            video: Line::default(),
            audio: Line::default(),
            others: Vec::new(),
            clock: Continuity::new(Forward::File),
            moved: 0,
            ended: false,
        }
    }

    fn clear(&mut self) {
        (self.video, self.audio) = (Line::default(), Line::default());
        self.others.iter_mut().for_each(|(_, _, line)| *line = Line::default());
        self.moved = 0;
        self.clock = Continuity::new(Forward::File);
        self.ended = false;
    }

    /// Takes a packet of the file; gives it back if it is of another track.
    fn take(&mut self, packet: Packet) -> Option<Packet> {
        let Some([video, audio]) = self.tracks else { return Some(packet) };
        let (line, side, unit) = match packet.track {
            track if track == video.0 => (&mut self.video, Side::Video, video.1),
            track if track == audio.0 => (&mut self.audio, Side::Audio, audio.1),
            track => {
                let Some((_, unit, line)) = self.others.iter_mut().find(|other| other.0 == track) else {
                    return Some(packet);
                };
                let ticks = packet.dts.or(packet.pts);
                let time =
                    ticks.map_or(line.newest, |ticks| unit.to_millis(ticks).saturating_add(self.moved));
                line.push(time, packet);
                return None;
            }
        };
        let time = packet.dts.or(packet.pts).map_or(line.newest, |ticks| {
            let millis = unit.to_millis(ticks);
            self.moved = self.clock.shift(side, millis).0;
            millis.saturating_add(self.moved)
        });
        line.push(time, packet);
        None
    }

    /// The next packet, once it is certain or has waited long enough.
    fn pull(&mut self) -> Option<Packet> {
        if self.others.is_empty() {
            return self.pull_main();
        }
        // Other sound goes before the packet that would be next, and is waited for like the rest.
        let front = |line: &Line| line.packets.front().map(|(time, _)| *time);
        let next = match (front(&self.video), front(&self.audio)) {
            (Some(video), Some(audio)) => Some(video.min(audio)),
            (Some(video), None) => {
                let is_certain = self.ended || self.audio.is_missing || self.video.is_over(VIDEO_FOR_AUDIO);
                is_certain.then_some(video)
            }
            (None, Some(audio)) => {
                let is_certain = self.ended || self.video.is_missing || self.audio.is_over(AUDIO_FOR_VIDEO);
                is_certain.then_some(audio)
            }
            (None, None) => self.ended.then_some(i64::MAX),
        };
        let is_long = self.ended || self.video.is_over(FOR_OTHERS) || self.audio.is_over(FOR_OTHERS);
        let mut awaits = false;
        let mut first: Option<(usize, i64)> = None;
        for (number, (_, _, line)) in self.others.iter_mut().enumerate() {
            match line.packets.front() {
                Some((time, _)) if first.is_none_or(|(_, first)| *time < first) => {
                    first = Some((number, *time))
                }
                Some(_) => {}
                None => {
                    line.is_missing |= is_long;
                    awaits |= !line.is_missing;
                }
            }
        }
        if let Some((number, time)) = first
            && let Some((_, _, line)) = self.others.get_mut(number)
            && (next.is_some_and(|next| time <= next) || line.is_over(AUDIO_FOR_VIDEO))
        {
            return line.pop();
        }
        if awaits { None } else { self.pull_main() }
    }

    /// The same of picture and sound.
    fn pull_main(&mut self) -> Option<Packet> {
        match (self.video.packets.front(), self.audio.packets.front()) {
            (Some((video, _)), Some((audio, _))) => {
                if video <= audio {
                    self.video.pop()
                } else {
                    self.audio.pop()
                }
            }
            (Some(_), None) => {
                self.audio.is_missing |= self.ended || self.video.is_over(VIDEO_FOR_AUDIO);
                if self.audio.is_missing { self.video.pop() } else { None }
            }
            (None, Some(_)) => {
                self.video.is_missing |= self.ended || self.audio.is_over(AUDIO_FOR_VIDEO);
                if self.video.is_missing { self.audio.pop() } else { None }
            }
            (None, None) => None,
        }
    }
}

impl<S: PacketSource> PacketSource for InStep<S> {
    fn media(&self) -> &MediaInfo {
        self.source.media()
    }

    fn select(&mut self, tracks: &[usize]) {
        self.source.select(tracks);
        let media = self.source.media();
        let of = |kind| {
            let known = tracks.iter().filter_map(move |&index| media.track(index));
            let of_kind = known.filter(move |track| track.kind == kind);
            of_kind.map(|track| {
                let base = track.time_base;
                (track.index, Unit { num: base.num.max(1), den: base.den.max(1) })
            })
        };
        // The first of a kind is the one that matters.
        let (video, mut sounds) = (of(TrackKind::Video).next(), of(TrackKind::Audio));
        self.tracks = video.zip(sounds.next()).map(|(video, audio)| [video, audio]);
        self.others = sounds
            .filter(|_| self.tracks.is_some())
            .map(|(index, unit)| (index, unit, Line::default()))
            .collect();
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            if let Some(packet) = self.pull() {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            match self.source.read()? {
                Some(packet) => {
                    if let Some(other) = self.take(packet) {
                        return Ok(Some(other));
                    }
                }
                None => self.ended = true,
            }
        }
    }

    fn rest(&mut self) -> Option<Packet> {
        self.ended = true;
        self.pull()
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.source.rewind()?;
        self.clear();
        Ok(())
    }

    fn seek(&mut self, track: usize, dts: i64) -> bool {
        let sought = self.source.seek(track, dts);
        if sought {
            self.clear();
        }
        sought
    }

    fn encodes(&self) -> bool {
        self.source.encodes()
    }

    fn take_left_out(&mut self) -> u64 {
        self.source.take_left_out()
    }

    fn bytes_held(&self) -> usize {
        let others: usize = self.others.iter().map(|(_, _, line)| line.bytes).sum();
        self.video.bytes + self.audio.bytes + others + self.source.bytes_held()
    }

    fn tell(&mut self, notices: &mut Vec<EventKind>) {
        self.source.tell(notices);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_av::{Codec, TimeBase, TrackInfo};

    use super::*;

    /// Gives packets of 1 kB: track 0 is the picture, track 1 the sound.
    #[derive(Debug)]
    struct Stored {
        media: MediaInfo,
        packets: VecDeque<(usize, i64)>,
        size: usize,
        most_read: usize,
    }

    impl PacketSource for Stored {
        fn media(&self) -> &MediaInfo {
            &self.media
        }

        fn select(&mut self, _: &[usize]) {}

        fn read(&mut self) -> Result<Option<Packet>, Error> {
            self.most_read += 1;
            let data = Bytes::from(vec![0; self.size]);
            Ok(self.packets.pop_front().map(|(track, ms)| Packet::new(track, Some(ms), Some(ms), data)))
        }

        fn rewind(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn seek(&mut self, _: usize, _: i64) -> bool {
            false
        }
    }

    fn stored(packets: impl IntoIterator<Item = (usize, i64)>, size: usize) -> InStep<Stored> {
        let track = |index, kind, codec| TrackInfo::new(index, kind, codec, TimeBase::MILLIS);
        let sound = |index| track(index, TrackKind::Audio, Codec::Aac);
        let tracks = vec![track(0, TrackKind::Video, Codec::H264), sound(1), sound(2)];
        let media = MediaInfo {
            format: String::new(),
            duration: None,
            start_micros: None,
            bit_rate: None,
            tracks,
            metadata: Vec::new(),
            seekable: true,
        };
        let packets = packets.into_iter().collect();
        let mut in_step = InStep::new(Stored { media, packets, size, most_read: 0 });
        in_step.select(&[0, 1]);
        in_step
    }

    fn all(source: &mut InStep<Stored>) -> Vec<(usize, i64)> {
        std::iter::from_fn(|| source.read().expect("it gives packets only"))
            .map(|packet| (packet.track, packet.dts.unwrap_or(0)))
            .collect()
    }

    /// A file whose track 1 is stored `late` ms behind its track 0; negative is before it.
    fn late(late: i64, seconds: i64) -> Vec<(usize, i64)> {
        let mut packets: Vec<_> = (0..seconds * 25).map(|n| (n * 40, 0, n * 40)).collect();
        packets.extend((0..seconds * 50).map(|n| (n * 20 + late, 1, n * 20)));
        packets.sort_by_key(|(place, ..)| *place);
        packets.into_iter().map(|(_, track, time)| (track, time)).collect()
    }

    #[test]
    fn tracks_that_are_stored_apart_come_out_side_by_side() {
        for apart in [-9_000, -4_000, -500, 0, 500, 4_000, 9_000] {
            let packets = late(apart, 30);
            let mut source = stored(packets.clone(), 1000);
            let given = all(&mut source);
            assert_eq!(given.len(), packets.len());
            assert!(given.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{apart} ms");
        }
    }

    #[test]
    fn other_sound_comes_out_in_step_and_is_waited_for_once() {
        for apart in [-4_000, -500, 0, 500, 4_000] {
            let mut packets: Vec<_> = late(300, 30).into_iter().map(|packet| (packet.1, packet)).collect();
            packets.extend((0..1500).map(|n| (n * 20 + apart, (2, n * 20))));
            packets.sort_by_key(|(place, _)| *place);
            let mut source = stored(packets.iter().map(|(_, packet)| *packet), 1000);
            source.select(&[0, 1, 2]);
            let given = all(&mut source);
            assert_eq!(given.len(), packets.len());
            assert!(given.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{apart} ms");
        }
        // One that ends early, and one that never comes.
        for seconds in [5, 0] {
            let mut packets = late(0, 60);
            packets.extend((0..seconds * 50).map(|n| (2, n * 20)));
            packets.sort_by_key(|(_, time)| *time);
            let count = packets.len();
            let mut source = stored(packets, 100);
            source.select(&[0, 1, 2]);
            let given = all(&mut source);
            assert_eq!(given.len(), count);
            assert!(given.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            assert!(source.source.most_read >= count);
        }
    }

    #[test]
    fn what_never_comes_is_waited_for_once_and_bytes_are_bounded() {
        let mut source = stored((0..3000).map(|n| (0, n * 40)), 100);
        assert!(source.read().is_ok_and(|packet| packet.is_some()));
        assert!((250..300).contains(&source.source.most_read), "{}", source.source.most_read);
        assert_eq!(all(&mut source).len(), 2999);
        let mut heavy = stored((0..3000).map(|n| (0, n * 40)), 1 << 20);
        assert!(heavy.read().is_ok_and(|packet| packet.is_some()));
        assert!(heavy.source.most_read <= 17 && heavy.bytes_held() <= 17 << 20);
    }

    #[test]
    fn a_clock_that_begins_again_is_no_reason_to_mix_the_parts() {
        let parts: Vec<_> = late(300, 5).into_iter().chain(late(300, 5)).collect();
        let given = all(&mut stored(parts, 100));
        for track in [0, 1] {
            let times: Vec<_> = given.iter().filter(|(of, _)| *of == track).map(|(_, time)| *time).collect();
            assert_eq!(times.windows(2).filter(|pair| pair[1] < pair[0]).count(), 1);
        }
        let half = given.len() / 2;
        assert!(given[..half].windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert!(given[half..].windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn the_rest_is_given_when_nothing_more_can_be_read() {
        let mut source = stored((0..50).map(|n| (0, n * 40)), 100);
        for _ in 0..50 {
            let packet = source.source.read().ok().flatten().expect("there are fifty");
            assert!(source.take(packet).is_none());
        }
        assert_eq!(std::iter::from_fn(|| source.rest()).count(), 50);
    }
}
