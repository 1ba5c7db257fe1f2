//! How a stream is written in a file.

use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, Deserializer};

use super::StreamSpec;
use crate::output::{self, Output};
use crate::source::{self, Source};

/// As it is written; `I` is a source, and `O` an output, with or without what is secret.
#[derive(serde::Serialize)]
#[serde(rename = "stream")]
struct Written<'a, I, O> {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "crate::written::is_default")]
    without_outputs: bool,
    source: I,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<O>,
}

/// As it is read.
#[derive(serde::Deserialize)]
#[serde(rename = "stream", deny_unknown_fields)]
struct Read {
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    source: Source,
    #[serde(default)]
    outputs: Vec<Output>,
    #[serde(default)]
    without_outputs: bool,
}

fn write<'a, S: Serializer, I: Serialize, O: Serialize>(
    spec: &'a StreamSpec,
    source: impl Fn(&'a Source) -> I,
    output: impl Fn(&'a Output) -> O,
    to: S,
) -> Result<S::Ok, S::Error> {
    let StreamSpec { label, owner, source: from, outputs, without_outputs } = spec;
    Written {
        label: label.as_deref(),
        owner: owner.as_deref(),
        without_outputs: *without_outputs,
        source: source(from),
        outputs: outputs.iter().map(output).collect(),
    }
    .serialize(to)
}

/// Without keys: they are written as `****`.
impl Serialize for StreamSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write(self, |source| source, |output| output, to)
    }
}

impl<'de> Deserialize<'de> for StreamSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Read { label, owner, source, outputs, without_outputs } = Read::deserialize(from)?;
        Ok(Self { label, owner, source, outputs, without_outputs })
    }
}

/// A stream to be written with its keys; see [`StreamSpec::with_keys`].
#[derive(Debug, Clone, Copy)]
pub struct WithKeys<'a>(&'a StreamSpec);

impl Serialize for WithKeys<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write(self.0, source::WithKey, output::WithKey, to)
    }
}

impl StreamSpec {
    /// The stream, to be written with its keys, and with users and passwords of addresses, in clear text: for files that nobody else
    /// reads.
    #[must_use]
    pub const fn with_keys(&self) -> WithKeys<'_> {
        WithKeys(self)
    }
}
