//! The floor of fan-out: prepared bytes, written to each of many connections by one loop, per message or once a window.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use flowcast_bench::clip::Messages;
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit, millis};

/// The floor of fan-out: prepared bytes, written to each of many connections by one loop.
///
/// The first line of output is the address; `players` without --play connects to it. It ends when its standard
/// input closes.
#[derive(Parser)]
struct Cli {
    /// The clip, an FLV file; its tags are prepared as RTMP bytes once
    file: PathBuf,

    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// One write for each window of this length; 0 for one per message
    #[arg(long, value_name = "MS", default_value = "100", value_parser = millis)]
    merge: Duration,
}

fn main() -> ExitCode {
    exit(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let _ = process::raise_open_files();
    let messages = Messages::load(&cli.file).map_err(|error| format!("{}: {error}", cli.file.display()))?;
    let writes = messages.merged(cli.merge);

    let stop = Arc::new(AtomicBool::new(false));
    let ended = stop.clone();
    std::thread::spawn(move || {
        while std::io::stdin().read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        ended.store(true, Ordering::Relaxed);
    });
    let listener = TcpListener::bind(cli.listen)?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);

    let mut connections: Vec<TcpStream> = Vec::new();
    let (mut lap, mut next_look) = (Instant::now(), Instant::now());
    loop {
        for (at, bytes) in &writes {
            std::thread::sleep((lap + *at).saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            connections.retain_mut(|socket| socket.write_all(bytes).is_ok());
            let now = Instant::now();
            if now >= next_look {
                next_look = now + Duration::from_millis(100);
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(false)?;
                    socket.set_nodelay(true)?;
                    connections.push(socket);
                }
            }
        }
        lap += messages.lap;
    }
}
