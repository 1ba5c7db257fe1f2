//! Names and applications as people write them into their encoders.

use flowcast_server::{RefusalReason, ServerEventKind};

use crate::raw::Raw;
use crate::support::{Studio, wait_until};

const NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
const BAD_NAME: &str = "NetStream.Publish.BadName";

#[test]
fn what_is_meant_is_taken_from_whichever_field_it_stands_in() {
    let studio = Studio::start(|server| server);
    studio.engine.keys().add("studio", "secret").unwrap();
    let places = [
        ("live", "secret"),
        ("live/secret", ""),
        ("live/secret", "?token=1"),
        ("live/_definst_", "secret"),
        ("live", "/secret"),
        ("live", "flv:secret"),
        ("live", "secret "),
        ("", "live/secret"),
        ("live", "live/secret"),
    ];
    for (app, name) in places {
        let mut raw = Raw::connect(studio.server.address(), app);
        raw.create();
        assert_eq!(raw.ask("publish", name), "NetStream.Publish.Start", "{app:?} {name:?}");
        let mut player = Raw::connect(studio.server.address(), &app.replace("secret", "studio"));
        player.create();
        let played = player.ask("play", &name.replace("secret", "studio"));
        assert_eq!(played, "NetStream.Play.Start", "{app:?} {name:?}");
        raw.say("closeStream", Vec::new(), raw.id);
        assert!(wait_until(|| studio.engine.hub().find("studio").is_none()));
    }
    assert_eq!(studio.stats().refused_publish, 0);
}

#[test]
fn what_is_not_clear_is_refused_with_a_status_and_an_event_that_names_the_application() {
    let studio = Studio::start(|server| server.options(|options| options.failures.spare_loopback = true));
    studio.engine.keys().add("studio", "secret").unwrap();
    let events = studio.server.events();
    let places = [
        ("live/room", "secret", "live/room", RefusalReason::App),
        ("LIVE", "secret", "LIVE", RefusalReason::App),
        ("other/secret", "", "other", RefusalReason::App),
        ("", "secret", "", RefusalReason::App),
        ("", "", "", RefusalReason::App),
        ("live", "", "live", RefusalReason::NoName),
        ("live", "room/secret", "live", RefusalReason::Key),
    ];
    for (app, name, shown, wanted) in places {
        for (verb, code) in [("publish", BAD_NAME), ("play", NOT_FOUND)] {
            let mut raw = Raw::connect(studio.server.address(), app);
            raw.create();
            assert_eq!(raw.ask(verb, name), code, "{app:?} {name:?}");
            raw.end().expect("closed in an orderly way, not reset");
            let (reason, app) = wait_refusal(&events);
            let wanted =
                if verb == "play" && wanted == RefusalReason::Key { RefusalReason::NoStream } else { wanted };
            assert_eq!((reason, app.as_str()), (wanted, shown), "{verb} {name:?}");
        }
    }
}

#[test]
fn any_application_takes_a_name_that_stands_alone() {
    let studio = Studio::start(|server| server.options(|options| options.app = None));
    studio.engine.keys().add("studio", "secret").unwrap();
    for (app, name) in [("secret", ""), ("", "secret"), ("a/b/secret", ""), ("a", "secret")] {
        let mut raw = Raw::connect(studio.server.address(), app);
        raw.create();
        assert_eq!(raw.ask("publish", name), "NetStream.Publish.Start", "{app:?} {name:?}");
        raw.say("closeStream", Vec::new(), raw.id);
        assert!(wait_until(|| studio.engine.hub().find("studio").is_none()));
    }
}

#[test]
fn a_client_that_breaks_the_rules_can_read_the_answer_to_that() {
    let studio = Studio::start(|server| server);
    let mut raw = Raw::connect(studio.server.address(), &"x".repeat(2000));
    // Unread when the server closes, which would reset the connection.
    for _ in 0..50 {
        raw.say("createStream", Vec::new(), 0);
    }
    assert_eq!(raw.status("NetConnection"), "NetConnection.Connect.InvalidApp");
    raw.end().expect("closed in an orderly way, not reset");
}

fn wait_refusal(events: &flowcast_core::Events<flowcast_server::ServerEvent>) -> (RefusalReason, String) {
    let mut found = None;
    let came = wait_until(|| {
        found = events.try_next().and_then(|event| match event.kind {
            ServerEventKind::PublishRefused { reason, app }
            | ServerEventKind::PlayRefused { reason, app } => Some((reason, app.to_string())),
            _ => None,
        });
        found.is_some()
    });
    assert!(came, "nothing was told");
    found.unwrap()
}
