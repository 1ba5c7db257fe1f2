//! A side of a comparison, flowcast or the floor, in a process of its own: what the two processes tell each other.
//!
//! In: lines on the child's standard input, each of which asks for its figures; it ends with its input. Out: lines on its
//! standard output: `address A`, `settings TEXT`, `ready`, then a line of figures for each that was asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::case::{Case, Kind};

const SIDE: &str = "FLOWCAST_BENCH_SIDE";
/// How long a side may take to be on the air, and to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Floor,
    Flowcast,
}

impl Which {
    pub(crate) const BOTH: [Self; 2] = [Self::Floor, Self::Flowcast];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Flowcast => "flowcast",
        }
    }
}

/// What a child is to do.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) which: Which,
    pub(crate) case: Case,
    /// Where to send to, if the kind sends.
    pub(crate) to: SocketAddr,
    /// Where clips, reels and certificates are.
    pub(crate) work: PathBuf,
}

impl Job {
    /// The job of this process, if it is a child.
    pub(crate) fn of_this_process() -> Option<Result<Self>> {
        std::env::var(SIDE).ok().map(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut words = text.splitn(5, ' ');
        let mut next = || words.next().ok_or("half a job");
        let which = if next()? == Which::Floor.name() { Which::Floor } else { Which::Flowcast };
        let kind = Kind::by_name(next()?).ok_or("no such kind")?;
        let case = Case { kind, streams: next()?.parse()? };
        Ok(Self { which, case, to: next()?.parse()?, work: next()?.into() })
    }

    fn to_text(&self) -> String {
        let Self { which, case, to, work } = self;
        format!("{} {} {} {to} {}", which.name(), case.kind.name(), case.streams, work.display())
    }

    pub(crate) fn clip(&self) -> PathBuf {
        self.work.join("clip.mp4")
    }

    /// The same packets as FLV.
    pub(crate) fn tags(&self) -> PathBuf {
        self.work.join("clip.flv")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        authority(&self.work)
    }

    /// A directory of its own.
    pub(crate) fn directory(&self) -> PathBuf {
        self.work.join(std::process::id().to_string())
    }
}

pub(crate) fn authority(work: &Path) -> PathBuf {
    work.join("authority.pem")
}

/// What a side has done since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) cpu: Duration,
    /// Seconds of media, of all streams or players together.
    pub(crate) seconds: f64,
    /// Bytes handed to the kernel; 0 where nothing is sent.
    pub(crate) bytes: u64,
    /// Tags dropped and connections lost.
    pub(crate) lost: u64,
}

impl Figures {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let mut next = || words.next().ok_or_else(|| format!("no figures: {line:?}"));
        Ok(Self {
            cpu: Duration::from_nanos(next()?.parse()?),
            seconds: next()?.parse()?,
            bytes: next()?.parse()?,
            lost: next()?.parse()?,
        })
    }

    /// What was added since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            seconds: self.seconds - before.seconds,
            bytes: self.bytes.saturating_sub(before.bytes),
            lost: self.lost.saturating_sub(before.lost),
        }
    }

    /// CPU time per second of one stream.
    pub(crate) fn cost(self) -> Duration {
        self.cpu.div_f64(self.seconds.max(1e-3))
    }
}

/// The child's part: tells something of itself.
pub(crate) fn tell(what: &str, value: impl std::fmt::Display) {
    println!("{what} {value}");
}

/// The child's part: says that it is on the air, then gives figures until its input ends.
pub(crate) fn serve(mut figures: impl FnMut() -> Figures) {
    println!("ready");
    for _ in std::io::stdin().lines().map_while(std::result::Result::ok) {
        let Figures { cpu, seconds, bytes, lost } = figures();
        println!("{} {seconds:.6} {bytes} {lost}", cpu.as_nanos());
    }
}

/// The child's part: waits for something that is not told, with a deadline.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The parent's end of a child.
#[derive(Debug)]
pub(crate) struct Side {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it encodes with.
    pub(crate) settings: Option<String>,
}

impl Side {
    pub(crate) fn start(job: &Job) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(SIDE, job.to_text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take().ok_or("no output")?);
        Ok(Self { process, input, output: BufReader::new(output), settings: None })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("a side has ended: {}", self.process.wait()?).into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Where it listens.
    pub(crate) fn address(&mut self) -> Result<SocketAddr> {
        let line = self.line()?;
        Ok(line.strip_prefix("address ").ok_or_else(|| format!("no address: {line:?}"))?.parse()?)
    }

    /// Waits until it is on the air.
    pub(crate) fn ready(&mut self) -> Result<()> {
        loop {
            let line = self.line()?;
            match line.split_once(' ') {
                Some(("settings", settings)) => self.settings = Some(settings.to_owned()),
                _ if line == "ready" => return Ok(()),
                _ => return Err(format!("what is {line:?}?").into()),
            }
        }
    }

    pub(crate) fn figures(&mut self) -> Result<Figures> {
        writeln!(self.input.as_mut().ok_or("no input")?)?;
        Figures::parse(&self.line()?)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
