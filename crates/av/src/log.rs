//! libav's log lines: quiet by default, and on request as records of the `log` crate.
//!
//! libav has one log callback for the whole process and no way to chain it. This crate therefore installs its own only when
//! [`capture`] is called. Without it, the first use of this crate lowers libav's level from "info" to "fatal", so that it
//! does not write to the program's stderr; a level that the program has set itself is left alone.

use std::sync::Once;

use crate::{redact, sys};

/// Sends libav's lines of this level and more important ones to the `log` crate, under the target `libav`, until
/// [`release`] is called. `Off` silences libav.
///
/// Addresses in the lines are redacted, and so are the keys of the addresses this crate has open, even at `Trace` (libav's
/// "debug" and "trace"), where libav prints stream keys. The logger of the
/// program runs inside libav's calls, on any thread; a panic in it is caught.
pub fn capture(level: ::log::LevelFilter) {
    QUIET.call_once(|| {});
    sys::log::set_level(match level {
        ::log::LevelFilter::Off => -8,
        ::log::LevelFilter::Error => 16,
        ::log::LevelFilter::Warn => 24,
        ::log::LevelFilter::Info => 32,
        ::log::LevelFilter::Debug => 40,
        ::log::LevelFilter::Trace => 56,
    });
    sys::log::install();
}

/// Gives libav's log back to libav, which writes fatal errors to stderr.
pub fn release() {
    sys::log::uninstall();
    sys::log::set_level(sys::log::FATAL);
}

static QUIET: Once = Once::new();

/// Lowers the level once, unless the program has chosen one.
pub(crate) fn quiet_by_default() {
    QUIET.call_once(|| {
        if sys::log::level() == sys::log::DEFAULT {
            sys::log::set_level(sys::log::FATAL);
        }
    });
}

/// One line from libav's callback, with libav's number of the level.
pub(crate) fn receive(level: i32, text: &str) {
    let level = match level {
        ..=16 => ::log::Level::Error,
        17..=24 => ::log::Level::Warn,
        25..=32 => ::log::Level::Info,
        33..=40 => ::log::Level::Debug,
        _ => ::log::Level::Trace,
    };
    let text = text.trim_end();
    if !text.is_empty() && ::log::log_enabled!(target: "libav", level) {
        ::log::log!(target: "libav", level, "{}", redact::line(text));
    }
}
