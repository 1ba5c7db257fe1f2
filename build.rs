//! Facts for the facade: nothing is generated yet.
fn main() {}
