//! The `rtmp` crate as a server: its sessions and its stream hub, with a tap between the two that records.
//!
//! The tap stands in the hub's event channel, so a recording has every message once; subscribing to the hub would give the
//! cached GOP and the live messages, which overlap.

use flowcast_peers::Failure;
use flowcast_peers::cli::ServerArguments;
use flowcast_peers::flv::{Kind, Recorder};
use rtmp::session::server_session::ServerSession;
use std::path::PathBuf;
use streamhub::StreamsHub;
use streamhub::define::{
    FrameData, FrameDataReceiver, FrameDataSender, StreamHubEvent, StreamHubEventReceiver,
    StreamHubEventSender,
};
use streamhub::stream::StreamIdentifier;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// GOPs kept for players.
const GOPS: usize = 1;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments = ServerArguments::from_command_line()?;
    let listener = TcpListener::bind(arguments.listen).await?;

    let (to_hub, from_tap) = mpsc::unbounded_channel();
    let mut hub = StreamsHub::new(None, to_hub.clone(), from_tap);
    tokio::spawn(async move { hub.run().await });
    let (to_tap, from_sessions) = mpsc::unbounded_channel();
    tokio::spawn(tap(from_sessions, to_hub, arguments.record));

    println!("listening {}", listener.local_addr()?);
    loop {
        let (socket, peer) = listener.accept().await?;
        let mut session = ServerSession::new(socket, to_tap.clone(), GOPS, None, None);
        tokio::spawn(async move {
            if let Err(error) = session.run().await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn tap(mut events: StreamHubEventReceiver, hub: StreamHubEventSender, record: Option<PathBuf>) {
    while let Some(event) = events.recv().await {
        let event = match (event, &record) {
            (
                StreamHubEvent::Publish { identifier, info, result_sender, stream_handler },
                Some(directory),
            ) => {
                let (hub_result, from_hub) = oneshot::channel();
                let directory = directory.clone();
                let published = identifier.clone();
                tokio::spawn(async move {
                    let result = match from_hub.await {
                        Ok(Ok((Some(hub_frames), packets, statistics))) => {
                            let (frames, tapped) = mpsc::unbounded_channel();
                            tokio::spawn(record_stream(published, directory, tapped, hub_frames));
                            Ok((Some(frames), packets, statistics))
                        }
                        Ok(other) => other,
                        Err(_) => return,
                    };
                    // A session that is gone no longer wants the answer.
                    let _ = result_sender.send(result);
                });
                StreamHubEvent::Publish { identifier, info, result_sender: hub_result, stream_handler }
            }
            (event, _) => event,
        };
        if hub.send(event).is_err() {
            return;
        }
    }
}

async fn record_stream(
    identifier: StreamIdentifier,
    directory: PathBuf,
    mut frames: FrameDataReceiver,
    hub: FrameDataSender,
) {
    let StreamIdentifier::Rtmp { app_name, stream_name } = identifier else { return };
    let mut recorder = match Recorder::in_directory(&directory, &stream_name) {
        Ok(recorder) => recorder,
        Err(error) => {
            eprintln!("{stream_name}: {error}");
            return;
        }
    };
    println!("publish {app_name}/{stream_name} {}", recorder.path().display());
    while let Some(frame) = frames.recv().await {
        let written = match &frame {
            FrameData::Video { timestamp, data } => recorder.write(Kind::Video, *timestamp, data),
            FrameData::Audio { timestamp, data } => recorder.write(Kind::Audio, *timestamp, data),
            FrameData::MetaData { timestamp, data } => recorder.write(Kind::Script, *timestamp, data),
            FrameData::MediaInfo { .. } => Ok(()),
        };
        if let Err(error) = written {
            eprintln!("{stream_name}: {error}");
            return;
        }
        // The hub drops a stream before its session ends; the recording goes on.
        let _ = hub.send(frame);
    }
    println!("end {app_name}/{stream_name} {}", recorder.tags());
}
