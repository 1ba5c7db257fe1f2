//! What happens, as it does.

use std::time::Duration;

use flowcast_core::Config;
use serde_json::{Value, json};

use crate::support::{OPERATE, Studio, WATCH, options};

const AUTH: (&str, &str) = ("Authorization", "Bearer canary-token-of-watchers");

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    let studio = Studio::start();
    assert_eq!(AUTH.1, format!("Bearer {WATCH}"));
    let mut reading = studio.open("/api/v1/events", &[AUTH]);
    assert_eq!(reading.status, 200);
    let id = studio.on_air("one");
    let started = reading.named("started");
    assert_eq!((started.event.as_str(), &started.data["stream"]), ("stream", &json!(id)));
    assert!(started.data["at"].is_string() && started.data["text"].is_string());
    drop(reading);
    studio.ask("DELETE", &format!("/api/v1/streams/{id}"), OPERATE, None).expect(200);
    let last = started.id.unwrap();
    let mut back = studio.open("/api/v1/events", &[AUTH, ("Last-Event-ID", &last)]);
    let ended = back.named("ended");
    assert_eq!(ended.data["stream"], json!(id), "what came meanwhile");
    let mut again = studio.open(&format!("/api/v1/events?after={last}&names=ended"), &[AUTH]);
    assert_eq!(again.event().unwrap(), ended, "the same event has the same id");
    let mut history = studio.open("/api/v1/events?history=1000&names=started,ended", &[AUTH]);
    let names = [history.event().unwrap(), history.event().unwrap()].map(|event| event.data["event"].clone());
    assert_eq!(names, [json!("started"), json!("ended")]);
}

#[test]
fn what_is_lost_is_said() {
    let options = options().with(|options| options.event_history = 3);
    let studio = Studio::with(options, Config::default());
    let number = |id: &str| id.rsplit('-').next().unwrap().parse::<u64>().unwrap();
    let newest = || studio.open("/api/v1/events?history=1", &[AUTH]).event().unwrap().id.unwrap();
    let stop = |id: &str| studio.ask("DELETE", &format!("/api/v1/streams/{id}"), OPERATE, None).expect(200);
    stop(&studio.on_air("one"));
    let first = newest();
    // Until more has happened than is kept.
    while number(&newest()) <= number(&first) + 4 {
        stop(&studio.on_air("more"));
    }
    let mut late = studio.open("/api/v1/events", &[AUTH, ("Last-Event-ID", &first)]);
    let gap = late.event().unwrap();
    assert_eq!((gap.event.as_str(), &gap.id), ("gap", &None));
    assert!(gap.data["lost"].as_u64().unwrap() > 0);
    assert!(late.event().unwrap().id.is_some(), "then what is left");
    let mut stranger = studio.open("/api/v1/events", &[AUTH, ("Last-Event-ID", "1234-7")]);
    let gap = stranger.event().unwrap();
    assert_eq!((gap.event.as_str(), &gap.data["lost"]), ("gap", &Value::Null), "of another run");
}

#[test]
fn a_page_gets_its_figures_each_second() {
    let studio = Studio::start();
    let (one, two) = (studio.on_air("one"), studio.on_air("two"));
    let mut figures = studio.open(&format!("/api/v1/figures?streams={one}&stream={two}"), &[AUTH]);
    let mut times = Vec::new();
    for _ in 0..3 {
        let tick = figures.event().unwrap();
        assert_eq!(tick.event, "figures");
        assert_eq!(tick.data["engine"]["streams"], json!(2));
        assert_eq!(tick.data["streams"][0]["id"], json!(one));
        assert_eq!(tick.data["stream"]["summary"]["id"], json!(two));
        times.push(tick.data["at"].as_str().unwrap().to_owned());
    }
    times.dedup();
    assert!(times.len() >= 2, "they are of their time: {times:?}");
}

#[test]
fn those_that_listen_are_bounded_and_sent_home_at_the_end() {
    let options = options().with(|options| options.listeners = 2);
    let studio = Studio::with(options, Config::default());
    let one = studio.open("/api/v1/events", &[AUTH]);
    let mut two = studio.open("/api/v1/figures", &[AUTH]);
    assert!(two.event().is_some());
    let third = studio.ask("GET", "/api/v1/events", WATCH, None);
    assert_eq!(third.problem(429), "LISTENERS_LIMIT_EXCEEDED");
    drop(one);
    crate::support::wait_until("there is a place", || studio.open("/api/v1/events", &[AUTH]).status == 200);
    let Studio { server, .. } = studio;
    assert!(server.stop(Duration::from_secs(30)), "answers without an end are ended");
    while two.event().is_some() {}
}
