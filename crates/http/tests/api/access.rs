//! Who gets in, and who does not.

use std::time::{Duration, Instant};

use flowcast_core::{Config, Engine};
use flowcast_http::{Error, Options, serve};
use serde_json::{Value, json};

use crate::support::{KEYS, OPERATE, Studio, WATCH, options};

/// Each operation of the document: method, path with something in the place of each parameter, and whether it is open.
fn operations() -> Vec<(String, String, bool)> {
    let document: Value = serde_json::from_str(&flowcast_http::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "s1").replace("{output}", "o1").replace("{item}", "i1");
        let path = path.replace("{name}", "some").replace("{file}", "index.m3u8");
        for (method, operation) in item.as_object().unwrap() {
            let is_open = operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({})));
            operations.push((method.to_uppercase(), path.clone(), is_open));
        }
    }
    assert!(operations.len() > 30, "{operations:?}");
    operations
}

#[test]
fn nothing_is_done_for_who_has_no_token() {
    let studio = Studio::start();
    for (method, path, is_open) in operations() {
        let body = json!({});
        for token in ["", "canary-token-of-operatorx", "x"] {
            let answer = studio.ask(&method, &path, token, (method != "GET").then_some(&body));
            if is_open {
                let is_live = path.starts_with("/live/");
                assert!(!is_live || matches!(answer.status, 401 | 404), "{method} {path}: {answer:?}");
            } else {
                let code = answer.problem(401);
                assert_eq!(code, "TOKEN_REQUIRED", "{method} {path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"flowcast\""));
            }
        }
    }
}

#[test]
fn a_token_does_what_its_scope_says_and_no_more() {
    let studio = Studio::start();
    let body = json!({});
    for (method, path, is_open) in operations() {
        let is_key = path.starts_with("/api/v1/keys");
        let ask = |token| {
            // Answers that go on are not waited for.
            let goes_on = path.ends_with("/events") || path.ends_with("/figures");
            if goes_on {
                return studio.open(&path, &[("Authorization", &format!("Bearer {token}"))]).status;
            }
            studio.ask(&method, &path, token, (method != "GET").then_some(&body)).status
        };
        if is_open {
            continue;
        }
        let changes = method != "GET" || path.ends_with("/snapshot");
        assert_eq!(ask(WATCH) == 403, is_key || changes, "{method} {path}");
        assert_eq!(ask(OPERATE) == 403, is_key, "{method} {path}");
        assert_eq!(ask(KEYS) == 403, !is_key, "{method} {path}");
    }
}

#[test]
fn wrong_tokens_are_answered_late_and_then_no_more() {
    let options = options().with(|options| {
        options.failures.first_delay = Duration::from_millis(300);
        options.failures.ban_after = 3;
        options.failures.ban_for = Duration::from_secs(600);
    });
    let studio = Studio::with(options, Config::default());
    let wrong = || studio.ask("GET", "/api/v1/streams", "a-token-that-nobody-has", None);
    let began = Instant::now();
    assert_eq!(wrong().problem(401), "TOKEN_REQUIRED");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((wrong().status, wrong().status), (401, 401));
    let banned = wrong();
    assert_eq!((banned.problem(429).as_str(), banned.header("retry-after")), ("BANNED", Some("600")));
    assert_eq!(studio.get("/api/v1/streams").status, 429, "also with the right one");
}

#[test]
fn an_open_api_is_for_this_machine_alone() {
    let engine = Engine::new(Config::default()).unwrap();
    let open = || Options::default().with(|options| options.open_to_this_machine = true);
    let refused = serve(&engine, "0.0.0.0:0", open()).unwrap_err();
    assert!(matches!(refused, Error::Options { name: "open_to_this_machine", .. }), "{refused}");
    let studio = Studio::with(open(), Config::default());
    assert_eq!(studio.ask("GET", "/api/v1/streams", "", None).status, 200);
    let host = |host: &str| studio.raw("GET", "/api/v1/streams", &[("Host", host.to_owned())], b"").status;
    assert_eq!((host("localhost"), host("127.0.0.1:1")), (200, 200));
    assert_eq!(host("attacker.example"), 401, "a name that was made to point here");
}

#[test]
fn browsers_are_told_to_keep_out() {
    let studio = Studio::start();
    let answer = studio.get("/api/v1/streams");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let origin = [("Origin", "https://example.com".to_owned())];
    assert_eq!(studio.raw("GET", "/healthz", &origin, b"").header("access-control-allow-origin"), None);
    let options = options().with(|options| options.origins.push("https://example.com".to_owned()));
    let studio = Studio::with(options, Config::default());
    let allowed = |origin: &str| {
        let answer = studio.raw("GET", "/healthz", &[("Origin", origin.to_owned())], b"");
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("https://example.com").as_deref(), Some("https://example.com"));
    assert_eq!(allowed("https://other.example"), None);
}

#[test]
fn probes_are_open_and_metrics_are_not() {
    let studio = Studio::start();
    assert_eq!(studio.ask("GET", "/healthz", "", None).expect(200)["is_live"], json!(true));
    assert_eq!(studio.ask("GET", "/readyz", "", None).expect(200)["text"], json!("ready"));
    assert_eq!(studio.ask("GET", "/metrics", "", None).status, 401);
    let page = studio.ask("GET", "/metrics", WATCH, None);
    assert!(page.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(page.bytes).unwrap();
    assert!(text.contains("flowcast_stream_limit") && text.ends_with("# EOF\n"), "{text}");
    studio.engine.shutdown(Duration::from_secs(5));
    assert_eq!(studio.ask("GET", "/healthz", "", None).status, 200);
    let ready = studio.ask("GET", "/readyz", "", None);
    assert_eq!(ready.expect(503)["text"], json!("alive, not ready: it is shutting down"));
}
