//! What is counted of fragments, and what that says of how publishing goes.
//!
//! In: what became of each fragment, from the stream's thread. Out: figures, on any thread. No clock of its own.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::queue::Gap;
use crate::words::graded;

/// Fragments that health looks back on.
const RECENT: usize = 10;
/// Handing a fragment over takes this long at most if all is well, and this long before it is bad; for each 10 MB, if it is larger.
const SLOW: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(500));
const PER: u64 = 10_000_000;
/// Drift is told once pushes have gone on for this long.
const LEAST_DRIFT: Duration = Duration::from_secs(10);

/// The figures of a [`FragmentPublisher`](crate::FragmentPublisher).
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct FragmentStats {
    /// Fragments that were played to their end.
    pub published: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Fragments that were left out or broke off.
    pub skipped: u64,
    /// Pushes that were dropped because their id was known.
    pub duplicates: u64,
    /// Fragments that came after the one before had ended.
    pub late: u64,
    /// Segments that came behind a later one, and were put before it while both were held.
    pub reordered: u64,
    /// Fragments held ahead now.
    pub held: usize,
    /// Pushes that waited for room: `buffer_full_total`.
    pub buffer_full: u64,
    /// How often outputs had no room for what was to be handed over at once, with [`FragmentPace::Off`](crate::FragmentPace::Off): `drain_waits_total`.
    pub drain_waits: u64,
    /// Times of media that had to be mended: `timestamp_fixups_total`.
    pub timestamp_fixups: u64,
    /// How long the last fragment took to be handed over: with [`FragmentPace::Off`](crate::FragmentPace::Off) from its turn to its last frame; else reading it, without
    /// the time in which no more of it was due.
    pub last_elapsed: Option<Duration>,
    /// How the program's clock goes beside the media it pushes, in milliseconds a minute; negative if it is slower, so that
    /// the stream runs dry some time. `None` until ten seconds have been pushed, and where pushes wait for room.
    pub producer_drift_ms_per_min: Option<f64>,
}

/// How publishing goes; see [`FragmentPublisher::health`](crate::FragmentPublisher::health).
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum FragmentHealth {
    /// Nothing is wrong.
    Good,
    /// It goes on, and something is not as it should be.
    Fair(Vec<FragmentTrouble>),
    /// Those who watch notice it.
    Bad(Vec<FragmentTrouble>),
}

/// Why publishing does not go well, by the last ten fragments.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FragmentTrouble {
    /// Handing over took longer than 200 ms (fair) or 500 ms (bad) for each 10 MB.
    Slow {
        /// The longest.
        elapsed: Duration,
    },
    /// Outputs made fragments wait more than once for each of them (fair).
    DrainWaits {
        /// How often.
        waits: u64,
    },
    /// Times had to be mended (fair).
    TimestampFixups {
        /// How often.
        fixups: u64,
    },
    /// Fragments came late (fair), or there is none now and the stream waits (bad).
    Late {
        /// How many came late.
        fragments: usize,
        /// Whether the stream waits now.
        waits: bool,
    },
    /// Fragments were left out: fair, and bad from the half of them on.
    Skipped {
        /// How many.
        fragments: usize,
    },
}

impl FragmentTrouble {
    fn is_bad(&self, seen: usize) -> bool {
        match self {
            Self::Slow { elapsed } => *elapsed > SLOW.1,
            Self::DrainWaits { .. } | Self::TimestampFixups { .. } => false,
            Self::Late { waits, .. } => *waits,
            Self::Skipped { fragments } => fragments * 2 >= seen,
        }
    }
}

impl fmt::Display for FragmentTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow { elapsed } => write!(f, "handing a fragment over took {} ms", elapsed.as_millis()),
            Self::DrainWaits { waits } => write!(f, "outputs made fragments wait {waits} times"),
            Self::TimestampFixups { fixups } => write!(f, "times were mended {fixups} times"),
            Self::Late { waits: true, .. } => f.write_str("there is no fragment, the stream waits"),
            Self::Late { fragments, .. } => write!(f, "{fragments} fragments came late"),
            Self::Skipped { fragments } => write!(f, "{fragments} fragments were left out"),
        }
    }
}

graded!(FragmentHealth, troubles: FragmentTrouble);

/// What became of a fragment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// It was left out, or broke off.
    pub(crate) skipped: bool,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) drain_waits: u64,
    pub(crate) fixups: u64,
    pub(crate) late: bool,
    /// When it was pushed, and how long it plays.
    pub(crate) pushed: Option<(Instant, Duration)>,
}

/// The sums, and the last fragments.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) stats: FragmentStats,
    recent: VecDeque<Outcome>,
    /// When the first fragment was pushed by which drift is measured, and what was pushed from then on without the last one.
    since: Option<(Instant, Duration)>,
}

impl Figures {
    /// Pushes wait for room: they do not show how fast the program is.
    pub(super) fn note_full(&mut self) {
        self.stats.buffer_full += 1;
        self.stats.producer_drift_ms_per_min = None;
        self.since = None;
    }

    pub(super) fn note(&mut self, outcome: Outcome) {
        let stats = &mut self.stats;
        stats.late += u64::from(outcome.late);
        stats.drain_waits += outcome.drain_waits;
        stats.timestamp_fixups += outcome.fixups;
        if outcome.skipped {
            stats.skipped += 1;
        } else {
            stats.published += 1;
            stats.bytes += outcome.bytes;
            stats.last_elapsed = Some(outcome.elapsed);
        }
        if let Some((pushed, length)) = outcome.pushed {
            let (since, media) = self.since.get_or_insert((pushed, Duration::ZERO));
            let wall = pushed.saturating_duration_since(*since);
            if wall >= LEAST_DRIFT {
                let ahead = media.as_secs_f64() - wall.as_secs_f64();
                stats.producer_drift_ms_per_min = Some(ahead * 1000.0 / (wall.as_secs_f64() / 60.0));
            }
            *media += length;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(outcome);
    }

    pub(super) fn health(&self, gap: Gap) -> FragmentHealth {
        let recent = || self.recent.iter();
        let played = || recent().filter(|outcome| !outcome.skipped);
        let share =
            |outcome: &Outcome| outcome.elapsed.mul_f64(1.0 / (outcome.bytes.max(PER) as f64 / PER as f64));
        let elapsed = played().map(share).max().unwrap_or_default();
        let waits: u64 = recent().map(|outcome| outcome.drain_waits).sum();
        let fixups: u64 = recent().map(|outcome| outcome.fixups).sum();
        let late = recent().filter(|outcome| outcome.late).count();
        let skipped = recent().filter(|outcome| outcome.skipped).count();
        let is_waiting = gap == Gap::Waits;
        let troubles: Vec<_> = [
            (elapsed > SLOW.0).then_some(FragmentTrouble::Slow { elapsed }),
            (is_waiting || late > 0).then_some(FragmentTrouble::Late { fragments: late, waits: is_waiting }),
            (skipped > 0).then_some(FragmentTrouble::Skipped { fragments: skipped }),
            (waits > self.recent.len() as u64).then_some(FragmentTrouble::DrainWaits { waits }),
            (fixups > 0).then_some(FragmentTrouble::TimestampFixups { fixups }),
        ]
        .into_iter()
        .flatten()
        .collect();
        if troubles.is_empty() {
            FragmentHealth::Good
        } else if troubles.iter().any(|trouble| trouble.is_bad(self.recent.len())) {
            FragmentHealth::Bad(troubles)
        } else {
            FragmentHealth::Fair(troubles)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taking(millis: u64, bytes: u64) -> Outcome {
        Outcome { bytes, elapsed: Duration::from_millis(millis), ..Outcome::default() }
    }

    fn health(outcomes: &[Outcome], gap: Gap) -> String {
        let mut figures = Figures::default();
        outcomes.iter().for_each(|outcome| figures.note(*outcome));
        figures.health(gap).to_string()
    }

    #[test]
    fn each_limit_counts_from_its_own_figure_on() {
        let good = || vec![taking(175, 8_800_000); 9];
        let with = |last: Outcome| [good(), vec![last]].concat();
        let slow = |millis, bytes| health(&with(taking(millis, bytes)), Gap::None);
        assert_eq!(health(&[], Gap::None), "good");
        assert_eq!(slow(200, 10_000_000), "good");
        assert_eq!(slow(201, 10_000_000), "fair: handing a fragment over took 201 ms");
        assert_eq!(slow(500, 8_000_000), "fair: handing a fragment over took 500 ms");
        assert_eq!(slow(501, 8_000_000), "bad: handing a fragment over took 501 ms");
        // Twice the size may take twice as long, and a small one no less than any other.
        assert_eq!(slow(400, 20_000_000), "good");
        assert_eq!(slow(402, 20_000_000), "fair: handing a fragment over took 201 ms");
        assert_eq!((slow(200, 1000), slow(501, 1000).split(':').next()), ("good".to_owned(), Some("bad")));

        let waits = |drain_waits| health(&with(Outcome { drain_waits, ..taking(10, 10) }), Gap::None);
        assert_eq!(
            (waits(10).as_str(), waits(11).as_str()),
            ("good", "fair: outputs made fragments wait 11 times")
        );
        let mended = Outcome { fixups: 1, ..taking(10, 10) };
        assert_eq!(health(&with(mended), Gap::None), "fair: times were mended 1 times");
        let late = Outcome { late: true, ..taking(10, 10) };
        assert_eq!(health(&with(late), Gap::None), "fair: 1 fragments came late");
        assert_eq!(health(&good(), Gap::Waits), "bad: there is no fragment, the stream waits");
        let skipped = |count| {
            let skipped = Outcome { skipped: true, ..Outcome::default() };
            health(&[vec![taking(10, 10); 10 - count], vec![skipped; count]].concat(), Gap::None)
        };
        assert_eq!(skipped(4), "fair: 4 fragments were left out");
        assert_eq!(skipped(5), "bad: 5 fragments were left out");
        let all = Outcome { late: true, fixups: 2, drain_waits: 30, ..taking(501, 10) };
        assert_eq!(
            health(&[all, Outcome { skipped: true, ..Outcome::default() }], Gap::Waits),
            "bad: handing a fragment over took 501 ms; there is no fragment, the stream waits; 1 fragments were left out; \
             outputs made fragments wait 30 times; times were mended 2 times"
        );
    }

    #[test]
    fn health_forgets_what_is_ten_fragments_ago_and_a_full_queue_is_no_trouble() {
        let mut figures = Figures::default();
        figures.note(taking(501, 8_800_000));
        figures.note_full();
        for _ in 1..RECENT {
            figures.note(taking(10, 10));
            assert_eq!(figures.health(Gap::None).as_str(), "bad");
        }
        figures.note(taking(10, 10));
        assert_eq!((figures.health(Gap::None), figures.stats.buffer_full), (FragmentHealth::Good, 1));
    }

    #[test]
    fn the_drift_of_the_program_is_what_it_pushes_beside_its_clock() {
        let mut figures = Figures::default();
        let (begin, length) = (Instant::now(), Duration::from_secs(30));
        for number in 0..20 {
            // Thirty seconds of media take 30.03 s to be made.
            let pushed = begin + Duration::from_millis(30_030) * number;
            figures.note(Outcome { pushed: Some((pushed, length)), ..Outcome::default() });
        }
        let drift = figures.stats.producer_drift_ms_per_min.expect("it was long enough");
        assert!((drift + 60.0).abs() < 0.2, "{drift}");
        figures.note_full();
        assert_eq!(figures.stats.producer_drift_ms_per_min, None);
    }
}
