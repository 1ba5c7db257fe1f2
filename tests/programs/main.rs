//! Programs that embed flowcast: the service of `examples/embed.rs` is spoken to line by line, async programs await ends and events,
//! and the lines that are logged for one stream are found.

#![cfg(feature = "libav")]

mod asynchronous;
mod embed;
#[cfg(feature = "tracing")]
mod logged;
