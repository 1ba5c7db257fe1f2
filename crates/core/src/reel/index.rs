//! The index of a reel: the file `.reel` beside its data.
//!
//! Little endian throughout:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FLCREEL` and the version |
//! | 8 | bytes of the whole index |
//! | 1, 8 | 0 and the bytes of the data file, or 1 and the bytes of the source, which is the data |
//! | 16 | the reel's key |
//! | 8 | what is taken from every time in the data, in milliseconds |
//! | 1 | bit 1: there is video, 2: audio, 3: notes |
//! | 24 | video: unit, length, frames; only if there is |
//! | 36 | audio: rate, frame, priming, frames, start, end; only if there is |
//! | 4, and each 1, 8, 4, n | notes: 0 a track left out, 1 damage, 2 a jump of the clock, 3 leveled; number, milliseconds, or LUFS, dBTP and gain in hundredths, 16 bits each; text; only if there are |
//! | 4, n | the source's path |
//! | 4, n | headers, as FLV tags |
//! | 4, 12 n | keyframes: slot, time |
//! | 4, 5 n | slots with sequence headers among the frames: slot; bit 0: of the video, 1: of the audio |
//! | 8, 4, 8 n | where slot 0 begins; slots: bytes, CRC-32 |
//! | 4 | CRC-32 of everything before |

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bytes::Bytes;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::writer::FlvWriter;

use super::identity::Key;
use super::note::{self, Note};
use super::reader::parse_tags;
use super::slots::{Closed, HeaderSlot, Keyframe, LARGEST_SLOT, MOST_SLOTS, SlotTable};
use crate::lap::{AudioLap, LapFacts, Unit, VideoLap};

/// The version of the format, a part of every key: reels of another version are not found.
pub(super) const VERSION: u32 = 2;
const MAGIC: [u8; 8] = *b"FLCREEL\x02";
/// Bytes at the beginning that [`peek`] looks at.
pub(super) const PEEK: usize = 25;
/// Most bytes of an index: three days of slots and keyframes, and headers.
pub(super) const LARGEST: u64 = 128 << 20;

const VIDEO: u8 = 2;
const AUDIO: u8 = 4;
const NOTES: u8 = 8;
const SKIPPED: u8 = 0;
const DAMAGED: u8 = 1;
const JUMPED: u8 = 2;
const LEVELED: u8 = 3;

const OF_VIDEO: u8 = 1;
const OF_AUDIO: u8 = 2;

/// Where the data of a reel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// In a file of its own, of this many bytes.
    Own(u64),
    /// In the source, which has this many bytes.
    Source(u64),
}

/// Everything a complete reel's index says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Index {
    pub(super) key: Key,
    pub(super) data: Data,
    /// Taken from every time in the data.
    pub(super) shift: i64,
    pub(super) facts: LapFacts,
    pub(super) notes: Vec<Note>,
    pub(super) source: PathBuf,
    pub(super) headers: Vec<Tag>,
    pub(super) keyframes: Vec<Keyframe>,
    pub(super) header_slots: Vec<HeaderSlot>,
    pub(super) slots: SlotTable,
}

/// What the beginning of an index says: its own size, and its data.
pub(super) fn peek(start: &[u8; PEEK]) -> Option<(u64, Data)> {
    let mut fields = Fields(start);
    if fields.array()? != MAGIC {
        return None;
    }
    let len = fields.u64()?;
    let data = match (fields.u8()?, fields.u64()?) {
        (0, bytes) => Data::Own(bytes),
        (1, bytes) => Data::Source(bytes),
        _ => return None,
    };
    Some((len, data))
}

/// An index as bytes.
///
/// # Errors
///
/// A header that is no FLV tag, or a list too long to be counted.
pub(super) fn encode(index: &Index) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(1024 + index.slots.len() * 8 + index.keyframes.len() * 12);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    let (kind, bytes) = match index.data {
        Data::Own(bytes) => (0, bytes),
        Data::Source(bytes) => (1, bytes),
    };
    out.push(kind);
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&index.key.0);
    out.extend_from_slice(&index.shift.to_le_bytes());
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(
        flag(index.facts.video.is_some(), VIDEO)
            | flag(index.facts.audio.is_some(), AUDIO)
            | flag(!index.notes.is_empty(), NOTES),
    );
    if let Some(video) = index.facts.video {
        put_u32s(&mut out, [video.unit.num, video.unit.den]);
        out.extend_from_slice(&video.length.to_le_bytes());
        out.extend_from_slice(&video.frames.to_le_bytes());
    }
    if let Some(audio) = index.facts.audio {
        put_u32s(&mut out, [audio.rate, audio.frame, audio.priming]);
        out.extend_from_slice(&audio.frames.to_le_bytes());
        out.extend_from_slice(&audio.start.to_le_bytes());
        out.extend_from_slice(&audio.end.to_le_bytes());
    }
    if !index.notes.is_empty() {
        put_notes(&mut out, &index.notes)?;
    }
    put_counted(&mut out, index.source.as_os_str().as_bytes())?;
    let mut headers = Vec::new();
    for tag in &index.headers {
        FlvWriter::write_tag(tag, &mut headers).map_err(|_| "a header is larger than a tag can be")?;
    }
    put_counted(&mut out, &headers)?;
    put_u32s(&mut out, [count(index.keyframes.len())?]);
    for keyframe in &index.keyframes {
        put_u32s(&mut out, [count(keyframe.slot)?]);
        out.extend_from_slice(&keyframe.time_ms.to_le_bytes());
    }
    put_u32s(&mut out, [count(index.header_slots.len())?]);
    for header in &index.header_slots {
        put_u32s(&mut out, [count(header.slot)?]);
        out.push(flag(header.video, OF_VIDEO) | flag(header.audio, OF_AUDIO));
    }
    out.extend_from_slice(&index.slots.begin().to_le_bytes());
    put_u32s(&mut out, [count(index.slots.len())?]);
    for slot in index.slots.iter() {
        put_u32s(&mut out, [count(slot.len)?, slot.crc]);
    }
    let len = out.len() as u64 + 4;
    if let Some(place) = out.get_mut(8..16) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    put_u32s(&mut out, [crc]);
    Ok(out)
}

/// Reads an index. Memory is taken only for what is there.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn decode(bytes: &Bytes) -> Result<Index, &'static str> {
    let (len, data) = bytes.first_chunk().and_then(peek).ok_or("it is no index of this version")?;
    if len != bytes.len() as u64 {
        return Err("the index is cut off");
    }
    let (body, crc) = bytes.split_last_chunk().ok_or("the index is cut off")?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err("the index's checksum is wrong");
    }
    let mut fields = Fields(body.get(PEEK..).unwrap_or_default());
    let index = fields.index(data).ok_or("the index is malformed")?;
    if !fields.0.is_empty() {
        return Err("the index is longer than what is in it");
    }
    Ok(index)
}

fn count(count: usize) -> Result<u32, &'static str> {
    u32::try_from(count).map_err(|_| "too much for an index")
}

fn put_u32s<const N: usize>(out: &mut Vec<u8>, values: [u32; N]) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_notes(out: &mut Vec<u8>, notes: &[Note]) -> Result<(), &'static str> {
    put_u32s(out, [count(notes.len())?]);
    for note in notes {
        let (kind, number, text) = match note {
            Note::Skipped { track, reason } => (SKIPPED, i64::from(count(*track)?), reason.as_str()),
            Note::Damage(reason) => (DAMAGED, 0, reason.as_str()),
            Note::ClockJumped { millis } => (JUMPED, *millis, ""),
            Note::Leveled { lufs, dbtp, gain } => {
                let [[a, b], [c, d], [e, f]] = [lufs, dbtp, gain].map(|db| db.to_le_bytes());
                (LEVELED, i64::from_le_bytes([a, b, c, d, e, f, 0, 0]), "")
            }
        };
        out.push(kind);
        out.extend_from_slice(&number.to_le_bytes());
        put_counted(out, text.as_bytes())?;
    }
    Ok(())
}

fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), &'static str> {
    put_u32s(out, [count(bytes.len())?]);
    out.extend_from_slice(bytes);
    Ok(())
}

/// What has not been read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Bytes behind their count.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.u32()?).ok()?;
        self.take(count)
    }

    /// Records of `N` bytes behind their count.
    fn records<const N: usize>(&mut self) -> Option<&'a [[u8; N]]> {
        let count = usize::try_from(self.u32()?).ok()?;
        let (records, _) = self.take(count.checked_mul(N)?)?.as_chunks();
        Some(records)
    }

    fn index(&mut self, data: Data) -> Option<Index> {
        let key = Key(self.array()?);
        let shift = self.i64()?;
        let flags = self.u8()?;
        if flags & !(VIDEO | AUDIO | NOTES) != 0 {
            return None;
        }
        let video = if flags & VIDEO == 0 { None } else { Some(self.video()?) };
        let audio = if flags & AUDIO == 0 { None } else { Some(self.audio()?) };
        let notes = if flags & NOTES == 0 { Vec::new() } else { self.notes()? };
        let source = PathBuf::from(OsStr::from_bytes(self.counted()?));
        let mut headers = Vec::new();
        parse_tags(&Bytes::copy_from_slice(self.counted()?), 0, &mut headers).ok()?;
        let keyframes = self.keyframes()?;
        let header_slots = self.header_slots()?;
        let slots = self.slots()?;
        let last = keyframes.last().map(|last| last.slot).max(header_slots.last().map(|last| last.slot));
        if last.is_some_and(|last| last >= slots.len()) {
            return None;
        }
        let (Data::Own(bytes) | Data::Source(bytes)) = data;
        if slots.end() > bytes {
            return None;
        }
        Some(Index {
            key,
            data,
            shift,
            facts: LapFacts { video, audio },
            notes,
            source,
            headers,
            keyframes,
            header_slots,
            slots,
        })
    }

    fn video(&mut self) -> Option<VideoLap> {
        let (num, den) = (self.u32()?, self.u32()?);
        let (length, frames) = (self.i64()?, self.u64()?);
        (num > 0 && den > 0 && length >= 0).then_some(VideoLap { unit: Unit { num, den }, length, frames })
    }

    fn audio(&mut self) -> Option<AudioLap> {
        let (rate, frame, priming) = (self.u32()?, self.u32()?, self.u32()?);
        let (frames, start, end) = (self.u64()?, self.i64()?, self.i64()?);
        (rate > 0 && frame > 0).then_some(AudioLap { rate, frame, priming, frames, start, end })
    }

    fn notes(&mut self) -> Option<Vec<Note>> {
        let count = usize::try_from(self.u32()?).ok().filter(|&count| count <= note::MOST + 1)?;
        let mut notes = Vec::with_capacity(count);
        for _ in 0..count {
            let (kind, number) = (self.u8()?, self.i64()?);
            let text = String::from_utf8_lossy(self.counted()?).into_owned();
            notes.push(match kind {
                SKIPPED => Note::Skipped { track: usize::try_from(number).ok()?, reason: text },
                DAMAGED => Note::Damage(text),
                JUMPED => Note::ClockJumped { millis: number },
                LEVELED => {
                    let [a, b, c, d, e, f, _, _] = number.to_le_bytes();
                    let [lufs, dbtp, gain] = [[a, b], [c, d], [e, f]].map(i16::from_le_bytes);
                    Note::Leveled { lufs, dbtp, gain }
                }
                _ => return None,
            });
        }
        Some(notes)
    }

    fn keyframes(&mut self) -> Option<Vec<Keyframe>> {
        let records = self.records::<12>()?;
        let mut keyframes: Vec<Keyframe> = Vec::with_capacity(records.len());
        for record in records {
            let mut fields = Fields(record);
            let slot = usize::try_from(fields.u32()?).ok()?;
            if keyframes.last().is_some_and(|last| last.slot >= slot) {
                return None;
            }
            keyframes.push(Keyframe { slot, time_ms: fields.i64()? });
        }
        Some(keyframes)
    }

    fn header_slots(&mut self) -> Option<Vec<HeaderSlot>> {
        let records = self.records::<5>()?;
        let mut headers: Vec<HeaderSlot> = Vec::with_capacity(records.len());
        for &[a, b, c, d, of] in records {
            let slot = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
            if of & !(OF_VIDEO | OF_AUDIO) != 0 || headers.last().is_some_and(|last| last.slot >= slot) {
                return None;
            }
            headers.push(HeaderSlot { slot, video: of & OF_VIDEO != 0, audio: of & OF_AUDIO != 0 });
        }
        Some(headers)
    }

    fn slots(&mut self) -> Option<SlotTable> {
        let mut end = self.u64()?;
        let records = self.records::<8>()?;
        if records.len() > MOST_SLOTS {
            return None;
        }
        let mut slots = SlotTable::new(end, records.len());
        for &[a, b, c, d, crc @ ..] in records {
            let len = u64::from(u32::from_le_bytes([a, b, c, d]));
            if len > LARGEST_SLOT {
                return None;
            }
            end = end.checked_add(len)?;
            slots.push(Closed { end, crc: u32::from_le_bytes(crc) });
        }
        Some(slots)
    }
}
