//! The lobby, over real sockets: who gets in, who is told no, and what that costs the others.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod again;
mod callbacks;
mod failures;
mod hooks;
mod keys;
mod limits;
mod names;
mod owners;
mod raw;
