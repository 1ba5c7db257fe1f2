//! An FLV file that is being written: playable while it grows, whole when the disk fills up.
//!
//! In: tags with times from zero. Out: a file whose duration and size are filled in at its end, and that never ends within
//! a tag, not even after an error.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::writer::FlvWriter;
use flowcast_rtmp::time::MediaTime;

/// Bytes gathered before they are written.
const BUFFER: usize = 64 << 10;

/// The file.
#[derive(Debug)]
pub(crate) struct FlvFile {
    file: File,
    buffer: Vec<u8>,
    /// Where in the buffer each tag ends.
    ends: Vec<usize>,
    /// Bytes of the file that are written.
    flushed: u64,
    /// The first metadata tag, written again at the end with what is known then.
    metadata: Option<Metadata>,
    last: MediaTime,
    started: bool,
}

impl FlvFile {
    /// A file that is empty.
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            ends: Vec::new(),
            flushed: 0,
            metadata: None,
            last: MediaTime::ZERO,
            started: false,
        }
    }

    /// Bytes of whole tags taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Takes a tag; with `flush` it is in the file afterwards, otherwise when there is enough to write.
    ///
    /// # Errors
    ///
    /// What the file system said. The file then ends with the last tag that fitted, and takes no more.
    pub(crate) fn write(&mut self, tag: &Tag, flush: bool) -> io::Result<()> {
        self.last = self.last.max(tag.timestamp);
        if !self.started {
            self.started = true;
            self.buffer.extend_from_slice(&FlvWriter::header(true, true));
            self.metadata = tag.is_metadata().then(|| Metadata::parse(&tag.body.to_bytes()).ok()).flatten();
            if let Some(metadata) = &mut self.metadata {
                // Room for what is only known at the end.
                metadata.duration_s = Some(0.0);
                metadata.filesize = Some(0.0);
                let tag = metadata.to_tag(tag.timestamp);
                return self.append(&tag);
            }
        }
        self.append(tag)?;
        if flush || self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn append(&mut self, tag: &Tag) -> io::Result<()> {
        self.buffer.extend_from_slice(&tag_header(tag)?);
        self.buffer.extend_from_slice(tag.body.head());
        self.buffer.extend_from_slice(tag.body.payload());
        self.buffer.extend_from_slice(&FlvWriter::tag_trailer(tag));
        self.ends.push(self.buffer.len());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = self.buffer.get(done..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return self.cut(done, io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.cut(done, error),
            }
        }
        self.flushed += done as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER * 2);
        self.ends.clear();
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
        self.fill_in()
    }

    fn fill_in(&mut self) -> io::Result<()> {
        let Some(mut metadata) = self.metadata.take() else { return Ok(()) };
        metadata.duration_s = Some(self.last.as_millis() as f64 / 1000.0);
        metadata.filesize = Some(self.flushed as f64);
        let tag = metadata.to_tag(MediaTime::ZERO);
        self.file.seek(SeekFrom::Start(FlvWriter::header(true, true).len() as u64))?;
        self.file.write_all(&tag_header(&tag)?)?;
        self.file.write_all(&tag.body.to_bytes())?;
        self.file.flush()
    }
}

fn tag_header(tag: &Tag) -> io::Result<[u8; 11]> {
    FlvWriter::tag_header(tag).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::FlvReader;
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::limits::Limits;

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

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("flowcast-{name}-{}.flv", std::process::id()))
    }

    #[test]
    fn duration_and_size_are_filled_in() {
        let path = path("whole");
        let mut file = FlvFile::new(File::create(&path).expect("the temporary directory is writable"));
        for tag in tags(200) {
            file.write(&tag, false).expect("there is room");
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
        let mut file = FlvFile::new(File::create(&path).expect("the temporary directory is writable"));
        for tag in tags(10) {
            file.write(&tag, true).expect("there is room");
        }
        for tag in tags(10).skip(1) {
            file.append(&tag).expect("it fits into FLV");
        }
        // As if the disk had taken four tags and a half.
        file.file.write_all(&file.buffer[..4600]).expect("there is room");
        let error = file.cut(4600, io::ErrorKind::StorageFull.into()).expect_err("it is handed on");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(file);
        assert_eq!(read(&path).len(), 11 + 4);
        let _ = std::fs::remove_file(path);
    }
}
