//! How many tags (titles, comments) a file has, counted before libav reads them: for each it looks through all it has, and does not
//! ask its deadline meanwhile.
//!
//! In: the file. Out: the limit, if it is exceeded. Matroska, FLAC, Ogg and ID3 are looked at here, MP4 where its tables are.
//! Reads the heads of elements and little else; on the thread that opens.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::limits::{Exceeded, InputLimits};

const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
const SEGMENT: u64 = 0x1853_8067;
const SEEK_HEAD: u64 = 0x114D_9B74;
const CLUSTER: u64 = 0x1F43_B675;
const TAGS: u64 = 0x1254_C367;
/// Where a seek head says that tags are: the name of the element, and the name of the position behind it.
const SEEK_TO_TAGS: [u8; 8] = [0x53, 0xAB, 0x84, 0x12, 0x54, 0xC3, 0x67, 0x53];
/// The name of one tag of Matroska.
const SIMPLE_TAG: [u8; 2] = [0x67, 0xC8];
/// Elements, blocks or pages before the media, at most.
const HEADS: usize = 4096;
/// Bytes of a seek head, and of Ogg's first packets, that are looked at.
const HEAD_BYTES: u64 = 1 << 20;
/// Bytes of Matroska's tags that are looked at.
const TAG_BYTES: u64 = 64 << 20;

/// Counts the tags of a file. One that cannot be read here, or not in time, is left to libav.
pub(crate) fn check(mut source: impl Read + Seek, limits: &InputLimits) -> Result<(), Exceeded> {
    let most = u64::from(limits.max_tags);
    let mut count = Count { source: BufReader::new(&mut source), tags: 0, most };
    // Whatever cannot be read has no more tags.
    let _ = count.all();
    if count.tags > most { Err(Exceeded::new("max_tags", most)) } else { Ok(()) }
}

struct Count<S> {
    source: BufReader<S>,
    tags: u64,
    most: u64,
}

impl<S: Read + Seek> Count<S> {
    fn all(&mut self) -> io::Result<()> {
        self.source.rewind()?;
        let mut start = self.bytes::<4>()?;
        if start.starts_with(b"ID3") {
            let end = self.id3()?;
            self.source.seek(SeekFrom::Start(end))?;
            start = self.bytes()?;
        }
        match &start {
            b"fLaC" => self.flac(),
            b"OggS" => self.ogg(),
            start if *start == EBML => self.matroska(),
            _ => Ok(()),
        }
    }

    fn is_too_much(&self) -> bool {
        self.tags > self.most
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The frames of an ID3v2 tag, whose first four bytes were read; gives where it ends.
    fn id3(&mut self) -> io::Result<u64> {
        let safe = |bytes: [u8; 4]| bytes.iter().fold(0_u64, |sum, byte| sum << 7 | u64::from(byte & 0x7F));
        self.source.rewind()?;
        let [_, _, _, version, _, _, a, b, c, d] = self.bytes()?;
        let end = 10 + safe([a, b, c, d]);
        while self.source.stream_position()? + 6 <= end && !self.is_too_much() {
            let (name, size) = if version == 2 {
                let [name, _, _, a, b, c] = self.bytes()?;
                (name, u64::from(u32::from_be_bytes([0, a, b, c])))
            } else {
                let [name, _, _, _, a, b, c, d, _, _] = self.bytes()?;
                let bytes = [a, b, c, d];
                (name, if version == 3 { u64::from(u32::from_be_bytes(bytes)) } else { safe(bytes) })
            };
            if name == 0 {
                break;
            }
            self.tags += 1;
            self.source.seek_relative(i64::try_from(size).unwrap_or(i64::MAX))?;
        }
        Ok(end)
    }

    /// The comments of a FLAC file, behind its first four bytes.
    fn flac(&mut self) -> io::Result<()> {
        const COMMENTS: u8 = 4;
        for _ in 0..HEADS {
            let [kind, a, b, c] = self.bytes()?;
            let size = u64::from(u32::from_be_bytes([0, a, b, c]));
            let next = self.source.stream_position()? + size;
            if kind & 0x7F == COMMENTS {
                let vendor = i64::from(u32::from_le_bytes(self.bytes()?));
                self.source.seek_relative(vendor)?;
                let count = u64::from(u32::from_le_bytes(self.bytes()?));
                // Each takes four bytes at least.
                self.tags += count.min(size / 4);
            }
            if kind & 0x80 != 0 || self.is_too_much() {
                break;
            }
            self.source.seek(SeekFrom::Start(next))?;
        }
        Ok(())
    }

    /// The comments of an Ogg file: they are in its first packets, which are put together here.
    fn ogg(&mut self) -> io::Result<()> {
        self.source.rewind()?;
        let mut packets = Vec::new();
        for _ in 0..HEADS {
            let Ok(head) = self.bytes::<27>() else { break };
            if !head.starts_with(b"OggS") || packets.len() as u64 >= HEAD_BYTES {
                break;
            }
            let mut lengths = vec![0; usize::from(head[26])];
            self.source.read_exact(&mut lengths)?;
            let size: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
            self.source.by_ref().take(size).read_to_end(&mut packets)?;
        }
        for marker in [&b"\x03vorbis"[..], b"OpusTags", b"\x81theora", b"Speex   "] {
            let Some(at) = packets.windows(marker.len()).position(|window| window == marker) else {
                continue;
            };
            let number = |at: usize| {
                let bytes = packets.get(at..at.checked_add(4)?)?;
                Some(u32::from_le_bytes(bytes.try_into().ok()?))
            };
            let Some(vendor) = number(at + marker.len()) else { continue };
            let count =
                usize::try_from(vendor).ok().and_then(|vendor| number(at + marker.len() + 4 + vendor));
            // Who hides the count behind a name of a megabyte has something to hide.
            self.tags += count.map_or(u64::MAX / 2, u64::from);
        }
        Ok(())
    }

    /// The tags of a Matroska file that stand before its media, or where its seek head says.
    fn matroska(&mut self) -> io::Result<()> {
        let size = self.element_size()?.unwrap_or(0);
        self.source.seek_relative(i64::try_from(size).unwrap_or(i64::MAX))?;
        if self.element_name()? != SEGMENT {
            return Ok(());
        }
        self.element_size()?;
        let segment = self.source.stream_position()?;
        let mut elsewhere = Vec::new();
        for _ in 0..HEADS {
            let name = self.element_name()?;
            let Some(size) = self.element_size()? else { break };
            let next = self.source.stream_position()?.saturating_add(size);
            match name {
                CLUSTER => break,
                TAGS => self.simple_tags(size)?,
                SEEK_HEAD => {
                    let mut head = Vec::new();
                    self.source.by_ref().take(size.min(HEAD_BYTES)).read_to_end(&mut head)?;
                    elsewhere.extend(positions(&head).map(|position| segment.saturating_add(position)));
                }
                _ => {}
            }
            elsewhere.retain(|position| *position >= next);
            elsewhere.truncate(HEADS);
            self.source.seek(SeekFrom::Start(next))?;
            if self.is_too_much() {
                return Ok(());
            }
        }
        for position in elsewhere.into_iter().take(HEADS) {
            self.source.seek(SeekFrom::Start(position))?;
            if self.element_name()? == TAGS {
                let size = self.element_size()?.unwrap_or(TAG_BYTES);
                self.simple_tags(size)?;
            }
            if self.is_too_much() {
                break;
            }
        }
        Ok(())
    }

    fn simple_tags(&mut self, size: u64) -> io::Result<()> {
        let mut last = 0;
        for byte in self.source.by_ref().take(size.min(TAG_BYTES)).bytes() {
            let byte = byte?;
            if [last, byte] == SIMPLE_TAG {
                self.tags += 1;
                if self.tags > self.most {
                    break;
                }
            }
            last = byte;
        }
        Ok(())
    }

    /// A name of one to four bytes, with its length bit.
    fn element_name(&mut self) -> io::Result<u64> {
        let [first] = self.bytes()?;
        let more = first.leading_zeros().min(3);
        (0..more).try_fold(u64::from(first), |name, _| Ok(name << 8 | u64::from(self.bytes::<1>()?[0])))
    }

    /// A size of one to eight bytes; `None` if it is not known.
    fn element_size(&mut self) -> io::Result<Option<u64>> {
        let [first] = self.bytes()?;
        let more = first.leading_zeros().min(7);
        let mask = 0x7F_u8 >> more;
        let size = (0..more).try_fold(u64::from(first & mask), |size, _| {
            io::Result::Ok(size << 8 | u64::from(self.bytes::<1>()?[0]))
        })?;
        let unknown = (1_u64 << (7 * (more + 1))) - 1;
        Ok((size != unknown).then_some(size))
    }
}

/// Where tags are, from the beginning of the segment, by a seek head.
fn positions(head: &[u8]) -> impl Iterator<Item = u64> {
    head.windows(SEEK_TO_TAGS.len() + 2).enumerate().filter_map(|(at, window)| {
        let [.., name, length] = window else { return None };
        if !window.starts_with(&SEEK_TO_TAGS) || *name != 0xAC || length & 0x80 == 0 {
            return None;
        }
        let from = at + window.len();
        let bytes = head.get(from..from + usize::from(length & 0x0F).min(8))?;
        Some(bytes.iter().fold(0, |position, byte| position << 8 | u64::from(*byte)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(bytes: &[u8], most: u32) -> bool {
        let limits = InputLimits { max_tags: most, ..InputLimits::default() };
        check(io::Cursor::new(bytes), &limits).is_err()
    }

    /// An element of Matroska with a size of four bytes.
    fn element(name: &[u8], content: &[u8]) -> Vec<u8> {
        let size = (u32::try_from(content.len()).expect("small") | 0x1000_0000).to_be_bytes();
        [name, &size, content].concat()
    }

    fn flac(comments: u32) -> Vec<u8> {
        let comment = [&4_u32.to_le_bytes()[..], b"a=bc"].concat().repeat(comments as usize);
        let block = [&3_u32.to_le_bytes()[..], b"abc", &comments.to_le_bytes(), &comment].concat();
        let size = u32::try_from(block.len()).expect("small").to_be_bytes();
        [&b"fLaC\0\0\0\x01x\x84"[..], &size[1..], &block].concat()
    }

    #[test]
    fn tags_are_counted() {
        let head = element(&EBML, b"doc");
        let tag = element(&SIMPLE_TAG, b"title");
        let tags = element(&[0x12, 0x54, 0xC3, 0x67], &tag.repeat(10));
        let cluster = element(&[0x1F, 0x43, 0xB6, 0x75], &SIMPLE_TAG.repeat(50));
        let segment = |content: &[Vec<u8>]| {
            [head.clone(), element(&[0x18, 0x53, 0x80, 0x67], &content.concat())].concat()
        };
        let before = segment(&[tags.clone(), cluster.clone()]);
        // A seek head of 26 bytes says where the tags behind the media are.
        let position = u8::try_from(20 + cluster.len()).expect("small");
        let seek = [&SEEK_TO_TAGS[..7], &[0x53, 0xAC, 0x81, position]].concat();
        let seek_head =
            element(&[0x11, 0x4D, 0x9B, 0x74], &[&[0x4D, 0xBB, 0x80 | 9][..], &seek].concat()[2..]);
        assert_eq!(seek_head.len(), 20);
        let behind = segment(&[seek_head, cluster, tags]);
        let frame = |version: u8| match version {
            2 => b"TT2\0\0\x02ab".to_vec(),
            _ => b"TIT2\0\0\0\x02\0\0ab".to_vec(),
        };
        let id3 = |version: u8| {
            let frames = frame(version).repeat(10);
            let size = u8::try_from(frames.len()).expect("small");
            [&[b'I', b'D', b'3', version, 0, 0, 0, 0, size >> 7, size & 0x7F][..], &frames, &flac(0)].concat()
        };
        let comments = [&b"OpusTags"[..], &3_u32.to_le_bytes(), b"abc", &10_u32.to_le_bytes()].concat();
        let page =
            [&b"OggS"[..], &[0; 22], &[1, u8::try_from(comments.len()).expect("small")], &comments].concat();
        for (what, file) in [
            ("Matroska", before),
            ("Matroska, behind the media", behind),
            ("FLAC", flac(10)),
            ("ID3 2.2", id3(2)),
            ("ID3 2.3", id3(3)),
            ("ID3 2.4", id3(4)),
            ("Ogg", page),
        ] {
            assert!(is_refused(&file, 9), "{what}");
            assert!(!is_refused(&file, 10), "{what}");
            for cut in 0..file.len() {
                is_refused(&file[..cut], 9);
            }
        }
    }
}
