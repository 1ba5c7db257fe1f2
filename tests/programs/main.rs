//! Programs that embed flowcast: async programs that await ends and events.

#![cfg(feature = "libav")]

mod asynchronous;
