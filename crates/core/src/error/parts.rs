//! What errors say beside their own text: which limit, which step, which part of a spec.

use std::fmt;

use super::{Error, chain};

/// The limit that refused a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitScope {
    /// The streams of one owner.
    Owner,
    /// All streams of the engine.
    Global,
}

/// The step of connecting that a deadline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Looking up the host.
    Dns,
    /// The TCP connection.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The RTMP handshake, connect and publish.
    Rtmp,
    /// All that libav does to be let in: SRT, Icecast, RTSP.
    Protocol,
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "name lookup",
            Self::Tcp => "TCP connect",
            Self::Tls => "TLS handshake",
            Self::Rtmp => "RTMP handshake",
            Self::Protocol => "connecting",
        })
    }
}

/// One thing that is wrong with a stream as data; see [`Error::Spec`](crate::Error::Spec).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SpecProblem {
    /// Where: `label`, `source`, `outputs`, or an output by its number, counted from 0 (`outputs[1]`).
    pub place: String,
    /// What.
    pub error: Error,
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, chain(&self.error))
    }
}

/// Problems as one text.
pub(super) fn listed(problems: &[SpecProblem]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The reasons against a file.
pub(super) fn codes(verdict: &crate::verdict::Verdict) -> String {
    let warnings = verdict.at_least(crate::verdict::Severity::Warning);
    let codes: Vec<_> = warnings.map(|reason| reason.code.as_str()).collect();
    codes.join(", ")
}
