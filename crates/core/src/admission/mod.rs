//! Whether the machine has room for another stream: settings, and arithmetic over figures that others measure.
//!
//! In: what streams are ([`Ask`]), what each uses ([`Reading`]) and what the machine has ([`Measured`]). Out: room or a
//! [`Shortage`](crate::Shortage). It has no clock and no lock; the limiter keeps it under its own, so that asking and taking is one step.

mod costs;
mod kind;
mod ledger;
mod lowering;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::costs::{Costs, EncodeCost, StreamCost};
#[cfg(any(feature = "libav", test))]
pub(crate) use self::kind::EncodeKind;
pub(crate) use self::kind::{Ask, Kind, Media, Ways, Work};
pub(crate) use self::ledger::{Choice, Does, Ledger, Measured, Reading, Slot};
pub use self::ledger::{NeedBasis, Needs, ResourceUse, StartForecast};
pub use self::lowering::CheaperEncoding;
pub(crate) use self::lowering::PRESETS;
use crate::bit_rate::BitRate;
use crate::error::Error;

/// The longest a start may wait for room.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The longest a stream may be on the air before its own figures count.
const LONGEST_SETTLING: Duration = Duration::from_secs(3600);

/// Admission by measured cost: a stream is started only if what it is expected to use fits beside what is in use.
///
/// What is in use is measured once a second, over the last five: CPU time of the process and of what else runs on its cores, memory, and
/// bytes that streams sent to the network. What a new stream will use is what streams of the same kind use in this engine, if there are such;
/// else what [`costs`](Self::costs) says. A stream that was just admitted counts with what it is expected to use until it has been on the
/// air for [`settling`](Self::settling), and again while one of its pushes is not on the air.
///
/// [`Config::admission`](crate::Config::admission) has the settings an engine begins with;
/// [`Engine::set_admission`](crate::Engine::set_admission) changes them. What is published by the server is not refused by this, but what it
/// uses is measured.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod admission { pub use flowcast_core::*; } }
/// use std::time::Duration;
/// use flowcast::admission::{MeasuredAdmission, WhenFull};
/// use flowcast::{BitRate, Config, Engine};
///
/// let admission = MeasuredAdmission::default().with(|admission| {
///     admission.cpu = Some(0.8);
///     admission.uplink = Some(BitRate::from_mbps(900.0));
///     admission.when_full = WhenFull::Queue(Duration::from_secs(30));
/// });
/// let engine = Engine::new(Config::default().with(|config| config.admission = Some(admission)))?;
/// # Ok::<(), flowcast::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct MeasuredAdmission {
    /// The share of the CPU that may be in use: of the cores this process may run on, or of the quota of its control groups if that is less.
    /// What other processes use of them counts. More than 0, at most 1; `None` is no limit. Default 0.9.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub cpu: Option<f64>,
    /// Memory that may be in use; `None` is no limit. Default: 0.9 of what there is.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub memory: Option<MemoryBudget>,
    /// Bits per second that may be sent to the network by all streams, pushes and players together. More than zero; `None` is no limit.
    /// Default `None`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub uplink: Option<BitRate>,
    /// What becomes of a stream that does not fit. Default: it is refused.
    pub when_full: WhenFull,
    /// How long a stream has to be on the air before its own figures count in place of the estimate; 1 s to an hour. Default 15 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub settling: Duration,
    /// What streams cost of which none runs.
    pub costs: Costs,
}

impl Default for MeasuredAdmission {
    fn default() -> Self {
        Self {
            cpu: Some(0.9),
            memory: Some(MemoryBudget::Share(0.9)),
            uplink: None,
            when_full: WhenFull::Refuse,
            settling: Duration::from_secs(15),
            costs: Costs::default(),
        }
    }
}

crate::settings::settings!(MeasuredAdmission);

/// How much memory may be in use.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum MemoryBudget {
    /// A share of what there is: the limit of the control groups, or the machine's memory if that is less. What others use of it counts, and
    /// page cache that can be given up does not. More than 0, at most 1. Where the system does not tell, nothing is limited.
    Share(f64),
    /// Bytes that this process may have resident. At least 1.
    Bytes(u64),
}

/// What becomes of a stream that does not fit.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum WhenFull {
    /// It is refused, with [`Error::CapacityExceeded`](crate::Error::CapacityExceeded).
    #[default]
    Refuse,
    /// Its start waits at most so long, then it is refused. Starts that wait are served in the order in which they came; one that comes while
    /// others wait waits behind them. More than zero, at most an hour. Starts by a [schedule](crate::Engine) wait at most ten seconds: a
    /// schedule tries again by itself.
    Queue(#[cfg_attr(feature = "serde", serde(with = "crate::written::span"))] Duration),
    /// If it is encoded, it is started with the first of these that fits, with an event
    /// ([`EncodingLowered`](crate::EventKind::EncodingLowered)). It is refused if none does, and if it is copied. At least one, the best
    /// first.
    Lower(Vec<CheaperEncoding>),
}

impl MeasuredAdmission {
    /// Refuses settings that cannot work, as [`Engine::set_admission`](crate::Engine::set_admission) does.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        if self.cpu.is_some_and(|share| !is_share(share)) {
            return fail("admission.cpu", "must be more than 0 and at most 1");
        }
        match self.memory {
            Some(MemoryBudget::Share(share)) if !is_share(share) => {
                return fail("admission.memory", "a share must be more than 0 and at most 1");
            }
            Some(MemoryBudget::Bytes(0)) => return fail("admission.memory", "must be at least 1 byte"),
            _ => {}
        }
        if self.uplink == Some(BitRate::ZERO) {
            return fail("admission.uplink", "must be more than zero");
        }
        if !(Duration::from_secs(1)..=LONGEST_SETTLING).contains(&self.settling) {
            return fail("admission.settling", "must be 1 s to an hour");
        }
        match &self.when_full {
            WhenFull::Queue(wait) if wait.is_zero() || *wait > LONGEST_WAIT => {
                return fail("admission.when_full", "a wait must be more than zero and at most an hour");
            }
            WhenFull::Lower(chain) if chain.is_empty() => {
                return fail("admission.when_full", "there must be at least one cheaper encoding");
            }
            WhenFull::Lower(chain) => chain.iter().try_for_each(CheaperEncoding::check)?,
            WhenFull::Queue(_) | WhenFull::Refuse => {}
        }
        self.costs.check()
    }
}
