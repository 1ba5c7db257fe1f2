//! Samples as libav takes them: for the containers and protocols that libav writes.
//!
//! In: tracks and samples of [`Media`](super::media::Media). Out: tracks and packets of libav, whose times strictly increase within a track. On the
//! thread that writes.

use flowcast_av as av;
use flowcast_rtmp::flv::tag::Codec;

use super::media::{Sample, Track};

/// Turns samples into packets.
#[derive(Debug)]
pub(super) struct Packets {
    /// When the newest sample of each track is decoded: libav refuses one that is not later.
    decoded_ms: Vec<i64>,
}

impl Packets {
    /// For tracks that are settled.
    pub(super) fn new(tracks: &[Track]) -> Self {
        Self { decoded_ms: vec![i64::MIN; tracks.len()] }
    }

    /// The packet of a sample.
    pub(super) fn packet(&mut self, tracks: &[Track], mut sample: Sample) -> av::Packet {
        if let Some(before) = self.decoded_ms.get_mut(sample.track) {
            sample.dts_ms = sample.dts_ms.max(before.saturating_add(1));
            sample.pts_ms = sample.pts_ms.max(sample.dts_ms);
            *before = sample.dts_ms;
        }
        let length_ms = tracks.get(sample.track).and_then(|track| length_ms(track, &sample));
        let Sample { track, dts_ms, pts_ms, is_key, data, .. } = sample;
        let mut packet = av::Packet::new(track, Some(pts_ms), Some(dts_ms), data);
        (packet.keyframe, packet.duration) = (is_key, length_ms.unwrap_or(0));
        packet
    }
}

/// Tracks as libav has them.
pub(super) fn infos(tracks: &[Track]) -> Vec<av::TrackInfo> {
    tracks.iter().enumerate().map(info).collect()
}

fn info((index, track): (usize, &Track)) -> av::TrackInfo {
    let (kind, name) = match track.codec {
        Codec::Video(codec) => (av::TrackKind::Video, codec.name()),
        Codec::Audio(codec) => (av::TrackKind::Audio, codec.name()),
    };
    let mut info = av::TrackInfo::new(index, kind, av::Codec::from_name(name), av::TimeBase::MILLIS);
    info.config = Some(track.config.clone()).filter(|config| !config.is_empty());
    info.video = track.picture.map(|(width, height)| av::VideoInfo::of_size(width, height));
    info.audio = track.sound.map(|sound| av::AudioInfo {
        sample_rate: sound.rate_hz,
        channels: u32::from(if sound.channels == 0 { 2 } else { sound.channels }),
        layout: String::new(),
        frame_samples: sound.frame,
        priming_samples: 0,
    });
    info
}

/// How long a frame of sound is, in whole milliseconds; `None` for pictures.
fn length_ms(track: &Track, sample: &Sample) -> Option<i64> {
    let sound = track.sound?;
    Some(
        (i64::from(sample.samples) * 1000 + i64::from(sound.clock_hz) / 2) / i64::from(sound.clock_hz.max(1)),
    )
}
