//! The server's handle, and how it is started.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::{Engine, KeyStore};
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};

use crate::admission::{Admission, Hooks};
use crate::config::ServerOptions;
use crate::error::Error;
use crate::lobby::{House, LISTENER, Lobby, Shared, WAKE};
use crate::stats::ServerStats;

const STACK: usize = 256 << 10;

/// Adds [`rtmp_server`](RtmpServerExt::rtmp_server) to the engine.
pub trait RtmpServerExt {
    /// Describes an RTMP server that listens on `address` (`host:port`; port 0 takes a free one, the usual one is
    /// [`DEFAULT_PORT`](crate::DEFAULT_PORT)). It accepts publishers
    /// whose key is in [`Engine::keys`], under the app `live`, and players of what they publish.
    fn rtmp_server(&self, address: impl Into<String>) -> RtmpServerBuilder;
}

impl RtmpServerExt for Engine {
    fn rtmp_server(&self, address: impl Into<String>) -> RtmpServerBuilder {
        RtmpServerBuilder {
            engine: self.clone(),
            address: address.into(),
            options: ServerOptions::default(),
            store: Arc::new(self.keys().clone()),
            hooks: Hooks::default(),
        }
    }
}

/// An RTMP server that has not started.
#[derive(Debug)]
#[must_use = "a server runs only after `start`"]
pub struct RtmpServerBuilder {
    engine: Engine,
    address: String,
    options: ServerOptions,
    store: Arc<dyn KeyStore>,
    hooks: Hooks,
}

/// A running RTMP server. Dropping it stops it.
#[derive(Debug)]
#[must_use = "dropping the server stops it"]
pub struct RtmpServer {
    engine: Engine,
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl RtmpServerBuilder {
    /// Changes the settings.
    pub fn options(mut self, change: impl FnOnce(&mut ServerOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Asks `store` for keys and play tokens instead of [`Engine::keys`].
    pub fn key_store(mut self, store: impl KeyStore + 'static) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Asks `hook` before a publisher is let in, also about those whose key is unknown. It is called on the server's thread, where
    /// everybody waits: what takes time, such as asking an HTTP service, hands the [`Admission`] to another thread, which has
    /// [`ServerOptions::admission`] for its answer. A panic in it refuses. It should not hold an [`Engine`] or an [`RtmpServer`],
    /// which would then never be dropped.
    ///
    /// ```
    /// use flowcast_core::{Config, Engine};
    /// use flowcast_server::RtmpServerExt;
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let server = engine
    ///     .rtmp_server("127.0.0.1:0")
    ///     .on_publish(|admission| {
    ///         std::thread::spawn(move || match admission.query() {
    ///             "pass=friend" => admission.accept_as("guests"),
    ///             _ => admission.accept(), // as the keys say
    ///         });
    ///     })
    ///     .start()?;
    /// # drop(server);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_publish(mut self, hook: impl Fn(Admission) + Send + Sync + 'static) -> Self {
        self.hooks.publish = Some(Arc::new(hook));
        self
    }

    /// Asks `hook` before a player is let in, as [`on_publish`](Self::on_publish) does before a publisher is.
    pub fn on_play(mut self, hook: impl Fn(Admission) + Send + Sync + 'static) -> Self {
        self.hooks.play = Some(Arc::new(hook));
        self
    }

    /// Starts listening.
    ///
    /// # Errors
    ///
    /// A setting cannot work, the address is unknown or taken, or there is no thread or descriptor left.
    ///
    /// # Blocking
    ///
    /// On looking the address up, if it is a name.
    pub fn start(self) -> Result<RtmpServer, Error> {
        self.options.check()?;
        let unknown = |source| Error::Address { address: self.address.clone(), source };
        let mut addresses = self.address.to_socket_addrs().map_err(unknown)?;
        let address = addresses.next().ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))?;
        let listen = |source| Error::Listen { address, source };
        let mut listener = TcpListener::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let start = |source| Error::Start { source };
        let poll = Poll::new().map_err(start)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(start)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(start)?;
        let shared = Arc::new(Shared::new(waker));
        let house = House {
            engine: self.engine.clone(),
            options: self.options,
            store: self.store,
            hooks: self.hooks,
        };
        let lobby = Lobby::new(poll, listener, house, shared.clone());
        let thread = std::thread::Builder::new()
            .name("fc-lobby".into())
            .stack_size(STACK)
            .spawn(move || lobby.run())
            .map_err(start)?;
        Ok(RtmpServer { engine: self.engine, address, shared, thread: Some(thread) })
    }
}

impl RtmpServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its figures.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.shared.counters.snapshot()
    }

    /// Stops listening and ends the streams that were published to it, all under one deadline. Says how many streams did
    /// not end in time and were abandoned.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(mut self, deadline: Duration) -> usize {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> usize {
        let Some(thread) = self.thread.take() else { return 0 };
        let until = Instant::now() + deadline;
        self.shared.stop.store(true, Ordering::Release);
        if self.shared.desk.wake() && thread.join().is_err() {
            log::error!("the server's thread panicked");
        }
        let streams = std::mem::take(&mut *self.shared.streams.lock());
        self.engine.stop_all(&streams, until.saturating_duration_since(Instant::now())).abandoned
    }
}

impl Drop for RtmpServer {
    fn drop(&mut self) {
        let deadline = self.engine.config().force_stop_after;
        self.end(deadline);
    }
}
