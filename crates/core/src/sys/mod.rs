//! What the kernel knows about a thread and a socket, behind safe functions.
//!
//! The one `unsafe` line of this crate is in `outq`; everything else goes through `rustix`.

mod cancel;
mod codecs;
mod file;
mod latch;
mod left;
mod lock;
mod outq;
mod panic;
mod span;
mod spawn;
mod thread;
mod wakers;
mod worker;

pub(crate) use cancel::Cancel;
pub(crate) use codecs::{CodecHost, CodecThreads};
pub(crate) use file::FileId;
#[cfg(feature = "libav")]
pub(crate) use file::is_same_file;
pub use latch::Latch;
#[cfg(feature = "libav")]
pub(crate) use left::Left;
pub(crate) use left::LeftBehind;
pub(crate) use lock::LockedFile;
pub(crate) use outq::unacknowledged_bytes;
pub(crate) use panic::panic_message;
pub(crate) use span::Span;
pub use spawn::spawn;
pub use thread::ThreadMeter;
pub(crate) use thread::{CpuLap, CpuMeter, Leave, thread_cpu_time, yield_to_others};
pub(crate) use wakers::{Waiting, Wakers, wake};
pub(crate) use worker::Worker;

/// Tasks and a runtime for tests.
#[cfg(test)]
pub(crate) use wakers::tests as testing;
