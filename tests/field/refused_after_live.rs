//! Servers that refuse what they took before: while they restart, or while they hold on to a connection that is gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowcast::config::{ReconnectPolicy, TlsRoots};
use flowcast::rtmp::amf0::Value;
use flowcast::rtmp::command::{Command, Status};
use flowcast::server::TlsIdentity;
use flowcast::{Config, Engine, Error, EventKind, Events, Output, RtmpServerExt, Source, StreamId};

use kit::acted::{Acted, Answer, publish_status};
use kit::rig::{Known, engine, wait_event};
use kit::{Authority, PATIENCE, own_address, wait_until};

/// Tags a connection may send before the server is gone.
const ENOUGH: usize = 40;

fn soon() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::default();
    policy.first = Duration::from_millis(40);
    policy.cap = Duration::from_millis(400);
    policy
}

fn push(server: &Acted) -> Output {
    Output::rtmp(&format!("rtmp://{}/live", server.address()), "a-stream-key").reconnect(soon())
}

/// How a server says no: to which command, and in which words.
#[derive(Clone, Copy, Debug)]
enum No {
    Publish(&'static str, &'static str),
    Connect(&'static str, &'static str),
    /// Lets the client in and throws it out in the same breath.
    ThrownOut,
}

impl No {
    fn answer(self, command: &Command) -> Answer {
        match self {
            Self::Publish(code, description) if command.name == "publish" => {
                Answer::Last(publish_status("error", code, description))
            }
            Self::Connect(code, description) if command.name == "connect" => {
                let status = Status::error(code, description).to_value();
                Answer::Last(vec![(0, Command::new("_error", 1.0, vec![status]))])
            }
            Self::ThrownOut if command.name == "publish" => {
                let mut said = publish_status("status", "NetStream.Publish.Start", "go");
                said.extend(publish_status("error", "NetStream.Publish.Denied", "not you"));
                Answer::Last(said)
            }
            _ => Answer::Usual,
        }
    }
}

const REFUSALS: [No; 7] = [
    No::Publish("NetStream.Publish.BadName", ""),
    No::Publish("NetStream.Publish.BadName", "No such stream."),
    No::Publish("NetStream.Publish.Denied", "not now"),
    No::Connect("NetConnection.Connect.Rejected", "[ Server.Reject ] : Application (live) is not loaded."),
    No::Connect("NetConnection.Connect.InvalidApp", ""),
    No::Connect("NetConnection.Connect.AppShutdown", ""),
    No::ThrownOut,
];

/// Waits for the next word about the output: `Ok` when it is on the air, else why it waits or has ended.
fn next(events: &Events, stream: StreamId) -> Result<u64, (bool, Error)> {
    wait_event(events, PATIENCE, |event| match &event.kind {
        _ if event.stream != stream => None,
        EventKind::OutputLive { reconnects, .. } => Some(Ok(*reconnects)),
        EventKind::OutputRetrying { error, .. } => Some(Err((true, error.clone()))),
        EventKind::OutputEnded { error: Some(error), .. } => Some(Err((false, error.clone()))),
        _ => None,
    })
}

#[test]
fn an_output_that_was_on_the_air_outlives_refusals() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let cases: Vec<_> = REFUSALS
        .into_iter()
        .map(|no| {
            let server = Acted::start(move |number, command| match number {
                1 | 2 => no.answer(command),
                _ => Answer::Usual,
            });
            server.close_after(Some(ENOUGH));
            let events = engine.events();
            let source = Source::file(&clip.file).looped();
            let live = engine.stream(source).to(push(&server)).start().expect("it starts");
            (no, server, events, live)
        })
        .collect();
    for (no, server, events, live) in cases {
        assert!(server.wait_tags(0, ENOUGH), "{no:?}");
        server.close_after(None);
        let mut refused = 0;
        loop {
            match next(&events, live.id()) {
                Ok(0) => {}
                Ok(reconnects) => break assert_eq!(reconnects, 1, "{no:?}"),
                Err((goes_on, error)) => {
                    assert!(goes_on, "{no:?}: ended: {}", flowcast::error::chain(&error));
                    refused += usize::from(error.code() == "RTMP_REJECTED");
                }
            }
        }
        assert_eq!(refused, 2, "{no:?}: the reason is told");
        assert!(server.wait_tags(3, ENOUGH), "{no:?}: it does not go on");
        live.stop(PATIENCE).expect("it stops");
    }
}

#[test]
fn an_output_that_never_was_ends_with_its_first_refusal() {
    let clip = Known::small();
    let engine = engine(|_| {});
    for no in REFUSALS.into_iter().filter(|no| !matches!(no, No::ThrownOut)) {
        let server =
            Acted::start(move |number, command| if number == 0 { no.answer(command) } else { Answer::Usual });
        let source = Source::file(&clip.file).looped();
        let live = engine.stream(source).to(push(&server)).start().expect("it starts");
        let busy = matches!(no, No::Publish(_, "") | No::Connect("NetConnection.Connect.AppShutdown", _));
        if busy {
            // The name may be held by a connection of before.
            assert!(server.wait_tags(1, 1), "{no:?}: it is not tried again");
            live.stop(PATIENCE).expect("it stops");
        } else {
            let error = live.wait_timeout(PATIENCE).expect("it ends").expect_err("refused");
            assert_eq!(error.code(), "RTMP_REJECTED", "{no:?}");
            assert_eq!(server.visits().len(), 1, "{no:?}");
        }
    }
}

#[test]
fn an_output_that_is_thrown_out_comes_back() {
    let clip = Known::small();
    let engine = engine(|_| {});
    for code in ["NetStream.Publish.BadName", "NetStream.Publish.Denied", "NetStream.Publish.Vendor"] {
        let server = Acted::start(|_, _| Answer::Usual);
        server.throw_out_after(ENOUGH, publish_status("error", code, "not you any more"));
        let events = engine.events();
        let source = Source::file(&clip.file).looped();
        let live = engine.stream(source).to(push(&server)).start().expect("it starts");
        assert_eq!(next(&events, live.id()).ok(), Some(0));
        let (goes_on, error) = next(&events, live.id()).expect_err("thrown out");
        assert!(goes_on, "{code}: ended: {}", flowcast::error::chain(&error));
        server.close_after(None);
        assert!(server.wait_tags(1, ENOUGH) || server.wait_tags(2, ENOUGH), "{code}: it does not come back");
        live.stop(PATIENCE).expect("it stops");
    }
}

#[test]
fn how_often_an_output_is_refused_is_a_policy() {
    let clip = Known::small();
    let engine = engine(|_| {});
    for (refusals, tries) in [(Some(0), None), (Some(3), None), (None, Some(3))] {
        let no = No::Publish("NetStream.Publish.Denied", "");
        let server =
            Acted::start(move |number, command| if number == 0 { Answer::Usual } else { no.answer(command) });
        server.close_after(Some(ENOUGH));
        let mut policy = soon();
        (policy.refusals, policy.tries) = (refusals, tries);
        let source = Source::file(&clip.file).looped();
        let live = engine.stream(source).to(push(&server).reconnect(policy)).start().expect("it starts");
        let error = live.wait_timeout(PATIENCE).expect("it ends").expect_err("refused for good");
        // One connection that was lost, then the refusals; the first is not told twice.
        match (refusals, tries) {
            (Some(0), _) => assert_eq!((error.code(), server.visits().len()), ("RTMP_REJECTED", 2)),
            (Some(_), _) => {
                assert!(
                    matches!(&error, Error::GaveUp { tries: 4, source } if source.code() == "RTMP_REJECTED")
                );
                assert_eq!(server.visits().len(), 5);
            }
            _ => {
                assert!(
                    matches!(&error, Error::GaveUp { tries: 3, source } if source.code() == "RTMP_REJECTED")
                );
                assert_eq!(server.visits().len(), 4);
            }
        }
    }
}

#[test]
fn a_refusal_where_the_output_was_redirected_to_sends_it_home() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let refusing = Acted::start(|_, command| No::Publish("NetStream.Publish.Denied", "").answer(command));
    let elsewhere = format!("rtmp://{}/live", refusing.address());
    let home = Acted::start(move |number, command| {
        if number != 1 || command.name != "connect" {
            return Answer::Usual;
        }
        let ex = Value::object([("code", Value::from(302.0)), ("redirect", Value::from(elsewhere.as_str()))]);
        let info = Value::object([
            ("level", Value::from("error")),
            ("code", Value::from("NetConnection.Connect.Rejected")),
            ("ex", ex),
        ]);
        Answer::Last(vec![(0, Command::new("_error", 1.0, vec![info]))])
    });
    home.close_after(Some(ENOUGH));
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&home)).start().expect("it starts");
    assert!(home.wait_tags(0, ENOUGH));
    home.close_after(None);
    assert!(home.wait_tags(2, ENOUGH), "{:?}", live.wait_timeout(Duration::ZERO));
    assert_eq!(refusing.visits().len(), 1);
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn a_server_that_comes_back_with_another_certificate_is_dialled_until_it_has_the_right_one() {
    let clip = Known::small();
    let (trusted, other) = (Authority::new("trusted"), Authority::new("somebody else"));
    let address = own_address();
    let host = address.ip().to_string();
    let identity = |authority: &Authority| {
        let (chain, key) = authority.issue(&[host.as_str()]);
        TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).expect("an identity")
    };
    let pem = clip.beside("ca.pem");
    std::fs::write(&pem, trusted.pem()).expect("a file in the directory");
    let serving = Engine::new(Config::default()).expect("an engine");
    serving.keys().add("studio", "a-stream-key").expect("a usable key");
    let serve = |authority: &Authority| {
        let builder = serving.rtmp_server("127.0.0.1:0").rtmps(address.to_string(), identity(authority));
        builder.options(|options| options.failures.spare_loopback = true).start().expect("it listens")
    };
    let server = serve(&trusted);
    let roots = TlsRoots::from_pem_file(&pem).expect("a certificate");
    let output = Output::rtmp(&format!("rtmps://{address}/live"), "a-stream-key");
    let engine = engine(|_| {});
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(output.tls_roots(roots).reconnect(soon()))
        .start()
        .expect("it starts");
    let events = live.events();
    let on_air = || {
        wait_until(PATIENCE, || {
            serving.hub().find("studio").is_some_and(|stream| stream.stats().media_time.as_millis() > 300)
        })
    };
    assert!(on_air());
    server.stop(PATIENCE);
    let server = serve(&other);
    let refused = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::OutputRetrying { error, .. } => (error.code() == "TLS_FAILED").then(|| error.clone()),
        EventKind::OutputEnded { error, .. } => panic!("ended: {error:?}"),
        _ => None,
    });
    assert!(!refused.is_retryable(), "a first one would have been final: {refused:?}");
    server.stop(PATIENCE);
    let server = serve(&trusted);
    wait_event(&events, PATIENCE, |event| matches!(event.kind, EventKind::OutputLive { .. }).then_some(()));
    live.stop(PATIENCE).expect("it stops");
    server.stop(PATIENCE);
}

#[test]
fn our_own_server_that_comes_back_before_its_keys_gets_the_stream_again() {
    let clip = Known::small();
    let address = own_address();
    let serve = |with_key: bool| {
        let engine = Engine::new(Config::default()).expect("an engine");
        if with_key {
            engine.keys().add("studio", "a-stream-key").expect("a usable key");
        }
        let builder = engine.rtmp_server(address.to_string());
        let server =
            builder.options(|options| options.failures.spare_loopback = true).start().expect("it listens");
        (engine, server)
    };
    let (serving, server) = serve(true);
    let engine = engine(|_| {});
    let output = Output::rtmp(&format!("rtmp://{address}/live"), "a-stream-key").reconnect(soon());
    let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
    let events = live.events();
    assert!(wait_until(PATIENCE, || {
        serving.hub().find("studio").is_some_and(|stream| stream.stats().media_time.as_millis() > 300)
    }));
    server.stop(PATIENCE);
    drop(serving);
    let (serving, server) = serve(false);
    let seen = AtomicUsize::new(0);
    wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::OutputRetrying { error, .. } if error.code() == "RTMP_REJECTED" => {
            (seen.fetch_add(1, Ordering::Relaxed) == 1).then_some(())
        }
        EventKind::OutputEnded { error, .. } => panic!("ended: {error:?}"),
        _ => None,
    });
    serving.keys().add("studio", "a-stream-key").expect("a usable key");
    wait_event(&events, PATIENCE, |event| matches!(event.kind, EventKind::OutputLive { .. }).then_some(()));
    live.stop(PATIENCE).expect("it stops");
    server.stop(PATIENCE);
}
