//! When a stream is to run: windows in a time zone, exceptions and policies. Plain data.

use std::time::Duration;

use super::civil::{Date, TimeOfDay, Weekday};
use crate::error::Error;

/// When a stream is to run; [`Engine::schedule`](crate::Engine::schedule) sees to it.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod schedule { pub use flowcast_core::*; } }
/// use std::time::Duration;
///
/// use flowcast::schedule::{Missed, Weekday, When, Window};
///
/// let weekends = [Weekday::Sat, Weekday::Sun];
/// let when = When::in_zone("Europe/Berlin")
///     .window(Window::daily("20:00".parse()?).until("23:30".parse()?))
///     .window(Window::weekly(weekends, "10:00".parse()?).lasting(Duration::from_secs(3600)))
///     .except("2026-12-24".parse()?)
///     .missed(Missed::StartLate(Duration::from_secs(600)));
/// when.check()?;
/// # Ok::<(), flowcast::Error>(())
/// ```
///
/// Times are those that clocks in the zone show. A time that the clocks leave out, on the night they go forward, is the first instant
/// after it; a time that they show twice, on the night they go back, is the first of the two, and the window begins once. A
/// window of which nothing is left on such a night does not take place.
#[cfg_attr(
    feature = "serde",
    doc = "
With the feature `serde`:

```toml
zone = \"Europe/Berlin\"
except = [\"2026-12-24\"]
start_late = \"10m\"         # or missed = \"skip\"
overlap = \"extend\"         # or \"skip\", \"replace\"

[[windows]]                # every day
from = \"20:00\"
to = \"23:30\"

[[windows]]
days = [\"sat\", \"sun\"]
from = \"10:00\"
lasts = \"1h\"

[[windows]]
on = \"2026-12-31\"
from = \"22:00\"
to = \"2027-01-01 01:00\"
```
"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct When {
    /// The time zone, by its name in the IANA database: `Europe/Berlin`. Default `UTC`. It is looked up again and again, so a
    /// database that is updated counts without a restart.
    pub zone: String,
    /// The windows; at least one. They may overlap.
    pub windows: Vec<Window>,
    /// Days on which no window begins. One that began the day before goes on.
    pub except: Vec<Date>,
    /// What happens to a start that was missed. Default [`Missed::StartLate`] within a day.
    pub missed: Missed,
    /// What happens when a window begins while the stream still runs. Default [`Overlap::Extend`].
    pub overlap: Overlap,
}

/// A span of time in which a stream is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// The days on which it begins.
    pub days: Days,
    /// When it begins on such a day.
    pub from: TimeOfDay,
    /// When it ends. Default [`WindowEnd::Never`].
    pub end: WindowEnd,
}

/// The days on which a window begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Days {
    /// Every day.
    Every,
    /// These days of every week; at least one.
    Weekly(Vec<Weekday>),
    /// This day alone.
    On(Date),
}

/// How a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowEnd {
    /// By itself: the stream runs until its source is complete or it is stopped.
    Never,
    /// At this time: of the same day if it is later than the beginning, else of the next day.
    At(TimeOfDay),
    /// On this day, at this time; for a window that begins [on one day](Days::On).
    On(Date, TimeOfDay),
    /// After this time, 1 s to 366 days. It is measured on a clock that nobody sets, from the time that the window begins.
    After(Duration),
}

/// What happens to a start that was missed: the program did not run, the machine slept, the clock was set, or the start was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// It is made up for if it is late by no more than this, and the window has not ended. A start that is refused is tried again for as
    /// long.
    StartLate(Duration),
    /// It is left out, with an event. A minute is not too late.
    Skip,
}

/// What happens when a window begins while the stream of the same schedule still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// The stream goes on without a break until the later of both ends.
    #[default]
    Extend,
    /// The window is left out, with an event.
    Skip,
    /// The stream is stopped and started anew.
    Replace,
}

crate::words::words!(Overlap, "way to overlap", Extend = "extend", Skip = "skip", Replace = "replace");

crate::settings::settings!(When, Window);

/// The longest window, and the latest start.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// As late as a start may be that is not missed.
pub(super) const PUNCTUAL: Duration = Duration::from_secs(60);

impl Default for Missed {
    fn default() -> Self {
        Self::StartLate(Duration::from_secs(86_400))
    }
}

impl Missed {
    /// How late a start may be.
    pub(super) fn within(self) -> Duration {
        match self {
            Self::StartLate(within) => within.max(PUNCTUAL),
            Self::Skip => PUNCTUAL,
        }
    }
}

impl When {
    /// In this time zone, without a window so far.
    #[must_use]
    pub fn in_zone(zone: impl Into<String>) -> Self {
        Self {
            zone: zone.into(),
            windows: Vec::new(),
            except: Vec::new(),
            missed: Missed::default(),
            overlap: Overlap::default(),
        }
    }

    /// Adds a window.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.windows.push(window);
        self
    }

    /// Adds a day on which no window begins.
    #[must_use]
    pub fn except(mut self, date: Date) -> Self {
        self.except.push(date);
        self
    }

    /// What happens to a start that was missed.
    #[must_use]
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// What happens when a window begins while the stream still runs.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Refuses what cannot work: a zone that is not known here, no window, a window that ends before it begins.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub fn check(&self) -> Result<(), Error> {
        let refused = |name, reason: String| Err(Error::Config { name, reason });
        if let Err(error) = jiff::tz::TimeZone::get(&self.zone) {
            return refused("zone", format!("{:?} is not in the time zone database: {error}", self.zone));
        }
        if self.windows.is_empty() {
            return refused("windows", "there is none".to_owned());
        }
        if let Missed::StartLate(within) = self.missed
            && within > LONGEST
        {
            return refused("start_late", "must be at most 366 days".to_owned());
        }
        self.windows.iter().try_for_each(Window::check)
    }
}

impl Window {
    const fn new(days: Days, from: TimeOfDay) -> Self {
        Self { days, from, end: WindowEnd::Never }
    }

    /// Begins every day.
    #[must_use]
    pub const fn daily(from: TimeOfDay) -> Self {
        Self::new(Days::Every, from)
    }

    /// Begins on these days of every week.
    #[must_use]
    pub fn weekly(days: impl IntoIterator<Item = Weekday>, from: TimeOfDay) -> Self {
        Self::new(Days::Weekly(days.into_iter().collect()), from)
    }

    /// Begins once.
    #[must_use]
    pub const fn on(date: Date, from: TimeOfDay) -> Self {
        Self::new(Days::On(date), from)
    }

    /// Ends at this time, of the next day if it is not later than the beginning.
    #[must_use]
    pub const fn until(mut self, time: TimeOfDay) -> Self {
        self.end = WindowEnd::At(time);
        self
    }

    /// Ends on this day, at this time.
    #[must_use]
    pub const fn until_on(mut self, date: Date, time: TimeOfDay) -> Self {
        self.end = WindowEnd::On(date, time);
        self
    }

    /// Ends after this time.
    #[must_use]
    pub const fn lasting(mut self, length: Duration) -> Self {
        self.end = WindowEnd::After(length);
        self
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |reason: &str| Err(Error::Config { name: "windows", reason: reason.to_owned() });
        if matches!(&self.days, Days::Weekly(days) if days.is_empty()) {
            return refused("a window has no days");
        }
        match self.end {
            WindowEnd::After(length) if !(Duration::from_secs(1)..=LONGEST).contains(&length) => {
                refused("a window must last 1 s to 366 days")
            }
            WindowEnd::On(date, time) => match self.days {
                Days::On(begins) if (begins, self.from) < (date, time) => Ok(()),
                Days::On(_) => refused("a window ends before it begins"),
                _ => refused("a window that begins on many days cannot end on one"),
            },
            _ => Ok(()),
        }
    }
}
