//! Aggregate messages: several FLV tags in one
//! ([RTMP 1.0, section 7.1.6](https://rtmp.veriskope.com/docs/spec/#716aggregate-message-22)).
//!
//! A queued aggregate is taken apart tag by tag as the caller asks for events, so that a message of a million tiny tags
//! costs no more memory than its bytes. Tags get copies of their bytes: one that is kept for long must not keep the
//! whole message.

use bytes::Bytes;

use crate::amf0;
use crate::command::unwrap_amf3;
use crate::flv::script::for_players;
use crate::flv::{Tag, TagKind};
use crate::message::type_id;
use crate::time::MediaTime;

/// Type, length, time and message stream of a sub-message, as an FLV tag has them.
const HEADER: usize = 11;

/// The tags of an aggregate message that were not asked for yet.
#[derive(Debug)]
pub(super) struct Aggregate {
    payload: Bytes,
    position: usize,
    /// Time of the message, which is the time of its first sub-message.
    base: MediaTime,
    /// What the first sub-message has in its header: only differences to it count.
    first: Option<u32>,
}

struct SubMessage<'a> {
    type_id: u8,
    time: u32,
    body: &'a [u8],
}

impl Aggregate {
    /// The tags in `payload`, which is looked through once. The error says what is wrong with it.
    pub(super) fn new(payload: Bytes, base: MediaTime) -> Result<Self, &'static str> {
        let mut position = 0;
        while let Some(sub) = sub_message(&payload, &mut position)? {
            if sub.type_id == type_id::AGGREGATE {
                return Err("aggregate inside an aggregate");
            }
        }
        Ok(Self { payload, position: 0, base, first: None })
    }

    /// Whether any tag of more than `bytes` is one of `these`.
    pub(super) fn any_over(&self, bytes: usize, these: impl Fn(&Tag) -> bool) -> bool {
        let mut position = self.position;
        while let Ok(Some(sub)) = sub_message(&self.payload, &mut position) {
            if sub.body.len() > bytes && sub.tag(self.base).is_some_and(|tag| these(&tag)) {
                return true;
            }
        }
        false
    }

    /// The next tag; `None` at the end. What is neither audio, video nor data is passed over.
    pub(super) fn pull(&mut self) -> Option<Tag> {
        let payload = self.payload.clone();
        while let Ok(Some(sub)) = sub_message(&payload, &mut self.position) {
            let first = *self.first.get_or_insert(sub.time);
            let time = self.base.saturating_add_millis(i64::from(sub.time.wrapping_sub(first) as i32));
            if let Some(tag) = sub.tag(time) {
                return Some(tag);
            }
        }
        None
    }
}

impl SubMessage<'_> {
    fn tag(&self, time: MediaTime) -> Option<Tag> {
        let kind = match self.type_id {
            type_id::AUDIO => TagKind::Audio,
            type_id::VIDEO => TagKind::Video,
            type_id::DATA => TagKind::Script,
            // Outside an aggregate, such data would be rewritten; no peer is known to put it into one.
            type_id::DATA_AMF3 if !self.body.contains(&amf0::AVM_PLUS) => TagKind::Script,
            _ => return None,
        };
        let body = Bytes::copy_from_slice(unwrap_amf3(self.type_id, self.body));
        let body = if kind == TagKind::Script { for_players(body) } else { body };
        (!body.is_empty()).then(|| Tag::from_wire(kind, time, body))
    }
}

/// The sub-message at `position`, which moves behind it; `None` if not even a header is left.
///
/// The size behind a sub-message is that of header and body. Senders are known that leave it out at the end, or the
/// header out of the sum; anything else means that what follows is not a header.
fn sub_message<'a>(payload: &'a [u8], position: &mut usize) -> Result<Option<SubMessage<'a>>, &'static str> {
    let rest = payload.get(*position..).unwrap_or_default();
    let Some((&[type_id, l2, l1, l0, t2, t1, t0, t3, _, _, _], rest)) = rest.split_first_chunk::<HEADER>()
    else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([0, l2, l1, l0]);
    let (body, rest) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or("aggregate ends within a sub-message")?;
    let mut end = position.saturating_add(HEADER).saturating_add(body.len());
    if let Some(back) = rest.first_chunk().copied().map(u32::from_be_bytes) {
        if back != 0 && back != length && back != length.saturating_add(HEADER as u32) {
            return Err("aggregate whose back pointer is not the size of its sub-message");
        }
        end = end.saturating_add(4);
    }
    *position = end;
    Ok(Some(SubMessage { type_id, time: u32::from_be_bytes([t3, t2, t1, t0]), body }))
}
