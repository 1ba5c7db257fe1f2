//! What is to be seen and heard in a sample of a stream.
//!
//! In: a keyframe, pictures behind it, a second of sound, and the picture of the look before. Out: whether it is black, frozen, silent. The keyframe is
//! decoded each time; the pictures behind it only if it is black, or like the one before. Runs on a thread that makes thumbnails.

use flowcast_av as av;
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::picture;
use flowcast_rtmp::flv::tag::{Codec, Tag};

use super::{Findings, Rules, Sample};
use crate::error::Error;

/// The size pictures are compared at.
const SIZE: (u32, u32) = (160, 90);
/// A picture is black if this share of its pixels, in percent, is darker than `DARK` of 255: what FFmpeg's `blackdetect` says.
const BLACK_PERCENT: usize = 98;
const DARK: u8 = 25;
/// Two keyframes may be the same picture if they differ by no more than this on average, of 255, at the small size: encoders do not make the same
/// of the same.
const ALIKE: f64 = 1.0;
/// Pictures that follow each other are the same if they differ by no more than this on average: what FFmpeg's `freezedetect` says, 60 dB.
const STILL: f64 = 0.255;
/// Frames of sound that a decoder needs to begin.
const PRIMING: usize = 2;

/// A small picture in shades of gray.
#[derive(Debug)]
pub(super) struct Thumb(Vec<u8>);

impl Thumb {
    fn is_black(&self) -> bool {
        let dark = self.0.iter().filter(|value| **value < DARK).count();
        dark * 100 >= self.0.len() * BLACK_PERCENT
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.0.len()
    }
}

/// What is found in a sample. What is damaged is not judged.
pub(super) fn look(sample: &Sample, rules: &Rules, before: Option<&Thumb>) -> Findings {
    let mut findings = Findings::default();
    if let Err(error) = look_at(sample, rules, before, &mut findings) {
        log::debug!("pictures that cannot be looked at: {}", crate::error::chain(&error));
    }
    match loudness(sample) {
        Ok(loudness) => {
            findings.silent = loudness.map(|level| level < f64::from(rules.silent_below_db));
        }
        Err(error) => log::debug!("sound that cannot be listened to: {}", crate::error::chain(&error)),
    }
    findings
}

fn look_at(
    sample: &Sample,
    rules: &Rules,
    before: Option<&Thumb>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let Some(keyframe) = sample.pictures.first() else { return Ok(()) };
    let track = track(keyframe, sample.headers[0].as_ref())?;
    let mut decoder = av::VideoDecoder::open(&track, &av::DecoderOptions::default())?;
    let mut waiting = sample.pictures.iter();
    let mut has_finished = false;
    let mut next = |decoder: &mut av::VideoDecoder| -> Result<Option<av::VideoFrame>, Error> {
        loop {
            if let Some(picture) = decoder.pull()? {
                return Ok(Some(picture));
            }
            match waiting.next() {
                Some(tag) => decoder.push(&packet(tag)?)?,
                // What is shown after pictures that did not come any more is given, too.
                None if !std::mem::replace(&mut has_finished, true) => decoder.finish()?,
                None => return Ok(None),
            }
        }
    };
    let Some(first) = next(&mut decoder)? else { return Ok(()) };
    let thumb = Thumb(first.gray(Some(SIZE))?);
    let mut is_black = thumb.is_black();
    let mut may_be_still =
        rules.frozen.is_some() && before.is_some_and(|before| difference(&before.0, &thumb.0) <= ALIKE);
    let mut compared = false;
    if is_black || may_be_still {
        let whole = first.gray(None)?;
        while (is_black || may_be_still)
            && let Some(picture) = next(&mut decoder)?
        {
            compared = true;
            is_black = is_black && Thumb(picture.gray(Some(SIZE))?).is_black();
            // Each with the first: what moves slowly moves, too.
            may_be_still = may_be_still && difference(&whole, &picture.gray(None)?) <= STILL;
        }
    }
    findings.black = Some(is_black);
    // One picture alone does not tell whether it moves.
    findings.frozen = before.filter(|_| compared || !may_be_still).map(|_| may_be_still);
    findings.thumb = Some(thumb.into());
    Ok(())
}

/// A picture in shades of gray, as large as it is.
#[derive(Debug)]
pub(super) struct Shades {
    values: Vec<u8>,
    /// What is darker is black.
    dark: u8,
}

impl Shades {
    /// The brightness of a picture; where it is a plane of its own, that is taken as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Media`]: it cannot be converted.
    pub(super) fn of(picture: &av::VideoFrame) -> Result<Self, Error> {
        let format = picture.format();
        if !matches!(format.pixel_format.as_str(), "yuv420p" | "yuvj420p" | "nv12") {
            return Ok(Self { values: picture.gray(None)?, dark: DARK });
        }
        let is_full = format.pixel_format == "yuvj420p" || format.color.range.as_deref() == Some("pc");
        let mut values = picture.to_bytes()?;
        let pixels = u64::from(format.width) * u64::from(format.height);
        values.truncate(usize::try_from(pixels).unwrap_or(usize::MAX));
        // Limited range is from 16 to 235.
        Ok(Self { values, dark: if is_full { DARK } else { 16 + (u16::from(DARK) * 219 / 255) as u8 } })
    }

    pub(super) fn is_black(&self) -> bool {
        let dark = self.values.iter().filter(|value| **value < self.dark).count();
        dark * 100 >= self.values.len() * BLACK_PERCENT
    }

    /// Whether one may be the other, encoded once more.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        difference(&self.values, &other.values) <= STILL
    }
}

/// How much pictures differ on average, of 255; those of other sizes differ.
fn difference(one: &[u8], other: &[u8]) -> f64 {
    if one.len() != other.len() || one.is_empty() {
        return 255.0;
    }
    let sum: u64 = one.iter().zip(other).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    sum as f64 / one.len() as f64
}

/// How loud the sound is on average, in decibels of full scale; `None` if there is none.
fn loudness(sample: &Sample) -> Result<Option<f64>, Error> {
    let Some(first) = sample.sound.first() else { return Ok(None) };
    let track = track(first, sample.headers[1].as_ref())?;
    let mut decoder = av::AudioDecoder::open(&track, &av::DecoderOptions::default())?;
    let (mut power, mut count) = (0.0_f64, 0_u64);
    for (number, tag) in sample.sound.iter().enumerate() {
        decoder.push(&packet(tag)?)?;
        while let Some(frame) = decoder.pull()? {
            if number >= PRIMING {
                for value in values(&frame) {
                    power += value * value;
                    count += 1;
                }
            }
        }
    }
    Ok((count > 0).then(|| 10.0 * (power / count as f64).max(1e-12).log10()))
}

/// The samples of all channels, from -1 to 1; none of a format that no decoder of what tags carry has.
fn values(frame: &av::AudioFrame) -> Vec<f64> {
    let bytes = frame.to_bytes();
    match frame.format().sample_format.as_str() {
        "fltp" | "flt" => {
            let floats = bytes.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_ne_bytes(*bytes)));
            floats.map(|value| if value.is_finite() { value } else { 0.0 }).collect()
        }
        "s16p" | "s16" => {
            let whole = bytes.as_chunks::<2>().0.iter().map(|bytes| f64::from(i16::from_ne_bytes(*bytes)));
            whole.map(|value| value / 32_768.0).collect()
        }
        "s32p" | "s32" => {
            let whole = bytes.as_chunks::<4>().0.iter().map(|bytes| f64::from(i32::from_ne_bytes(*bytes)));
            whole.map(|value| value / 2_147_483_648.0).collect()
        }
        _ => Vec::new(),
    }
}

/// The track of a tag, behind this sequence header.
fn track(tag: &Tag, header: Option<&Tag>) -> Result<av::TrackInfo, Error> {
    let found = coded(tag).ok_or_else(empty)?;
    let config = header.and_then(|header| match coded(header)?.part {
        Part::Config(config) => Some(config),
        Part::Frames { .. } => None,
    });
    let (kind, name) = match found.codec {
        Codec::Video(codec) => (av::TrackKind::Video, codec.name()),
        Codec::Audio(codec) => (av::TrackKind::Audio, codec.name()),
    };
    let mut track = av::TrackInfo::new(0, kind, av::Codec::from_name(name), av::TimeBase::MILLIS);
    if let (Codec::Video(codec), Part::Frames { data, .. }) = (found.codec, &found.part) {
        let size = picture::size(codec, &config.clone().unwrap_or_default(), data);
        track.video = size.map(|(width, height)| av::VideoInfo::of_size(width, height));
    }
    track.config = config.filter(|config| !config.is_empty());
    Ok(track)
}

fn packet(tag: &Tag) -> Result<av::Packet, Error> {
    let Some(Part::Frames { composition_time, data }) = coded(tag).map(|found| found.part) else {
        return Err(empty());
    };
    let dts = tag.timestamp.as_millis();
    let mut packet = av::Packet::new(0, Some(dts + i64::from(composition_time)), Some(dts), data);
    packet.keyframe = tag.is_keyframe() || !tag.is_video();
    Ok(packet)
}

fn empty() -> Error {
    let message = "a tag holds nothing that can be decoded".to_owned();
    Error::Media(av::Error::Damaged { track: 0, pts: None, message })
}
