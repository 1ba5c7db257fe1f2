//! What an MP4's boxes say that libav does not hand on: edit lists, encryption, and a box that goes beyond the end of the file.
//! Reads the headers of boxes and little else, whatever the size of the file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Boxes looked at in one file, and how deep they lie in each other, at most.
const MOST_BOXES: u32 = 100_000;
const DEPTH: u32 = 8;
/// Bytes of an edit list or a sample description that are looked at, at most.
const CONTENT: u64 = 64 << 10;
/// Bytes of a sample entry before its first box: video, and audio (ISO/IEC 14496-12, 8.5.2 and 12).
const VIDEO_ENTRY: usize = 86;
const AUDIO_ENTRY: usize = 36;

/// What the boxes say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Boxes {
    /// Parts each track is put together from by its edit list, in the order of the tracks.
    pub(super) edits: Vec<u32>,
    /// A track's samples are encrypted.
    pub(super) encrypted: bool,
    /// A box of this type and size ends this many bytes after the end of the file.
    pub(super) beyond_end: Option<(String, u64)>,
}

/// Looks at an MP4 or MOV file.
pub(super) fn read(file: &mut File) -> io::Result<Boxes> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut walk = Walk { file, boxes: Boxes::default(), left: MOST_BOXES };
    walk.children(0, end, 0)?;
    Ok(walk.boxes)
}

struct Walk<'a> {
    file: &'a mut File,
    boxes: Boxes,
    left: u32,
}

impl Walk<'_> {
    /// Looks at the boxes from `at` to `end`.
    fn children(&mut self, mut at: u64, end: u64, depth: u32) -> io::Result<()> {
        while at.saturating_add(8) <= end && self.left > 0 {
            self.left -= 1;
            self.file.seek(SeekFrom::Start(at))?;
            let mut header = [0; 16];
            self.file.read_exact(&mut header[..8])?;
            let [a, b, c, d, kind @ ..] = header.first_chunk::<8>().copied().unwrap_or_default();
            let (mut size, mut content) = (u64::from(u32::from_be_bytes([a, b, c, d])), at + 8);
            if size == 1 {
                if self.file.read_exact(&mut header[8..]).is_err() {
                    return Ok(());
                }
                size = u64::from_be_bytes(header.last_chunk::<8>().copied().unwrap_or_default());
                content += 8;
            } else if size == 0 {
                size = end - at;
            }
            // A size that cannot be: what follows is no box.
            let Some(next) = at.checked_add(size).filter(|next| *next >= content) else { return Ok(()) };
            if next > end && depth == 0 && kind.iter().all(|byte| (0x20..0x7F).contains(byte)) {
                self.boxes.beyond_end = Some((String::from_utf8_lossy(&kind).into_owned(), next - end));
            }
            self.look(kind, content, next.min(end), depth)?;
            at = next;
        }
        Ok(())
    }

    fn look(&mut self, kind: [u8; 4], content: u64, end: u64, depth: u32) -> io::Result<()> {
        match &kind {
            _ if depth >= DEPTH => {}
            b"trak" => {
                self.boxes.edits.push(1);
                self.children(content, end, depth + 1)?;
            }
            b"moov" | b"mdia" | b"minf" | b"stbl" | b"edts" => self.children(content, end, depth + 1)?,
            b"elst" => {
                let list = self.content(content, end)?;
                if let Some(edits) = self.boxes.edits.last_mut() {
                    *edits = parts(&list);
                }
            }
            b"stsd" => {
                let entries = self.content(content, end)?;
                self.boxes.encrypted |= is_encrypted(entries.get(8..).unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    fn content(&mut self, from: u64, end: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        self.file.take(end.saturating_sub(from).min(CONTENT)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Parts of a track: entries of an edit list that show something. An entry of another speed counts twice: it changes the
/// track even if it is the only one.
fn parts(list: &[u8]) -> u32 {
    let [version, _, _, _, a, b, c, d, entries @ ..] = list else { return 1 };
    let count = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
    let size = if *version == 1 { 20 } else { 12 };
    let mut parts = 0;
    for entry in entries.chunks_exact(size).take(count) {
        let half = size.saturating_sub(4) / 2;
        let time = entry.get(half..2 * half).unwrap_or_default();
        let empty = time.iter().all(|byte| *byte == 0xFF);
        let rate = entry.get(2 * half..).unwrap_or_default();
        parts += if empty {
            0
        } else if rate == [0, 1, 0, 0] {
            1
        } else {
            2
        };
    }
    parts.max(1)
}

/// Whether a sample entry is that of an encrypted track, or holds the box that says how it is protected.
fn is_encrypted(mut entries: &[u8]) -> bool {
    while let [a, b, c, d, kind @ ..] = entries {
        let size = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        let Some(entry) = entries.get(..size).filter(|_| size >= 8) else { return false };
        let protected = |header: usize| {
            entry.get(header..).is_some_and(|rest| rest.windows(4).any(|window| window == b"sinf"))
        };
        match kind.first_chunk::<4>() {
            Some(b"encv" | b"enca" | b"drmi" | b"drms") => return true,
            Some(b"avc1" | b"hvc1" | b"hev1") if protected(VIDEO_ENTRY) => return true,
            Some(b"mp4a") if protected(AUDIO_ENTRY) => return true,
            _ => {}
        }
        entries = entries.get(size..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        [&size, kind.as_slice(), content].concat()
    }

    fn read_bytes(bytes: &[u8]) -> Boxes {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(&mut file).unwrap()
    }

    fn track(list: &[u8], entry: &[u8; 4]) -> Vec<u8> {
        let stsd = boxed(b"stsd", &[&[0; 8], boxed(entry, &[0; 90]).as_slice()].concat());
        let media = boxed(b"mdia", &boxed(b"minf", &boxed(b"stbl", &stsd)));
        boxed(b"trak", &[boxed(b"edts", &boxed(b"elst", list)), media].concat())
    }

    const PLAIN: [u8; 12] = [0, 0, 4, 0, 0, 0, 4, 0, 0, 1, 0, 0];
    const EMPTY: [u8; 12] = [0, 0, 4, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 0, 0];

    #[test]
    fn edit_lists_and_encryption() {
        let list = |entries: &[[u8; 12]]| {
            [&[0, 0, 0, 0, 0, 0, 0, entries.len() as u8], entries.as_flattened()].concat()
        };
        let mut twice = PLAIN;
        twice[9] = 2;
        let tracks = [
            track(&list(&[EMPTY, PLAIN]), b"avc1"),
            track(&list(&[PLAIN, EMPTY, PLAIN]), b"mp4a"),
            track(&list(&[twice]), b"mp4a"),
        ];
        let boxes = read_bytes(&boxed(b"moov", &tracks.concat()));
        assert_eq!(boxes, Boxes { edits: vec![1, 2, 2], ..Boxes::default() });
        assert!(read_bytes(&boxed(b"moov", &track(&list(&[PLAIN]), b"encv"))).encrypted);
    }

    #[test]
    fn a_file_that_was_cut_off() {
        let whole = [boxed(b"ftyp", &[0; 8]), boxed(b"mdat", &[0; 100])].concat();
        assert_eq!(read_bytes(&whole).beyond_end, None);
        assert_eq!(read_bytes(&whole[..whole.len() - 30]).beyond_end, Some(("mdat".to_owned(), 30)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = read_bytes(&bytes);
            let _ = read_bytes(&boxed(b"moov", &bytes));
            let _ = (parts(&bytes), is_encrypted(&bytes));
        }
    }
}
