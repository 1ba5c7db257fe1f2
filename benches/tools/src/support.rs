//! What the programs' `main` functions share: arguments, figures as JSON, Ctrl-C, exit codes.
#![allow(clippy::print_stderr, reason = "a part of programs that people start")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a `main` returns.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Set once the user asked to stop (Ctrl-C, SIGTERM): the program then ends in an orderly way.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed))?;
    Ok(flag)
}

/// Prints the error and its causes, and gives the exit code.
pub fn exit(result: Result<()>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", flowcast::error::chain(error.as_ref()));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Reads a time in seconds.
pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed, such as 90 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Reads a time in milliseconds.
pub fn millis(text: &str) -> std::result::Result<Duration, String> {
    let millis = text.parse().map_err(|_| "a whole number of milliseconds is needed")?;
    Ok(Duration::from_millis(millis))
}

/// A time in milliseconds, to a tenth.
pub fn tenths(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3, 1)
}

/// A number that is rounded for people who read the JSON.
pub fn round(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// The least, the median and the most of some rates, which are sorted.
pub fn spread(rates: &mut [f64]) -> [Option<f64>; 3] {
    rates.sort_by(f64::total_cmp);
    let rate = |index: usize| rates.get(index).map(|rate| round(*rate, 1));
    [rate(0), rate(rates.len() / 2), rate(rates.len().saturating_sub(1))]
}
