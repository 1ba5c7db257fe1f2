//! Peers that cannot be reached, or never become live.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowcast::error::ConnectStep;
use flowcast::stats::OutputPhase;
use flowcast::{Engine, Error, EventKind, Output, RtmpServerExt, Source};

use crate::{Witness, stop_within};
use kit::bystander::at_most;
use kit::rig::{Known, engine, outputs, push, quickly, wait_ended, wait_event, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{
    FaultProxy, Need, PATIENCE, Peer, SilentDns, alone, need, own_address, ran, role_arguments, wait_until,
};

/// Each step of connecting, in these tests.
const STEP: Duration = Duration::from_secs(2);
/// Later than that by at most this.
const LATE: Duration = Duration::from_millis(900);

fn hurried() -> Engine {
    engine(|config| {
        config.connect.dns = STEP;
        config.connect.tcp = STEP;
        config.connect.tls = STEP;
        config.connect.handshake = STEP;
        config.connect.reply = STEP;
    })
}

/// A stream to the witnesses and to `output`: it fails to connect with an error that `is_right`, within a step's deadline; stop
/// is as quick while it connects as while it waits. Says after how long it failed.
fn fails(what: &str, output: &Output, is_right: impl Fn(&Error) -> bool) -> Duration {
    let clip = Known::small();
    let mut failed = Duration::ZERO;
    for phase in [OutputPhase::Connecting, OutputPhase::Waiting] {
        let mut witness = Witness::new(&clip);
        let engine = hurried();
        let mut patient = quickly();
        patient.first = Duration::from_secs(20);
        patient.cap = patient.first;
        let live = witness.start(&engine, &clip, None);
        let events = engine.events();
        let began = Instant::now();
        let id = live.add_output(output.clone().reconnect(patient)).expect("the output is added");
        if phase == OutputPhase::Waiting {
            let error = wait_retry(&events, id, PATIENCE);
            failed = began.elapsed();
            assert!(is_right(&error), "{what}: {error:?}");
            assert!(error.is_retryable(), "{what}: {error:?}");
            assert!(failed <= at_most(STEP + LATE, began), "{what}: {error} only after {failed:?}");
            println!("{what}: {} after {failed:?}: {error}", error.code());
        } else {
            let slow = witness.watch(&live, STEP / 3, || events.try_next().is_some());
            assert!(!slow || what == "port closed", "{what}: something happened at once");
        }
        let stopping = Instant::now();
        let stopped = stop_within(live, Duration::from_secs(2));
        assert!(
            stopped < at_most(Duration::from_secs(1), stopping),
            "{what}: stop while {phase:?} took {stopped:?}"
        );
        println!("{what}: stop while {phase:?} took {stopped:?}");
        witness.assert_unharmed(&clip);
    }
    failed
}

fn is_silence(error: &Error) -> bool {
    error.code() == "RTMP_TIMEOUT"
}

#[test]
fn a_mute_peer() {
    let server = Scripted::start(Script::Mute);
    let after = fails("mute in the RTMP handshake", &push(&server), is_silence);
    assert!(after >= STEP);
    assert!(wait_until(PATIENCE, || server.visits().iter().all(|visit| visit.closed.is_some())));
}

#[test]
fn a_dripping_peer_meets_an_absolute_deadline() {
    let server = Scripted::start(Script::Drip(Duration::from_millis(20)));
    let after = fails("drip in the RTMP handshake", &push(&server), is_silence);
    assert!(after >= STEP);
}

#[test]
fn a_peer_mute_in_tls() {
    let server = Scripted::start(Script::Mute);
    let output = Output::rtmp(&server.url().replace("rtmp://", "rtmps://"), "key");
    let after = fails("mute in TLS", &output, |error| {
        matches!(error, Error::ConnectTimeout { step: ConnectStep::Tls, .. })
            && error.code() == "CONNECT_TIMEOUT"
    });
    assert!(after >= STEP);
}

#[test]
fn a_peer_that_speaks_no_tls() {
    let clip = Known::small();
    let server = Scripted::start(Script::Drip(Duration::from_millis(1)));
    let output = Output::rtmp(&server.url().replace("rtmp://", "rtmps://"), "key");
    let mut witness = Witness::new(&clip);
    let engine = hurried();
    let live = witness.start(&engine, &clip, None);
    let events = engine.events();
    let id = live.add_output(output).expect("the output is added");
    let error = wait_retry(&events, id, PATIENCE);
    println!("RTMP where TLS is due: {} ({error})", error.code());
    assert!(
        matches!(&error, Error::Tls { .. } | Error::ConnectionLost { .. } | Error::ConnectTimeout { .. }),
        "{error:?}"
    );
    stop_within(live, Duration::from_secs(1));
    witness.assert_unharmed(&clip);
}

#[test]
fn a_port_nobody_listens_on() {
    let output = Output::rtmp(&format!("rtmp://{}/live", own_address()), "key");
    fails("port closed", &output, |error| {
        matches!(error, Error::Connect { .. }) && error.code() == "CONNECT_FAILED"
    });
}

/// A port that answers no SYN: its queue of connections is full and nobody takes any.
fn full_queue() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    socket.listen(0).expect("it listens");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
    let waiting: Vec<_> = std::iter::from_fn(|| connect().ok()).take(16).collect();
    assert!(waiting.len() < 16, "the queue is never full");
    (socket, waiting, address)
}

#[test]
fn an_address_that_answers_nothing() {
    let (_socket, _waiting, address) = full_queue();
    let output = Output::rtmp(&format!("rtmp://{address}/live"), "key");
    let after = fails("SYN unanswered", &output, |error| {
        matches!(error, Error::ConnectTimeout { step: ConnectStep::Tcp, .. })
    });
    assert!(after >= STEP);
}

#[test]
fn a_peer_that_takes_and_closes_is_tried_less_and_less() {
    for script in [Script::Close, Script::CloseWhenLive] {
        let clip = Known::small();
        let mut witness = Witness::new(&clip);
        let server = Scripted::start(script.clone());
        let engine = hurried();
        let mut policy = quickly();
        policy.first = Duration::from_millis(50);
        policy.factor = 2.0;
        policy.cap = Duration::from_secs(60);
        let live = witness.start(&engine, &clip, None);
        let events = engine.events();
        let output = live.add_output(push(&server).reconnect(policy)).expect("the output is added");
        let mut nominal = 50.0;
        for _ in 0..6 {
            let wait = wait_event(&events, PATIENCE, |event| match &event.kind {
                EventKind::OutputRetrying { output: it, wait, .. } if *it == output => Some(*wait),
                _ => None,
            });
            let millis = wait.as_secs_f64() * 1000.0;
            assert!((nominal * 0.5..=nominal * 1.5).contains(&millis), "{script:?}: {millis} for {nominal}");
            nominal *= 2.0;
        }
        let count = server.count();
        assert!((6..=7).contains(&count), "{script:?}: {count} connections for six failures");
        let stopped = stop_within(live, Duration::from_secs(1));
        println!(
            "{script:?}: {count} connections, waits grew to {nominal} ms ±half, stop while waiting {stopped:?}"
        );
        witness.assert_unharmed(&clip);
    }
}

#[test]
fn a_rejected_key_ends_the_output_and_is_never_tried_again() {
    let clip = Known::small();
    let refusing = Scripted::start(Script::Refuse("NetStream.Publish.BadName", "no such key"));
    let denying = Scripted::start(Script::Refuse("NetStream.Publish.Denied", "go away"));
    let embedding = Engine::new(flowcast::Config::default()).expect("an engine");
    // A server that makes guesses wait longer than an output waits for its answer would be dialled again and again.
    let server = embedding
        .rtmp_server("127.0.0.1:0")
        .options(|options| options.failures.spare_loopback = true)
        .start()
        .expect("it listens");
    let own = format!("rtmp://{}/live", server.address());
    for (what, output) in [
        ("BadName", push(&refusing)),
        ("Denied", push(&denying)),
        ("flowcast, unknown key", Output::rtmp(&own, "unknown-key")),
        ("flowcast, unknown app", Output::rtmp(&own.replace("live", "elsewhere"), "unknown-key")),
    ] {
        let mut witness = Witness::new(&clip);
        let engine = hurried();
        let live = witness.start(&engine, &clip, None);
        let events = engine.events();
        let id = live.add_output(output.clone()).expect("the output is added");
        let began = Instant::now();
        let error = wait_ended(&events, id, PATIENCE).expect("it is an error");
        println!(
            "{what}: {} after {:?}: {}",
            error.code(),
            began.elapsed(),
            std::error::Error::source(&error).expect("why")
        );
        assert!(matches!(&error, Error::Rtmp { .. }), "{what}: {error:?}");
        assert_eq!((error.code(), error.is_retryable()), ("RTMP_REJECTED", false), "{what}");
        // Nothing more happens, well beyond the first wait.
        let again = witness.watch(&live, Duration::from_millis(600), || events.try_next().is_some());
        assert!(!again, "{what}: something happened after the refusal");
        stop_within(live, Duration::from_secs(1));
        witness.assert_unharmed(&clip);

        // Without another output the stream ends with the same error.
        let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
        let ended = live.wait_timeout(PATIENCE).expect("it ends").expect_err("with an error");
        assert_eq!(ended.code(), "RTMP_REJECTED");
    }
    assert_eq!((refusing.count(), denying.count()), (2, 2));
    assert_eq!(server.stats().connections, 0, "refused connections are gone");
}

/// What was asked for gets a moment's answer, then the goodbye: neither the output nor the stream waits as long as the server.
#[test]
fn a_peer_that_never_decides_holds_up_no_end() {
    for whole in [false, true] {
        let clip = Known::small();
        let mut witness = Witness::new(&clip);
        let server = Scripted::start(Script::Undecided);
        let engine = engine(|_| {});
        let live = witness.start(&engine, &clip, None);
        let events = engine.events();
        let output = live.add_output(push(&server)).expect("the output is added");
        let asked = || server.visits().iter().any(|visit| visit.asked.is_some());
        assert!(witness.watch(&live, PATIENCE, asked), "nobody asked to publish");
        let began = Instant::now();
        if !whole {
            live.remove_output(output).expect("it is there");
            assert!(wait_ended(&events, output, PATIENCE).is_none(), "it was asked to end");
            let took = began.elapsed();
            println!("an output that was asked for took {took:?} to go");
            assert!(took < at_most(Duration::from_millis(1600), began), "{took:?}");
        }
        let took = stop_within(live, Duration::from_secs(5));
        assert!(took < at_most(Duration::from_millis(1600), began), "{took:?}");
        println!("stop took {took:?}");
        assert!(
            wait_until(PATIENCE, || server.visits()[0].left.is_some()),
            "no goodbye: {:?}",
            server.visits()
        );
        witness.assert_unharmed(&clip);
    }
}

#[test]
fn a_name_that_is_still_in_use_is_tried_again() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Refuse("NetStream.Publish.BadName", "Stream already publishing"));
    let engine = hurried();
    let live = witness.start(&engine, &clip, push(&server));
    let events = engine.events();
    let output = outputs(&live)[2];
    let error = wait_retry(&events, output, PATIENCE);
    assert_eq!((error.code(), error.is_retryable()), ("RTMP_REJECTED", true));
    let visits = server.count();
    server.follow(Script::Record);
    let next = |server: &Scripted| server.visits().iter().position(|visit| visit.live.is_some());
    assert!(witness.watch(&live, PATIENCE, || next(&server).is_some()));
    let next = next(&server).expect("it was let in");
    assert!(next >= visits - 1 && server.wait_pictures(next, 10, PATIENCE));
    stop_within(live, Duration::from_secs(3));
    clip.assert_fresh_start(&server.visits()[next].tags);
    witness.assert_unharmed(&clip);
}

#[test]
fn a_host_nobody_knows() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let engine = hurried();
    let live = witness.start(&engine, &clip, None);
    let events = engine.events();
    // A label of more than 63 bytes is refused without asking any server.
    let host = format!("{}.invalid", "x".repeat(64));
    let id =
        live.add_output(Output::rtmp(&format!("rtmp://{host}/live"), "key")).expect("the output is added");
    let error = wait_retry(&events, id, PATIENCE);
    assert!(matches!(&error, Error::Dns { .. }), "{error:?}");
    assert_eq!((error.code(), error.is_retryable()), ("DNS_FAILED", true));
    stop_within(live, Duration::from_secs(1));
    witness.assert_unharmed(&clip);
}

#[test]
fn a_name_server_that_never_answers() {
    const TEST: &str = "connect::a_name_server_that_never_answers";
    if alone("dns") {
        return with_a_silent_name_server();
    }
    if !need(&[Need::SilentDns]) {
        return;
    }
    let dns = SilentDns::start();
    let (program, arguments): (PathBuf, Vec<String>) = role_arguments("dns", TEST);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = dns.spawn(&program, &arguments);
    child.wait_success(Duration::from_secs(60));
    assert!(dns.was_asked(), "nobody asked the name server");
    print!("{}", ran(child.output()));
}

fn with_a_silent_name_server() {
    let output = Output::rtmp("rtmp://ingest.example.com/live", "key");
    let after = fails("name server silent", &output, |error| {
        matches!(error, Error::ConnectTimeout { step: ConnectStep::Dns, .. })
    });
    assert!(after >= STEP);
    // A push to another host is not held up by lookups that hang.
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let engine = hurried();
    let stuck: Vec<_> = (0..20)
        .map(|number| {
            let url = format!("rtmp://ingest-{number}.example.com/live");
            let builder = engine.stream(Source::file(&clip.file).looped()).to(Output::rtmp(&url, "key"));
            builder.start()
        })
        .collect::<Result<_, _>>()
        .expect("twenty streams start");
    engine.stop_all(&engine.streams(), Duration::from_secs(1));
    let began = Instant::now();
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    assert!(server.wait_pictures(0, 1, Duration::from_secs(5)));
    println!("an address beside twenty hanging lookups: on the air after {:?}", began.elapsed());
    let proxy = FaultProxy::start(server.address());
    let localhost = format!("rtmp://localhost:{}/live", proxy.address().port());
    let began = Instant::now();
    let named = engine.stream(Source::file(&clip.file).looped()).to(Output::rtmp(&localhost, "key")).start();
    let named = named.expect("it starts");
    let reached = server.wait_pictures(1, 1, Duration::from_secs(15));
    println!("localhost beside twenty hanging lookups: reached {reached} after {:?}", began.elapsed());
    assert_eq!(engine.abandoned(), 0);
    drop((stuck, named));
    stop_within(live, Duration::from_secs(1));
}

#[test]
fn a_name_server_that_answers_at_last() {
    if alone("dns-returns") {
        return until_the_name_server_answers();
    }
    if !need(&[Need::SilentDns]) {
        return;
    }
    let dns = SilentDns::start();
    let (program, arguments) = role_arguments("dns-returns", "connect::a_name_server_that_answers_at_last");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = dns.spawn(&program, &arguments);
    child.wait_for_line("silent", PATIENCE);
    let began = Instant::now();
    let live = |child: &Peer| child.output().lines().any(|line| line == "live");
    assert!(
        wait_until(PATIENCE, || {
            dns.answer();
            live(&child)
        }),
        "{}",
        child.report()
    );
    println!("name server answers: on the air {:?} later", began.elapsed());
    child.wait_success(PATIENCE);
    print!("{}", ran(child.output()));
}

fn until_the_name_server_answers() {
    let clip = Known::small();
    let mut witness = Witness::new(&clip);
    let server = Scripted::start(Script::Record);
    let engine = hurried();
    let events = engine.events();
    // Every name is that of 127.0.0.1, and the server has an address of its own.
    let proxy = FaultProxy::start(server.address());
    let url = format!("rtmp://ingest.example.com:{}/live", proxy.address().port());
    let live = witness.start(&engine, &clip, Output::rtmp(&url, "key"));
    let output = outputs(&live)[2];
    for _ in 0..2 {
        assert_eq!(wait_retry(&events, output, PATIENCE).code(), "CONNECT_TIMEOUT");
    }
    println!("\nsilent");
    assert!(witness.watch(&live, PATIENCE, || server.wait_pictures(0, 1, Duration::ZERO)));
    println!("live");
    assert!(server.wait_pictures(0, 15, PATIENCE));
    stop_within(live, Duration::from_secs(1));
    clip.assert_fresh_start(&server.visits()[0].tags);
    witness.assert_unharmed(&clip);
}
