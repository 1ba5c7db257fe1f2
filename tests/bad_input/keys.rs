//! A stream key never gets out: not into a log at the lowest level, an error, a Debug output, a thread's name or an event.

use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use flowcast::config::ConnectConfig;
use flowcast::keys::StreamKey;
use flowcast::{Output, RtmpServerExt, Source};

use crate::chain;
use kit::rig::{Known, engine};
use kit::scripted::{Script, Scripted};
use kit::{FaultProxy, PATIENCE, Peer, alone, own_address, role_arguments, wait_until};

const CANARY: &str = "canary7f3a9key";

/// Everything any crate has to say.
struct Collector(Mutex<String>);

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Ok(mut lines) = self.0.lock() {
            let _ = writeln!(lines, "{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

static LOG: Collector = Collector(Mutex::new(String::new()));

#[test]
fn a_stream_key_never_gets_out() {
    if alone("keys") {
        return use_the_canary();
    }
    let (program, arguments) = role_arguments("keys", "keys::a_stream_key_never_gets_out");
    let mut child = Peer::spawn(&program, arguments);
    child.wait_success(Duration::from_secs(60));
    for output in [child.output(), child.errors()] {
        assert!(!output.contains(CANARY), "the program printed the key");
    }
    print!("{}", child.output());
}

/// Everything a program could print.
#[derive(Default)]
struct Said(String);

impl Said {
    fn hear(&mut self, what: impl std::fmt::Debug) {
        let _ = writeln!(self.0, "{what:?}\n{what:#?}");
    }

    fn hear_error(&mut self, error: &(dyn std::error::Error + 'static)) {
        let _ = writeln!(self.0, "{error:?}\n{}", chain(error));
    }
}

fn threads() -> String {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).collect()
}

fn use_the_canary() {
    log::set_logger(&LOG).expect("no other logger");
    log::set_max_level(log::LevelFilter::Trace);
    flowcast::av::log::capture(log::LevelFilter::Trace);
    let clip = Known::small();
    let mut said = Said::default();
    let engine = engine(|config| {
        config.connect = ConnectConfig::default();
        config.connect.handshake = Duration::from_millis(300);
        config.connect.tls = Duration::from_millis(300);
    });
    let events = engine.events();
    engine.keys().add("inner", CANARY).expect("a key");
    let taken = engine.keys().add("other", CANARY).expect_err("the key is taken");
    said.hear_error(&taken);
    let unusable = engine.keys().add("third", format!("{CANARY} with a space")).expect_err("no such key");
    said.hear_error(&unusable);
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("it listens");
    let proxy = FaultProxy::start(server.address());

    let echo: &str = "Stream canary7f3a9key is not yours (canary7f3a9key)";
    let (refusing, mute) =
        (Scripted::start(Script::Refuse("NetStream.Publish.Denied", echo)), Scripted::start(Script::Mute));
    let nobody = own_address();
    let urls = [
        // Lives, is reset, comes back, and clashes with itself.
        format!("rtmp://{}/live/{CANARY}", proxy.address()),
        format!("rtmp://{}/live/{CANARY}?token={CANARY}", proxy.address()),
        format!("rtmp://{}/live/unknown-{CANARY}", server.address()),
        format!("rtmp://{}/live?auth={CANARY}/{CANARY}", server.address()),
        // Fails in each manner.
        format!("rtmp://{}/live/{CANARY}", refusing.address()),
        format!("rtmp://{}/live/{CANARY}", mute.address()),
        format!("rtmps://{}/live/{CANARY}", mute.address()),
        format!("rtmps://{}/live/{CANARY}", refusing.address()),
        format!("rtmp://{nobody}/live/{CANARY}"),
        format!("rtmp://user:{CANARY}@{nobody}/live/{CANARY}"),
        format!("rtmp://{}.invalid/live/{CANARY}", "x".repeat(64)),
    ];
    let outputs: Vec<_> = urls.iter().map(|url| Output::rtmp_url(url)).collect();
    said.hear(&outputs);
    let mut builder = engine.stream(Source::file(&clip.file).looped()).record(clip.beside("keys.flv"));
    for output in outputs {
        builder = builder.to(output);
    }
    said.hear(&builder);
    let live = builder.start().expect("it starts");
    let split =
        live.add_output(Output::rtmp(&format!("rtmp://{}/live", mute.address()), StreamKey::new(CANARY)));
    said.hear(&split);
    for url in [
        format!("rtmp://host:99999/live/{CANARY}"),
        format!("rtmp://{CANARY} x/live/{CANARY}"),
        format!("http://host/live/{CANARY}"),
        CANARY.to_owned(),
        format!("rtmp://host/live/{CANARY} {CANARY}"),
        format!("rtmp://host/live/{CANARY}{}", "x".repeat(5000)),
    ] {
        let output = Output::rtmp_url(&url);
        said.hear(&output);
        said.hear_error(&live.add_output(output).expect_err("it is malformed"));
    }
    let on_the_air = || !engine.keys().active().is_empty();
    assert!(wait_until(PATIENCE, on_the_air), "{}", live.stats());
    // The two that share a key now compete for the name.
    let before = proxy.accepted();
    proxy.reset();
    assert!(wait_until(PATIENCE, || proxy.accepted() >= before + 2 && on_the_air()), "{}", live.stats());
    // ffmpeg plays, is refused, and publishes with a wrong key: what clients say gets into no log either.
    for arguments in [
        ["-v", "quiet", "-i", &format!("rtmp://{}/live/{CANARY}x", server.address()), "-f", "null", "-"]
            .to_vec(),
        [
            "-v",
            "quiet",
            "-re",
            "-i",
            clip.file.to_str().expect("UTF-8"),
            "-c",
            "copy",
            "-f",
            "flv",
            &format!("rtmp://{}/live/wrong-{CANARY}", server.address()),
        ]
        .to_vec(),
    ] {
        if kit::need(&[kit::Need::Ffmpeg]) {
            Peer::spawn(std::path::Path::new("ffmpeg"), arguments).wait(PATIENCE);
        }
    }
    // Two of the twelve live; each of the others has failed by its own way.
    let failed = || live.stats().outputs.iter().filter(|output| output.last_error.is_some()).count();
    assert!(wait_until(PATIENCE, || failed() >= 10), "{} failed: {:#?}", failed(), live.stats());
    said.0 += &threads();
    said.hear(live.stats());
    said.hear(live.stream());
    said.hear(&live);
    said.hear((
        &engine,
        &server,
        engine.keys(),
        engine.hub(),
        engine.keys().active(),
        server.stats(),
        engine.config(),
    ));
    let _ = writeln!(said.0, "{}", live.stats());
    said.hear(live.stop(Duration::from_secs(3)));
    let heard = hear_events(&events, &mut said);
    server.stop(Duration::from_secs(3));

    let log = LOG.0.lock().expect("the log").clone();
    let lines: Vec<_> = log.lines().chain(said.0.lines()).filter(|line| line.contains(CANARY)).collect();
    println!(
        "{} log lines, {} bytes of errors and Debug, {heard} events: key found {} times",
        log.lines().count(),
        said.0.len(),
        lines.len()
    );
    let hidden: Vec<_> = lines.iter().take(5).map(|line| line.replace(CANARY, "<THE KEY>")).collect();
    assert!(lines.is_empty(), "the key got out: {hidden:#?}");
    for target in ["flowcast", "rustls", "mio"] {
        println!(
            "  of {target}: {} lines",
            log.lines().filter(|line| line.split(' ').nth(1).is_some_and(|t| t.starts_with(target))).count()
        );
    }
    assert!(log.contains("flowcast"), "nothing was logged at all");
}

fn hear_events(events: &flowcast::Events, said: &mut Said) -> usize {
    let all: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
    said.hear(&all);
    for event in &all {
        if let flowcast::EventKind::OutputRetrying { error, .. } = &event.kind {
            said.hear_error(error);
        }
    }
    all.len()
}
