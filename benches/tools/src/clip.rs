//! A clip as the bytes a stream of it puts on the wire: message by message, or cut every 100 ms.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use flowcast::rtmp::chunk::ChunkWriter;
use flowcast::rtmp::flv::{FlvReader, Tag, TagKind};
use flowcast::rtmp::limits::Limits;
use flowcast::rtmp::time::MediaTime;
use flowcast::rtmp::wire::WireBuf;

use crate::Result;

/// Media time of one tick.
pub const TICK: Duration = Duration::from_millis(100);

/// What a push sends in chunks of, bytes.
const CHUNK_SIZE: u32 = 60_000;

/// One lap of a clip, tick by tick.
#[derive(Debug, Clone)]
pub struct Ticks {
    /// RTMP bytes of each tick. Sequence headers and metadata, sent once a connection, are left out.
    pub bytes: Vec<Bytes>,
}

/// One lap of a clip, message by message.
#[derive(Debug, Clone)]
pub struct Messages {
    /// When each is due in the lap, and its RTMP bytes.
    bytes: Vec<(Duration, Bytes)>,
    /// Length of a lap.
    pub lap: Duration,
}

impl Messages {
    /// Reads an FLV file.
    pub fn load(path: &Path) -> Result<Self> {
        let tags = media(path)?;
        let (first, lap) = lap(&tags)?;
        let (mut writer, mut wire) = (ChunkWriter::new(CHUNK_SIZE), WireBuf::new());
        let mut due = Duration::ZERO;
        let mut bytes = Vec::with_capacity(tags.len());
        for tag in &tags {
            due =
                due.max(Duration::from_millis(u64::try_from(tag.timestamp.as_millis() - first).unwrap_or(0)));
            writer.write_tag(tag, 1, MediaTime::ZERO, &mut wire);
            bytes.push((due, wire.copy_to_bytes(wire.remaining())));
        }
        Ok(Self { bytes, lap: Duration::from_millis(u64::try_from(lap)?) })
    }

    /// What is written at which time of the lap, if everything that comes in a window is written at its end; with a
    /// window of zero each message by itself.
    #[must_use]
    pub fn merged(&self, window: Duration) -> Vec<(Duration, Bytes)> {
        if window.is_zero() {
            return self.bytes.clone();
        }
        let slot = |due: Duration| due.as_nanos() / window.as_nanos();
        let slots = self.bytes.chunk_by(|one, other| slot(one.0) == slot(other.0));
        let merge = |messages: &[(Duration, Bytes)]| {
            let whole: Vec<u8> = messages.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            let end = messages.first().map_or(0, |(due, _)| slot(*due) + 1);
            (window * u32::try_from(end).unwrap_or(u32::MAX), Bytes::from(whole))
        };
        slots.map(merge).collect()
    }
}

/// The media of an FLV file, in its order.
fn media(path: &Path) -> Result<Vec<Tag>> {
    let mut reader = FlvReader::new(&Limits::file());
    reader.push_bytes(std::fs::read(path)?.into());
    let mut tags = Vec::new();
    while let Some(tag) = reader.pull()? {
        if !tag.is_script() && !tag.is_sequence_header() {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// When a clip begins, and how long a lap of it is, milliseconds.
fn lap(tags: &[Tag]) -> Result<(i64, i64)> {
    let first = tags.first().ok_or("the clip is empty")?.timestamp.as_millis();
    let last_of = |kind| {
        let mut times = tags.iter().rev().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp.as_millis());
        Some((times.next()?, times.next()?))
    };
    let (last, before) =
        last_of(TagKind::Video).or_else(|| last_of(TagKind::Audio)).ok_or("the clip is too short")?;
    Ok((first, last + (last - before) - first))
}

impl Ticks {
    /// Reads an FLV file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::cut(&media(path)?)
    }

    /// Cuts tags that are in the order of a file.
    fn cut(tags: &[Tag]) -> Result<Self> {
        let (first, lap) = lap(tags)?;
        let tick = i64::try_from(TICK.as_millis())?;
        let count = usize::try_from((lap + tick / 2) / tick)?.max(1);

        let mut writer = ChunkWriter::new(CHUNK_SIZE);
        let mut wires: Vec<WireBuf> = std::iter::repeat_with(WireBuf::new).take(count).collect();
        let mut slot = 0;
        for tag in tags {
            let due = usize::try_from((tag.timestamp.as_millis() - first) / tick).unwrap_or(0);
            slot = due.clamp(slot, count - 1);
            if let Some(wire) = wires.get_mut(slot) {
                writer.write_tag(tag, 1, MediaTime::ZERO, wire);
            }
        }
        let whole = |mut wire: WireBuf| wire.copy_to_bytes(wire.remaining());
        Ok(Self { bytes: wires.into_iter().map(whole).collect() })
    }

    /// Bits per second on the wire, in thousands.
    #[must_use]
    pub fn kbps(&self) -> f64 {
        let bytes: usize = self.bytes.iter().map(Bytes::len).sum();
        bytes as f64 * 8.0 / 1000.0 / (self.bytes.len() as f64 * TICK.as_secs_f64())
    }

    /// Bytes of the largest tick.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.bytes.iter().map(Bytes::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: TagKind, millis: i64, size: usize) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(millis), Bytes::from(vec![0x27; size]))
    }

    #[test]
    fn a_tick_holds_the_tags_due_in_it() {
        let tags = [
            tag(TagKind::Video, 0, 1000),
            tag(TagKind::Audio, 5, 10),
            tag(TagKind::Video, 100, 2000),
            // Behind its neighbour in the file: it cannot go out before it.
            tag(TagKind::Audio, 90, 10),
            tag(TagKind::Video, 200, 0),
            // Beyond the last frame of the lap, which lasts until 300.
            tag(TagKind::Audio, 310, 10),
        ];
        let ticks = Ticks::cut(&tags).expect("a clip");
        let sizes: Vec<usize> = ticks.bytes.iter().map(Bytes::len).collect();
        let media = [1010, 2010, 10];
        assert_eq!(sizes.len(), media.len());
        for (size, media) in sizes.iter().zip(media) {
            assert!((media + 4..=media + 24).contains(size), "{sizes:?}");
        }
        assert_eq!(ticks.largest(), sizes.iter().copied().max().unwrap_or(0));
    }
}
