//! See `server_session` in `crates/rtmp/tests/corpus/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| flowcast_fuzz::run("server_session", data));
