//! Outputs that are dead in every way at once, for as long as a stream runs: the others of the stream go on as if they were not there.
//!
//! Fifteen seconds as a rule. An hour:
//!
//! ```text
//! cargo test -p flowcast --test resilience dead::an_hour -- --ignored --nocapture
//! ```

use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowcast::av::SampleSpec;
use flowcast::stats::OutputPhase;
use flowcast::{Output, OutputId, StreamRef};

use crate::{Witness, stop_within};
use kit::rig::{Known, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, SilentDns, SmallDisk, alone, need, ran, role_arguments, wait_until};

/// Each step of connecting, and how far a peer may be behind.
const STEP: Duration = Duration::from_secs(1);

#[test]
fn outputs_that_are_dead_in_every_way_harm_no_other() {
    beside_the_dead(
        "dead",
        "dead::outputs_that_are_dead_in_every_way_harm_no_other",
        Duration::from_secs(15),
    );
}

#[test]
#[ignore = "takes an hour"]
fn an_hour_of_dead_outputs_harms_no_other() {
    beside_the_dead("dead-hour", "dead::an_hour_of_dead_outputs_harms_no_other", Duration::from_secs(3600));
}

/// In a process of its own, whose name server never answers.
fn beside_the_dead(role: &str, test: &str, length: Duration) {
    if alone(role) {
        return run(length);
    }
    if !need(&[Need::SilentDns]) {
        return;
    }
    let dns = SilentDns::start();
    let (program, arguments): (PathBuf, Vec<String>) = role_arguments(role, test);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = dns.spawn(&program, &arguments);
    child.wait_success(length + Duration::from_secs(120));
    assert!(dns.was_asked(), "nobody asked the name server");
    print!("{}", ran(child.output()));
}

fn run(length: Duration) {
    let Some(disk) = SmallDisk::mount() else { return };
    // An hour of it is to be kept: little data, and enough to fill the disk soon.
    let spec = SampleSpec { gop_frames: 12, b_frames: 2, bitrate: 200_000, ..SampleSpec::default() };
    let clip = Known::made(&spec);
    let mut witness = Witness::new(&clip);
    let engine = engine(|config| {
        let connect = &mut config.connect;
        for step in
            [&mut connect.dns, &mut connect.tcp, &mut connect.tls, &mut connect.handshake, &mut connect.reply]
        {
            *step = STEP;
        }
        config.lag.drop_after = STEP;
        config.lag.disconnect_after = 2 * STEP;
    });
    let scripts = [Script::Mute, Script::Deaf, Script::Close, Script::CloseWhenLive, Script::Undecided];
    let servers = scripts.clone().map(Scripted::start);
    let tls = Scripted::start(Script::Mute);
    let mut gone = Scripted::start(Script::Record);
    gone.down();
    let live = witness.start(&engine, &clip, None);
    let began = Instant::now();
    let add = |output: Output, label: &str| live.add_output(output.label(label)).expect("it is added");
    let mut dead: Vec<(String, OutputId)> = Vec::new();
    for (server, script) in servers.iter().zip(&scripts) {
        let name = format!("{script:?}");
        dead.push((name.clone(), add(push(server), &name)));
    }
    let rtmps = tls.url().replace("rtmp://", "rtmps://");
    dead.push(("TLS that stalls".to_owned(), add(Output::rtmp(&rtmps, "key"), "tls")));
    dead.push(("a closed port".to_owned(), add(push(&gone), "closed")));
    let name = Output::rtmp("rtmp://ingest.example.com/live", "key");
    dead.push(("a name server that is silent".to_owned(), add(name, "dns")));
    let full = add(Output::record(disk.path().join("full.flv")), "full");
    let ended = |id| !live.stats().outputs.iter().any(|output| output.id == id);
    let end = began + length;
    witness.watch(&live, length, || Instant::now() >= end);
    assert!(
        wait_until(PATIENCE, || failures(&live, &dead).iter().all(|count| *count > 0)),
        "{}",
        live.stats()
    );
    println!("{:.0} s:", began.elapsed().as_secs_f64());
    for ((name, id), count) in dead.iter().zip(failures(&live, &dead)) {
        let phase = live.stats().outputs.iter().find(|output| output.id == *id).map(|output| output.phase);
        assert!(phase.is_some_and(|phase| phase != OutputPhase::Ended), "{name}: {phase:?}");
        println!("  {name}: {count} failures");
    }
    assert!(
        wait_until(PATIENCE, || ended(full) || has_ended(&live, full)),
        "the disk is not full: {}",
        live.stats()
    );
    let stopped = stop_within(live, Duration::from_secs(5));
    println!("  stopped in {stopped:?}");
    witness.assert_unharmed(&clip);
}

fn failures(live: &StreamRef, dead: &[(String, OutputId)]) -> Vec<u64> {
    let outputs = live.stats().outputs;
    let of = |id| outputs.iter().find(|output| output.id == id).map_or(0, |output| output.failures);
    dead.iter().map(|(_, id)| of(*id)).collect()
}

fn has_ended(live: &StreamRef, output: OutputId) -> bool {
    live.stats().outputs.iter().any(|it| it.id == output && it.phase == OutputPhase::Ended)
}
