//! What is known of outputs that failed, and how loudly recoveries are told.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use flowcast::health::HealthKind;
use flowcast::rtmp::session::ClientRole;
use flowcast::stats::OutputPhase;
use flowcast::{EventKind, RtmpServerExt, Source};

use kit::rig::{Known, engine, push, wait_ended, wait_event, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, Session, alone, run_alone, wait_until};

#[test]
fn a_push_that_is_removed_or_ends_keeps_the_error_it_has_not_recovered_from() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let beside = flowcast::Output::publish("beside");
    let live = engine.stream(Source::file(&clip.file).looped()).to(beside).start().expect("it starts");
    let events = live.events();
    let mut server = Scripted::start(Script::Record);
    let ended = |id| {
        let found = live.stats().outputs.into_iter().find(|output| output.id == id);
        found.filter(|output| output.phase == OutputPhase::Ended)
    };
    // Removed while it waits; while it is dialled; after it was on the air again; while it is on the air and its server is
    // gone; and refused.
    for case in ["waiting", "dialling", "recovered", "stuck", "refused"] {
        server.follow(Script::Record);
        server.deafen(false);
        let begins = server.count();
        if case == "refused" {
            server.follow(Script::Refuse("NetStream.Publish.Denied", "no"));
        }
        let id = live.add_output(push(&server)).expect("it is added");
        match case {
            "refused" => drop(wait_ended(&events, id, PATIENCE).expect("refused")),
            _ => {
                assert!(server.wait_pictures(begins, 5, PATIENCE), "{case}");
                if case == "dialling" {
                    server.follow(Script::Mute);
                } else if case == "waiting" {
                    server.down();
                }
                server.reset();
                wait_retry(&events, id, PATIENCE);
                if case == "waiting" {
                    wait_retry(&events, id, PATIENCE);
                    server.up();
                } else {
                    assert!(wait_until(PATIENCE, || server.count() > begins + 1), "{case}");
                }
                if case == "recovered" {
                    assert!(server.wait_pictures(begins + 1, 5, PATIENCE));
                }
                if case == "stuck" {
                    server.deafen(true);
                }
                live.remove_output(id).expect("it is removed");
                wait_ended(&events, id, PATIENCE);
            }
        }
        assert!(wait_until(PATIENCE, || ended(id).is_some()), "{case}: it is not shown");
        let output = ended(id).expect("it is shown");
        assert!(output.failures >= 1, "{case}: it forgot {output:?}");
        assert_eq!(output.removed, case != "refused", "{case}: {output:?}");
        let health = live.health();
        let is_down = health.reasons().iter().any(|reason| reason.kind == HealthKind::OutputsDown);
        // What was removed is no trouble any more; what was refused is.
        assert_eq!(is_down, case == "refused", "{case}: {health:?}");
        match case {
            "recovered" => assert_eq!(output.last_error, None, "{case}: it is on the air again"),
            // Whether it was still sent to is a matter of the moment.
            "stuck" => {}
            _ => {
                let error = output.last_error.expect(case);
                assert!(!error.text.is_empty() && !error.code.is_empty(), "{case}: {error:?}");
                assert_eq!(error.code == "RTMP_REJECTED", case == "refused", "{case}: {error:?}");
            }
        }
    }
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn what_became_of_a_push_is_still_known_after_many_players() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("it listens");
    let rain = flowcast::Output::publish("rain");
    let live = engine.stream(Source::file(&clip.file).looped()).to(rain).start().expect("it starts");
    let refusing = Scripted::start(Script::Refuse("NetStream.Publish.Denied", "no"));
    let events = live.events();
    let id = live.add_output(push(&refusing)).expect("it is added");
    wait_ended(&events, id, PATIENCE).expect("refused");
    for _ in 0..20 {
        let mut player = Session::plain(ClientRole::Play, server.address(), "live/rain");
        assert!(matches!(player.go_live(), Ok(true)));
    }
    assert!(wait_until(PATIENCE, || live.players() == 0 && live.stats().outputs.len() > 16));
    let found = live.stats().outputs.into_iter().find(|output| output.id == id);
    assert!(found.expect("it is shown").last_error.is_some());
    live.stop(PATIENCE).expect("it stops");
}

/// Everything the library has to say, with its level.
struct Collector(Mutex<String>);

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Ok(mut lines) = self.0.lock() {
            let _ = writeln!(lines, "{} {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

static LOG: Collector = Collector(Mutex::new(String::new()));

#[test]
fn a_recovery_is_logged_as_loudly_as_the_failure_it_ends() {
    if alone("recovery") {
        return recover();
    }
    run_alone(
        "recovery",
        "what_is_told::a_recovery_is_logged_as_loudly_as_the_failure_it_ends",
        Duration::from_secs(60),
    );
}

fn recover() {
    log::set_logger(&LOG).expect("nobody logs yet");
    log::set_max_level(log::LevelFilter::Warn);
    let clip = Known::small();
    let engine = engine(|_| {});
    let events = engine.events();
    let mut server = Scripted::start(Script::Record);
    server.down();
    let live = engine.stream(Source::file(&clip.file).looped()).to(push(&server)).start().expect("it starts");
    let retried =
        |event: &flowcast::Event| matches!(event.kind, EventKind::OutputRetrying { .. }).then_some(());
    let on_air = |event: &flowcast::Event| match event.kind {
        EventKind::OutputLive { reconnects, failures, .. } => Some((reconnects, failures)),
        _ => None,
    };
    wait_event(&events, PATIENCE, retried);
    server.up();
    let (reconnects, failures) = wait_event(&events, PATIENCE, on_air);
    assert!(reconnects == 0 && failures > 0, "{failures}");
    assert!(server.wait_pictures(0, 1, PATIENCE) || server.count() > 0);
    server.reset();
    wait_event(&events, PATIENCE, retried);
    let (reconnects, failures) = wait_event(&events, PATIENCE, on_air);
    assert_eq!((reconnects, failures), (1, 1));
    live.stop(PATIENCE).expect("it stops");
    let log = LOG.0.lock().expect("no panic").clone();
    let failed = log.matches("trying again in").count();
    let recovered: Vec<_> = log.lines().filter(|line| line.contains("on the air, failures before")).collect();
    assert!(failed >= 2 && recovered.len() == 2, "{log}");
    assert!(recovered[1].ends_with("on the air, failures before: 1"), "{log}");
}
