//! An engine with a server, and a client of it.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowcast_core::{Config, Engine};
use flowcast_http::{HttpServer, Options, Scope, Token, serve};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long something may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const OPERATE: &str = "canary-token-of-operators";
pub(crate) const WATCH: &str = "canary-token-of-watchers";
pub(crate) const KEYS: &str = "canary-token-of-keepers";

/// An engine, a server, a directory.
pub(crate) struct Studio {
    // In this order they are dropped.
    pub(crate) server: HttpServer,
    pub(crate) engine: Engine,
    pub(crate) directory: TempDir,
    agent: ureq::Agent,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// Its JSON, if it has this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The code of a problem of this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let value = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(value["status"], json!(status));
        value["code"].as_str().unwrap().to_owned()
    }
}

/// The options of a studio: three tokens, and nobody waits for what was wrong.
pub(crate) fn options() -> Options {
    Options::default().with(|options| {
        let token = |name: &str, secret: &str, scope| Token::new(name, &secret.into(), [scope]);
        options.tokens.push(token("operator", OPERATE, Scope::Operate));
        options.tokens.push(token("watcher", WATCH, Scope::Watch));
        options.tokens.push(token("keeper", KEYS, Scope::Keys));
        options.failures.first_delay = Duration::ZERO;
        options.failures.ban_after = 1000;
        options.requests_per_second = 10_000;
    })
}

impl Studio {
    pub(crate) fn start() -> Self {
        Self::with(options(), Config::default())
    }

    pub(crate) fn with(options: Options, config: Config) -> Self {
        let engine = Engine::new(config).unwrap();
        let server = serve(&engine, "127.0.0.1:0", options).unwrap();
        Self { server, engine, directory: tempfile::tempdir().unwrap(), agent: agent() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// Asks with a token; an empty one is none.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        let mut headers = Vec::new();
        if !token.is_empty() {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        if body.is_some() {
            headers.push(("Content-Type", "application/json".to_owned()));
        }
        self.raw(method, path, &headers, body.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    pub(crate) fn raw(&self, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = if body.is_empty() {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body).unwrap())
        };
        let mut response = response.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let of = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
        let headers = response.headers().iter().map(of).collect();
        let bytes = response.body_mut().read_to_vec().unwrap();
        Answer { status: response.status().as_u16(), headers, bytes }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, OPERATE, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, OPERATE, Some(body))
    }

    /// Reads an answer that goes on.
    pub(crate) fn open(&self, path: &str, headers: &[(&str, &str)]) -> Reading {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.call().unwrap();
        let status = response.status().as_u16();
        Reading { status, reader: BufReader::new(Box::new(response.into_body().into_reader())) }
    }

    /// Two seconds at 25 pictures a second, a keyframe twice a second, with sound.
    pub(crate) fn clip(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let spec = flowcast_av::SampleSpec { gop_frames: 12, ..flowcast_av::SampleSpec::default() };
        flowcast_av::sample_clip(&path, &spec).unwrap();
        path
    }

    /// Loops a clip under a name; its number.
    pub(crate) fn on_air(&self, name: &str) -> String {
        let clip = self.clip(&format!("{name}.mp4"));
        let spec = json!({
            "label": name, "source": {"file": clip, "looped": true}, "outputs": [{"publish": name}],
        });
        let id = self.post("/api/v1/streams", &spec).expect(201)["id"].as_str().unwrap().to_owned();
        wait_until("it runs", || {
            self.get(&format!("/api/v1/streams/{id}")).json()["stats"]["phase"] == "running"
        });
        id
    }
}

fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_recv_response(Some(PATIENCE));
    // A connection on which a body was not read, because nobody may send it, is closed: the next request may not go there.
    let config = config.max_idle_connections(0);
    // Answers that go on are not read for longer by any test.
    let config = config.timeout_recv_body(Some(PATIENCE));
    config.allow_non_standard_methods(true).build().into()
}

/// Waits for what must come about.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An answer that goes on.
pub(crate) struct Reading {
    pub(crate) status: u16,
    reader: BufReader<Box<dyn Read>>,
}

/// A server-sent event.
#[derive(Debug, PartialEq)]
pub(crate) struct Sse {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Reading {
    /// The next event, comments left out; `None` at the end.
    pub(crate) fn event(&mut self) -> Option<Sse> {
        let (mut id, mut event, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            if let Some(of) = line.strip_prefix("id: ") {
                id = Some(of.to_owned());
            } else if let Some(of) = line.strip_prefix("event: ") {
                event = Some(of.to_owned());
            } else if let Some(of) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(of).unwrap());
            } else if let (true, Some(event), Some(data)) = (line.is_empty(), event.take(), data.take()) {
                return Some(Sse { id, event, data });
            }
        }
    }

    /// The next one with this name.
    pub(crate) fn named(&mut self, name: &str) -> Sse {
        std::iter::from_fn(|| self.event()).find(|event| event.data["event"] == name).unwrap()
    }
}

impl Read for Reading {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(to)
    }
}
