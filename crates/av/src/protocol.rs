//! Which network protocols the linked libav was built with.
//!
//! In: the scheme of an address, and which way the media goes. Out: whether it can be opened, and if not, which library is missing. On any
//! thread; nothing here blocks.

use std::ffi::CString;

use crate::{Error, sys};

/// Which way media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the address: an input.
    Read,
    /// To the address: an output.
    Write,
}

/// Schemes whose protocol libav calls by another name: what it needs to have.
const OTHER_NAMES: [(&str, &str); 1] = [("icecast", "http")];

/// Schemes that are formats of their own for libav.
const FORMATS: [&str; 2] = ["rtsp", "rtsps"];

/// What libav is built with to have a protocol.
const LIBRARIES: [(&str, &str); 8] = [
    ("srt", "libsrt"),
    ("rist", "librist"),
    ("amqp", "librabbitmq"),
    ("zmq", "libzmq"),
    ("tls", TLS),
    ("https", TLS),
    ("rtmps", TLS),
    ("rtsps", TLS),
];
const TLS: &str = "a TLS library (GnuTLS, OpenSSL or mbed TLS)";
const NETWORK: &str = "its network protocols";

/// Whether the linked libav has what addresses with this scheme need ("srt", "rtsp", "udp", "https"; case does not matter).
///
/// ```
/// use flowcast_av::{Direction, has_protocol};
///
/// assert!(has_protocol("tcp", Direction::Write));
/// assert!(!has_protocol("carrier-pigeon", Direction::Read));
/// ```
#[must_use]
pub fn has_protocol(scheme: &str, direction: Direction) -> bool {
    if sys::check_versions().is_err() {
        return false;
    }
    let scheme = scheme.to_ascii_lowercase();
    let name =
        OTHER_NAMES.iter().find(|(other, _)| *other == scheme).map_or(scheme.as_str(), |(_, name)| name);
    let has = |name: &str| sys::protocols(direction).iter().any(|known| known == name);
    if FORMATS.contains(&name) {
        let has_tls = name != "rtsps" || has("tls");
        return has_tls
            && has("tcp")
            && CString::new("rtsp").is_ok_and(|format| sys::has_format(&format, direction));
    }
    has(name)
}

/// Refuses a scheme that the linked libav has no protocol for.
///
/// # Errors
/// [`Error::ProtocolNotBuilt`], with the library that is missing; [`Error::VersionMismatch`].
pub fn require_protocol(scheme: &str, direction: Direction) -> Result<(), Error> {
    sys::check_versions()?;
    if has_protocol(scheme, direction) {
        return Ok(());
    }
    let protocol = scheme.to_ascii_lowercase();
    let library =
        LIBRARIES.iter().find(|(name, _)| *name == protocol).map_or(NETWORK, |(_, library)| library);
    Err(Error::ProtocolNotBuilt { protocol, library })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_says_which_library_is_missing() {
        for direction in [Direction::Read, Direction::Write] {
            for there in ["tcp", "UDP", "rtsp", "http"] {
                assert!(require_protocol(there, direction).is_ok(), "{there}");
            }
            let error = require_protocol("carrier-pigeon", direction).expect_err("nothing has it");
            assert_eq!(error.code(), "PROTOCOL_NOT_BUILT");
            assert!(!error.is_retryable());
            assert_eq!(
                error.to_string(),
                "the FFmpeg libraries were built without its network protocols, which carrier-pigeon:// needs"
            );
        }
        // As libav says itself, in a build that has it and in one that has not.
        let has_srt = sys::protocols(Direction::Write).iter().any(|name| name == "srt");
        assert_eq!(has_srt, require_protocol("srt", Direction::Write).is_ok());
        let error = Error::ProtocolNotBuilt { protocol: "srt".to_owned(), library: "libsrt" };
        assert_eq!(error.to_string(), "the FFmpeg libraries were built without libsrt, which srt:// needs");
    }
}
