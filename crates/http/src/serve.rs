//! A server for programs that have none: its own runtime, on threads of its own.
//!
//! In: an address. Out: connections, each with deadlines, at most so many in all and from one address. Everything here is bounded: what a client
//! sends before its request is complete, how long it takes for that, and how long the kernel waits for one that is gone.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use flowcast_core::Engine;
use flowcast_server::Origin;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tower::ServiceExt;

use crate::error::Error;
use crate::house::House;
use crate::options::Options;
use crate::router::routed;

/// Threads that answer; what blocks has others, as many as are needed.
const THREADS: usize = 2;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(20);
/// Bytes of a head, and of what is read ahead.
const BUFFER: usize = 64 << 10;
/// How long the kernel waits for a client that acknowledges nothing.
const GONE: Duration = Duration::from_secs(30);
/// How long it is waited after the kernel had no descriptor for a connection.
const SHORT: Duration = Duration::from_millis(100);

/// Serves an engine on `address` (`host:port`; port 0 takes a free one), with the same places as [`router`](crate::router). It listens when this returns.
///
/// HTTP/1.1 without TLS: put a proxy in front of it for that, and name it in [`Options::proxies`].
///
/// ```no_run
/// use flowcast_core::{Config, Engine};
/// use flowcast_http::{Options, Scope, Token, serve};
///
/// let engine = Engine::new(Config::default())?;
/// let secret = Token::random()?;
/// let token = Token::new("me", &secret, [Scope::Operate, Scope::Keys]);
/// let server = serve(&engine, "127.0.0.1:8080", Options::default().with(|options| options.tokens.push(token)))?;
/// println!("http://{}, token {}", server.address(), secret.reveal());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Options`] for settings that cannot work, also for [`Options::open_to_this_machine`] on an address that others reach;
/// [`Error::Address`], [`Error::Listen`], [`Error::Start`].
///
/// # Blocking
///
/// On looking up the address, if it is a name.
pub fn serve(engine: &Engine, address: &str, options: Options) -> Result<HttpServer, Error> {
    let unknown =
        |source: std::io::Error| Error::Address { address: address.to_owned(), source: source.into() };
    let mut addresses = address.to_socket_addrs().map_err(unknown)?;
    let at = addresses.next().ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?;
    if options.open_to_this_machine && !at.ip().to_canonical().is_loopback() {
        let reason = format!("{at} is reached by others: it takes tokens");
        return Err(Error::options("open_to_this_machine", reason));
    }
    let house = House::new(engine, options)?;
    let listen = |source: std::io::Error| Error::Listen { address: at, source: source.into() };
    let listener = StdListener::bind(at).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let start = |source: std::io::Error| Error::Start { source: source.into() };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("fc-http")
        .enable_all()
        .build()
        .map_err(start)?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener).map_err(start)?
    };
    let (stop, stopped) = oneshot::channel();
    let (ended, is_ended) = mpsc::sync_channel(1);
    let shared = house.clone();
    let run = move || {
        runtime.block_on(run(shared, listener, stopped));
        // Calls that block are left behind: an engine has deadlines for them.
        runtime.shutdown_background();
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("fc-http".to_owned()).spawn(run).map_err(start)?;
    Ok(HttpServer { address: bound, house, stop: Some(stop), is_ended })
}

/// A running HTTP server. Dropping it stops it.
#[must_use = "dropping the server stops it"]
pub struct HttpServer {
    address: SocketAddr,
    house: House,
    /// Says within which time connections are to end.
    stop: Option<oneshot::Sender<Duration>>,
    is_ended: mpsc::Receiver<()>,
}

impl HttpServer {
    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, ends answers that would go on for ever, and lets the others be completed. Streams go on. `false` if some were not
    /// complete by the deadline; they are cut off.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`, and a moment more.
    pub fn stop(mut self, deadline: Duration) -> bool {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> bool {
        let Some(stop) = self.stop.take() else { return true };
        self.house.close();
        let _ = stop.send(deadline);
        self.is_ended.recv_timeout(deadline + Duration::from_secs(1)).is_ok()
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.end(Duration::from_secs(1));
    }
}

/// Takes connections until it is to stop.
async fn run(house: House, listener: TcpListener, mut stopped: oneshot::Receiver<Duration>) {
    let crowd = Crowd::new(&house.options);
    let router = routed(house);
    let graceful = GracefulShutdown::new();
    let deadline = loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            deadline = &mut stopped => break deadline.unwrap_or_default(),
        };
        match accepted {
            Ok((socket, peer)) => {
                // Who is too many is hung up on.
                if let Some(place) = crowd.enter(peer) {
                    talk(socket, peer, router.clone(), &graceful, place);
                }
            }
            Err(error) => {
                log::warn!("no connection for HTTP: {error}");
                tokio::time::sleep(SHORT).await;
            }
        }
    };
    drop(listener);
    let _ = tokio::time::timeout(deadline, graceful.shutdown()).await;
}

/// Answers what comes on a connection.
fn talk(socket: TcpStream, peer: SocketAddr, router: Router, graceful: &GracefulShutdown, place: Place) {
    let settings = SockRef::from(&socket);
    // Where the system does not know one of them, it goes without.
    let _ = settings.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = settings.set_tcp_user_timeout(Some(GONE));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // How it ended is the client's affair.
        let _ = connection.await;
        drop(place);
    });
}

/// Who is connected.
struct Crowd {
    places: Arc<Semaphore>,
    most: usize,
    of: Arc<Mutex<HashMap<Origin, usize>>>,
}

/// The place of a connection.
struct Place {
    origin: Origin,
    of: Arc<Mutex<HashMap<Origin, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Crowd {
    fn new(options: &Options) -> Self {
        Self {
            places: Arc::new(Semaphore::new(options.connections)),
            most: options.connections_per_address,
            of: Arc::default(),
        }
    }

    fn enter(&self, peer: SocketAddr) -> Option<Place> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let origin = Origin::of(peer.ip());
        let mut of = self.of.lock();
        let count = of.entry(origin).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { origin, of: self.of.clone(), _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.of.lock();
        if let Some(count) = of.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_address_and_given_back() {
        let options = Options::default().with(|options| {
            (options.connections, options.connections_per_address) = (3, 2);
        });
        let crowd = Crowd::new(&options);
        let at = |address: &str| SocketAddr::new(address.parse().expect("an address"), 5);
        let (one, two) = (crowd.enter(at("192.0.2.1")), crowd.enter(at("192.0.2.1")));
        assert!(one.is_some() && two.is_some() && crowd.enter(at("192.0.2.1")).is_none());
        let three = crowd.enter(at("192.0.2.2"));
        assert!(three.is_some() && crowd.enter(at("192.0.2.3")).is_none(), "all places are taken");
        drop((one, two));
        assert!(crowd.enter(at("192.0.2.1")).is_some());
        drop(three);
        assert!(crowd.of.lock().is_empty());
    }
}
