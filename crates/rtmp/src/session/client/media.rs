//! Tags in both directions.

use bytes::Bytes;

use super::{ClientRole, ClientSession, Step};
use crate::chunk::SharedMessage;
use crate::error::Error;
use crate::flv::{Tag, TagBody, TagFlags, TagKind};
use crate::time::{MediaTime, WireTime};

/// The AMF0 string `@setDataFrame`: what makes a server keep metadata for players that come later.
const SET_DATA_FRAME: &[u8; 16] = b"\x02\x00\x0d@setDataFrame";

impl ClientSession {
    /// Sends the timestamps of tags minus `base`, so that the server sees a stream that starts at 0. Default
    /// [`MediaTime::ZERO`].
    pub fn set_base(&mut self, base: MediaTime) {
        self.link.base = base;
    }

    /// Publishes a tag. Metadata gets its `@setDataFrame`. Before the session is live, and for players, this does
    /// nothing.
    pub fn send_tag(&mut self, tag: &Tag) {
        if self.publishing() {
            if tag.flags.contains(TagFlags::METADATA) {
                self.send_metadata(&tag.body.to_bytes(), tag.timestamp);
            } else {
                self.link.send_tag(self.stream_id, tag);
            }
        }
    }

    /// Publishes a tag that was chunked for several connections, as [`send_tag`](Self::send_tag) does.
    pub fn send_shared(&mut self, message: &SharedMessage) {
        if message.tag().flags.contains(TagFlags::METADATA) {
            self.send_tag(message.tag());
        } else if self.publishing() {
            self.link.send_shared(self.stream_id, message);
        }
    }

    /// Publishes metadata: `metadata` is the body of an `onMetaData` script tag, with or without `@setDataFrame`.
    pub fn send_metadata(&mut self, metadata: &Bytes, timestamp: MediaTime) {
        if !self.publishing() {
            return;
        }
        let body = if metadata.starts_with(SET_DATA_FRAME) {
            TagBody::new(metadata.clone())
        } else {
            TagBody::with_head(SET_DATA_FRAME, metadata.clone())
        };
        let tag = Tag { kind: TagKind::Script, timestamp, flags: TagFlags::METADATA, body };
        self.link.send_tag(self.stream_id, &tag);
    }

    fn publishing(&self) -> bool {
        self.step == Step::Live && self.role == ClientRole::Publish
    }

    /// Media of the server.
    pub(super) fn media(&mut self, kind: TagKind, timestamp: WireTime, payload: Bytes) {
        if self.wants_media(kind != TagKind::Script)
            && let Some(tag) = self.link.tag(kind, timestamp, payload)
        {
            self.events.push_tag(tag);
        }
    }

    /// Several tags in one message.
    pub(super) fn aggregate(&mut self, timestamp: WireTime, payload: Bytes) -> Result<(), Error> {
        if self.wants_media(true) {
            let aggregate = self.link.aggregate(timestamp, payload)?;
            self.events.push_aggregate(aggregate);
        }
        Ok(())
    }

    /// Whether media is of interest now. Servers that skip the start status are live with their first media.
    fn wants_media(&mut self, starts: bool) -> bool {
        if self.role != ClientRole::Play {
            return false;
        }
        if starts {
            self.go_live();
        }
        matches!(self.step, Step::Start | Step::Live)
    }
}
