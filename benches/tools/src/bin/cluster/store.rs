//! A Redis server of the program's own, and what it uses.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flowcast_bench::support::{Result, round};
use flowcast_redis::{Redis, RedisOptions};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Store {
    process: Child,
    url: String,
}

/// What it had used at a moment.
pub(crate) struct Used {
    cpu: Duration,
    commands: u64,
    scripts: u64,
    at: Instant,
}

impl Store {
    pub(crate) fn start() -> Result<Self> {
        // Nobody else takes a port that was just let go, as long as there are others.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let port = port.to_string();
        let arguments = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--loglevel", "warning"];
        let process = Command::new("redis-server").args(arguments).stdout(Stdio::null()).spawn()?;
        let store = Self { process, url: format!("redis://127.0.0.1:{port}") };
        if !store.connect("bench")?.wait_until_up(PATIENCE) {
            return Err("redis-server does not answer".into());
        }
        Ok(store)
    }

    /// A connection of a node in a cluster.
    pub(crate) fn connect(&self, cluster: &str) -> Result<Redis> {
        Ok(Redis::new(&self.url, RedisOptions::default().with(|options| options.cluster = cluster.into()))?)
    }

    pub(crate) fn used(&self) -> Result<Used> {
        let stats = self.info("stats")?;
        let scripts = self.info("commandstats")?;
        let calls = |name: &str| {
            let line = scripts.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            figure(&line.replace(',', "\n"), "calls=")
        };
        Ok(Used {
            cpu: self.cpu()?,
            commands: figure(&stats, "total_commands_processed:"),
            scripts: calls("cmdstat_evalsha:") + calls("cmdstat_eval:"),
            at: Instant::now(),
        })
    }

    /// What it used since: CPU in percent of a core, commands and scripts a second, memory.
    pub(crate) fn since(&self, before: &Used) -> Result<Value> {
        let now = self.used()?;
        let took = (now.at - before.at).as_secs_f64();
        let cpu = (now.cpu - before.cpu).as_secs_f64();
        Ok(json!({
            "redis_percent_of_a_core": round(cpu / took * 100.0, 2),
            "redis_cpu_ms": round(cpu * 1e3, 1),
            "redis_commands_per_second": round((now.commands - before.commands) as f64 / took, 1),
            "redis_scripts_per_second": round((now.scripts - before.scripts) as f64 / took, 1),
            "redis_mib": round(self.memory()? as f64 / f64::from(1 << 20), 1),
        }))
    }

    /// In bytes, as it counts them.
    pub(crate) fn memory(&self) -> Result<u64> {
        Ok(figure(&self.info("memory")?, "used_memory:"))
    }

    fn info(&self, section: &str) -> Result<String> {
        let mut connection = redis::Client::open(self.url.as_str())?.get_connection_with_timeout(PATIENCE)?;
        Ok(redis::cmd("INFO").arg(section).query(&mut connection)?)
    }

    /// CPU time of its threads, to the nanosecond.
    fn cpu(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))?.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat"))?;
            sum += Duration::from_nanos(text.split_whitespace().next().unwrap_or_default().parse()?);
        }
        Ok(sum)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A number at the beginning of a line.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}
