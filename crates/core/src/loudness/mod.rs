//! Loudness in figures: how loud something is, how loud it is to be, and the gain between the two.

mod facts;
mod settings;

pub use facts::LoudnessFacts;
pub use settings::Loudness;
