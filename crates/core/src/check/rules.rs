//! What the tags of a source have to be like.
//!
//! In: tags, in the order they were given. Out: mistakes.

use std::collections::HashMap;

use flowcast_rtmp::flv::tag::{Tag, TagKind};

use super::mistake::MistakeKind;
use super::notes::Notes;
use crate::stats::Codec;

/// One track may be this much behind the other, milliseconds.
const MOST_BEHIND: i64 = 10_000;
/// Pictures need a keyframe at least this often, milliseconds.
const KEYFRAME_EVERY: i64 = 20_000;
/// Codecs whose frames mean nothing without a sequence header.
const WITH_HEADER: [&[u8; 4]; 4] = [b"avc1", b"hvc1", b"av01", b"mp4a"];

#[derive(Debug, Default)]
struct Track {
    newest: Option<i64>,
    has_header: bool,
    keyframe: Option<i64>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Rules {
    tracks: HashMap<(TagKind, u8), Track>,
    /// Of frames: the first and the newest time.
    first: Option<i64>,
    newest: Option<i64>,
    frames: u64,
}

impl Rules {
    /// Frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Media time of the frames so far, milliseconds.
    pub(super) fn span(&self) -> i64 {
        self.newest.zip(self.first).map_or(0, |(newest, first)| newest - first)
    }

    /// Looks at the next tag.
    pub(super) fn see(&mut self, tag: &Tag, notes: &Notes) {
        if tag.is_script() {
            return;
        }
        let (number, time) = (tag.track(), tag.timestamp.as_millis());
        let track = self.tracks.entry((tag.kind, number)).or_default();
        if tag.is_header() {
            track.has_header |= tag.is_sequence_header();
            return;
        }
        let is_end_of_sequence = tag.is_video()
            && tag.body.byte(0).is_some_and(|head| head & 0x0F == 7)
            && tag.body.byte(1) == Some(2);
        if is_end_of_sequence {
            return;
        }
        let name = || format!("{:?} track {number} at {time} ms", tag.kind);
        if let Some(newest) = track.newest
            && time < newest
        {
            notes.add(MistakeKind::TimeGoesBack, || format!("{}, after {newest} ms", name()));
        } else if let Some(newest) = self.newest
            && time < newest - MOST_BEHIND
        {
            notes.add(MistakeKind::TimeGoesBack, || format!("{}, while the other is at {newest} ms", name()));
        }
        let needs_header = Codec::of(tag).is_some_and(|codec| WITH_HEADER.contains(&&codec.four_cc()));
        if needs_header && !track.has_header {
            notes.add(MistakeKind::HeaderMissing, name);
        }
        if tag.is_video() && number == 0 {
            let is_unmarked = !tag.is_keyframe() && has_idr(tag);
            if is_unmarked {
                notes.add(MistakeKind::KeyframeNotMarked, name);
            } else if !tag.is_keyframe() && track.newest.is_none() {
                notes.add(MistakeKind::NoKeyframeFirst, name);
            }
            if tag.is_keyframe() {
                track.keyframe = Some(time);
            }
            let since = *track.keyframe.get_or_insert(time);
            if time - since > KEYFRAME_EVERY {
                notes.add(MistakeKind::NoKeyframes, || format!("{}, the last one was at {since} ms", name()));
                track.keyframe = Some(time);
            }
        }
        track.newest = Some(track.newest.map_or(time, |newest| newest.max(time)));
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        self.first.get_or_insert(time);
        self.frames += 1;
    }
}

/// Whether an H.264 frame, as FLV carries it, has a slice that decoding can begin at.
fn has_idr(tag: &Tag) -> bool {
    const HEAD: usize = 5;
    const IDR: u8 = 5;
    if tag.body.byte(0).is_none_or(|head| head & 0x8F != 7) || tag.body.byte(1) != Some(1) {
        return false;
    }
    let body = tag.body.to_bytes();
    let mut rest = body.get(HEAD..).unwrap_or_default();
    while let Some((length, unit)) = rest.split_first_chunk::<4>() {
        if unit.first().is_some_and(|head| head & 0x1F == IDR) {
            return true;
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        rest = unit.get(length..).unwrap_or_default();
    }
    false
}
