//! Decisions, and the media that follows them.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{Asked, Phase, ServerSession};
use crate::amf0::Value;
use crate::capability::Extended;
use crate::chunk::{SharedBatch, SharedMessage};
use crate::command::{Command, RECONNECT_REQUEST, Status};
use crate::error::Error;
use crate::flv::{Tag, TagFlags, TagKind};
use crate::limits::LimitKind;
use crate::message::{Control, UserControl};
use crate::session::event::Reject;
use crate::time::{MediaTime, WireTime};

impl ServerSession {
    /// Says yes to the [`Publish`](crate::session::ServerEvent::Publish) event: the publisher is told to start. Bytes that came
    /// meanwhile are parsed now, so ask for events again. Without a waiting publish this does nothing.
    pub fn accept_publish(&mut self, now: Instant) {
        let Phase::Deciding(asked) = self.phase else { return };
        if !asked.publish {
            return;
        }
        self.phase = Phase::Publishing(asked);
        let limits = self.config.publisher;
        self.link.set_limits(&limits);
        self.accepted(asked, now);
        self.tell(asked.stream_id, &Status::info("NetStream.Publish.Start", "Stream is now published."));
        self.resume();
    }

    /// Says yes to the [`Play`](crate::session::ServerEvent::Play) event: the player is told that the stream begins. Bytes that came
    /// meanwhile are parsed now, so ask for events again. Without a waiting play this does nothing.
    pub fn accept_play(&mut self, now: Instant) {
        let Phase::Deciding(asked) = self.phase else { return };
        if asked.publish {
            return;
        }
        self.phase = Phase::Playing(asked);
        let limits = self.config.player;
        self.link.set_limits(&limits);
        self.link.send_control(&Control::User(UserControl::StreamBegin(asked.stream_id)));
        self.accepted(asked, now);
        if asked.reset {
            let status = Status::info("NetStream.Play.Reset", "Playing and resetting stream.");
            self.tell(asked.stream_id, &status);
        }
        self.tell(asked.stream_id, &Status::info("NetStream.Play.Start", "Started playing stream."));
        self.resume();
    }

    /// Says no to the waiting publish or play. The client is told why; then the session is
    /// [finished](Self::is_finished). Without a waiting publish or play this does nothing.
    pub fn reject(&mut self, reason: Reject, now: Instant) {
        let Phase::Deciding(asked) = self.phase else { return };
        self.last_input = now;
        let status = refusal(asked.publish, reason);
        self.tell(asked.stream_id, &status);
        if self.wants_answer(asked.transaction) {
            let answer = Command::new("_error", asked.transaction, vec![status.to_value()]);
            self.link.send_command(0, &answer);
        }
        self.end();
    }

    /// Refuses the connection as a whole, whatever the client wants: its `connect` is answered with
    /// `NetConnection.Connect.Rejected` and `description`, and the session is [finished](Self::is_finished). For a server
    /// that is full; clients try again if the description says "busy" or "too many". After `connect` was answered this
    /// is [`finish`](Self::finish).
    pub fn refuse_connect(&mut self, description: &str) {
        if self.app.is_some() {
            self.finish();
        } else if self.phase != Phase::Ended {
            self.refusal = Some(description.to_owned());
        }
    }

    /// Sends the timestamps of tags minus `base`: what the player sees as time 0. Default
    /// [`MediaTime::ZERO`].
    pub fn set_base(&mut self, base: MediaTime) {
        self.link.base = base;
    }

    /// Sends a tag to a player. Without an accepted play this does nothing.
    pub fn send_tag(&mut self, tag: &Tag) {
        if let Phase::Playing(asked) = self.phase {
            self.link.send_tag(asked.stream_id, tag);
        }
    }

    /// Sends a tag that was chunked for all players. Without an accepted play this does nothing.
    pub fn send_shared(&mut self, message: &SharedMessage) {
        if let Phase::Playing(asked) = self.phase {
            self.link.send_shared(asked.stream_id, message);
        }
    }

    /// Sends tags that were put together for all players. Says `false`, and sends nothing, if this player did not get what came
    /// before them as the others did: then each is to be sent by [`send_shared`](Self::send_shared). Without an accepted
    /// play nothing is sent, either way.
    #[must_use]
    pub fn send_batch(&mut self, batch: &SharedBatch) -> bool {
        match self.phase {
            Phase::Playing(asked) => self.link.send_batch(asked.stream_id, batch),
            _ => false,
        }
    }

    /// Tells a player that the stream begins, again after [`send_stream_eof`](Self::send_stream_eof).
    pub fn send_stream_begin(&mut self) {
        if let Phase::Playing(asked) = self.phase {
            self.link.send_control(&Control::User(UserControl::StreamBegin(asked.stream_id)));
        }
    }

    /// Tells a player that nothing comes for now: the publisher is gone but may come back.
    pub fn send_stream_eof(&mut self) {
        if let Phase::Playing(asked) = self.phase {
            self.link.send_control(&Control::User(UserControl::StreamEof(asked.stream_id)));
        }
    }

    /// Asks the client to reconnect, to `url` (a whole or relative URL of server and application) or to where it is
    /// now: the server is going away, or wants the client elsewhere. True if it was asked, which is so after `connect`
    /// and if it announced [`Extended::RECONNECT`]. The session goes on until the client leaves.
    pub fn request_reconnect(&mut self, url: Option<&str>, description: &str) -> bool {
        let is_over = matches!(self.phase, Phase::Handshake | Phase::Ended | Phase::Leaving { .. });
        if is_over || !self.capabilities.extended().contains(Extended::RECONNECT) {
            return false;
        }
        let mut info = vec![
            ("level", Value::from("status")),
            ("code", Value::from(RECONNECT_REQUEST)),
            ("description", Value::from(description)),
        ];
        info.extend(url.map(|url| ("tcUrl", Value::from(url))));
        self.link.send_command(0, &Command::new("onStatus", 0.0, vec![Value::object(info)]));
        true
    }

    /// Ends the session from the server's side: a player hears that the stream was unpublished, a publisher that its
    /// publication ended. Then the session is [finished](Self::is_finished).
    pub fn finish(&mut self) {
        match self.phase {
            Phase::Playing(asked) => {
                let status = Status::info("NetStream.Play.UnpublishNotify", "Stream is now unpublished.");
                self.tell(asked.stream_id, &status);
                self.link.send_control(&Control::User(UserControl::StreamEof(asked.stream_id)));
            }
            Phase::Publishing(asked) => {
                let status = Status::info("NetStream.Unpublish.Success", "Stream is unpublished.");
                self.tell(asked.stream_id, &status);
            }
            Phase::Deciding(asked) => {
                let code = if asked.publish { "NetStream.Publish.Failed" } else { "NetStream.Play.Failed" };
                self.tell(asked.stream_id, &Status::error(code, "server is going down"));
            }
            _ => {}
        }
        self.end();
    }

    /// Audio, video or data of the client.
    pub(super) fn media(&mut self, kind: TagKind, timestamp: WireTime, payload: Bytes) -> Result<(), Error> {
        if self.wants_media(kind == TagKind::Script)?
            && let Some(tag) = self.link.tag(kind, timestamp, payload)
        {
            if is_kept(&tag) && tag.body.len() > self.link.limits.header_bytes {
                return Err(self.too_long_header());
            }
            self.events.push_tag(tag);
        }
        Ok(())
    }

    /// Several of them in one message.
    pub(super) fn aggregate(&mut self, timestamp: WireTime, payload: Bytes) -> Result<(), Error> {
        if self.wants_media(false)? {
            let aggregate = self.link.aggregate(timestamp, payload)?;
            if aggregate.any_over(self.link.limits.header_bytes, is_kept) {
                return Err(self.too_long_header());
            }
            self.events.push_aggregate(aggregate);
        }
        Ok(())
    }

    fn too_long_header(&self) -> Error {
        Error::limit(LimitKind::HeaderBytes, self.link.limits.header_bytes as u64, self.link.received())
    }

    /// Whether media is of interest now; an error where it has no place.
    fn wants_media(&self, is_script: bool) -> Result<bool, Error> {
        match self.phase {
            Phase::Publishing(_) => Ok(true),
            Phase::Leaving { .. } => Ok(false),
            // The last of the stream before.
            Phase::Commands if self.again => Ok(false),
            Phase::Playing(_) if is_script => Ok(false),
            Phase::Playing(_) => Err(self.protocol("media from a player")),
            _ => Err(self.protocol("media before publish")),
        }
    }

    fn accepted(&mut self, asked: Asked, now: Instant) {
        self.link.set_total(u64::MAX);
        self.last_input = now;
        self.pinged = None;
        if self.wants_answer(asked.transaction) {
            let answer = Command::new("_result", asked.transaction, vec![Value::Null]);
            self.link.send_command(0, &answer);
        }
    }

    /// `onStatus` that the client did not cause by itself.
    fn tell(&mut self, stream_id: u32, status: &Status) {
        self.link.send_command(stream_id, &status.to_command());
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        self.held = BytesMut::new();
    }
}

/// Whether the tag is kept for players that join later.
fn is_kept(tag: &Tag) -> bool {
    tag.is_sequence_header() || tag.flags.contains(TagFlags::METADATA)
}

/// The table in the documentation of [`Reject`].
fn refusal(publish: bool, reason: Reject) -> Status {
    let (code, description) = match (reason, publish) {
        (Reject::Custom { code, description }, _) => return Status::error(&code, &description),
        (Reject::BadName, true) => ("NetStream.Publish.BadName", "Stream name or key is not valid."),
        (Reject::NotFound, true) => ("NetStream.Publish.BadName", "No such stream."),
        (Reject::Busy, true) => ("NetStream.Publish.BadName", "Stream is already publishing."),
        (Reject::Denied, true) => ("NetStream.Publish.Denied", "Publishing is not allowed."),
        (Reject::BadName | Reject::NotFound, false) => ("NetStream.Play.StreamNotFound", "No such stream."),
        (Reject::Busy, false) => ("NetStream.Play.Failed", "Server is busy."),
        (Reject::Denied, false) => ("NetStream.Play.Failed", "Playing is not allowed."),
    };
    Status::error(code, description)
}
