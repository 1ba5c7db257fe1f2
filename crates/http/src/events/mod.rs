//! What happens, told to clients as it does: server-sent events.
//!
//! In: events of streams, schedules and servers, on threads of the engine. Out: [`journal`] keeps the newest of them, numbered; [`ears`] are
//! what hears them; [`follow`] sends them to a client that stays, in the form of [`sse`].

mod ears;
pub(crate) mod follow;
mod journal;
mod sse;

pub(crate) use ears::Ears;
pub(crate) use journal::{Journal, Recorded};
pub(crate) use sse::{Sure, frame, response};
