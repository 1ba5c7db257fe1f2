//! Addresses, and waiting for a condition.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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

/// Tries every few milliseconds until something is there. `None`: nothing was within the deadline.
pub fn wait_for<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let mut found = None;
    wait_until(deadline, || {
        found = look();
        found.is_some()
    });
    found
}

/// An address of this machine that nobody else is given, in this test program or in any that runs beside it.
///
/// For a server that goes away and listens again at the same place, for a peer that cannot say which port it took, and for an
/// address where nobody listens: a port of 127.0.0.1 that was let go may be taken by any other test, for a listener or for the
/// near end of a connection. The kernel answers on all of 127/8 and connects from 127.0.0.1, so that the process's own address
/// in it meets nobody. The ports are below those the kernel hands out, which a listener on every address may have.
pub fn own_address() -> SocketAddr {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // 127.64.0.0/10 has 22 bits for hosts, as a process id has.
    let host = Ipv4Addr::new(127, 64, 0, 0) | Ipv4Addr::from_bits(std::process::id() & 0x3f_ffff);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < COUNT, "no address is left");
        let address = SocketAddr::from((host, FIRST + number));
        // A server of this machine that listens on every address. It asks by dialling: a listener of our own, even a closed
        // one, lives on in any child that another thread is just starting, and would be taken for the peer.
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
}

/// Whether somebody listens at an address of this machine. Asks the kernel: a connection would be taken for a client.
///
/// The kernel's table is read in pieces, so a socket can be missed while others come and go: wait for a yes, never for a no.
pub fn listening(address: SocketAddr) -> bool {
    const LISTEN: &str = "0A";
    let SocketAddr::V4(address) = address else { panic!("only IPv4 is looked for: {address}") };
    let own = format!("{:08X}", u32::from_ne_bytes(address.ip().octets()));
    let (port, every_v6) = (format!("{:04X}", address.port()), "0".repeat(32));
    let hosts = [own.as_str(), "00000000", every_v6.as_str()];
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| fs::read_to_string(table).ok()).any(
        |table| {
            table.lines().skip(1).any(|line| {
                let mut columns = line.split_whitespace().skip(1);
                let local = columns.next().and_then(|local| local.split_once(':'));
                local.is_some_and(|(host, at)| hosts.contains(&host) && at == port)
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
