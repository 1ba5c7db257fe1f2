//! What the client asks for, step by step, and the server's answers.

use std::time::Instant;

use super::{ClientRole, ClientSession, Step, login};
use crate::amf0::Value;
use crate::capability::Capabilities;
use crate::command::{Command, RECONNECT_REQUEST, Status, VIA};
use crate::error::{Deadline, Error, is_within_meaning, rejection_is_retryable};
use crate::message::{Control, UserControl};
use crate::session::event::ClientEvent;

/// Transaction ids; every request is sent once.
mod transaction {
    pub(super) const CONNECT: f64 = 1.0;
    pub(super) const RELEASE_STREAM: f64 = 2.0;
    pub(super) const FC_PUBLISH: f64 = 3.0;
    pub(super) const CREATE_STREAM: f64 = 4.0;
    pub(super) const START: f64 = 5.0;
    pub(super) const FC_UNPUBLISH: f64 = 6.0;
    pub(super) const DELETE_STREAM: f64 = 7.0;
}

/// Longest code and description kept of a server's words, bytes.
const MAX_CODE: usize = 256;
const MAX_DESCRIPTION: usize = 1024;

impl ClientSession {
    /// `connect` goes first and in chunks of 128: `ffmpeg -listen` takes nothing else as its first message.
    pub(super) fn send_connect(&mut self, now: Instant) {
        let (mut app, mut tc_url) = (self.destination.app().to_owned(), self.destination.tc_url());
        if let Some(login) = &self.config.login {
            (app, tc_url) = (login.added_to(&app), login.added_to(&tc_url));
        }
        let mut object = vec![
            ("app", Value::from(app.as_str())),
            ("type", Value::from("nonprivate")),
            ("flashVer", Value::from(self.config.flash_ver.as_str())),
            ("tcUrl", Value::from(tc_url.as_str())),
        ];
        if self.role == ClientRole::Play {
            object.extend([
                ("fpad", Value::from(false)),
                ("capabilities", Value::from(15.0)),
                ("audioCodecs", Value::from(4071.0)),
                ("videoCodecs", Value::from(252.0)),
                ("videoFunction", Value::from(1.0)),
            ]);
        }
        if self.config.enhanced {
            object.extend(Capabilities::own());
        }
        if !self.config.via.is_empty() {
            object.push((VIA, Value::from(self.config.via.as_str())));
        }
        let connect =
            Command::with_object("connect", transaction::CONNECT, Value::object(object), Vec::new());
        self.link.send_command(0, &connect);
        self.link.send_control(&Control::SetChunkSize(self.config.chunk_size.clamp(1, 0xFF_FFFF)));
        self.step = Step::Connect;
        self.wait_for(Deadline::ConnectReply, self.config.reply_timeout, now);
    }

    pub(super) fn command(&mut self, command: &Command, now: Instant) -> Result<(), Error> {
        match command.name.as_str() {
            "_result" => {
                self.result(command, now);
                Ok(())
            }
            "_error" => self.error(command),
            "onStatus" if self.config.enhanced && Status::of(command).code == RECONNECT_REQUEST => {
                self.reconnect_request(command);
                Ok(())
            }
            "onStatus" => self.status(Status::of(command)),
            "close" => {
                self.close("close");
                Ok(())
            }
            // onBWDone, onFCPublish and the like want no answer.
            _ => Ok(()),
        }
    }

    fn result(&mut self, command: &Command, now: Instant) {
        let transaction = command.transaction;
        if self.step == Step::Connect && transaction == transaction::CONNECT {
            // The object of the server's properties has them; some put them beside the status.
            let objects = || std::iter::once(&command.object).chain(&command.arguments);
            let announced = objects().map(Capabilities::from_object).find(Capabilities::is_announced);
            self.capabilities = announced.unwrap_or_default();
            self.events.push_back(ClientEvent::Connected);
            self.link.send_control(&Control::WindowAckSize(self.config.window));
            if self.role == ClientRole::Publish {
                self.call("releaseStream", transaction::RELEASE_STREAM);
                self.call("FCPublish", transaction::FC_PUBLISH);
            }
            let create = Command::new("createStream", transaction::CREATE_STREAM, Vec::new());
            self.link.send_command(0, &create);
            self.step = Step::CreateStream;
            self.wait_for(Deadline::CreateStreamReply, self.config.reply_timeout, now);
        } else if self.step == Step::CreateStream && transaction == transaction::CREATE_STREAM {
            let id = command.arguments.first().or(Some(&command.object)).and_then(Value::as_number);
            self.stream_id = id.unwrap_or(1.0) as u32;
            self.send_start(now);
        }
    }

    fn send_start(&mut self, now: Instant) {
        let key = Value::from(self.destination.key().reveal());
        let (start, deadline) = match self.role {
            ClientRole::Publish => {
                let arguments = vec![key, Value::from("live")];
                (Command::new("publish", transaction::START, arguments), Deadline::PublishReply)
            }
            ClientRole::Play => {
                // The live stream, or the recording if there is none; in milliseconds, as librtmp and ffmpeg do.
                let arguments = vec![key, Value::from(-2000.0)];
                (Command::new("play", transaction::START, arguments), Deadline::PlayReply)
            }
        };
        self.link.send_command(self.stream_id, &start);
        if self.role == ClientRole::Play {
            let (stream_id, millis) = (self.stream_id, self.config.buffer_millis);
            self.link.send_control(&Control::User(UserControl::SetBufferLength { stream_id, millis }));
        }
        self.step = Step::Start;
        self.wait_for(deadline, self.config.reply_timeout, now);
    }

    /// A refused request ends the session, unless the session does not need it. Servers on `rml_rtmp` refuse a publish or
    /// play with transaction 0: that means the request that waits.
    fn error(&mut self, command: &Command) -> Result<(), Error> {
        let needed = match self.step {
            Step::Connect => transaction::CONNECT,
            Step::CreateStream => transaction::CREATE_STREAM,
            Step::Start => transaction::START,
            Step::Handshake | Step::Live | Step::Ended => return Ok(()),
        };
        if command.transaction != needed && command.transaction != 0.0 {
            return Ok(());
        }
        if let Some(url) = redirect(command) {
            self.events.push_back(ClientEvent::Redirect { url });
            self.end();
            return Ok(());
        }
        let mut status = Status::of(command);
        if status.code.is_empty() {
            let code = if self.step == Step::Connect {
                "NetConnection.Connect.Rejected"
            } else {
                "NetConnection.Call.Failed"
            };
            status.code = code.to_owned();
        }
        self.refused(&status)
    }

    /// The server refuses, or asks for a login.
    fn refused(&mut self, status: &Status) -> Result<(), Error> {
        if self.step != Step::Connect || !login::is_asked(&status.description) {
            return Err(self.rejected(status));
        }
        let before = self.config.login.as_ref();
        match login::answer(&status.description, &self.destination, before, self.nonce) {
            Ok(answer) => {
                self.events.push_back(ClientEvent::Login(answer));
                self.end();
                Ok(())
            }
            Err(reason) => Err(Error::Login { reason, description: self.redacted(status).description }),
        }
    }

    fn status(&mut self, status: Status) -> Result<(), Error> {
        let live = self.step == Step::Live;
        match (status.code.as_str(), self.role) {
            ("NetStream.Publish.Start", ClientRole::Publish) | ("NetStream.Play.Start", ClientRole::Play) => {
                self.go_live();
            }
            (code, _) if is_refusal(&status.level, code) => return self.refused(&status),
            (
                "NetStream.Unpublish.Success"
                | "NetStream.Play.UnpublishNotify"
                | "NetStream.Play.Stop"
                | "NetStream.Play.Complete",
                _,
            ) if live => self.close(&status.code),
            ("NetConnection.Connect.Closed" | "NetConnection.Connect.AppShutdown", _) => {
                self.close(&status.code);
            }
            _ => {
                let Status { level, code, description } = self.redacted(&status);
                self.events.push_back(ClientEvent::Status { level, code, description });
            }
        }
        Ok(())
    }

    fn reconnect_request(&mut self, command: &Command) {
        let url = command.arguments.iter().find_map(|value| value.get("tcUrl")).and_then(Value::as_str);
        let url = url.map(|url| clip(&resolve(&self.destination.tc_url(), url), MAX_DESCRIPTION));
        let description = self.redacted(&Status::of(command)).description;
        self.events.push_back(ClientEvent::ReconnectRequest { url, description });
    }

    pub(super) fn go_live(&mut self) {
        if self.step == Step::Start {
            self.step = Step::Live;
            self.waiting = None;
            self.events.push_back(ClientEvent::Live);
        }
    }

    fn close(&mut self, code: &str) {
        self.events.push_back(ClientEvent::Closed { code: clip(code, MAX_CODE) });
        self.end();
    }

    /// Says goodbye: the server frees the stream name at once instead of waiting for the connection to die.
    /// Then the session is [finished](Self::is_finished).
    pub fn finish(&mut self) {
        if matches!(self.step, Step::Start | Step::Live) {
            if self.role == ClientRole::Publish {
                self.call("FCUnpublish", transaction::FC_UNPUBLISH);
            }
            let arguments = vec![Value::from(f64::from(self.stream_id))];
            let delete = Command::new("deleteStream", transaction::DELETE_STREAM, arguments);
            self.link.send_command(0, &delete);
        }
        self.end();
    }

    /// A call with the stream key as its argument.
    fn call(&mut self, name: &str, transaction: f64) {
        let key = Value::from(self.destination.key().reveal());
        self.link.send_command(0, &Command::new(name, transaction, vec![key]));
    }

    fn rejected(&self, status: &Status) -> Error {
        let Status { code, description, .. } = self.redacted(status);
        Error::Rejected { code, description }
    }

    /// Some servers repeat the stream key in their answers, or a token in its query.
    fn redacted(&self, status: &Status) -> Status {
        let secrets = self.destination.secrets();
        Status {
            level: clip(&status.level, MAX_CODE),
            // A short key may be part of what every server says: then it is no secret, and the code decides what is done.
            code: clip(
                &if is_usual(&status.code) { status.code.clone() } else { blotted(&status.code, &secrets) },
                MAX_CODE,
            ),
            description: clip(&described(status, &secrets), MAX_DESCRIPTION),
        }
    }
}

/// `text` without any of `secrets`.
fn blotted(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "****"))
}

/// What a status says, without secrets. If a short key is a part of the word that makes a refusal final or not ("already", "in
/// use"), it stays in that word: there it is no secret, and without the word the refusal would be taken for another one.
fn described(status: &Status, secrets: &[String]) -> String {
    let Status { code, description, .. } = status;
    let all = blotted(description, secrets);
    let careful = secrets.iter().fold(description.clone(), |text, secret| hidden(&text, secret));
    let again = |description: &str| rejection_is_retryable(code, description);
    if again(&all) == again(&careful) { all } else { careful }
}

/// `text` without `secret`, but where that is a part of a word that says what a refusal means.
fn hidden(text: &str, secret: &str) -> String {
    let (mut shown, mut done) = (String::with_capacity(text.len()), 0);
    for (start, _) in text.match_indices(secret) {
        let end = start.saturating_add(secret.len());
        if !is_within_meaning(text, start, end) {
            shown.push_str(text.get(done..start).unwrap_or_default());
            shown.push_str("****");
            done = end;
        }
    }
    shown.push_str(text.get(done..).unwrap_or_default());
    shown
}

/// Whether a code is one that servers have in common: an object, what it was asked for, and what became of it.
fn is_usual(code: &str) -> bool {
    let words = ["Publish", "Play", "Connect", "Call", "Unpublish", "Record"];
    let mut parts = code.split('.');
    matches!(parts.next(), Some("NetStream" | "NetConnection"))
        && parts.next().is_some_and(|word| words.contains(&word))
        && matches!(
            parts.next(),
            Some(
                "Start"
                    | "BadName"
                    | "Denied"
                    | "Rejected"
                    | "Failed"
                    | "Success"
                    | "StreamNotFound"
                    | "Stop"
                    | "Reset"
                    | "InvalidApp"
                    | "AppShutdown"
                    | "Closed"
                    | "IdleTimeout"
                    | "NetworkChange"
                    | "InvalidArg"
                    | "Unauthorized"
                    | "InsufficientBW"
                    | "UnpublishNotify"
                    | "PublishNotify"
                    | "Complete"
            )
        )
        && parts.next().is_none()
}

/// Statuses that mean no, for servers that do not say so in the level too.
fn is_refusal(level: &str, code: &str) -> bool {
    level == "error"
        || matches!(
            code,
            "NetStream.Publish.BadName"
                | "NetStream.Publish.Denied"
                | "NetStream.Publish.Rejected"
                | "NetStream.Publish.Failed"
                | "NetStream.Play.StreamNotFound"
                | "NetStream.Play.Failed"
                | "NetStream.Failed"
                | "NetConnection.Connect.Rejected"
                | "NetConnection.Connect.Failed"
                | "NetConnection.Connect.InvalidApp"
        )
}

/// Where a refused `connect` sends the client: `ex: {code: 302, redirect: url}`.
fn redirect(command: &Command) -> Option<String> {
    let ex = command.arguments.iter().find_map(|value| value.get("ex"))?;
    let url = ex.get("redirect").and_then(Value::as_str)?;
    (ex.get("code").and_then(Value::as_number) == Some(302.0)).then(|| clip(url, MAX_DESCRIPTION))
}

/// A URL reference made whole, seen from `base` (RFC 3986, section 5.2, without dot segments).
fn resolve(base: &str, reference: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("rtmp", base));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if reference.contains("://") {
        reference.to_owned()
    } else if let Some(other) = reference.strip_prefix("//") {
        format!("{scheme}://{other}")
    } else if let Some(other) = reference.strip_prefix('/') {
        format!("{scheme}://{authority}/{other}")
    } else if reference.is_empty() {
        base.to_owned()
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{scheme}://{authority}/{folder}{slash}{reference}")
    }
}

/// The text, at most `limit` bytes of it.
fn clip(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        for (text, secret, expected) in [
            ("live/s3cret is taken: s3cret", "s3cret", "live/**** is taken: ****"),
            ("no such stream my-key", "my-key", "no such stream ****"),
            ("busy-bee is busy", "busy-bee", "**** is busy"),
            ("a\u{e4}b\u{e4}c", "\u{e4}", "a****b****c"),
            ("aaaa", "aa", "********"),
            ("", "x", ""),
        ] {
            assert_eq!(hidden(text, secret), expected, "{text:?} {secret:?}");
        }
    }

    #[test]
    fn a_refusal_means_the_same_whatever_the_key_is() {
        let cases = [
            ("Already publishing", true),
            ("is in use", true),
            ("stream busy", true),
            ("no such stream", false),
        ];
        for (description, again) in cases {
            for key in ["in", "use", "busy", "Already", "ready", "such", "o such", "no", "s", "e"] {
                let code = "NetStream.Publish.BadName".to_owned();
                let status = Status { level: "error".to_owned(), code, description: description.to_owned() };
                let description = described(&status, &[key.to_owned()]);
                let error = Error::Rejected { code: status.code, description };
                assert_eq!(error.is_retryable(), again, "{error} with the key {key:?}");
            }
        }
    }

    #[test]
    fn a_key_that_decides_nothing_is_hidden_even_if_it_is_such_a_word() {
        let (level, code) = ("error".to_owned(), "NetStream.Publish.BadName".to_owned());
        let status = Status { level, code, description: "wrong stream key: key".to_owned() };
        assert_eq!(described(&status, &["key".to_owned()]), "wrong stream ****: ****");
    }
}
