//! Paces tracks whose times do not advance: a file whose packets all have the same time would be sent as fast as it is read.
//!
//! In: packets of a file. Out: the same, each of such a track as long after the one before as its packets usually last. On the thread
//! that reads.

use std::time::Duration;

use flowcast_av::{Codec, MediaInfo, Packet, TimeBase, TrackInfo};

use crate::error::Error;
use crate::event::EventKind;
use crate::transcode::PacketSource;

/// Packets of a track that are judged together.
const RUN: i64 = 16;
/// Pictures that follow each other faster have no times: 500 a second. Microseconds.
const SHORTEST_PICTURE: i64 = 2000;
/// Packets of sound of any codec last longer. Microseconds.
const SHORTEST_SOUND: i64 = 500;
/// A picture where nothing tells how long one lasts, and the rates that are believed. Microseconds.
const PICTURE: i64 = 40_000;
const PICTURES: std::ops::RangeInclusive<i64> = 1_000_000 / 240..=1_000_000;
/// Samples of a frame of sound that does not tell.
const FRAME_SAMPLES: u32 = 1024;

/// Packets of a file with times that advance.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    source: S,
    /// By their index, those that gave a packet.
    tracks: Vec<Option<Track>>,
    notices: Vec<EventKind>,
}

/// One track, in its own ticks.
#[derive(Debug, Clone)]
struct Track {
    /// A usual packet.
    usual: i64,
    /// This many packets have to take longer than this.
    least: i64,
    step: Duration,
    run: i64,
    /// The source's time at the beginning of the run.
    begin: i64,
    stands: bool,
    /// The last time that was given out.
    last: i64,
    shift: i64,
}

impl<S: PacketSource> Paced<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source, tracks: Vec::new(), notices: Vec::new() }
    }

    fn place(&mut self, packet: &mut Packet) {
        let Some(time) = packet.dts.or(packet.pts) else { return };
        let Some(info) = self.source.media().track(packet.track) else { return };
        if self.tracks.len() <= packet.track {
            self.tracks.resize(packet.track + 1, None);
        }
        let Some(place) = self.tracks.get_mut(packet.track) else { return };
        let track = place.get_or_insert_with(|| Track::new(info, time));
        if track.stands_still(time) {
            self.notices.push(EventKind::ClockStalled { step: track.step });
        }
        let shift = track.next(time);
        if shift != 0 {
            packet.pts = packet.pts.map(|pts| pts.saturating_add(shift));
            packet.dts = packet.dts.map(|dts| dts.saturating_add(shift));
        }
    }
}

impl Track {
    fn new(info: &TrackInfo, time: i64) -> Self {
        let micros = |micros: i64| TimeBase::MICROS.rescale(micros, info.time_base);
        let (step, least) = match &info.audio {
            Some(audio) => {
                let samples = if audio.frame_samples == 0 { FRAME_SAMPLES } else { audio.frame_samples };
                let step = i64::from(samples) * 1_000_000 / i64::from(audio.sample_rate.max(1));
                // Frames of these codecs follow each other; four times as many as fit cannot be.
                let fixed = matches!(info.codec, Codec::Aac | Codec::Mp3);
                (step, if fixed { step / 4 } else { SHORTEST_SOUND })
            }
            None => {
                let rate = info.video.as_ref().and_then(|video| video.frame_rate);
                let step = rate.map(|rate| i64::from(rate.den) * 1_000_000 / i64::from(rate.num.max(1)));
                (step.filter(|step| PICTURES.contains(step)).unwrap_or(PICTURE), SHORTEST_PICTURE)
            }
        };
        Self {
            usual: micros(step).max(1),
            least: micros(least * RUN),
            step: Duration::from_micros(step.unsigned_abs()),
            run: 0,
            begin: time,
            stands: false,
            last: time,
            shift: 0,
        }
    }

    /// Takes in the source's next time; true if it shows that times stand still, for the first time in a row.
    fn stands_still(&mut self, time: i64) -> bool {
        self.run += 1;
        if time < self.begin {
            // The clock was set back: that is mended elsewhere.
            (self.run, self.begin) = (0, time);
        }
        if self.run < RUN {
            return false;
        }
        let stood = self.stands;
        self.stands = time.saturating_sub(self.begin) < self.least;
        (self.run, self.begin) = (0, time);
        self.stands && !stood
    }

    /// By how much the packet at `time` is moved.
    fn next(&mut self, time: i64) -> i64 {
        let moved = time.saturating_add(self.shift);
        let place = if self.stands { moved.max(self.last.saturating_add(self.usual)) } else { moved };
        self.shift = place.saturating_sub(time);
        self.last = place;
        self.shift
    }
}

impl<S: PacketSource> PacketSource for Paced<S> {
    fn media(&self) -> &MediaInfo {
        self.source.media()
    }

    fn select(&mut self, tracks: &[usize]) {
        self.source.select(tracks);
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        let mut packet = self.source.read()?;
        packet.iter_mut().for_each(|packet| self.place(packet));
        Ok(packet)
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.tracks.clear();
        self.source.rewind()
    }

    fn seek(&mut self, track: usize, dts: i64) -> bool {
        let sought = self.source.seek(track, dts);
        if sought {
            self.tracks.clear();
        }
        sought
    }

    fn encodes(&self) -> bool {
        self.source.encodes()
    }

    fn take_left_out(&mut self) -> u64 {
        self.source.take_left_out()
    }

    fn tell(&mut self, notices: &mut Vec<EventKind>) {
        notices.append(&mut self.notices);
        self.source.tell(notices);
    }
}

#[cfg(test)]
mod tests {
    use flowcast_av::{AudioInfo, TrackKind};

    use super::*;

    fn picture() -> Track {
        Track::new(&TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS), 0)
    }

    /// What happens to these times, and how often standing still is reported.
    fn run(track: &mut Track, times: impl IntoIterator<Item = i64>) -> (Vec<i64>, usize) {
        let mut told = 0;
        let placed = times.into_iter().map(|time| {
            told += usize::from(track.stands_still(time));
            time + track.next(time)
        });
        (placed.collect(), told)
    }

    #[test]
    fn times_that_advance_are_left_alone() {
        let slow_motion = (0..200).map(|n| n * 1000 / 240);
        let jitter = (0..200).map(|n| n * 40 + [0, 30, -30][n as usize % 3]);
        let far = (0..200).map(|n| n * 60_000);
        for times in [slow_motion.collect::<Vec<_>>(), jitter.collect(), far.collect()] {
            assert_eq!(run(&mut picture(), times.clone()), (times, 0));
        }
    }

    #[test]
    fn pictures_without_times_follow_at_their_rate() {
        for step in [0, 1] {
            let (placed, told) = run(&mut picture(), (0..200).map(|n| n * step));
            assert_eq!(told, 1);
            let paced = placed.windows(2).skip(RUN as usize).all(|pair| pair[1] - pair[0] == 40);
            assert!(paced, "{step}: {placed:?}");
        }
    }

    #[test]
    fn a_clock_that_goes_on_goes_on_from_there() {
        let times = std::iter::repeat_n(0, 64).chain((0..200).map(|n| n * 40));
        let (placed, told) = run(&mut picture(), times);
        assert_eq!(told, 1);
        assert!(placed.windows(2).skip(RUN as usize).all(|pair| pair[1] - pair[0] == 40), "{placed:?}");
    }

    #[test]
    fn sound_is_paced_by_its_samples() {
        let mut info = TrackInfo::new(0, TrackKind::Audio, Codec::Aac, TimeBase::MILLIS);
        info.audio = Some(AudioInfo {
            sample_rate: 48_000,
            channels: 2,
            layout: "stereo".to_owned(),
            frame_samples: 1024,
            priming_samples: 0,
        });
        let (placed, told) = run(&mut Track::new(&info, 0), std::iter::repeat_n(0, 500));
        assert_eq!(told, 1);
        assert!((9000..11_000).contains(&placed[499]), "{placed:?}");
        let usual: Vec<i64> = (0..500).map(|n| n * 1024 / 48).collect();
        assert_eq!(run(&mut Track::new(&info, 0), usual.clone()), (usual, 0));
    }
}
