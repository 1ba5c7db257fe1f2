//! Commands: what AMF0 command messages say, typed
//! ([RTMP 1.0, section 7.2](https://rtmp.veriskope.com/docs/spec/#72types-of-commands)).

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::amf0::{self, AmfError, Value};
use crate::capability::Capabilities;
use crate::key::StreamKey;
use crate::limits::Limits;
use crate::message::type_id;

/// The status that asks a client to reconnect: Enhanced RTMP v2, "Reconnect Request".
pub(crate) const RECONNECT_REQUEST: &str = "NetConnection.Connect.ReconnectRequest";

/// A command as it is on the wire: name, transaction, command object, arguments.
///
/// `Debug` shows name and transaction only: the arguments may hold a stream key.
#[derive(Clone, PartialEq)]
pub struct Command {
    /// What is called.
    pub name: String,
    /// Transaction id; 0 if no answer is wanted.
    pub transaction: f64,
    /// Command object, null for most.
    pub object: Value,
    /// What follows the command object.
    pub arguments: Vec<Value>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("name", &self.name)
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl Command {
    /// A command with a null command object.
    #[must_use]
    pub fn new(name: &str, transaction: f64, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction, object: Value::Null, arguments }
    }

    /// A command with a command object.
    #[must_use]
    pub fn with_object(name: &str, transaction: f64, object: Value, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction, object, arguments }
    }

    /// Reads the body of a message of type 20, or of type 17 (a zero byte, then AMF0 that may hold AMF3 values); `None` if it is no command: its
    /// first value is not a name.
    ///
    /// # Errors
    ///
    /// The body is not AMF0 or goes beyond the limits.
    pub fn parse(type_id: u8, body: &[u8], limits: &Limits) -> Result<Option<Self>, AmfError> {
        let mut values = amf0::decode_all(unwrap_amf3(type_id, body), limits)?.into_iter();
        let Some(Value::String(name)) = values.next() else { return Ok(None) };
        let transaction = values.next().and_then(|value| value.as_number()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Some(Self { name, transaction, object, arguments: values.collect() }))
    }

    /// The message body, AMF0.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(256);
        amf0::encode(&Value::String(self.name.clone()), &mut body);
        amf0::encode(&Value::Number(self.transaction), &mut body);
        amf0::encode(&self.object, &mut body);
        amf0::encode_all(&self.arguments, &mut body);
        body.freeze()
    }

    fn text(&self, index: usize) -> Option<String> {
        self.arguments.get(index)?.as_str().map(str::to_owned)
    }

    fn number(&self, index: usize) -> Option<f64> {
        self.arguments.get(index)?.as_number()
    }

    fn truth(&self, index: usize) -> Option<bool> {
        let value = self.arguments.get(index)?;
        value.as_bool().or_else(|| value.as_number().map(|number| number != 0.0))
    }

    fn key(&self) -> StreamKey {
        StreamKey::new(self.text(0).unwrap_or_default())
    }
}

/// The AMF0 body in an AMF3 message: one zero byte, then AMF0 which may switch to AMF3 for single values.
pub(crate) fn unwrap_amf3(type_id: u8, body: &[u8]) -> &[u8] {
    match (type_id, body) {
        (type_id::COMMAND_AMF3 | type_id::DATA_AMF3, [0, rest @ ..]) => rest,
        _ => body,
    }
}

/// What a client asks of a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Opens an application.
    Connect(Connect),
    /// Frees a stream name before publishing to it.
    ReleaseStream(StreamKey),
    /// Announces a publish.
    FcPublish(StreamKey),
    /// Announces the end of a publish.
    FcUnpublish(StreamKey),
    /// Announces a play.
    FcSubscribe(String),
    /// Wants a message stream.
    CreateStream,
    /// Gives a message stream back.
    DeleteStream {
        /// Message stream; 0 if it was left out.
        stream_id: u32,
    },
    /// Ends what runs on the message stream the command came on.
    CloseStream,
    /// Publishes on the message stream the command came on.
    Publish {
        /// Stream name with its query.
        key: StreamKey,
        /// `live`, `record` or `append`; empty if left out.
        mode: String,
    },
    /// Plays on the message stream the command came on.
    Play(Play),
    /// Length of a recording.
    GetStreamLength,
    /// Bandwidth check.
    CheckBandwidth,
    /// The pieces of a recording to play next.
    SetPlaylist,
    /// Pauses or goes on.
    Pause {
        /// True to pause.
        pause: bool,
        /// Position, milliseconds.
        millis: f64,
    },
    /// Jumps to a position.
    Seek {
        /// Position, milliseconds.
        millis: f64,
    },
    /// Wants audio or not.
    ReceiveAudio(bool),
    /// Wants video or not.
    ReceiveVideo(bool),
    /// `_result`, `_error` or `onStatus`: nothing to answer.
    Answer,
    /// Anything else.
    Unknown,
}

/// The property of `connect` by which relays know that they play from themselves.
pub(crate) const VIA: &str = "flowcastVia";
/// The most that is taken of it, bytes.
const MAX_VIA: usize = 1024;

/// The command object of `connect`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    /// Application, without surrounding slashes; may hold a query.
    pub app: String,
    /// URL the client connected to; empty if left out.
    pub tc_url: String,
    /// Name and version of the client software; empty if left out.
    pub flash_ver: String,
    /// The relays that a stream passes on its way to who watches it, where the client is a relay: their numbers with commas between them,
    /// the nearest to the server last. Empty for other clients, and if it is longer than 1024 bytes. It is flowcast's own property
    /// (`flowcastVia`), which other software passes over.
    pub via: String,
    /// What it can do beyond RTMP 1.0.
    pub capabilities: Capabilities,
}

/// The arguments of `play`.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// Stream name, may hold a query.
    pub name: String,
    /// Where to start, as sent: -2 live or recorded, -1 live only, from 0 a position in a recording. Flash players
    /// count in seconds, librtmp and ffmpeg in milliseconds (-2000, -1000).
    pub start: f64,
    /// How long, in the unit of `start`; -1 to the end.
    pub duration: f64,
    /// False to add to a playlist instead of starting over.
    pub reset: bool,
}

impl Request {
    /// What `command` asks for.
    #[must_use]
    pub fn from_command(command: &Command) -> Self {
        match command.name.as_str() {
            "connect" => Self::Connect(Connect::from_object(&command.object)),
            "releaseStream" => Self::ReleaseStream(command.key()),
            "FCPublish" => Self::FcPublish(command.key()),
            "FCUnpublish" => Self::FcUnpublish(command.key()),
            "FCSubscribe" => Self::FcSubscribe(command.text(0).unwrap_or_default()),
            "createStream" => Self::CreateStream,
            "deleteStream" => Self::DeleteStream { stream_id: command.number(0).unwrap_or(0.0) as u32 },
            "closeStream" => Self::CloseStream,
            "publish" => Self::Publish { key: command.key(), mode: command.text(1).unwrap_or_default() },
            "play" => Self::Play(Play {
                name: command.text(0).unwrap_or_default(),
                start: command.number(1).unwrap_or(-2.0),
                duration: command.number(2).unwrap_or(-1.0),
                reset: command.truth(3).unwrap_or(true),
            }),
            "getStreamLength" => Self::GetStreamLength,
            "_checkbw" => Self::CheckBandwidth,
            "set_playlist" => Self::SetPlaylist,
            "pause" | "pauseRaw" => Self::Pause {
                pause: command.truth(0).unwrap_or(true),
                millis: command.number(1).unwrap_or(0.0),
            },
            "seek" => Self::Seek { millis: command.number(0).unwrap_or(0.0) },
            "receiveAudio" => Self::ReceiveAudio(command.truth(0).unwrap_or(true)),
            "receiveVideo" => Self::ReceiveVideo(command.truth(0).unwrap_or(true)),
            "_result" | "_error" | "onStatus" => Self::Answer,
            _ => Self::Unknown,
        }
    }
}

impl Connect {
    fn from_object(object: &Value) -> Self {
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            app: text("app").trim_matches('/').to_owned(),
            tc_url: text("tcUrl").to_owned(),
            flash_ver: text("flashVer").to_owned(),
            via: Some(text(VIA)).filter(|via| via.len() <= MAX_VIA).unwrap_or_default().to_owned(),
            capabilities: Capabilities::from_object(object),
        }
    }
}

/// The information object of `onStatus`, `_result` and `_error`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// Such as `NetStream.Publish.Start`.
    pub code: String,
    /// For a person.
    pub description: String,
}

impl Status {
    /// Level `status`.
    #[must_use]
    pub fn info(code: &str, description: &str) -> Self {
        Self { level: "status".into(), code: code.into(), description: description.into() }
    }

    /// Level `error`.
    #[must_use]
    pub fn error(code: &str, description: &str) -> Self {
        Self { level: "error".into(), code: code.into(), description: description.into() }
    }

    /// Finds the information object among the values of an answer. Without one, texts are taken as description.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        let values = || command.arguments.iter().chain(std::iter::once(&command.object));
        let info = values().find(|value| value.get("code").is_some() || value.get("level").is_some());
        let text = |key| info.and_then(|info| info.get(key)).and_then(Value::as_str).unwrap_or_default();
        let mut status = Self {
            level: text("level").into(),
            code: text("code").into(),
            description: text("description").into(),
        };
        if info.is_none() {
            status.description = values().find_map(Value::as_str).unwrap_or_default().to_owned();
        }
        status
    }

    /// The information object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::object([
            ("level", Value::from(self.level.as_str())),
            ("code", Value::from(self.code.as_str())),
            ("description", Value::from(self.description.as_str())),
        ])
    }

    /// The `onStatus` command.
    #[must_use]
    pub fn to_command(&self) -> Command {
        Command::new("onStatus", 0.0, vec![self.to_value()])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn parse(command: &Command) -> Command {
        Command::parse(type_id::COMMAND, &command.encode(), &Limits::before_auth()).unwrap().unwrap()
    }

    #[test]
    fn commands_round_trip() {
        let object = Value::object([("app", Value::from("live/"))]);
        let connect = Command::with_object("connect", 1.0, object, vec![Value::Undefined]);
        assert_eq!(parse(&connect), connect);
        let Request::Connect(connect) = Request::from_command(&connect) else { panic!("not connect") };
        assert_eq!(connect.app, "live");
    }

    #[test]
    fn the_relays_of_a_client_are_taken_up_to_a_length() {
        let via = |text: &str| {
            let object = Value::object([("app", Value::from("live")), (VIA, Value::from(text))]);
            let connect = parse(&Command::with_object("connect", 1.0, object, Vec::new()));
            let Request::Connect(connect) = Request::from_command(&connect) else { panic!("not connect") };
            connect.via
        };
        assert_eq!(via("0a,0b"), "0a,0b");
        assert_eq!(via(&"x".repeat(MAX_VIA)).len(), MAX_VIA);
        assert_eq!(via(&"x".repeat(MAX_VIA + 1)), "");
    }

    #[test]
    fn amf3_wrapper_with_amf0_inside() {
        let mut body = vec![0];
        body.extend_from_slice(&Command::new("createStream", 4.0, Vec::new()).encode());
        let command = Command::parse(type_id::COMMAND_AMF3, &body, &Limits::before_auth()).unwrap().unwrap();
        assert_eq!(Request::from_command(&command), Request::CreateStream);
    }

    #[test]
    fn short_and_odd_commands() {
        let limits = Limits::before_auth();
        assert_eq!(Command::parse(type_id::COMMAND, &[], &limits), Ok(None));
        assert_eq!(Command::parse(type_id::COMMAND, &[5], &limits), Ok(None));
        let play = Command::new("play", 0.0, Vec::new());
        assert!(matches!(Request::from_command(&parse(&play)), Request::Play(play) if play.name.is_empty()));
        let pause = Command::new("pause", 0.0, vec![Value::from("x")]);
        assert_eq!(Request::from_command(&pause), Request::Pause { pause: true, millis: 0.0 });
        let delete = Command::new("deleteStream", 0.0, vec![Value::from(f64::NAN)]);
        assert_eq!(Request::from_command(&delete), Request::DeleteStream { stream_id: 0 });
    }

    #[test]
    fn a_key_does_not_show() {
        let publish = Command::new("publish", 5.0, vec![Value::from("secret"), Value::from("live")]);
        let shown = format!("{publish:?} {:?}", Request::from_command(&publish));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn status_is_found_wherever_servers_put_it() {
        let status = Status::error("NetStream.Publish.BadName", "in use");
        assert_eq!(Status::of(&status.to_command()), status);
        let in_object = Command::with_object("_error", 1.0, status.to_value(), Vec::new());
        assert_eq!(Status::of(&in_object), status);
        let text = Command::new("_error", 1.0, vec![Value::from("no")]);
        assert_eq!(Status::of(&text).description, "no");
    }
}
