//! Starts threads. In: a name, a stack and what to run. Out: the thread, or why there is none.
//!
//! Where the address space is limited (`RLIMIT_AS`), a thread whose stack just fits cannot get the signal stack that the standard
//! library gives it, and that ends the whole process. So it is seen before that there is room for more than the stack.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Address space, in bytes, that has to be left besides a thread's stack: for its signal stack, and for what this thread and those
/// that run already are still going to allocate. Failing to is the end of the process, too.
#[cfg(target_os = "linux")]
const BESIDE: u64 = 64 << 20;

/// Starts a thread with a stack of this many bytes.
///
/// # Errors
///
/// [`OutOfMemory`](io::ErrorKind::OutOfMemory) if the address space left is too small for it, else what the system says.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    stack: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[cfg(target_os = "linux")]
    if let Some(left) = address_space_left()
        && left < stack as u64 + BESIDE
    {
        let reason = format!(
            "{left} bytes of address space are left (RLIMIT_AS), a thread needs {}",
            stack as u64 + BESIDE
        );
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, reason));
    }
    Builder::new().name(name.into()).stack_size(stack).spawn(work)
}

/// How many bytes of address space this process may still take; `None` where that is not limited or not known.
#[cfg(target_os = "linux")]
fn address_space_left() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let taken = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kib: u64 = taken.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(limit.saturating_sub(kib << 10))
}
