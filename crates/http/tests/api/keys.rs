//! Keys: shown once, and nowhere else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{KEYS, Studio, WATCH};

#[test]
fn a_key_is_issued_listed_without_itself_replaced_and_revoked() {
    let studio = Studio::start();
    let ask = |method: &str, path: &str, body: Option<&Value>| studio.ask(method, path, KEYS, body);
    let rules = json!({
        "name": "studio", "owner": "alice", "expires_in_seconds": 3600, "publish_from": ["192.0.2.0/24", "198.51.100.7"], "play": "token",
    });
    let issued = ask("POST", "/api/v1/keys", Some(&rules)).expect(201);
    let (key, token) = (issued["key"].as_str().unwrap(), issued["play_token"].as_str().unwrap());
    assert_eq!(studio.engine.keys().name_of(&key.into()).as_deref(), Some("studio"));
    let list = ask("GET", "/api/v1/keys", None);
    let text = String::from_utf8(list.bytes.clone()).unwrap();
    assert!(!text.contains(key) && !text.contains(token), "{text}");
    let listed = &list.expect(200)["keys"][0];
    assert_eq!(
        (&listed["name"], &listed["owner"], &listed["play"], &listed["publish_from"]),
        (&json!("studio"), &json!("alice"), &json!("token"), &json!(["192.0.2.0/24", "198.51.100.7/32"]))
    );
    assert!(listed["expires"].is_string() && listed["is_published"] == json!(false));
    assert_eq!(ask("POST", "/api/v1/keys", Some(&rules)).problem(409), "KEY_IN_USE");

    let other = ask("POST", "/api/v1/keys/studio/replace", Some(&json!({"old_valid_for_seconds": 60})));
    let other = other.expect(200)["key"].as_str().unwrap().to_owned();
    for accepted in [key, &other] {
        assert_eq!(studio.engine.keys().name_of(&accepted.into()).as_deref(), Some("studio"));
    }
    assert_eq!(ask("GET", "/api/v1/keys", None).json()["keys"][0]["old_keys"], json!(1));
    let open = ask("PUT", "/api/v1/keys/studio/play", Some(&json!({"play": "public"}))).expect(200);
    assert_eq!(open["play_token"], Value::Null);
    ask("DELETE", "/api/v1/keys/studio", None).expect(200);
    assert_eq!(ask("DELETE", "/api/v1/keys/studio", None).problem(404), "KEY_UNKNOWN");
    assert_eq!(studio.engine.keys().name_of(&other.as_str().into()), None);
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let studio = Studio::start();
    let issue = |body: Value| studio.ask("POST", "/api/v1/keys", KEYS, Some(&body));
    assert_eq!(issue(json!({"name": "a/b"})).problem(403), "KEY_INVALID");
    assert_eq!(issue(json!({"name": "a", "publish_from": ["everywhere"]})).problem(400), "REQUEST_INVALID");
    assert_eq!(issue(json!({"name": "a", "expires_in_seconds": 0})).problem(400), "REQUEST_INVALID");
    assert_eq!(issue(json!({"name": "a", "play": "sometimes"})).problem(400), "REQUEST_INVALID");
    let replaced = studio.ask("POST", "/api/v1/keys/nobody/replace", KEYS, Some(&json!({})));
    assert_eq!(replaced.problem(404), "KEY_UNKNOWN");
    assert!(studio.engine.keys().list().is_empty());
}

#[test]
fn play_tokens_hold_for_what_is_played_by_http() {
    let studio = Studio::start();
    studio.on_air("show");
    let issued = studio.ask("POST", "/api/v1/keys", KEYS, Some(&json!({"name": "show", "play": "token"})));
    let token = issued.expect(201)["play_token"].as_str().unwrap().to_owned();
    let ask = |path: &str| studio.ask("GET", path, "", None);
    for path in ["/live/show.json", "/live/show.jpg", "/live/show.flv", "/live/show/index.m3u8"] {
        assert_eq!(ask(path).problem(403), "PLAY_REFUSED", "{path}");
        assert_eq!(ask(&format!("{path}?token=wrong")).problem(403), "PLAY_REFUSED", "{path}");
    }
    assert_eq!(ask(&format!("/live/show.json?token={token}")).expect(200)["title"], json!("show"));
    let list = ask(&format!("/live/show/index.m3u8?token={token}"));
    let text = String::from_utf8(list.bytes).unwrap();
    let segment = text.lines().find(|line| line.contains(".m4s")).unwrap();
    assert!(segment.ends_with(&format!("?token={token}")), "{text}");
    assert_eq!(ask(&format!("/live/show/{segment}")).status, 200, "as a player asks for it");
    assert_eq!(studio.ask("GET", "/live/show.json", WATCH, None).status, 200, "who may watch, may");
    studio.ask("PUT", "/api/v1/keys/show/play", KEYS, Some(&json!({"play": "nobody"}))).expect(200);
    assert_eq!(ask(&format!("/live/show.json?token={token}")).problem(403), "PLAY_REFUSED");
}

#[test]
fn wrong_play_tokens_are_failures_of_their_address() {
    let options = crate::support::options().with(|options| {
        options.failures.ban_after = 3;
        options.failures.ban_for = Duration::from_secs(600);
    });
    let studio = Studio::with(options, flowcast_core::Config::default());
    studio.ask("POST", "/api/v1/keys", KEYS, Some(&json!({"name": "show", "play": "token"}))).expect(201);
    for _ in 0..3 {
        assert_eq!(studio.ask("GET", "/live/show.json?token=guess", "", None).status, 403);
    }
    assert_eq!(studio.ask("GET", "/live/show.json", "", None).problem(429), "BANNED");
}
