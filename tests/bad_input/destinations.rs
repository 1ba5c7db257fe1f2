//! Addresses that are no good.

use std::time::{Duration, Instant};

use flowcast::config::TlsRoots;
use flowcast::{Config, Engine, Error, Output, RtmpServerExt, Source};

use crate::{Beside, chain};
use kit::bystander::at_most;
use kit::rig::{Known, engine, wait_retry};
use kit::{PATIENCE, own_address};

#[test]
fn malformed_urls_are_refused_before_anything_happens() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);
    for url in [
        "",
        "live",
        "http://host/live/key",
        "rtmp:/host/live/key",
        "rtmp://",
        "rtmp:///live/key",
        "rtmp://host",
        "rtmp://host/",
        "rtmp://host?token=1",
        "rtmp://host:0/live/key",
        "rtmp://host:65536/live/key",
        "rtmp://host:port/live/key",
        "rtmp://[::1/live/key",
        "rtmp://ho st/live/key",
        "rtmp://host/live/k ey",
        "rtmp://host/live/key\r\nX: y",
        "rtmp://host\0/live/key",
        "rtmp://höst/live/key",
    ] {
        let kept = clip.beside("kept.flv");
        std::fs::write(&kept, "yesterday").expect("a file in the directory");
        let builder = engine.stream(Source::file(&clip.file).looped()).record(&kept);
        let error = builder.to(Output::rtmp_url(url)).start().expect_err(url);
        assert!(matches!(error, Error::Url(_)), "{url}: {error:?}");
        assert_eq!((error.code(), error.is_retryable()), ("URL_INVALID", false), "{url}");
        assert_eq!(
            std::fs::read(&kept).expect("it is there"),
            b"yesterday",
            "{url}: a refused start replaced a recording"
        );
        let error = beside.live.add_output(Output::rtmp_url(url)).expect_err(url);
        println!("{url:?}: {}", chain(&error));
    }
    let error = beside.live.add_output(Output::rtmp("rtmp://host/live", "")).expect_err("no key");
    assert_eq!(error.code(), "URL_INVALID");
    assert_eq!(engine.running(), 1);
    beside.assert_unharmed(&clip);
}

#[test]
fn closed_ports_and_unknown_hosts_are_told_and_tried_again() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);
    let events = engine.events();
    let closed = format!("rtmp://{}/live", own_address());
    let unknown = format!("rtmp://{}.invalid/live", "x".repeat(64));
    let v6 = format!("rtmp://[::1]:{}/live", own_address().port());
    for (what, url, code) in [
        ("port closed", closed.as_str(), "CONNECT_FAILED"),
        ("port closed, IPv6", &v6, "CONNECT_FAILED"),
        ("host unknown", &unknown, "DNS_FAILED"),
        ("an address nobody has a route to", "rtmp://255.255.255.255/live", "CONNECT_FAILED"),
    ] {
        let began = Instant::now();
        let output = beside.live.add_output(Output::rtmp(url, "key")).expect("the address is well-formed");
        let error = wait_retry(&events, output, PATIENCE);
        println!("{what}: {} after {:?}: {}", error.code(), began.elapsed(), chain(&error));
        assert_eq!((error.code(), error.is_retryable()), (code, true), "{what}: {error:?}");
        assert!(began.elapsed() < at_most(Duration::from_secs(2), began), "{what}");
        beside.live.remove_output(output).expect("it is removed");
    }
    beside.assert_unharmed(&clip);
}

#[test]
fn certificates_that_cannot_be_read() {
    let clip = Known::small();
    for (what, content) in
        [("empty", ""), ("text", "no certificate"), ("cut off", "-----BEGIN CERTIFICATE-----\nAAAA")]
    {
        let path = clip.beside("ca.pem");
        std::fs::write(&path, content).expect("a file in the directory");
        let error = TlsRoots::from_pem_file(&path).expect_err(what);
        println!("{what}: {}", chain(&error));
        assert_eq!((error.code(), error.is_retryable()), ("CERTIFICATES_UNREADABLE", false), "{what}");
    }
    let error = TlsRoots::from_pem_file(clip.beside("missing.pem")).expect_err("it is missing");
    assert_eq!(error.code(), "CERTIFICATES_UNREADABLE");
}

/// Part of a hook; whoever drops it waits.
struct Held(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Drop for Held {
    fn drop(&mut self) {
        // Its other end is gone when the test is.
        let _ = self.0.get_mut().map(|released| released.recv());
    }
}

#[test]
fn a_server_that_has_stopped_listens_no_more_whatever_its_hooks_still_do() {
    let engine = Engine::new(Config::default()).expect("an engine");
    let own = own_address().to_string();
    let (release, released) = std::sync::mpsc::channel();
    let held = Held(std::sync::Mutex::new(released));
    let hook = move |admission: flowcast::server::Admission| {
        let _ = &held;
        admission.accept();
    };
    let server = engine.rtmp_server(&own).on_publish(hook).start().expect("it listens");
    server.stop(PATIENCE);
    let again = engine.rtmp_server(&own).start().expect("nobody listens there");
    drop((again, release));
}

#[test]
fn a_server_that_cannot_listen() {
    let engine = Engine::new(Config::default()).expect("an engine");
    let own = own_address().to_string();
    let first = engine.rtmp_server(&own).start().expect("it listens");
    let error = engine.rtmp_server(&own).start().expect_err("the port is taken");
    assert_eq!((error.code(), error.is_retryable()), ("LISTEN_FAILED", true));
    for address in ["", "127.0.0.1:port", "127.0.0.1:99999"] {
        let error = engine.rtmp_server(address).start().expect_err(address);
        assert_eq!((error.code(), error.is_retryable()), ("ADDRESS_INVALID", false), "{address}");
    }
    // The port is free as soon as the server has stopped.
    first.stop(Duration::from_secs(3));
    drop(engine.rtmp_server(own).start().expect("the port is free again"));
}
