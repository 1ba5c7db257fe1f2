//! One stream: its thread, what others see of it, and how it ends.

mod branch;
mod described;
mod desk;
mod ended;
mod gauge;
mod glance;
mod handle;
mod hub;
mod labels;
mod ladder;
mod leave;
mod letters;
mod mailbox;
mod meter;
mod mixers;
mod opening;
mod registry;
mod replace;
mod report;
mod seat;
mod shared;
mod stage;
mod starting;
mod tap;
mod thread;
mod thumbnail;
mod together;
mod traffic;

use std::time::Duration;

pub(crate) use branch::attach;
pub use described::Data;
pub(crate) use described::{DescribedOutput, What};
pub(crate) use desk::{Delivery, Desk};
pub use ended::Ended;
pub(crate) use glance::Glance;
pub use handle::{StreamHandle, StreamRef};
pub use hub::{Claim, Entrance, Handover, Hub};
pub(crate) use hub::{Reading, Watch, check_name, is_name, refused, shown};
pub(crate) use labels::check_label;
pub(crate) use leave::Leave;
pub(crate) use mailbox::Mailbox;
#[cfg(feature = "libav")]
pub(crate) use mailbox::{Command, Commands};
pub(crate) use opening::LaterOn;
pub use opening::{
    OpenOutput, OpenSource, OpenedOutput, OutputMailbox, OutputOpening, SourceMailbox, SourceOpening,
};
pub(crate) use registry::{Parts, Registry};
pub use report::{ShutdownReport, StreamEnd};
pub use seat::Seat;
pub(crate) use shared::StreamShared;
pub(crate) use stage::{DRIVER, OUTPUT, Stage};
pub(crate) use tap::{TapPace, TapSource, tap};

#[cfg(test)]
pub(crate) use desk::Answer;

/// Longer deadlines are no deadlines.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Stack of a stream thread. Only what is touched counts as memory.
pub(crate) const STREAM_STACK: usize = 256 << 10;
