//! Nodes that are killed: what they ran is on the air again from another one, and never from two at a time.

use std::time::Duration;

use flowcast_core::{Config, Engine, Output, Source, StreamSpec};
use flowcast_redis::DesiredStatus;
use flowcast_server::RtmpServerExt;
use kit::{Clip, Peer, alone, directory, role_arguments, text};

use super::desired::{CLUSTER, Cluster};
use super::gate::Gate;
use super::nodes::*;

const NODES: [&str; 3] = ["one", "two", "three"];
/// Media of a stream that was just put on the air: more than a handshake and its headers.
const FLOWS: u64 = 30_000;
/// A turn of a stream's thread that was being written when its time was over.
const TURN: u64 = 16_000;

fn cluster() -> Cluster {
    Cluster { ttl: Duration::from_secs(5), node_ttl: Duration::from_secs(3), ..CLUSTER }
}

/// One after the other is killed, and comes back once all streams are on the air again. In the long form: 60 streams, 50 times.
#[test]
fn what_a_killed_node_ran_is_on_the_air_again_and_never_twice() {
    const NAME: &str = "failover::what_a_killed_node_ran_is_on_the_air_again_and_never_twice";
    const ROLE: &str = "runs-streams";
    if alone(ROLE) {
        return run_streams();
    }
    kill_and_look(NAME, ROLE, 9, 5);
}

/// `cargo test -p flowcast-redis --test shared fifty -- --ignored`
#[test]
#[ignore = "takes a quarter of an hour"]
fn fifty_kills_of_nodes_with_sixty_streams() {
    let name = "failover::what_a_killed_node_ran_is_on_the_air_again_and_never_twice";
    kill_and_look(name, "runs-streams", 60, 50);
}

fn kill_and_look(test: &str, role: &str, streams: usize, kills: usize) {
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "rain.flv");
    let store = RedisServer::start();
    let receiver = Engine::new(Config::default().with(|config| config.max_streams = 100)).unwrap();
    for number in 0..streams {
        receiver.keys().add(&format!("s-{number}"), format!("key-{number}")).unwrap();
    }
    let server = receiver.rtmp_server("127.0.0.1:0").start().unwrap();
    let gate = Gate::start(server.address(), streams);
    let control = cluster().join(&store.url(), "control", &[]);
    for (number, address) in gate.addresses.iter().enumerate() {
        let output = Output::rtmp(&format!("rtmp://{address}/live"), format!("key-{number}"));
        let spec = StreamSpec::new(Source::file(text(&clip)).looped()).to(output);
        assert!(wait_until(PATIENCE, || control.desired.put(&format!("s-{number}"), &spec).is_ok()));
    }
    let start = |node: &str| {
        let (program, arguments) = role_arguments(role, test);
        let url = store.url();
        let environment = [("NODE_REDIS", url.as_ref()), ("NODE_NAME", node.as_ref())];
        let mut process = Peer::spawn_with(&program, arguments, &environment);
        process.wait_for_line("runs", PATIENCE);
        process
    };
    let mut nodes: Vec<_> = NODES.map(start).into();
    // All are on the air, from connections that were not there `before`, or have sent more since.
    let all_flow = |before: &[(u64, u64)]| {
        let flows = || {
            let seen = gate.seen();
            seen.iter().enumerate().all(|(number, seen)| {
                let (connections, bytes) = before.get(number).copied().unwrap_or_default();
                let bytes = if seen.connections == connections { bytes } else { 0 };
                seen.is_open && seen.bytes >= bytes + FLOWS
            })
        };
        let in_time = wait_until(PATIENCE * 2, flows);
        let statuses = || {
            (0..streams)
                .map(|number| control.desired.status(&format!("s-{number}")).map(|status| status.to_string()))
        };
        assert!(in_time, "{:?} {:?}", gate.seen(), statuses().collect::<Vec<_>>());
    };
    all_flow(&[]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // The node of any of the streams: one that runs something.
        let name = format!("s-{}", random % streams as u64);
        let mut victim = None;
        let is_run = || {
            let Ok(DesiredStatus::Running { node, .. }) = control.desired.status(&name) else { return false };
            victim = NODES.iter().position(|name| *name == node);
            true
        };
        assert!(wait_until(PATIENCE, is_run), "{name}: {:?}", control.desired.status(&name));
        let victim = victim.expect("one of them");
        nodes[victim].kill();
        let before: Vec<_> = gate.seen().iter().map(|seen| (seen.connections, seen.bytes)).collect();
        all_flow(&before);
        let late = gate.seen().iter().map(|seen| seen.late).max();
        assert!(late <= Some(TURN), "kill {kill}, of {}: {late:?} bytes from two at a time", NODES[victim]);
        nodes[victim] = start(NODES[victim]);
    }
    let connections: u64 = gate.seen().iter().map(|seen| seen.connections).sum();
    assert!(connections >= (streams + kills) as u64, "{connections}: each kill hit a stream");
}

#[allow(clippy::print_stdout, reason = "the test that started it waits for it")]
fn run_streams() {
    let given = |name| std::env::var(name).unwrap();
    let member = cluster().join(&given("NODE_REDIS"), &given("NODE_NAME"), &[]);
    let _runner = member.run();
    println!("\nruns");
    // Until it is killed.
    loop {
        std::thread::park();
    }
}
