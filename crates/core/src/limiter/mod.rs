//! How many streams an owner, and the whole engine, may run at once, and whether the machine has room for them.

mod line;
mod places;
mod sync;
#[cfg(test)]
mod tests;

pub(crate) use self::places::{Admitted, Limiter, Permit};
use crate::error::Error;

/// How many streams may run at once.
///
/// [`Config`](crate::Config) has those an engine begins with; [`Engine::set_limits`](crate::Engine::set_limits) changes them.
///
/// A publication is one stream of the owner of its key, and none of [`total`](Self::total). Each stream that is made from it
/// ([`Source::published`](crate::Source::published)) is one more of the owner it was started for, and one of `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// Streams of one owner, including those published with the owner's keys. At least 1.
    pub per_owner: usize,
    /// Streams in all. At least 1. Those that are published do not count.
    pub total: usize,
}

crate::settings::settings!(Limits);

impl Limits {
    /// Refuses what cannot work, by the names of [`Config`](crate::Config)'s settings.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(crate) fn check(self) -> Result<(), Error> {
        let reason = "must be at least 1".to_owned();
        match self {
            Self { total: 0, .. } => Err(Error::Config { name: "max_streams", reason }),
            Self { per_owner: 0, .. } => Err(Error::Config { name: "max_streams_per_owner", reason }),
            _ => Ok(()),
        }
    }
}

/// Whether another stream could be started; see [`Engine::can_start`](crate::Engine::can_start).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Admission {
    /// Whether there is room at this moment.
    pub allowed: bool,
    /// The error that [`start`](crate::StreamBuilder::start) would give; `None` if there is room.
    pub reason: Option<Error>,
    /// Streams that run now and count against [`limit`](Self::limit).
    pub running: usize,
    /// The limit that refuses; if none does, the one with the fewest free places: the owner's, unless the engine has fewer.
    pub limit: usize,
}
