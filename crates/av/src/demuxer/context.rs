//! Where an input came from: what its errors say, and how its bytes are reached.

use std::ffi::{CStr, CString};
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::interrupt::Reason;
use crate::limits::Exceeded;
use crate::probe::{self, Opened, Request};
use crate::redact::{self, Secrets};
use crate::sys::{self, Failure, Guard, Input, Io, Limits, Opening, Source};
use crate::watched::Watched;
use crate::{Error, Interrupt, OpenOptions, mp4_tables, origin, tag_count};

/// Where an input came from, for messages and for opening it again.
#[derive(Debug)]
pub(crate) struct Context {
    /// The input as it may be shown.
    pub(crate) shown: String,
    pub(super) name: CString,
    pub(super) path: Option<PathBuf>,
    pub(super) size: Option<u64>,
    pub(crate) guard: Arc<Guard>,
    pub(super) _secrets: Secrets,
}

impl Context {
    /// The error of an input that went beyond a limit.
    pub(crate) fn exceeded(&self, Exceeded { limit, allowed }: Exceeded) -> Error {
        Error::LimitExceeded { input: self.shown.clone(), limit, allowed }
    }

    /// The error of a reader that cannot be read.
    fn unreadable(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.path.clone().unwrap_or_default(), operation: "read", source: source.into() }
    }

    /// Fails if the input went beyond a limit: libav takes that for its end.
    pub(crate) fn check_limits(&self) -> Result<(), Error> {
        self.guard.exceeded().map_or(Ok(()), |exceeded| Err(self.exceeded(exceeded)))
    }

    /// Turns a failure of libav into an error of this input.
    pub(crate) fn error(&self, failure: Failure, operation: &'static str, input: Option<&Input>) -> Error {
        match self.guard.reason() {
            Some(Reason::Cancelled) => return Error::Cancelled { operation },
            Some(Reason::Deadline) if self.guard.exceeded().is_none() => return Error::Timeout { operation },
            _ => {}
        }
        if let Some(exceeded) = self.guard.exceeded() {
            return self.exceeded(exceeded);
        }
        if let Some(protocol) = self.guard.refused() {
            return Error::ProtocolRefused { input: self.shown.clone(), protocol };
        }
        if let Some(source) = input.and_then(Input::take_source_error) {
            let path = self.path.clone().unwrap_or_else(|| self.shown.clone().into());
            return Error::Io { path, operation: "read", source: source.into() };
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
    let failed = |source: std::io::Error| Error::Io {
        path: context.path.clone().unwrap_or_default(),
        operation: "read",
        source: source.into(),
    };
    guard.set_exceeded(None);
    source.rewind().map_err(failed)?;
    let mut start = Vec::new();
    (&mut source).take(8).read_to_end(&mut start).map_err(failed)?;
    let watched = Watched::new(&mut source, guard);
    let checked = if mp4_tables::is_mp4(&start) {
        mp4_tables::check(watched, &options.limits)
    } else {
        tag_count::check(watched, &options.limits)
    };
    checked.map_err(|exceeded| context.exceeded(exceeded))?;
    match guard.reason() {
        Some(Reason::Cancelled) => return Err(Error::Cancelled { operation: "open" }),
        Some(Reason::Deadline) => return Err(Error::Timeout { operation: "open" }),
        None => {}
    }
    let limits = probe::limits(options, None);
    let opening = recognise_source(source, context, guard, &limits)?;
    probe::open(Request { opening, limits, options, size: context.size }, context)
}

/// Finds the format of what a Rust reader gives from its first byte on.
pub(crate) fn recognise_source(
    mut source: Box<dyn Source>,
    context: &Context,
    guard: &Arc<Guard>,
    limits: &Limits,
) -> Result<Opening, Error> {
    source.rewind().map_err(|error| context.unreadable(error))?;
    let io = Io::from_source(source, guard).map_err(|failure| context.error(failure, "open", None))?;
    probe::recognise(io, context.name.clone(), guard, limits, false, context)
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
