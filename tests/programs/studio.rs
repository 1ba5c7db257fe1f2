//! The example `studio`: started, used over HTTP as its page does, killed, and started again.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use kit::rig::Known;
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, Peer, directory, example, text, wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

const SECRET: &str = "a-canary-key";

/// A program that runs, and how it is asked.
pub(crate) struct Studio {
    pub(crate) program: Peer,
    address: String,
    pub(crate) token: String,
}

impl Studio {
    pub(crate) fn start(program: &Path, config: &Path, data: &Path) -> Self {
        Self::start_with(program, config, data, &[])
    }

    /// With these in its environment.
    pub(crate) fn start_with(
        program: &Path,
        config: &Path,
        data: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let mut program = Peer::spawn_with(program, [text(config)], environment);
        let page = program.wait_for_line("open http://", PATIENCE);
        program.wait_for_line("started:", PATIENCE);
        let token = fs::read_to_string(data.join("token")).expect("it was made").trim().to_owned();
        Self { program, address: page.trim_end_matches('/').to_owned(), token }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its RTMP server is.
    pub(crate) fn rtmp(&self) -> String {
        let said = self.program.output();
        let address = said.lines().find_map(|line| line.strip_prefix("listening on "));
        address.expect("it has one").to_owned()
    }

    /// An answer: its status and its body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        // One address may ask fifty times in a second.
        std::thread::park_timeout(Duration::from_millis(20));
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut to = TcpStream::connect(&self.address).expect("it listens");
        let (host, token, length) = (&self.address, &self.token, body.len());
        write!(
            to,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("it reads");
        let mut answer = String::new();
        to.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        assert!(!head.to_lowercase().contains("flowcast-unsaved"), "{method} {path}: {head}\n{body}");
        (status, body.to_owned())
    }

    fn labels(&self) -> Vec<String> {
        let (status, body) = self.ask("GET", "/api/v1/streams", None);
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).expect("JSON");
        let streams = page["streams"].as_array().expect("a list").iter();
        let mut labels: Vec<_> =
            streams.filter_map(|stream| stream["label"].as_str().map(str::to_owned)).collect();
        labels.sort_unstable();
        labels
    }

    #[track_caller]
    pub(crate) fn expect_label(&self, label: &str) {
        let is_there = wait_until(PATIENCE, || self.labels().iter().any(|of| of == label));
        assert!(is_there, "{:?}, without {label}\n{}", self.labels(), self.program.report());
    }

    #[track_caller]
    fn expect(&self, labels: &[&str]) {
        let are_there = wait_until(PATIENCE, || self.labels() == labels);
        assert!(are_there, "{:?}, not {labels:?}\n{}", self.labels(), self.program.report());
    }
}

#[test]
fn the_files_of_deploy_are_right() {
    let Some(program) = example("studio") else { return };
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for name in ["studio.toml", "docker.toml"] {
        let mut peer = Peer::spawn(&program, [text(&deploy.join(name)), "--check"]);
        peer.wait_success(PATIENCE);
        assert!(peer.output().starts_with("ok: 0 channels"), "{}", peer.report());
    }
    // The one in the manifests of Kubernetes, from the line that names it to the next document.
    let manifest = fs::read_to_string(deploy.join("kubernetes/studio.yaml")).expect("it is there");
    let (_, config) = manifest.split_once("studio.toml: |\n").expect("a file");
    let (config, _) = config.split_once("---").expect("more documents");
    let folder = directory();
    let file = folder.path().join("studio.toml");
    fs::write(&file, config).expect("a file");
    let mut peer = Peer::spawn(&program, [text(&file), "--check"]);
    peer.wait_success(PATIENCE);
}

#[test]
fn what_the_page_began_and_issued_is_there_again_after_a_kill_and_the_file_is_followed() {
    let Some(program) = example("studio") else { return };
    let (clip, folder) = (Known::small(), directory());
    let (config, data) = (folder.path().join("studio.toml"), folder.path().join("data"));
    let server = Scripted::start(Script::Record);
    let file = |channels: &str| {
        let http = format!("[http]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n");
        let keys = format!("[server]\nlisten = \"127.0.0.1:0\"\n[keys]\nof-the-file = \"{SECRET}\"\n");
        fs::write(&config, http + &keys + channels).expect("a file");
    };
    let channel = |name: &str| {
        let source = format!("source = {{ file = {:?}, looped = true }}", clip.file);
        format!("[channels.{name}]\n{source}\noutputs = [{{ publish = \"{name}\" }}]\n")
    };
    file(&(channel("first") + &channel("second")));
    let mut studio = Studio::start(&program, &config, &data);
    let printed = studio.program.output();
    assert!(printed.contains(&format!("token: {}", studio.token)), "{printed}");
    let (status, page) = studio.ask("GET", "/", None);
    assert!(status == 200 && page.contains("assets/app.js"), "{page}");
    let begun = json!({
        "label": "of-the-page", "source": {"file": clip.file, "looped": true},
        "outputs": [{"server": server.url(), "key": SECRET}],
    });
    assert_eq!(studio.ask("POST", "/api/v1/streams", Some(&begun)).0, 201);
    let (status, issued) = studio.ask("POST", "/api/v1/keys", Some(&json!({"name": "guest"})));
    assert_eq!(status, 201, "{issued}");
    studio.expect(&["first", "of-the-page", "second"]);
    assert!(server.wait_pictures(0, 5, PATIENCE), "{}", studio.program.report());
    let is_kept = |name: &str, what: &str| {
        fs::read_to_string(data.join(name)).unwrap_or_default().contains(&format!("\"{what}\""))
    };
    assert!(wait_until(PATIENCE, || is_kept("state", "of-the-page") && is_kept("page.json", "guest")));
    studio.program.kill();

    // What the file does not have any more does not go on as if the page had begun it.
    file(&channel("first"));
    let mut studio = Studio::start(&program, &config, &data);
    let printed = studio.program.output();
    assert!(!printed.contains(&studio.token), "the token is printed once: {printed}");
    studio.expect(&["first", "of-the-page"]);
    assert!(server.wait_pictures(1, 5, PATIENCE), "{}", studio.program.report());
    let (_, keys) = studio.ask("GET", "/api/v1/keys", None);
    assert!(keys.contains("\"guest\"") && keys.contains("\"of-the-file\""), "{keys}");
    assert!(!keys.contains(SECRET));
    kill_process(studio.program.pid(), Signal::TERM).expect("it runs");
    studio.program.wait_success(PATIENCE);
    assert!(!studio.program.output().contains(SECRET) && !studio.program.errors().contains(SECRET));
}

#[test]
fn what_was_answered_is_on_the_disk_when_the_program_is_killed_at_once() {
    let Some(program) = example("studio") else { return };
    let (clip, folder) = (Known::small(), directory());
    let (config, data) = (folder.path().join("studio.toml"), folder.path().join("data"));
    let http = format!("[http]\nlisten = \"127.0.0.1:0\"\ndata = {data:?}\n");
    fs::write(&config, http + "[server]\nlisten = \"127.0.0.1:0\"\n").expect("a file");
    // Each is the last thing that the program does.
    let done = |what: &dyn Fn(&Studio) -> (u16, String), status: u16| {
        let mut studio = Studio::start(&program, &config, &data);
        let answer = what(&studio);
        studio.program.kill();
        assert_eq!(answer.0, status, "{}\n{}", answer.1, studio.program.report());
    };
    let body = |studio: &Studio, path: &str| -> Value {
        let (status, body) = studio.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    };
    let place = |studio: &Studio, label: &str| {
        studio.expect_label(label);
        let page = body(studio, "/api/v1/streams");
        let mut streams = page["streams"].as_array().expect("a list").iter();
        let stream = streams.find(|stream| stream["label"] == label).expect("it was just there");
        format!("/api/v1/streams/{}", stream["id"].as_str().expect("a number"))
    };
    let list = json!({"label": "list", "source": {"playlist": [clip.file, clip.file]}, "outputs": [{"publish": "list"}]});
    let loops = json!({"label": "loop", "source": {"file": clip.file, "looped": true}, "outputs": [{"publish": "loop"}]});
    let night = json!({"stream": {"label": "night", "source": {"file": clip.file, "looped": true}, "without_outputs": true},
        "when": {"zone": "Europe/Berlin", "windows": [{"days": ["mon"], "from": "03:00", "to": "03:30"}]}});
    done(&|studio| studio.ask("POST", "/api/v1/streams", Some(&list)), 201);
    done(&|studio| studio.ask("POST", "/api/v1/streams", Some(&loops)), 201);
    done(&|studio| studio.ask("POST", "/api/v1/keys", Some(&json!({"name": "guest"}))), 201);
    let item = json!({"path": clip.file});
    done(&|studio| studio.ask("POST", &(place(studio, "list") + "/playlist/items"), Some(&item)), 201);
    done(
        &|studio| {
            studio.ask("POST", &(place(studio, "list") + "/outputs"), Some(&json!({"publish": "other"})))
        },
        201,
    );
    done(&|studio| studio.ask("POST", "/api/v1/schedules", Some(&night)), 201);
    done(&|studio| studio.ask("DELETE", &place(studio, "loop"), None), 200);
    let studio = Studio::start(&program, &config, &data);
    studio.expect(&["list"]);
    let stream = place(&studio, "list");
    assert_eq!(body(&studio, &(stream.clone() + "/playlist"))["total"], 3);
    let outputs = body(&studio, &(stream + "/outputs")).to_string();
    assert!(outputs.contains("other"), "{outputs}");
    assert!(body(&studio, "/api/v1/keys").to_string().contains("\"guest\""));
    assert!(body(&studio, "/api/v1/schedules").to_string().contains("\"night\""));
}
