//! What all handlers share.
//!
//! In: an engine and settings. Out: the same for every request. It lives as long as the router or one of its connections; the engine does
//! as long as that.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use flowcast_core::{Engine, StreamRef};
use flowcast_server::prometheus_client::registry::Registry;
use flowcast_server::{EncoderMetrics, EngineMetrics, Failures, StreamMetrics};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::error::Error;
use crate::events::Journal;
use crate::figures::Figures;
use crate::guard::Rates;
use crate::live::{Channels, Shelves};
use crate::metrics::Shown;
use crate::options::Options;
use crate::problem::{Outcome, Problem};
use crate::request::number;
use crate::saving::Saver;
use crate::tokens::Tokens;

/// Calls that block at a time: so many threads of the runtime are used for them.
const BLOCKING: usize = 64;
/// How long a call waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// What all handlers share. Clones are the same.
#[derive(Clone)]
pub(crate) struct House(Arc<Rooms>);

/// It.
pub(crate) struct Rooms {
    pub(crate) engine: Engine,
    pub(crate) options: Options,
    pub(crate) tokens: Tokens,
    pub(crate) failures: Mutex<Failures>,
    pub(crate) rates: Mutex<Rates>,
    pub(crate) figures: Figures,
    pub(crate) registry: Registry,
    /// Streams as FLV, and as HLS, for players.
    pub(crate) channels: Channels,
    pub(crate) shelves: Shelves,
    /// Places of clients that listen to events and figures, and of those that play.
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) players: Arc<Semaphore>,
    /// Has the program save what was changed.
    pub(crate) saver: Saver,
    blocking: Arc<Semaphore>,
    /// A self-benchmark is under way while this is taken.
    pub(crate) benchmark: Arc<Semaphore>,
    /// Becomes `true` when answers that would go on for ever are to end.
    closing: watch::Sender<bool>,
}

impl House {
    pub(crate) fn new(engine: &Engine, options: Options) -> Result<Self, Error> {
        let tokens = options.check()?;
        options.ears.journal().keep(options.event_history);
        options.ears.hear_engine(engine);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(EngineMetrics::new(engine)));
        registry.register_collector(Box::new(StreamMetrics::new(engine.watch())));
        registry.register_collector(Box::new(EncoderMetrics::new(engine)));
        for collector in &options.collectors {
            registry.register_collector(Box::new(Shown(collector.clone())));
        }
        Ok(Self(Arc::new(Rooms {
            engine: engine.clone(),
            tokens,
            failures: Mutex::new(Failures::new(options.failures.clone())),
            rates: Mutex::new(Rates::new(options.requests_per_second)),
            figures: Figures::default(),
            registry,
            channels: Channels::default(),
            shelves: Shelves::default(),
            listeners: Arc::new(Semaphore::new(options.listeners)),
            players: Arc::new(Semaphore::new(options.players)),
            saver: Saver::new(options.save.clone()),
            blocking: Arc::new(Semaphore::new(BLOCKING)),
            benchmark: Arc::new(Semaphore::new(1)),
            closing: watch::Sender::new(false),
            options,
        })))
    }

    /// Runs what blocks where it may.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Outcome<T> {
        let busy = || Problem::not_yet("BUSY", "too many calls are under way", Duration::from_secs(1));
        let turn = tokio::time::timeout(TURN, self.blocking.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let engine = self.engine.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&engine);
            drop(turn);
            done
        });
        done.await.map_err(|_| Problem::internal("the call panicked"))
    }

    /// The stream of this number, if it runs.
    pub(crate) fn stream(&self, number: &str) -> Outcome<StreamRef> {
        let found = self.engine.get(self::number(number, "stream")?);
        found.ok_or_else(|| Problem::not_found("stream"))
    }

    /// What has happened.
    pub(crate) fn journal(&self) -> &Journal {
        self.options.ears.journal()
    }

    /// Becomes `true` when answers that would go on for ever are to end.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// The same, without keeping it.
    pub(crate) fn downgrade(&self) -> Weak<Rooms> {
        Arc::downgrade(&self.0)
    }

    /// Ends those answers.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}

impl Deref for House {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.0
    }
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}
