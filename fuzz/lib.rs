//! The targets live with the tests that replay what was found.
#[path = "../crates/rtmp/tests/corpus/targets.rs"]
mod targets;

/// Runs the target called `name`.
///
/// # Panics
///
/// If there is no such target, or if the target finds something.
pub fn run(name: &str, data: &[u8]) {
    let known = targets::TARGETS.into_iter().find(|(known, _)| *known == name);
    known.expect("a target of this name").1(data);
}
