//! Times that a live input does not say: of sound, those that follow from the packets before; of pictures, those that follow from the
//! packets behind.
//!
//! In: packets of one track in the order they are decoded, some without times. RTP says only when a picture is shown, and libav works out
//! when it is decoded only after some pictures; what several frames of sound begin with in MPEG-TS has one time. Out: the same packets, with
//! both times. On the worker's thread.

use flowcast_av::{Packet, TrackInfo, TrackKind};

/// Pictures held back until one says when it is decoded: more are never reordered.
const MOST_HELD: usize = 32;

#[derive(Debug)]
pub(super) struct Times {
    is_video: bool,
    /// Ticks that a packet lasts that does not say it.
    usual: i64,
    /// When the next packet is, if it follows on the last one.
    next: Option<i64>,
    held: Vec<Packet>,
}

impl Times {
    pub(super) fn of(track: &TrackInfo) -> Self {
        let per_second =
            |rate: f64| (track.time_base.den as f64 / track.time_base.num as f64 / rate).round() as i64;
        let usual = match (&track.video, &track.audio) {
            (Some(video), _) => per_second(video.frame_rate.map_or(25.0, |rate| rate.as_f64()).max(1.0)),
            (None, Some(audio)) => per_second(f64::from(audio.sample_rate.max(1)) / 1024.0),
            (None, None) => 1,
        };
        Self { is_video: track.kind == TrackKind::Video, usual: usual.max(1), next: None, held: Vec::new() }
    }

    fn duration(&self, packet: &Packet) -> i64 {
        if packet.duration > 0 { packet.duration } else { self.usual }
    }

    /// Takes a packet; gives those whose times are known.
    pub(super) fn take(&mut self, mut packet: Packet) -> Vec<Packet> {
        if !self.is_video {
            let time = packet.dts.or(packet.pts).or(self.next);
            (packet.dts, packet.pts) = (time, packet.pts.or(time));
            self.next = time.map(|time| time.saturating_add(self.duration(&packet)));
            return vec![packet];
        }
        let is_known = packet.dts.is_some();
        if is_known && self.held.is_empty() && packet.pts.is_some() {
            return vec![packet];
        }
        self.held.push(packet);
        if is_known || self.held.len() > MOST_HELD { self.release() } else { Vec::new() }
    }

    /// Gives what is held: nothing follows, or what followed says enough.
    pub(super) fn release(&mut self) -> Vec<Packet> {
        let mut held = std::mem::take(&mut self.held);
        let earliest = held.iter().filter_map(|packet| packet.pts).min();
        // What is shown before all others, and was not said: the first picture.
        for packet in held.iter_mut().filter(|packet| packet.pts.is_none()) {
            packet.pts = packet.dts.or(earliest.map(|pts| pts.saturating_sub(self.usual)));
        }
        let mut behind =
            held.last().and_then(|last| last.dts.or(last.pts)).map(|dts| dts.saturating_add(self.usual));
        for packet in held.iter_mut().rev() {
            let duration = if packet.duration > 0 { packet.duration } else { self.usual };
            let latest = behind.map(|behind| behind.saturating_sub(duration));
            packet.dts = packet.dts.or(latest.min(packet.pts).or(packet.pts));
            behind = packet.dts;
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn packet(pts: Option<i64>, dts: Option<i64>, keyframe: bool) -> Packet {
        Packet {
            track: 0,
            pts,
            dts,
            duration: 40,
            keyframe,
            corrupt: false,
            discard: false,
            data: Bytes::new(),
            config: None,
            skip_start: 0,
            skip_end: 0,
        }
    }

    fn times(is_video: bool) -> Times {
        Times { is_video, usual: 40, next: None, held: Vec::new() }
    }

    fn taken(times: &mut Times, given: &[(Option<i64>, Option<i64>)]) -> Vec<(Option<i64>, Option<i64>)> {
        let mut out = Vec::new();
        for (pts, dts) in given {
            out.extend(times.take(packet(*pts, *dts, out.is_empty())));
        }
        out.extend(times.release());
        out.iter().map(|packet| (packet.pts, packet.dts)).collect()
    }

    /// As libav gives what a server of RTSP sends with B-frames: nothing of the keyframe, and when pictures are decoded only later.
    #[test]
    fn pictures_that_say_nothing_have_the_times_that_are_left() {
        let given = [
            (None, None),
            (Some(120), None),
            (Some(60), None),
            (Some(100), Some(80)),
            (Some(240), Some(120)),
        ];
        assert_eq!(
            taken(&mut times(true), &given),
            [
                (Some(20), Some(-40)),
                (Some(120), Some(0)),
                (Some(60), Some(40)),
                (Some(100), Some(80)),
                (Some(240), Some(120)),
            ]
        );
    }

    #[test]
    fn pictures_that_never_say_when_they_are_decoded_are_not_held_for_ever() {
        let mut times = times(true);
        let out: usize = (0..100).map(|n| times.take(packet(Some(n * 40), None, n == 0)).len()).sum();
        assert!(out >= 60, "{out}");
        // And those that say nothing at all have no times, and are left out.
        let mut times = self::times(true);
        assert_eq!(taken(&mut times, &[(None, None)]), [(None, None)]);
    }

    #[test]
    fn times_at_the_ends_of_their_range_are_no_fault() {
        for time in [i64::MAX, i64::MIN] {
            for is_video in [true, false] {
                let given = [(None, None), (Some(time), None), (None, Some(time)), (None, None)];
                assert_eq!(taken(&mut times(is_video), &given).len(), 4);
            }
        }
    }

    #[test]
    fn sound_that_says_nothing_follows_on_what_came_before() {
        let given = [
            (None, None),
            (Some(10), Some(10)),
            (None, None),
            (None, None),
            (Some(200), Some(200)),
            (None, None),
        ];
        let expected = [None, Some(10), Some(50), Some(90), Some(200), Some(240)].map(|time| (time, time));
        assert_eq!(taken(&mut times(false), &given), expected);
    }
}
