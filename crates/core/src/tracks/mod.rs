//! Which tracks of a file go on the air, and as which tags.

mod carriage;
#[cfg(feature = "libav")]
mod selection;
#[cfg(feature = "libav")]
mod tagger;

pub use carriage::Carriage;
pub(crate) use carriage::Tracks;
#[cfg(feature = "libav")]
pub(crate) use selection::Chosen;
#[cfg(feature = "libav")]
pub use selection::Selection;
#[cfg(feature = "libav")]
pub use tagger::{Tagged, Tagger};
