//! How the words of this crate look as JSON and the like (feature `serde`).
//!
//! In: figures, events, verdicts, capacities. Out: any serde format. Rates are bits per second. Lengths of time are seconds, with fractions down to a microsecond,
//! and their fields end in `_seconds`; points in time are RFC 3339 in UTC; numbers of streams, outputs and items are as they
//! print (`s1`); paths that are not UTF-8 have their odd bytes replaced; errors are `{code, message}`. No key is in any of
//! it: none of these types holds one.

mod capacity;
mod events;
mod mix;
mod stats;
mod verdict;

use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::bit_rate::BitRate;
use crate::error::{Error, chain};
use crate::id::{ItemId, OutputId, StreamId};

/// Seconds, to the microsecond.
#[must_use]
pub fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 1e6).round() / 1e6
}

/// A path as text: a serializer would refuse one that is not UTF-8.
fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What prints as its JSON.
macro_rules! as_displayed {
    ($($name:ty),+ $(,)?) => {
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                    to.collect_str(self)
                }
            }
        )+
    };
}

use as_displayed;

as_displayed!(StreamId, OutputId, ItemId);

/// The number of bits per second.
impl Serialize for BitRate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.bps())
    }
}

/// An error, or a failure of an output: its stable code, and its text with its causes.
#[derive(Serialize)]
struct Failed<'a> {
    code: &'static str,
    message: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl Failed<'_> {
    fn of(error: &Error) -> Self {
        Self { code: error.code(), message: chain(error).into(), at: None }
    }
}

/// `{code, message}`: the stable code, and the error with its causes.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Failed::of(self).serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;
    use crate::event::EventKind;
    use crate::stats::{OutputFailure, OutputStats, StreamStats};

    fn value(of: &impl Serialize) -> Value {
        serde_json::to_value(of).expect("it can be written")
    }

    #[test]
    fn figures_have_seconds_names_and_errors_with_a_code() {
        let mut stats = StreamStats::new(StreamId(3), None);
        stats.uptime = Duration::from_micros(1_500_000);
        let mut output =
            OutputStats::new(OutputId(1), Some(Arc::from("main")), "rtmp://host/app/****".to_owned());
        output.lag = Duration::from_millis(40);
        output.last_error = Some(OutputFailure::now(&Error::Ended));
        stats.outputs.push(output);
        let json = value(&stats);
        assert_eq!((&json["id"], &json["uptime_seconds"]), (&json!("s3"), &json!(1.5)));
        assert_eq!((&json["phase"], &json["playing"]), (&json!("starting"), &Value::Null));
        let output = &json["outputs"][0];
        assert_eq!((&output["lag_seconds"], &output["transport"]), (&json!(0.04), &json!("other")));
        assert_eq!(output["last_error"]["code"], json!("STREAM_ENDED"));
        assert_eq!(output["last_error"]["message"], json!("the stream has ended"));
        assert_eq!((&output["label"], &output["id"]), (&json!("main"), &json!("o1")));
    }

    #[test]
    fn a_rate_is_its_bits_per_second() {
        let rate = BitRate::from_kbps(2650);
        assert_eq!(value(&rate), json!(2_650_000));
        assert_eq!(serde_json::from_value::<BitRate>(json!(2_650_000)).ok(), Some(rate));
        assert!(serde_json::from_value::<BitRate>(json!(-1)).is_err());
    }

    #[test]
    fn a_capacity_has_words_rates_and_what_it_was_computed_from() {
        use crate::capacity::{Capacity, Cost, CostBasis, KindCapacity, ResourceFit, StreamKind};
        use crate::error::Resource;
        use crate::machine::Machine;

        let kind = StreamKind::copy(BitRate::from_kbps(2650)).tls();
        let cost = Cost {
            cpu: 0.001,
            receiver_cpu: None,
            memory: 1024,
            bit_rate: BitRate::from_kbps(2770),
            descriptors: 3,
            threads: 1,
            disturbance: 0.0,
            mode: crate::stats::SourceMode::Reel,
            basis: CostBasis::Benchmark { streams: 100 },
        };
        let machine = Machine {
            cores: 2.0,
            cores_used: 0.0,
            cores_used_by_others: 0.0,
            memory_left: None,
            memory_used: 5,
            descriptors_left: Some(7),
            threads_left: None,
        };
        let capacity = Capacity {
            streams_now: 1,
            more: 9,
            limiting: Resource::Cpu,
            kinds: vec![KindCapacity { kind, more: 9, cost }],
            resources: vec![ResourceFit { resource: Resource::Cpu, left: 0.5, per_stream: 0.001, fits: 9 }],
            machine,
            notes: vec!["assumed".to_owned()],
        };
        assert_eq!(
            value(&capacity),
            json!({
                "streams_now": 1, "more": 9, "limiting": "CPU",
                "kinds": [{
                    "kind": "copy 2.65 Mbit/s, 1 × rtmps", "more": 9,
                    "cost": {
                        "cpu": 0.001, "receiver_cpu": null, "memory": 1024, "bit_rate": 2_770_000, "descriptors": 3, "threads": 1,
                        "disturbance": 0.0, "mode": "reel", "basis": {"measured_by": "benchmark", "streams": 100},
                    },
                }],
                "resources": [{"resource": "CPU", "left": 0.5, "per_stream": 0.001, "fits": 9}],
                "machine": {
                    "cores": 2.0, "cores_used": 0.0, "cores_used_by_others": 0.0, "memory_left": null, "memory_used": 5,
                    "descriptors_left": 7, "threads_left": null,
                },
                "notes": ["assumed"],
            })
        );
    }

    #[test]
    fn an_event_has_its_time_name_sentence_and_fields() {
        let (output, error) = (OutputId(2), Error::Ended);
        let kind = EventKind::OutputRetrying { output, error, wait: Duration::from_millis(250) };
        let at: SystemTime = UNIX_EPOCH + Duration::from_millis(1500);
        let event = crate::event::Event {
            at,
            stream: StreamId(1),
            label: Some(Arc::from("late")),
            output_label: None,
            kind,
        };
        assert_eq!(
            value(&event),
            json!({
                "at": "1970-01-01T00:00:01.500Z", "stream": "s1", "label": "late", "output_label": null, "event": "output_retrying",
                "text": "the stream has ended; trying again in 250 ms", "output": "o2",
                "error": {"code": "STREAM_ENDED", "message": "the stream has ended"}, "wait_seconds": 0.25,
            })
        );
    }
}
