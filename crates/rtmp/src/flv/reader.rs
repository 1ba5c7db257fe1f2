//! FLV bytes to tags, annex E.2 to E.4.1.

use bytes::{Buf, Bytes, BytesMut};

use super::{FlvError, Tag, TagKind};
use crate::limits::{LimitKind, Limits};
use crate::time::{TrackClocks, WireTime};

/// Bytes of the header of a tag.
pub const TAG_HEADER_LEN: usize = 11;
/// Bytes of the size that follows every tag.
pub const TRAILER_LEN: usize = 4;
/// Bytes of the shortest file header, without the size of no tag that follows it.
const FILE_HEADER_LEN: usize = 9;
const SIGNATURE: &[u8] = b"FLV";

/// What the file header says, which writers often get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The version; 1.
    pub version: u8,
    /// Whether there should be audio tags.
    pub has_audio: bool,
    /// Whether there should be video tags.
    pub has_video: bool,
}

/// The eleven bytes before the body of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagHeader {
    /// What the tag carries.
    pub kind: TagKind,
    /// Bytes of the body, below 2²⁴.
    pub body_len: u32,
    /// Decoding time, with the upper eight bits from the extension byte.
    pub timestamp: WireTime,
}

impl TagHeader {
    /// Reads a header, for callers that find their own position in a file. The stream id is ignored.
    ///
    /// # Errors
    ///
    /// [`FlvError::Invalid`] for a tag type other than 8, 9 and 18, [`FlvError::Encrypted`] if the filter bit is set.
    pub fn parse(bytes: &[u8; TAG_HEADER_LEN]) -> Result<Self, FlvError> {
        let &[kind, size2, size1, size0, time2, time1, time0, time3, _, _, _] = bytes;
        let Some(tag_kind) = TagKind::from_wire(kind & 0x1F) else {
            return Err(FlvError::Invalid { what: "tag type", value: u64::from(kind), offset: 0 });
        };
        if kind & 0x20 != 0 {
            return Err(FlvError::Encrypted { offset: 0 });
        }
        Ok(Self {
            kind: tag_kind,
            body_len: u32::from_be_bytes([0, size2, size1, size0]),
            timestamp: WireTime::new(u32::from_be_bytes([time3, time2, time1, time0])),
        })
    }
}

/// Takes an FLV file in pieces of any size and gives out its tags.
///
/// Timestamps are unwrapped. Tags of a type that FLV does not know are left out if the size behind them is right;
/// otherwise that size is not looked at, since many writers get it wrong. After an error the reader stays there.
///
/// Held in memory is what was pushed and not yet pulled: pull until `None` before you push more.
///
/// ```
/// use flowcast_rtmp::flv::{FlvReader, TagKind};
/// use flowcast_rtmp::limits::Limits;
/// let mut reader = FlvReader::new(&Limits::file());
/// reader.push(b"FLV\x01\x01\0\0\0\x09\0\0\0\0");
/// reader.push(&[9, 0, 0, 2, 0, 0, 40, 0, 0, 0, 0, 0x17, 2, 0, 0, 0, 13]);
/// let tag = reader.pull()?.expect("a whole tag was pushed");
/// assert_eq!((tag.kind, tag.timestamp.as_millis(), tag.body.len()), (TagKind::Video, 40, 2));
/// reader.finish()?;
/// # Ok::<(), flowcast_rtmp::flv::FlvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FlvReader {
    limit: usize,
    buffer: BytesMut,
    /// Where in the file the buffer begins.
    offset: u64,
    tag_offset: u64,
    state: State,
    header: Option<FileHeader>,
    clocks: TrackClocks,
    failed: Option<FlvError>,
}

#[derive(Clone, Debug)]
enum State {
    FileHeader,
    /// Bytes that mean nothing: the rest of a longer file header, the size behind a tag.
    Skip {
        left: u64,
    },
    Tag,
}

impl FlvReader {
    /// A reader at the beginning of a file. Of the limits, `message_bytes` holds for the bodies of tags.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.message_bytes,
            buffer: BytesMut::new(),
            offset: 0,
            tag_offset: 0,
            state: State::FileHeader,
            header: None,
            clocks: TrackClocks::default(),
            failed: None,
        }
    }

    /// Takes the next bytes of the file. They are copied; tags then share the copy.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes the next bytes of the file, without a copy if they are not shared and nothing else waits.
    pub fn push_bytes(&mut self, bytes: Bytes) {
        if self.failed.is_some() {
            return;
        }
        if self.buffer.is_empty() {
            match bytes.try_into_mut() {
                Ok(owned) => self.buffer = owned,
                Err(shared) => self.buffer.extend_from_slice(&shared),
            }
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next tag, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// See [`FlvError`]; offsets count from the beginning of the file. Every later call gives the same error.
    pub fn pull(&mut self) -> Result<Option<Tag>, FlvError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let pulled = self.step();
        if let Err(error) = &pulled {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        pulled
    }

    /// Says that the file ends here.
    ///
    /// # Errors
    ///
    /// [`FlvError::Truncated`] if it ends within something; the error of [`pull`](Self::pull) if there was one. Pull
    /// until `None` first: tags that wait count as something.
    pub fn finish(&self) -> Result<(), FlvError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let held = self.buffer.len() as u64;
        let (what, needed) = match self.state {
            State::FileHeader => ("file header", FILE_HEADER_LEN as u64),
            State::Skip { left } if held == left => return Ok(()),
            State::Skip { left } => ("size behind a tag", left),
            State::Tag if held == 0 => return Ok(()),
            State::Tag => match self.tag_size() {
                None => ("tag header", TAG_HEADER_LEN as u64),
                Some((_, whole)) => ("tag", whole as u64),
            },
        };
        Err(FlvError::Truncated { what, offset: self.offset, missing: needed.saturating_sub(held).max(1) })
    }

    /// What the file header says, once it has been pulled past.
    #[must_use]
    pub const fn header(&self) -> Option<FileHeader> {
        self.header
    }

    /// Where in the file the header of the last pulled tag begins, in bytes.
    #[must_use]
    pub const fn tag_offset(&self) -> u64 {
        self.tag_offset
    }

    fn step(&mut self) -> Result<Option<Tag>, FlvError> {
        loop {
            match self.state {
                State::FileHeader => {
                    if !self.file_header()? {
                        return Ok(None);
                    }
                }
                State::Skip { left } => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                    self.advance(now);
                    let left = left.saturating_sub(now as u64);
                    if left > 0 {
                        self.state = State::Skip { left };
                        return Ok(None);
                    }
                    self.state = State::Tag;
                }
                State::Tag => match self.tag()? {
                    Step::NeedsMore => return Ok(None),
                    Step::LeftOut => {}
                    Step::Tag(tag) => return Ok(Some(tag)),
                },
            }
        }
    }

    /// Annex E.2. False if more bytes are needed.
    fn file_header(&mut self) -> Result<bool, FlvError> {
        if self.buffer.iter().zip(SIGNATURE).any(|(is, should)| is != should) {
            return Err(FlvError::Signature);
        }
        let Some(&[_, _, _, version, flags, length @ ..]) = self.buffer.first_chunk::<FILE_HEADER_LEN>()
        else {
            return Ok(false);
        };
        let length = u32::from_be_bytes(length);
        let Some(rest) = u64::from(length).checked_sub(FILE_HEADER_LEN as u64) else {
            return Err(FlvError::Invalid { what: "header length", value: u64::from(length), offset: 5 });
        };
        self.header = Some(FileHeader { version, has_audio: flags & 4 != 0, has_video: flags & 1 != 0 });
        self.advance(FILE_HEADER_LEN);
        self.state = State::Skip { left: rest.saturating_add(TRAILER_LEN as u64) };
        Ok(true)
    }

    /// The header of the tag that begins the buffer, and the tag's bytes without the size behind it.
    fn tag_size(&self) -> Option<([u8; TAG_HEADER_LEN], usize)> {
        let header = *self.buffer.first_chunk::<TAG_HEADER_LEN>()?;
        let [_, high, middle, low, ..] = header;
        let body = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        Some((header, body.saturating_add(TAG_HEADER_LEN)))
    }

    fn tag(&mut self) -> Result<Step, FlvError> {
        let Some((header_bytes, whole)) = self.tag_size() else { return Ok(Step::NeedsMore) };
        let body_len = whole.saturating_sub(TAG_HEADER_LEN);
        if body_len > self.limit {
            let (limit, size) = (self.limit, body_len as u64);
            return Err(FlvError::Limit { kind: LimitKind::MessageBytes, limit, size, offset: self.offset });
        }
        let header = match TagHeader::parse(&header_bytes) {
            Ok(header) => header,
            Err(unknown @ FlvError::Invalid { .. }) => return self.leave_out(whole, unknown),
            Err(error) => return Err(error.shifted(self.offset)),
        };
        if self.buffer.len() < whole {
            return Ok(Step::NeedsMore);
        }
        self.tag_offset = self.offset;
        self.advance(TAG_HEADER_LEN);
        self.offset = self.offset.saturating_add(body_len as u64);
        let body = self.buffer.split_to(body_len).freeze();
        self.state = State::Skip { left: TRAILER_LEN as u64 };
        let mut tag = Tag::from_wire(header.kind, self.clocks.unwrap(header.kind, header.timestamp), body);
        if tag.is_sequence_header() || tag.is_metadata() {
            // These are kept for as long as a stream runs, and must not keep the read buffer with them.
            tag.body = Bytes::copy_from_slice(tag.body.payload()).into();
        }
        Ok(Step::Tag(tag))
    }

    /// A tag of unknown type: passed over if the size behind it proves that it is one.
    fn leave_out(&mut self, whole: usize, unknown: FlvError) -> Result<Step, FlvError> {
        let Some(trailer) = self.buffer.get(whole..).and_then(|rest| rest.first_chunk()) else {
            return Ok(Step::NeedsMore);
        };
        if usize::try_from(u32::from_be_bytes(*trailer)) != Ok(whole) {
            return Err(unknown.shifted(self.offset));
        }
        self.advance(whole.saturating_add(TRAILER_LEN));
        Ok(Step::LeftOut)
    }

    fn advance(&mut self, count: usize) {
        self.buffer.advance(count);
        self.offset = self.offset.saturating_add(count as u64);
    }
}

enum Step {
    NeedsMore,
    LeftOut,
    Tag(Tag),
}
