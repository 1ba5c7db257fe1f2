//! Nodes whose clocks are stepped, and nodes that are stopped and continued.

use std::ffi::OsStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flowcast_core::{KeyRules, Source, StreamSpec};
use flowcast_redis::DesiredStatus;
use kit::{Peer, alone, directory, faketime, role_arguments};

use super::gate::Seen;
use super::nodes::*;
use super::stage::{Role, Stage, TURN, run_streams};

const STREAMS: usize = 6;
const HOUR: i64 = 3600;

/// The date of one node is an hour ahead, then an hour behind, then right again: a jump of two hours between. Its `CLOCK_REALTIME` alone, as when somebody sets it.
#[test]
fn a_clock_that_is_stepped_by_an_hour_ends_nothing_and_loses_no_lease() {
    const NAME: &str = "clock::a_clock_that_is_stepped_by_an_hour_ends_nothing_and_loses_no_lease";
    const ROLE: &str = "stepped";
    const TTL: Duration = Duration::from_secs(3);
    if alone(ROLE) {
        return run_streams();
    }
    if !need(&[Need::Redis, Need::Ffmpeg, Need::Faketime]) {
        return;
    }
    let stage = Stage::start(STREAMS, TTL * 4);
    let role = Role { role: ROLE, test: NAME, url: stage.store.url(), ttl: TTL * 4 };
    let directory = directory();
    let (file, next) = (directory.path().join("offset"), directory.path().join("next"));
    let set = |offset: i64| {
        std::fs::write(&next, format!("{offset:+}\n")).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    set(0);
    let library = faketime().expect("it is needed");
    let environment: [(&str, &OsStr); 4] = [
        ("LD_PRELOAD", library.as_os_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.as_os_str()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
        ("FAKETIME_CACHE_DURATION", "1".as_ref()),
    ];
    let mut stepped = role.node("stepped", &environment);
    let begun = Instant::now();
    stage.all_flow(&[]);
    let _right = role.node("right", &[]);
    // Some run on each of them.
    let half = &stage.names[..STREAMS / 2];
    for (number, name) in half.iter().enumerate() {
        let labels = ["right".to_owned()];
        stage.control.desired.put_where(name, &stage.spec(number), &labels).unwrap();
    }
    let runs_right = |name: &String| matches!(stage.control.desired.status(name), Ok(DesiredStatus::Running { node, .. }) if node == "right");
    assert!(wait_until(PATIENCE, || half.iter().all(runs_right)), "{:?}", stage.holders());
    stage.all_flow(&stage.seen());
    let (before, holders) = (stage.seen(), stage.holders());
    let connections = |seen: &[(u64, u64)]| seen.iter().map(|(count, _)| *count).collect::<Vec<_>>();
    for (step, offset) in [HOUR, -HOUR, 0].into_iter().enumerate() {
        set(offset);
        let off = |stepped: &mut Peer, question: &str| {
            stepped.say(question);
            let told = stepped.wait_for_line(&format!("{question} "), PATIENCE);
            let (time, runs) = told.split_once(' ').unwrap();
            let (time, runs) = (time.parse::<i64>().unwrap(), runs.parse::<u64>().unwrap());
            assert!(
                Duration::from_secs(runs) <= begun.elapsed() + PATIENCE,
                "its own clock was stepped, too"
            );
            time - i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
        };
        let mut asked = 0;
        assert!(wait_until(PATIENCE, || {
            asked += 1;
            (off(&mut stepped, &format!("time-{step}-{asked}")) - offset).abs() < HOUR / 2
        }));
        // Each lease is renewed several times, and would have been over.
        let (since, flowed) = (Instant::now(), stage.seen());
        assert!(
            !wait_until(TTL * 6, || stage.holders() != holders),
            "{:?} instead of {holders:?}",
            stage.holders()
        );
        stage.all_flow(&flowed);
        assert_eq!(
            connections(&stage.seen()),
            connections(&before),
            "{offset:+} s: nothing was dialled anew"
        );
        assert!(
            stage.gate.seen().iter().all(|seen| seen.open == 1 && seen.late == 0),
            "{:?}",
            stage.gate.seen()
        );
        // It takes what is new, and is taken for one that is there.
        let name = format!("new-{step}");
        let resting = StreamSpec::new(Source::published("nobody")).without_outputs();
        stage.control.desired.put_where(&name, &resting, &["stepped".to_owned()]).unwrap();
        let is_run = || matches!(stage.control.desired.status(&name), Ok(DesiredStatus::Running { node, .. }) if node == "stepped");
        assert!(wait_until(PATIENCE, is_run), "{:?}", stage.control.desired.status(&name));
        println!("{offset:+} s: nothing ended in {:?}", since.elapsed());
    }
    assert_eq!(stage.holders(), holders);
}

/// What a node with a wrong date decides for all of them is decided by the date of Redis.
#[test]
fn a_node_with_a_wrong_date_neither_ends_keys_of_others_nor_keeps_them() {
    const NAME: &str = "clock::a_node_with_a_wrong_date_neither_ends_keys_of_others_nor_keeps_them";
    const ROLE: &str = "wrong-date";
    if alone(ROLE) {
        return change_keys();
    }
    if !need(&[Need::Redis, Need::Faketime]) {
        return;
    }
    let store = RedisServer::start();
    let right = Node::start(&store.url());
    for name in ["studio", "door"] {
        let rules = KeyRules::new().expires_in(Duration::from_secs(1800));
        right.keys.add_with(name, format!("key-of-{name}"), rules).unwrap();
    }
    right.keys.add_with("over", "key-of-over", KeyRules::new().expires_at(SystemTime::now())).unwrap();
    let library = faketime().expect("it is needed");
    let url = store.url();
    for date in ["+3600", "-3600"] {
        let (program, arguments) = role_arguments(ROLE, NAME);
        let environment: [(&str, &OsStr); 4] = [
            ("LD_PRELOAD", library.as_os_str()),
            ("FAKETIME", date.as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ("NODE_REDIS", url.as_ref()),
        ];
        let mut wrong = Peer::spawn_with(&program, arguments, &environment);
        let time: i64 = wrong.wait_for_line("date ", PATIENCE).parse().unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        assert!((time - now).abs() > HOUR / 2, "it has the right date");
        let mut says = |what: &str| wrong.wait_for_line(&format!("{what} "), PATIENCE);
        assert_eq!(says("another-key"), "KEY_IN_USE", "{date}");
        assert_eq!(says("another-name"), "KEY_IN_USE", "{date}");
        assert_eq!(says("replaced"), "done", "{date}");
        assert_eq!(says("over"), "done", "{date}");
        wrong.wait_success(PATIENCE);
        right.waits_for("key-of-studio", Ok("studio"));
        right.waits_for("new-key-of-door", Ok("door"));
        right.keys.replace("door", "key-of-door", Duration::ZERO).unwrap();
        right.waits_for("late", Ok("over"));
        assert!(right.keys.remove("over").unwrap());
        right.keys.add_with("over", "key-of-over", KeyRules::new().expires_at(SystemTime::now())).unwrap();
    }
}

#[allow(clippy::print_stdout, reason = "the test that started it waits for it")]
fn change_keys() {
    let node = Node::start(&std::env::var("NODE_REDIS").unwrap());
    println!("\ndate {}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let say = |what: &str, outcome: Result<(), flowcast_redis::Error>| {
        println!("{what} {}", outcome.map_or_else(|error| error.code(), |()| "done"));
    };
    say("another-key", node.keys.add("studio", "another-key"));
    say("another-name", node.keys.add("another", "key-of-studio"));
    say("replaced", node.keys.replace("door", "new-key-of-door", Duration::ZERO));
    say("over", node.keys.add("over", "late"));
}

const STOPPED: &str = "clock::a_node_that_was_stopped_finds_its_leases_gone_and_sends_nothing_for_them";
const STOPPED_ROLE: &str = "stopped";

#[test]
fn a_node_that_was_stopped_finds_its_leases_gone_and_sends_nothing_for_them() {
    if alone(STOPPED_ROLE) {
        return run_streams();
    }
    stop_and_look(Duration::from_secs(5), Duration::from_secs(8));
}

/// `cargo test -p flowcast-redis --test shared stopped_for_a_minute -- --ignored`
#[test]
#[ignore = "takes two minutes"]
fn a_node_that_was_stopped_for_a_minute_finds_its_leases_gone() {
    stop_and_look(Duration::from_secs(10), Duration::from_secs(60));
}

fn stop_and_look(ttl: Duration, lasts: Duration) {
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let stage = Stage::start(STREAMS, ttl);
    let role = Role { role: STOPPED_ROLE, test: STOPPED, url: stage.store.url(), ttl };
    // All run on the one that is there first.
    let stopped = role.node("stopped", &[]);
    stage.all_flow(&[]);
    let epochs = stage.run_by(|node| node == "stopped");
    let mut other = role.node("other", &[]);
    // The receiver lets another one in once it has heard nothing for long. What is sent all the same is to be seen.
    stage.gate.keep(true);
    stopped.freeze();
    let since = Instant::now();
    let taken = stage.run_by(|node| node == "other");
    assert!(taken.iter().zip(&epochs).all(|(now, before)| now.1 > before.1), "{taken:?} after {epochs:?}");
    stage.all_flow(&[]);
    println!("all streams are on the air again {:?} after their node was stopped", since.elapsed());
    wait_until(lasts.saturating_sub(since.elapsed()), || false);
    let before = stage.gate.seen();
    assert!(before.iter().all(|seen| seen.open == 2), "both are connected: {before:?}");
    let continued = Instant::now();
    stopped.thaw();
    let late: Vec<_> = before.iter().map(|seen| seen.late).collect();
    // It closes what it has, and says nothing before.
    assert!(
        wait_until(PATIENCE, || stage.gate.seen().iter().all(|seen| seen.open == 1)),
        "{:?}",
        stage.gate.seen()
    );
    println!("its connections are closed {:?} after it was continued", continued.elapsed());
    stage.all_flow(&stage.seen());
    let after = stage.gate.seen();
    let sent: Vec<_> = after.iter().zip(&late).map(|(seen, late)| seen.late - late).collect();
    println!("bytes that it sent for each stream after it was continued: {sent:?}");
    // What a stream's thread was just writing when it was stopped, and no turn more.
    assert!(sent.iter().all(|sent| *sent < TURN), "{sent:?}");
    assert_eq!(stage.holders(), taken);
    let dialled = |seen: &[Seen]| seen.iter().map(|seen| seen.connections).collect::<Vec<_>>();
    assert_eq!(dialled(&after), dialled(&before), "nothing was dialled anew");
    // It is a node like any other again.
    other.kill();
    let back = stage.run_by(|node| node == "stopped");
    assert!(back.iter().zip(&taken).all(|(now, before)| now.1 > before.1), "{back:?} after {taken:?}");
    stage.all_flow(&stage.seen());
}
