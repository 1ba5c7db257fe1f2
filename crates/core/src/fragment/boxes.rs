//! What a fragment is, by its first boxes (ISO/IEC 14496-12, section 4.2).
//!
//! In: the beginning of what was pushed. Out: whether it is a file of its own, an init segment, or segments that need one. On the thread
//! that pushes.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

/// Boxes looked at before it is taken for a file of its own.
const MOST_BOXES: usize = 64;
/// An init segment is at most this large; of an index of a segment that is larger, nothing is looked at.
pub(super) const MOST_INIT: u64 = 1 << 20;
const MOST_INDEX: u64 = 1 << 20;

/// Boxes that files and segments begin with.
const FIRST: [&[u8; 4]; 13] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"emsg", b"prft",
    b"pdin", b"uuid",
];

/// What a fragment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// A file of its own. If it is a fragmented one, with its init segment, for those that follow, and what is in its first `moof`.
    File(Option<(Bytes, Bytes)>),
    /// An init segment alone.
    Init(Bytes),
    /// Segments without one, and what is in the first `moof`.
    Segments(Bytes),
    /// None of these, and why.
    Nothing(&'static str),
}

/// One box.
struct Header {
    kind: [u8; 4],
    /// All of its bytes; `None` for one that goes on to the end.
    size: Option<u64>,
    /// Those of its header.
    head: u64,
}

/// Looks at the first boxes of `input`, which is `size` bytes long; leaves it anywhere.
pub(super) fn look(input: &mut (impl Read + Seek), size: u64) -> io::Result<Look> {
    if size == 0 {
        return Ok(Look::Nothing("it is empty"));
    }
    let (mut at, mut moov) = (0u64, None);
    for number in 0..MOST_BOXES {
        if at >= size {
            break;
        }
        let header = header(input, at, size)?;
        if number == 0 && !header.as_ref().is_some_and(|header| FIRST.contains(&&header.kind)) {
            // Other formats are libav's to recognise.
            return Ok(Look::File(None));
        }
        let Some(header) = header else { return Ok(Look::Nothing("its boxes are damaged")) };
        let end = header.size.map_or(size, |length| at.saturating_add(length));
        match &header.kind {
            b"moov" => {
                if end > size {
                    return Ok(Look::Nothing("its movie box is cut off"));
                }
                moov = Some((at + header.head, end));
            }
            b"moof" => {
                if moov.is_some() && at > MOST_INIT {
                    return Ok(Look::Nothing("its init segment is larger than 1 MiB"));
                }
                let (from, to) = (at + header.head, end.min(size));
                let is_small = from < to && to - from <= MOST_INDEX;
                let index = if is_small { read(input, from, to)? } else { Bytes::new() };
                return Ok(match moov {
                    Some(_) => Look::File(Some((read(input, 0, at)?, index))),
                    None => Look::Segments(index),
                });
            }
            // The media comes before the index, or the index was before it.
            b"mdat" => return Ok(Look::File(None)),
            _ => {}
        }
        at = end;
    }
    if at < size {
        return Ok(Look::Nothing("no media is among its first 64 boxes"));
    }
    let Some((from, to)) = moov else { return Ok(Look::Nothing("it has no media")) };
    if !has_mvex(input, from, to)? {
        return Ok(Look::Nothing("it has an index and no media"));
    }
    if at > MOST_INIT {
        return Ok(Look::Nothing("its init segment is larger than 1 MiB"));
    }
    Ok(Look::Init(read(input, 0, size)?))
}

/// The header of the box at `at`; `None` if there can be none.
fn header(input: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; 16];
    let length = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
    input.seek(SeekFrom::Start(at))?;
    let Some(start) = bytes.get_mut(..length) else { return Ok(None) };
    input.read_exact(start)?;
    let (Some(short), Some(kind), Some(long)) = (
        bytes.first_chunk::<4>(),
        bytes.get(4..8).and_then(<[u8]>::first_chunk::<4>),
        bytes.last_chunk::<8>(),
    ) else {
        return Ok(None);
    };
    if length < 8 || !kind.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ' || *byte == 0xa9) {
        return Ok(None);
    }
    let (size, head) = match u32::from_be_bytes(*short) {
        0 => (None, 8),
        1 if length == 16 => (Some(u64::from_be_bytes(*long)), 16),
        1 => return Ok(None),
        short => (Some(u64::from(short)), 8),
    };
    Ok(size.is_none_or(|size| size >= head).then_some(Header { kind: *kind, size, head }))
}

/// Whether the children of a movie box, between `at` and `to`, say that it is fragmented.
fn has_mvex(input: &mut (impl Read + Seek), mut at: u64, to: u64) -> io::Result<bool> {
    for _ in 0..MOST_BOXES {
        if at >= to {
            break;
        }
        let Some(header) = header(input, at, to)? else { break };
        if header.kind == *b"mvex" {
            return Ok(true);
        }
        let Some(size) = header.size else { break };
        at = at.saturating_add(size);
    }
    Ok(false)
}

fn read(input: &mut (impl Read + Seek), from: u64, to: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
    input.seek(SeekFrom::Start(from))?;
    input.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

/// A box of this type with this in it.
#[cfg(test)]
pub(super) fn made(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(8 + body.len()).expect("it is small").to_be_bytes().to_vec();
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::made as of;
    use super::*;

    fn looked(bytes: &[u8]) -> Look {
        look(&mut Cursor::new(bytes), bytes.len() as u64).expect("memory can be read")
    }

    #[test]
    fn what_a_fragment_is_shows_in_its_first_boxes() {
        let ftyp = of(b"ftyp", b"isom\0\0\0\0");
        let plain = of(b"moov", &of(b"mvhd", &[0; 100]));
        let mvex = of(b"moov", &[of(b"mvhd", &[0; 100]), of(b"mvex", &[])].concat());
        let (mdat, moof, styp) = (of(b"mdat", &[1; 50]), of(b"moof", &[0; 30]), of(b"styp", b"msdh"));
        let init = [ftyp.clone(), mvex.clone()].concat();
        assert_eq!(looked(&[&ftyp[..], &plain, &mdat].concat()), Look::File(None));
        assert_eq!(looked(&[&ftyp[..], &mdat, &plain].concat()), Look::File(None));
        assert_eq!(looked(&init), Look::Init(init.clone().into()));
        let whole = [&init[..], &moof, &mdat].concat();
        let index = Bytes::from_static(&[0; 30]);
        assert_eq!(looked(&whole), Look::File(Some((init.clone().into(), index.clone()))));
        assert_eq!(looked(&[&styp[..], &moof, &mdat].concat()), Look::Segments(index.clone()));
        assert_eq!(looked(&[&moof[..], &mdat].concat()), Look::Segments(index.clone()));
        let described = [&of(b"sidx", &[0; 24])[..], &moof, &mdat].concat();
        assert_eq!(looked(&described), Look::Segments(index));
        // MPEG-TS, FLV and what else libav may know.
        assert_eq!(looked(&[0x47; 188]), Look::File(None));
        assert_eq!(looked(b"FLV\x01\x05\0\0\0\x09"), Look::File(None));
        for nothing in
            [&b""[..], &ftyp, &[&ftyp[..], &plain].concat(), &mvex[..60], &[&ftyp[..], b"ab"].concat()]
        {
            assert!(matches!(looked(nothing), Look::Nothing(_)), "{nothing:?}");
        }
    }

    /// Zeros that are only counted.
    struct Sparse {
        head: Vec<u8>,
        at: u64,
        most: u64,
    }

    impl Read for Sparse {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(buffer.len() as u64 <= self.most, "{} bytes at once", buffer.len());
            for (index, byte) in buffer.iter_mut().enumerate() {
                *byte = self.head.get(self.at as usize + index).copied().unwrap_or(0);
            }
            self.at += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let SeekFrom::Start(at) = to else { return Err(io::ErrorKind::InvalidInput.into()) };
            self.at = at;
            Ok(at)
        }
    }

    #[test]
    fn more_boxes_than_are_looked_at_are_no_init_segment() {
        let init = [of(b"ftyp", b"isom\0\0\0\0"), of(b"moov", &of(b"mvex", &[]))].concat();
        let many = of(b"free", &[0; 16]).repeat(70);
        let media = [of(b"moof", &[0; 30]), of(b"mdat", &[1; 50])].concat();
        let whole = [&init[..], &many, &media].concat();
        assert!(matches!(looked(&whole), Look::Nothing(_)), "its media would be lost");
        assert!(matches!(looked(&[&many[..], &media].concat()), Look::Nothing(_)));
        // All of it would be read into memory.
        let mut sparse = Sparse { head: whole, at: 0, most: MOST_INIT };
        let look = look(&mut sparse, 100 << 30).expect("it can be read");
        assert!(matches!(look, Look::Nothing(_)), "{look:?}");
    }

    #[test]
    fn nothing_that_is_cut_off_or_garbled_is_a_fault_of_the_look() {
        let whole = [of(b"ftyp", b"isom"), of(b"moov", &of(b"mvex", &[])), of(b"moof", &[0; 9])].concat();
        for length in 0..whole.len() {
            let _ = looked(&whole[..length]);
            for byte in [0, 1, 7, 0x20, 0x80, 0xff] {
                let mut garbled = whole.clone();
                garbled[length] = byte;
                let _ = looked(&garbled);
            }
        }
    }
}
