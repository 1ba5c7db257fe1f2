//! Programs that embed flowcast: the service of `examples/embed.rs` is spoken to line by line, async programs await ends and events,
//! the lines that are logged for one stream are found, channels follow their file,
//! an edge keeps its players, what is published is recorded, nodes of a cluster share streams, and streams are kept in files.

#![cfg(feature = "libav")]

mod asynchronous;
mod campaign;
mod channels;
mod cluster;
mod embed;
#[cfg(feature = "tracing")]
mod logged;
mod record;
mod relay;
mod specs;
mod studio;
