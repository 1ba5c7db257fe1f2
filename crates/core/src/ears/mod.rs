//! How loud files are, and the gain that follows.
//!
//! In: a file. Out: its integrated loudness and true peak, by ITU-R BS.1770-4 and EBU R 128. A file is decoded once to find out, by one of two
//! threads for all streams (`fc-loud`), which let others go first; what they find is kept in memory for as long as the file does not change.
//! Nobody has to wait for it.

mod gain;
mod listen;
mod measure;
mod meter;

pub(crate) use gain::{Gain, LastGain};
pub(crate) use listen::{Heard, Turn, listen};
pub(crate) use measure::sound_of;
