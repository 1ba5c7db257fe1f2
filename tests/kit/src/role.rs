//! Tests that need a process of their own, where nothing else counts threads, takes memory or sends logs: the test starts the
//! program it is in again, for itself alone, with a role that it finds in the environment.

use super::process::text;
use std::path::PathBuf;
use std::time::Duration;

const VARIABLE: &str = "FLOWCAST_TEST_ROLE";

/// Whether this process was started for the role.
pub fn alone(role: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|given| given == role)
}

/// The program and the arguments that run one test of this program with a role.
pub fn role_arguments(role: &str, test: &str) -> (PathBuf, Vec<String>) {
    let program = std::env::current_exe().expect("the test's own program");
    let arguments =
        [&format!("{VARIABLE}={role}"), text(&program), "--exact", test, "--nocapture", "--include-ignored"];
    (PathBuf::from("env"), arguments.map(str::to_owned).to_vec())
}

/// Runs one test of this program with a role, to its good end; what it printed.
pub fn run_alone(role: &str, test: &str, deadline: Duration) -> String {
    let (program, arguments) = role_arguments(role, test);
    ran(super::run(program, arguments, deadline))
}

/// What a process printed that was started for a role and has ended well. A test that has another name by now would have ended well, too:
/// it must have run.
#[track_caller]
pub fn ran(output: String) -> String {
    assert!(output.contains("test result: ok. 1 passed"), "the test was not run:\n{output}");
    output
}
