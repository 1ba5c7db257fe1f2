//! A TCP proxy that can stall, reset or end its connections on command.

use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a blocking call may keep a pump from seeing a command.
const GLANCE: Duration = Duration::from_millis(10);

/// A proxy before one server. Connections pass until told otherwise; dropping it resets them.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stalled: AtomicBool,
    /// Milliseconds each way.
    delay: AtomicU64,
    refusing: AtomicBool,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    from_clients: AtomicU64,
    live: Mutex<Vec<Weak<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    dropped: AtomicBool,
    /// What clients send arrives as other bytes.
    corrupt: AtomicBool,
}

impl FaultProxy {
    /// Starts it before `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener's address");
        let state = Arc::new(State::default());
        let accepting = std::thread::spawn({
            let state = Arc::clone(&state);
            move || accept(&listener, upstream, &state)
        });
        Self { address, state, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on no byte moves in either direction; the connections stay open.
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::SeqCst);
    }

    /// Lets bytes pass again.
    pub fn resume(&self) {
        self.state.stalled.store(false, Ordering::SeqCst);
    }

    /// From now on what arrives is handed on this much later, in both directions.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a short time");
        self.state.delay.store(millis, Ordering::SeqCst);
    }

    /// Whatever else comes from the clients that are connected now arrives as other bytes.
    pub fn corrupt(&self) {
        for connection in self.state.connections() {
            connection.corrupt.store(true, Ordering::SeqCst);
        }
    }

    /// From now on a new connection is reset at once; `false` takes them again.
    pub fn refuse(&self, refuse: bool) {
        self.state.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Resets every connection, at both its ends.
    pub fn reset(&self) {
        for connection in self.state.connections() {
            for socket in [&connection.client, &connection.server] {
                // A socket that is gone already needs no reset.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
            connection.dropped.store(true, Ordering::SeqCst);
        }
    }

    /// Tells the client's side of every connection that the server has finished.
    pub fn finish(&self) {
        for connection in self.state.connections() {
            // A socket that is gone already needs no end.
            let _ = connection.client.shutdown(Shutdown::Write);
        }
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Bytes handed on to the server so far.
    pub fn bytes_from_clients(&self) -> u64 {
        self.state.from_clients.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.reset();
        // Wakes the accept call.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl State {
    fn connections(&self) -> Vec<Arc<Connection>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|connection| connection.strong_count() > 0);
        live.iter().filter_map(Weak::upgrade).collect()
    }
}

fn accept(listener: &TcpListener, upstream: SocketAddr, state: &Arc<State>) {
    while let Ok((client, _)) = listener.accept() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        if state.refusing.load(Ordering::SeqCst) {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            continue;
        }
        state.accepted.fetch_add(1, Ordering::SeqCst);
        // Held until the connection is listed: a command given once the server has seen it reaches it.
        let mut live = state.live.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a server the client sees its connection closed.
        let Ok(server) = TcpStream::connect(upstream) else { continue };
        for socket in [&client, &server] {
            let _ = socket.set_read_timeout(Some(GLANCE));
            let _ = socket.set_write_timeout(Some(GLANCE));
            let _ = socket.set_nodelay(true);
        }
        let connection = Arc::new(Connection {
            client,
            server,
            dropped: AtomicBool::new(false),
            corrupt: AtomicBool::new(false),
        });
        live.push(Arc::downgrade(&connection));
        drop(live);
        for upwards in [true, false] {
            let (connection, state) = (Arc::clone(&connection), Arc::clone(state));
            std::thread::spawn(move || pump(&connection, &state, upwards));
        }
    }
}

/// Moves bytes one way until an end closes, fails, or is told to go.
fn pump(connection: &Connection, state: &State, upwards: bool) {
    let (mut from, mut to) = match upwards {
        true => (&connection.client, &connection.server),
        false => (&connection.server, &connection.client),
    };
    let mut buffer = vec![0; 65_536];
    // What is on its way, and when it arrives.
    let mut on_its_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut is_over = false;
    let gone = || connection.dropped.load(Ordering::SeqCst);
    while !gone() {
        if state.stalled.load(Ordering::SeqCst) {
            std::thread::park_timeout(GLANCE);
            continue;
        }
        let delay = Duration::from_millis(state.delay.load(Ordering::SeqCst));
        if is_over {
            std::thread::park_timeout(GLANCE);
        } else {
            match from.read(&mut buffer) {
                Ok(0) => is_over = true,
                Ok(count) => {
                    let mut bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    if upwards && connection.corrupt.load(Ordering::SeqCst) {
                        // At the next chunk it is a header in the middle of the message that it was one of before.
                        bytes.fill(4);
                    }
                    on_its_way.push_back((Instant::now() + delay, bytes));
                }
                Err(error) if is_glance(&error) => {}
                Err(_) => break,
            }
        }
        while on_its_way.front().is_some_and(|(at, _)| *at <= Instant::now())
            && let Some((_, bytes)) = on_its_way.pop_front()
            && hand_on(&bytes, &mut to, connection, state, upwards)
        {}
        if is_over && on_its_way.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
    connection.dropped.store(true, Ordering::SeqCst);
}

/// Writes all of it, unless the connection goes; whether it did.
fn hand_on(
    mut rest: &[u8],
    to: &mut &TcpStream,
    connection: &Connection,
    state: &State,
    upwards: bool,
) -> bool {
    while !rest.is_empty() && !connection.dropped.load(Ordering::SeqCst) {
        if state.stalled.load(Ordering::SeqCst) {
            std::thread::park_timeout(GLANCE);
            continue;
        }
        match to.write(rest) {
            Ok(count) => {
                if upwards {
                    state.from_clients.fetch_add(count as u64, Ordering::SeqCst);
                }
                rest = rest.get(count..).unwrap_or_default();
            }
            Err(error) if is_glance(&error) => {}
            Err(_) => {
                connection.dropped.store(true, Ordering::SeqCst);
                return false;
            }
        }
    }
    rest.is_empty()
}

fn is_glance(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
