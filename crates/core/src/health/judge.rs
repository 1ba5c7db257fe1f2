//! What the figures of a stream say of its health. In: figures, and what was said before. Out: reasons. No clock of its own.

use std::collections::HashMap;
use std::fmt;

use crate::config::{HealthConfig, Limit};
use crate::event::Lately;
use crate::id::OutputId;
use crate::stats::{OutputPhase, OutputStats, OutputTransport, StreamStats};
use crate::words::{graded, words};

/// How a stream is.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Health {
    /// Nothing is wrong.
    Good,
    /// It is on the air, and something is not as it should be.
    Fair(Vec<HealthReason>),
    /// Those who watch notice it, or nobody can watch. The reasons with the worst first; those that are only fair are among them.
    Bad(Vec<HealthReason>),
}

graded!(Health, reasons: HealthReason);

/// Why a stream is not well.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct HealthReason {
    /// What is wrong.
    pub kind: HealthKind,
    /// The output it is about, if it is about one.
    pub output: Option<OutputId>,
    /// The figure, in the unit of the limit.
    pub value: f64,
    /// The limit it reached.
    pub limit: f64,
    /// Whether it is bad, not only fair.
    pub is_bad: bool,
}

/// What can be wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HealthKind {
    /// The source gives nothing: seconds.
    SourceStalled,
    /// A file is not encoded as fast as it is played: seconds for which nothing came.
    EncoderStalled,
    /// An encoder is too slow for its live source: tags left out in the last minute.
    EncoderSlow,
    /// Pushes and recordings are not on the air after a failure: percent of all.
    OutputsDown,
    /// An output is behind: seconds.
    Lag,
    /// Tags were dropped: in the last minute.
    Drops,
    /// Outputs were connected again: times in the last five minutes.
    Reconnects,
    /// The stream's thread comes late, the machine is overloaded: seconds.
    ScheduleLag,
    /// The fallback is on the air in place of the source: seconds in all.
    Fallback,
}

words!(
    HealthKind,
    "kind of trouble",
    SourceStalled = "source_stalled",
    EncoderStalled = "encoder_stalled",
    EncoderSlow = "encoder_slow",
    OutputsDown = "outputs_down",
    Lag = "lag",
    Drops = "drops",
    Reconnects = "reconnects",
    ScheduleLag = "schedule_lag",
    Fallback = "fallback",
);

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, output, value, limit, .. } = self;
        if let Some(output) = output {
            write!(f, "{output} ")?;
        }
        let (what, unit) = match kind {
            HealthKind::SourceStalled => ("the source has given nothing", " s"),
            HealthKind::EncoderStalled => ("the file is not encoded fast enough, nothing came", " s"),
            HealthKind::EncoderSlow => ("the encoder left tags out in the last minute", ""),
            HealthKind::OutputsDown => ("outputs are not on the air", " %"),
            HealthKind::Lag => ("is behind", " s"),
            HealthKind::Drops => ("tags were dropped in the last minute", ""),
            HealthKind::Reconnects => ("reconnects in the last five minutes", ""),
            HealthKind::ScheduleLag => ("the thread comes late", " s"),
            HealthKind::Fallback => ("the fallback is on the air, in all", " s"),
        };
        let digits = usize::from(unit == " s");
        write!(f, "{what}: {value:.digits$}{unit} (limit {limit:.digits$}{unit})")
    }
}

/// What was said of a stream, so that a figure close to its limit is not told again and again.
#[derive(Debug, Default)]
pub(crate) struct Told(HashMap<(HealthKind, Option<OutputId>), bool>);

/// What a stream is judged by.
pub(super) struct Figures<'a> {
    pub(super) stats: &'a StreamStats,
    pub(super) lately: Lately,
    /// Tags left out by encoders in the last minute.
    pub(super) encoder_drops: u64,
}

/// Judges a stream.
pub(super) fn judge(figures: &Figures<'_>, rules: &HealthConfig, told: &mut Told) -> Health {
    let mut found = Found { rules, before: std::mem::take(&mut told.0), reasons: Vec::new() };
    let Figures { stats, lately, encoder_drops } = figures;
    let silent = lately.silent.map_or(0.0, |silent| silent.as_secs_f64());
    // A file that is encoded as it is played is read by the encoder itself.
    let stalled = match stats.encoding.is_some() && stats.mode == crate::stats::SourceMode::Direct {
        true => HealthKind::EncoderStalled,
        false => HealthKind::SourceStalled,
    };
    let fallback = stats.fallback.filter(|fallback| fallback.on_air);
    // With a fallback on the air there is something to see.
    let bad = if fallback.is_some() { f64::INFINITY } else { rules.stall.bad };
    found.look(stalled, None, silent, Limit { bad, ..rules.stall });
    found.look(HealthKind::EncoderSlow, None, *encoder_drops as f64, rules.encoder_drops);
    let outputs = || stats.outputs.iter().filter(|output| is_watched(output));
    let (all, down) = (outputs().count(), outputs().filter(|output| is_down(output)).count());
    if all > 0 {
        found.look(HealthKind::OutputsDown, None, down as f64 / all as f64 * 100.0, rules.outputs_down);
    }
    for output in outputs() {
        found.look(HealthKind::Lag, Some(output.id), output.lag.as_secs_f64(), rules.lag);
    }
    found.look(HealthKind::Drops, None, lately.dropped as f64, rules.drops);
    found.look(HealthKind::Reconnects, None, lately.reconnected as f64, rules.reconnects);
    found.look(HealthKind::ScheduleLag, None, stats.schedule_lag.as_secs_f64(), rules.schedule_lag);
    if let Some(fallback) = fallback {
        let (kind, value) = (HealthKind::Fallback, fallback.time.as_secs_f64());
        found.reasons.push(HealthReason { kind, output: None, value, limit: 0.0, is_bad: false });
    }
    let mut reasons = found.reasons;
    told.0 = reasons.iter().map(|reason| ((reason.kind, reason.output), reason.is_bad)).collect();
    reasons.sort_by_key(|reason| (!reason.is_bad, reason.kind));
    match reasons.first() {
        None => Health::Good,
        Some(worst) if worst.is_bad => Health::Bad(reasons),
        Some(_) => Health::Fair(reasons),
    }
}

/// Players come and go, and have their own networks; what lets them in sends nothing. What was removed is nobody's trouble any more.
fn is_watched(output: &OutputStats) -> bool {
    !output.removed
        && !matches!(
            output.transport,
            OutputTransport::Player | OutputTransport::Hub | OutputTransport::Stream
        )
}

fn is_down(output: &OutputStats) -> bool {
    match output.phase {
        OutputPhase::Connecting | OutputPhase::Waiting | OutputPhase::Ended => output.last_error.is_some(),
        OutputPhase::Resting | OutputPhase::Live => false,
    }
}

struct Found<'a> {
    rules: &'a HealthConfig,
    before: HashMap<(HealthKind, Option<OutputId>), bool>,
    reasons: Vec<HealthReason>,
}

impl Found<'_> {
    fn look(&mut self, kind: HealthKind, output: Option<OutputId>, value: f64, limit: Limit) {
        let was_bad = self.before.get(&(kind, output)).copied();
        let calm = self.rules.calm_at;
        // What was said holds until the figure is well below its limit.
        let reached = |limit: f64, was: bool| value > 0.0 && value >= if was { limit * calm } else { limit };
        let is_bad = reached(limit.bad, was_bad == Some(true));
        if is_bad || reached(limit.fair, was_bad.is_some()) {
            let limit = if is_bad { limit.bad } else { limit.fair };
            self.reasons.push(HealthReason { kind, output, value, limit, is_bad });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Error;
    use crate::id::StreamId;
    use crate::stats::{EncodingStats, OutputFailure, SourceMode};

    fn output(number: u64, phase: OutputPhase) -> OutputStats {
        let mut output = OutputStats::new(OutputId(number), None, "rtmp://host/app/****".to_owned());
        (output.phase, output.transport) = (phase, OutputTransport::Rtmp);
        output
    }

    fn stats() -> StreamStats {
        let mut stats = StreamStats::new(StreamId(1), None);
        stats.outputs = vec![output(0, OutputPhase::Live), output(1, OutputPhase::Live)];
        stats
    }

    fn health(stats: &StreamStats, lately: Lately, encoder_drops: u64, told: &mut Told) -> Health {
        judge(&Figures { stats, lately, encoder_drops }, &HealthConfig::default(), told)
    }

    #[test]
    fn each_figure_has_its_reason_and_the_worst_comes_first() {
        let said = |stats: &StreamStats, lately: Lately, encoder_drops: u64| {
            let health = health(stats, lately, encoder_drops, &mut Told::default());
            let kinds: Vec<_> = health.reasons().iter().map(|reason| reason.kind.as_str()).collect();
            (health.as_str(), kinds.join(" "))
        };
        let quiet = Lately::default();
        assert_eq!(said(&stats(), quiet, 0), ("good", String::new()));
        let with = |change: fn(&mut StreamStats)| {
            let mut stats = stats();
            change(&mut stats);
            said(&stats, quiet, 0)
        };
        let lag = |stats: &mut StreamStats| stats.outputs[1].lag = Duration::from_millis(600);
        assert_eq!(with(lag), ("fair", "lag".to_owned()));
        let lag = |stats: &mut StreamStats| stats.outputs[1].lag = Duration::from_secs(2);
        assert_eq!(with(lag), ("bad", "lag".to_owned()));
        let player = |stats: &mut StreamStats| {
            stats.outputs[1].lag = Duration::from_secs(2);
            stats.outputs[1].transport = OutputTransport::Player;
        };
        assert_eq!(with(player), ("good", String::new()), "a player's network is its own");
        let down = |stats: &mut StreamStats| {
            stats.outputs[0].phase = OutputPhase::Waiting;
            stats.outputs[0].last_error = Some(OutputFailure::now(&Error::Ended));
        };
        assert_eq!(with(down), ("fair", "outputs_down".to_owned()));
        let all_down = |stats: &mut StreamStats| {
            for output in &mut stats.outputs {
                (output.phase, output.last_error) =
                    (OutputPhase::Ended, Some(OutputFailure::now(&Error::Ended)));
            }
        };
        assert_eq!(with(all_down), ("bad", "outputs_down".to_owned()));
        let removed = |stats: &mut StreamStats| {
            let output = &mut stats.outputs[0];
            (output.phase, output.removed) = (OutputPhase::Ended, true);
            output.last_error = Some(OutputFailure::now(&Error::Ended));
        };
        assert_eq!(with(removed), ("good", String::new()), "nobody wants it any more");
        let first = |stats: &mut StreamStats| stats.outputs[0].phase = OutputPhase::Connecting;
        assert_eq!(with(first), ("good", String::new()), "it is reached for the first time");
        let late = |stats: &mut StreamStats| stats.schedule_lag = Duration::from_millis(100);
        assert_eq!(with(late), ("fair", "schedule_lag".to_owned()));
        assert_eq!(said(&stats(), quiet, 100), ("bad", "encoder_slow".to_owned()));
        let lately = Lately { dropped: 300, reconnected: 1, silent: None };
        assert_eq!(said(&stats(), lately, 0), ("bad", "drops reconnects".to_owned()));
        let silent = Lately { silent: Some(Duration::from_secs(3)), reconnected: 5, ..quiet };
        assert_eq!(said(&stats(), silent, 0), ("bad", "reconnects source_stalled".to_owned()));
        let mut encoded = stats();
        (encoded.mode, encoded.encoding) = (SourceMode::Direct, Some(EncodingStats::default()));
        assert_eq!(said(&encoded, silent, 0).1, "reconnects encoder_stalled");
    }

    #[test]
    fn a_figure_around_its_limit_does_not_flap() {
        let (mut told, mut stats) = (Told::default(), stats());
        let mut at = |millis| {
            stats.outputs[0].lag = Duration::from_millis(millis);
            health(&stats, Lately::default(), 0, &mut told).as_str()
        };
        let said: Vec<_> =
            [490, 510, 490, 410, 399, 490, 2000, 1900, 1601, 1599, 410, 100].map(&mut at).into();
        let expected =
            ["good", "fair", "fair", "fair", "good", "good", "bad", "bad", "bad", "fair", "fair", "good"];
        assert_eq!(said, expected);
    }

    #[test]
    fn it_is_told_in_a_sentence() {
        let silent = Lately { silent: Some(Duration::from_secs(12)), ..Lately::default() };
        let health = health(&stats(), silent, 0, &mut Told::default());
        assert_eq!(health.to_string(), "bad: the source has given nothing: 12.0 s (limit 10.0 s)");
    }
}
