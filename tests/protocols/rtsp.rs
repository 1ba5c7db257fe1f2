//! RTSP: announced and recorded by GStreamer's server and by ffmpeg.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::fence::Fence;
use flowcast::playlist::ParameterChange;
use flowcast::stats::{OutputPhase, OutputTransport};
use flowcast::{Error, Output, Playlist, Source};
use kit::rig::{Known, engine, quickly};
use kit::{Need, PATIENCE, Peer, RtspServer, need, own_address, packet_count, text, wait_closed, wait_until};

use crate::{assert_pictures, start, wait_laps, wait_live, wait_output_ended, wait_retrying};

#[test]
fn gstreamers_server_has_every_picture() {
    if !need(&[Need::RtspServer, Need::Ffmpeg]) {
        return;
    }
    let (clip, mut server) = (Known::small(), RtspServer::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let live = start(&engine, &clip, Output::url(&server.url("live")));
    assert_eq!(wait_live(&events), (0, 0));
    wait_laps(&live, 3);
    let output = live.stats().outputs.remove(0);
    assert_eq!((output.transport, output.phase, output.drops), (OutputTransport::Rtsp, OutputPhase::Live, 0));
    assert_eq!(output.name, format!("rtsp://{}/****", server.address()));
    live.stop(PATIENCE).expect("it runs well");
    server.process().interrupt(PATIENCE);
    assert!(assert_pictures(&clip, &server.picture()) >= 120);
    assert!(packet_count(&server.sound(), "a") >= 200);
}

/// An announcement cannot be changed: pictures of another size are announced anew.
#[test]
fn pictures_of_another_size_come_in_another_connection_and_all_of_them() {
    if !need(&[Need::RtspServer, Need::Ffmpeg]) {
        return;
    }
    let mut server = RtspServer::start();
    let clips = [(320, 180), (426, 240)].map(|(width, height)| {
        Known::made(&SampleSpec {
            width,
            height,
            gop_frames: 12,
            b_frames: 2,
            seconds: 4.0,
            ..SampleSpec::default()
        })
    });
    let engine = engine(|_| {});
    let events = engine.events();
    let files = clips.each_ref().map(|clip| clip.file.clone());
    let list = Playlist::files(files).on_change(ParameterChange::Allow);
    let output = Output::url(&server.url("live")).reconnect(quickly());
    let live = engine.stream(Source::playlist(list)).to(output).start().expect("it starts");
    assert_eq!(wait_live(&events), (0, 0));
    // There is something of the fourth, and the three before are whole.
    let fourth = server.picture_of(4);
    assert!(wait_until(PATIENCE, || fourth.metadata().is_ok_and(|of| of.len() > 10_000)), "{}", live.stats());
    let output = live.stats().outputs.remove(0);
    assert_eq!((output.phase, output.reconnects, output.drops), (OutputPhase::Live, 0, 0), "{output:?}");
    live.stop(PATIENCE).expect("it runs well");
    server.process().interrupt(PATIENCE);
    for announced in 1..=3 {
        let clip = &clips[(announced - 1) % 2];
        let pictures = assert_pictures(clip, &server.picture_of(announced));
        assert_eq!(pictures, 100, "of announcement {announced}");
    }
}

/// A stream that may send no longer says nothing more, not even goodbye.
#[test]
fn at_a_closed_fence_no_goodbye_is_said() {
    if !need(&[Need::RtspServer]) {
        return;
    }
    let goodbye = |is_fenced: bool| {
        let (clip, server) = (Known::small(), RtspServer::start());
        let (address, overheard) = overhear(server.address());
        let engine = engine(|_| {});
        let events = engine.events();
        let live = start(&engine, &clip, Output::url(&format!("rtsp://{address}/live")));
        let fence = Fence::until(Duration::MAX);
        assert!(live.set_fence(&fence));
        wait_live(&events);
        wait_laps(&live, 1);
        if is_fenced {
            fence.close();
            let ended = live.wait_timeout(PATIENCE).expect("it ends");
            assert_eq!(ended.expect_err("it may not go on").code(), "FENCED");
        } else {
            live.stop(PATIENCE).expect("it runs well");
        }
        let said = overheard.join().expect("it only listens");
        said.windows(8).any(|word| word == b"TEARDOWN")
    };
    assert_eq!([false, true].map(goodbye), [true, false]);
}

/// Passes on what one client and a server say; all that the client said, once it has left.
fn overhear(server: SocketAddr) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let overheard = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut server = TcpStream::connect(server).expect("it listens");
        let (mut answers, mut back) =
            (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let answered = thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let (mut said, mut buffer) = (Vec::new(), [0; 16 << 10]);
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            said.extend_from_slice(&buffer[..length]);
            if server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = answered.join();
        said
    });
    (address, overheard)
}

#[test]
fn ffmpeg_that_listens_has_every_picture() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let address = own_address();
    let (url, file) = (format!("rtsp://{address}/live"), clip.beside("received.h264"));
    let arguments = [
        "-nostdin",
        "-v",
        "error",
        "-rtsp_flags",
        "listen",
        "-i",
        &url,
        "-map",
        "0:v",
        "-c",
        "copy",
        "-bsf:v",
        "dump_extra=freq=keyframe",
        "-f",
        "h264",
        text(&file),
    ];
    let mut server = Peer::spawn("ffmpeg".as_ref(), arguments);
    server.wait_listening(address, PATIENCE);
    let engine = engine(|_| {});
    let events = engine.events();
    let live = start(&engine, &clip, Output::url(&url).reconnect(quickly()));
    wait_live(&events);
    wait_laps(&live, 3);
    live.stop(PATIENCE).expect("it runs well");
    server.wait(PATIENCE);
    assert!(wait_closed(&file, PATIENCE));
    assert!(assert_pictures(&clip, &file) >= 100);
}

#[test]
fn a_path_that_is_not_there_ends_the_output() {
    if !need(&[Need::RtspServer]) {
        return;
    }
    let (clip, server) = (Known::small(), RtspServer::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .record(clip.beside("beside.flv"))
        .to(Output::url(&server.url("secret-path")))
        .start()
        .expect("it starts");
    let error = wait_output_ended(&events);
    assert_eq!((error.code(), error.is_retryable()), ("REFUSED", false), "{error}");
    assert!(!flowcast::error::chain(&error).contains("secret-path"), "{error}");
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_server_that_is_started_anew_is_found_again() {
    if !need(&[Need::RtspServer, Need::Ffmpeg]) {
        return;
    }
    let (clip, mut server) = (Known::small(), RtspServer::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let live = start(&engine, &clip, Output::url(&server.url("live")).reconnect(quickly()));
    assert_eq!(wait_live(&events), (0, 0));
    wait_laps(&live, 1);
    server.restart();
    let error = wait_retrying(&events);
    assert!(matches!(error, Error::ConnectionLost { .. } | Error::Connect { .. }), "{error:?}");
    assert_eq!(wait_live(&events).0, 1);
    let laps = live.stats().laps;
    wait_laps(&live, laps + 2);
    live.stop(PATIENCE).expect("it runs well");
    server.process().interrupt(PATIENCE);
    assert!(assert_pictures(&clip, &server.picture()) >= 50);
}
