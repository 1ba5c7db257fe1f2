//! A recording as an FLV file.
//!
//! In: tags with times from zero. Out: a file of whole tags, whose duration and size are filled in at its end, whatever that is. On
//! the writer's thread.

mod append;

use std::io;
use std::path::Path;
use std::sync::Arc;

use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::flv::writer::FlvWriter;
use flowcast_rtmp::time::MediaTime;

use super::existing::{self, Existing};
use super::format::Format;
use super::whole::WholeFile;
use crate::files::StreamFiles;
use append::Appended;

/// The largest body FLV holds.
const LARGEST_BODY: usize = (1 << 24) - 1;

/// The file.
#[derive(Debug)]
pub(super) struct FlvFile {
    file: WholeFile,
    /// What it continues.
    appended: Option<Appended>,
    /// The first metadata tag, written again at the end with what is known then.
    metadata: Option<Metadata>,
    last: MediaTime,
    started: bool,
    has_media: bool,
}

impl FlvFile {
    /// Opens a file for a recording of the stream with these files.
    ///
    /// # Errors
    ///
    /// As [`existing::open`].
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn open(path: &Path, existing: Existing, files: &Arc<StreamFiles>) -> io::Result<Self> {
        let mut appended = None;
        let opened = existing::open(path, existing, files, |file| {
            appended = append::look(file)?;
            Ok(appended.map(|appended| appended.end))
        })?;
        Ok(Self {
            file: WholeFile::new(opened),
            appended,
            metadata: None,
            last: MediaTime::ZERO,
            started: false,
            has_media: false,
        })
    }

    fn take(&mut self, tag: &Tag) -> io::Result<()> {
        self.has_media |= !(tag.is_metadata() || tag.is_sequence_header());
        if !std::mem::replace(&mut self.started, true) && !self.file.goes_on() {
            self.file.add(&FlvWriter::header(true, true));
            self.metadata = tag.is_metadata().then(|| Metadata::parse(&tag.body.to_bytes()).ok()).flatten();
            if let Some(metadata) = &mut self.metadata {
                // Room for what is only known at the end.
                metadata.duration_s = Some(0.0);
                metadata.filesize = Some(0.0);
                let tag = metadata.to_tag(tag.timestamp);
                return self.add(tag);
            }
        }
        self.add(tag.clone())
    }

    fn add(&mut self, mut tag: Tag) -> io::Result<()> {
        let behind_ms = self.appended.map_or(0, |appended| appended.next_ms);
        tag.timestamp = tag.timestamp.saturating_add_millis(behind_ms);
        self.last = self.last.max(tag.timestamp);
        self.file.add(&tag_header(&tag)?);
        self.file.add(tag.body.head());
        self.file.add_shared(tag.body.payload().clone());
        self.file.add(&FlvWriter::tag_trailer(&tag));
        self.file.end_part()
    }

    /// Writes duration and size into the metadata, if the recording wrote anything.
    fn fill_in(&mut self) -> io::Result<()> {
        if !self.file.has_grown() {
            return Ok(());
        }
        let (duration_s, size) = (self.last.as_millis() as f64 / 1000.0, self.file.length() as f64);
        if let Some(Appended { duration_at, size_at, .. }) = self.appended {
            for (at, number) in [(duration_at, duration_s), (size_at, size)] {
                if let Some(at) = at {
                    self.file.amend(at, &number.to_be_bytes())?;
                }
            }
            return Ok(());
        }
        let Some(mut metadata) = self.metadata.take() else { return Ok(()) };
        metadata.duration_s = Some(duration_s);
        metadata.filesize = Some(size);
        let tag = metadata.to_tag(MediaTime::ZERO);
        let at = FlvWriter::header(true, true).len() as u64;
        self.file.amend(at, &[&tag_header(&tag)?[..], &tag.body.to_bytes()].concat())
    }
}

impl Format for FlvFile {
    fn largest_body(&self) -> usize {
        LARGEST_BODY
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn write(&mut self, tags: &[Tag]) -> io::Result<()> {
        let written = tags.iter().try_for_each(|tag| self.take(tag)).and_then(|()| self.file.flush());
        if written.is_err() {
            // What can still be mended is; the error that counts is the first one.
            let _ = self.fill_in();
        }
        written
    }

    fn written(&self) -> u64 {
        self.file.taken()
    }

    fn has_media(&self) -> bool {
        self.has_media
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        // What came before was flushed with the tags.
        self.fill_in()
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

    fn read(path: &Path) -> Vec<Tag> {
        let mut reader = FlvReader::new(&Limits::file());
        reader.push(&std::fs::read(path).expect("it was written"));
        let tags = std::iter::from_fn(|| reader.pull().expect("it is proper FLV")).collect();
        reader.finish().expect("it ends with a whole tag");
        tags
    }

    fn file(path: &Path, existing: Existing) -> Box<FlvFile> {
        Box::new(FlvFile::open(path, existing, &Arc::default()).expect("it can be written"))
    }

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("flowcast-{name}-{}.flv", std::process::id()))
    }

    #[test]
    fn duration_and_size_are_filled_in() {
        let path = path("whole");
        let mut file = file(&path, Existing::Refuse);
        for tag in tags(200) {
            file.write(&[tag]).expect("there is room");
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
            file.write(&[tag]).expect("there is room");
        }
        for tag in tags(10).skip(1) {
            file.take(&tag).expect("it fits into FLV");
        }
        // As if the disk had taken four tags and a half.
        assert_eq!(file.file.fill_up_after(4600).kind(), io::ErrorKind::StorageFull);
        file.fill_in().expect("the metadata has its place");
        drop(file);
        let read = read(&path);
        assert_eq!(read.len(), 11 + 4);
        let metadata = Metadata::parse(&read[0].body.to_bytes()).expect("it is metadata");
        let size = std::fs::metadata(&path).expect("it is there").len();
        assert_eq!(metadata.filesize, Some(size as f64));
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn what_is_appended_goes_on_in_time_behind_whole_tags() {
        let path = path("append");
        let mut first = file(&path, Existing::Append);
        first.write(&tags(50).collect::<Vec<_>>()).expect("there is room");
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
        second.write(&tags(50).collect::<Vec<_>>()).expect("there is room");
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
        replacing.write(&tags(3).collect::<Vec<_>>()).expect("there is room");
        replacing.finish().expect("there is room");
        assert_eq!(read(&path).len(), 4);
        let _ = std::fs::remove_file(path);
    }
}
