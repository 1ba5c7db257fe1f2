//! `rml_rtmp` as a publisher or player.

use bytes::Bytes;
use flowcast_peers::Failure;
use flowcast_peers::cli::{ClientArguments, Role};
use flowcast_peers::flv::{Kind, Pace, Recorder, Replay, Tag};
use rml_amf0::Amf0Value;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn main() -> Result<(), Failure> {
    let arguments = ClientArguments::from_command_line()?;
    let mut socket = TcpStream::connect(&arguments.server)?;
    let early = shake_hands(&mut socket)?;
    let mut config = ClientSessionConfig::new();
    config.tc_url = Some(format!("rtmp://{}/{}", arguments.server, arguments.app));
    let (session, results) = ClientSession::new(config)?;
    let mut client =
        Client { socket, session, name: arguments.name, role: arguments.role, live: false, recorder: None };
    if client.role == Role::Play {
        client.recorder = Some(Recorder::create(&arguments.file)?);
    }
    client.act(results)?;
    let connect = client.session.request_connection(arguments.app)?;
    client.act(vec![connect])?;
    let results = client.session.handle_input(&early)?;
    client.act(results)?;
    while !client.live {
        if !client.read(Duration::from_secs(10))? {
            return Err("the server hung up or does not answer".into());
        }
    }
    println!("live");
    let tags = match client.role {
        Role::Publish => client.publish(Replay::open(&arguments.file)?)?,
        Role::Play => client.play()?,
    };
    println!("done {tags}");
    if tags == 0 { Err("not one tag".into()) } else { Ok(()) }
}

fn shake_hands(socket: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    let mut handshake = Handshake::new(PeerType::Client);
    socket.write_all(&handshake.generate_outbound_p0_and_p1()?)?;
    let mut input = [0; 4096];
    loop {
        let count = socket.read(&mut input)?;
        if count == 0 {
            return Err("the server hung up in the handshake".into());
        }
        match handshake.process_bytes(&input[..count])? {
            HandshakeProcessResult::InProgress { response_bytes } => socket.write_all(&response_bytes)?,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                socket.write_all(&response_bytes)?;
                return Ok(remaining_bytes);
            }
        }
    }
}

struct Client {
    socket: TcpStream,
    session: ClientSession,
    name: String,
    role: Role,
    live: bool,
    recorder: Option<Recorder>,
}

impl Client {
    /// Reads once, for at most `wait`. False: the server has closed, or nothing came in time.
    fn read(&mut self, wait: Duration) -> Result<bool, Failure> {
        let mut input = [0; 65_536];
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match self.socket.read(&mut input) {
            Ok(0) => Ok(false),
            Ok(count) => {
                let results = self.session.handle_input(&input[..count])?;
                self.act(results)?;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn act(&mut self, results: Vec<ClientSessionResult>) -> Result<(), Failure> {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.socket.write_all(&packet.bytes)?,
                ClientSessionResult::RaisedEvent(event) => self.react(event)?,
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        Ok(())
    }

    fn react(&mut self, event: ClientSessionEvent) -> Result<(), Failure> {
        match event {
            ClientSessionEvent::ConnectionRequestAccepted => {
                let name = self.name.clone();
                let request = match self.role {
                    Role::Publish => self.session.request_publishing(name, PublishRequestType::Live)?,
                    Role::Play => self.session.request_playback(name)?,
                };
                self.act(vec![request])?;
            }
            ClientSessionEvent::ConnectionRequestRejected { description } => return Err(description.into()),
            ClientSessionEvent::UnhandleableOnStatusCode { code } => eprintln!("status {code}"),
            ClientSessionEvent::PlaybackRequestAccepted | ClientSessionEvent::PublishRequestAccepted => {
                self.live = true;
            }
            ClientSessionEvent::AudioDataReceived { timestamp, data } => {
                self.write(Kind::Audio, timestamp.value, &data)?;
            }
            ClientSessionEvent::VideoDataReceived { timestamp, data } => {
                self.write(Kind::Video, timestamp.value, &data)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, kind: Kind, timestamp: u32, body: &[u8]) -> Result<(), Failure> {
        match &mut self.recorder {
            Some(recorder) => recorder.write(kind, timestamp, body),
            None => Ok(()),
        }
    }

    fn play(&mut self) -> Result<u64, Failure> {
        while self.read(Duration::from_secs(5))? {}
        Ok(self.recorder.as_ref().map_or(0, Recorder::tags))
    }

    fn publish(&mut self, file: Replay) -> Result<u64, Failure> {
        let mut pace = Pace::default();
        let mut tags = 0;
        for tag in file {
            let tag = tag?;
            loop {
                let wait = pace.due_in(tag.timestamp);
                if wait.is_zero() {
                    break;
                }
                self.read(wait)?;
            }
            self.send(tag)?;
            tags += 1;
        }
        let results = self.session.stop_publishing()?;
        self.act(results)?;
        Ok(tags)
    }

    fn send(&mut self, tag: Tag) -> Result<(), Failure> {
        let timestamp = RtmpTimestamp::new(tag.timestamp);
        let result = match tag.kind {
            Kind::Audio => self.session.publish_audio_data(Bytes::from(tag.body), timestamp, false)?,
            Kind::Video => self.session.publish_video_data(Bytes::from(tag.body), timestamp, false)?,
            Kind::Script => {
                let mut metadata = StreamMetadata::new();
                for value in rml_amf0::deserialize(&mut &tag.body[..])? {
                    if let Amf0Value::Object(properties) = value {
                        metadata.apply_metadata_values(properties);
                    }
                }
                self.session.publish_metadata(&metadata)?
            }
        };
        self.act(vec![result])
    }
}
