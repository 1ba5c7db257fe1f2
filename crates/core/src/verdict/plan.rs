//! One file for several platforms.

use super::platform::Platform;
use super::rules::verdict;
use super::sentence::{Strictness, Verdict};
use crate::verdict::facts::Facts;

/// Which platforms take a file as it is, and what is encoded for the others.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Split {
    /// Verdicts of those that take a copy, in the order they were asked for.
    pub copy_to: Vec<Verdict>,
    /// Verdicts of those that do not.
    pub encode_for: Vec<Verdict>,
    /// The one encode that all of `encode_for` take; `None` if there are none.
    pub shared: Option<SharedEncode>,
}

/// One encode for several platforms.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SharedEncode {
    /// Which tracks are encoded: each that one of the platforms does not take.
    pub verdict: Verdict,
    /// What the result has to keep to: the limits of all of them.
    pub limits: Platform,
}

/// Splits platforms into those that get a copy and those that share one encode.
#[must_use]
pub fn plan_for(facts: &Facts, platforms: &[Platform], strictness: Strictness) -> Split {
    let mut split = Split { copy_to: Vec::new(), encode_for: Vec::new(), shared: None };
    let mut limits = Vec::new();
    for platform in platforms {
        let verdict = verdict(facts, platform, strictness);
        if verdict.needs_encoding() {
            split.encode_for.push(verdict);
            limits.push(platform.clone());
        } else {
            split.copy_to.push(verdict);
        }
    }
    split.shared = Verdict::intersect(&split.encode_for)
        .zip(Platform::intersection(&limits))
        .map(|(verdict, limits)| SharedEncode { verdict, limits });
    split
}

/// The verdict for one stream that goes to all of these platforms: a track is copied only if all take it. `None` for no
/// platforms.
#[must_use]
pub fn verdict_for_all(facts: &Facts, platforms: &[Platform], strictness: Strictness) -> Option<Verdict> {
    let verdicts: Vec<_> = platforms.iter().map(|platform| verdict(facts, platform, strictness)).collect();
    Verdict::intersect(&verdicts)
}
