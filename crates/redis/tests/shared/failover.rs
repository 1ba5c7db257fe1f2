//! Nodes that are killed: what they ran is on the air again from another one, and never from two at a time.

use std::ffi::OsStr;
use std::time::Duration;

use flowcast_redis::DesiredStatus;
use kit::alone;

use super::nodes::*;
use super::stage::{Role, Stage, run_streams};

const NODES: [&str; 3] = ["one", "two", "three"];
const TTL: Duration = Duration::from_secs(5);

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

/// Eight streams of one owner, who may have five, on three nodes that are killed: five run, and never a sixth.
#[test]
fn an_owner_has_his_places_and_never_more_while_nodes_are_killed() {
    const NAME: &str = "failover::an_owner_has_his_places_and_never_more_while_nodes_are_killed";
    const ROLE: &str = "runs-streams-of-an-owner";
    const STREAMS: usize = 8;
    const MOST: usize = 5;
    if alone(ROLE) {
        return run_streams();
    }
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let stage = Stage::start(STREAMS, TTL);
    for (number, name) in stage.names.iter().enumerate() {
        let spec = stage.spec(number).owner("alice");
        assert!(wait_until(PATIENCE, || stage.control.desired.put(name, &spec).is_ok()));
    }
    let role = Role { role: ROLE, test: NAME, url: stage.store.url(), ttl: TTL };
    let most = MOST.to_string();
    let most = [("NODE_MOST", OsStr::new(&most))];
    let mut nodes = NODES.map(|name| role.node(name, &most));
    stage.flow(MOST, &[]);
    for kill in 0..5 {
        let mut held = stage.holders();
        held.retain(|(node, _)| !node.is_empty());
        assert!((1..=MOST).contains(&held.len()), "{held:?}");
        // The node of one that runs.
        let victim = NODES.iter().position(|name| *name == held[kill % held.len()].0).unwrap();
        nodes[victim].kill();
        stage.flow(MOST, &stage.seen());
        nodes[victim] = role.node(NODES[victim], &most);
    }
    stage.was_never_twice();
    assert_eq!(stage.gate.most_at_once(), MOST, "at any moment");
}

/// `cargo test -p flowcast-redis --test shared fifty -- --ignored`
#[test]
#[ignore = "takes a quarter of an hour"]
fn fifty_kills_of_nodes_with_sixty_streams() {
    let name = "failover::what_a_killed_node_ran_is_on_the_air_again_and_never_twice";
    kill_and_look(name, "runs-streams", 60, 50);
}

fn kill_and_look(test: &'static str, role: &'static str, streams: usize, kills: usize) {
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let stage = Stage::start(streams, TTL);
    let role = Role { role, test, url: stage.store.url(), ttl: TTL };
    let mut nodes = NODES.map(|name| role.node(name, &[]));
    stage.all_flow(&[]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // The node of any of the streams: one that runs something.
        let name = format!("s-{}", random % streams as u64);
        let mut victim = None;
        let status = || stage.control.desired.status(&name);
        let is_run = || {
            let Ok(DesiredStatus::Running { node, .. }) = status() else { return false };
            victim = NODES.iter().position(|name| *name == node);
            true
        };
        assert!(wait_until(PATIENCE, is_run), "{name}: {:?}", status());
        let victim = victim.expect("one of them");
        nodes[victim].kill();
        stage.all_flow(&stage.seen());
        println!("kill {kill}, of {}", NODES[victim]);
        stage.was_never_twice();
        nodes[victim] = role.node(NODES[victim], &[]);
    }
    let connections: u64 = stage.gate.seen().iter().map(|seen| seen.connections).sum();
    assert!(connections >= (streams + kills) as u64, "{connections}: each kill hit a stream");
}
