//! Tags that outputs are checked with: pictures and sound that know whether somebody still holds them.
//!
//! In: how far media time is. Out: the tags up to then. Their bodies have the form of H.264 and AAC, and decode to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

/// Bytes of a picture: about 10 Mbit/s with the sound.
const PICTURE: usize = 48 << 10;
const SOUND: usize = 300;
/// From one picture to the next, milliseconds.
const STEP: i64 = 40;
/// From one keyframe to the next, pictures.
const GOP: i64 = 25;

struct Body {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// What makes them.
#[derive(Debug, Default)]
pub(super) struct TestTags {
    held: Arc<AtomicUsize>,
    /// The number of the next picture.
    next: i64,
    has_headers: bool,
}

impl TestTags {
    /// Bytes of bodies that somebody holds.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The tags up to this time, in milliseconds, that were not made before.
    pub(super) fn up_to(&mut self, millis: i64) -> Vec<Tag> {
        let mut tags = Vec::new();
        if !std::mem::replace(&mut self.has_headers, true) {
            let avc: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x42, 0xC0, 0x0A, 0xFF, 0xE0, 0];
            tags.push(Tag::from_wire(TagKind::Video, MediaTime::ZERO, Bytes::from_static(avc)));
            tags.push(Tag::from_wire(
                TagKind::Audio,
                MediaTime::ZERO,
                Bytes::from_static(&[0xAF, 0, 0x11, 0x90]),
            ));
        }
        while self.next * STEP <= millis {
            let time = self.next * STEP;
            let head = if self.next % GOP == 0 { 0x17 } else { 0x27 };
            tags.push(self.tag(TagKind::Video, time, &[head, 1, 0, 0, 0], PICTURE));
            tags.push(self.tag(TagKind::Audio, time, &[0xAF, 1], SOUND));
            self.next += 1;
        }
        tags
    }

    /// The next picture is a keyframe; says its time, in milliseconds.
    pub(super) fn begin_gop(&mut self) -> i64 {
        self.next = (self.next + GOP - 1) / GOP * GOP;
        self.next * STEP
    }

    fn tag(&self, kind: TagKind, time: i64, head: &[u8], len: usize) -> Tag {
        let mut bytes = vec![0; len];
        bytes[..head.len()].copy_from_slice(head);
        self.held.fetch_add(len, Ordering::Relaxed);
        let body = Body { bytes, held: self.held.clone() };
        Tag::from_wire(kind, MediaTime::from_millis(time), Bytes::from_owner(body))
    }
}
