//! Where an input came from: what its errors say, and how its bytes are reached.

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::interrupt::Reason;
use crate::probe::{self, Opened, Request};
use crate::redact::{self, Secrets};
use crate::sys::{self, Failure, Guard, Input, Io, Source};
use crate::{Error, Interrupt, OpenOptions, origin};

/// Where an input came from, for messages and for opening it again.
#[derive(Debug)]
pub(crate) struct Context {
    /// The input as it may be shown.
    pub(crate) shown: String,
    pub(super) name: CString,
    pub(super) path: Option<PathBuf>,
    pub(super) size: Option<u64>,
    pub(super) guard: Arc<Guard>,
    pub(super) _secrets: Secrets,
}

impl Context {
    /// Turns a failure of libav into an error of this input.
    pub(crate) fn error(&self, failure: Failure, operation: &'static str, input: Option<&Input>) -> Error {
        match self.guard.reason() {
            Some(Reason::Cancelled) => return Error::Cancelled { operation },
            Some(Reason::Deadline) => return Error::Timeout { operation },
            None => {}
        }
        if let Some(protocol) = self.guard.refused() {
            return Error::ProtocolRefused { input: self.shown.clone(), protocol };
        }
        if let (Some(source), Some(path)) = (input.and_then(Input::take_source_error), &self.path) {
            return Error::Io { path: path.clone(), operation: "read", source };
        }
        match failure.code {
            // Demuxers say both of damaged headers; our own arguments are checked before.
            Failure::INVALID_DATA | Failure::END | Failure::INVALID_ARGUMENT => {
                Error::InvalidData { input: self.shown.clone(), message: redact::line(&failure.message()) }
            }
            _ => failure.into(),
        }
    }
}

/// A guard whose deadline for opening runs from now.
pub(super) fn guarded(options: &OpenOptions, interrupt: &Interrupt) -> Arc<Guard> {
    let guard = Guard::new(interrupt);
    guard.set_deadline(Instant::now().checked_add(options.timeout));
    Arc::new(guard)
}

/// Opens what a Rust reader gives, from its first byte on.
pub(super) fn read_source(
    mut source: Box<dyn Source>,
    context: &Context,
    options: &OpenOptions,
    guard: &Arc<Guard>,
) -> Result<Opened, Error> {
    source.rewind().map_err(|source| Error::Io {
        path: context.path.clone().unwrap_or_default(),
        operation: "read",
        source,
    })?;
    let limits = probe::limits(options, None);
    let failed = |failure| context.error(failure, "open", None);
    let io = Io::from_source(source, guard).map_err(failed)?;
    let opening = probe::recognise(io, context.name.clone(), guard, &limits, false, context)?;
    probe::open(Request { opening, limits, options, size: context.size }, context)
}

/// Connects to an address by libav's protocols.
pub(super) fn open_connection(
    name: &CStr,
    access: origin::Access,
    guard: &Arc<Guard>,
) -> Result<Io, Failure> {
    let mut options = sys::Dict::new();
    options.set("protocol_whitelist", access.protocols)?;
    options.set("tls_verify", "1")?;
    Io::open_url(name, options, guard)
}
