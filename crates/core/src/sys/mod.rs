//! What the kernel knows about a thread and a socket, behind safe functions.
//!
//! The one `unsafe` line of this crate is in `outq`; everything else goes through `rustix`.

mod outq;
mod spawn;
mod thread;

pub(crate) use outq::unacknowledged_bytes;
pub(crate) use spawn::spawn;
pub(crate) use thread::{CpuLap, CpuMeter, Leave, yield_to_others};
