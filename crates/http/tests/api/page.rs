//! The page: its files, and what a person does with it in a browser.

use std::path::Path;
use std::time::Duration;

use flowcast_av::SampleSpec;
use flowcast_core::Config;
use flowcast_http::{Scope, Token};
use flowcast_server::RtmpServerExt;
use kit::{Need, Nginx, Peer, need};

use crate::support::{Studio, options};

/// All a person does in one go, on a busy machine.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn its_files_are_for_everybody_and_are_not_sent_twice() {
    let studio = Studio::start();
    let page = studio.ask("GET", "/", "", None);
    let text = String::from_utf8_lossy(&page.bytes);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'self'"))
    );
    assert!(!text.contains("<base") && text.contains("assets/app.js"), "{text}");
    for name in ["app.js", "app.css", "play.js"] {
        let path = format!("/assets/{name}");
        let raw = studio.raw("GET", &path, &[("Accept-Encoding", "identity".to_owned())], b"");
        assert_eq!((raw.status, raw.header("content-encoding")), (200, None), "{name}");
        let tag = raw.header("etag").unwrap().to_owned();
        let known = [("Accept-Encoding", "identity".to_owned()), ("If-None-Match", tag)];
        let again = studio.raw("GET", &path, &known, b"");
        assert_eq!((again.status, again.bytes.len()), (304, 0), "{name}");
        let packed = studio.raw("GET", &path, &[("Accept-Encoding", "br, gzip".to_owned())], b"");
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{name}");
        assert!(packed.bytes.len() < raw.bytes.len() / 2, "{name}");
        assert_ne!(packed.header("etag"), raw.header("etag"), "{name}");
    }
    assert_eq!(studio.ask("GET", "/assets/other.js", "", None).problem(404), "NOT_FOUND");
}

#[test]
fn it_is_not_there_if_it_is_not_wished() {
    let studio = Studio::with(options().with(|options| options.page = false), Config::default());
    for path in ["/", "/assets/app.js"] {
        assert_eq!(studio.ask("GET", path, "", None).problem(404), "NOT_FOUND");
    }
}

/// First visit, token, key, a file to a server, its preview, broken outputs, outputs, a playlist, all views, a phone, stop; and no barrier that axe-core knows of.
/// `FLOWCAST_PICTURES` is a directory for pictures of each view.
#[test]
fn a_person_does_everything_with_it() {
    if !need(&[Need::Chromium, Need::AxeCore, Need::Nginx]) {
        return;
    }
    const TOKEN: &str = "canary-token-of-a-person";
    let all = Token::new("person", &TOKEN.into(), [Scope::Operate, Scope::Keys]);
    let studio = Studio::with(options().with(|options| options.tokens.push(all)), Config::default());
    let rtmp = studio.engine.rtmp_server("127.0.0.1:0").start().unwrap();
    let spec = SampleSpec { seconds: 20.0, gop_frames: 25, ..SampleSpec::default() };
    let files = ["rain.mp4", "wind.mp4", "waves.mp4"].map(|name| {
        let path = studio.directory.path().join(name);
        flowcast_av::sample_clip(&path, &spec).unwrap();
        path.display().to_string()
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/page_in_chromium.py");
    let rtmp_address = format!("rtmp://{}/live", rtmp.address());
    let mut arguments = vec![studio.url(""), TOKEN.to_owned(), rtmp_address];
    arguments.extend(files);
    // Killed by the script.
    let nginx = Nginx::start(&["live"]);
    let process = nginx.process().pid().as_raw_nonzero().to_string();
    arguments.extend(["--push".to_owned(), format!("rtmp://{}/live", nginx.address), process]);
    if let Some(directory) = std::env::var_os("FLOWCAST_PICTURES") {
        arguments.extend(["--pictures".to_owned(), directory.display().to_string()]);
    }
    let mut person = Peer::spawn(&script, &arguments);
    let succeeded = person.wait(LONG).success();
    assert!(succeeded, "{}\n{}", person.output(), person.errors());
}
