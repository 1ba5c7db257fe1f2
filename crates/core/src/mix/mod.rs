//! Several sounds become one.
//!
//! In: the samples of a source's own sound, run by run, and those of other inputs, which wait in queues. Out: the sum, as loud as the
//! program wants each of them, below a ceiling that nothing passes. All of it is 32-bit float, a row for each channel; gains are worked out
//! in 64 bits. What is mixed is on the clock of the source: other inputs are there when they are, and nobody waits for them.

mod control;
mod desk;
mod ducker;
#[cfg(feature = "libav")]
mod files;
mod handle;
mod level;
mod leveler;
mod limiter;
#[cfg(feature = "libav")]
mod line;
#[cfg(feature = "libav")]
mod mixing;
mod queue;
mod settings;
mod sinc;
#[cfg_attr(not(feature = "libav"), path = "without_libav.rs")]
mod sink;
#[cfg(feature = "libav")]
mod skew;
#[cfg(feature = "libav")]
mod sound;
mod strip;
#[cfg(test)]
mod tests;

#[cfg(feature = "libav")]
pub(crate) use control::MixFormat;
pub use handle::{MixInputStats, MixerRef, MixerStats};
#[cfg(feature = "libav")]
pub(crate) use leveler::Leveler;
#[cfg(feature = "libav")]
pub(crate) use line::Line;
#[cfg(feature = "libav")]
pub(crate) use mixing::{MixOptions, Mixing};
pub use settings::{Ducking, MixInput, Mixer};
pub(crate) use settings::{Feed, Listened, Live};
pub use sink::{SampleRoom, SampleSink};
#[cfg(feature = "libav")]
pub(crate) use sound::Sound;
