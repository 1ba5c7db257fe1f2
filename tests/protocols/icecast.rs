//! Icecast: the sound of a stream, to listeners of a real server; refusals, and a server that is started anew.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::stats::{OutputPhase, OutputTransport};
use flowcast::{Error, EventKind, Output, Playlist, Source};
use kit::rig::{Known, engine, quickly, wait_event};
use kit::{Icecast, Need, PATIENCE, Peer, make, need, packet_count, text, wait_until};

use crate::{start, wait_live, wait_output_ended, wait_retrying};

#[test]
fn listeners_hear_the_sound_and_the_picture_is_told_to_be_left_out() {
    if !need(&[Need::Icecast, Need::Ffmpeg]) {
        return;
    }
    let (clip, server) = (Known::small(), Icecast::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let url = format!("{}?ice_name=Night%20radio&ice_genre=Rain", server.source_url("hush-hush", "live.aac"));
    let live = start(&engine, &clip, Output::url(&url));
    wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::OutputTrackSkipped { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(wait_live(&events), (0, 0));
    let file = clip.beside("heard.aac");
    let listen = server.listen_url("live.aac");
    let arguments = ["-nostdin", "-v", "error", "-i", &listen, "-t", "5", "-c", "copy", text(&file)];
    Peer::spawn("ffmpeg".as_ref(), arguments).wait_success(PATIENCE);
    assert!(packet_count(&file, "a") > 200, "{}", packet_count(&file, "a"));
    let output = live.stats().outputs.remove(0);
    assert_eq!(
        (output.transport, output.phase, output.drops),
        (OutputTransport::Icecast, OutputPhase::Live, 0)
    );
    assert_eq!(
        output.name,
        format!("icecast://****@{}/live.aac?ice_name=Night%20radio&ice_genre=Rain", server.address())
    );
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_wrong_password_ends_the_output_and_shows_none() {
    if !need(&[Need::Icecast]) {
        return;
    }
    let (clip, server) = (Known::small(), Icecast::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let wrong = Output::url(&server.source_url("wrong-wrong", "live.aac"));
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .record(clip.beside("beside.flv"))
        .to(wrong)
        .start()
        .expect("it starts");
    let error = wait_output_ended(&events);
    assert_eq!((error.code(), error.is_retryable()), ("REFUSED", false), "{error}");
    let said = flowcast::error::chain(&error);
    assert!(said.contains("401") && !said.contains("wrong-wrong"), "{said}");
    assert!(!live.has_ended(), "the recording goes on");
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_mount_point_that_is_in_use_is_waited_for() {
    if !need(&[Need::Icecast]) {
        return;
    }
    let (clip, server) = (Known::small(), Icecast::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let url = server.source_url("hush-hush", "live.aac");
    let first = start(&engine, &clip, Output::url(&url));
    wait_live(&events);
    let second = start(&engine, &clip, Output::url(&url).reconnect(quickly()));
    let error = wait_retrying(&events);
    assert!(flowcast::error::chain(&error).contains("in use"), "{error:?}");
    first.stop(PATIENCE).expect("it runs well");
    wait_live(&events);
    second.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_server_that_is_started_anew_is_found_again() {
    if !need(&[Need::Icecast]) {
        return;
    }
    let (clip, mut server) = (Known::small(), Icecast::start());
    let engine = engine(|_| {});
    let events = engine.events();
    let output = Output::url(&server.source_url("hush-hush", "live.aac")).reconnect(quickly());
    let live = start(&engine, &clip, output);
    assert_eq!(wait_live(&events), (0, 0));
    for round in 1..=2 {
        server.restart();
        let error = wait_retrying(&events);
        assert!(matches!(error, Error::ConnectionLost { .. } | Error::Connect { .. }), "{error:?}");
        assert_eq!(wait_live(&events).0, round);
    }
    live.stop(PATIENCE).expect("it runs well");
}

#[test]
fn a_picture_without_sound_is_refused_and_says_so() {
    if !need(&[Need::Icecast]) {
        return;
    }
    let clip = Known::made(&SampleSpec { audio: None, ..SampleSpec::default() });
    let server = Icecast::start();
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .record(clip.beside("beside.flv"))
        .to(Output::url(&server.source_url("hush-hush", "live.aac")))
        .start()
        .expect("it starts");
    let error = wait_output_ended(&events);
    assert_eq!(error.code(), "CODEC_NOT_TAKEN", "{error}");
    assert!(wait_until(PATIENCE, || !live.has_ended()));
    live.stop(PATIENCE).expect("it runs well");
}

/// What the server says that plays.
fn title(server: &Icecast) -> Option<String> {
    let mut connection = TcpStream::connect(server.address()).ok()?;
    write!(connection, "GET /status-json.xsl HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (_, title) = answer.split_once("\"title\":\"")?;
    title.split_once('"').map(|(title, _)| title.to_owned())
}

#[test]
fn listeners_are_told_what_plays_item_by_item_and_again_behind_a_lost_connection() {
    if !need(&[Need::Icecast, Need::Ffmpeg]) {
        return;
    }
    let (own, mut server) = (kit::directory(), Icecast::start());
    let song = |name: &str, tags: &str| {
        make(own.path(), name, &format!("-f lavfi -i sine=duration=4 -c:a aac {tags}"))
    };
    let songs = [
        song("First song.m4a", ""),
        song("b.m4a", "-metadata artist=Rain -metadata title=Second"),
        song("c.m4a", "-metadata title=Third"),
    ];
    let engine = engine(|_| {});
    let events = engine.events();
    let output = Output::url(&server.source_url("hush-hush", "live.aac")).reconnect(quickly());
    let live =
        engine.stream(Source::playlist(Playlist::files(&songs))).to(output).start().expect("it starts");
    let comes = |server: &Icecast, wanted: &str| {
        assert!(
            wait_until(PATIENCE, || title(server).as_deref() == Some(wanted)),
            "{wanted}: {:?}",
            title(server)
        );
    };
    for wanted in ["First song", "Rain - Second", "Third", "First song"] {
        comes(&server, wanted);
    }
    // Who listens is told in the sound itself.
    let mut listener = TcpStream::connect(server.address()).expect("it listens");
    write!(listener, "GET /live.aac HTTP/1.0\r\nIcy-MetaData: 1\r\n\r\n").expect("it is open");
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    let is_told = |heard: &[u8]| heard.windows(13).any(|part| part == b"StreamTitle='");
    while !is_told(&heard) && heard.len() < 1 << 20 {
        let count = listener.read(&mut piece).expect("it goes on");
        assert!(count > 0, "nothing is told in {} bytes", heard.len());
        heard.extend(&piece[..count]);
    }
    assert!(is_told(&heard), "nothing is told in {} bytes", heard.len());
    server.restart();
    wait_retrying(&events);
    wait_live(&events);
    assert!(wait_until(PATIENCE, || title(&server).is_some()), "it is said again");
    live.stop(PATIENCE).expect("it runs well");
}

/// Whether the other side has closed a connection.
fn is_closed(mut connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).expect("it can be");
    let mut request = [0; 4096];
    loop {
        match connection.read(&mut request) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// A server takes connections and says nothing: as many are made at a time as may be, and no more.
#[test]
fn outputs_to_one_server_take_turns() {
    let clip = Known::small();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let engine = engine(|config| {
        config.dials.per_server = 1;
        (config.connect.tcp, config.connect.reply) = (Duration::from_millis(300), Duration::from_millis(200));
    });
    let to = |mount: usize| {
        Output::url(&format!("icecast://source:hush@{address}/{mount}.aac")).reconnect(quickly())
    };
    let live = start(&engine, &clip, to(0));
    for mount in 1..4 {
        live.add_output(to(mount)).expect("it is added");
    }
    let (mut before, _) = listener.accept().expect("it is connected to");
    for turn in 1..8 {
        let (next, _) = listener.accept().expect("it is connected to");
        assert!(is_closed(&before), "{turn}: two at a time");
        before = next;
    }
    live.stop(PATIENCE).expect("it runs well");
}
