//! How many samples an MP4's tables announce, counted before libav makes an index of them: a table of a few bytes may announce
//! any number.
//!
//! In: the file. Out: the limit, if it is exceeded. Reads the headers of boxes and little else; on the thread that opens.

use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::limits::{Exceeded, InputLimits};

/// Bytes read at once: the headers of a usual track.
const BUFFER: usize = 8 << 10;
/// How deep boxes lie in each other, at most.
const DEPTH: u32 = 6;
/// Boxes of a file, at most; one in fragments has some for each, and may have a fragment for each sample.
const BOXES: u32 = 1 << 20;
const FRAGMENT_BOXES: u32 = 1 << 24;
/// Runs of chunks of a track that are kept: one whose chunks are as large as those before is part of the run before.
const RUNS: usize = 1 << 20;
/// Boxes in the top level of an MP4 or MOV file.
const FIRST: [&[u8; 4]; 8] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"];
/// Samples of uncompressed sound that libav puts into one entry.
const SAMPLES_PER_ENTRY: u32 = 1024;

/// Whether a file begins like an MP4 or MOV.
pub(crate) fn is_mp4(start: &[u8]) -> bool {
    start.get(4..8).is_some_and(|kind| FIRST.iter().any(|first| first.as_slice() == kind))
}

/// Counts what the tables announce. A file that cannot be read here, or not in time, is left to libav.
pub(crate) fn check(source: impl Read + Seek, limits: &InputLimits) -> Result<(), Exceeded> {
    count(source, limits, false)
}

/// The same of one fragment by itself.
pub(crate) fn check_fragment(source: impl Read + Seek, limits: &InputLimits) -> Result<(), Exceeded> {
    count(source, limits, true)
}

fn count(source: impl Read + Seek, limits: &InputLimits, fragmented: bool) -> Result<(), Exceeded> {
    let mut walk = Walk {
        source: BufReader::with_capacity(BUFFER, source),
        limits: *limits,
        at: 0,
        samples: 0,
        boxes: 0,
        tracks: 0,
        tags: 0,
        fragmented,
        movie_scale: 0,
        track: Track::default(),
    };
    let Ok(end) = walk.source.seek(SeekFrom::End(0)) else { return Ok(()) };
    if walk.source.rewind().is_err() {
        return Ok(());
    }
    match walk.children(0, end, 0) {
        Err(Stop::Exceeded(exceeded)) => Err(exceeded),
        Err(Stop::Unreadable) | Ok(()) => Ok(()),
    }
}

/// Why the walk ended early.
enum Stop {
    Unreadable,
    Exceeded(Exceeded),
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Unreadable
    }
}

/// What the tables of the track at hand say.
#[derive(Debug, Default)]
struct Track {
    scale: u64,
    /// Samples, and the bytes of each if all have the same size.
    samples: u64,
    same_size: bool,
    chunks: u64,
    /// First chunk and entries for a chunk, of each run of chunks.
    runs: Vec<(u32, u32)>,
    /// The first chunk in the last line of the table.
    last_chunk: u32,
    /// Samples and ticks by the table of times.
    timed: (u128, u128),
    /// Ticks of the movie that the edit list shows.
    edited: u128,
}

impl Track {
    /// Adds a line of the table of chunks; `false` if there are too many runs.
    fn add_run(&mut self, first: u32, samples: u32) -> bool {
        let each = samples.div_ceil(SAMPLES_PER_ENTRY).max(1);
        let goes_on = self.runs.last().is_some_and(|(_, last)| *last == each) && first >= self.last_chunk;
        if !goes_on {
            self.runs.push((first, each));
        }
        self.last_chunk = first;
        self.runs.len() <= RUNS
    }

    /// Entries that libav makes of it.
    fn entries(&self, movie_scale: u64) -> u64 {
        let mut entries = self.samples;
        if self.same_size && !self.runs.is_empty() {
            let mut in_chunks = 0_u64;
            let end = self.chunks.saturating_add(1);
            for (index, (first, each)) in self.runs.iter().enumerate() {
                let next = self.runs.get(index + 1).map_or(end, |(next, _)| u64::from(*next).min(end));
                let chunks = next.saturating_sub(u64::from(*first));
                in_chunks = in_chunks.saturating_add(chunks.saturating_mul(u64::from(*each)));
            }
            // Uncompressed sound is taken by the chunk, anything else by the sample; which it is, only libav knows.
            let uncompressed = self.timed.0 == self.timed.1;
            entries = if uncompressed { in_chunks } else { entries.max(in_chunks) };
        }
        let (samples, ticks) = self.timed;
        let scale = u128::from(movie_scale.max(1));
        let shown = (self.edited.saturating_mul(u128::from(self.scale.max(1))) / scale)
            .saturating_mul(samples)
            / ticks.max(1);
        entries.max(u64::try_from(shown).unwrap_or(u64::MAX).min(entries.saturating_mul(1 << 16)))
    }
}

struct Walk<R> {
    source: BufReader<R>,
    limits: InputLimits,
    /// Where the reader is.
    at: u64,
    samples: u64,
    boxes: u32,
    tracks: u32,
    tags: u32,
    fragmented: bool,
    movie_scale: u64,
    track: Track,
}

impl<R: Read + Seek> Walk<R> {
    /// Looks at the boxes from `at` to `end`.
    fn children(&mut self, mut at: u64, end: u64, depth: u32) -> Result<(), Stop> {
        while at.saturating_add(8) <= end {
            self.boxes = self.boxes.saturating_add(1);
            if self.boxes > if self.fragmented { FRAGMENT_BOXES } else { BOXES } {
                return Err(self.too_many_samples());
            }
            self.go(at)?;
            let (mut size, kind) = (u64::from(self.number()?), self.number()?.to_be_bytes());
            let mut content = at + 8;
            if size == 1 {
                size = u64::from(self.number()?) << 32 | u64::from(self.number()?);
                content += 8;
            } else if size == 0 {
                size = end - at;
            }
            // A size that cannot be: what follows is no box.
            let Some(next) = at.checked_add(size).filter(|next| *next >= content) else { return Ok(()) };
            if depth < DEPTH {
                self.look(kind, content, next.min(end), depth)?;
            }
            if depth == 0 && &kind == b"moov" && !self.fragmented {
                return Ok(());
            }
            at = next;
        }
        Ok(())
    }

    /// Each box in here is a tag.
    fn tags(&mut self, mut at: u64, end: u64) -> Result<(), Stop> {
        while at.saturating_add(8) <= end {
            self.tags = self.tags.saturating_add(1);
            if self.tags > self.limits.max_tags {
                return Err(Stop::Exceeded(Exceeded::new("max_tags", u64::from(self.limits.max_tags))));
            }
            self.go(at)?;
            at = at.saturating_add(u64::from(self.number()?).max(8));
        }
        Ok(())
    }

    fn look(&mut self, kind: [u8; 4], content: u64, end: u64, depth: u32) -> Result<(), Stop> {
        match &kind {
            b"trak" => {
                self.tracks = self.tracks.saturating_add(1);
                if self.tracks > self.limits.max_tracks {
                    let most = u64::from(self.limits.max_tracks);
                    return Err(Stop::Exceeded(Exceeded::new("max_tracks", most)));
                }
                self.track = Track::default();
                self.children(content, end, depth + 1)?;
                let entries = self.track.entries(self.movie_scale);
                self.add(entries)
            }
            b"moov" | b"mdia" | b"minf" | b"stbl" | b"edts" | b"traf" => {
                self.children(content, end, depth + 1)
            }
            b"udta" => {
                self.tags(content, end)?;
                self.children(content, end, depth + 1)
            }
            b"meta" => {
                self.go(content)?;
                let (_, first) = (self.number()?, self.number()?);
                // In an MP4, not in a MOV, a version comes first.
                let version = if first.to_be_bytes() == *b"hdlr" { 0 } else { 4 };
                self.children(content + version, end, depth + 1)
            }
            b"ilst" => self.tags(content, end),
            b"moof" if self.fragmented => self.children(content, end, depth + 1),
            b"mvex" => {
                self.fragmented = true;
                Ok(())
            }
            b"trun" => {
                self.number()?;
                let samples = self.number()?;
                self.add(u64::from(samples))
            }
            b"mvhd" => {
                self.movie_scale = self.time_scale()?;
                Ok(())
            }
            b"mdhd" => {
                self.track.scale = self.time_scale()?;
                Ok(())
            }
            b"stsz" | b"stz2" => {
                self.number()?;
                let size = self.number()?;
                self.track.same_size = &kind == b"stsz" && size != 0;
                self.track.samples = u64::from(self.number()?);
                Ok(())
            }
            b"stco" | b"co64" => {
                self.number()?;
                self.track.chunks = u64::from(self.number()?);
                Ok(())
            }
            b"stsc" | b"stts" | b"elst" => self.table(kind, end),
            _ => Ok(()),
        }
    }

    /// The scale in a header of a movie or of its media: behind two times of 4 bytes, or of 8 in version 1.
    fn time_scale(&mut self) -> Result<u64, Stop> {
        let long = self.number()? >> 24 == 1;
        for _ in 0..if long { 4 } else { 2 } {
            self.number()?;
        }
        Ok(u64::from(self.number()?))
    }

    fn table(&mut self, kind: [u8; 4], end: u64) -> Result<(), Stop> {
        let long = self.number()? >> 24 == 1;
        let entries = u64::from(self.number()?);
        let size = match &kind {
            b"stts" => 8,
            b"elst" if long => 20,
            _ => 12,
        };
        let entries = entries.min(end.saturating_sub(self.at) / size);
        // No table needs more than an entry for each sample.
        if entries > self.limits.max_samples {
            return Err(self.too_many_samples());
        }
        for _ in 0..entries {
            match &kind {
                b"stts" => {
                    let (count, delta) = (u128::from(self.number()?), u128::from(self.number()?));
                    self.track.timed.0 += count;
                    self.track.timed.1 += count * delta;
                }
                b"stsc" => {
                    let (first, samples) = (self.number()?, self.number()?);
                    if !self.track.add_run(first, samples) {
                        return Err(self.too_many_samples());
                    }
                    self.number()?;
                }
                _ => {
                    let high = if long { u64::from(self.number()?) } else { 0 };
                    self.track.edited += u128::from(high << 32 | u64::from(self.number()?));
                    for _ in 0..if long { 3 } else { 2 } {
                        self.number()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, samples: u64) -> Result<(), Stop> {
        self.samples = self.samples.saturating_add(samples);
        if self.samples > self.limits.max_samples {
            return Err(self.too_many_samples());
        }
        Ok(())
    }

    fn too_many_samples(&self) -> Stop {
        Stop::Exceeded(Exceeded::new("max_samples", self.limits.max_samples))
    }

    fn go(&mut self, to: u64) -> Result<(), Stop> {
        let refuse = |_| Stop::Unreadable;
        let distance = i64::try_from(to).map_err(refuse)? - i64::try_from(self.at).map_err(refuse)?;
        self.source.seek_relative(distance)?;
        self.at = to;
        Ok(())
    }

    fn number(&mut self) -> Result<u32, Stop> {
        let mut bytes = [0; 4];
        self.source.read_exact(&mut bytes)?;
        self.at += 4;
        Ok(u32::from_be_bytes(bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::cell::Cell;
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::watched::Endless;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        [&size, kind.as_slice(), content].concat()
    }

    fn numbers(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
        let content: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        boxed(kind, &content)
    }

    /// A track of this many samples of one size, all in one chunk, at 1000 ticks each, with these edits.
    fn track(samples: u32, edits: &[u32]) -> Vec<u8> {
        let table = [
            numbers(b"stts", &[0, 1, samples, 1000]),
            numbers(b"stsc", &[0, 1, 1, samples, 1]),
            numbers(b"stsz", &[0, 4, samples]),
            numbers(b"stco", &[0, 1, 0]),
        ];
        let media = [numbers(b"mdhd", &[0, 0, 0, 1000, 0]), boxed(b"minf", &boxed(b"stbl", &table.concat()))];
        let list: Vec<u32> = edits.iter().flat_map(|length| [*length, 0, 0x1_0000]).collect();
        let list = numbers(b"elst", &[&[0, edits.len() as u32], list.as_slice()].concat());
        boxed(b"trak", &[boxed(b"edts", &list), boxed(b"mdia", &media.concat())].concat())
    }

    fn limit_of(bytes: &[u8]) -> Option<&'static str> {
        check(Cursor::new(bytes), &InputLimits::default()).err().map(|exceeded| exceeded.limit)
    }

    fn movie(content: &[Vec<u8>]) -> Vec<u8> {
        let header = numbers(b"mvhd", &[0, 0, 0, 1000, 0]);
        [boxed(b"ftyp", &[0; 8]), boxed(b"moov", &[header, content.concat()].concat())].concat()
    }

    #[test]
    fn samples_are_counted_by_track() {
        // Ten hours of 60 pictures per second, and thirty tracks of sound.
        let mut tracks = vec![track(10 * 3600 * 60, &[36_000_000])];
        tracks.extend((0..30).map(|_| track(10 * 3600 * 15, &[])));
        assert_eq!(limit_of(&movie(&tracks)), None);
        assert_eq!(limit_of(&movie(&[track(60_000_000, &[])])), Some("max_samples"));
    }

    #[test]
    fn an_edit_list_shows_samples_again() {
        let parts = vec![1000; 2000];
        assert_eq!(limit_of(&movie(&[track(2000, &parts)])), None, "each sample once");
        let again = vec![2_000_000; 20_000];
        assert_eq!(limit_of(&movie(&[track(2000, &again)])), Some("max_samples"));
    }

    #[test]
    fn fragments_are_counted() {
        let run = boxed(b"moof", &boxed(b"traf", &numbers(b"trun", &[0, 4_000_000])));
        let head = movie(&[boxed(b"mvex", &[])]);
        assert_eq!(limit_of(&[head.clone(), run.repeat(4)].concat()), None);
        assert_eq!(limit_of(&[head, run.repeat(6)].concat()), Some("max_samples"));
    }

    #[test]
    fn tracks_are_counted() {
        let tracks: Vec<_> = (0..300).map(|_| track(1, &[])).collect();
        assert_eq!(limit_of(&movie(&tracks)), Some("max_tracks"));
    }

    /// The limit that a file of 16 GB goes beyond, whose last box has this head and then the same bytes again and again; and
    /// the bytes that were read.
    fn endless(kind: &[u8; 4], numbers: &[u32], then: &[u8]) -> (Option<&'static str>, u64) {
        let size = 16_u64 << 30;
        let mut head = boxed(b"ftyp", &[0; 8]);
        for kind in [b"moov", b"trak", b"mdia", b"minf", b"stbl", kind] {
            let rest = (size - head.len() as u64).to_be_bytes();
            head.extend([&[0, 0, 0, 1][..], kind, &rest].concat());
        }
        head.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        let read = Cell::new(0);
        let file = Endless { head, then: then.to_vec(), size, at: 0, read: &read, cancel: None };
        let limit = check(file, &InputLimits::default()).err().map(|exceeded| exceeded.limit);
        (limit, read.get())
    }

    #[test]
    fn tables_without_an_end_are_not_walked() {
        for kind in [b"stsc", b"stts", b"elst"] {
            let (limit, read) = endless(kind, &[0, u32::MAX], &[0]);
            assert_eq!(limit, Some("max_samples"));
            assert!(read <= 1 << 16, "{read} bytes of a table that is too long");
        }
    }

    #[test]
    fn boxes_without_an_end_are_not_walked() {
        let (limit, read) = endless(b"edts", &[], b"\0\0\0\x08free");
        assert_eq!(limit, Some("max_samples"));
        assert!(read <= 16 << 20, "{read} bytes of empty boxes");
    }

    #[test]
    fn runs_of_chunks_are_bounded() {
        let each = |samples: u32| [&[0, 0, 0, 1][..], &samples.to_be_bytes(), &[0, 0, 0, 1]].concat();
        let (limit, read) = endless(b"stsc", &[0, 10_000_000], &[each(1), each(2000)].concat());
        assert_eq!(limit, Some("max_samples"));
        assert!(read <= 16 << 20, "{read} bytes of runs");
        let mut track = Track::default();
        assert!((1..3_000_000).all(|chunk| track.add_run(chunk, 1 + chunk % 1024)));
        assert_eq!(track.runs.len(), 1, "runs of the same number of entries are one");
    }

    #[test]
    fn joined_runs_count_the_same_entries() {
        let mut track = Track { samples: 1, same_size: true, chunks: 20, ..Track::default() };
        for (first, samples) in [(1, 1024), (3, 1000), (5, 2048), (9, 2000), (11, 1), (40, 1)] {
            assert!(track.add_run(first, samples));
        }
        assert_eq!(track.runs, [(1, 1), (5, 2), (11, 1)]);
        assert_eq!(track.entries(1), 4 + 6 * 2 + 10);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = limit_of(&bytes);
            for kind in [b"trak", b"stsz", b"stsc", b"stts", b"elst", b"mvhd", b"mdhd"] {
                let _ = limit_of(&movie(&[boxed(b"trak", &boxed(kind, &bytes))]));
            }
        }
    }
}
