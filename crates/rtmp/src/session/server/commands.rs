//! What the client asks for, and the answers.

use super::place::{Place, place};
use super::{Asked, Phase, ServerSession};
use crate::amf0::Value;
use crate::capability::Capabilities;
use crate::command::{Command, Connect, Play, Request, Status};
use crate::error::Error;
use crate::key::StreamKey;
use crate::limits::LimitKind;
use crate::message::Control;
use crate::session::event::{PlayRequest, PublishRequest, ServerEvent};

/// How Flash Media Server identifies itself; clients only check that it is there.
const FMS_VERSION: &str = "FMS/3,0,1,123";

impl ServerSession {
    pub(super) fn command(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        let transaction = command.transaction;
        let request = Request::from_command(command);
        if self.app.is_none() && !matches!(request, Request::Connect(_) | Request::Answer) {
            return Err(self.protocol("command before connect"));
        }
        match request {
            Request::Connect(connect) => self.connect(transaction, connect),
            Request::CreateStream => self.create_stream(transaction),
            Request::Publish { key, mode } => self.publish(stream_id, transaction, &key, mode),
            Request::Play(play) => self.play(stream_id, transaction, play),
            Request::FcPublish(_) => self.follow(transaction, "onFCPublish", "NetStream.Publish.Start"),
            Request::FcUnpublish(_) => {
                self.parting |= matches!(self.phase, Phase::Publishing(_));
                self.follow(transaction, "onFCUnpublish", "NetStream.Unpublish.Success")
            }
            Request::FcSubscribe(_) => self.follow(transaction, "onFCSubscribe", "NetStream.Play.Start"),
            Request::GetStreamLength => self.result(transaction, Value::Number(0.0)),
            Request::ReleaseStream(_) | Request::CheckBandwidth | Request::SetPlaylist => {
                self.result(transaction, Value::Null)
            }
            Request::DeleteStream { stream_id } => self.end_stream(stream_id, transaction),
            Request::CloseStream => self.end_stream(stream_id, transaction),
            Request::Pause { pause, .. } => self.pause(pause, transaction),
            Request::Seek { millis } => self.seek(millis, transaction),
            Request::ReceiveAudio(wanted) => {
                self.tell_player(ServerEvent::ReceiveAudio(wanted));
                self.result(transaction, Value::Null)
            }
            Request::ReceiveVideo(wanted) => {
                self.tell_player(ServerEvent::ReceiveVideo(wanted));
                self.result(transaction, Value::Null)
            }
            Request::Answer => Ok(()),
            Request::Unknown => self.error(transaction, "NetConnection.Call.Failed", "no such method"),
        }
    }

    fn connect(&mut self, transaction: f64, connect: Connect) -> Result<(), Error> {
        if self.app.is_some() {
            return Err(self.protocol("second connect"));
        }
        if connect.app.len() > self.config.app_bytes {
            self.error(transaction, "NetConnection.Connect.InvalidApp", "application name is too long")?;
            let allowed = self.config.app_bytes as u64;
            return Err(Error::limit(LimitKind::AppBytes, allowed, self.link.received()));
        }
        if let Some(description) = self.refusal.take() {
            let info = Status::error("NetConnection.Connect.Rejected", &description).to_value();
            self.link.reply_command(0, &Command::new("_error", transaction, vec![info]))?;
            self.end();
            return Ok(());
        }
        self.link.send_control(&Control::WindowAckSize(self.config.window));
        self.link.send_control(&Control::SetPeerBandwidth { window: self.config.peer_bandwidth, limit: 2 });
        self.link.send_control(&Control::SetChunkSize(self.config.chunk_size.clamp(1, 0xFF_FFFF)));
        let mut server = vec![("fmsVer", Value::from(FMS_VERSION)), ("capabilities", Value::from(31.0))];
        if connect.capabilities.is_announced() {
            server.extend(Capabilities::own());
        }
        let server = Value::object(server);
        let info = Value::object([
            ("level", Value::from("status")),
            ("code", Value::from("NetConnection.Connect.Success")),
            ("description", Value::from("Connection succeeded.")),
            ("objectEncoding", Value::from(0.0)),
        ]);
        self.link.reply_command(0, &Command::with_object("_result", transaction, server, vec![info]))?;
        self.essential = [transaction, 0.0];
        let Connect { app, tc_url, via, capabilities, .. } = connect;
        (self.capabilities, self.via) = (capabilities, via);
        self.app = Some(app.clone());
        self.events.push_back(ServerEvent::Connect { app, tc_url });
        Ok(())
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), Error> {
        self.prepare_again();
        if self.created.saturating_sub(self.created_before) >= self.config.message_streams {
            let allowed = u64::from(self.config.message_streams);
            return Err(Error::limit(LimitKind::MessageStreams, allowed, self.link.received()));
        }
        self.created = self.created.saturating_add(1);
        let [connect, _] = self.essential;
        self.essential = [connect, transaction];
        let id = Value::Number(f64::from(self.created));
        self.link.reply_command(0, &Command::new("_result", transaction, vec![id]))
    }

    fn publish(
        &mut self,
        stream_id: u32,
        transaction: f64,
        key: &StreamKey,
        mode: String,
    ) -> Result<(), Error> {
        let Some(stream_id) = self.usable_stream(stream_id, true)? else { return Ok(()) };
        let Place { app, name, query } = place(self.app.as_deref().unwrap_or_default(), key.reveal());
        let (key, capabilities) = (StreamKey::new(name), self.capabilities.clone());
        let request = PublishRequest { app, key, query, mode, capabilities };
        self.phase = Phase::Deciding(Asked { publish: true, stream_id, transaction, reset: false });
        self.events.push_back(ServerEvent::Publish(request));
        Ok(())
    }

    fn play(&mut self, stream_id: u32, transaction: f64, play: Play) -> Result<(), Error> {
        let Some(stream_id) = self.usable_stream(stream_id, false)? else { return Ok(()) };
        let Place { app, name, query } = place(self.app.as_deref().unwrap_or_default(), &play.name);
        let Play { start, duration, reset, .. } = play;
        self.phase = Phase::Deciding(Asked { publish: false, stream_id, transaction, reset });
        let (via, capabilities) = (self.via.clone(), self.capabilities.clone());
        let request = PlayRequest { app, name, query, start, duration, reset, via, capabilities };
        self.events.push_back(ServerEvent::Play(request));
        Ok(())
    }

    /// The message stream for a publish or play: the one the command came on, or the last one created if the client
    /// sent it on the connection. `None` if the client was told that it cannot have another one now.
    fn usable_stream(&mut self, stream_id: u32, publish: bool) -> Result<Option<u32>, Error> {
        if self.created == 0 {
            return Err(self.protocol("publish or play before createStream"));
        }
        let id = if (1..=self.created).contains(&stream_id) { stream_id } else { self.created };
        match self.phase {
            // A player changes to another stream, or a publisher that said goodbye goes on without its last word.
            Phase::Playing(asked) if !publish => self.end_asked(asked)?,
            Phase::Publishing(asked) if publish && self.parting => self.end_asked(asked)?,
            Phase::Publishing(_) | Phase::Playing(_) => {
                let code = if publish { "NetStream.Publish.BadName" } else { "NetStream.Play.Failed" };
                let description =
                    "This connection has a stream already; a second one needs its own connection.";
                self.status(id, &Status::error(code, description))?;
                return Ok(None);
            }
            _ => {}
        }
        self.prepare_again();
        if self.phase == Phase::Commands {
            Ok(Some(id))
        } else {
            Err(self.protocol("publish or play in vain"))
        }
    }

    /// A client that has ended its stream begins to prepare for another one, by the rules for clients that have none.
    fn prepare_again(&mut self) {
        if !matches!(self.phase, Phase::Leaving { .. }) {
            return;
        }
        (self.phase, self.prepares_since) = (Phase::Commands, self.last_input);
        (self.again, self.parting) = (true, false);
        let limits = self.config.before_auth;
        self.link.set_limits(&limits);
        self.link.set_total(self.link.received().saturating_add(limits.total_bytes_before_auth));
    }

    /// deleteStream and closeStream. Nothing else than the own stream of the connection can be ended.
    fn end_stream(&mut self, stream_id: u32, transaction: f64) -> Result<(), Error> {
        self.result(transaction, Value::Null)?;
        let (Phase::Publishing(asked) | Phase::Playing(asked)) = self.phase else { return Ok(()) };
        if stream_id != asked.stream_id && stream_id != 0 {
            return Ok(());
        }
        self.end_asked(asked)
    }

    /// The stream of the connection is over, as the client wishes.
    fn end_asked(&mut self, asked: Asked) -> Result<(), Error> {
        let (status, event) = if asked.publish {
            (Status::info("NetStream.Unpublish.Success", "Stream is unpublished."), ServerEvent::Unpublish)
        } else {
            (Status::info("NetStream.Play.Stop", "Stopped playing stream."), ServerEvent::StopPlay)
        };
        self.status(asked.stream_id, &status)?;
        self.phase = Phase::Leaving { since: self.last_input };
        self.created_before = self.created;
        self.events.push_back(event);
        Ok(())
    }

    fn pause(&mut self, pause: bool, transaction: f64) -> Result<(), Error> {
        self.result(transaction, Value::Null)?;
        let Phase::Playing(asked) = self.phase else { return Ok(()) };
        self.events.push_back(ServerEvent::Pause(pause));
        let status = if pause {
            Status::info("NetStream.Pause.Notify", "Paused playing stream.")
        } else {
            Status::info("NetStream.Unpause.Notify", "Unpaused playing stream.")
        };
        self.status(asked.stream_id, &status)
    }

    /// A live stream cannot jump, but players that are told so as an error give up.
    fn seek(&mut self, millis: f64, transaction: f64) -> Result<(), Error> {
        self.result(transaction, Value::Null)?;
        let Phase::Playing(asked) = self.phase else { return Ok(()) };
        self.events.push_back(ServerEvent::Seek { millis });
        self.status(asked.stream_id, &Status::info("NetStream.Seek.Notify", "Stream is live."))
    }

    fn tell_player(&mut self, event: ServerEvent) {
        if matches!(self.phase, Phase::Playing(_)) {
            self.events.push_back(event);
        }
    }

    /// The answer to an `FC…` command, and the call that some clients wait for instead.
    fn follow(&mut self, transaction: f64, name: &str, code: &str) -> Result<(), Error> {
        self.result(transaction, Value::Null)?;
        self.link.reply_command(0, &Command::new(name, 0.0, vec![Status::info(code, "").to_value()]))
    }

    /// True if a request that is not essential is to be answered. The client of the `rtmp` crate gives
    /// `releaseStream` the transaction of `connect`, and would take the answer for that of `connect`.
    pub(super) fn wants_answer(&self, transaction: f64) -> bool {
        transaction != 0.0 && !self.essential.contains(&transaction)
    }

    /// `_result`, if one is wanted.
    fn result(&mut self, transaction: f64, value: Value) -> Result<(), Error> {
        if !self.wants_answer(transaction) {
            return Ok(());
        }
        self.link.reply_command(0, &Command::new("_result", transaction, vec![value]))
    }

    /// `_error`, if an answer is wanted.
    fn error(&mut self, transaction: f64, code: &str, description: &str) -> Result<(), Error> {
        if !self.wants_answer(transaction) {
            return Ok(());
        }
        let info = Status::error(code, description).to_value();
        self.link.reply_command(0, &Command::new("_error", transaction, vec![info]))
    }

    /// `onStatus` on the message stream.
    fn status(&mut self, stream_id: u32, status: &Status) -> Result<(), Error> {
        self.link.reply_command(stream_id, &status.to_command())
    }
}
