//! The example `node`, as a person uses it.

use std::path::PathBuf;

use kit::{Peer, directory, example, run, text};
use rustix::process::{Signal, kill_process};

use super::nodes::*;

#[test]
fn a_list_is_run_shown_and_handed_over() {
    let Some(program) = example("node") else { return };
    if !need(&[Need::Redis]) {
        return;
    }
    let store = RedisServer::start();
    let directory = directory();
    let file = directory.path().join("rain.toml");
    std::fs::write(&file, "without_outputs = true\n[source]\npublished = \"from-rain\"\n").unwrap();
    let url = store.url();
    let say = |words: &[&str]| {
        let mut arguments: Vec<_> = ["--redis", url.as_str()].map(str::to_owned).to_vec();
        arguments.extend(words.iter().map(ToString::to_string));
        run(&program, arguments, PATIENCE)
    };
    let start = |program: &PathBuf, name: &str| {
        let listen = "127.0.0.1:0";
        let mut node = Peer::spawn(program, ["--redis", &url, "run", "--name", name, "--listen", listen]);
        node.wait_for_line(&format!("{name} is in the cluster"), PATIENCE);
        node
    };
    let mut one = start(&program, "one");
    assert_eq!(say(&["put", "rain", text(&file)]), "rain: should run, revision 1\n");
    one.wait_for_line("rain: runs here", PATIENCE);
    let mut two = start(&program, "two");
    let mut list = String::new();
    assert!(
        wait_until(PATIENCE, || {
            list = say(&["list"]);
            list.contains("one runs it (epoch 1)")
        }),
        "{list}"
    );
    let node = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(node("one ").contains("  up  ") && node("one ").contains("rtmp://127.0.0.1:"), "{list}");
    assert!(node("two ").contains(" up ") && node("STREAM").ends_with("STATUS"), "{list}");
    // Asked once, it hands over what it has.
    kill_process(one.pid(), Signal::INT).unwrap();
    one.wait_success(PATIENCE);
    assert!(one.output().contains("1 moved: rain to two; 0 left"), "{}", one.report());
    two.wait_for_line("rain: runs here", PATIENCE);
    assert_eq!(say(&["remove", "rain"]), "rain: should not run any more\n");
    two.wait_for_line("rain: does not run here any more", PATIENCE);
    let list = say(&["list"]);
    assert!(!list.contains("rain ") && !list.contains("one "), "it has left: {list}");
}
