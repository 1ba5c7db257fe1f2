//! What an error of Redis means.
//!
//! In: errors of the crate `redis`. Out: ours, and whether the connection is worth keeping.

use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::state::RedisState;
use crate::error::Error;

/// What Redis 7 says of a command within a script that the user may not give, with the code `ERR`.
const NOT_IN_A_SCRIPT: &str = "The user executing the script can't";

/// An error, and what follows from it.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: Error,
    /// The state it shows; `None` if it says nothing of the server.
    pub(super) state: Option<RedisState>,
    /// The connection is of no use any more.
    pub(super) is_over: bool,
}

impl Trouble {
    /// What an error means that came `after` something was asked.
    pub(super) fn of(error: &RedisError, server: &Arc<str>, after: Duration) -> Self {
        let server = server.clone();
        let reason = || said(error);
        let (error, state, is_over) = match kind(error) {
            Kind::Io => (Error::NoAnswer { server, after }, Some(RedisState::Away), true),
            Kind::Loading => (Error::Loading { server }, Some(RedisState::Loading), false),
            // After a fail-over, the name may lead to the server that takes changes.
            Kind::ReadOnly => {
                (Error::ReadOnly { server, reason: reason() }, Some(RedisState::ReadOnly), true)
            }
            Kind::Full => (Error::Full { server }, Some(RedisState::Full), false),
            Kind::Denied => (Error::Denied { server, reason: reason() }, Some(RedisState::Denied), true),
            // What the server says was read to its end.
            Kind::Other => {
                let is_said = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
                (Error::Answer { server, reason: reason() }, None, !is_said)
            }
        };
        Self { error, state, is_over }
    }

    /// What it means that there is no connection.
    pub(super) fn of_connecting(error: &RedisError, server: &Arc<str>) -> Self {
        let trouble = Self::of(error, server, Duration::ZERO);
        match kind(error) {
            Kind::Io | Kind::Other => {
                let error = Error::Away { server: server.clone(), reason: said(error) };
                Self { error, state: Some(RedisState::Away), is_over: true }
            }
            _ => trouble,
        }
    }
}

enum Kind {
    Io,
    Loading,
    ReadOnly,
    Full,
    Denied,
    Other,
}

fn kind(error: &RedisError) -> Kind {
    match error.kind() {
        ErrorKind::Io => return Kind::Io,
        ErrorKind::AuthenticationFailed => return Kind::Denied,
        ErrorKind::Server(ServerErrorKind::BusyLoading) => return Kind::Loading,
        // The same for us as a server that loads: the replica has no data to answer from.
        ErrorKind::Server(ServerErrorKind::MasterDown) => return Kind::Loading,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => return Kind::ReadOnly,
        ErrorKind::Server(ServerErrorKind::NoPerm) => return Kind::Denied,
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    // Redis 6 wraps what a script met: "ERR Error running script ...: -OOM command not allowed".
    let detail = error.detail().unwrap_or_default();
    let is = |word: &str| code == word || detail.contains(&format!("-{word} "));
    if is("OOM") {
        Kind::Full
    } else if is("READONLY") || is("MISCONF") || is("NOREPLICAS") {
        Kind::ReadOnly
    } else if is("LOADING") || is("MASTERDOWN") {
        Kind::Loading
    } else if ["NOPERM", "NOAUTH", "WRONGPASS"].into_iter().any(is) || detail.contains(NOT_IN_A_SCRIPT) {
        Kind::Denied
    } else if error.is_connection_dropped() || error.is_timeout() {
        Kind::Io
    } else {
        Kind::Other
    }
}

/// What the server or the system says, short. No command is in it, and so no secret.
fn said(error: &RedisError) -> String {
    const MOST: usize = 200;
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
    }
    text
}
