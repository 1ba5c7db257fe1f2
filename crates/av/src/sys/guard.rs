//! What libav asks while it blocks (`AVIOInterruptCB`), and what it may open.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Failure;
use super::ffi;
use crate::Interrupt;
use crate::interrupt::{Deadline, Reason};
use crate::limits::Exceeded;

/// The interrupt of one handle, with the handle's own deadline, and a note of what was refused. libav holds a pointer to it:
/// it lives in a `Box` or `Arc` that is dropped after the libav object.
#[derive(Debug)]
pub(crate) struct Guard {
    interrupt: Interrupt,
    operation: Deadline,
    refused: Mutex<Option<String>>,
    exceeded: Mutex<Option<Exceeded>>,
}

impl Guard {
    pub(crate) fn new(interrupt: &Interrupt) -> Self {
        Self {
            interrupt: interrupt.clone(),
            operation: Deadline::default(),
            refused: Mutex::new(None),
            exceeded: Mutex::new(None),
        }
    }

    /// Limits what runs now; `None` lifts the limit.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.operation.set(deadline);
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.interrupt.reason().or_else(|| self.operation.has_passed().then_some(Reason::Deadline))
    }

    /// The protocol that was refused to the input, if one was.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a limit that the input exceeds, or that it starts over.
    pub(crate) fn set_exceeded(&self, exceeded: Option<Exceeded>) {
        *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner) = exceeded;
    }

    /// The limit that the input went beyond, if it did.
    pub(crate) fn exceeded(&self) -> Option<Exceeded> {
        *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What libav calls while it blocks.
    pub(super) fn callback(&self) -> ffi::AVIOInterruptCB {
        ffi::AVIOInterruptCB { callback: Some(must_end), opaque: self.opaque() }
    }

    /// The pointer that [`refuse_open`] expects as `AVFormatContext::opaque`.
    pub(super) fn opaque(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

/// `AVIOInterruptCB::callback`: non-zero ends the call that blocks.
unsafe extern "C" fn must_end(opaque: *mut c_void) -> c_int {
    // SAFETY: `opaque` comes from `Guard::callback`; the owner of the libav object drops that first. Only `&self` methods on
    // atomics are used, so any thread of libav may call this.
    let guard = unsafe { &*opaque.cast::<Guard>() };
    c_int::from(guard.reason().is_some())
}

/// `AVFormatContext::io_open` of an input that may open nothing but itself.
pub(super) unsafe extern "C" fn refuse_open(
    context: *mut ffi::AVFormatContext,
    _io: *mut *mut ffi::AVIOContext,
    url: *const c_char,
    _flags: c_int,
    _options: *mut *mut ffi::AVDictionary,
) -> c_int {
    // SAFETY: libav calls this with a live context whose `opaque` we set to a `Guard` that outlives it (nested contexts
    // inherit it), and with a NUL-terminated address or null.
    let (guard, url) = unsafe {
        let url = if url.is_null() { None } else { Some(CStr::from_ptr(url)) };
        ((*context).opaque.cast::<Guard>().as_ref(), url)
    };
    if let Some(guard) = guard {
        let url = url.map(CStr::to_string_lossy).unwrap_or_default();
        // Only the scheme: the rest may hold a secret.
        let protocol = url.split_once(':').map_or("file", |(scheme, _)| scheme).to_owned();
        *guard.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(protocol);
    }
    Failure::ACCESS
}
