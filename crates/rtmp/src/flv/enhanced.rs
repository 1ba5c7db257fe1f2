//! Enhanced RTMP's tag headers: packet type and FourCC instead of FLV's codec numbers.
//!
//! Specification: Veovera, *Enhanced RTMP v2*, "Extended AudioTagHeader" and "Extended VideoTagHeader". What is read
//! here is what a server needs to pass such tags on: which of them are configuration, and which start a GOP.

use super::{TagBody, TagKind};

/// The sound format that says "extended header".
const AUDIO: u8 = 9;
/// The bit of a video tag's first byte that says "extended header".
const VIDEO: u8 = 0x80;

/// Packet type: codec configuration. The same number in plain AVC and AAC headers.
pub(super) const SEQUENCE_START: u8 = 0;
/// Packet type: frames, with a composition time where the codec has one. The same number in plain headers.
pub(super) const CODED_FRAMES: u8 = 1;
/// Packet type of video: frames whose composition time is 0.
pub(super) const CODED_FRAMES_X: u8 = 3;
/// Packet type of video: configuration as an MPEG-2 TS descriptor.
pub(super) const MPEG2_TS_SEQUENCE_START: u8 = 5;

const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// The packet type of a body with an extended header, behind ModEx and multitrack prefixes; `None` if the header is
/// not extended or is cut off.
pub(super) fn packet_type(kind: TagKind, body: &TagBody) -> Option<u8> {
    header(kind, body).map(|header| header.packet_type)
}

/// Whether the body's header is an extended one.
#[must_use]
pub fn is_enhanced(kind: TagKind, body: &TagBody) -> bool {
    multitrack_type(kind, body).is_some()
}

/// The FourCC in an extended header, such as `hvc1`, `av01` or `Opus`.
///
/// `None` if the header is not extended, is cut off, or is that of a multitrack tag with a FourCC for each track.
#[must_use]
pub fn four_cc(kind: TagKind, body: &TagBody) -> Option<[u8; 4]> {
    let header = header(kind, body)?;
    if header.many_codecs {
        return None;
    }
    let mut code = [0; 4];
    for (place, index) in code.iter_mut().zip(header.next..) {
        *place = body.byte(index)?;
    }
    Some(code)
}

struct Header {
    packet_type: u8,
    /// The byte after the packet type: the FourCC, unless the tag has several codecs.
    next: usize,
    many_codecs: bool,
}

/// The packet type that means multitrack, if the body has an extended header.
fn multitrack_type(kind: TagKind, body: &TagBody) -> Option<u8> {
    let first = body.byte(0)?;
    match kind {
        TagKind::Audio => (first >> 4 == AUDIO).then_some(AUDIO_MULTITRACK),
        TagKind::Video => (first & VIDEO != 0).then_some(VIDEO_MULTITRACK),
        TagKind::Script => None,
    }
}

fn header(kind: TagKind, body: &TagBody) -> Option<Header> {
    let multitrack = multitrack_type(kind, body)?;
    let mut header = Header { packet_type: body.byte(0)? & 0x0F, next: 1, many_codecs: false };
    // Each turn moves on by three bytes at least, so that the end of the body ends it.
    while header.packet_type == MOD_EX {
        let mut size = usize::from(body.byte(header.next)?).saturating_add(1);
        header.next = header.next.saturating_add(1);
        if size == 256 {
            let high = body.byte(header.next)?;
            let low = body.byte(header.next.saturating_add(1))?;
            size = usize::from(u16::from_be_bytes([high, low])).saturating_add(1);
            header.next = header.next.saturating_add(2);
        }
        header.next = header.next.saturating_add(size);
        header.packet_type = body.byte(header.next)? & 0x0F;
        header.next = header.next.saturating_add(1);
    }
    if header.packet_type == multitrack {
        let byte = body.byte(header.next)?;
        header.many_codecs = byte >> 4 == MANY_TRACKS_MANY_CODECS;
        header.packet_type = byte & 0x0F;
        header.next = header.next.saturating_add(1);
    }
    Some(header)
}
