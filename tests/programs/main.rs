//! Programs that embed flowcast: async programs that await ends and events, and programs that read the log of one stream.

#![cfg(feature = "libav")]

mod asynchronous;
#[cfg(feature = "tracing")]
mod logged;
