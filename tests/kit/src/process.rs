//! A child process with a deadline for everything, which does not outlive its test.

use super::need::skip;
use super::net::{listening, wait_until};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running peer. In a process group of its own, which dropping it kills; its output is shown if the test fails.
///
/// It ends at the latest with the thread that started it: keep it in the test that uses it, not in a static.
#[derive(Debug)]
pub struct Peer {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    logs: TempDir,
}

impl Peer {
    /// Starts a program.
    pub fn spawn(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::spawn_with(program, arguments, &[])
    }

    /// Starts a program with more environment variables than the test's own.
    pub fn spawn_with(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let logs = TempDir::new().expect("a temporary directory");
        let log = |file| File::create(logs.path().join(file)).expect("a file in the new directory");
        // If the test is killed, nobody is left to drop this value: then the kernel ends the child. `setpriv` replaces itself by
        // the program, so the child's id is the program's.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        let mut child = command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let input = child.stdin.take();
        Self { name, child, input, logs }
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// Ends its standard input.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// Everything it wrote to its standard output so far.
    pub fn output(&self) -> String {
        self.log("stdout")
    }

    /// Everything it wrote to its standard error so far.
    pub fn errors(&self) -> String {
        self.log("stderr")
    }

    fn log(&self, file: &str) -> String {
        fs::read(self.logs.path().join(file))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits for a whole line of output that starts so, and returns the rest of it.
    pub fn wait_for_line(&mut self, start: &str, deadline: Duration) -> String {
        let find = |output: &str| {
            let whole = output.rfind('\n').map_or("", |end| output.get(..end).unwrap_or_default());
            whole.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
        };
        wait_until(deadline, || find(&self.output()).is_some() || !self.is_running());
        find(&self.output())
            .unwrap_or_else(|| panic!("{} did not print {start:?}\n{}", self.name, self.report()))
    }

    /// Waits until it listens at an address of this machine.
    #[track_caller]
    pub fn wait_listening(&mut self, address: SocketAddr, deadline: Duration) {
        let in_time = wait_until(deadline, || listening(address) || !self.is_running());
        assert!(in_time && self.is_running(), "{} does not listen\n{}", self.name, self.report());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        assert!(
            wait_until(deadline, || !self.is_running()),
            "{} still runs after {deadline:?}\n{}",
            self.name,
            self.report()
        );
        self.child.wait().expect("a child that has ended")
    }

    /// Waits for its end, as long as it has not used this much time of a processor, and has not stood still for as long: what works through a
    /// file is not late because the machine has others to serve.
    fn wait_working(&mut self, limit: Duration) {
        let pid = self.child.id();
        let (mut used, mut moved) = (Duration::ZERO, Instant::now());
        let mut is_stuck = || {
            let now = processor_time(pid);
            if now > used {
                (used, moved) = (now, Instant::now());
            }
            used > limit || moved.elapsed() > limit
        };
        wait_until(limit.saturating_mul(1000), || !self.is_running() || is_stuck());
        assert!(!self.is_running(), "{} still runs after {limit:?}\n{}", self.name, self.report());
        self.wait_success(Duration::ZERO);
    }

    /// Waits for its end, which must be a good one.
    pub fn wait_success(&mut self, deadline: Duration) {
        let status = self.wait(deadline);
        assert!(status.success(), "{} ended with {status}\n{}", self.name, self.report());
    }

    /// Asks it to finish what it writes and end (as Ctrl-C would), and waits. Asks again where it does not, with growing waits:
    /// `ffmpeg` that waits for its peer takes notice of the second time only, and drops everything at the fourth. Every other
    /// time it is SIGTERM: what a shell starts in the background inherits that it ignores SIGINT, unless it handles it.
    pub fn interrupt(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        let mut again = Duration::from_secs(2);
        for signal in [Signal::INT, Signal::TERM].into_iter().cycle() {
            if self.is_running() {
                // Fails only if it has ended meanwhile.
                let _ = kill_process(self.pid(), signal);
            }
            let left = end.saturating_duration_since(Instant::now());
            if wait_until(again.min(left), || !self.is_running()) || left < again {
                break;
            }
            again *= 2;
        }
        self.wait(Duration::ZERO)
    }

    /// Freezes it: its sockets stay open, and nobody reads them.
    pub fn freeze(&self) {
        kill_process_group(self.pid(), Signal::STOP).expect("a group that is there");
    }

    /// Lets it run on.
    pub fn thaw(&self) {
        kill_process_group(self.pid(), Signal::CONT).expect("a group that is there");
    }

    /// Does something while it is frozen.
    pub fn frozen<T>(&self, act: impl FnOnce() -> T) -> T {
        self.freeze();
        let done = act();
        self.thaw();
        done
    }

    /// Kills it at once, with everything it has started.
    pub fn kill(&mut self) {
        // Fails only if the group has ended already.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// The id of its process group.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The end of all it said.
    pub fn report(&self) -> String {
        const SHOWN: usize = 4000;
        let tail =
            |text: String| text.chars().skip(text.chars().count().saturating_sub(SHOWN)).collect::<String>();
        format!(
            "--- {0}: stdout\n{1}\n--- {0}: stderr\n{2}\n---",
            self.name,
            tail(self.output()),
            tail(self.errors())
        )
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.report());
        }
    }
}

/// Runs a program to its good end and returns what it printed.
pub fn run(
    program: impl AsRef<Path>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    deadline: Duration,
) -> String {
    let mut peer = Peer::spawn(program.as_ref(), arguments);
    peer.input = None;
    peer.wait_working(deadline);
    peer.output()
}

/// What all threads of a process have used of a processor; zero where the system does not say.
fn processor_time(pid: u32) -> Duration {
    // In hundredths of a second on every Linux (USER_HZ); the name before them may have spaces (proc_pid_stat(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .map(|ticks: u64| Duration::from_millis(ticks * 10))
        .sum()
}

/// An example of the package whose test this is, which `cargo test` has built beside its tests. If it is not there, the test fails under
/// `FLOWCAST_PEERS=required`, and else says that it is skipped.
pub fn example(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.parent()?.parent()?.join("examples").join(name);
    if !program.is_file() {
        skip(
            &format!("the example {name} is not built (run cargo build --all-features --example {name})"),
            false,
        );
    }
    Some(program).filter(|program| program.is_file())
}

/// Whether a command can be run and ends well.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A new temporary directory.
pub fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

/// The files in a directory, in order of their names; none if it is not there.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}
