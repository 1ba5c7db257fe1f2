//! When a stream uses a lot. In: what it uses at each look, with the time. Out: what is to be reported. No clock of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::load::LoadPoint;
use crate::config::MonitorConfig;

/// How much of the past is kept for a graph.
const KEPT: Duration = Duration::from_secs(3600);
/// The most points kept, however often the monitor looks.
const MOST_POINTS: usize = 3600;

/// What there is to report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum News {
    /// It uses a lot from now on.
    High,
    /// It no longer does; for how long it did.
    Calm(Duration),
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Since when it uses a lot.
    pub(super) high_since: Option<Instant>,
    pub(super) warnings: u64,
}

impl Judge {
    /// A look found this.
    pub(super) fn see(
        &mut self,
        now: Instant,
        cpu_percent: f64,
        memory: u64,
        limits: &MonitorConfig,
    ) -> Option<News> {
        match self.high_since {
            None if cpu_percent > limits.cpu_percent || memory > limits.memory => {
                self.high_since = Some(now);
                self.warnings += 1;
                Some(News::High)
            }
            Some(since) => {
                let is_calm = cpu_percent <= limits.cpu_percent * limits.calm_at
                    && memory as f64 <= limits.memory as f64 * limits.calm_at;
                if !is_calm {
                    return None;
                }
                self.high_since = None;
                Some(News::Calm(now.saturating_duration_since(since)))
            }
            None => None,
        }
    }
}

/// The points of the last hour, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Instant, LoadPoint)>);

impl History {
    pub(super) fn add(&mut self, now: Instant, point: LoadPoint) {
        while self.0.len() >= MOST_POINTS
            || self.0.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > KEPT)
        {
            self.0.pop_front();
        }
        self.0.push_back((now, point));
    }

    pub(super) fn points(&self) -> Vec<LoadPoint> {
        self.0.iter().map(|(_, point)| *point).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn limits() -> MonitorConfig {
        MonitorConfig::default().with(|limits| {
            limits.cpu_percent = 80.0;
            limits.memory = 1000;
        })
    }

    #[test]
    fn what_goes_up_and_down_around_the_limit_is_reported_once() {
        let (start, mut judge, limits) = (Instant::now(), Judge::default(), limits());
        let looks: [(f64, u64, Option<News>); 9] = [
            (80.0, 1000, None),
            (80.1, 0, Some(News::High)),
            (79.9, 0, None),
            (81.0, 0, None),
            (72.1, 0, None),
            // Calm with the processor, but not with memory.
            (72.0, 901, None),
            (72.0, 900, Some(News::Calm(Duration::from_secs(150)))),
            (72.5, 950, None),
            (10.0, 1001, Some(News::High)),
        ];
        for (number, (cpu, memory, expected)) in looks.into_iter().enumerate() {
            let now = start + Duration::from_secs(30) * u32::try_from(number).expect("a few");
            assert_eq!(judge.see(now, cpu, memory, &limits), expected, "look {number}");
        }
        assert_eq!((judge.warnings, judge.high_since.is_some()), (2, true));
    }

    #[test]
    fn other_limits_hold_from_the_next_look_on() {
        let (now, mut judge, mut limits) = (Instant::now(), Judge::default(), limits());
        assert_eq!(judge.see(now, 90.0, 0, &limits), Some(News::High));
        limits.cpu_percent = 150.0;
        assert_eq!(judge.see(now, 90.0, 0, &limits), Some(News::Calm(Duration::ZERO)));
        assert_eq!(judge.see(now, 90.0, 0, &limits), None);
        limits.cpu_percent = 50.0;
        assert_eq!(judge.see(now, 90.0, 0, &limits), Some(News::High));
    }

    #[test]
    fn an_hour_is_kept_and_never_more_than_so_many_points() {
        let start = Instant::now();
        let point = |memory| LoadPoint { at: UNIX_EPOCH, cpu_percent: 1.0, memory };
        let mut history = History::default();
        for number in 0..300u32 {
            history.add(start + Duration::from_secs(30) * number, point(number.into()));
        }
        let points = history.points();
        assert_eq!((points.len(), points[0].memory, points[120].memory), (121, 179, 299));
        let mut history = History::default();
        (0..5000u64).for_each(|number| history.add(start, point(number)));
        assert_eq!((history.points().len(), history.points()[0].memory), (3600, 1400));
    }
}
