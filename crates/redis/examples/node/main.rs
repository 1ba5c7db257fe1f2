//! A node of a cluster: it runs streams of a list in Redis, serves them to players wherever they run, and hands everything over before it ends. The same program
//! changes the list and shows it.

mod list;
mod run;

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use flowcast_redis::{
    DesiredOptions, DesiredStreams, LeaseIfAway, LeaseOptions, Leases, Redis, RedisOptions,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long Redis may take to be there.
const PATIENCE: Duration = Duration::from_secs(5);

/// A node of a cluster that shares streams through Redis: any node with room runs a stream of the list, and another takes it over when that one dies.
#[derive(Parser)]
#[command(max_term_width = 110, after_help = EXAMPLE)]
struct Cli {
    /// Redis or Valkey: redis://[USER:PASSWORD@]HOST[:PORT], or rediss:// for TLS. Without it, REDIS_URL says where
    #[arg(long, value_name = "URL", global = true)]
    redis: Option<String>,

    /// Nodes with the same name share a list
    #[arg(long, value_name = "NAME", default_value = "flowcast", global = true)]
    cluster: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run streams, until Ctrl-C: then all of them are handed to other nodes, one by one. A second Ctrl-C ends those that are left
    Run(Node),
    /// Have a stream run, or change it. FILE is a stream as data, in TOML: see docs/jobs/cluster.md
    Put {
        /// The name of the stream
        name: String,
        /// The file
        file: PathBuf,
        /// A label that a node must have to run it. May be given several times
        #[arg(long, value_name = "LABEL")]
        label: Vec<String>,
    },
    /// Have a stream run no more
    Remove {
        /// The name of the stream
        name: String,
    },
    /// Show nodes and streams
    List,
}

#[derive(Args)]
struct Node {
    /// The name of this node
    #[arg(long)]
    name: String,

    /// Serve players at this address; port 0 takes a free one. What runs on another node is pulled from there
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1935")]
    listen: String,

    /// Where other nodes reach that server: rtmp://HOST[:PORT]/live. Default: the address it listens at
    #[arg(long, value_name = "URL")]
    address: Option<String>,

    /// What this node has that others lack. May be given several times
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,

    /// Most streams at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,

    /// Take streams only as far as CPU and memory are left for them, as measured
    #[arg(long)]
    measured: bool,

    /// Hand over for this many seconds at most, at the end
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    drain: u64,
}

const EXAMPLE: &str = "\
CLUSTER_SECRET has what streams are encrypted with in Redis: 16 bytes or more, the same everywhere. Without it, streams with keys in
them are refused.

Example:
  export REDIS_URL=redis://127.0.0.1 CLUSTER_SECRET=$(openssl rand -hex 32)
  node run --name node-1 --listen 0.0.0.0:1935 --address rtmp://10.0.0.5:1935/live
  node put show show.toml
  node list";

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let url = cli.redis.clone().or_else(|| std::env::var("REDIS_URL").ok());
    let url = url.ok_or("where is Redis? Give --redis URL, or set REDIS_URL")?;
    let redis =
        Redis::new(&url, RedisOptions::default().with(|options| options.cluster = cli.cluster.clone()))?;
    if !redis.wait_until_up(PATIENCE) {
        match cli.command {
            Command::Run(_) => {
                note(format_args!("{redis:?} is {}; streams begin once it is there", redis.stats().state))
            }
            _ => return Err(format!("{redis:?} is {}", redis.stats().state).into()),
        }
    }
    match &cli.command {
        Command::Run(node) => run::run(&redis, node),
        Command::Put { name, file, label } => list::put(&desired(&redis, "control")?, name, file, label),
        Command::Remove { name } => list::remove(&desired(&redis, "control")?, name),
        Command::List => list::show(&redis, &desired(&redis, "control")?),
    }
}

/// The list, as a node of this name sees it.
fn desired(redis: &Redis, node: &str) -> Result<DesiredStreams> {
    let options = LeaseOptions::default().with(|options| options.if_away = LeaseIfAway::Stop);
    let leases = Leases::new(redis, node, options)?;
    let secret = std::env::var("CLUSTER_SECRET").ok();
    let options = DesiredOptions::default().with(|options| options.secret = secret.map(Into::into));
    Ok(DesiredStreams::new(redis, &leases, options)?)
}

/// Prints a line of the result. Whoever reads it may have gone.
fn out(text: impl Display) -> Result<()> {
    match writeln!(stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Tells a person something beside the result.
fn note(text: impl Display) {
    // There is nowhere else to say that it cannot be said.
    let _ = writeln!(stderr().lock(), "{text}");
}
