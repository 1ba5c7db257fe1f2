//! What a client may send, and how much of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flowcast_core::Config;
use serde_json::json;

use crate::support::{OPERATE, Studio, options, wait_until};

#[test]
fn bodies_are_json_and_not_too_large() {
    let options = options().with(|options| options.body_limit = 2048);
    let studio = Studio::with(options, Config::default());
    let auth = ("Authorization", format!("Bearer {OPERATE}"));
    let send = |kind: &str, body: &[u8]| {
        studio.raw("POST", "/api/v1/streams", &[auth.clone(), ("Content-Type", kind.to_owned())], body)
    };
    assert_eq!(send("text/plain", b"{}").problem(415), "MEDIA_TYPE_UNSUPPORTED");
    assert_eq!(send("application/json; charset=utf-8", b"{}").problem(400), "REQUEST_INVALID");
    assert_eq!(send("application/json", b"{\"a\": canary").problem(400), "REQUEST_INVALID");
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(4096));
    assert_eq!(send("application/json", large.as_bytes()).problem(413), "BODY_TOO_LARGE");
    let deep = "[".repeat(1000);
    assert_eq!(send("application/json", deep.as_bytes()).problem(400), "REQUEST_INVALID");
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let studio = Studio::start();
    assert_eq!(studio.get("/api/v2/streams").problem(404), "NOT_FOUND");
    assert_eq!(studio.get("/api/v1/streams/x").problem(404), "NOT_FOUND");
    assert_eq!(studio.get("/api/v1/streams/s99").problem(404), "NOT_FOUND");
    assert_eq!(
        studio.ask("PUT", "/api/v1/streams", OPERATE, Some(&json!({}))).problem(405),
        "METHOD_NOT_ALLOWED"
    );
    assert_eq!(studio.get("/live/nobody.flv").problem(404), "NOT_FOUND");
    assert_eq!(studio.get("/live/nobody").problem(404), "NOT_FOUND");
    assert_eq!(studio.get("/live/..%2F..%2Fetc/passwd").problem(404), "NOT_FOUND");
}

#[test]
fn an_address_may_ask_so_often() {
    let options = options().with(|options| options.requests_per_second = 1);
    let studio = Studio::with(options, Config::default());
    let statuses: Vec<_> = (0..30).map(|_| studio.get("/healthz").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count().min(10), 10, "{statuses:?}");
    let refused =
        std::iter::repeat_with(|| studio.get("/healthz")).take(100).find(|answer| answer.status != 200);
    let refused = refused.expect("it is refused at some time");
    assert_eq!(
        (refused.problem(429).as_str(), refused.header("retry-after")),
        ("TOO_MANY_REQUESTS", Some("1"))
    );
}

#[test]
fn who_sends_half_a_request_is_hung_up_on() {
    let studio = Studio::start();
    let mut slow = TcpStream::connect(studio.server.address()).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn connections_are_bounded() {
    let options = options().with(|options| options.connections_per_address = 3);
    let studio = Studio::with(options, Config::default());
    let silent: Vec<_> = (0..3).map(|_| TcpStream::connect(studio.server.address()).unwrap()).collect();
    let is_refused = || {
        let mut more = TcpStream::connect(studio.server.address()).unwrap();
        more.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = more.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let _ = more.read_to_end(&mut answer);
        answer.is_empty()
    };
    wait_until("the fourth is refused", is_refused);
    drop(silent);
    wait_until("there is room again", || !is_refused());
}
