//! Name lookups, each with a deadline the system's resolver does not keep.
//!
//! `getaddrinfo` cannot be interrupted: with a name server that never answers it blocks for many seconds. Lookups run on
//! threads of their own, one per host at a time; a caller waits no longer than its own deadline.

use crate::sys::spawn;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use parking_lot::Mutex;

/// Lookups that run at once at most; more wait their turn.
const MAX_THREADS: usize = 16;
const STACK: usize = 512 << 10;

type Answer = Arc<io::Result<Vec<SocketAddr>>>;
type Reply = Box<dyn FnOnce(Answer) + Send>;

#[derive(Default)]
struct Lookups {
    waiting: HashMap<(String, u16), Vec<Reply>>,
    queued: std::collections::VecDeque<(String, u16)>,
    threads: usize,
}

/// Looks names up.
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    lookups: Arc<Mutex<Lookups>>,
}

impl Resolver {
    /// Looks `host` up and gives the answer to `reply`, on this thread if it is an address already. Nothing is cached: a
    /// platform that moves its ingest is found at its new address with the next connection.
    pub(crate) fn resolve(&self, host: &str, port: u16, reply: Reply) {
        if let Ok(address) = host.parse::<IpAddr>() {
            return reply(Arc::new(Ok(vec![SocketAddr::new(address, port)])));
        }
        let mut lookups = self.lookups.lock();
        let key = (host.to_owned(), port);
        let is_new = !lookups.waiting.contains_key(&key);
        lookups.waiting.entry(key.clone()).or_default().push(reply);
        if !is_new {
            return;
        }
        lookups.queued.push_back(key);
        if lookups.threads >= MAX_THREADS {
            return;
        }
        lookups.threads += 1;
        let shared = self.lookups.clone();
        let thread = spawn("fc-dns", STACK, move || run(&shared));
        if let Err(error) = thread {
            lookups.threads -= 1;
            if lookups.threads == 0 {
                // Nobody is left who would come to it.
                let replies = std::mem::take(&mut lookups.waiting);
                lookups.queued.clear();
                drop(lookups);
                let answer: Answer = Arc::new(Err(error));
                replies.into_values().flatten().for_each(|reply| reply(answer.clone()));
            }
        }
    }
}

fn run(shared: &Mutex<Lookups>) {
    loop {
        let key = {
            let mut lookups = shared.lock();
            let Some(key) = lookups.queued.pop_front() else {
                lookups.threads -= 1;
                return;
            };
            key
        };
        let answer = (key.0.as_str(), key.1).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let answer: Answer = Arc::new(match answer {
            Ok(addresses) if addresses.is_empty() => {
                Err(io::Error::new(io::ErrorKind::NotFound, "no address"))
            }
            other => other,
        });
        let replies = shared.lock().waiting.remove(&key).unwrap_or_default();
        for reply in replies {
            reply(answer.clone());
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(resolver: &Resolver, host: &str) -> Answer {
        let (send, receive) = crossbeam_channel::bounded(1);
        resolver.resolve(host, 1935, Box::new(move |answer| drop(send.send(answer))));
        receive.recv().expect("every lookup is answered")
    }

    #[test]
    fn addresses_are_taken_as_they_are_and_localhost_is_found() {
        let resolver = Resolver::default();
        for (host, loopback) in [("127.0.0.1", true), ("::1", true), ("localhost", true), ("10.1.2.3", false)]
        {
            let answer = ask(&resolver, host);
            let addresses = answer.as_ref().as_ref().expect("it needs no name server");
            assert_eq!(addresses[0].ip().is_loopback(), loopback);
            assert_eq!(addresses[0].port(), 1935);
        }
    }

    #[test]
    fn a_name_that_cannot_be_is_an_error_and_threads_end() {
        let resolver = Resolver::default();
        assert!(ask(&resolver, "no such host").is_err());
        while resolver.lookups.lock().threads > 0 {
            std::thread::yield_now();
        }
        assert!(resolver.lookups.lock().waiting.is_empty());
    }
}
