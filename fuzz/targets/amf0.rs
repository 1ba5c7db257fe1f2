//! See `amf0` in `crates/rtmp/tests/corpus/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flowcast_fuzz::run("amf0", data));
