//! What a track says of its codec: the sample entry, ISO/IEC 14496-12 section 8.5.2, 14496-14, 14496-15, and the bindings of AV1, VP9 and Opus.

use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::tag::Codec;
use flowcast_rtmp::flv::video::VideoCodec;

use super::boxes::Boxes;
use crate::output::media::{Sound, Track};

/// Dots per inch, as 16.16: nobody reads it.
const RESOLUTION: u32 = 72 << 16;
/// Bits of a pixel, and of a sample of sound: nobody reads them.
const DEPTH: u16 = 24;
const SAMPLE_BITS: u16 = 16;
/// MPEG-4 descriptors (14496-1 table 1) and object types.
const ES_DESCRIPTOR: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC: u8 = 5;
const SYNC_LAYER: u8 = 6;
const OBJECT_AAC: u8 = 0x40;
const OBJECT_MP3: u8 = 0x6B;
const OBJECT_MP3_LOW_RATE: u8 = 0x69;
/// Below this rate MP3 is that of MPEG-2.
const MP3_LOW_RATE_HZ: u32 = 32_000;
/// Stream type audio, and the bit that is always set.
const AUDIO_STREAM: u8 = 5 << 2 | 1;
/// What vpcC begins with: version 1, no flags.
const VPCC_VERSION: &[u8] = &[1, 0, 0, 0];
/// Bytes of `OpusHead` before the version's fields, and before its mapping table.
const OPUS_MAGIC: usize = 8;
const OPUS_FIXED: usize = 19;

/// Writes the entry of a track.
pub(super) fn sample_entry(boxes: &mut Boxes, track: &Track) {
    match (track.codec, track.picture, track.sound) {
        (Codec::Video(codec), size, _) => visual(boxes, track, codec, size.unwrap_or_default()),
        (Codec::Audio(codec), _, Some(sound)) => audible(boxes, track, codec, sound),
        (Codec::Audio(_), _, None) => {}
    }
}

fn visual(boxes: &mut Boxes, track: &Track, codec: VideoCodec, (width, height): (u32, u32)) {
    let (entry, record) = match codec {
        VideoCodec::Hevc => (b"hvc1", b"hvcC"),
        VideoCodec::Av1 => (b"av01", b"av1C"),
        VideoCodec::Vp9 => (b"vp09", b"vpcC"),
        _ => (b"avc1", b"avcC"),
    };
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    boxes.nest(entry, |boxes| {
        boxes.zeros(6).u16(1).zeros(16).u16(side(width)).u16(side(height));
        boxes.u32(RESOLUTION).u32(RESOLUTION).u32(0).u16(1).zeros(32).u16(DEPTH).u16(u16::MAX);
        boxes.nest(record, |boxes| {
            if codec == VideoCodec::Vp9 && !track.config.starts_with(VPCC_VERSION) {
                boxes.bytes(VPCC_VERSION);
            }
            boxes.bytes(&track.config);
        });
    });
}

fn audible(boxes: &mut Boxes, track: &Track, codec: AudioCodec, sound: Sound) {
    let entry = if codec == AudioCodec::Opus { b"Opus" } else { b"mp4a" };
    let channels = u16::from(if sound.channels == 0 { 2 } else { sound.channels });
    // Rates that 16 bits do not hold are said in the configuration alone.
    let rate = u16::try_from(sound.rate_hz).map_or(0, |rate| u32::from(rate) << 16);
    boxes.nest(entry, |boxes| {
        boxes.zeros(6).u16(1).zeros(8).u16(channels).u16(SAMPLE_BITS).zeros(4).u32(rate);
        if codec == AudioCodec::Opus {
            boxes.nest(b"dOps", |boxes| opus(boxes, &track.config));
        } else {
            let object = match codec {
                AudioCodec::Aac => OBJECT_AAC,
                _ if sound.rate_hz < MP3_LOW_RATE_HZ => OBJECT_MP3_LOW_RATE,
                _ => OBJECT_MP3,
            };
            boxes.full(b"esds", 0, 0, |boxes| es_descriptor(boxes, object, &track.config));
        }
    });
}

/// `OpusHead` with its numbers the other way round (Encapsulation of Opus in ISOBMFF, section 4.3.2).
fn opus(boxes: &mut Boxes, head: &[u8]) {
    let fields = head.get(OPUS_MAGIC..OPUS_FIXED).and_then(|fields| fields.first_chunk::<11>());
    let Some(&[_, channels, skip0, skip1, rate0, rate1, rate2, rate3, gain0, gain1, family]) = fields else {
        return;
    };
    boxes.u8(0).u8(channels).bytes(&[skip1, skip0, rate3, rate2, rate1, rate0, gain1, gain0, family]);
    if family != 0 {
        boxes.bytes(head.get(OPUS_FIXED..).unwrap_or_default());
    }
}

/// 14496-1 section 7.2.6.5, with lengths of four bytes, as everybody writes them.
fn es_descriptor(boxes: &mut Boxes, object: u8, config: &[u8]) {
    descriptor(boxes, ES_DESCRIPTOR, |boxes| {
        boxes.u16(0).u8(0);
        descriptor(boxes, DECODER_CONFIG, |boxes| {
            // No size of a buffer, and no rates.
            boxes.u8(object).u8(AUDIO_STREAM).zeros(3).zeros(8);
            if !config.is_empty() {
                descriptor(boxes, DECODER_SPECIFIC, |boxes| {
                    boxes.bytes(config);
                });
            }
        });
        descriptor(boxes, SYNC_LAYER, |boxes| {
            boxes.u8(2);
        });
    });
}

fn descriptor(boxes: &mut Boxes, tag: u8, fill: impl FnOnce(&mut Boxes)) {
    boxes.u8(tag);
    let start = boxes.len();
    boxes.u32(0);
    fill(boxes);
    let size = u32::try_from(boxes.len() - start - 4).unwrap_or(0);
    // Seven bits in each byte, and the eighth where another one follows.
    let part = |shift: u32| size >> shift & 0x7F;
    boxes.set_u32(start, (0x80 | part(21)) << 24 | (0x80 | part(14)) << 16 | (0x80 | part(7)) << 8 | part(0));
}
