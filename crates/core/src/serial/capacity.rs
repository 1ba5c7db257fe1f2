//! How many streams fit, and what they are.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{as_displayed, seconds};
use crate::capacity::{Capacity, Cost, CostBasis, KindCapacity, ResourceFit, StreamKind};
use crate::keys::ActiveStream;
use crate::machine::Machine;

as_displayed!(StreamKind);

/// Its fields; `since_seconds`.
impl Serialize for ActiveStream {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { name, owner, peer, since, video, audio, bit_rate, players } = self;
        let mut to = to.serialize_struct("ActiveStream", 8)?;
        to.serialize_field("name", name)?;
        to.serialize_field("owner", owner)?;
        to.serialize_field("peer", &peer.map(|peer| peer.to_string()))?;
        to.serialize_field("since_seconds", &seconds(*since))?;
        to.serialize_field("video", video)?;
        to.serialize_field("audio", audio)?;
        to.serialize_field("bit_rate", bit_rate)?;
        to.serialize_field("players", players)?;
        to.end()
    }
}

/// Its fields. Cores are numbers with fractions, memory is in bytes; `null` is unknown.
impl Serialize for Machine {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self {
            cores,
            cores_used,
            cores_used_by_others,
            memory_left,
            memory_used,
            descriptors_left,
            threads_left,
        } = self;
        let mut to = to.serialize_struct("Machine", 7)?;
        to.serialize_field("cores", cores)?;
        to.serialize_field("cores_used", cores_used)?;
        to.serialize_field("cores_used_by_others", cores_used_by_others)?;
        to.serialize_field("memory_left", memory_left)?;
        to.serialize_field("memory_used", memory_used)?;
        to.serialize_field("descriptors_left", descriptors_left)?;
        to.serialize_field("threads_left", threads_left)?;
        to.end()
    }
}

/// `{measured_by, streams}`: `running` or `benchmark`, and how many streams.
impl Serialize for CostBasis {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (by, streams) = match self {
            Self::Running { streams } => ("running", streams),
            Self::Benchmark { streams } => ("benchmark", streams),
        };
        let mut to = to.serialize_struct("CostBasis", 2)?;
        to.serialize_field("measured_by", by)?;
        to.serialize_field("streams", streams)?;
        to.end()
    }
}

/// Its fields; `cpu` and `receiver_cpu` are CPU seconds per second, `memory` is in bytes.
impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { cpu, receiver_cpu, memory, bit_rate, descriptors, threads, disturbance, mode, basis } =
            self;
        let mut to = to.serialize_struct("Cost", 9)?;
        to.serialize_field("cpu", cpu)?;
        to.serialize_field("receiver_cpu", receiver_cpu)?;
        to.serialize_field("memory", memory)?;
        to.serialize_field("bit_rate", bit_rate)?;
        to.serialize_field("descriptors", descriptors)?;
        to.serialize_field("threads", threads)?;
        to.serialize_field("disturbance", disturbance)?;
        to.serialize_field("mode", mode)?;
        to.serialize_field("basis", basis)?;
        to.end()
    }
}

/// `kind` (as it prints), `more`, `cost`.
impl Serialize for KindCapacity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { kind, more, cost } = self;
        let mut to = to.serialize_struct("KindCapacity", 3)?;
        to.serialize_field("kind", kind)?;
        to.serialize_field("more", more)?;
        to.serialize_field("cost", cost)?;
        to.end()
    }
}

/// Its fields; see [`ResourceFit::left`] for the units.
impl Serialize for ResourceFit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { resource, left, per_stream, fits } = self;
        let mut to = to.serialize_struct("ResourceFit", 4)?;
        to.serialize_field("resource", resource)?;
        to.serialize_field("left", left)?;
        to.serialize_field("per_stream", per_stream)?;
        to.serialize_field("fits", fits)?;
        to.end()
    }
}

/// Its fields.
impl Serialize for Capacity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { streams_now, more, limiting, kinds, resources, machine, notes } = self;
        let mut to = to.serialize_struct("Capacity", 7)?;
        to.serialize_field("streams_now", streams_now)?;
        to.serialize_field("more", more)?;
        to.serialize_field("limiting", limiting)?;
        to.serialize_field("kinds", kinds)?;
        to.serialize_field("resources", resources)?;
        to.serialize_field("machine", machine)?;
        to.serialize_field("notes", notes)?;
        to.end()
    }
}
