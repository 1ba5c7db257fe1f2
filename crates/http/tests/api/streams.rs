//! Streams from their start to their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use flowcast_core::{Config, Engine};
use serde_json::{Value, json};

use crate::support::{KEYS, Studio, WATCH, options, wait_until};

#[test]
fn a_stream_is_started_seen_changed_and_stopped() {
    let studio = Studio::start();
    let clip = studio.clip("show.mp4");
    let (one, two) = (studio.directory.path().join("one.flv"), studio.directory.path().join("two.mp4"));
    let spec = json!({
        "label": "show", "owner": "alice", "source": {"file": clip, "looped": true},
        "outputs": [{"record": one, "label": "archive"}, {"publish": "show"}],
    });
    let started = studio.post("/api/v1/streams", &spec);
    let id = started.expect(201)["id"].as_str().unwrap().to_owned();
    let place = format!("/api/v1/streams/{id}");
    assert_eq!(started.header("location"), Some(place.as_str()));
    let list = studio.ask("GET", "/api/v1/streams", WATCH, None).expect(200);
    assert_eq!((&list["total"], &list["next"]), (&json!(1), &Value::Null), "what was just started is there");
    let line = &list["streams"][0];
    assert_eq!(
        (&line["id"], &line["label"], &line["owner"], &line["names"]),
        (&json!(id), &json!("show"), &json!("alice"), &json!(["show"]))
    );
    wait_until("it is on the air", || {
        let view = studio.get(&place).json();
        // What plays is said a moment after that it does.
        view["stats"]["phase"] == "running" && !view["summary"]["playing"].is_null()
    });
    let view = studio.get(&place).expect(200);
    assert_eq!(view["spec"]["source"]["file"], json!(clip));
    assert_eq!(
        (&view["summary"]["playing"]["title"], &view["has_playlist"]),
        (&json!("show"), &json!(false))
    );
    let outputs = studio.get(&format!("{place}/outputs")).expect(200);
    assert_eq!(outputs["outputs"][0]["label"], json!("archive"));

    let added =
        studio.post(&format!("{place}/outputs"), &json!({"record": two, "label": "more"})).expect(201);
    let output = added["id"].as_str().unwrap();
    wait_until("it records", || {
        let list = studio.get("/api/v1/recordings").expect(200);
        let open = list["open"].as_array().unwrap().iter().find(|open| open["output"] == output);
        open.is_some_and(|open| open["bytes"].as_u64() > Some(0))
    });
    let again = studio.post(&format!("{place}/outputs"), &json!({"record": "x.flv", "label": "more"}));
    assert_eq!(again.problem(409), "LABEL_IN_USE");
    studio.ask("DELETE", &format!("{place}/outputs/{output}"), crate::support::OPERATE, None).expect(200);
    wait_until("the recording is complete", || {
        let list = studio.get("/api/v1/recordings").expect(200);
        let is_open = list["open"].as_array().unwrap().iter().any(|open| open["output"] == output);
        !is_open && list["complete"].as_array().unwrap().iter().any(|done| done["path"] == json!(two))
    });
    let gone = studio.ask("DELETE", &format!("{place}/outputs/o77"), crate::support::OPERATE, None);
    assert_eq!(gone.problem(404), "NOT_FOUND");
    assert_eq!(studio.post(&format!("{place}/seek"), &json!({"position_seconds": 1.0})).status, 200);
    assert_eq!(studio.post(&format!("{place}/seek"), &json!({"position_seconds": -1})).status, 400);
    assert_eq!(studio.post(&format!("{place}/skip"), &json!({})).problem(404), "NOT_FOUND", "it has no list");

    let other = studio.clip("other.mp4");
    let body = json!({"source": {"file": other, "looped": true}, "within_seconds": 60.0});
    let replaced = studio.ask("PUT", &format!("{place}/source"), crate::support::OPERATE, Some(&body));
    assert!(replaced.expect(200)["seam"].is_string());
    assert_eq!(studio.get(&place).json()["spec"]["source"]["file"], json!(other));

    let stopped = studio.ask("DELETE", &place, crate::support::OPERATE, None).expect(200);
    assert_eq!(stopped["stats"]["id"], json!(id));
    assert_eq!(studio.get(&place).problem(404), "NOT_FOUND");
    assert_eq!(studio.get("/api/v1/streams").json()["total"], json!(0));
    assert!(one.metadata().unwrap().len() > 1000);
}

#[test]
fn what_cannot_be_started_is_said_part_by_part() {
    let studio = Studio::start();
    let start = |spec: &Value| studio.post("/api/v1/streams", spec);
    let wrong = start(&json!({
        "source": {"file": "a.mp4", "looped": true, "fallback": "b.mp4", "mode": "copy", "encoding": {"video_bit_rate": "2M"}},
        "outputs": [{"url": "gopher://host/canary"}, {"server": "rtmp://host/app", "key": "****"}],
    }));
    assert_eq!(wrong.problem(400), "SPEC_INVALID");
    let text = String::from_utf8(wrong.bytes.clone()).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let places: Vec<_> = wrong.json()["problems"].as_array().unwrap().clone();
    assert!(places.iter().any(|part| part["place"] == "outputs[0]"), "{text}");
    assert!(places.iter().any(|part| part["place"] == "outputs[1]"), "{text}");
    assert_eq!(start(&json!({"sauce": 1})).problem(400), "REQUEST_INVALID");
    let missing = json!({"source": {"file": "/nonexistent/a.mp4"}, "without_outputs": true});
    assert_eq!(start(&missing).problem(404), "INPUT_NOT_FOUND");
}

#[test]
fn limits_are_429() {
    let studio = Studio::with(options(), Config::default().with(|config| config.max_streams = 1));
    studio.on_air("one");
    let room = studio.get("/api/v1/admission").expect(200);
    assert_eq!((&room["allowed"], &room["code"]), (&json!(false), &json!("STREAM_LIMIT_EXCEEDED")));
    let clip = studio.clip("two.mp4");
    let spec = json!({"source": {"file": clip}, "without_outputs": true});
    let refused = studio.post("/api/v1/streams", &spec);
    assert_eq!(refused.problem(429), "STREAM_LIMIT_EXCEEDED");
    assert_eq!(refused.json()["detail"], json!("Maximum 1 concurrent streams reached"));
    let forecast = studio.post("/api/v1/admission", &spec).expect(200);
    assert_eq!((&forecast["allowed"], &forecast["needs"]), (&json!(false), &Value::Null));
}

#[test]
fn pages_and_filters_find_each_stream_once() {
    let studio = Studio::start();
    let clip = studio.clip("loop.mp4");
    for number in 0..7 {
        let owner = if number % 2 == 0 { "even" } else { "Odd" };
        let spec = json!({
            "label": format!("Stream {number}"), "owner": owner, "source": {"file": clip, "looped": true}, "without_outputs": true,
        });
        studio.post("/api/v1/streams", &spec).expect(201);
    }
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let page = studio.get(&format!("/api/v1/streams?limit=3{next}")).expect(200);
        assert_eq!(page["total"], json!(7));
        found.extend(page["streams"].as_array().unwrap().iter().map(|stream| stream["label"].clone()));
        match page["next"].as_str() {
            Some(after) => next = format!("&after={after}"),
            None => break,
        }
    }
    let all: Vec<_> = (0..7).map(|number| json!(format!("Stream {number}"))).collect();
    assert_eq!(found, all);
    let total = |query: &str| studio.get(&format!("/api/v1/streams?{query}")).expect(200)["total"].clone();
    assert_eq!(total("owner=even"), json!(4));
    assert_eq!(total("text=oDD"), json!(3));
    assert_eq!(total("label=Stream%203"), json!(1));
    assert_eq!(total("label=Stream"), json!(0));
    assert_eq!(total("health=bad"), json!(0));
    for wrong in ["limit=0", "limit=1001", "after=x", "limit=many", "colour=red"] {
        let status = studio.get(&format!("/api/v1/streams?{wrong}")).status;
        assert!(matches!(status, 400 | 404), "{wrong}: {status}");
    }
}

#[test]
fn the_snapshot_has_no_key_and_knows_no_viewer() {
    let studio = Studio::start();
    let clip = studio.clip("show.mp4");
    let spec = json!({
        "label": "show", "source": {"file": clip, "looped": true},
        "outputs": [{"server": "rtmp://127.0.0.1:1/app", "key": "canary-key"}, {"publish": "show"}],
    });
    let id = studio.post("/api/v1/streams", &spec).expect(201)["id"].as_str().unwrap().to_owned();
    let playlist = studio.ask("GET", "/live/show/index.m3u8", "", None);
    assert_eq!(playlist.status, 200, "{playlist:?}");
    let snapshot = studio.get("/api/v1/snapshot");
    let value = snapshot.expect(200);
    assert_eq!(value["left_out"], json!([]), "HLS that somebody asked for is no part of the stream");
    assert_eq!(value["snapshot"]["streams"][0]["spec"]["outputs"].as_array().unwrap().len(), 2);
    for path in
        ["/api/v1/snapshot", &format!("/api/v1/streams/{id}"), &format!("/api/v1/streams/{id}/outputs")]
    {
        let text = String::from_utf8(studio.get(path).bytes).unwrap();
        assert!(!text.contains("canary"), "{path}: {text}");
    }
}

#[test]
fn a_file_is_judged() {
    let studio = Studio::start();
    let clip = studio.clip("clip.mp4");
    let judged = studio.post("/api/v1/verdict", &json!({"path": clip, "platforms": ["youtube", "twitch"]}));
    let judged = judged.expect(200);
    assert_eq!(judged["verdicts"].as_array().unwrap().len(), 2);
    assert_eq!(judged["facts"]["video"]["width"], json!(320));
    let lost = studio.post("/api/v1/verdict", &json!({"path": "/nonexistent.mp4"})).expect(200);
    assert_eq!((&lost["facts"], lost["verdicts"].as_array().unwrap().len()), (&Value::Null, 1));
    let unknown = studio.post("/api/v1/verdict", &json!({"path": clip, "platforms": ["vimeo"]}));
    assert_eq!(unknown.problem(400), "REQUEST_INVALID");
}

#[test]
fn schedules_are_added_listed_and_taken_out() {
    let studio = Studio::start();
    let body = json!({
        "stream": {"label": "evening", "source": {"file": "show.mp4", "looped": true}, "outputs": [{"server": "rtmp://host/app", "key": "canary-key"}]},
        "when": {"zone": "Europe/Berlin", "windows": [{"from": "20:00", "to": "23:30"}]},
    });
    let id = studio.post("/api/v1/schedules", &body).expect(201)["id"].as_str().unwrap().to_owned();
    let list = studio.get("/api/v1/schedules");
    assert!(!String::from_utf8_lossy(&list.bytes).contains("canary"));
    let listed = &list.expect(200)["schedules"][0];
    assert_eq!(
        (&listed["id"], &listed["label"], &listed["stream"]),
        (&json!(id), &json!("evening"), &Value::Null)
    );
    assert!(listed["next"].is_string() && listed["next_ends"].is_string());
    let never = json!({
        "stream": body["stream"], "when": {"windows": [{"on": "2001-01-01", "from": "20:00", "to": "21:00"}]},
    });
    assert_eq!(studio.post("/api/v1/schedules", &never).problem(400), "CONFIG_INVALID");
    let place = format!("/api/v1/schedules/{id}");
    studio.ask("DELETE", &place, crate::support::OPERATE, None).expect(200);
    assert_eq!(studio.ask("DELETE", &place, crate::support::OPERATE, None).problem(404), "NOT_FOUND");
}

/// The router is dropped with what serves it, and the engine with that.
#[test]
fn nothing_holds_the_engine_when_the_server_is_gone() {
    let engine = Engine::new(Config::default()).unwrap();
    let watch = engine.watch();
    let server = flowcast_http::serve(&engine, "127.0.0.1:0", options()).unwrap();
    assert!(server.stop(Duration::from_secs(10)));
    drop(engine);
    wait_until("the engine is gone", || watch.figures().is_none());
}

#[test]
fn what_was_done_is_saved_before_it_is_answered_or_the_answer_says_that_it_is_not() {
    let (times, is_full) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, full) = (times.clone(), is_full.clone());
    let options = options().saved_by(move || {
        count.fetch_add(1, Ordering::SeqCst);
        if full.load(Ordering::SeqCst) { Err("the disk\nis full".into()) } else { Ok(()) }
    });
    let studio = Studio::with(options, Config::default());
    let issue = |name: &str| studio.ask("POST", "/api/v1/keys", KEYS, Some(&json!({"name": name})));
    let issued = issue("one");
    issued.expect(201);
    assert_eq!((times.load(Ordering::SeqCst), issued.header("flowcast-unsaved")), (1, None));
    studio.get("/api/v1/streams").expect(200);
    issue("a/b").problem(403);
    assert_eq!(times.load(Ordering::SeqCst), 1, "nothing was done");
    is_full.store(true, Ordering::SeqCst);
    let issued = issue("two");
    assert!(issued.expect(201)["key"].is_string(), "it was done, and is answered");
    assert_eq!(issued.header("flowcast-unsaved"), Some("the disk is full"));
}
