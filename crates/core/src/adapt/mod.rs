//! The bit rate that pictures are encoded to follows the network, or what a program asks for; their quality follows the load of the machine.
//!
//! In: how far outputs are behind and what they deliver, once a tick, from the stream's thread; what a program asks for, on any thread. Out: the rate,
//! to the threads that encode, which look at it before each picture ([`Dial`]): one number, no lock. What is decided ([`Controller`]) knows no
//! threads and no clock of its own. Nor does what decides which stream goes to which rung of the engine's ladder ([`Pressure`]): in are the use of the machine
//! and what each encoder needs, twice a second.

mod controller;
mod demand;
mod dial;
mod ladder;
mod link;
mod pressure;
#[cfg(test)]
mod pressure_tests;
mod settings;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub(crate) use controller::{Change, Controller, Sample};
pub(crate) use dial::Dial;
#[cfg(feature = "libav")]
pub(crate) use dial::{AtWork, Sharing};
#[cfg(all(test, feature = "libav"))]
pub(crate) use ladder::Cut;
pub use ladder::{GiveWay, QualityLadder, Rung, UnderLoad};
pub(crate) use pressure::{Pressure, Sight, Use};
pub use settings::{Adaptation, Follow};
