//! How streams and the engine are: good, fair or bad, and why; alive, and ready for more.
//!
//! In: figures and recent events of a stream, and what was said of it before. Out: health with reasons. On the caller's thread; nothing
//! is done while nobody asks.

mod engine;
mod judge;

use std::time::Instant;

pub use self::engine::{EngineHealth, EngineTrouble};
use self::judge::{Figures, Told, judge};
pub use self::judge::{Health, HealthKind, HealthReason};
use crate::config::HealthConfig;
use crate::event::{Lately, MINUTE, Sliding};
use crate::stats::{StreamPhase, StreamStats};

/// What was said of a stream, and how much its encoders had left out then.
#[derive(Debug, Default)]
pub(crate) struct Before {
    told: Told,
    dropped: Option<(Instant, u64)>,
    drops: Sliding,
}

impl Before {
    /// How the stream is. One that is starting, or has ended, is good.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        stats: &StreamStats,
        lately: Lately,
        rules: &HealthConfig,
    ) -> Health {
        if matches!(stats.phase, StreamPhase::Starting | StreamPhase::Ended) {
            return Health::Good;
        }
        let dropped = stats.encoding.as_ref().map_or(0, |encoding| encoding.dropped);
        let encoder_drops = self.encoder_drops(now, dropped);
        judge(&Figures { stats, lately, encoder_drops }, rules, &mut self.told)
    }

    /// Tags left out in the last minute, if it is `dropped` in all now. What happened between two questions that are further apart
    /// is spread evenly.
    fn encoder_drops(&mut self, now: Instant, dropped: u64) -> u64 {
        if let Some((at, before)) = self.dropped {
            // Another encoder counts from zero.
            let more = dropped.checked_sub(before).unwrap_or(dropped);
            let apart = now.saturating_duration_since(at).as_secs_f64() / MINUTE.as_secs_f64();
            let more = if apart > 1.0 { (more as f64 / apart).ceil() as u64 } else { more };
            if more > 0 {
                self.drops.add(now, more);
            }
        }
        self.dropped = Some((now, dropped));
        self.drops.within(now, MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_an_encoder_left_out_counts_for_a_minute() {
        let (start, mut before) = (Instant::now(), Before::default());
        let mut at = |seconds, dropped| before.encoder_drops(start + Duration::from_secs(seconds), dropped);
        assert_eq!([at(0, 7), at(10, 9), at(69, 9), at(71, 9)], [0, 2, 2, 0]);
        // Two minutes between two questions: half of it belongs to the last.
        assert_eq!(at(191, 29), 10);
        // Another encoder.
        assert_eq!(at(200, 3), 13);
    }
}
