//! Sound against picture.

use std::time::Duration;

use super::{Info, Judge, Warning};
use crate::verdict::facts::{Facts, Reach};
use crate::verdict::reason::{ReasonCode, Subject};
use crate::verdict::sentence::Fix;

/// Sound and picture may begin so far apart unnoticed, and so far before it is more than a blemish. Microseconds.
const SKEW: i64 = 100_000;
const LARGE_SKEW: i64 = 1_000_000;

pub(super) fn judge(judge: &mut Judge<'_>, facts: &Facts) {
    let (Some(start), Some(end), Some(audio)) =
        (facts.start_skew_micros(), facts.end_skew_micros(), &facts.audio)
    else {
        return;
    };
    let apart = |micros: i64, verb: &str| {
        let side = if micros < 0 { "before" } else { "after" };
        format!("the sound {verb} {:.0} ms {side} the picture", micros.abs() as f64 / 1000.0)
    };
    if start.abs() > SKEW {
        let severity = if start.abs() > LARGE_SKEW { Warning } else { Info };
        judge.any(ReasonCode::StartSkew, severity, Subject::Audio, apart(start, "begins"));
    }
    let length = Duration::from_micros(end.unsigned_abs());
    // Whatever was not read has its own end.
    if facts.reach == Reach::Whole && length > audio.frame() {
        judge.any(ReasonCode::LengthGap, Info, Subject::Audio, apart(end, "ends"));
        judge.fixes.push(if end < 0 { Fix::PadTail(length) } else { Fix::CutTail(length) });
    }
}
