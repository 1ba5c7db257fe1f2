//! RTMP servers of others that record what is published to them.

use super::PATIENCE;
use super::need::{nginx_rtmp, peer_program, program};
use super::net::{own_address, wait_closed, wait_until};
use super::process::{Peer, directory, files, text};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// nginx with its RTMP module: takes every publisher, serves every player, records each publish to a file of its own.
#[derive(Debug)]
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    directory: TempDir,
    process: Peer,
}

impl Nginx {
    /// Starts it with these apps.
    pub fn start(apps: &[&str]) -> Self {
        Self::with_apps(&apps.iter().map(|app| (*app, String::new())).collect::<Vec<_>>())
    }

    /// Starts it with an app that also does what a directive of its RTMP module says: `push URL;`, `pull URL;`.
    pub fn relay(app: &str, directive: String) -> Self {
        Self::with_apps(&[(app, directive)])
    }

    fn with_apps(apps: &[(&str, String)]) -> Self {
        let directory = directory();
        let address = own_address();
        fs::write(directory.path().join("nginx.conf"), configuration(directory.path(), address, apps))
            .expect("a file in the new directory");
        let process = launch(directory.path(), address);
        Self { address, directory, process }
    }

    /// The URL of a stream.
    pub fn url(&self, app: &str, name: &str) -> String {
        format!("rtmp://{}/{app}/{name}", self.address)
    }

    /// Kills it: every connection is gone at once and nobody listens.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address, with the recordings of before still there.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(self.directory.path(), self.address);
    }

    /// The process, to freeze it or to see what it says.
    pub fn process(&self) -> &Peer {
        &self.process
    }

    /// The recordings of a stream so far, in the order in which they began; the last may still grow.
    pub fn recordings(&self, app: &str, name: &str) -> Vec<PathBuf> {
        let start = format!("{name}-");
        let is_its_own = |file: &PathBuf| {
            let file = file.file_name().unwrap_or_default().to_string_lossy();
            file.strip_prefix(&start)
                .and_then(|rest| rest.strip_suffix(".flv"))
                .is_some_and(|time| time.parse::<u64>().is_ok())
        };
        files(&record_directory(self.directory.path(), app)).into_iter().filter(is_its_own).collect()
    }

    /// The only recording of a stream, once its publisher has gone and nginx has closed the file.
    pub fn recording(&self, app: &str, name: &str) -> PathBuf {
        let found = || self.recordings(app, name);
        assert!(
            wait_until(PATIENCE, || found().len() == 1) && wait_closed(&found()[0], PATIENCE),
            "no finished recording of {app}/{name}: {:?}",
            found()
        );
        found().remove(0)
    }
}

fn record_directory(directory: &Path, app: &str) -> PathBuf {
    directory.join("record").join(app)
}

fn launch(directory: &Path, address: SocketAddr) -> Peer {
    let nginx = program("nginx").expect("nginx, which the test said it needs");
    let configuration = directory.join("nginx.conf");
    let mut process = Peer::spawn(&nginx, ["-p", text(directory), "-c", text(&configuration)]);
    process.wait_listening(address, PATIENCE);
    process
}

fn configuration(directory: &Path, address: SocketAddr, apps: &[(&str, String)]) -> String {
    let load = nginx_rtmp().expect("nginx's RTMP module, which the test said it needs");
    let home = directory.display();
    let mut applications = String::new();
    for (app, directive) in apps {
        let record = record_directory(directory, app);
        fs::create_dir_all(&record).expect("a directory in the new directory");
        applications += &format!(
            "application {app} {{ live on; wait_key on; record all; record_path {}; record_unique on; record_suffix .flv; {directive} }}\n",
            record.display()
        );
    }
    // One process and no daemon: the pid that was started is the pid that serves. Keyframes of more than the default of 1 MB
    // are refused, hence max_message.
    format!(
        "{load}
        daemon off;
        master_process off;
        pid {home}/nginx.pid;
        error_log stderr info;
        events {{ worker_connections 512; }}
        rtmp {{
            access_log off;
            server {{
                listen {address};
                chunk_size 4096;
                max_message 16M;
                {applications}
            }}
        }}
        "
    )
}

/// `ffmpeg -listen 1`: takes one publisher and writes it to a file.
#[derive(Debug)]
pub struct FfmpegListen {
    /// What to publish to.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it writes.
    pub file: PathBuf,
    process: Peer,
    _directory: TempDir,
}

impl FfmpegListen {
    /// Waits for a publisher of `app/name`.
    pub fn start(app: &str, name: &str) -> Self {
        let directory = directory();
        let file = directory.path().join("recorded.flv");
        let address = own_address();
        let url = format!("rtmp://{address}/{app}/{name}");
        let arguments =
            ["-nostdin", "-v", "warning", "-y", "-listen", "1", "-i", &url, "-c", "copy", text(&file)];
        let mut process = Peer::spawn(Path::new("ffmpeg"), arguments);
        process.wait_listening(address, PATIENCE);
        Self { url, address, file, process, _directory: directory }
    }

    /// Waits until the publisher has gone and the file is written.
    pub fn finish(&mut self, deadline: Duration) -> &Path {
        self.process.wait(deadline);
        &self.file
    }

    /// The process, to freeze it or to see what it says.
    pub fn process(&self) -> &Peer {
        &self.process
    }
}

/// A server of `tests/peers`: `xiu_server` or `rml_server`.
#[derive(Debug)]
pub struct PeerServer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    process: Peer,
    _directory: TempDir,
}

impl PeerServer {
    /// Starts it on a port of its own choice.
    pub fn start(name: &str) -> Self {
        let directory = directory();
        let mut process = Peer::spawn(&peer_program(name), ["--record", text(directory.path())]);
        let address = process.wait_for_line("listening ", PATIENCE);
        let port =
            address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port in its address");
        Self { port, process, _directory: directory }
    }

    /// The URL of a stream.
    pub fn url(&self, app: &str, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{app}/{name}", self.port)
    }

    /// The recording of the first publisher of a stream, which may still grow.
    pub fn growing(&mut self, app: &str, name: &str) -> PathBuf {
        self.process.wait_for_line(&format!("publish {app}/{name} "), PATIENCE).into()
    }

    /// The recording of the first publisher of a stream, once that has gone.
    pub fn recording(&mut self, app: &str, name: &str) -> PathBuf {
        let file = self.growing(app, name);
        self.process.wait_for_line(&format!("end {app}/{name} "), PATIENCE);
        file
    }

    /// The process, to freeze it or to see what it says.
    pub fn process(&self) -> &Peer {
        &self.process
    }
}

/// A Redis server that keeps its data in a directory of its own, and comes back with it.
#[derive(Debug)]
pub struct RedisServer {
    /// Where it listens.
    pub address: SocketAddr,
    directory: TempDir,
    process: Peer,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts it. Nothing is written to its disk unless it is told to.
    pub fn start() -> Self {
        Self::at(own_address(), &[])
    }

    /// Starts it at an address, with more arguments.
    pub fn at(address: SocketAddr, arguments: &[&str]) -> Self {
        let directory = directory();
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let process = launch_redis(directory.path(), address, &arguments);
        Self { address, directory, process, arguments }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Kills it: every connection is gone at once and nobody listens.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address, with what it has saved.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch_redis(self.directory.path(), self.address, &self.arguments);
    }

    /// The process, to freeze it or to see what it says.
    pub fn process(&self) -> &Peer {
        &self.process
    }
}

fn launch_redis(directory: &Path, address: SocketAddr, arguments: &[String]) -> Peer {
    let server = program("redis-server").expect("redis-server, which the test said it needs");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut own = vec!["--bind", &host, "--port", &port, "--dir", text(directory), "--save", ""];
    own.extend(arguments.iter().map(String::as_str));
    let mut process = Peer::spawn(&server, own);
    process.wait_listening(address, PATIENCE);
    process
}
