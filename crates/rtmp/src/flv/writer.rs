//! Tags to FLV bytes, annex E.2 to E.4.1.

use bytes::BufMut;

use super::reader::{TAG_HEADER_LEN, TRAILER_LEN};
use super::{FlvError, Tag};

/// Writes FLV files: the header, then each tag as header, body and trailer.
///
/// It has no state. [`tag_header`](Self::tag_header) and [`tag_trailer`](Self::tag_trailer) are for callers that write the
/// body without a copy, in one vectored write.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::{FlvWriter, audio};
/// use flowcast_rtmp::time::MediaTime;
/// let mut file = FlvWriter::header(true, false).to_vec();
/// FlvWriter::write_tag(&audio::aac_frame(MediaTime::ZERO, Bytes::from_static(&[1, 2])), &mut file)?;
/// assert_eq!(file.len(), 13 + 11 + 4 + 4);
/// # Ok::<(), flowcast_rtmp::flv::FlvError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FlvWriter;

impl FlvWriter {
    /// The file header and the size of no tag that follows it.
    #[must_use]
    pub const fn header(has_audio: bool, has_video: bool) -> [u8; 13] {
        let flags = (has_audio as u8) << 2 | has_video as u8;
        [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
    }

    /// The bytes before a tag's body.
    ///
    /// Of the timestamp the low 32 bits are written, so that files wrap after 49 days 17 hours; a
    /// [`FlvReader`](super::FlvReader) unwraps them. (libavformat writes 31 bits.)
    ///
    /// # Errors
    ///
    /// [`FlvError::TooLarge`] for a body of 2²⁴ bytes or more.
    pub fn tag_header(tag: &Tag) -> Result<[u8; TAG_HEADER_LEN], FlvError> {
        let too_large = FlvError::TooLarge { size: tag.body.len() as u64 };
        let length = u32::try_from(tag.body.len()).map_err(|_| too_large.clone())?;
        let [0, size2, size1, size0] = length.to_be_bytes() else { return Err(too_large) };
        let [time3, time2, time1, time0] = tag.timestamp.wire().get().to_be_bytes();
        Ok([tag.kind.wire(), size2, size1, size0, time2, time1, time0, time3, 0, 0, 0])
    }

    /// The bytes after a tag's body: the size of header and body.
    #[must_use]
    pub fn tag_trailer(tag: &Tag) -> [u8; TRAILER_LEN] {
        let size = tag.body.len().saturating_add(TAG_HEADER_LEN);
        u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes()
    }

    /// Appends a whole tag to `out`, body copied.
    ///
    /// # Errors
    ///
    /// [`FlvError::TooLarge`] for a body of 2²⁴ bytes or more; nothing is written then.
    ///
    /// # Panics
    ///
    /// If `out` cannot grow and has not the room, as everything that writes to a [`BufMut`].
    pub fn write_tag(tag: &Tag, out: &mut impl BufMut) -> Result<(), FlvError> {
        out.put_slice(&Self::tag_header(tag)?);
        out.put_slice(tag.body.head());
        out.put_slice(tag.body.payload());
        out.put_slice(&Self::tag_trailer(tag));
        Ok(())
    }
}
