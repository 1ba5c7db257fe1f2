//! `rml_rtmp` as a server that takes every publisher and records it.

use flowcast_peers::Failure;
use flowcast_peers::cli::ServerArguments;
use flowcast_peers::flv::{Kind, Recorder};
use rml_amf0::Amf0Value;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ServerSession, ServerSessionConfig, ServerSessionEvent, ServerSessionResult, StreamMetadata,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Failure> {
    let arguments = ServerArguments::from_command_line()?;
    let listener = TcpListener::bind(arguments.listen)?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (socket, peer) = listener.accept()?;
        let record = arguments.record.clone();
        std::thread::spawn(move || {
            if let Err(error) = serve(socket, record.as_deref()) {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

fn serve(mut socket: TcpStream, record: Option<&Path>) -> Result<(), Failure> {
    let mut input = vec![0; 65_536];
    let mut handshake = Handshake::new(PeerType::Server);
    socket.write_all(&handshake.generate_outbound_p0_and_p1()?)?;
    let early = loop {
        let count = socket.read(&mut input)?;
        if count == 0 {
            return Ok(());
        }
        match handshake.process_bytes(&input[..count])? {
            HandshakeProcessResult::InProgress { response_bytes } => socket.write_all(&response_bytes)?,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                socket.write_all(&response_bytes)?;
                break remaining_bytes;
            }
        }
    };

    let (session, results) = ServerSession::new(ServerSessionConfig::new())?;
    let mut connection = Connection {
        socket: socket.try_clone()?,
        session,
        directory: record.map(Path::to_owned),
        stream: None,
    };
    connection.act(results)?;
    let results = connection.session.handle_input(&early)?;
    connection.act(results)?;
    loop {
        let count = socket.read(&mut input)?;
        if count == 0 {
            connection.end();
            return Ok(());
        }
        let results = connection.session.handle_input(&input[..count])?;
        connection.act(results)?;
    }
}

struct Connection {
    socket: TcpStream,
    session: ServerSession,
    directory: Option<PathBuf>,
    stream: Option<(String, Recorder)>,
}

impl Connection {
    fn act(&mut self, results: Vec<ServerSessionResult>) -> Result<(), Failure> {
        for result in results {
            match result {
                ServerSessionResult::OutboundResponse(packet) => self.socket.write_all(&packet.bytes)?,
                ServerSessionResult::RaisedEvent(event) => self.answer(event)?,
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, event: ServerSessionEvent) -> Result<(), Failure> {
        match event {
            ServerSessionEvent::ConnectionRequested { request_id, .. }
            | ServerSessionEvent::ReleaseStreamRequested { request_id, .. } => self.accept(request_id)?,
            ServerSessionEvent::PublishStreamRequested { request_id, app_name, stream_key, .. } => {
                self.accept(request_id)?;
                if let Some(directory) = &self.directory {
                    let recorder = Recorder::in_directory(directory, &stream_key)?;
                    println!("publish {app_name}/{stream_key} {}", recorder.path().display());
                    self.stream = Some((format!("{app_name}/{stream_key}"), recorder));
                }
            }
            ServerSessionEvent::PlayStreamRequested { request_id, .. } => {
                let results = self.session.reject_request(
                    request_id,
                    "NetStream.Play.Failed",
                    "this server only records",
                )?;
                self.act(results)?;
            }
            ServerSessionEvent::PublishStreamFinished { .. } => self.end(),
            ServerSessionEvent::StreamMetadataChanged { metadata, .. } => {
                self.write(Kind::Script, 0, &on_meta_data(&metadata)?)?;
            }
            ServerSessionEvent::AudioDataReceived { data, timestamp, .. } => {
                self.write(Kind::Audio, timestamp.value, &data)?;
            }
            ServerSessionEvent::VideoDataReceived { data, timestamp, .. } => {
                self.write(Kind::Video, timestamp.value, &data)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn accept(&mut self, request: u32) -> Result<(), Failure> {
        let results = self.session.accept_request(request)?;
        self.act(results)
    }

    fn write(&mut self, kind: Kind, timestamp: u32, body: &[u8]) -> Result<(), Failure> {
        match &mut self.stream {
            Some((_, recorder)) => recorder.write(kind, timestamp, body),
            None => Ok(()),
        }
    }

    fn end(&mut self) {
        if let Some((name, recorder)) = self.stream.take() {
            println!("end {name} {}", recorder.tags());
        }
    }
}

/// What the crate understood of the metadata, written down again.
fn on_meta_data(metadata: &StreamMetadata) -> Result<Vec<u8>, Failure> {
    let numbers = [
        ("width", metadata.video_width),
        ("height", metadata.video_height),
        ("videocodecid", metadata.video_codec_id),
        ("videodatarate", metadata.video_bitrate_kbps),
        ("audiocodecid", metadata.audio_codec_id),
        ("audiodatarate", metadata.audio_bitrate_kbps),
        ("audiosamplerate", metadata.audio_sample_rate),
    ];
    let mut properties: HashMap<String, Amf0Value> = numbers
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Amf0Value::Number(value?.into()))))
        .collect();
    if let Some(rate) = metadata.video_frame_rate {
        properties.insert("framerate".to_owned(), Amf0Value::Number(rate.into()));
    }
    if let Some(stereo) = metadata.audio_is_stereo {
        properties.insert("stereo".to_owned(), Amf0Value::Boolean(stereo));
    }
    if let Some(encoder) = &metadata.encoder {
        properties.insert("encoder".to_owned(), Amf0Value::Utf8String(encoder.clone()));
    }
    let values = vec![Amf0Value::Utf8String("onMetaData".to_owned()), Amf0Value::Object(properties)];
    Ok(rml_amf0::serialize(&values)?)
}
