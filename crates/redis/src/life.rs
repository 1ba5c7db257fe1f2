//! The name of a node, and which life of it a process is.

use std::sync::Arc;

use ring::rand::SecureRandom;

use crate::error::Error;

/// Refuses what cannot be the name of a node.
pub(crate) fn check_node(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
        return Err(Error::config("node", "a name has 1 to 64 letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

/// What tells one process from another that has the same name.
pub(crate) fn life() -> Result<String, Error> {
    let mut boot = [0; 8];
    let random = ring::rand::SystemRandom::new().fill(&mut boot);
    random.map_err(|_| no_random())?;
    Ok(format!("{:016x}", u64::from_le_bytes(boot)))
}

pub(crate) fn no_random() -> Error {
    let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Error::System { what: "the system gives no random numbers", source: Arc::new(source) }
}
