//! What sharing costs: look-ups of stream keys from memory, what nodes ask of Redis by themselves, and what it uses for that.
#![allow(clippy::print_stdout, reason = "scripts read it")]

mod keys;
mod nodes;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use flowcast_bench::support::{Result, exit, seconds};
use serde_json::Value;

use self::store::Store;

/// What sharing costs: look-ups of stream keys from memory, what nodes ask of Redis by themselves, and what it uses for that.
///
/// Starts `redis-server` on a free port of 127.0.0.1. Prints one JSON object a line.
#[derive(Parser)]
struct Cli {
    /// Stream keys that are shared
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    keys: usize,

    /// Look-ups a second
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    lookups: u32,

    /// Nodes whose heartbeats are sent
    #[arg(long, value_name = "N", default_value_t = 1000)]
    nodes: usize,

    /// Leases that are held
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    leases: usize,

    /// How long each is measured
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    seconds: Duration,

    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let store = Store::start()?;
    keys::measure(&store, cli)?;
    nodes::heartbeats(&store, cli)?;
    nodes::leases(&store, cli)
}

fn tell(what: &str, mut figures: Value) {
    figures["what"] = what.into();
    println!("{figures}");
}
