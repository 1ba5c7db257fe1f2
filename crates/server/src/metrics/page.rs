//! How figures are written for Prometheus. In: names and values. Out: families of series.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What is being written.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows; `_total` is appended to its name.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A number as it is written: whole ones stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        Self::Real(value.as_secs_f64())
    }
}

impl Kind {
    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
        }
    }

    fn write(self, value: Value, encoder: MetricEncoder<'_>) -> fmt::Result {
        match (self, value) {
            (Self::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(encoder),
            (Self::Counter, Value::Real(value)) => ConstCounter::new(value).encode(encoder),
            (Self::Gauge, Value::Whole(value)) => ConstGauge::new(value).encode(encoder),
            (Self::Gauge, Value::Real(value)) => ConstGauge::new(value).encode(encoder),
        }
    }
}

impl Page<'_> {
    /// One value without labels. Its unit is appended to its name.
    pub(super) fn one(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Into<Value>,
    ) -> fmt::Result {
        kind.write(value.into(), self.0.encode_descriptor(name, help, unit, kind.metric_type())?)
    }

    /// Values of one meaning, told apart by their labels.
    pub(super) fn family<L: EncodeLabelSet>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (L, Value)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, kind.metric_type())?;
        for (labels, value) in values {
            kind.write(value, family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Counts, told apart by one label.
    pub(super) fn split(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let values = counts.into_iter().map(|(of, count)| ([(label, of)], count.into()));
        self.family(Kind::Counter, name, help, None, values)
    }
}
