//! Media for the self-benchmark: an FLV file whose tags have the sizes and times of a real one, and random bytes in them.

use std::io;
use std::path::Path;

use bytes::Bytes;
use flowcast_rtmp::flv::{FlvWriter, Metadata, Tag, audio, video};
use flowcast_rtmp::time::MediaTime;

use crate::bit_rate::BitRate;

/// H.264, Constrained Baseline 3.1, 1280×720: an AVCDecoderConfigurationRecord (ISO 14496-15 §5.2.4.1).
const AVCC: &[u8] = &[
    1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 9, 0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x01, 0x40, 0x16, 0xE4, 1, 0, 4,
    0x68, 0xCE, 0x3C, 0x80,
];
/// AAC-LC, 48 kHz, stereo: an AudioSpecificConfig (ISO 14496-3 §1.6.2.1).
const AAC: &[u8] = &[0x11, 0x90];
const FPS: i64 = 30;
/// Frames from one keyframe to the next: a second's, since rates are measured over about a second.
const GOP: i64 = 30;
/// Groups of pictures in the file.
const GOPS: i64 = 4;
/// A keyframe is as large as this many other frames.
const KEYFRAME: u64 = 6;
const AUDIO: u64 = 128_000;
/// Samples of an AAC frame, and samples of a second.
const AAC_FRAME: i64 = 1024;
const AAC_RATE: i64 = 48_000;

/// Writes four seconds of media of this bit rate.
///
/// # Errors
///
/// What the file system said.
pub(crate) fn write(path: &Path, rate: BitRate) -> io::Result<()> {
    std::fs::write(path, flv(rate).map_err(io::Error::other)?)
}

fn flv(rate: BitRate) -> Result<Vec<u8>, flowcast_rtmp::flv::FlvError> {
    let frames = GOPS * GOP;
    let length_ms = frames * 1000 / FPS;
    let metadata = Metadata {
        width: Some(1280.0),
        height: Some(720.0),
        framerate: Some(FPS as f64),
        videocodecid: Some(7.0),
        audiocodecid: Some(10.0),
        audiosamplerate: Some(AAC_RATE as f64),
        stereo: Some(true),
        duration_s: Some(length_ms as f64 / 1000.0),
        ..Metadata::default()
    };
    let mut tags = vec![
        metadata.to_tag(MediaTime::ZERO),
        video::avc_sequence_header(Bytes::from_static(AVCC), MediaTime::ZERO),
        audio::aac_sequence_header(Bytes::from_static(AAC), MediaTime::ZERO),
    ];
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let video = rate.bps().saturating_sub(AUDIO).max(32_000);
    let gop_bytes = video / 8 * GOP.unsigned_abs() / FPS.unsigned_abs();
    let small = gop_bytes / (GOP.unsigned_abs() - 1 + KEYFRAME);
    let mut sound = 0;
    for frame in 0..frames {
        let at = frame * 1000 / FPS;
        while sound * AAC_FRAME * 1000 / AAC_RATE <= at {
            let time = MediaTime::from_millis(sound * AAC_FRAME * 1000 / AAC_RATE);
            let bytes = AUDIO / 8 * AAC_FRAME.unsigned_abs() / AAC_RATE.unsigned_abs();
            tags.push(audio::aac_frame(time, noise.bytes(&[], bytes)));
            sound += 1;
        }
        let keyframe = frame % GOP == 0;
        let bytes = if keyframe { small * KEYFRAME } else { small };
        tags.push(video::avc_frame(
            MediaTime::from_millis(at),
            0,
            keyframe,
            slice(&mut noise, keyframe, bytes),
        )?);
    }
    let mut file = FlvWriter::header(true, true).to_vec();
    tags.iter().try_for_each(|tag: &Tag| FlvWriter::write_tag(tag, &mut file))?;
    Ok(file)
}

/// One slice behind its length: a NAL unit header, the beginning of a slice header (first macroblock 0, type I or P), noise.
fn slice(noise: &mut Noise, keyframe: bool, bytes: u64) -> Bytes {
    let size = bytes.max(16);
    let length = u32::try_from(size - 4).unwrap_or(u32::MAX).to_be_bytes();
    let head: &[u8] = if keyframe { &[0x65, 0x88, 0x84] } else { &[0x41, 0x9A, 0x22] };
    noise.bytes(&[&length, head].concat(), size)
}

/// Bytes that do not compress and are never zero, so that nothing in them looks like a start code.
struct Noise(u64);

impl Noise {
    /// `size` bytes that begin with `head`.
    fn bytes(&mut self, head: &[u8], size: u64) -> Bytes {
        let size = usize::try_from(size).unwrap_or(0).max(head.len());
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(head);
        bytes.resize_with(size, || {
            // xorshift64.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 32) as u8 | 1
        });
        Bytes::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use flowcast_rtmp::flv::{AvcConfig, FlvReader};

    use super::*;

    #[test]
    fn the_file_has_the_bitrate_and_parses() {
        for kbps in [300, 2650, 20_000] {
            let file = flv(BitRate::from_kbps(kbps)).expect("the sizes fit");
            let mut reader = FlvReader::new(&flowcast_rtmp::limits::Limits::publisher());
            reader.push(&file);
            let mut tags = Vec::new();
            while let Some(tag) = reader.pull().expect("it is what the writer wrote") {
                tags.push(tag);
            }
            let keyframes = tags.iter().filter(|tag| tag.is_keyframe()).count();
            assert_eq!(keyframes, 4);
            let seconds = (GOPS * GOP / FPS) as f64;
            let bits = tags.iter().map(|tag| tag.body.len() as f64 * 8.0).sum::<f64>();
            let difference = bits / 1000.0 / seconds / kbps as f64 - 1.0;
            assert!(difference.abs() < 0.03, "{kbps} kbit/s is off by {difference}");
            assert!(
                tags.windows(2).all(|pair| pair[0].timestamp.as_millis() <= pair[1].timestamp.as_millis())
            );
        }
    }

    #[test]
    fn the_sequence_header_says_720p() {
        let config = AvcConfig::parse(&Bytes::from_static(AVCC)).expect("it is well formed");
        assert_eq!(config.dimensions(), Some((1280, 720)));
    }
}
