//! Ports, and waiting for a condition.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Looks every few milliseconds until the condition holds. False: it did not within the deadline.
pub fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A port of 127.0.0.1 for a peer that cannot say which one it took.
///
/// Below the range outgoing connections are given ports from, so that none of those takes it before the peer does; each
/// process starts somewhere else in it and never gives the same port twice. It asks by dialling: a listener of our own, even
/// a closed one, lives on in any child that another thread is just starting, and would be taken for the peer.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(797) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            return port;
        }
    }
    panic!("no free port");
}

/// Whether somebody listens on a port of this machine. Asks the kernel: a connection would be taken for a client.
///
/// The kernel's table is read in pieces, so a socket can be missed while others come and go: wait for a yes, never for a no.
pub fn listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| fs::read_to_string(table).ok()).any(
        |table| {
            table.lines().skip(1).any(|line| {
                let mut columns = line.split_whitespace().skip(1);
                let local = columns.next().and_then(|address| address.rsplit(':').next());
                local.and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port)
                    && columns.nth(1) == Some(LISTEN)
            })
        },
    )
}

/// Waits until a file exists, holds something and no process has it open any more: a recording is then complete.
pub fn wait_closed(file: &Path, deadline: Duration) -> bool {
    wait_until(deadline, || fs::metadata(file).is_ok_and(|facts| facts.len() > 0) && !is_open(file))
}

fn is_open(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else { return false };
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes
        .flatten()
        .filter_map(|process| fs::read_dir(process.path().join("fd")).ok())
        .flat_map(|descriptors| descriptors.flatten())
        .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == file))
}
