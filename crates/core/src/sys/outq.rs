//! How many bytes of a TCP socket the peer has not acknowledged yet.

use std::os::fd::AsFd;

/// Bytes written to `socket` that the peer's kernel has not acknowledged: sent and in flight, or not sent at all.
///
/// `None` where the kernel does not tell (only Linux does).
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged_bytes(socket: &impl AsFd) -> Option<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// `SIOCOUTQ` of `linux/sockios.h`, which is `TIOCOUTQ`; see tcp(7).
    const SIOCOUTQ: Opcode = 0x5411;
    // SAFETY: SIOCOUTQ writes one C `int` and nothing else; `Getter` owns that int until the call returns, and the
    // borrowed descriptor stays open for as long.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, std::ffi::c_int>::new()) };
    bytes.ok().and_then(|bytes| u64::try_from(bytes).ok())
}

/// Other kernels do not tell: the lag is then measured from our own buffer alone.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged_bytes(_socket: &impl AsFd) -> Option<u64> {
    None
}
