//! Whether a file can be sent to a platform as it is, and if not, why and what has to be encoded.
//!
//! Three steps: [`facts`](crate::facts()) reads every packet of a file once, without decoding. A [`Platform`] is a table of limits,
//! to be changed as needed. [`verdict`] compares the two and gives a decision for each track, what has to be fixed on
//! the way, and the reasons. [`plan_for`] does so for several platforms. Only the scan needs the feature `libav`.

mod facts;
mod plan;
mod platform;
mod reason;
mod rules;
mod sentence;

pub use facts::{AudioFacts, BitRates, Clock, Facts, Fields, Form, Reach, VideoFacts};
#[cfg(feature = "libav")]
pub use flowcast_av::Interrupt;
pub use plan::{SharedEncode, Split, plan_for, verdict_for_all};
pub use platform::{BitRateRow, Platform};
pub use reason::{Reason, ReasonCode, Severity, Subject};
pub use rules::verdict;
pub use sentence::{Action, Fix, Strictness, TrackVerdict, Verdict};
