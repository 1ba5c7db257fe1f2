//! What a muxer writes to: memory, in place of a file.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use super::check::{Failure, non_null};
use super::ffi;
use crate::Written;

/// Bytes libav gathers before it calls.
const BUFFER: usize = 32 * 1024;

/// An `AVIOContext` that writes to memory. Used by one thread at a time.
pub(super) struct Memory {
    context: NonNull<ffi::AVIOContext>,
    /// The callbacks point to it.
    state: Box<Pieces>,
}

// SAFETY: an AVIOContext may be used by any one thread at a time; the rest is plain data.
unsafe impl Send for Memory {}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("taken", &self.state.taken).finish_non_exhaustive()
    }
}

impl Memory {
    /// `seekable`: whether the muxer may go back and fill in what it knows only later.
    pub(super) fn new(seekable: bool) -> Result<Self, Failure> {
        // SAFETY: plain allocation; on success the buffer belongs to the context made below, which may replace it.
        let buffer = non_null(unsafe { ffi::av_malloc(BUFFER) }, "av_malloc")?;
        let mut state = Box::new(Pieces::default());
        let opaque: *mut Pieces = &raw mut *state;
        let size = c_int::try_from(BUFFER).unwrap_or(c_int::MAX);
        let seek: Option<unsafe extern "C" fn(*mut c_void, i64, c_int) -> i64> =
            if seekable { Some(seek_memory) } else { None };
        // SAFETY: `buffer` has `size` bytes; `opaque` is boxed, so it stays where it is, and `Memory` frees the context first. The
        // callbacks only run inside calls on this context, which one thread makes at a time.
        let context = unsafe {
            ffi::avio_alloc_context(
                buffer.as_ptr().cast(),
                size,
                1,
                opaque.cast(),
                None,
                Some(write_memory),
                seek,
            )
        };
        let Some(context) = NonNull::new(context) else {
            // SAFETY: no context took the buffer over.
            unsafe { ffi::av_free(buffer.as_ptr()) };
            return Err(Failure::new(Failure::NO_MEMORY, "avio_alloc_context"));
        };
        Ok(Self { context, state })
    }

    pub(super) const fn as_ptr(&self) -> *mut ffi::AVIOContext {
        self.context.as_ptr()
    }

    /// What libav has handed over since the last call, with what it still holds.
    pub(super) fn take(&mut self) -> Written {
        // SAFETY: the context is live; the callback that runs has the only borrow of the state.
        unsafe { ffi::avio_flush(self.as_ptr()) };
        self.state.take()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: we are the only owner, and no format context uses it any more (`Output` sees to that). The buffer may no longer be
        // the one we gave, so the field is freed; then the context, which frees nothing else.
        unsafe {
            ffi::av_freep((&raw mut (*context).buffer).cast());
            ffi::avio_context_free(&raw mut context);
        }
    }
}

/// The file, as far as it was not taken yet.
#[derive(Debug, Default)]
struct Pieces {
    /// Where the next byte goes.
    position: u64,
    /// Bytes that were taken.
    taken: u64,
    written: Written,
}

impl Pieces {
    fn take(&mut self) -> Written {
        self.taken = self.end();
        std::mem::take(&mut self.written)
    }

    fn end(&self) -> u64 {
        self.taken + self.written.appended.len() as u64
    }

    fn write(&mut self, mut bytes: &[u8]) {
        if let Some(before) = self.taken.checked_sub(self.position).filter(|before| *before > 0) {
            let count = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
            let (amended, rest) = bytes.split_at(count);
            self.written.amended.push((self.position, amended.to_vec()));
            self.position += count as u64;
            bytes = rest;
        }
        let appended = &mut self.written.appended;
        let at = usize::try_from(self.position.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        let over = bytes.len().min(appended.len().saturating_sub(at));
        let (over, behind) = bytes.split_at(over);
        if let Some(place) = appended.get_mut(at..at.saturating_add(over.len())) {
            place.copy_from_slice(over);
        }
        appended.extend_from_slice(behind);
        self.position += bytes.len() as u64;
    }

    /// Goes to a place in what was written; `None` for one behind it.
    fn seek(&mut self, to: i64) -> Option<i64> {
        let position = u64::try_from(to).ok().filter(|position| *position <= self.end())?;
        self.position = position;
        Some(to)
    }
}

/// What libav gives the callback below: a pointer to constant bytes since FFmpeg 7.0.
#[cfg(ffmpeg_7_0)]
type Given = *const u8;
#[cfg(not(ffmpeg_7_0))]
type Given = *mut u8;

/// `AVIOContext::write_packet`.
unsafe extern "C" fn write_memory(opaque: *mut c_void, bytes: Given, size: c_int) -> c_int {
    let Ok(length) = usize::try_from(size) else { return Failure::INVALID_ARGUMENT };
    if length == 0 {
        return 0;
    }
    // SAFETY: `opaque` is the boxed state of the `Memory` whose context calls this, on the one thread that uses it now, so the mutable
    // borrow is the only one; libav gives `size` readable bytes, which are copied before this returns.
    unsafe { (*opaque.cast::<Pieces>()).write(std::slice::from_raw_parts(bytes, length)) };
    size
}

/// `AVIOContext::seek`.
unsafe extern "C" fn seek_memory(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `write_memory`.
    let pieces = unsafe { &mut *opaque.cast::<Pieces>() };
    let from = |start: u64| i64::try_from(start).ok().and_then(|start| start.checked_add(offset));
    let place = match whence & !ffi::AVSEEK_FORCE {
        ffi::AVSEEK_SIZE => return i64::try_from(pieces.end()).unwrap_or(i64::MAX),
        ffi::SEEK_SET => Some(offset),
        ffi::SEEK_CUR => from(pieces.position),
        ffi::SEEK_END => from(pieces.end()),
        _ => None,
    };
    place.and_then(|place| pieces.seek(place)).unwrap_or(i64::from(Failure::INVALID_ARGUMENT))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_amended_wherever_they_are() {
        let mut pieces = Pieces::default();
        pieces.write(b"0123456789");
        pieces.seek(2).unwrap();
        pieces.write(b"ab");
        assert_eq!(pieces.take(), Written { appended: b"01ab456789".to_vec(), amended: vec![] });
        pieces.seek(10).unwrap();
        pieces.write(b"xyz");
        // From what was taken into what was not, and beyond.
        pieces.seek(8).unwrap();
        pieces.write(b"ABCDEFG");
        pieces.seek(0).unwrap();
        pieces.write(b"-");
        assert_eq!(pieces.seek(16), None);
        let written = pieces.take();
        assert_eq!(written.appended, b"CDEFG");
        assert_eq!(written.amended, [(8, b"AB".to_vec()), (0, b"-".to_vec())]);
        assert_eq!(pieces.end(), 15);
        assert_eq!(pieces.take(), Written::default());
    }
}
