//! The file: what it may hold, and what is wrong with it. Nothing that is said of it shows a key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowcast::admission::MeasuredAdmission;
use flowcast::error::chain;
use flowcast::schedule::When;
use flowcast::spec::StreamSpec;
use flowcast::state::Resume;
use serde::Deserialize;

/// Streams of one engine that are no limit for a file.
const MANY: usize = 10_000;

/// All of it. Names of channels are labels of their streams.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) engine: EngineTable,
    /// What the machine has to have left for a channel to be started; without it, only the numbers of `engine` count.
    #[serde(default)]
    pub(crate) admission: Option<MeasuredAdmission>,
    #[serde(default)]
    pub(crate) server: Option<ServerTable>,
    /// The page and the API, which only the example `studio` serves.
    #[serde(default)]
    pub(crate) http: Option<HttpTable>,
    /// The machines that share streams with this one, which only the example `studio` knows of.
    #[serde(default)]
    pub(crate) cluster: Option<ClusterTable>,
    /// Who may publish: a name, and the key that publishes under it.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) channels: BTreeMap<String, StreamSpec>,
    /// When a channel runs; one that is not here runs all the time.
    #[serde(default)]
    pub(crate) schedules: BTreeMap<String, When>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineTable {
    /// The file that keeps what runs over a restart; without it, everything begins anew.
    #[serde(default)]
    pub(crate) state: Option<PathBuf>,
    /// Where what is kept goes on.
    #[serde(default)]
    pub(crate) resume: Resume,
    /// Where reels are kept; without it, files are read as they are played.
    #[serde(default)]
    pub(crate) reels: Option<PathBuf>,
    #[serde(default = "many")]
    pub(crate) max_streams: usize,
    #[serde(default = "many")]
    pub(crate) max_streams_per_owner: usize,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerTable {
    /// `HOST:PORT`; port 0 takes a free one.
    pub(crate) listen: String,
    /// The same for RTMPS, with `tls`.
    pub(crate) rtmps: Option<String>,
    /// The chain of certificates and the key, as PEM files.
    pub(crate) tls: Option<[PathBuf; 2]>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpTable {
    /// `HOST:PORT`; port 0 takes a free one.
    pub(crate) listen: String,
    /// The directory of the token, of what runs, and of keys that the page issued.
    pub(crate) data: PathBuf,
    /// `/metrics` can be read without a token.
    pub(crate) open_metrics: bool,
    /// Proxies in front of it, whose `X-Forwarded-For` is believed.
    pub(crate) proxies: Vec<flowcast::config::IpNet>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClusterTable {
    /// Redis or Valkey; otherwise `REDIS_URL` says where it is.
    pub(crate) redis: Option<String>,
    /// Nodes with the same name share a list.
    pub(crate) name: String,
    /// What this node is called; otherwise as `NODE_NAME` says, or as the machine is called.
    pub(crate) node: Option<String>,
    /// Where others play what is on the air here; otherwise as `NODE_ADDRESS` says, or where the server listens.
    pub(crate) address: Option<String>,
    /// What this node has that others lack.
    pub(crate) labels: Vec<String>,
    /// Streams end while Redis is away, so that none runs twice.
    pub(crate) stop_if_away: bool,
    /// How long streams are handed over at the end.
    pub(crate) drain_seconds: u64,
}

impl Default for ClusterTable {
    fn default() -> Self {
        Self {
            redis: None,
            name: "flowcast".to_owned(),
            node: None,
            address: None,
            labels: Vec::new(),
            stop_if_away: true,
            drain_seconds: 60,
        }
    }
}

impl Default for ServerTable {
    fn default() -> Self {
        Self { listen: "127.0.0.1:1935".to_owned(), rtmps: None, tls: None }
    }
}

impl Default for HttpTable {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            data: PathBuf::from("studio-data"),
            open_metrics: false,
            proxies: Vec::new(),
        }
    }
}

impl Default for EngineTable {
    fn default() -> Self {
        Self {
            state: None,
            resume: Resume::default(),
            reels: None,
            max_streams: MANY,
            max_streams_per_owner: MANY,
        }
    }
}

const fn many() -> usize {
    MANY
}

impl File {
    /// Reads and checks a file: all that is wrong with it, one line each.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<String>> {
        let text = fs::read_to_string(path).map_err(|error| vec![format!("{}: {error}", path.display())])?;
        let mut file: Self = toml::from_str(&text).map_err(|error| {
            let (line, column) = error.span().map_or((0, 0), |span| place(&text, span.start));
            vec![format!("{}:{line}:{column}: {}", path.display(), without_values(error.message()))]
        })?;
        for (name, spec) in &mut file.channels {
            spec.label.get_or_insert_with(|| name.clone());
        }
        let problems = file.problems();
        if problems.is_empty() { Ok(file) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.engine.max_streams == 0 || self.engine.max_streams_per_owner == 0 {
            found.push("engine: max_streams and max_streams_per_owner must be at least 1".to_owned());
        }
        found.extend(
            self.admission.iter().filter_map(|admission| admission.check().err()).map(|error| chain(&error)),
        );
        if self.server.as_ref().is_some_and(|server| server.rtmps.is_some() != server.tls.is_some()) {
            found.push("server: rtmps and tls go together".to_owned());
        }
        let mut labels = BTreeMap::new();
        for (name, spec) in &self.channels {
            if let Some(other) = labels.insert(&spec.label, name) {
                found.push(format!("channels.{name}: label: channels.{other} has the same"));
            }
            found.extend(spec.check().err().map(|error| format!("channels.{name}: {}", chain(&error))));
        }
        for (name, when) in &self.schedules {
            if !self.channels.contains_key(name) {
                found.push(format!("schedules.{name}: there is no such channel"));
            }
            found.extend(when.check().err().map(|error| format!("schedules.{name}: {}", chain(&error))));
        }
        found
    }
}

/// Line and column of a byte, counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// A message without what it quotes of the file: that may be a key, and messages end up in logs. Names of fields stay.
fn without_values(message: &str) -> String {
    /// What stands before a value that is quoted otherwise than by `"`.
    const VALUES: [&str; 5] = ["integer", "floating point", "boolean", "character", "variant"];
    let mut kept = String::new();
    let mut letters = message.chars();
    while let Some(letter) = letters.next() {
        let is_value = match letter {
            '"' => true,
            '`' => VALUES.iter().any(|kind| kept.trim_end().ends_with(kind)),
            _ => false,
        };
        kept.push(letter);
        if !is_value {
            continue;
        }
        while let Some(quoted) = letters.next() {
            match quoted {
                '\\' => drop(letters.next()),
                end if end == letter => break,
                _ => {}
            }
        }
        kept.push_str("****");
        kept.push(letter);
    }
    kept
}
