//! FLV files: tags read from one, and written to one.

use bytes::Bytes;
use flowcast::rtmp::flv::{FlvReader, FlvWriter, Tag};
use flowcast::rtmp::limits::Limits;
use std::fs;
use std::path::Path;

/// The tags of an FLV file without an error; it may still grow, or be cut off.
#[track_caller]
pub fn flv_tags(file: &Path) -> Vec<Tag> {
    read(file).0
}

/// The tags of an FLV file that is whole.
#[track_caller]
pub fn whole_flv_tags(file: &Path) -> Vec<Tag> {
    let (tags, reader) = read(file);
    reader.finish().unwrap_or_else(|error| panic!("{} is cut off: {error}", file.display()));
    tags
}

/// Writes an FLV file of these tags.
#[track_caller]
pub fn write_flv<'a>(file: &Path, tags: impl IntoIterator<Item = &'a Tag>) {
    let tags: Vec<_> = tags.into_iter().collect();
    let has = |is: fn(&Tag) -> bool| tags.iter().any(|tag| is(tag));
    let mut bytes = FlvWriter::header(has(Tag::is_audio), has(Tag::is_video)).to_vec();
    for tag in tags {
        FlvWriter::write_tag(tag, &mut bytes).expect("a small tag fits");
    }
    fs::write(file, bytes).expect("there is room");
}

#[track_caller]
fn read(file: &Path) -> (Vec<Tag>, FlvReader) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut reader = FlvReader::new(&Limits::file());
    reader.push_bytes(Bytes::from(bytes));
    let pull =
        || reader.pull().unwrap_or_else(|error| panic!("{} is not proper FLV: {error}", file.display()));
    (std::iter::from_fn(pull).collect(), reader)
}
