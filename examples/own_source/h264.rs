//! H.264 made by hand: Baseline, macroblocks without compression (I_PCM) or skipped.
//!
//! In: pictures. Out: access units as FLV carries them, each NAL unit behind its length in four bytes. Numbers in brackets are
//! sections of ITU-T H.264.

use super::painting::{HEIGHT, LINES, Picture, WIDTH};

const COLUMNS: usize = WIDTH / 16;
const ROWS: usize = LINES / 16;
/// Header bytes of NAL units (7.3.1).
const SPS: u8 = 0x67;
const PPS: u8 = 0x68;
const IDR: u8 = 0x65;
const SLICE: u8 = 0x61;
/// Baseline, that also decodes as Main; level 2.
const PROFILE: [u8; 3] = [66, 0xC0, 20];
/// `frame_num` has this many bits.
const FRAME_NUM_BITS: u32 = 8;

/// The decoder configuration (ISO/IEC 14496-15, 5.3.3.1): the payload of the sequence header.
pub(crate) fn avcc() -> Vec<u8> {
    let (sps, pps) = (sequence_parameters(), picture_parameters());
    let mut avcc = vec![1, PROFILE[0], PROFILE[1], PROFILE[2], 0xFF, 0xE1];
    avcc.extend(short(&sps));
    avcc.extend(&sps);
    avcc.push(1);
    avcc.extend(short(&pps));
    avcc.extend(&pps);
    avcc
}

fn short(unit: &[u8]) -> [u8; 2] {
    u16::try_from(unit.len()).expect("parameter sets are short").to_be_bytes()
}

/// 7.3.2.1.1
fn sequence_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    PROFILE.iter().for_each(|&byte| bits.put(byte.into(), 8));
    bits.ue(0); // its number
    bits.ue(FRAME_NUM_BITS - 4);
    bits.ue(2); // pictures are shown in the order they are decoded
    bits.ue(1); // one reference
    bits.put(0, 1); // no gaps
    bits.ue(COLUMNS as u32 - 1);
    bits.ue(ROWS as u32 - 1);
    bits.put(0b11, 2); // frames only; direct 8x8
    bits.put(1, 1); // cropped: left, right, top, bottom in units of two pixels
    [0, 0, 0, (LINES - HEIGHT) as u32 / 2].into_iter().for_each(|by| bits.ue(by));
    bits.put(0, 1); // no VUI
    bits.unit(SPS)
}

/// 7.3.2.2
fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0); // its number
    bits.ue(0); // that of the sequence
    bits.put(0, 2); // CAVLC, no picture order
    bits.ue(0); // one slice group
    bits.ue(0); // one reference in either list
    bits.ue(0);
    bits.put(0, 3); // no weights
    (0..3).for_each(|_| bits.ue(0)); // quantisers as usual
    bits.put(1, 1); // slices say whether they are deblocked
    bits.put(0, 2);
    bits.unit(PPS)
}

/// Codes pictures, each against the one before.
#[derive(Default)]
pub(crate) struct Coder {
    before: Option<Picture>,
    /// Since the last keyframe.
    frame: u32,
    keyframes: u32,
}

impl Coder {
    /// The access unit of the next picture.
    pub(crate) fn code(&mut self, picture: Picture, is_keyframe: bool) -> Vec<u8> {
        let before = self.before.take().filter(|_| !is_keyframe);
        self.frame = if before.is_some() { (self.frame + 1) % (1 << FRAME_NUM_BITS) } else { 0 };
        let mut bits = Bits::default();
        self.slice_header(&mut bits, before.is_some());
        let mut skipped = 0;
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let samples = picture.macroblock(column, row);
                if before.as_ref().is_some_and(|before| before.macroblock(column, row) == samples) {
                    skipped += 1;
                    continue;
                }
                if before.is_some() {
                    bits.ue(skipped);
                    bits.ue(5 + 25); // I_PCM in a P slice (table 7-13)
                } else {
                    bits.ue(25); // I_PCM
                }
                skipped = 0;
                bits.bytes(&samples);
            }
        }
        if skipped > 0 {
            bits.ue(skipped);
        }
        let unit = bits.unit(if before.is_some() { SLICE } else { IDR });
        self.keyframes += u32::from(before.is_none());
        self.before = Some(picture);
        let mut access_unit = u32::try_from(unit.len()).expect("a small picture").to_be_bytes().to_vec();
        access_unit.extend(unit);
        access_unit
    }

    /// 7.3.3
    fn slice_header(&self, bits: &mut Bits, is_inter: bool) {
        bits.ue(0); // from the first macroblock on
        bits.ue(if is_inter { 5 } else { 7 }); // P, I
        bits.ue(0); // its parameters
        bits.put(self.frame, FRAME_NUM_BITS);
        if is_inter {
            bits.put(0, 3); // references as usual, kept as usual
        } else {
            bits.ue(self.keyframes % 2); // keyframes in a row differ in it
            bits.put(0, 2);
        }
        bits.ue(0); // quantiser
        bits.ue(1); // not deblocked
    }
}

/// Writes bits, most significant first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are taken; 0 for all.
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("a byte was pushed");
            *last |= u8::from(value >> bit & 1 == 1) << (7 - self.used);
            self.used = (self.used + 1) % 8;
        }
    }

    /// An unsigned number, Exp-Golomb (9.1). A signed 0 is the same.
    fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.put(0, length);
        self.put(value + 1, length + 1);
    }

    /// Bytes, from the next whole byte on.
    fn bytes(&mut self, bytes: &[u8]) {
        self.used = 0;
        self.bytes.extend(bytes);
    }

    /// Closes it as a NAL unit: a stop bit, and a 3 where bytes would look like a start code (7.4.1).
    fn unit(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut unit = vec![header];
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}
