//! Streams by the calendar: when one starts, when it stops, and who sees to it.
//!
//! In: streams as data with windows in a time zone. Out: starts and stops of the engine, and events about them. `when` and `civil` are
//! data, `calendar` and `planner` are logic without a clock of their own, `keeper` is the thread.

mod calendar;
mod civil;
mod event;
mod keeper;
mod planner;
#[cfg(test)]
mod tests;
mod when;
#[cfg(feature = "serde")]
mod wire;

pub use calendar::Occurrence;
pub use civil::{Date, TimeOfDay, Weekday};
pub use event::{ScheduleEvent, ScheduleEventKind};
pub(crate) use keeper::Keeper;
pub use keeper::{Schedule, ScheduleId, Scheduled, Schedules};
pub use when::{Days, Missed, Overlap, When, Window, WindowEnd};
#[cfg(feature = "serde")]
pub use wire::ScheduleWithKeys;
