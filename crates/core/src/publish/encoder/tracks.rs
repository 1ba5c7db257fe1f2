//! What the first tags of a publication say of its tracks.
//!
//! In: metadata, sequence headers, and up to a second of tags. Out: the tracks as a demuxer would describe them. Codecs that FLV
//! has numbers for are left to libav's demuxer; of those of Enhanced RTMP, which older versions of it do not read, the first
//! frame is decoded.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use flowcast_av::{
    AudioDecoder, AudioInfo, Codec, DecoderOptions, Demuxer, FieldOrder, Interrupt, MediaInfo, OpenOptions,
    Packet, Ratio, TimeBase, TrackInfo, TrackKind, VideoDecoder, VideoFrame, VideoInfo,
};
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Codec as TagCodec, Tag, TagKind};
use flowcast_rtmp::flv::video::VideoCodec;
use flowcast_rtmp::flv::writer::FlvWriter;
use flowcast_rtmp::flv::{enhanced, opus};

use crate::transcode::{FrameRate, usual_rates};

/// Frames a second, and pixels of a side, that metadata may say and be believed.
const RATES: RangeInclusive<f64> = 1.0..=480.0;
const SIDES: RangeInclusive<f64> = 16.0..=8192.0;

/// What is known of a publication so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) metadata: Option<&'a Tag>,
    /// Sequence headers that came before `tags`, or are among them: of video, of audio.
    pub(super) headers: &'a [Option<Tag>; 2],
    pub(super) tags: &'a VecDeque<Tag>,
}

impl Known<'_> {
    /// The tracks that can be decoded; `None` if there is none.
    pub(super) fn describe(self) -> Option<MediaInfo> {
        let mut media = self.demux().unwrap_or_else(|| MediaInfo {
            format: "flv".to_owned(),
            duration: None,
            start_micros: None,
            bit_rate: None,
            tracks: Vec::new(),
            metadata: Vec::new(),
            seekable: false,
        });
        media.tracks.retain(|track| track.is_playable() && is_decodable(track));
        let mut next = media.tracks.iter().map(|track| track.index + 1).max().unwrap_or(0);
        for kind in [TrackKind::Video, TrackKind::Audio] {
            if let Some(track) = self.decode(kind, next) {
                next += 1;
                media.tracks.retain(|track| track.kind != kind);
                media.tracks.push(track);
            }
        }
        let measured = self.frame_rate();
        for video in media.tracks.iter_mut().filter_map(|track| track.video.as_mut()) {
            if measured.is_some() {
                (video.frame_rate, video.real_frame_rate) = (measured, None);
            }
        }
        (!media.tracks.is_empty()).then_some(media)
    }

    /// What libav finds in the tags it reads.
    fn demux(self) -> Option<MediaInfo> {
        let mut file = BytesMut::from(&FlvWriter::header(true, true)[..]);
        let (mut any, mut writable) = (false, true);
        let headers = self.headers.iter().flatten();
        for tag in self.metadata.into_iter().chain(headers).chain(self.tags) {
            if let Some(tag) = plain(tag) {
                any |= !tag.is_script();
                writable &= FlvWriter::write_tag(&tag, &mut file).is_ok();
            }
        }
        if !any || !writable {
            return None;
        }
        let opened =
            Demuxer::open_bytes(file.freeze(), "live.flv", &OpenOptions::default(), &Interrupt::new());
        opened.map(|file| file.media().clone()).ok()
    }

    /// What a decoder finds in the first frame of a kind, if libav's demuxer is not used.
    fn decode(self, kind: TrackKind, index: usize) -> Option<TrackInfo> {
        let is_video = kind == TrackKind::Video;
        let tags = || self.tags.iter().filter(move |tag| !tag.is_script() && tag.is_video() == is_video);
        let first = tags().find(|tag| plain(tag).is_none() && is_frames(tag))?;
        let codec = coded(first)?.codec;
        let mut track = TrackInfo::new(index, kind, Codec::from_name(codec.name()), TimeBase::MILLIS);
        let known = self.headers[usize::from(!is_video)].as_ref();
        let mut configs = tags().filter_map(config_of);
        track.config = configs.next().or_else(|| config_of(known?));
        track.default = true;
        let packets = tags().filter_map(|tag| packet(index, tag));
        if is_video {
            track.video = Some(self.pictures(&track, packets)?);
        } else {
            track.audio = Some(first_sound(&track, packets)?);
        }
        Some(track)
    }

    /// What the pictures of a track are like. Where none can be decoded yet, the metadata is believed.
    fn pictures(self, track: &TrackInfo, packets: impl Iterator<Item = Packet>) -> Option<VideoInfo> {
        let decoder = VideoDecoder::open(track, &DecoderOptions::default()).ok()?;
        let mut video = VideoInfo { frame_rate: self.said_rate(), ..VideoInfo::of_size(0, 0) };
        let Some(frame) = first_picture(decoder, packets) else {
            let metadata = self.said()?;
            let side = |said: Option<f64>| said.filter(|said| SIDES.contains(said)).map(|said| said as u32);
            (video.width, video.height) = (side(metadata.width)?, side(metadata.height)?);
            return Some(video);
        };
        let format = frame.format();
        (video.width, video.height) = (format.width, format.height);
        video.pixel_format.clone_from(&format.pixel_format);
        video.field_order =
            if frame.is_interlaced() { FieldOrder::Interlaced } else { FieldOrder::Progressive };
        video.sample_aspect = format.sample_aspect;
        video.color = format.color.clone();
        Some(video)
    }

    fn said(self) -> Option<Metadata> {
        Metadata::parse(&self.metadata?.body.to_bytes()).ok()
    }

    /// Frames a second, as the metadata says.
    fn said_rate(self) -> Option<Ratio> {
        let said = self.said()?.framerate.filter(|said| RATES.contains(said))?;
        let usual = usual_rates().find(|rate| (rate.as_f64() - said).abs() < 0.005);
        usual.map(ratio).or_else(|| Ratio::new((said * 1000.0).round() as u32, 1000))
    }

    /// Whether the frame rate is known without waiting for more pictures.
    pub(super) fn says_rate(self) -> bool {
        self.said_rate().is_some()
    }

    /// Frames a second by the times of the pictures, if the metadata does not say: the rate in use that comes nearest to times
    /// in whole milliseconds, else the average.
    fn frame_rate(self) -> Option<Ratio> {
        if self.says_rate() {
            return None;
        }
        let mut times = self
            .tags
            .iter()
            .filter(|tag| tag.is_video() && is_frames(tag))
            .map(|tag| tag.timestamp.as_millis());
        let first = times.next()?;
        let (steps, last) = times.fold((0_u32, first), |(steps, last), time| (steps + 1, last.max(time)));
        let millis = u32::try_from(last - first).ok().filter(|millis| *millis > 0)?;
        if steps < 2 {
            return None;
        }
        let off = |rate: f64| (f64::from(steps) * 1000.0 / rate - f64::from(millis)).abs();
        let usual = usual_rates().min_by(|one, other| off(one.as_f64()).total_cmp(&off(other.as_f64())));
        let usual = usual.filter(|rate| off(rate.as_f64()) <= 2.0);
        usual.map(ratio).or_else(|| Ratio::new(steps.saturating_mul(1000), millis))
    }
}

fn ratio(rate: FrameRate) -> Ratio {
    Ratio { num: rate.num(), den: rate.den() }
}

/// The tag as FLV has it without Enhanced RTMP; `None` for codecs it has no number for.
fn plain(tag: &Tag) -> Option<Tag> {
    if tag.is_script() {
        return Some(tag.clone());
    }
    match tag.codec() {
        // By a number that libav's demuxer does not know.
        Some(TagCodec::Video(VideoCodec::Hevc | VideoCodec::Av1)) => None,
        _ if !enhanced::is_enhanced(tag.kind, &tag.body) => Some(tag.clone()),
        Some(TagCodec::Video(VideoCodec::Avc) | TagCodec::Audio(AudioCodec::Aac)) => {
            enhanced::with_number(tag)
        }
        _ => None,
    }
}

/// Whether a tag holds coded data of track 0.
pub(super) fn is_frames(tag: &Tag) -> bool {
    matches!(coded(tag).map(|coded| coded.part), Some(Part::Frames { .. }))
}

fn config_of(tag: &Tag) -> Option<Bytes> {
    match coded(tag)?.part {
        Part::Config(config) => Some(config).filter(|config| !config.is_empty()),
        Part::Frames { .. } => None,
    }
}

fn packet(track: usize, tag: &Tag) -> Option<Packet> {
    let Part::Frames { composition_time, data } = coded(tag)?.part else { return None };
    let dts = tag.timestamp.as_millis();
    let mut packet = Packet::new(track, Some(dts + i64::from(composition_time)), Some(dts), data);
    packet.keyframe = tag.kind == TagKind::Audio || tag.is_keyframe();
    Some(packet)
}

/// Whether there is a decoder for a track; without it the other track goes on alone.
fn is_decodable(track: &TrackInfo) -> bool {
    let options = DecoderOptions::default();
    match track.kind {
        TrackKind::Video => VideoDecoder::open(track, &options).is_ok(),
        TrackKind::Audio => AudioDecoder::open(track, &options).is_ok(),
        _ => false,
    }
}

/// The first picture of a track. Damage before it is passed over.
fn first_picture(mut decoder: VideoDecoder, packets: impl Iterator<Item = Packet>) -> Option<VideoFrame> {
    for packet in packets {
        if decoder.push(&packet).is_ok()
            && let Ok(Some(frame)) = decoder.pull()
        {
            return Some(frame);
        }
    }
    decoder.finish().ok()?;
    decoder.pull().ok()?
}

/// What the first sound of a track is like.
fn first_sound(track: &TrackInfo, packets: impl Iterator<Item = Packet>) -> Option<AudioInfo> {
    let mut decoder = AudioDecoder::open(track, &DecoderOptions::default()).ok()?;
    for packet in packets {
        if decoder.push(&packet).is_err() {
            continue;
        }
        if let Ok(Some(frame)) = decoder.pull() {
            let format = frame.format();
            let samples = u32::try_from(frame.samples()).unwrap_or(0);
            return Some(AudioInfo {
                sample_rate: format.sample_rate,
                channels: format.channels,
                layout: format.layout.clone(),
                // Of the first frame a part may be left out.
                frame_samples: match track.codec {
                    Codec::Opus => opus::packet_samples(&packet.data).unwrap_or(samples),
                    _ => samples,
                },
                priming_samples: 0,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    const NONE: [Option<Tag>; 2] = [None, None];

    fn rate(times: impl Iterator<Item = i64>, said: Option<f64>) -> Option<String> {
        let picture = |millis| {
            let at = MediaTime::from_millis(millis);
            enhanced::video_frame(*b"hvc1", at, 0, false, Bytes::from_static(b"x")).expect("a usable time")
        };
        let tags = times.map(picture).collect();
        let metadata = said
            .map(|rate| Metadata { framerate: Some(rate), ..Metadata::default() }.to_tag(MediaTime::ZERO));
        let known = Known { metadata: metadata.as_ref(), headers: &NONE, tags: &tags };
        known.said_rate().or_else(|| known.frame_rate()).map(|rate| rate.to_string())
    }

    /// The times of a second of pictures, in whole milliseconds.
    fn second(rate: f64) -> impl Iterator<Item = i64> {
        (0..=rate as i64).map(move |picture| (picture as f64 * 1000.0 / rate).round() as i64)
    }

    #[test]
    fn frame_rates_are_those_that_are_said_else_those_that_are_meant() {
        for (times, said, found) in [
            (60.0, Some(30.0), "30/1"),
            (30.0, Some(29.97), "30000/1001"),
            (30.0, Some(23.976_023), "24000/1001"),
            (30.0, Some(14.5), "14500/1000"),
            (60.0, None, "60/1"),
            (60.0, Some(0.0), "60/1"),
            (25.0, Some(f64::NAN), "25/1"),
            (30.0, None, "30/1"),
            (25.0, Some(1e9), "25/1"),
            (24.0, None, "24/1"),
            (12.0, None, "12/1"),
            (14.5, None, "14000/966"),
        ] {
            let rate = rate(second(times), said);
            assert_eq!(rate.as_deref(), Some(found), "{times} {said:?}");
        }
        assert_eq!(rate([0, 40].into_iter(), None), None, "two pictures say nothing");
        assert_eq!(rate([7, 7, 7].into_iter(), None), None);
    }
}
