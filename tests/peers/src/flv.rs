//! FLV files, as little of them as a recording and a replay need.

use crate::Failure;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Version 1, audio and video, and the size of the tag before the first.
const HEADER: [u8; 13] = *b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00";

/// What a tag holds, with its type number in FLV and RTMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Sound.
    Audio = 8,
    /// Picture.
    Video = 9,
    /// Metadata.
    Script = 18,
}

/// One tag; its timestamp is RTMP's, in milliseconds.
#[derive(Clone, Debug)]
pub struct Tag {
    /// What it holds.
    pub kind: Kind,
    /// When, in milliseconds.
    pub timestamp: u32,
    /// Everything after the tag's header.
    pub body: Vec<u8>,
}

/// Writes what arrives to a file of its own, tag by tag and unbuffered: a killed peer leaves whole tags.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    path: PathBuf,
    tags: u64,
}

impl Recorder {
    /// Opens `<directory>/<name>.flv`, or `<name>-2.flv` and so on if there is one already.
    pub fn in_directory(directory: &Path, name: &str) -> Result<Self, Failure> {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        fs::create_dir_all(directory)?;
        let mut path = directory.join(format!("{name}.flv"));
        let mut number = 1;
        while path.exists() {
            number += 1;
            path = directory.join(format!("{name}-{number}.flv"));
        }
        Self::create(&path)
    }

    /// Opens exactly this file.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let mut file = File::create(path)?;
        file.write_all(&HEADER)?;
        Ok(Self { file, path: path.to_owned(), tags: 0 })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tags written so far.
    pub fn tags(&self) -> u64 {
        self.tags
    }

    /// Appends one tag. Metadata loses its `@setDataFrame`, as in every recording.
    pub fn write(&mut self, kind: Kind, timestamp: u32, body: &[u8]) -> Result<(), Failure> {
        const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
        let body =
            if kind == Kind::Script { body.strip_prefix(SET_DATA_FRAME).unwrap_or(body) } else { body };
        let size = u32::try_from(body.len())?.to_be_bytes();
        let time = timestamp.to_be_bytes();
        let mut tag =
            vec![kind as u8, size[1], size[2], size[3], time[1], time[2], time[3], time[0], 0, 0, 0];
        tag.extend_from_slice(body);
        tag.extend_from_slice(&u32::try_from(tag.len())?.to_be_bytes());
        self.file.write_all(&tag)?;
        self.tags += 1;
        Ok(())
    }
}

/// Reads a whole FLV file, tag by tag.
#[derive(Debug)]
pub struct Replay {
    file: BufReader<File>,
}

impl Replay {
    /// Opens a file and skips its header.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut file = BufReader::new(File::open(path)?);
        let mut header = [0; HEADER.len()];
        file.read_exact(&mut header)?;
        if !header.starts_with(b"FLV") {
            return Err(format!("{}: not an FLV file", path.display()).into());
        }
        Ok(Self { file })
    }

    fn read(&mut self) -> Result<Option<Tag>, Failure> {
        let mut head = [0; 11];
        if self.file.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.file.read_exact(&mut head[1..])?;
        let kind = match head[0] {
            8 => Kind::Audio,
            9 => Kind::Video,
            18 => Kind::Script,
            other => return Err(format!("tag type {other}").into()),
        };
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        let timestamp = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let mut body = vec![0; size as usize];
        self.file.read_exact(&mut body)?;
        self.file.read_exact(&mut head[..4])?;
        Ok(Some(Tag { kind, timestamp, body }))
    }
}

impl Iterator for Replay {
    type Item = Result<Tag, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Says when a tag is due.
#[derive(Debug, Default)]
pub struct Pace {
    started: Option<(Instant, u32)>,
}

impl Pace {
    /// How long until this timestamp, counted from the first one asked for.
    pub fn due_in(&mut self, timestamp: u32) -> Duration {
        let (start, first) = *self.started.get_or_insert_with(|| (Instant::now(), timestamp));
        let due = start + Duration::from_millis(timestamp.saturating_sub(first).into());
        due.saturating_duration_since(Instant::now())
    }
}
