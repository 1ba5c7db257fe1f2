//! One stream: its thread, what others see of it, and how it ends.

pub(crate) mod branch;
pub(crate) mod handle;
pub(crate) mod mailbox;
mod meter;
pub(crate) mod shared;
pub(crate) mod thread;
