//! How the words of this crate look as JSON and the like (feature `serde`).
//!
//! In: figures and events of servers. Out: any serde format, in the forms of flowcast-core: lengths of time are seconds, in fields
//! that end in `_seconds`; points in time are RFC 3339 in UTC; errors are `{code, message}`; addresses and numbers are as they
//! print. No key is in any of it.

use std::sync::Arc;

use flowcast_core::{seconds, utc};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::admission::AdmissionKind;
use crate::error::Error;
use crate::event::{Departure, ServerEvent, ServerEventKind};
use crate::refusal::RefusalReason;
use crate::stats::ServerStats;
use crate::visit::PlayerStats;

/// Its word.
impl Serialize for RefusalReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// Its word.
impl Serialize for AdmissionKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// `{code, message}`: the stable code, and the error with its causes.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut to = to.serialize_struct("Error", 2)?;
        to.serialize_field("code", self.code())?;
        to.serialize_field("message", &flowcast_core::chain(self))?;
        to.end()
    }
}

/// `{why, error}`: its word, and the error if there is one.
impl Serialize for Departure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut to = to.serialize_struct("Departure", 2)?;
        to.serialize_field("why", self.as_str())?;
        let error = if let Self::Failed(error) = self { Some(error) } else { None };
        to.serialize_field("error", &error)?;
        to.end()
    }
}

/// Its fields; `refusals` has how many were refused for each reason.
impl Serialize for ServerStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Named one by one: what is added to the figures is missed here.
        let Self {
            accepted,
            connections,
            publishers,
            players,
            refused_full,
            refused_publish,
            refused_play,
            refusals: _,
            too_fast,
            assembly_bytes,
            protocol_errors,
            tls_errors,
            timeouts,
            relays,
            relays_begun,
            relays_failed,
            bytes_received,
            dropped_tags,
            bytes_sent,
            missed_events,
        } = self;
        let mut to = to.serialize_struct("ServerStats", 20)?;
        to.serialize_field("accepted", accepted)?;
        to.serialize_field("connections", connections)?;
        to.serialize_field("publishers", publishers)?;
        to.serialize_field("players", players)?;
        to.serialize_field("refused_full", refused_full)?;
        to.serialize_field("refused_publish", refused_publish)?;
        to.serialize_field("refused_play", refused_play)?;
        to.serialize_field("refusals", &Refusals(self))?;
        to.serialize_field("too_fast", too_fast)?;
        to.serialize_field("assembly_bytes", assembly_bytes)?;
        to.serialize_field("protocol_errors", protocol_errors)?;
        to.serialize_field("tls_errors", tls_errors)?;
        to.serialize_field("timeouts", timeouts)?;
        to.serialize_field("relays", relays)?;
        to.serialize_field("relays_begun", relays_begun)?;
        to.serialize_field("relays_failed", relays_failed)?;
        to.serialize_field("bytes_received", bytes_received)?;
        to.serialize_field("dropped_tags", dropped_tags)?;
        to.serialize_field("bytes_sent", bytes_sent)?;
        to.serialize_field("missed_events", missed_events)?;
        to.end()
    }
}

struct Refusals<'a>(&'a ServerStats);

impl Serialize for Refusals<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(RefusalReason::ALL.map(|reason| (reason, self.0.refused(reason))))
    }
}

/// Its fields; `since_seconds`, `lag_seconds`.
impl Serialize for PlayerStats {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { peer, name, since, bytes_sent, drops, lag } = self;
        let mut to = to.serialize_struct("PlayerStats", 6)?;
        to.serialize_field("peer", &peer.to_string())?;
        to.serialize_field("name", &**name)?;
        to.serialize_field("since_seconds", &seconds(*since))?;
        to.serialize_field("bytes_sent", bytes_sent)?;
        to.serialize_field("drops", drops)?;
        to.serialize_field("lag_seconds", &seconds(*lag))?;
        to.end()
    }
}

/// `at`, `peer`, `event` (its [`name`](ServerEventKind::name)), `text` (its sentence), and the fields of its kind.
impl Serialize for ServerEvent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { at, peer, kind } = self;
        let mut to = to.serialize_map(None)?;
        to.serialize_entry("at", &utc(*at).to_string())?;
        to.serialize_entry("peer", &peer.map(|peer| peer.to_string()))?;
        fields(kind, &mut to)?;
        to.end()
    }
}

/// `event` (its [`name`](ServerEventKind::name)), `text` (its sentence), and its fields; `after_seconds`.
impl Serialize for ServerEventKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut to = to.serialize_map(None)?;
        fields(self, &mut to)?;
        to.end()
    }
}

fn fields<M: SerializeMap>(kind: &ServerEventKind, to: &mut M) -> Result<(), M::Error> {
    to.serialize_entry("event", kind.name())?;
    to.serialize_entry("text", &kind.to_string())?;
    match kind {
        ServerEventKind::ConnectionRefused { reason } => to.serialize_entry("reason", reason),
        ServerEventKind::PublishRefused { reason, app } | ServerEventKind::PlayRefused { reason, app } => {
            to.serialize_entry("reason", reason)?;
            to.serialize_entry("app", &**app)
        }
        ServerEventKind::AcceptFailed { error } => {
            let (what, source) = ("no connection can be accepted", Arc::clone(error));
            to.serialize_entry("error", &flowcast_core::Error::System { what, source })
        }
        ServerEventKind::ConnectionFailed { error } => to.serialize_entry("error", error),
        ServerEventKind::PublisherJoined { name, stream }
        | ServerEventKind::PublisherReturned { name, stream }
        | ServerEventKind::PublisherTookOver { name, stream }
        | ServerEventKind::PlayerJoined { name, stream } => {
            to.serialize_entry("name", &**name)?;
            to.serialize_entry("stream", stream)
        }
        ServerEventKind::PlayerDropped { name, tags } => {
            to.serialize_entry("name", &**name)?;
            to.serialize_entry("tags", tags)
        }
        ServerEventKind::RelayBegan { name, stream, after } => {
            to.serialize_entry("name", &**name)?;
            to.serialize_entry("stream", stream)?;
            to.serialize_entry("after_seconds", &seconds(*after))
        }
        ServerEventKind::RelayFailed { reason, error } => {
            to.serialize_entry("reason", reason)?;
            to.serialize_entry("error", error)
        }
        ServerEventKind::RelayEnded { name, stream, error, after } => {
            to.serialize_entry("name", &**name)?;
            to.serialize_entry("stream", stream)?;
            to.serialize_entry("error", error)?;
            to.serialize_entry("after_seconds", &seconds(*after))
        }
        ServerEventKind::PublisherLeft { name, why, bytes, after } => {
            to.serialize_entry("name", &**name)?;
            to.serialize_entry("departure", why)?;
            to.serialize_entry("bytes", bytes)?;
            to.serialize_entry("after_seconds", &seconds(*after))
        }
        ServerEventKind::PlayerLeft { name, why, bytes, drops, after } => {
            to.serialize_entry("name", &**name)?;
            to.serialize_entry("departure", why)?;
            to.serialize_entry("bytes", bytes)?;
            to.serialize_entry("drops", drops)?;
            to.serialize_entry("after_seconds", &seconds(*after))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    fn value(of: &impl Serialize) -> Value {
        serde_json::to_value(of).expect("it can be written")
    }

    #[test]
    fn an_event_has_its_time_client_name_sentence_and_fields() {
        let why = Departure::Failed(flowcast_core::Error::Ended);
        let kind = ServerEventKind::PlayerLeft {
            name: "studio".into(),
            why,
            bytes: 7,
            drops: 2,
            after: Duration::from_millis(1500),
        };
        let peer = Some("192.0.2.7:50000".parse().expect("an address"));
        let event = ServerEvent { at: UNIX_EPOCH, peer, kind };
        assert_eq!(
            value(&event),
            json!({
                "at": "1970-01-01T00:00:00.000Z", "peer": "192.0.2.7:50000", "event": "player_left",
                "text": "played studio for 1.5 s, 7 bytes, 2 tags dropped: the stream has ended", "name": "studio",
                "departure": {"why": "failed", "error": {"code": "STREAM_ENDED", "message": "the stream has ended"}},
                "bytes": 7, "drops": 2, "after_seconds": 1.5,
            })
        );
        let error = Arc::new(std::io::Error::other("no descriptors"));
        let failed =
            value(&ServerEvent { at: UNIX_EPOCH, peer: None, kind: ServerEventKind::AcceptFailed { error } });
        assert_eq!((&failed["peer"], &failed["error"]["code"]), (&Value::Null, &json!("SYSTEM_RESOURCE")));
        assert_eq!(failed["error"]["message"], json!("no connection can be accepted: no descriptors"));
    }

    #[test]
    fn figures_have_each_refusal_by_its_word() {
        let counters = crate::stats::Counters::default();
        counters.turned_away(RefusalReason::Crowd);
        let stats = value(&counters.snapshot());
        assert_eq!((&stats["refused_full"], &stats["refusals"]["crowd"]), (&json!(1), &json!(1)));
        assert_eq!(stats["refusals"].as_object().map(serde_json::Map::len), Some(RefusalReason::ALL.len()));
        let player = PlayerStats {
            peer: "[2001:db8::1]:80".parse().expect("an address"),
            name: "studio".into(),
            since: Duration::from_secs(2),
            bytes_sent: 1,
            drops: 0,
            lag: Duration::from_millis(40),
        };
        assert_eq!(
            value(&player),
            json!({
                "peer": "[2001:db8::1]:80", "name": "studio", "since_seconds": 2.0, "bytes_sent": 1, "drops": 0,
                "lag_seconds": 0.04,
            })
        );
        let error = Error::Options { name: "assembly", reason: "must be at least 1 MiB" };
        assert_eq!(
            value(&error),
            json!({"code": "CONFIG_INVALID", "message": "assembly: must be at least 1 MiB"})
        );
    }
}
