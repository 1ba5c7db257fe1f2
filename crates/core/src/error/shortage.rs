//! What there is not enough of, in figures.

use std::fmt;
use std::time::Duration;

use crate::words::words;

/// A resource that may run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
    /// Bits per second to the network.
    Uplink,
    /// Descriptors.
    Descriptors,
    /// Threads.
    Threads,
    /// [`Config::max_streams`](crate::Config::max_streams).
    ConfiguredLimit,
}

words!(
    Resource,
    "resource",
    Cpu = "CPU",
    Memory = "memory",
    Uplink = "uplink",
    Descriptors = "descriptors",
    Threads = "threads",
    ConfiguredLimit = "configured limit",
);

/// A resource of which there is not enough for a stream. `Display` gives it as people read it:
/// `CPU: 1.71 of 1.80 cores in use, 0.25 needed`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Shortage {
    /// Which.
    pub resource: Resource,
    /// What is in use, with what streams that were just admitted are expected to use: cores, bytes, or bits per second.
    pub used: f64,
    /// What the stream is expected to use, in the same unit.
    pub needed: f64,
    /// What may be used in all, in the same unit.
    pub budget: f64,
    /// How long until there is enough, if that follows from streams whose end is known (files that are played once, and schedules); `None` if
    /// nobody can know.
    pub free_in: Option<Duration>,
}

impl Shortage {
    pub(crate) const fn new(resource: Resource, used: f64, needed: f64, budget: f64) -> Self {
        Self { resource, used, needed, budget, free_in: None }
    }

    /// How much of it is missing.
    pub(crate) fn missing(&self) -> f64 {
        self.used + self.needed - self.budget
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, unit) = match self.resource {
            Resource::Cpu => (1.0, "cores"),
            Resource::Memory => (1e-6, "MB"),
            Resource::Uplink => (1e-6, "Mbit/s"),
            Resource::Descriptors | Resource::Threads | Resource::ConfiguredLimit => (1.0, "places"),
        };
        let [used, needed, budget] = [self.used, self.needed, self.budget].map(|figure| figure * scale);
        write!(f, "{}: {used:.2} of {budget:.2} {unit} in use, {needed:.2} needed", self.resource)?;
        match self.free_in {
            Some(length) => write!(f, ", free in about {} s", length.as_secs_f64().ceil()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_said_in_the_units_people_read() {
        let cpu = Shortage::new(Resource::Cpu, 1.71, 0.25, 1.8);
        assert_eq!(cpu.to_string(), "CPU: 1.71 of 1.80 cores in use, 0.25 needed");
        let memory = Shortage::new(Resource::Memory, 400e6, 86e6, 450e6);
        assert_eq!(memory.to_string(), "memory: 400.00 of 450.00 MB in use, 86.00 needed");
        let uplink = Shortage::new(Resource::Uplink, 17.5e6, 6e6, 20e6);
        let uplink = Shortage { free_in: Some(Duration::from_millis(89_200)), ..uplink };
        assert_eq!(
            uplink.to_string(),
            "uplink: 17.50 of 20.00 Mbit/s in use, 6.00 needed, free in about 90 s"
        );
        assert!((uplink.missing() - 3.5e6).abs() < 1.0);
    }
}
