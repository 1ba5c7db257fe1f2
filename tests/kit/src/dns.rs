//! A name server that takes every question and does not answer, unless it is told to.

use super::process::{Peer, directory, text};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;

/// The server. Programs started through it look names up there and nowhere else.
#[derive(Debug)]
pub struct SilentDns {
    socket: UdpSocket,
    directory: TempDir,
}

impl SilentDns {
    /// Whether this machine lets a test do so: it takes root.
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root() && bind(Ipv4Addr::new(127, 53, 53, 53)).is_some()
    }

    /// Starts it, on an address of 127/8 of its own.
    pub fn start() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let process = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 128 | process[2], process[3], NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = bind(address).expect("the name server's port, which the test said it needs");
        let directory = directory();
        fs::write(directory.path().join("resolv.conf"), format!("nameserver {address}\n"))
            .expect("a file in the new directory");
        Self { socket, directory }
    }

    /// Starts a program that asks this server for every name that is not in `/etc/hosts`.
    pub fn spawn(&self, program: &Path, arguments: &[&str]) -> Peer {
        const INSIDE: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;
        let configuration = self.directory.path().join("resolv.conf");
        let shell =
            ["--mount", "--propagation", "private", "sh", "-c", INSIDE, text(&configuration), text(program)];
        Peer::spawn(Path::new("unshare"), shell.iter().chain(arguments))
    }

    /// Answers the questions that have come in, at last: every host has the address 127.0.0.1 and no other.
    pub fn answer(&self) {
        self.answer_with(|_| Ipv4Addr::LOCALHOST);
    }

    /// Answers the questions that have come in: a host has the address that is given for its name, each time it is asked for.
    pub fn answer_with(&self, mut place: impl FnMut(&str) -> Ipv4Addr) {
        let mut question = [0; 512];
        while let Ok((length, from)) = self.socket.recv_from(&mut question) {
            if let Some(answer) = question.get(..length).and_then(|question| answer(question, &mut place)) {
                // Whoever does not wait any more needs no answer.
                let _ = self.socket.send_to(&answer, from);
            }
        }
    }

    /// Whether a question has come in since the last call.
    pub fn was_asked(&self) -> bool {
        let mut question = [0; 512];
        std::iter::from_fn(|| self.socket.recv(&mut question).ok()).count() > 0
    }
}

fn bind(address: Ipv4Addr) -> Option<UdpSocket> {
    const DNS: u16 = 53;
    let socket = UdpSocket::bind((address, DNS)).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// The answer to a question for addresses, as in RFC 1035 section 4.
fn answer(message: &[u8], place: &mut impl FnMut(&str) -> Ipv4Addr) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const A: &[u8] = &[0, 1];
    let name = message.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = message.get(HEADER..HEADER + name + 4)?;
    let is_v4 = question.get(name..name + 2)? == A;
    let mut answer = message.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
    answer.extend(question);
    if is_v4 {
        answer.extend([0xC0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(place(&host(question)).octets());
    }
    Some(answer)
}

/// The name in a question, with dots.
fn host(question: &[u8]) -> String {
    let (mut parts, mut rest) = (Vec::new(), question);
    while let Some((&length, after)) = rest.split_first() {
        let Some((part, next)) = after.split_at_checked(length.into()).filter(|_| length > 0) else { break };
        parts.push(String::from_utf8_lossy(part));
        rest = next;
    }
    parts.join(".")
}
