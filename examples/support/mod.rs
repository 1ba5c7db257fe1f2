//! What the examples share: arguments, progress, output, figures of the process.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_macros,
    reason = "each example is a crate of its own and uses its part"
)]

pub mod cli;
pub mod events;
pub mod outputs;
pub mod print;
pub mod process;
pub mod progress;
pub mod reels;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the examples' `main` returns.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Set once the user asked to stop (Ctrl-C, SIGTERM): the example then ends in an orderly way.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed))?;
    Ok(flag)
}

/// Set each time one of these signals comes.
pub fn asked_by(signals: &[i32]) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in signals {
        signal_hook::flag::register(*signal, flag.clone())?;
    }
    Ok(flag)
}

/// Runs an example: prints the error and its causes, and sets the exit code.
pub fn exit(result: Result<()>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            print::note(format_args!("error: {}", flowcast::error::chain(error.as_ref())));
            std::process::ExitCode::FAILURE
        }
    }
}
