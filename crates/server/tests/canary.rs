//! Keys, tokens and queries are in no log line, event, error or figure. Alone in its process, since the logger is the process's.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use flowcast_core::{KeyRules, Play};
use flowcast_rtmp::session::ClientRole;
use support::{Studio, header, picture, wait_until};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

#[test]
fn secrets_are_shown_nowhere() {
    log::set_logger(&Keep).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let shown = |what: String| LINES.lock().unwrap().push(what);
    let studio = Studio::start(|server| {
        let server = server.options(|options| options.failures.first_delay = Duration::ZERO);
        let server = server.on_publish(|admission| {
            LINES.lock().unwrap().push(format!("{admission:?}"));
            match admission.query() {
                "pass=canary-drop" => drop(admission),
                "pass=canary-name" => admission.accept_as("canary/no-name"),
                _ => admission.accept(),
            }
        });
        server.on_play(|admission| {
            LINES.lock().unwrap().push(format!("{admission:?}"));
            admission.accept();
        })
    });
    let (keys, events) = (studio.engine.keys(), studio.engine.events());
    let paid = || KeyRules::new().play(Play::Token("canary-token".into()));
    keys.add_with("studio", "canary-key", paid()).unwrap();
    keys.add_with("late", "canary-late", KeyRules::new().expires_at(SystemTime::now())).unwrap();
    shown(format!("{:?}", keys.add("other", "canary-key").unwrap_err()));
    shown(format!(
        "{}",
        keys.add_with("other", "good-key", KeyRules::new().play(Play::Token("canary token".into())))
            .unwrap_err()
    ));
    let mut publisher = studio.on_air("canary-key?pass=canary-1");
    publisher.send(&[header(), picture(0, true, 1, 100)]);
    for key in
        ["canary-wrong", "canary-late", "canary-key", "x-key?pass=canary-drop", "y-key?pass=canary-name"]
    {
        studio.publisher(key).refusal();
    }
    for name in ["studio?token=canary-guess", "studio", "nobody?token=canary-token"] {
        studio.player(name).refusal();
    }
    let server_events = studio.server.events();
    for (app, name) in [("canary-app", ""), ("live/canary-both", "canary-both"), ("canary-two", "canary-two")]
    {
        for role in [ClientRole::Publish, ClientRole::Play] {
            shown(format!("{:?}", studio.client(role, app, name).refused()));
        }
    }
    studio.client(ClientRole::Play, "live?token=canary-token", "studio").go_live();
    shown(format!("{:?} {:#?}", studio.server, keys));
    shown(format!("{:?} {:?}", studio.stats(), keys.active()));
    assert!(keys.remove("studio"));
    assert!(wait_until(|| !studio.has("studio")));
    shown(format!("{:?}", std::iter::from_fn(|| events.try_next()).collect::<Vec<_>>()));
    let refused: Vec<_> = std::iter::from_fn(|| server_events.try_next()).collect();
    assert!(refused.len() >= 6, "{refused:#?}");
    shown(format!("{refused:?}"));
    let lines = LINES.lock().unwrap();
    assert!(lines.iter().any(|line| line.contains("publishes studio")), "the log is kept: {lines:#?}");
    let leaks: Vec<_> = lines.iter().filter(|line| line.contains("canary")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
