//! The `rtmp` crate as a publisher or player, with this program in the place of its stream hub.

use bytes::BytesMut;
use flowcast_peers::Failure;
use flowcast_peers::cli::{ClientArguments, Role};
use flowcast_peers::flv::{Kind, Pace, Recorder, Replay};
use rtmp::session::client_session::{ClientSession, ClientSessionType};
use streamhub::define::{
    DataReceiver, FrameData, FrameDataReceiver, FrameDataSender, StreamHubEvent, StreamHubEventReceiver,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments = ClientArguments::from_command_line()?;
    let socket = TcpStream::connect(&arguments.server).await?;
    let (to_hub, events) = mpsc::unbounded_channel();
    let hub = tokio::spawn(hub(events, arguments.clone()));
    let role = match arguments.role {
        Role::Publish => ClientSessionType::Push,
        Role::Play => ClientSessionType::Pull,
    };
    let mut session =
        ClientSession::new(socket, role, arguments.server, arguments.app, arguments.name, to_hub, 1);
    // Both ways end with an error: the file is over, or the server has closed.
    if let Err(error) = session.run().await {
        eprintln!("{error}");
    }
    drop(session);
    let tags = hub.await??;
    println!("done {tags}");
    if tags == 0 { Err("not one tag".into()) } else { Ok(()) }
}

/// Answers the session's one request and moves the media.
async fn hub(mut events: StreamHubEventReceiver, arguments: ClientArguments) -> Result<u64, Failure> {
    while let Some(event) = events.recv().await {
        match event {
            StreamHubEvent::Subscribe { result_sender, .. } => {
                println!("live");
                let (sender, receiver) = mpsc::unbounded_channel();
                let receiver = DataReceiver { frame_receiver: Some(receiver), packet_receiver: None };
                result_sender.send(Ok((receiver, None))).map_err(|_| "the session is gone")?;
                return feed(Replay::open(&arguments.file)?, sender).await;
            }
            StreamHubEvent::Publish { result_sender, .. } => {
                println!("live");
                let (sender, receiver) = mpsc::unbounded_channel();
                result_sender.send(Ok((Some(sender), None, None))).map_err(|_| "the session is gone")?;
                return record(receiver, Recorder::create(&arguments.file)?).await;
            }
            _ => {}
        }
    }
    Err("the server does not take the request".into())
}

async fn feed(file: Replay, session: FrameDataSender) -> Result<u64, Failure> {
    let mut pace = Pace::default();
    let mut tags = 0;
    for tag in file {
        let tag = tag?;
        tokio::time::sleep(pace.due_in(tag.timestamp)).await;
        let (timestamp, data) = (tag.timestamp, BytesMut::from(&tag.body[..]));
        let frame = match tag.kind {
            Kind::Audio => FrameData::Audio { timestamp, data },
            Kind::Video => FrameData::Video { timestamp, data },
            Kind::Script => FrameData::MetaData { timestamp, data },
        };
        session.send(frame).map_err(|_| "the session ended first")?;
        tags += 1;
    }
    Ok(tags)
}

async fn record(mut frames: FrameDataReceiver, mut recorder: Recorder) -> Result<u64, Failure> {
    while let Some(frame) = frames.recv().await {
        match frame {
            FrameData::Video { timestamp, data } => recorder.write(Kind::Video, timestamp, &data)?,
            FrameData::Audio { timestamp, data } => recorder.write(Kind::Audio, timestamp, &data)?,
            FrameData::MetaData { timestamp, data } => recorder.write(Kind::Script, timestamp, &data)?,
            FrameData::MediaInfo { .. } => {}
        }
    }
    Ok(recorder.tags())
}
