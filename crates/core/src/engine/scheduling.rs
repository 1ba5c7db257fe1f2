//! Streams by the calendar: what the engine gives the schedules to start with.

use std::sync::Arc;

use super::Engine;
use super::builder::StreamBuilder;
use crate::error::Error;
use crate::schedule::{Keeper, Schedule, ScheduleId, Schedules, When};
use crate::spec::StreamSpec;
use crate::stream::Registry;

/// Starts streams as long as the engine lives, without keeping it alive.
pub(super) fn keeper(registry: &Arc<Registry>) -> Arc<Keeper> {
    let (engine, patience) = (Arc::downgrade(registry), registry.config.force_stop_after);
    let keeper = Keeper::new(
        patience,
        Box::new(move |spec, leave| {
            let registry = engine.upgrade().ok_or(Error::Ended)?;
            Ok(StreamBuilder::of(registry, spec.clone()).scheduled().start_with(leave)?.detach())
        }),
    );
    let ends = Arc::downgrade(&keeper);
    registry.set_known_ends(move || ends.upgrade().map_or_else(Vec::new, |keeper| keeper.ends()));
    keeper
}

impl Engine {
    /// Has a stream run by the calendar from now on: it is started and stopped by a thread of the engine. What happens is
    /// reported by [`Schedules::events`]. Several schedules know nothing of each other.
    ///
    /// ```no_run
    /// # mod flowcast { pub use flowcast_core::*; pub mod schedule { pub use flowcast_core::*; } pub mod spec { pub use flowcast_core::*; } }
    /// use flowcast::schedule::{When, Window};
    /// use flowcast::spec::StreamSpec;
    /// use flowcast::{Config, Engine, Output, Source};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let show = StreamSpec::new(Source::file("show.mp4").looped()).to(Output::rtmp("rtmp://live.twitch.tv/app", "your-stream-key"));
    /// let evenings = Window::daily("20:00".parse()?).until("23:30".parse()?);
    /// engine.schedule(show, When::in_zone("Europe/Berlin").window(evenings))?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`Schedules::add`].
    pub fn schedule(&self, spec: StreamSpec, when: When) -> Result<ScheduleId, Error> {
        self.schedules().add(Schedule::new(spec, when))
    }

    /// All schedules.
    #[must_use]
    pub fn schedules(&self) -> Schedules {
        self.guard.keeper.schedules()
    }
}
