//! The floor of fan-out: prepared bytes, written to each of many connections by one loop, per message or once a window.
#![allow(clippy::print_stdout, reason = "scripts read it")]

use flowcast_bench::support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast_bench::clip::Messages;
use flowcast_bench::process;
use flowcast_bench::support::Result;
use flowcast_bench::support::args::Args;

const USAGE: &str = "\
usage: barefan FILE.flv [--listen ADDR] [--merge MS]

  FILE.flv       the clip; its tags are prepared as RTMP bytes once
  --listen ADDR  default 127.0.0.1:0; the first line of output is the address. `players` without --play connects to it
  --merge MS     one write for each window of so many milliseconds; 0 for one per message. Default 100

It ends when its standard input closes.";

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let args = Args::parse(USAGE, &["--listen", "--merge"], &[])?;
    let [file] = args.rest() else { return Err(format!("which file?\n{USAGE}").into()) };
    let listen: SocketAddr = args.last("--listen")?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let merge = Duration::from_millis(args.last("--merge")?.unwrap_or(100));
    let _ = process::raise_open_files();
    let messages = Messages::load(file.as_ref()).map_err(|error| format!("{file}: {error}"))?;
    let writes = messages.merged(merge);

    let stop = Arc::new(AtomicBool::new(false));
    let ended = stop.clone();
    std::thread::spawn(move || {
        while std::io::stdin().read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        ended.store(true, Ordering::Relaxed);
    });
    let listener = TcpListener::bind(listen)?;
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
