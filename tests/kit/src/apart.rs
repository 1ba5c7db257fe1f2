//! Tests in a network, or on a clock, of their own: what is done to it happens to nobody else on the machine.
//!
//! In: one test of the program it is in, with a role. Out: the same test in a process of its own, in namespaces that end with it.

use super::need::program;
use super::process::{Peer, succeeds};
use super::role::{ran, role_arguments};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What a process has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// The network: a loopback interface, on which [`nft`] and [`tc`] work.
    Network,
    /// The time since the machine was started, which is this as the process starts.
    Uptime(Duration),
}

impl Apart {
    /// Whether the programs are there that give a test what it wants; whether it may have it is another question.
    pub(crate) fn has_programs() -> bool {
        ["unshare", "ip", "nft", "tc"].iter().all(|name| program(name).is_some())
    }

    /// Whether this machine lets a test have it.
    pub(crate) fn is_possible(self) -> bool {
        const TRY: &str = "ip link set lo up && nft add table inet t && \
                           tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 50ms";
        let mut command = Command::new("unshare");
        command.args(self.options());
        succeeds(match self {
            Self::Network => command.args(["sh", "-c", TRY]),
            Self::Uptime(_) => command.arg("true"),
        })
    }

    fn options(self) -> Vec<String> {
        let own: &[&str] = match self {
            Self::Network => &["--net"],
            Self::Uptime(_) => &["--time", "--monotonic"],
        };
        let offset = match self {
            Self::Network => None,
            Self::Uptime(wanted) => {
                let seconds = i64::try_from(wanted.as_secs()).expect("a time of this machine");
                Some((seconds - uptime().tv_sec).to_string())
            }
        };
        ["--map-root-user"].iter().chain(own).map(|option| (*option).to_owned()).chain(offset).collect()
    }

    /// Runs one test of this program with a role, to its good end; what it printed.
    pub fn run(self, role: &str, test: &str, deadline: Duration) -> String {
        const INSIDE: &str = r#"ip link set lo mtu 1500 up 2>/dev/null; exec "$@""#;
        let (program, arguments) = role_arguments(role, test);
        let shell = ["sh", "-c", INSIDE, "sh"].map(str::to_owned);
        let program = program.to_str().expect("a path in UTF-8").to_owned();
        let all = self.options().into_iter().chain(shell).chain([program]).chain(arguments);
        let mut child = Peer::spawn(Path::new("unshare"), all);
        child.wait_success(deadline);
        ran(child.output())
    }
}

/// How long the machine has been running, as far as this process knows.
pub fn uptime() -> rustix::time::Timespec {
    clock_gettime(ClockId::Monotonic)
}

/// Does something to what passes through the network of this process, or says what was done; what it printed.
#[track_caller]
pub fn nft(command: &str) -> String {
    let done = Command::new("nft").arg(command).output().expect("it was there when the test asked for it");
    assert!(done.status.success(), "nft {command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Shapes what passes through the network of this process.
#[track_caller]
pub fn tc(arguments: &str) {
    assert!(succeeds(Command::new("tc").args(arguments.split(' '))), "tc {arguments}");
}
