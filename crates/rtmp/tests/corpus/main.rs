//! Every input that fuzzing found worth keeping, and every one that once broke something, goes through its target again.
//!
//! One folder per target, one file per input. To find more, see `fuzz/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic is how a test fails"
)]

mod targets;

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_holds() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{}", path.display());
            // Beginnings of it too: what is cut off is an input of its own.
            for end in (0..input.len()).step_by(1 + input.len() / 16) {
                target(&input[..end]);
            }
            count += 1;
        }
        assert!((10..=200).contains(&count), "{name} has {count} inputs");
    }
}
