//! The server under attack, in a process of its own, so that its memory and descriptors are nobody else's.
//!
//! The process is this test program again, in the role of the server: it answers each line on its standard input with its
//! figures, and ends with it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use flowcast::server::{RefusalReason, TlsIdentity};
use flowcast::{Config, Engine, RtmpServerExt};
use tempfile::TempDir;

use kit::{Authority, PATIENCE, wait_until};

/// The key of the honest publisher, and the name it is played by.
pub(crate) const KEY: &str = "studio-key";
pub(crate) const NAME: &str = "studio";

const ROLE: &str = "FLOWCAST_HOSTILE_SERVER";
/// Marks the lines that are for the parent among those of the test harness.
const MARK: &str = "> ";

/// What the server is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// `ServerOptions::max_connections`.
    pub max_connections: usize,
    /// `ServerOptions::handshake`.
    pub handshake: Duration,
    /// `ServerOptions::command`.
    pub command: Duration,
    /// Descriptors the process may have.
    pub descriptors: usize,
}

impl Setup {
    /// Short deadlines, for tests.
    pub(crate) const QUICK: Self = Self {
        handshake: Duration::from_millis(1500),
        command: Duration::from_millis(1500),
        ..Self::DEFAULTS
    };
    /// The server's own.
    pub(crate) const DEFAULTS: Self = Self {
        max_connections: 1000,
        handshake: Duration::from_secs(5),
        command: Duration::from_secs(10),
        descriptors: 8192,
    };
}

/// The key of a publisher that was let in and is not honest.
pub(crate) fn evil_key(number: usize) -> String {
    format!("evil-key-{number}")
}

/// How many of them there are.
pub(crate) const EVIL: usize = 32;

/// Before the name of a counter of refusals for one reason.
const BECAUSE: &str = "refused for ";

/// The counters of the server's statistics by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// From the debug form of `ServerStats`, so that counters which are added later are here as well, and the refusals by
    /// their reasons.
    fn parse(text: &str) -> Self {
        let inside = text.split_once('{').map_or("", |(_, rest)| rest);
        let pairs = inside.split([',', '}']).filter_map(|pair| pair.split_once(':'));
        Self(
            pairs
                .filter_map(|(name, value)| Some((name.trim().into(), value.trim().parse().ok()?)))
                .collect(),
        )
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no counter {name} in {self:?}"))
    }

    /// Connections that were refused or ended, for whatever reason.
    pub(crate) fn refusals(&self) -> u64 {
        let is_refusal = |name: &str| {
            name.starts_with(BECAUSE) || ["protocol_errors", "tls_errors", "timeouts"].contains(&name)
        };
        self.0.iter().filter(|(name, _)| is_refusal(name)).map(|(_, value)| value).sum()
    }

    /// The refusals that are not zero, to be shown.
    pub(crate) fn shown(&self) -> String {
        let faults = ["protocol_errors", "tls_errors", "timeouts", "dropped_tags", "too_fast"];
        let is_one = |name: &String| name.starts_with(BECAUSE) || faults.contains(&name.as_str());
        let loud = self.0.iter().filter(|(name, value)| **value > 0 && is_one(name));
        loud.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    }
}

/// What the kernel says of the process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Resident memory now, KiB.
    pub resident: usize,
    /// The most it ever was, KiB.
    pub peak: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// CPU time used so far, ms.
    pub cpu: u64,
}

/// The running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it speaks RTMP.
    pub address: SocketAddr,
    /// Where it speaks RTMPS.
    pub secure: SocketAddr,
    /// Whom its clients should trust.
    pub authority: Authority,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    child: Child,
    _directory: TempDir,
}

impl Server {
    pub(crate) fn start(setup: &Setup) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let authority = Authority::new("flowcast test authority");
        let (chain, key) = authority.issue(&["localhost"]);
        for (name, content) in [("chain.pem", chain), ("key.pem", key)] {
            fs::write(directory.path().join(name), content).expect("a file in the new directory");
        }
        let role = format!(
            "{ROLE}={};{};{};{}",
            directory.path().display(),
            setup.max_connections,
            setup.handshake.as_millis(),
            setup.command.as_millis()
        );
        let program = std::env::current_exe().expect("the test's own program");
        // If the test is killed, the kernel ends the server; each of these programs replaces itself by the next.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "prlimit",
            &format!("--nofile={0}:{0}", setup.descriptors),
            "env",
        ]);
        command.arg(role).arg(program).args(["--exact", "server::under_attack", "--nocapture"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("setpriv, prlimit and env");
        let pipes = child.stdin.take().zip(child.stdout.take()).expect("pipes");
        let mut output = BufReader::new(pipes.1);
        let ready = marked_line(&mut output);
        let addresses: Vec<_> = ready.split(' ').map(|text| text.parse().expect("an address")).collect();
        let &[address, secure] = addresses.as_slice() else { panic!("two addresses: {ready}") };
        let pipes = Mutex::new((pipes.0, output));
        Self { address, secure, authority, pipes, child, _directory: directory }
    }

    /// Its statistics.
    pub(crate) fn counters(&self) -> Counters {
        let mut pipes = self.pipes.lock().expect("nobody panics with it");
        let (input, output) = &mut *pipes;
        input.write_all(b"stats\n").expect("a server that runs");
        Counters::parse(&marked_line(output))
    }

    /// Waits for its statistics to be like this.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut condition: impl FnMut(&Counters) -> bool) {
        assert!(wait_until(PATIENCE, || condition(&self.counters())), "{what}: {:?}", self.counters());
    }

    /// What it uses now.
    pub(crate) fn usage(&self) -> Usage {
        let directory = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{directory}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let stat = fs::read_to_string(format!("{directory}/stat")).unwrap_or_default();
        // The name is in brackets and may have blanks; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Usage {
            resident: kib("VmRSS:"),
            peak: kib("VmHWM:"),
            descriptors: fs::read_dir(format!("{directory}/fd")).map_or(0, Iterator::count),
            cpu: ticks * 10,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn marked_line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        let count = output.read_line(&mut line).expect("a pipe");
        assert!(count > 0, "the server under attack has ended");
        if let Some((_, marked)) = line.split_once(MARK) {
            return marked.trim_end().to_owned();
        }
    }
}

/// No test of its own: what the process of the server does.
#[test]
fn under_attack() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let fields: Vec<_> = role.split(';').collect();
    let &[directory, connections, handshake, command] = fields.as_slice() else { panic!("{role}") };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let mut config = Config::default();
    config.max_streams = EVIL + 8;
    let engine = Engine::new(config).expect("the defaults work");
    engine.keys().add(NAME, KEY).expect("a usable key");
    for evil in 0..EVIL {
        engine.keys().add(&format!("evil-{evil}"), evil_key(evil)).expect("a usable key");
    }
    let file = |name: &str| format!("{directory}/{name}");
    let identity = TlsIdentity::from_pem_files(file("chain.pem"), file("key.pem")).expect("an identity");
    let server = engine
        .rtmp_server("127.0.0.1:0")
        .rtmps("127.0.0.1:0", identity)
        .options(|options| {
            options.max_connections = usize::try_from(number(connections)).expect("a small number");
            options.handshake = Duration::from_millis(number(handshake));
            options.command = Duration::from_millis(number(command));
            // What they leave behind is looked for at once.
            options.publisher_grace = Duration::ZERO;
        })
        .start()
        .expect("free ports");
    println!("\n{MARK}{} {}", server.address(), server.rtmps_address().expect("it speaks RTMPS"));
    for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
        let stats = server.stats();
        let reasons =
            RefusalReason::ALL.map(|reason| format!("{BECAUSE}{reason}: {}", stats.refused(reason)));
        println!("{MARK}{stats:?}, {}", reasons.join(", "));
    }
}
