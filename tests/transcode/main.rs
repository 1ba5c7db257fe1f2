//! Real footage in formats that have to be encoded, looped to a recording and to servers of others: platforms take what comes
//! out, and it is the file, picture for picture, over its loop points.

#![cfg(feature = "libav")]
#![allow(clippy::print_stdout, reason = "what is found for each file is shown with --nocapture")]

mod air;
mod bits;
mod clips;
mod damaged;
mod encoders;
mod originals;
mod picture;
mod quality;
mod shown;
mod slow;
mod table;
