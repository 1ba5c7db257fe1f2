//! The end of an FLV file that a recording goes on behind.
//!
//! In: a file, read from its end, however long it is. Out: where its last whole tag ends, and which time comes next. Nothing is
//! changed. A crash leaves half a tag at most, and that alone is passed over; anything else that is not understood is an error,
//! because it may be valuable data.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of the file header, with the size of no tag that follows it.
const FILE_HEADER: u64 = 13;
/// Bytes before and behind the body of a tag.
const TAG_HEADER: u64 = 11;
const TRAILER: u64 = 4;
/// The longest tag, with its header and trailer.
const LONGEST: u64 = (1 << 24) - 1 + TAG_HEADER + TRAILER;
/// Tags in a row before a place that make it the end of one: payload does not look like that.
const ENOUGH: usize = 4;
/// Tags at the end that are looked at for the latest time: the tracks are a little apart.
const LATEST_OF: usize = 64;
/// The step from one picture or frame of sound to the next, in milliseconds, where it cannot be seen; the longest believed.
const STEP: i64 = 20;
const LONGEST_STEP: i64 = 1000;
/// Bytes at the beginning in which the metadata is looked for.
const METADATA_IN: u64 = 64 << 10;

/// Where a recording goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appended {
    /// Where the last whole tag ends; what is behind it is half a tag.
    pub(super) end: u64,
    /// The time of the first new tag, in milliseconds.
    pub(super) next_ms: i64,
    /// Where the duration and the size stand in the metadata, if they do.
    pub(super) duration_at: Option<u64>,
    pub(super) size_at: Option<u64>,
}

/// A tag of the file.
#[derive(Debug, Clone, Copy)]
struct Tag {
    /// Where it begins.
    at: u64,
    kind: u8,
    time_ms: i64,
}

/// Looks at a file that is not empty; `None` if there is nothing in it but a part of a file header.
///
/// # Errors
///
/// `InvalidData` for what is not FLV, or does not end like it.
pub(super) fn look(file: &File) -> io::Result<Option<Appended>> {
    let refused = |reason: &str| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let length = file.metadata()?.len();
    let mut header = [0; FILE_HEADER as usize];
    let known = usize::try_from(length.min(FILE_HEADER)).unwrap_or(header.len());
    let header = &mut header[..known];
    file.read_exact_at(header, 0)?;
    if !is_file_header(header) {
        return refused("is not an FLV file, nothing can be appended");
    }
    if length < FILE_HEADER {
        return Ok(None);
    }
    let Some(end) = end_of_last(file, length)? else {
        return refused("does not end like an FLV file, nothing can be appended");
    };
    let (duration_at, size_at) = metadata(file, end)?;
    Ok(Some(Appended { end, next_ms: next_time(file, end)?, duration_at, size_at }))
}

/// Whether these bytes are the header of a file, or the beginning of one.
fn is_file_header(bytes: &[u8]) -> bool {
    let expected = [b'F', b'L', b'V', 1, 0, 0, 0, 0, 9, 0, 0, 0, 0];
    // Whatever tracks the flags announce.
    bytes.iter().zip(expected).enumerate().all(|(at, (&byte, expected))| at == 4 || byte == expected)
}

/// Where the last whole tag ends.
fn end_of_last(file: &File, length: u64) -> io::Result<Option<u64>> {
    if is_end(file, length)? {
        return Ok(Some(length));
    }
    // Half a tag is shorter than the longest one; the end of the tag before it is looked for from behind.
    let from = length.saturating_sub(LONGEST).max(FILE_HEADER);
    let mut tail = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut tail, from)?;
    for at in (0..tail.len()).rev() {
        let rest = tail.get(at..).unwrap_or_default();
        if is_half(rest) && is_end(file, from + at as u64)? {
            return Ok(Some(from + at as u64));
        }
    }
    Ok(None)
}

/// Whether these bytes, up to the end of the file, are the beginning of a tag.
fn is_half(bytes: &[u8]) -> bool {
    let is_kind = bytes.first().is_some_and(|kind| matches!(kind, 8 | 9 | 18));
    let Some(header) = bytes.first_chunk::<11>() else { return is_kind };
    let size = u64::from(u32::from_be_bytes([0, header[1], header[2], header[3]]));
    is_kind && header[8..] == [0; 3] && (bytes.len() as u64) < TAG_HEADER + size + TRAILER
}

/// Whether tags end at `end`: several in a row, or all there are.
fn is_end(file: &File, end: u64) -> io::Result<bool> {
    let mut at = end;
    for _ in 0..ENOUGH {
        if at == FILE_HEADER {
            return Ok(true);
        }
        match before(file, at)? {
            Some(tag) => at = tag.at,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// The tag that ends at `end`, as its trailer and its header both say.
fn before(file: &File, end: u64) -> io::Result<Option<Tag>> {
    let mut trailer = [0; TRAILER as usize];
    let Some(at) = end.checked_sub(TRAILER).filter(|at| *at >= FILE_HEADER + TAG_HEADER) else {
        return Ok(None);
    };
    file.read_exact_at(&mut trailer, at)?;
    let size = u64::from(u32::from_be_bytes(trailer));
    let Some(begin) = at.checked_sub(size).filter(|begin| size >= TAG_HEADER && *begin >= FILE_HEADER) else {
        return Ok(None);
    };
    let mut header = [0; TAG_HEADER as usize];
    file.read_exact_at(&mut header, begin)?;
    let [kind, size2, size1, size0, time2, time1, time0, time3, stream @ ..] = header;
    let body = u64::from(u32::from_be_bytes([0, size2, size1, size0]));
    let is_tag = matches!(kind, 8 | 9 | 18) && body + TAG_HEADER == size && stream == [0; 3];
    let time_ms = i64::from(u32::from_be_bytes([time3, time2, time1, time0]));
    Ok(is_tag.then_some(Tag { at: begin, kind, time_ms }))
}

/// The time that follows those of the last tags.
fn next_time(file: &File, end: u64) -> io::Result<i64> {
    let mut at = end;
    let mut tags = Vec::new();
    while at > FILE_HEADER && tags.len() < LATEST_OF {
        let Some(tag) = before(file, at)? else { break };
        at = tag.at;
        tags.push(tag);
    }
    let media = || tags.iter().filter(|tag| tag.kind != 18);
    let Some(latest) = media().max_by_key(|tag| tag.time_ms) else { return Ok(0) };
    let own = media().filter(|tag| tag.kind == latest.kind && tag.time_ms < latest.time_ms);
    let step = own.map(|tag| latest.time_ms - tag.time_ms).min().unwrap_or(STEP);
    Ok(latest.time_ms + step.clamp(1, LONGEST_STEP))
}

/// Where the numbers of the metadata stand that are only known at the end.
fn metadata(file: &File, end: u64) -> io::Result<(Option<u64>, Option<u64>)> {
    let mut bytes = vec![0; usize::try_from(end.min(METADATA_IN) - FILE_HEADER).unwrap_or(0)];
    file.read_exact_at(&mut bytes, FILE_HEADER)?;
    let Some(header) = bytes.first_chunk::<11>().filter(|header| header[0] == 18) else {
        return Ok((None, None));
    };
    let size = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
    let tag = bytes.get(..size + TAG_HEADER as usize).unwrap_or(&bytes);
    let number = |name: &[u8]| {
        // The name with its length, the mark of a number, the number.
        let named: Vec<_> = [0, name.len() as u8].iter().chain(name).chain(&[0]).copied().collect();
        let at = tag.windows(named.len()).position(|bytes| bytes == named)? + named.len();
        (at + 8 <= tag.len()).then_some(FILE_HEADER + at as u64)
    };
    Ok((number(b"duration"), number(b"filesize")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::script::Metadata;
    use flowcast_rtmp::flv::tag::{Tag, TagKind};
    use flowcast_rtmp::flv::writer::FlvWriter;
    use flowcast_rtmp::time::MediaTime;

    use super::*;

    /// A file of ten pictures, 40 ms apart, and where each tag ends.
    fn bytes() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = FlvWriter::header(true, true).to_vec();
        let mut ends = Vec::new();
        let metadata = Metadata { duration_s: Some(0.0), filesize: Some(0.0), ..Metadata::default() };
        let tags = (0..10).map(|n| {
            let body = Bytes::from(vec![0x27; 100 + n as usize]);
            Tag::from_wire(TagKind::Video, MediaTime::from_millis(n * 40), body)
        });
        for tag in std::iter::once(metadata.to_tag(MediaTime::ZERO)).chain(tags) {
            FlvWriter::write_tag(&tag, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn look_at(bytes: &[u8]) -> io::Result<Option<Appended>> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        look(&file)
    }

    #[test]
    fn wherever_a_file_was_cut_its_last_whole_tag_is_found() {
        let (bytes, ends) = bytes();
        for length in FILE_HEADER as usize..=bytes.len() {
            let found = look_at(&bytes[..length]).unwrap().unwrap();
            let whole = ends.iter().filter(|end| **end <= length).count();
            let end = ends[..whole].last().copied().unwrap_or(FILE_HEADER as usize);
            assert_eq!(found.end, end as u64, "{length} bytes");
            let next = [0, 0, 20].get(whole).copied().unwrap_or((whole as i64 - 1) * 40);
            assert_eq!(found.next_ms, next, "{length} bytes");
        }
        let found = look_at(&bytes).unwrap().unwrap();
        for at in [found.duration_at.unwrap(), found.size_at.unwrap()] {
            assert_eq!(bytes[at as usize - 1..][..9], [0; 9]);
        }
        for length in 1..FILE_HEADER as usize {
            assert_eq!(look_at(&bytes[..length]).unwrap(), None, "{length} bytes of a file header");
        }
    }

    #[test]
    fn what_is_more_than_half_a_tag_is_not_thrown_away() {
        let (flv, _) = bytes();
        let behind = |more: &[u8]| [&flv[..], more].concat();
        let damaged = {
            let mut bytes = flv.clone();
            bytes[flv.len() - 2] ^= 1;
            bytes
        };
        for (what, bytes) in [
            ("another format", b"\0\0\0\x20ftypisom".repeat(10)),
            ("text", b"F".to_vec().repeat(20)),
            ("zeros behind it", behind(&[0; 4096])),
            ("text behind it", behind(b"a note")),
            ("a damaged end", damaged),
        ] {
            let error = look_at(&bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
        }
    }

    #[test]
    fn the_latest_of_both_tracks_counts() {
        let mut bytes = FlvWriter::header(true, true).to_vec();
        for (kind, ms) in
            [(TagKind::Audio, 100), (TagKind::Video, 80), (TagKind::Audio, 123), (TagKind::Video, 120)]
        {
            let tag = Tag::from_wire(kind, MediaTime::from_millis(ms), Bytes::from_static(&[0xAF, 1, 2]));
            FlvWriter::write_tag(&tag, &mut bytes).unwrap();
        }
        assert_eq!(look_at(&bytes).unwrap().unwrap().next_ms, 146);
    }
}
