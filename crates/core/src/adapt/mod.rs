//! The bit rate that pictures are encoded to follows the network, or what a program asks for.
//!
//! In: how far outputs are behind and what they deliver, once a tick, from the stream's thread; what a program asks for, on any thread. Out: the rate,
//! to the threads that encode, which look at it before each picture ([`Dial`]): one number, no lock. What is decided ([`Controller`]) knows no
//! threads and no clock of its own.

mod controller;
mod dial;
mod link;
mod settings;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub(crate) use controller::{Change, Controller, Sample};
pub(crate) use dial::Dial;
#[cfg(feature = "libav")]
pub(crate) use dial::{AtWork, Sharing};
pub use settings::{Adaptation, Follow};
