//! What the programs' `main` functions share: arguments, one line of JSON, Ctrl-C, exit codes.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "parts of programs that scripts read"
)]

pub mod args;
pub mod json;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
            eprintln!("error: {}", flowcast::chain(error.as_ref()));
            std::process::ExitCode::FAILURE
        }
    }
}
