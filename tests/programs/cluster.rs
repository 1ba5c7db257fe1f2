//! The example `studio` on several machines: nodes see each other, streams run on one of them, and move.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use kit::rig::Known;
use kit::{
    Need, PATIENCE, Peer, RedisServer, directory, example, ffmpeg_publish, need, remux, text, wait_until,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::studio::Studio;

/// Long enough for AES-256.
const SECRET: &str = "a-secret-that-only-the-nodes-know";

struct Node {
    studio: Studio,
    name: &'static str,
}

impl Node {
    fn start(program: &Path, folder: &Path, redis: &RedisServer, name: &'static str) -> Self {
        let (config, data) = (folder.join(format!("{name}.toml")), folder.join(name));
        let http = format!("[http]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n");
        let server = "[server]\nlisten = \"127.0.0.1:0\"\n[keys]\nguest = \"a-key\"\n";
        let cluster = format!("[cluster]\nredis = {:?}\nnode = {name:?}\nlabels = [{name:?}]\n", redis.url());
        fs::write(&config, http + server + &cluster).expect("a file");
        let studio = Studio::start_with(program, &config, &data, &[("CLUSTER_SECRET", OsStr::new(SECRET))]);
        Self { studio, name }
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.studio.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The nodes it knows, and how they stand.
    fn nodes(&self) -> Vec<(String, String)> {
        let view = self.get("/api/v1/cluster");
        assert_eq!(view["this"], self.name);
        let nodes = view["nodes"].as_array().expect("a list").iter();
        let mut nodes: Vec<_> = nodes
            .map(|node| ["name", "state"].map(|of| node[of].as_str().unwrap_or_default().to_owned()))
            .map(|[name, state]| (name, state))
            .collect();
        nodes.sort();
        nodes
    }

    /// Where a stream is on the air.
    fn runs_on(&self, name: &str) -> Option<String> {
        let stream = self.get(&format!("/api/v1/cluster/streams/{name}"));
        (stream["state"] == "running").then(|| stream["node"].as_str().map(str::to_owned)).flatten()
    }

    #[track_caller]
    fn expect_on(&self, name: &str, node: &str) {
        let is_there = wait_until(PATIENCE, || self.runs_on(name).as_deref() == Some(node));
        let stream = self.get(&format!("/api/v1/cluster/streams/{name}"));
        assert!(is_there, "{name} is not on {node}: {stream}\n{}", self.studio.program.report());
    }
}

#[test]
fn a_stream_runs_on_one_node_moves_when_that_is_drained_and_again_when_it_ends() {
    let Some(program) = example("studio") else { return };
    if !need(&[Need::Redis]) {
        return;
    }
    let (clip, folder, redis) = (Known::small(), directory(), RedisServer::start());
    let [one, two] = ["one", "two"].map(|name| Node::start(&program, folder.path(), &redis, name));
    let both = |state: &str| vec![("one".to_owned(), state.to_owned()), ("two".to_owned(), "up".to_owned())];
    assert!(wait_until(PATIENCE, || one.nodes() == both("up")), "{:?}", one.nodes());
    // Only the first may run it, until it is put without that.
    let stream = json!({"source": {"file": clip.file, "looped": true}, "outputs": [{"publish": "show"}]});
    let put = |labels: &[&str]| {
        let body = json!({"stream": stream, "labels": labels});
        let (status, body) = two.studio.ask("PUT", "/api/v1/cluster/streams/show", Some(&body));
        assert_eq!(status, 200, "{body}");
    };
    put(&["one"]);
    two.expect_on("show", "one");
    put(&[]);
    let page = two.get("/api/v1/cluster/streams?limit=1");
    assert_eq!((&page["total"], &page["next"]), (&json!(1), &Value::Null), "{page}");
    one.studio.expect_label("show");
    let drain = |draining: bool| {
        let asked = one.studio.ask("PUT", "/api/v1/cluster/draining", Some(&json!({"draining": draining})));
        assert_eq!(asked.0, 200, "{}", asked.1);
    };
    drain(true);
    one.expect_on("show", "two");
    assert!(wait_until(PATIENCE, || two.nodes() == both("draining")), "{:?}", two.nodes());
    drain(false);
    assert!(wait_until(PATIENCE, || two.nodes() == both("up")), "{:?}", two.nodes());
    // A node that ends hands over what it has, and what the page began is its own.
    let Node { studio: mut ended, .. } = two;
    kill_process(ended.program.pid(), Signal::TERM).expect("it runs");
    ended.program.wait_success(PATIENCE);
    one.expect_on("show", "one");
    let said = ended.program.output() + &ended.program.errors();
    assert!(said.contains("1 moved: show to one") && !said.contains(SECRET), "{said}");
    let is_alone = || one.nodes() == vec![("one".to_owned(), "up".to_owned())];
    assert!(wait_until(PATIENCE, is_alone), "{:?}", one.nodes());
    // Started again after a kill, it runs nothing that it has no lease for: another node may have it.
    let Node { studio: mut killed, .. } = one;
    assert!(wait_until(PATIENCE, || {
        fs::read_to_string(folder.path().join("one/state")).is_ok_and(|state| !state.contains("show"))
    }));
    killed.program.kill();
    let two = Node::start(&program, folder.path(), &redis, "two");
    two.expect_on("show", "two");
    let (status, body) = two.studio.ask("DELETE", "/api/v1/cluster/streams/show", None);
    assert_eq!(status, 200, "{body}");
    assert!(wait_until(PATIENCE, || two.get("/api/v1/streams")["total"] == 0));
    let (status, body) = two.studio.ask("GET", "/api/v1/cluster/streams/show", None);
    assert_eq!(status, 404, "{body}");
}

/// A key that the page of one node issues is taken by another, shown by both, and revoked by either; those of a node's file stay its own.
#[test]
fn a_key_that_one_node_issues_is_taken_by_the_other_until_it_is_revoked() {
    let Some(program) = example("studio") else { return };
    if !need(&[Need::Redis, Need::Ffmpeg]) {
        return;
    }
    let (clip, folder, redis) = (Known::small(), directory(), RedisServer::start());
    let flv = remux(&clip.file, folder.path(), "clip.flv");
    let [one, two] = ["one", "two"].map(|name| Node::start(&program, folder.path(), &redis, name));
    let issue = |name: &str| {
        let mut answer = (0, String::new());
        // Redis is looked for as the node starts.
        wait_until(PATIENCE, || {
            answer = one.studio.ask("POST", "/api/v1/keys", Some(&json!({"name": name})));
            answer.0 != 503
        });
        answer
    };
    let (status, body) = issue("field");
    assert_eq!(status, 201, "{body}");
    let issued: Value = serde_json::from_str(&body).expect("JSON");
    let key = issued["key"].as_str().expect("it is shown once").to_owned();
    let names = |node: &Node| {
        let keys = node.get("/api/v1/keys");
        keys["keys"].as_array().expect("a list").iter().map(|of| of["name"].clone()).collect::<Vec<_>>()
    };
    for node in [&one, &two] {
        assert!(wait_until(PATIENCE, || names(node) == ["field", "guest"]), "{:?}", names(node));
    }
    let taken = issue("guest");
    assert_eq!(taken.0, 409, "{}", taken.1);
    // Until it has heard of the key, the other node refuses it.
    let is_on_air = || two.get("/api/v1/streams").to_string().contains("\"field\"");
    let mut publisher = ffmpeg_publish(&flv, &format!("{}/{key}", two.studio.rtmp()), 500);
    assert!(wait_until(PATIENCE, || {
        if !publisher.is_running() {
            publisher = ffmpeg_publish(&flv, &format!("{}/{key}", two.studio.rtmp()), 500);
        }
        is_on_air()
    }));
    let (status, body) = one.studio.ask("DELETE", "/api/v1/keys/field", None);
    assert_eq!(status, 200, "{body}");
    publisher.wait(PATIENCE);
    assert!(wait_until(PATIENCE, || !is_on_air()), "{}", two.studio.program.report());
    assert!(wait_until(PATIENCE, || names(&two) == ["guest"]), "{:?}", names(&two));
    let said = two.studio.program.output() + &two.studio.program.errors();
    assert!(!said.contains(&key), "{said}");
}

/// `FLOWCAST_PICTURES` is a directory for pictures of the views.
#[test]
fn a_person_sees_the_nodes_and_steers_them() {
    let Some(program) = example("studio") else { return };
    if !need(&[Need::Redis, Need::Chromium, Need::AxeCore]) {
        return;
    }
    let (clip, folder, redis) = (Known::small(), directory(), RedisServer::start());
    let [one, _two] = ["one", "two"].map(|name| Node::start(&program, folder.path(), &redis, name));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster_in_chromium.py");
    let mut arguments = vec![one.studio.url(), one.studio.token.clone(), text(&clip.file).to_owned()];
    if let Some(pictures) = std::env::var_os("FLOWCAST_PICTURES") {
        arguments.extend(["--pictures".to_owned(), pictures.display().to_string()]);
    }
    let mut person = Peer::spawn(&script, &arguments);
    let succeeded = person.wait(3 * PATIENCE).success();
    assert!(succeeded, "{}\n{}\n{}", person.output(), person.errors(), one.studio.program.report());
}

#[test]
fn what_the_cluster_refuses_and_what_is_none_is_said() {
    let Some(program) = example("studio") else { return };
    if !need(&[Need::Redis]) {
        return;
    }
    let (folder, redis) = (directory(), RedisServer::start());
    let node = Node::start(&program, folder.path(), &redis, "one");
    let code = |answer: (u16, String)| {
        let problem: Value = serde_json::from_str(&answer.1).expect("JSON");
        (answer.0, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let put_as = |name: &str, body: Value| {
        code(node.studio.ask("PUT", &format!("/api/v1/cluster/streams/{name}"), Some(&body)))
    };
    let put = |body: Value| put_as("show", body);
    let fine = json!({"source": {"published": "studio"}, "outputs": [{"publish": "copy"}]});
    assert_eq!(put_as("a%20b", json!({"stream": fine})), (422, "CONFIG_INVALID".to_owned()));
    assert_eq!(put(json!({"stream": {"source": {"published": "studio"}}})), (400, "SPEC_INVALID".to_owned()));
    assert_eq!(put(json!({"stream": fine, "label": []})).0, 400);
    kill_process(redis.process().pid(), Signal::STOP).expect("it runs");
    // What is known is still told; what is asked of Redis says why not.
    let away = wait_until(PATIENCE, || code(node.studio.ask("GET", "/api/v1/cluster", None)).0 == 503);
    kill_process(redis.process().pid(), Signal::CONT).expect("it runs");
    assert!(away, "{}", node.studio.program.report());
    let is_back = || node.studio.ask("GET", "/api/v1/cluster", None).0 == 200;
    assert!(wait_until(PATIENCE, is_back), "{}", node.studio.program.report());

    // Without [cluster] there is none.
    let (config, data) = (folder.path().join("alone.toml"), folder.path().join("alone"));
    let http =
        format!("[http]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n[server]\nlisten = \"127.0.0.1:0\"\n");
    fs::write(&config, http).expect("a file");
    let alone = Studio::start(&program, &config, &data);
    let (status, view) = alone.ask("GET", "/api/v1/cluster", None);
    assert_eq!((status, view.as_str()), (200, r#"{"this":null,"nodes":[]}"#));
    assert_eq!(code(alone.ask("GET", "/api/v1/cluster/streams", None)), (404, "NO_CLUSTER".to_owned()));
}
