//! Other sources for a stream that is on the air.
//!
//! In: the driver on the air, and one that is to take its place. Out: the tags of one of them at a time, on one clock that goes on,
//! with sequence headers where those of the next one differ. The stream's thread serves one driver; that it is made of
//! several is known in this room only. A stream whose source is never replaced has none of this.

mod away;
mod child;
mod guard;
mod opener;
mod parameters;
mod replacing;
mod slate;
mod splice;
mod switch;
mod watch;

pub(crate) use self::child::Addressed;
pub(crate) use self::guard::{Guard, Guarding};
pub(crate) use self::opener::{Opened, Reopen};
#[cfg_attr(not(feature = "libav"), allow(unused_imports, reason = "without libav nothing is encoded"))]
pub(crate) use self::parameters::{Parameters, Pictures};
pub use self::replacing::{At, Replacing};
pub(crate) use self::replacing::{Outcome, Replacement};
pub(crate) use self::slate::Times;
pub(crate) use self::splice::OnAir;
pub(crate) use self::switch::Switch;
pub use self::watch::{Reaction, Watchdog};

#[cfg(test)]
mod tests;
