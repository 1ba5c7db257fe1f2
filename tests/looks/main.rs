//! What a stream shows and what was on the air: thumbnails and clips; and what copying must not lose.

#![cfg(feature = "libav")]

mod budget;
mod carried;
mod clips;
mod content;
mod thumbnails;
mod two_tracks;
