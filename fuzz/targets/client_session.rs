//! See `client_session` in `crates/rtmp/tests/corpus/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flowcast_fuzz::run("client_session", data));
