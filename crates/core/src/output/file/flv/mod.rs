//! An FLV file that is being written: playable while it grows, whole when the disk fills up.
//!
//! In: tags with times from zero. Out: a file whose duration and size are filled in at its end, and that never ends within
//! a tag, not even after an error. What was in it before is left alone until the first write.

mod append;

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;

use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::writer::FlvWriter;
use flowcast_rtmp::time::MediaTime;

use super::existing::Begin;
use crate::files::WrittenFile;

pub(super) use append::{Appended, look};

/// Bytes gathered before they are written in any case.
const BUFFER: usize = 1 << 20;
/// Room that is kept from one write to the next.
const KEPT: usize = 128 << 10;

/// The file.
#[derive(Debug)]
pub(crate) struct FlvFile {
    file: WrittenFile,
    begin: Begin,
    /// What was in it before is gone, as far as it is to go.
    begun: bool,
    buffer: Vec<u8>,
    /// Where in the buffer each tag ends.
    ends: Vec<usize>,
    /// Bytes that were in it before, and stay.
    before: u64,
    /// Bytes of the file that are written, with those.
    flushed: u64,
    /// What is added to all times, in milliseconds.
    offset_ms: i64,
    /// The first metadata tag, written again at the end with what is known then.
    metadata: Option<Metadata>,
    last: MediaTime,
    started: bool,
    /// Asked when the disk is full: whether there is room now, so that it is worth another try.
    room: fn(u64) -> bool,
}

impl FlvFile {
    /// A file that begins so.
    pub(super) fn new(file: WrittenFile, begin: Begin) -> Self {
        let (before, offset_ms) = match &begin {
            Begin::Append(Appended { end, next_ms, .. }) => (*end, *next_ms),
            Begin::Empty | Begin::Replace => (0, 0),
        };
        Self {
            file,
            begin,
            begun: false,
            buffer: Vec::new(),
            ends: Vec::new(),
            before,
            flushed: before,
            offset_ms,
            metadata: None,
            last: MediaTime::ZERO,
            started: false,
            room: crate::reel::make_room,
        }
    }

    /// Bytes of whole tags taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.flushed - self.before + self.buffer.len() as u64
    }

    /// Takes a tag; it is in the file after the next [`flush`](Self::flush), or when there is much to write.
    ///
    /// # Errors
    ///
    /// What the file system said. The file then ends with the last tag that fitted, and takes no more.
    pub(crate) fn write(&mut self, tag: &Tag) -> io::Result<()> {
        if !std::mem::replace(&mut self.started, true) && self.before == 0 {
            self.buffer.extend_from_slice(&FlvWriter::header(true, true));
            self.metadata = tag.is_metadata().then(|| Metadata::parse(&tag.body.to_bytes()).ok()).flatten();
            if let Some(metadata) = &mut self.metadata {
                // Room for what is only known at the end.
                metadata.duration_s = Some(0.0);
                metadata.filesize = Some(0.0);
                let tag = metadata.to_tag(tag.timestamp);
                return self.append(tag);
            }
        }
        self.append(tag.clone())?;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn append(&mut self, mut tag: Tag) -> io::Result<()> {
        tag.timestamp = tag.timestamp.saturating_add_millis(self.offset_ms);
        self.last = self.last.max(tag.timestamp);
        self.buffer.extend_from_slice(&tag_header(&tag)?);
        self.buffer.extend_from_slice(tag.body.head());
        self.buffer.extend_from_slice(tag.body.payload());
        self.buffer.extend_from_slice(&FlvWriter::tag_trailer(&tag));
        self.ends.push(self.buffer.len());
        Ok(())
    }

    /// Hands what was taken to the kernel.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.begin()?;
        }
        let mut done = 0;
        while let Some(rest) = self.buffer.get(done..).filter(|rest| !rest.is_empty()) {
            match (&*self.file).write(rest) {
                Ok(0) => return self.cut(done, io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) && (self.room)(self.file.id().device()) => {}
                Err(error) => return self.cut(done, error),
            }
        }
        self.flushed += done as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.ends.clear();
        Ok(())
    }

    /// What was in the file before goes; of what stays, half a tag at its end.
    fn begin(&mut self) -> io::Result<()> {
        match &self.begin {
            Begin::Empty => {}
            Begin::Replace => self.file.set_len(0)?,
            Begin::Append(Appended { end, .. }) => {
                self.file.set_len(*end)?;
                (&*self.file).seek(SeekFrom::Start(*end))?;
            }
        }
        self.file.keep();
        Ok(())
    }

    /// The disk took `done` bytes of the buffer and no more: the file is cut after the last whole tag and completed.
    fn cut(&mut self, done: usize, error: io::Error) -> io::Result<()> {
        let whole = self.ends.iter().rev().find(|&&end| end <= done).copied().unwrap_or(0);
        self.flushed += whole as u64;
        self.buffer.clear();
        self.ends.clear();
        // What can still be mended is; the error that counts is the first one.
        let _ = self.file.set_len(self.flushed).and_then(|()| self.fill_in());
        Err(error)
    }

    /// Completes the file.
    ///
    /// # Errors
    ///
    /// What the file system said.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if self.flushed > self.before { self.fill_in() } else { Ok(()) }
    }

    fn fill_in(&mut self) -> io::Result<()> {
        let (duration_s, size) = (self.last.as_millis() as f64 / 1000.0, self.flushed as f64);
        if let Begin::Append(Appended { duration_at, size_at, .. }) = &self.begin {
            for (at, number) in [(duration_at, duration_s), (size_at, size)] {
                if let Some(at) = at {
                    self.file.write_all_at(&number.to_be_bytes(), *at)?;
                }
            }
            return Ok(());
        }
        let Some(mut metadata) = self.metadata.take() else { return Ok(()) };
        metadata.duration_s = Some(duration_s);
        metadata.filesize = Some(size);
        let tag = metadata.to_tag(MediaTime::ZERO);
        (&*self.file).seek(SeekFrom::Start(FlvWriter::header(true, true).len() as u64))?;
        (&*self.file).write_all(&tag_header(&tag)?)?;
        (&*self.file).write_all(&tag.body.to_bytes())
    }
}

/// Whether the disk has no room left, or this program may take no more of it.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn tag_header(tag: &Tag) -> io::Result<[u8; 11]> {
    FlvWriter::tag_header(tag).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use flowcast_rtmp::flv::FlvReader;
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::limits::Limits;

    use super::super::existing::{self, Existing};
    use super::*;

    fn tags(count: i64) -> impl Iterator<Item = Tag> {
        let metadata = Metadata { width: Some(320.0), ..Metadata::default() }.to_tag(MediaTime::ZERO);
        let frame = |n: i64| {
            let body = Bytes::from(vec![0x27; 1000]);
            Tag::from_wire(TagKind::Video, MediaTime::from_millis(n * 40), body)
        };
        std::iter::once(metadata).chain((0..count).map(frame))
    }

    fn read(path: &std::path::Path) -> Vec<Tag> {
        let mut reader = FlvReader::new(&Limits::file());
        reader.push(&std::fs::read(path).expect("it was written"));
        let tags = std::iter::from_fn(|| reader.pull().expect("it is proper FLV")).collect();
        reader.finish().expect("it ends with a whole tag");
        tags
    }

    fn file(path: &std::path::Path, existing: Existing) -> FlvFile {
        let opened = existing::open(path, existing, &Arc::default()).expect("it can be written");
        FlvFile::new(opened.file, opened.begin)
    }

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("flowcast-{name}-{}.flv", std::process::id()))
    }

    #[test]
    fn duration_and_size_are_filled_in() {
        let path = path("whole");
        let mut file = file(&path, Existing::Refuse);
        for tag in tags(200) {
            file.write(&tag).expect("there is room");
        }
        file.finish().expect("there is room");
        let read = read(&path);
        let metadata = Metadata::parse(&read[0].body.to_bytes()).expect("it is metadata");
        assert_eq!((read.len(), metadata.duration_s, metadata.width), (201, Some(7.96), Some(320.0)));
        let size = std::fs::metadata(&path).expect("it is there").len();
        assert_eq!(metadata.filesize, Some(size as f64));
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_cut_keeps_whole_tags_only() {
        let path = path("cut");
        let mut file = file(&path, Existing::Refuse);
        for tag in tags(10) {
            file.write(&tag).and_then(|()| file.flush()).expect("there is room");
        }
        for tag in tags(10).skip(1) {
            file.append(tag).expect("it fits into FLV");
        }
        // As if the disk had taken four tags and a half.
        (&*file.file).write_all(&file.buffer[..4600]).expect("there is room");
        let error = file.cut(4600, io::ErrorKind::StorageFull.into()).expect_err("it is handed on");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(file);
        assert_eq!(read(&path).len(), 11 + 4);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn what_is_appended_goes_on_in_time_behind_whole_tags() {
        let path = path("append");
        let mut first = file(&path, Existing::Append);
        tags(50).for_each(|tag| first.write(&tag).expect("there is room"));
        first.finish().expect("there is room");
        let whole = std::fs::read(&path).expect("it was written");
        // As a crash leaves it: half a tag at the end.
        std::fs::write(&path, &whole[..whole.len() - 500]).expect("there is room");
        let mut second = file(&path, Existing::Append);
        assert_eq!(
            std::fs::metadata(&path).expect("it is there").len() as usize,
            whole.len() - 500,
            "not yet"
        );
        tags(50).for_each(|tag| second.write(&tag).expect("there is room"));
        assert!(second.written() > 50_000);
        second.finish().expect("there is room");
        let read = read(&path);
        let times: Vec<_> =
            read.iter().filter(|tag| tag.is_video()).map(|tag| tag.timestamp.as_millis()).collect();
        assert!(times.iter().copied().eq((0..99).map(|n| n * 40)), "{times:?}");
        let metadata = Metadata::parse(&read[0].body.to_bytes()).expect("it is metadata");
        assert_eq!(metadata.duration_s, Some(98.0 * 0.04));
        let size = std::fs::metadata(&path).expect("it is there").len();
        assert_eq!(metadata.filesize, Some(size as f64));
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn what_is_replaced_stays_until_there_is_something_to_write() {
        let path = path("replace");
        std::fs::write(&path, vec![1; 300_000]).expect("there is room");
        file(&path, Existing::Replace).finish().expect("nothing is written");
        assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 300_000);
        let mut replacing = file(&path, Existing::Replace);
        tags(3).for_each(|tag| replacing.write(&tag).expect("there is room"));
        replacing.finish().expect("there is room");
        assert_eq!(read(&path).len(), 4);
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_full_disk_is_tried_again_as_long_as_others_make_room() {
        static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let mut file = file(std::path::Path::new("/dev/full"), Existing::Number);
        file.room = |_| ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        tags(3).for_each(|tag| file.write(&tag).expect("it waits in the buffer"));
        let error = file.flush().expect_err("there is none for ever");
        assert_eq!(
            (error.kind(), ASKED.load(std::sync::atomic::Ordering::Relaxed)),
            (io::ErrorKind::StorageFull, 4)
        );
    }
}
