//! The connection, on the link's thread: made, kept, given up, made again.
//!
//! In: commands, each with a deadline. Out: answers, or what stood in the way; and the state for others to see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};
use ring::rand::SecureRandom;

use super::server::Server;
use super::state::{Board, RedisState};
use super::trouble::Trouble;
use crate::error::Error;
use crate::options::RedisOptions;

/// The pause after the first attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// While the server takes no changes, it is asked this often whether it does again.
const PROBE: Duration = Duration::from_secs(1);
/// A server that nobody has asked anything for this long is asked whether it is there.
const BEAT: Duration = Duration::from_secs(5);

/// What a command does, as far as it tells how it stands with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It reads, or changes what takes no memory: a full server does it, too.
    Little,
    /// It needs a server that takes changes, and has memory for them.
    Writes,
}

/// The connection and what is known of it.
pub(crate) struct Worker {
    server: Server,
    options: RedisOptions,
    board: Arc<Board>,
    connection: Option<Connection>,
    /// The next attempt to connect is not before this.
    not_before: Instant,
    pause: Duration,
    /// What the last attempt ended with.
    last: Error,
    probe_at: Instant,
    beat_at: Instant,
}

impl Worker {
    pub(super) fn new(server: Server, options: RedisOptions, board: Arc<Board>) -> Self {
        let last = Error::Away { server: server.shown.clone(), reason: "not connected yet".into() };
        let now = Instant::now();
        Self {
            server,
            options,
            board,
            connection: None,
            not_before: now,
            pause: FIRST_PAUSE,
            last,
            probe_at: now,
            beat_at: now,
        }
    }

    /// The server, without its password.
    pub(crate) fn shown(&self) -> Arc<str> {
        self.server.shown.clone()
    }

    /// What begins all keys of the cluster. In one slot, if the server has any.
    pub(crate) fn prefix(&self) -> String {
        prefix(&self.options)
    }

    /// Asks the server. The last command may begin until `until`; its answer has to come within [`RedisOptions::answer`], or by then.
    pub(crate) fn run<T>(
        &mut self,
        does: Does,
        until: Instant,
        work: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let left = until.saturating_duration_since(begun);
        let patience = self.options.answer.min(left);
        if patience.is_zero() {
            return Err(self.away("no time is left"));
        }
        self.connected(until)?;
        let asked = Instant::now();
        self.beat_at = asked + BEAT;
        let connection = self.connected(until)?;
        let outcome = connection
            .set_read_timeout(Some(patience))
            .and_then(|()| connection.set_write_timeout(Some(patience)))
            .and_then(|()| work(connection));
        match outcome {
            Ok(answer) => {
                self.board.answered(asked.elapsed());
                self.pause = FIRST_PAUSE;
                let takes_changes = does == Does::Writes;
                if takes_changes || !matches!(self.board.state(), RedisState::ReadOnly | RedisState::Full) {
                    self.note(RedisState::Up, "it answers");
                }
                Ok(answer)
            }
            Err(error) => {
                let trouble = Trouble::of(&error, &self.server.shown, asked.elapsed());
                Err(self.met(trouble))
            }
        }
    }

    /// Connects if it is time for an attempt.
    pub(super) fn keep_up(&mut self) {
        let until = Instant::now() + self.options.connect;
        if self.connection.is_none() {
            let _ = self.connected(until);
        }
        let is_in_trouble = matches!(self.board.state(), RedisState::ReadOnly | RedisState::Full);
        if is_in_trouble && self.connection.is_some() && self.probe_at <= Instant::now() {
            let key = probe(&self.options);
            let _ = self.run(Does::Writes, until, |connection| {
                redis::cmd("SET").arg(key).arg(1).arg("PX").arg(1000).query::<()>(connection)
            });
            self.probe_at = Instant::now() + PROBE;
        }
        if self.connection.is_some() && self.beat_at <= Instant::now() {
            let _ = self.run(Does::Little, until, |connection| redis::cmd("PING").exec(connection));
        }
    }

    /// When [`keep_up`](Self::keep_up) has something to do next.
    pub(super) fn due(&self) -> Instant {
        if self.connection.is_none() {
            return self.not_before;
        }
        let is_in_trouble = matches!(self.board.state(), RedisState::ReadOnly | RedisState::Full);
        if is_in_trouble { self.probe_at.min(self.beat_at) } else { self.beat_at }
    }

    fn connected(&mut self, until: Instant) -> Result<&mut Connection, Error> {
        if self.connection.is_none() {
            let now = Instant::now();
            if now < self.not_before {
                return Err(self.last.clone());
            }
            let patience = self.options.connect.min(until.saturating_duration_since(now));
            match self.server.connect(patience) {
                Ok(connection) => {
                    self.board.connected();
                    // How it stands is asked soon, if nothing else is.
                    self.beat_at = now;
                    self.connection = Some(connection);
                }
                Err(error) => {
                    self.board.failed();
                    let trouble = Trouble::of_connecting(&error, &self.server.shown);
                    return Err(self.met(trouble));
                }
            }
        }
        self.connection.as_mut().ok_or_else(|| self.last.clone())
    }

    /// Draws the conclusions.
    fn met(&mut self, trouble: Trouble) -> Error {
        let Trouble { error, state, is_over } = trouble;
        if let Some(state) = state {
            self.note(state, &error.to_string());
        }
        if is_over {
            self.connection = None;
            self.not_before = Instant::now() + drawn(self.pause);
            self.pause = (self.pause * 2).min(self.options.longest_pause);
            self.last = match &error {
                // Whoever asks next has asked nothing of the server.
                Error::NoAnswer { .. } => self.away("it did not answer"),
                other => other.clone(),
            };
        }
        self.probe_at = Instant::now() + PROBE;
        error
    }

    fn note(&self, state: RedisState, why: &str) {
        if self.board.set(state) {
            match state {
                RedisState::Up => log::info!("{}: Redis is up", self.server.shown),
                _ => log::warn!("{}: Redis is {state}: {why}", self.server.shown),
            }
        }
    }

    fn away(&self, reason: &str) -> Error {
        Error::Away { server: self.server.shown.clone(), reason: reason.to_owned() }
    }
}

/// What begins all keys of a cluster.
pub(super) fn prefix(options: &RedisOptions) -> String {
    format!("fc:{{{}}}:", options.cluster)
}

/// A key that is written to see whether the server takes changes.
pub(super) fn probe(options: &RedisOptions) -> String {
    format!("{}probe", prefix(options))
}

/// A time from the second half of `most`.
fn drawn(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    let part = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
    most.mul_f64(0.5 + part / 2.0)
}
