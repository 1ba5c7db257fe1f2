//! What a file that cannot be read is worth.

use crate::error::{Error, chain};
use crate::verdict::{Action, Reason, ReasonCode, Severity, Subject, TrackVerdict, Verdict};

/// The verdict on a file that could not be probed or scanned: never a copy.
#[must_use]
pub fn verdict_of_failure(error: &Error) -> Verdict {
    let code = match error.code() {
        "FORMAT_UNSUPPORTED" | "TIMESTAMPS_MISSING" => ReasonCode::BadContainer,
        _ => ReasonCode::ProbeFailed,
    };
    let reason = Reason {
        code,
        severity: Severity::Error,
        track: Subject::File,
        platform: String::new(),
        detail: format!("{}: {}", error.code(), chain(error)),
    };
    Verdict {
        platform: String::new(),
        action: Action::Encode,
        video: TrackVerdict::Encode,
        audio: TrackVerdict::Encode,
        fixes: Vec::new(),
        reasons: vec![reason],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_means_copy() {
        let error = Error::Config { name: "probe", reason: "it failed".to_owned() };
        let verdict = verdict_of_failure(&error);
        assert!(verdict.needs_encoding() && verdict.has(ReasonCode::ProbeFailed));
    }
}
