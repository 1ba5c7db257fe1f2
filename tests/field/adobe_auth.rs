//! Servers that ask for a user and a password, as Adobe's (Wowza) and Limelight's do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowcast::config::TlsRoots;
use flowcast::error::chain;
use flowcast::rtmp::amf0::Value;
use flowcast::rtmp::command::Command;
use flowcast::rtmp::error::{Error as RtmpError, LoginError};
use flowcast::{Error, Output, Source};
use md5::{Digest, Md5};

use kit::acted::{Acted, Answer, connect_error};
use kit::rig::{Known, engine};
use kit::{Identity, Need, PATIENCE, TlsProxy, need, run, text};

const USER: &str = "joe";
const PASSWORD: &str = "pass/word@1";
const ENCODED: &str = "pass%2Fword%401";

fn hexadecimal(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base64 of the MD5, digit by digit out of its bits.
fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:08b}")).collect();
    let digit = |six: &str| usize::from_str_radix(&format!("{six:0<6}"), 2).expect("bits");
    let pieces = (0..bits.len()).step_by(6).map(|at| digit(&bits[at..bits.len().min(at + 6)]));
    pieces.map(|digit| char::from(DIGITS[digit])).chain("==".chars()).collect()
}

fn value<'a>(app: &'a str, name: &str) -> Option<&'a str> {
    let pairs = app.split(['?', '&']).filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// What is wrong with the app of a `connect`, as Adobe's servers see it; `None` lets the client in.
fn adobe(app: &str, password: &str) -> Option<String> {
    let (salt, challenge, opaque) = ("c2FsdA==", "Y2hhbA==", "b3BhcXVl");
    if value(app, "authmod").is_none() {
        return Some("[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ".to_owned());
    }
    let Some(response) = value(app, "response") else {
        return Some(format!(
            "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user={USER}&salt={salt}\
             &challenge={challenge}&opaque={opaque}"
        ));
    };
    let own = value(app, "challenge").unwrap_or_default();
    let expected = base64(&(base64(&format!("{USER}{salt}{password}")) + opaque + own));
    let is_right =
        response == expected && value(app, "opaque") == Some(opaque) && value(app, "user") == Some(USER);
    (!is_right).then(|| {
        // A server that repeats what it should not.
        format!(
            "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=x {password} {PASSWORD}"
        )
    })
}

/// The same of Limelight's.
fn limelight(app: &str, password: &str) -> Option<String> {
    let asked = "1f2e3d";
    if value(app, "authmod").is_none() {
        return Some("[ AccessManager.Reject ] : [ code=403 need auth; authmod=llnw ] : ".to_owned());
    }
    let Some(response) = value(app, "response") else {
        return Some(format!(
            "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user={USER}&nonce={asked}"
        ));
    };
    let (own, count) = (value(app, "cnonce").unwrap_or_default(), value(app, "nc").unwrap_or_default());
    let secret = hexadecimal(&format!("{USER}:live:{password}"));
    let expected = hexadecimal(&format!(
        "{secret}:{asked}:{count}:{own}:auth:{}",
        hexadecimal("publish:/live/_definst_")
    ));
    (response != expected || value(app, "nonce") != Some(asked))
        .then(|| "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=authfailed".to_owned())
}

type Check = fn(&str, &str) -> Option<String>;

fn server(check: Check, password: &'static str) -> Acted {
    Acted::start(move |_, command: &Command| {
        if command.name != "connect" {
            return Answer::Usual;
        }
        let app = command.object.get("app").and_then(Value::as_str).unwrap_or_default();
        check(app, password).map_or(Answer::Usual, |reason| connect_error(&reason))
    })
}

#[test]
fn a_user_and_a_password_are_let_in() {
    let clip = Known::small();
    let engine = engine(|_| {});
    for (what, check) in [("adobe", adobe as Check), ("llnw", limelight)] {
        let server = server(check, PASSWORD);
        let url = format!("rtmp://{USER}:{ENCODED}@{}/live/key", server.address());
        let live = engine
            .stream(Source::file(&clip.file).looped())
            .to(Output::rtmp_url(&url))
            .start()
            .expect("it starts");
        assert!(server.wait_tags(2, 20), "{what}: {:?}", live.wait_timeout(Duration::ZERO));
        let visits = server.visits();
        let apps: Vec<_> = visits.iter().map(|visit| visit.connect("app")).collect();
        assert_eq!(apps[..2], ["live".to_owned(), format!("live?authmod={what}&user={USER}")]);
        assert_eq!(visits[2].name("publish").as_deref(), Some("key"));
        for visit in &visits {
            let (url, app) = (visit.connect("tcUrl"), visit.connect("app"));
            assert_eq!(url, format!("rtmp://{}/{app}", server.address()));
            assert!(!url.contains("pass"), "the password is on the wire");
        }
        // Lost, it logs in anew.
        server.close_after(Some(1));
        assert!(kit::wait_until(PATIENCE, || server.visits()[2].closed));
        server.close_after(None);
        assert!(server.wait_tags(5, 20), "{what}: not back");
        live.stop(PATIENCE).expect("it stops");
        assert_eq!(server.visits().len(), 6, "{what}");
    }
}

#[test]
fn a_login_over_tls_and_with_the_key_apart() {
    if !need(&[Need::Stunnel]) {
        return;
    }
    let clip = Known::small();
    let engine = engine(|_| {});
    let server = server(adobe, PASSWORD);
    let proxy = TlsProxy::start(server.address(), Identity::Right);
    let roots = TlsRoots::from_pem_file(proxy.trusted()).expect("a certificate");
    let url = format!("rtmps://{USER}:{ENCODED}@{}/live", proxy.address);
    let output = Output::rtmp(&url, "key").tls_roots(roots);
    let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
    let on_air = || server.visits().iter().any(|visit| visit.tags >= 20);
    assert!(kit::wait_until(PATIENCE, on_air), "{:?}", live.wait_timeout(Duration::ZERO));
    live.stop(PATIENCE).expect("it stops");
}

/// That the servers above are right.
#[test]
fn ffmpeg_is_let_in_by_the_same_servers() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    for check in [adobe as Check, limelight] {
        let server = server(check, "simple");
        let url = format!("rtmp://{USER}:simple@{}/live/key", server.address());
        let arguments = ["-nostdin", "-v", "error", "-i", text(&clip.file), "-c", "copy", "-f", "flv", &url];
        run("ffmpeg", arguments, PATIENCE);
        assert!(server.visits().iter().any(|visit| visit.tags > 20), "{:?}", server.visits());
    }
}

/// What a stream to the address ends with.
fn ends(clip: &Known, url: &str) -> Error {
    let engine = engine(|_| {});
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(Output::rtmp_url(url))
        .start()
        .expect("it starts");
    live.wait_timeout(PATIENCE).expect("it ends").expect_err("refused")
}

#[test]
fn a_wrong_password_or_none_ends_the_output_and_is_never_shown() {
    let clip = Known::small();
    for check in [adobe as Check, limelight] {
        for (login, reason, connections) in [
            (format!("{USER}:{ENCODED}x@"), LoginError::Refused, 3),
            (format!("{USER}@"), LoginError::Refused, 3),
            (String::new(), LoginError::Missing, 1),
        ] {
            let server = server(check, PASSWORD);
            let error = ends(&clip, &format!("rtmp://{login}{}/live/key", server.address()));
            let Error::Rtmp { source: RtmpError::Login { reason: found, .. }, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(*found, reason, "{}", chain(&error));
            assert_eq!((error.code(), error.is_retryable()), ("RTMP_LOGIN_FAILED", false));
            assert_eq!(server.visits().len(), connections, "{}", chain(&error));
            // The password it was given; the server's own is none of ours.
            let shown = format!("{} {error:?}", chain(&error));
            assert!(!shown.contains(&format!("{PASSWORD}x")) && !shown.contains(ENCODED), "{shown}");
        }
    }
    let server = Acted::start(|_, command| match command.name.as_str() {
        "connect" => connect_error("[ code=403 need auth; authmod=kerberos ]"),
        _ => Answer::Usual,
    });
    let error = ends(&clip, &format!("rtmp://joe:secret@{}/live/key", server.address()));
    assert!(matches!(
        &error,
        Error::Rtmp { source: RtmpError::Login { reason: LoginError::Unsupported, .. }, .. }
    ));
}

#[test]
fn a_server_that_asks_for_ever_is_asked_no_more() {
    let clip = Known::small();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Acted::start(move |_, command| {
        if command.name != "connect" {
            return Answer::Usual;
        }
        count.fetch_add(1, Ordering::Relaxed);
        connect_error("[ authmod=adobe ] : ?reason=needauth&user=joe&salt=a&challenge=b&opaque=c")
    });
    let error = ends(&clip, &format!("rtmp://joe:secret@{}/live/key", server.address()));
    assert_eq!((error.code(), asked.load(Ordering::Relaxed)), ("RTMP_LOGIN_FAILED", 2), "{}", chain(&error));
}

#[test]
fn a_server_that_never_asks_is_told_nothing() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let server = Acted::start(|_, _| Answer::Usual);
    let url = format!("rtmp://{USER}:{ENCODED}@{}/live/key", server.address());
    let output = Output::rtmp_url(&url);
    assert!(!format!("{output:?}").contains("pass"), "{output:?}");
    let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
    assert!(server.wait_tags(0, 20));
    assert!(!format!("{:?}", live.stats()).contains("pass"), "{:?}", live.stats());
    live.stop(PATIENCE).expect("it stops");
    let visits = server.visits();
    assert_eq!(visits.len(), 1);
    let said = format!("{:?}", visits[0].commands);
    assert!(!said.contains(USER) && !said.contains("pass"), "{said}");
}
