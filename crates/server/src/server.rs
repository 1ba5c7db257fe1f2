//! The server's handle, and how it is started.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flowcast_core::{Ended, Engine, Events, KeyStore, ShutdownReport, Subscription};
use mio::{Poll, Waker};

use crate::admission::Admission;
use crate::config::ServerOptions;
use crate::doors::{Door, Doors};
use crate::error::Error;
use crate::event::ServerEvent;
use crate::hooks::{Done, FOREVER, Hooks, SetDone};
use crate::lobby::{DOORS, House, Lobby, Shared, WAKE};
#[cfg(feature = "metrics")]
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::stats::ServerStats;
use crate::tls::TlsIdentity;
use crate::visit::PlayerStats;

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
            secure: false,
            rtmps: None,
            identity: None,
            options: ServerOptions::default(),
            store: Arc::new(self.keys().clone()),
            is_program_store: false,
            hooks: Hooks::default(),
            relay: None,
        }
    }
}

/// An RTMP server that has not started.
#[derive(Debug)]
#[must_use = "a server runs only after `start`"]
pub struct RtmpServerBuilder {
    engine: Engine,
    address: String,
    /// `address` is for RTMPS.
    secure: bool,
    /// A further address, for RTMPS.
    rtmps: Option<String>,
    identity: Option<TlsIdentity>,
    options: ServerOptions,
    store: Arc<dyn KeyStore>,
    is_program_store: bool,
    hooks: Hooks,
    relay: Option<Relay>,
}

/// A running RTMP server. Dropping it stops it.
#[derive(Debug)]
#[must_use = "dropping the server stops it"]
pub struct RtmpServer {
    engine: Engine,
    address: SocketAddr,
    rtmps: Option<SocketAddr>,
    shared: Arc<Shared>,
    /// Set when the lobby's thread has ended.
    done: Done,
    /// It was stopped.
    is_stopped: bool,
}

impl RtmpServerBuilder {
    /// Changes the settings.
    pub fn options(mut self, change: impl FnOnce(&mut ServerOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Asks `store` for keys and play tokens instead of [`Engine::keys`]. It is called on the threads of the hooks,
    /// with their deadline; see [`on_publish`](Self::on_publish).
    pub fn key_store(mut self, store: impl KeyStore + 'static) -> Self {
        (self.store, self.is_program_store) = (Arc::new(store), true);
        self
    }

    /// Asks `hook` before a publisher is let in, also if its key is unknown. The hook is called on one of
    /// [`ServerOptions::hook_threads`] threads, where it may block, and may stop the server or the engine: only other
    /// clients that need a hook wait for it. If the answer takes long and many may ask at once, as with an HTTP
    /// service, hand the [`Admission`] to another thread. The answer has to come within [`ServerOptions::admission`].
    /// Up to 1024 calls wait for a thread; further clients are refused at once and counted
    /// ([`RefusalReason::Overload`](crate::RefusalReason::Overload)). A panic in the hook refuses the client. The
    /// hook should not hold an [`Engine`] or an [`RtmpServer`] for ever, which would then never be dropped.
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; }
    /// use flowcast::{Config, Engine, RtmpServerExt};
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

    /// Asks `hook` before a player is let in, like [`on_publish`](Self::on_publish) for publishers.
    pub fn on_play(mut self, hook: impl Fn(Admission) + Send + Sync + 'static) -> Self {
        self.hooks.play = Some(Arc::new(hook));
        self
    }

    /// Makes the server the edge of others: a name that nobody publishes here is pulled from an origin for the first player who asks for it, and
    /// given up a while after the last has left. Play tokens and [`on_play`](Self::on_play) decide before that. A publisher of the name that
    /// comes later takes the place of what is pulled, and its players stay; where the name is published already, nothing is pulled.
    pub fn relay(mut self, relay: Relay) -> Self {
        self.relay = Some(relay);
        self
    }

    /// Makes the server's address one for RTMPS: clients that do not speak TLS there are refused. Not together with
    /// [`rtmps`](Self::rtmps).
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; pub mod server { pub use flowcast_server::*; } }
    /// use flowcast::RtmpServerExt;
    /// use flowcast::server::TlsIdentity;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = flowcast::Engine::new(flowcast::Config::default())?;
    /// let identity = TlsIdentity::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// let server = engine.rtmp_server("0.0.0.0:443").tls(identity).start()?;
    /// // Later, with the renewed certificate; what is on the air goes on.
    /// server.reload_tls(TlsIdentity::from_pem_files("fullchain.pem", "privkey.pem")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.secure = true;
        self.identity = Some(identity);
        self
    }

    /// Listens for RTMPS on `address` as well; the server's own address stays plain. Not together with
    /// [`tls`](Self::tls): two servers of one engine can listen on two addresses for RTMPS.
    pub fn rtmps(mut self, address: impl Into<String>, identity: TlsIdentity) -> Self {
        self.rtmps = Some(address.into());
        self.identity = Some(identity);
        self
    }

    /// Starts listening.
    ///
    /// # Errors
    ///
    /// [`Error::Options`]: a setting cannot work, or both [`tls`](Self::tls) and [`rtmps`](Self::rtmps) were called. Else the address is
    /// unknown or taken, or there is no thread or descriptor left.
    ///
    /// # Blocking
    ///
    /// On looking up the address, if it is a name.
    pub fn start(self) -> Result<RtmpServer, Error> {
        self.options.check()?;
        let relay = self.relay.map(|relay| relay.ready(&self.options)).transpose()?;
        if self.secure && self.rtmps.is_some() {
            let reason = "either the server's own address is for RTMPS, or a further one is";
            return Err(Error::Options { name: "tls, rtmps", reason });
        }
        let (door, address) = Door::open(&self.address, self.secure)?;
        let mut doors = vec![door];
        let mut rtmps = self.secure.then_some(address);
        if let Some(further) = &self.rtmps {
            let (door, address) = Door::open(further, true)?;
            doors.push(door);
            rtmps = Some(address);
        }
        let mut doors = Doors::new(doors);
        let start = |source: std::io::Error| Error::Start { source: source.into() };
        let poll = Poll::new().map_err(start)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(start)?;
        doors.register(poll.registry(), DOORS).map_err(start)?;
        let shared = Arc::new(Shared::new(waker));
        if let Some(identity) = self.identity {
            shared.identity.set(identity);
        }
        let house = House {
            engine: self.engine.clone(),
            options: self.options,
            store: self.store,
            is_program_store: self.is_program_store,
            hooks: self.hooks,
        };
        let lobby = Lobby::new(poll, doors, (house, relay), shared.clone());
        let done = Done::default();
        let set_done = SetDone(done.clone());
        flowcast_core::spawn("fc-lobby", STACK, move || lobby.run(set_done)).map_err(start)?;
        Ok(RtmpServer { engine: self.engine, address, rtmps, shared, done, is_stopped: false })
    }
}

impl RtmpServer {
    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address it listens on for RTMPS: the one given to [`rtmps`](RtmpServerBuilder::rtmps), or the server's own
    /// if that is for RTMPS. `None` for a plain server.
    #[must_use]
    pub fn rtmps_address(&self) -> Option<SocketAddr> {
        self.rtmps
    }

    /// Presents `identity` to RTMPS clients from now on, such as a renewed certificate. Open connections go on; no
    /// session of the old identity is resumed.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] on a server that has no address for RTMPS.
    pub fn reload_tls(&self, identity: TlsIdentity) -> Result<(), Error> {
        if self.rtmps.is_none() {
            let reason = "the server has no address for RTMPS: see RtmpServerBuilder::tls and rtmps";
            return Err(Error::Options { name: "reload_tls", reason });
        }
        self.shared.identity.set(identity);
        Ok(())
    }

    /// Its figures.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.shared.counters.snapshot()
    }

    /// Its figures for Prometheus.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self.shared.counters.clone(), self.engine.keys().clone())
    }

    /// The players on the air, in no particular order; only those of one name if `name` is given. For publishers, see
    /// [`KeyRegistry::active`](flowcast_core::KeyRegistry::active).
    #[must_use]
    pub fn players(&self, name: Option<&str>) -> Vec<PlayerStats> {
        self.shared.counters.roll.players(name)
    }

    /// Its events from now on. At most 1024 wait; then the oldest is dropped and counted. For the events of the
    /// streams themselves, see [`Engine::events`].
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub use flowcast_server::*; pub mod server { pub use flowcast_server::*; } }
    /// use std::time::Duration;
    /// use flowcast::{Config, Engine, RtmpServerExt};
    /// use flowcast::server::ServerEventKind;
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let server = engine.rtmp_server("127.0.0.1:0").start()?;
    /// let events = server.events();
    /// while let Some(event) = events.next_timeout(Duration::from_millis(1)) {
    ///     if let ServerEventKind::PublishRefused { reason, .. } = event.kind {
    ///         eprintln!("{:?}: {reason}", event.peer);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn events(&self) -> Events<ServerEvent> {
        self.shared.counters.roll.bus.subscribe()
    }

    /// Calls `callback` for every event from now on, one after the other, on a thread of its own. Nothing else waits
    /// for it, so it may block, and it may stop or drop this server, streams and the engine. At most 1024 events wait
    /// for it; then the oldest is dropped and counted ([`ServerStats::missed_events`]). A panic in it is caught. It
    /// should not hold an [`Engine`] or an [`RtmpServer`] for ever, which would then never be dropped.
    /// It is called until the server is gone, unless [`Subscription::cancel`] takes it off.
    pub fn on_event(
        &self,
        callback: impl Fn(&ServerEvent) + Send + Sync + 'static,
    ) -> Subscription<ServerEvent> {
        self.shared.counters.roll.bus.on_event(Arc::new(callback))
    }

    /// The end of the server's thread, for programs that await it: after [`stop`](Self::stop), or by itself if the system lets it
    /// wait for sockets no more, which is logged. It works on any runtime, needs no thread, and keeps nothing alive.
    pub fn ended(&self) -> Ended<()> {
        Ended::new(self.done.clone())
    }

    /// Stops listening and ends the streams that were published to it, all under one deadline. The report
    /// counts these streams. May be called in any callback and hook. Callbacks get the rest
    /// of the deadline to receive the last events, unless this is called inside one. A hook that is still busy is not
    /// waited for.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    pub fn stop(mut self, deadline: Duration) -> ShutdownReport {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> ShutdownReport {
        if std::mem::replace(&mut self.is_stopped, true) {
            return ShutdownReport::default();
        }
        let until = Instant::now() + deadline.min(FOREVER);
        self.shared.stop.store(true, Ordering::Release);
        if !self.shared.desk.wake() || self.done.wait_until(Some(until)).is_none() {
            log::error!("the server's thread does not end, it is left behind");
        }
        let streams = std::mem::take(&mut *self.shared.streams.lock());
        let left = || until.saturating_duration_since(Instant::now());
        let report = self.engine.stop_all(&streams, left());
        self.shared.counters.roll.bus.wait_heard(until);
        report
    }
}

impl Drop for RtmpServer {
    fn drop(&mut self) {
        let deadline = self.engine.config().force_stop_after;
        self.end(deadline);
    }
}
