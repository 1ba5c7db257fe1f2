//! The facts of a file that decide whether it can be sent as it is. Plain data, units on every field.

use std::time::Duration;

use crate::bit_rate::BitRate;

/// What a scan of a file's packets found, about the tracks that would be sent.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Facts {
    /// libav's names of the container format, separated by commas ("mov,mp4,m4a,3gp,3g2,mj2").
    pub format: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// How far the scan went.
    pub reach: Reach,
    /// The video track that would be sent, if there is one.
    pub video: Option<VideoFacts>,
    /// The audio track that would be sent, if there is one.
    pub audio: Option<AudioFacts>,
    /// Tracks that would not be sent, by their index and kind ("video", "audio", "subtitle", "data", ...). Cover art counts as
    /// "attachment".
    pub others: Vec<(usize, String)>,
    /// The samples are encrypted and cannot be used.
    pub encrypted: bool,
    /// The file ends before it should, and how that shows; `None` if it seems whole.
    pub truncated: Option<String>,
    /// Places that could not be read and were skipped.
    pub unreadable_places: u32,
    /// Time in which there is neither a picture nor sound: what goes beyond 10 s from one packet to the next, all in all. Distances
    /// of more than two minutes do not count, since they are played as jumps of the clock.
    pub empty: Duration,
}

impl Facts {
    /// How much later the sound begins than the picture, in microseconds; negative if it begins earlier.
    #[must_use]
    pub fn start_skew_micros(&self) -> Option<i64> {
        let (video, audio) = (self.video.as_ref()?, self.audio.as_ref()?);
        Some(audio.start_micros.saturating_sub(video.start_micros))
    }

    /// How much later the sound ends than the picture, in microseconds; negative if it ends earlier.
    #[must_use]
    pub fn end_skew_micros(&self) -> Option<i64> {
        let (video, audio) = (self.video.as_ref()?, self.audio.as_ref()?);
        let gap = micros(audio.length).saturating_sub(micros(video.length));
        Some(self.start_skew_micros()?.saturating_add(gap))
    }
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// How far a scan went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Reach {
    /// To the end of the file.
    #[default]
    Whole,
    /// To the limit of bytes.
    Bytes,
    /// To the deadline.
    Deadline,
}

/// How a track's payload has to be changed to be sent without encoding; this happens while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// H.264 with start codes gets length prefixes and an avcC record.
    StartCodes,
    /// H.264 or HEVC whose container has no parameter sets gets a configuration of those in its packets.
    InBandSets,
    /// AAC loses its ADTS headers and gets an `AudioSpecificConfig`.
    Adts,
    /// A raw stream without times gets them by counting pictures.
    WithoutTimes,
}

/// Whether pictures are made of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fields {
    /// Not known; nearly always whole pictures.
    #[default]
    Unknown,
    /// Whole pictures.
    Progressive,
    /// Fields are allowed by the headers, but none was seen.
    Allowed,
    /// Interlaced: fields, or frames of two fields.
    Interlaced,
}

/// Bits per second, over windows of the track's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BitRates {
    /// Over the whole track.
    pub mean: BitRate,
    /// In the densest second.
    pub peak_1s: BitRate,
    /// In the densest two seconds.
    pub peak_2s: BitRate,
    /// In the densest two GOPs in a row.
    pub peak_2_gops: BitRate,
}

/// Irregular times of a track's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Clock {
    /// The longest time between two packets in a row, to decode.
    pub longest_step: Duration,
    /// Packets that are to be decoded no later than the one before them, or shown before they are decoded.
    pub unordered: u64,
    /// Places where the time goes back by more than a second.
    pub jumps: u32,
}

/// The video track.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct VideoFacts {
    /// Index of the track in its file.
    pub track: usize,
    /// libav's name of the codec ("h264").
    pub codec: String,
    /// libav's name of the profile ("High").
    pub profile: Option<String>,
    /// Level as the codec writes it (H.264: 31 is level 3.1).
    pub level: Option<u32>,
    /// Width in pixels, before rotation.
    pub width: u32,
    /// Height in pixels, before rotation.
    pub height: u32,
    /// Shape of a pixel, width to height; `None` if not said (take it as 1:1).
    pub sample_aspect: Option<(u32, u32)>,
    /// How far to turn the picture clockwise to show it: 0, 90, 180 or 270 degrees.
    pub rotation_degrees: u16,
    /// The picture is to be mirrored.
    pub mirrored: bool,
    /// libav's name of the pixel format ("yuv420p"); empty if unknown.
    pub pixel_format: String,
    /// Samples use all values, not those of television.
    pub full_range: bool,
    /// Transfer characteristic by libav's name ("bt709", "smpte2084"), if said.
    pub transfer: Option<String>,
    /// Primaries by libav's name ("bt709", "bt2020"), if said.
    pub primaries: Option<String>,
    /// Whether pictures are made of fields.
    pub fields: Fields,
    /// The codec's configuration is there, or the codec needs none.
    pub has_config: bool,
    /// How its payload is changed while it is read.
    pub form: Option<Form>,
    /// Pictures.
    pub packets: u64,
    /// When the first picture is shown, in microseconds of the file's clock.
    pub start_micros: i64,
    /// From the first picture to the end of the last.
    pub length: Duration,
    /// Pictures per second over the whole track.
    pub frame_rate: f64,
    /// Pictures per second where they are fewest, over a second.
    pub frame_rate_min: f64,
    /// Pictures per second where they are most, over a second.
    pub frame_rate_max: f64,
    /// Share of pictures shown for a time that differs by more than a quarter from the usual one, 0 to 1.
    pub irregular: f64,
    /// Pictures decoding can start at.
    pub keyframes: u64,
    /// Of those, the ones after which nothing needs what was before (H.264: IDR pictures). All of them for other codecs.
    pub idr: u64,
    /// Of the keyframes, those followed by pictures that are shown before them, and need what was before them.
    pub open_gops: u64,
    /// Pictures the container says decoding can start at, although it cannot.
    pub false_keyframes: u64,
    /// Pictures before the first keyframe.
    pub lead: u64,
    /// The first keyframe is an IDR picture, or the codec has none.
    pub first_is_idr: bool,
    /// The longest time from one keyframe to the next, or from the last to the end.
    pub gop_max: Duration,
    /// The mean time from one keyframe to the next.
    pub gop_mean: Duration,
    /// B-frames in a row at most; for codecs other than H.264, 1 if pictures are reordered.
    pub b_frames: u32,
    /// The longest time from decoding a picture to showing it.
    pub composition_max: Duration,
    /// How many bits it takes.
    pub bit_rate: BitRates,
    /// Bits per second and bits of the buffer it was made for, if its headers tell.
    pub declared_buffer: Option<(u64, u64)>,
    /// The largest packet in bytes.
    pub largest_packet: u64,
    /// Its times.
    pub clock: Clock,
    /// Packets that change the codec's parameters.
    pub parameter_changes: u32,
    /// Of those, the ones that change the size of the picture.
    pub size_changes: u32,
    /// Pictures that are to be decoded but not shown (edit lists), which FLV cannot say.
    pub hidden: u64,
    /// Parts the container's edit list puts the track together from: 1 is the track as it is.
    pub edits: u32,
    /// Packets that are damaged.
    pub damaged: u64,
}

/// The audio track.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct AudioFacts {
    /// Index of the track in its file.
    pub track: usize,
    /// libav's name of the codec ("aac").
    pub codec: String,
    /// libav's name of the profile ("LC", "HE-AAC").
    pub profile: Option<String>,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels; 0 if unknown.
    pub channels: u32,
    /// Samples per channel in one packet; 0 if it varies or is unknown.
    pub frame_samples: u32,
    /// The codec's configuration is there, or the codec needs none.
    pub has_config: bool,
    /// How its payload is changed while it is read.
    pub form: Option<Form>,
    /// Packets.
    pub packets: u64,
    /// When the first sound is heard, in microseconds of the file's clock: behind the encoder's priming.
    pub start_micros: i64,
    /// From the first sound to the end of the last.
    pub length: Duration,
    /// Bits per second over the whole track.
    pub bit_rate: BitRate,
    /// The largest packet in bytes.
    pub largest_packet: u64,
    /// Its times.
    pub clock: Clock,
    /// Packets that change the codec's parameters.
    pub parameter_changes: u32,
    /// Sound that is to be decoded but not heard (edit lists), beyond an encoder's priming.
    pub hidden: Duration,
    /// Parts the container's edit list puts the track together from: 1 is the track as it is.
    pub edits: u32,
    /// Packets that are damaged.
    pub damaged: u64,
}

impl AudioFacts {
    /// How long one packet sounds; 21 ms if the file does not tell.
    #[must_use]
    pub fn frame(&self) -> Duration {
        match (self.frame_samples, self.sample_rate) {
            (0, _) | (_, 0) => Duration::from_micros(21_333),
            (samples, rate) => Duration::from_secs_f64(f64::from(samples) / f64::from(rate)),
        }
    }
}
