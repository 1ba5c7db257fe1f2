//! A peer that is gone never raises SIGPIPE, whatever the program did with its signal handlers.
//!
//! Rust ignores SIGPIPE before `main`, so a test in Rust would not notice. Instead the kernel's side is looked at: every call
//! that sends on a socket says MSG_NOSIGNAL, and no other call writes to one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::config::TlsRoots;
use flowcast::{Output, RtmpServerExt, Source};

use kit::rig::{Known, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{FaultProxy, Identity, Need, PATIENCE, Peer, TlsProxy, alone, need, role_arguments, wait_until};

#[test]
fn nothing_is_sent_that_could_raise_sigpipe() {
    const TEST: &str = "signals::nothing_is_sent_that_could_raise_sigpipe";
    if alone("signals") {
        return lose_peers();
    }
    if !need(&[Need::Stunnel, Need::Strace]) {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let trace = directory.path().join("trace");
    let (program, arguments) = role_arguments("signals", TEST);
    let options = [
        "-f",
        "-yy",
        "-qq",
        "-s",
        "0",
        "-e",
        "signal=SIGPIPE",
        "-e",
        "trace=write,writev,sendto,sendmsg,sendmmsg,sendfile,splice",
        "-o",
    ];
    let options = options.map(PathBuf::from).into_iter().chain([trace.clone(), program]);
    let mut strace =
        Peer::spawn(Path::new("strace"), options.chain(arguments.into_iter().map(PathBuf::from)));
    strace.wait_success(Duration::from_secs(60));

    let trace = std::fs::read_to_string(trace).expect("what strace wrote");
    let mut calls: HashMap<&str, usize> = HashMap::new();
    let mut careless = Vec::new();
    // stunnel is traced as well, and it is none of ours: what it sends on both its sides is left out.
    let output = strace.output();
    let stunnel: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("stunnel: ")).collect();
    assert_eq!(stunnel.len(), 2, "{output}");
    // A socket that was reset has no addresses any more: what its threads send is known by who they are.
    let thread = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let is_between = |line: &&str| stunnel.iter().any(|end| line.contains(end));
    let threads: HashSet<_> = trace.lines().filter(is_between).map(thread).collect();
    let is_stunnel = |line: &&str| threads.contains(&thread(line));
    for line in trace.lines().filter(|line| line.contains("<TCP")).filter(|line| !is_stunnel(line)) {
        let call = line.split_whitespace().nth(1).and_then(|rest| rest.split('(').next()).unwrap_or_default();
        // strace cuts a call in two where another thread comes between, and shows the flags with the second half.
        let cut = call.starts_with("send") && line.contains("<unfinished");
        if !line.contains("MSG_NOSIGNAL") && !cut {
            careless.push(line);
        }
        *calls.entry(call).or_default() += 1;
    }
    println!("calls that send on TCP sockets: {calls:?}; without MSG_NOSIGNAL: {}", careless.len());
    assert!(calls.values().sum::<usize>() > 100, "too few calls seen: {calls:?}");
    assert!(
        careless.is_empty(),
        "{} calls, such as {:#?}",
        careless.len(),
        &careless[..careless.len().min(5)]
    );
    let is_raised = |line: &str| line.contains("SIGPIPE");
    assert!(!trace.lines().filter(|line| !is_stunnel(line)).any(is_raised), "SIGPIPE was raised");
}

/// Pushes, plain and TLS, recordings and players, whose peers go away in every manner. The test's own servers live here too:
/// std's sockets send with MSG_NOSIGNAL.
fn lose_peers() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let server = engine.rtmp_server("127.0.0.1:0").start().expect("it listens");
    let key = engine.keys().issue("inner").expect("a key");
    let plain = Scripted::start(Script::Record);
    let proxy = FaultProxy::start(server.address());
    let tls_target = Scripted::start(Script::Record);
    let tls = TlsProxy::start(tls_target.address(), Identity::Right);
    println!("\nstunnel: <TCP:[{}->\nstunnel: ->{}]>", tls.address, tls_target.address());
    let roots = TlsRoots::from_pem_file(tls.trusted()).expect("the authority's certificate");
    let live = engine
        .stream(Source::file(&clip.file).looped())
        .to(push(&plain))
        .to(Output::rtmp(&format!("rtmp://{}/live", proxy.address()), key))
        .to(Output::rtmp_url(&tls.url("live", "key")).tls_roots(roots))
        .record(clip.beside("signals.flv"))
        .start()
        .expect("it starts");
    assert!(plain.wait_pictures(0, 10, PATIENCE) && tls_target.wait_pictures(0, 10, PATIENCE));
    for round in 0..2 {
        let before = live.stats().reconnects;
        plain.reset();
        proxy.reset();
        assert!(
            wait_until(PATIENCE, || live.stats().reconnects >= before + 2),
            "round {round}: {}",
            live.stats()
        );
        let visits = plain.count();
        assert!(plain.wait_pictures(visits - 1, 5, PATIENCE));
        plain.finish();
        proxy.finish();
        assert!(plain.wait_pictures(visits, 5, PATIENCE));
    }
    let before = live.stats().reconnects;
    tls_target.reset();
    assert!(wait_until(PATIENCE, || live.stats().reconnects > before));
    drop(tls);
    // What was accepted before is gone; writing to it fails, and nothing worse.
    assert!(wait_until(PATIENCE, || live.stats().outputs.iter().any(|output| output.last_error.is_some())));
    live.stop(Duration::from_secs(3)).expect("it stops");
    server.stop(Duration::from_secs(3));
}
