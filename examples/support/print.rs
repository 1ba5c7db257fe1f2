//! What the examples print: results on standard output, everything else on standard error.
//!
//! Whoever reads standard output may go before its end (`probe FILE | head -1`). That is no error, and what is left is not
//! printed.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

use serde::Serialize;

use super::Result;

/// Prints a line of the result.
macro_rules! out {
    ($($text:tt)*) => { $crate::support::print::line(format_args!($($text)*)) };
}
pub(crate) use out;

/// Prints a line of the result.
pub fn line(text: impl Display) -> std::io::Result<()> {
    match writeln!(stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints an object in one line.
pub fn json(object: &impl Serialize) -> Result<()> {
    Ok(line(serde_json::to_string(object)?)?)
}

/// Tells a person something beside the result.
pub fn note(text: impl Display) {
    // There is nowhere else to say that it cannot be said.
    let _ = writeln!(stderr().lock(), "{text}");
}

/// A number that is rounded for people who read the JSON.
pub fn round(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}
