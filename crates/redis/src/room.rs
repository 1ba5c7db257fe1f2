//! What a node has, and what a stream needs of it.
//!
//! In: figures of an engine. Out: what is left, and what is short.

use std::fmt;

use flowcast_core::{BitRate, Engine, Error, Resource, StreamSpec};
use serde::{Deserialize, Serialize};

/// What may be used of a resource, and what is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// What is in use, with what was promised: cores, bytes, bits per second, or a number.
    pub used: f64,
    /// What may be used, in the same unit.
    pub budget: f64,
}

/// What a node has: of each resource what may be used, and what is. What is `None` has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Room {
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Budget>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Budget>,
    /// Bits per second to the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Budget>,
    /// Streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Budget>,
}

/// What a stream needs of a node, besides a place among its streams.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Demand {
    /// CPU seconds per second: a core's worth is 1.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bits per second to the network.
    pub uplink: BitRate,
}

/// A resource of which there is not enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short {
    pub(crate) resource: Resource,
    pub(crate) used: f64,
    pub(crate) needed: f64,
    pub(crate) budget: f64,
}

impl Demand {
    /// What a stream is expected to use in an engine: as [admission](flowcast_core::MeasuredAdmission) measures it there, from streams of the same kind or its
    /// table of costs. Nothing but a place while admission is off.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] for a stream that cannot work.
    ///
    /// # Blocking
    ///
    /// As [`Engine::can_start_spec`].
    pub fn of(engine: &Engine, spec: &StreamSpec) -> Result<Self, Error> {
        let needs = engine.can_start_spec(spec)?.needs;
        let demand = needs.map(|needs| Self { cpu: needs.cpu, memory: needs.memory, uplink: needs.uplink });
        Ok(demand.unwrap_or_default())
    }
}

impl Room {
    /// What an engine has: the budgets of its [admission](flowcast_core::MeasuredAdmission), if that is on, and the number of its streams.
    ///
    /// # Blocking
    ///
    /// As [`Engine::resources`].
    #[must_use]
    pub fn of(engine: &Engine) -> Self {
        let budget = |used, budget| Some(Budget { used, budget });
        let mut room = Self {
            streams: budget(engine.running() as f64, engine.limits().total as f64),
            ..Self::default()
        };
        for of in engine.resources() {
            let place = match of.resource {
                Resource::Cpu => &mut room.cpu,
                Resource::Memory => &mut room.memory,
                Resource::Uplink => &mut room.uplink,
                _ => continue,
            };
            *place = budget(of.used, of.budget);
        }
        room
    }

    /// How full it is, 0.0 to 1.0 and above: the share in use of the resource of which least is left.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.fullest().1
    }

    /// The room as it is with a stream more.
    #[must_use]
    pub fn with(&self, demand: &Demand) -> Self {
        let with =
            |budget: Option<Budget>, more| budget.map(|budget| Budget { used: budget.used + more, ..budget });
        Self {
            cpu: with(self.cpu, demand.cpu),
            memory: with(self.memory, demand.memory as f64),
            uplink: with(self.uplink, demand.uplink.bps() as f64),
            streams: with(self.streams, 1.0),
        }
    }

    /// The resource of which least is left, and the share of it in use.
    pub(crate) fn fullest(&self) -> (Resource, f64) {
        self.budgets()
            .map(|(resource, budget)| (resource, share(budget)))
            .fold((Resource::ConfiguredLimit, 0.0), |most, of| if of.1 > most.1 { of } else { most })
    }

    /// What there is not enough of.
    pub(crate) fn lacks(&self, demand: &Demand) -> Option<Short> {
        let with = self.with(demand);
        let both = self.budgets().zip(with.budgets());
        let short = |((resource, before), (_, after)): ((Resource, Budget), (Resource, Budget))| {
            // What is not needed is not missing.
            let is_short = after.used > after.budget * (1.0 + 1e-9) && after.used > before.used;
            let needed = after.used - before.used;
            is_short.then_some(Short { resource, used: before.used, needed, budget: before.budget })
        };
        both.filter_map(short).next()
    }

    fn budgets(&self) -> impl Iterator<Item = (Resource, Budget)> {
        [
            (Resource::Cpu, self.cpu),
            (Resource::Memory, self.memory),
            (Resource::Uplink, self.uplink),
            (Resource::ConfiguredLimit, self.streams),
        ]
        .into_iter()
        .filter_map(|(resource, budget)| Some((resource, budget?)))
    }
}

fn share(of: Budget) -> f64 {
    if of.budget > 0.0 { of.used / of.budget } else { 1.0 }
}

/// A resource as people call it.
pub(crate) fn word(resource: Resource) -> String {
    match resource {
        Resource::ConfiguredLimit => "streams".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, used, needed, budget } = self;
        let word = word(*resource);
        match resource {
            Resource::Cpu => write!(f, "{word}: {used:.2} of {budget:.2} cores in use, {needed:.2} needed"),
            Resource::Memory => {
                let [used, needed, budget] = [used, needed, budget].map(|bytes| bytes / f64::from(1 << 20));
                write!(f, "{word}: {used:.0} of {budget:.0} MiB in use, {needed:.1} needed")
            }
            Resource::Uplink => {
                let [used, needed, budget] = [used, needed, budget].map(|bits| bits / 1e6);
                write!(f, "{word}: {used:.2} of {budget:.2} Mbit/s in use, {needed:.2} needed")
            }
            _ => write!(f, "{word}: {used:.0} of {budget:.0} in use, {needed:.0} needed"),
        }
    }
}
