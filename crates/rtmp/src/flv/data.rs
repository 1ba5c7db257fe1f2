//! Timed data beside picture and sound: splice information, metadata of the scene.
//!
//! FLV and RTMP have no form for it. Within a program it is in script tags of our own, so that it keeps its place among pictures and sound; no peer
//! is sent them. The codecs are those that MPEG-TS carries: SCTE 35 (ANSI/SCTE 35, section 9) and KLV (SMPTE ST 336).

use bytes::{BufMut, Bytes, BytesMut};

use super::{Tag, TagFlags, TagKind};
use crate::time::MediaTime;

/// An AMF0 string that no program sends: 14 bytes behind their length.
const NAME: &[u8] = b"\x02\x00\x0e@flowcast.data";
pub(super) const ANNOUNCEMENT: &[u8] = b"\x02\x00\x0e@flowcast.data\x00";
const PACKET: u8 = 1;
/// Most tracks of data.
const MOST_TRACKS: usize = 8;

/// What a track of data holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataCodec {
    /// Splice information: whole sections, with table id and CRC.
    Scte35,
    /// Keys, lengths and values.
    Klv,
}

impl DataCodec {
    /// The codec of this name, as libav has it: `scte_35`, `klv`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "scte_35" => Some(Self::Scte35),
            "klv" => Some(Self::Klv),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scte35 => "scte_35",
            Self::Klv => "klv",
        }
    }

    const fn wire(self) -> u8 {
        match self {
            Self::Scte35 => 1,
            Self::Klv => 2,
        }
    }

    const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Scte35),
            2 => Some(Self::Klv),
            _ => None,
        }
    }
}

/// What a tag of data holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Which tracks there are: their numbers are their places.
    Tracks(Vec<DataCodec>),
    /// A packet of one of them.
    Packet {
        /// The number of the track.
        track: u8,
        /// When it was sent, on the clock of its source, in ticks of 90 kHz; `None` if the source did not say.
        source_time: Option<i64>,
        /// The packet.
        data: Bytes,
    },
}

/// The tag that says which tracks of data there are; the first eight count. It is configuration, as a sequence header is.
#[must_use]
pub fn announcement(tracks: &[DataCodec]) -> Tag {
    let mut body = BytesMut::from(ANNOUNCEMENT);
    tracks.iter().take(MOST_TRACKS).for_each(|codec| body.put_u8(codec.wire()));
    Tag::from_wire(TagKind::Script, MediaTime::ZERO, body.freeze())
}

/// The tag of a packet of data.
///
/// ```
/// use bytes::Bytes;
/// use flowcast_rtmp::flv::data::{self, Data};
/// use flowcast_rtmp::time::MediaTime;
/// let tag = data::packet(1, MediaTime::from_millis(40), Some(3600), b"value");
/// assert!(data::is_data(&tag) && !tag.is_header());
/// let packet = Data::Packet { track: 1, source_time: Some(3600), data: Bytes::from_static(b"value") };
/// assert_eq!(data::parse(&tag), Some(packet));
/// ```
#[must_use]
pub fn packet(track: u8, timestamp: MediaTime, source_time: Option<i64>, data: &[u8]) -> Tag {
    let mut body = BytesMut::from(NAME);
    body.put_u8(PACKET);
    body.put_u8(track);
    body.put_i64(source_time.unwrap_or(i64::MIN));
    body.put_slice(data);
    Tag { kind: TagKind::Script, timestamp, flags: TagFlags::EMPTY, body: body.freeze().into() }
}

/// Whether the tag is one of data.
#[must_use]
pub fn is_data(tag: &Tag) -> bool {
    let (start, count) = tag.body.peek::<17>();
    tag.kind == TagKind::Script && count == NAME.len() && start == *NAME
}

/// What a tag of data holds; `None` for others, and for what makes no sense.
#[must_use]
pub fn parse(tag: &Tag) -> Option<Data> {
    if !is_data(tag) {
        return None;
    }
    let body = tag.body.to_bytes();
    let rest = body.get(NAME.len()..)?;
    let (&kind, rest) = rest.split_first()?;
    if kind != PACKET {
        let tracks: Option<Vec<_>> =
            rest.iter().take(MOST_TRACKS).map(|byte| DataCodec::from_wire(*byte)).collect();
        return (kind == 0).then_some(Data::Tracks(tracks?));
    }
    let (&track, rest) = rest.split_first()?;
    let (time, data) = rest.split_first_chunk()?;
    let source_time = Some(i64::from_be_bytes(*time)).filter(|time| *time != i64::MIN);
    Some(Data::Packet { track, source_time, data: body.slice_ref(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_are_written_and_again_from_a_file() {
        let tracks = announcement(&[DataCodec::Scte35, DataCodec::Klv]);
        assert!(
            is_data(&tracks) && tracks.is_header() && !tracks.is_metadata() && !tracks.is_sequence_header()
        );
        assert_eq!(parse(&tracks), Some(Data::Tracks(vec![DataCodec::Scte35, DataCodec::Klv])));
        let untimed = packet(0, MediaTime::from_millis(7), None, b"");
        let data = Bytes::new();
        assert_eq!(parse(&untimed), Some(Data::Packet { track: 0, source_time: None, data }));
        for tag in [tracks, untimed] {
            let again = Tag::from_wire(tag.kind, tag.timestamp, tag.body.to_bytes());
            assert_eq!(again, tag);
        }
    }

    #[test]
    fn others_and_what_makes_no_sense_are_none() {
        let script =
            |body: &'static [u8]| Tag::from_wire(TagKind::Script, MediaTime::ZERO, Bytes::from_static(body));
        for body in [&b""[..], b"\x02\x00\x0aonMetaData", b"\x02\x00\x0e@flowcast.dat"] {
            assert!(!is_data(&script(body)) && parse(&script(body)).is_none());
        }
        for body in [
            &b"\x02\x00\x0e@flowcast.data"[..],
            b"\x02\x00\x0e@flowcast.data\x00\x09",
            b"\x02\x00\x0e@flowcast.data\x02",
            b"\x02\x00\x0e@flowcast.data\x01\x00\x00",
        ] {
            assert!(is_data(&script(body)) && parse(&script(body)).is_none(), "{body:?}");
        }
        let audio = Tag::from_wire(TagKind::Audio, MediaTime::ZERO, Bytes::from_static(NAME));
        assert!(!is_data(&audio));
    }
}
