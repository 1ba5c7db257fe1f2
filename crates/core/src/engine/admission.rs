//! Admission by measured cost: what programs ask of the engine, and how they change it.

use super::Engine;
use super::builder::StreamBuilder;
use crate::admission::{MeasuredAdmission, ResourceUse, StartForecast};
use crate::error::Error;
use crate::spec::StreamSpec;

impl Engine {
    /// By what the machine has to have left streams are admitted: as [`Config::admission`](crate::Config::admission) says, or as was
    /// [set](Self::set_admission) last. `None`: only their number counts.
    #[must_use]
    pub fn admission(&self) -> Option<MeasuredAdmission> {
        self.registry.limiter().admission()
    }

    /// Changes that from now on; `None` switches it off. Streams that run go on, and starts that wait for room ask again.
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub mod admission { pub use flowcast_core::*; } }
    /// use flowcast::admission::MeasuredAdmission;
    /// use flowcast::{BitRate, Config, Engine};
    ///
    /// let engine = Engine::new(Config::default())?;
    /// let uplink = Some(BitRate::from_mbps(200.0));
    /// engine.set_admission(Some(MeasuredAdmission::default().with(|admission| admission.uplink = uplink)))?;
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot work, and nothing is changed then; [`Error::System`] if there is no thread left to measure, and
    /// it is off then.
    pub fn set_admission(&self, admission: Option<MeasuredAdmission>) -> Result<(), Error> {
        admission.as_ref().map_or(Ok(()), MeasuredAdmission::check)?;
        let limiter = self.registry.limiter();
        limiter.set_admission(admission);
        self.registry.begin_to_measure().inspect_err(|_| limiter.set_admission(None))
    }

    /// Whether this stream could be started at once, and what it is expected to use. It takes no place, and it can be out of date when
    /// it returns: what decides is [`start`](Self::start), which asks and takes the place in one step.
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub mod admission { pub use flowcast_core::*; } pub mod spec { pub use flowcast_core::*; } }
    /// use flowcast::admission::MeasuredAdmission;
    /// use flowcast::spec::StreamSpec;
    /// use flowcast::{BitRate, Config, Engine, Output, Source};
    ///
    /// let admission = MeasuredAdmission::default().with(|admission| {
    ///     (admission.cpu, admission.memory) = (None, None);
    ///     admission.uplink = Some(BitRate::from_mbps(4.0));
    /// });
    /// let engine = Engine::new(Config::default().with(|config| config.admission = Some(admission)))?;
    /// let show = StreamSpec::new(Source::file("show.mp4").looped()).to(Output::rtmp("rtmp://live.twitch.tv/app", "your-stream-key"));
    /// let forecast = engine.can_start_spec(&show)?;
    /// assert!(!forecast.allowed);
    /// let reason = forecast.reason.expect("it says why").to_string();
    /// assert_eq!(reason, "not enough left for the stream: uplink: 0.00 of 4.00 Mbit/s in use, 6.30 needed");
    /// # Ok::<(), flowcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Spec`] for a stream that cannot work.
    ///
    /// # Blocking
    ///
    /// Less than half a second the first time after admission was switched on; else not.
    pub fn can_start_spec(&self, spec: &StreamSpec) -> Result<StartForecast, Error> {
        spec.check()?;
        self.registry.be_measured();
        let stream = StreamBuilder::of(self.registry.clone(), spec.clone());
        let forms = stream.forms();
        let asks: Vec<_> = forms.iter().map(|form| form.ask.clone()).collect();
        let (choice, needs) = self.registry.limiter().forecast(spec.owner.as_deref(), &asks);
        let choice = self.registry.check_abandoned().and(choice);
        let form = choice.as_ref().map_or(0, |choice| choice.number);
        let lowered = forms.into_iter().nth(form).and_then(|form| form.lowered).map(|(to, _)| to);
        let reason = choice.err().map(|error| self.registry.with_end(error, &asks));
        Ok(StartForecast { allowed: reason.is_none(), reason, needs, lowered })
    }

    /// What is used of each resource that has a budget; nothing while admission is off.
    ///
    /// # Blocking
    ///
    /// As [`can_start_spec`](Self::can_start_spec).
    #[must_use]
    pub fn resources(&self) -> Vec<ResourceUse> {
        self.registry.be_measured();
        self.registry.limiter().uses()
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
