//! Nodes, a Redis server, and what an administrator says to it.

use std::net::SocketAddr;
use std::time::Duration;

use flowcast_core::{Asker, Config, Denial, Engine, Grant, KeyStore};
use flowcast_redis::{Error, IfAway, Redis, RedisKeys, RedisKeysOptions, RedisOptions, RedisState};
pub(crate) use kit::{Need, PATIENCE, RedisServer, need, wait_until};

/// An engine with keys that it shares with others.
pub(crate) struct Node {
    pub(crate) keys: RedisKeys,
    pub(crate) redis: Redis,
    pub(crate) engine: Engine,
}

/// Short times, so that a fault shows soon.
pub(crate) fn quick() -> RedisOptions {
    RedisOptions::default().with(|options| {
        options.connect = Duration::from_secs(2);
        options.answer = Duration::from_secs(2);
        options.longest_pause = Duration::from_millis(500);
    })
}

pub(crate) fn looks_often() -> RedisKeysOptions {
    RedisKeysOptions::default().with(|options| options.refresh = Duration::from_millis(50))
}

/// Known keys hold for a second or so.
pub(crate) fn refuses() -> RedisKeysOptions {
    looks_often().with(|options| options.if_away = IfAway::Refuse)
}

impl Node {
    /// A node that knows the keys.
    pub(crate) fn start(url: &str) -> Self {
        let node = Self::with(url, quick(), looks_often());
        assert!(node.keys.wait_until_known(PATIENCE), "{:?}", node.redis.stats());
        node
    }

    pub(crate) fn with(url: &str, options: RedisOptions, keys: RedisKeysOptions) -> Self {
        let engine = Engine::new(Config::default()).unwrap();
        let redis = Redis::new(url, options).unwrap();
        let keys = RedisKeys::new(&redis, engine.keys(), keys).unwrap();
        Self { keys, redis, engine }
    }

    /// What a publisher is told.
    pub(crate) fn ask(&self, key: &str) -> Result<Grant, Denial> {
        self.ask_from(key, "192.0.2.9:1")
    }

    pub(crate) fn ask_from(&self, key: &str, peer: &str) -> Result<Grant, Denial> {
        self.keys.publisher(&key.into(), &asker(peer))
    }

    pub(crate) fn play(&self, name: &str, token: Option<&str>) -> Result<(), Denial> {
        self.keys.player(name, token.map(Into::into).as_ref(), &asker("192.0.2.9:1"))
    }

    /// Waits until a publisher is told this.
    #[track_caller]
    pub(crate) fn waits_for(&self, key: &str, wanted: Result<&str, Denial>) {
        let told = || self.ask(key).map(|grant| grant.name);
        let in_time = wait_until(PATIENCE, || told() == wanted.map(str::to_owned));
        assert!(in_time, "{:?} instead of {wanted:?}, {:?}", told(), self.redis.stats());
    }

    #[track_caller]
    pub(crate) fn waits_until(&self, state: RedisState) {
        let stats = || self.redis.stats();
        assert!(wait_until(PATIENCE, || stats().state == state), "{:?} instead of {state}", stats());
    }
}

pub(crate) fn asker(peer: &str) -> Asker<'static> {
    let peer: SocketAddr = peer.parse().unwrap();
    Asker::new(peer, "live")
}

/// The code of an error that has to be.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("it is refused").code()
}

/// Says something to the server.
pub(crate) fn say<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    try_say(server, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// Says something to a server that may be away just now, or have the connection closed.
pub(crate) fn try_say<T: redis::FromRedisValue>(
    server: &RedisServer,
    words: &[&str],
) -> redis::RedisResult<T> {
    let client = redis::Client::open(server.url())?;
    let mut connection = client.get_connection_with_timeout(PATIENCE)?;
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(&mut connection)
}
