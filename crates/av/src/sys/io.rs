//! Where an input's bytes come from: a Rust reader, or one of libav's protocols; and where those of an output go by one.

use std::ffi::{CStr, c_int, c_void};
use std::io::{Read, Seek, SeekFrom};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use super::check::{Failure, check, non_null};
use super::{Dict, Guard, ffi};
use crate::screen::StreamScreen;

/// Bytes libav asks for at once.
const BUFFER: usize = 64 * 1024;
/// Bytes read from a Rust reader at once.
const PIECE: usize = 16 * 1024;

/// A reader libav can seek in.
pub(crate) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// A reader that cannot go back.
struct Forward(Box<dyn Read + Send>);

impl Read for Forward {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Forward {
    fn seek(&mut self, _to: SeekFrom) -> std::io::Result<u64> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// An `AVIOContext` and what it reads from.
pub(crate) struct Io {
    context: NonNull<ffi::AVIOContext>,
    /// What the callbacks of a Rust reader use; `None` for libav's own protocols. The context points to it.
    source: Option<Box<SourceState>>,
    /// Keeps what the interrupt callback points to alive until the context is closed.
    _guard: Arc<Guard>,
}

struct SourceState {
    /// Whether it can go back, and be read again.
    rewinds: bool,
    /// `None` once taken back.
    source: Option<Box<dyn Source>>,
    /// What the reader fills. Not libav's buffer: at the end of the input libav asks for more into the buffer that holds the
    /// bytes before, and may go back to those; where there is nothing to read, nothing may be written.
    piece: Box<[u8]>,
    guard: Arc<Guard>,
    /// Looks at the bytes of a raw stream before libav does.
    screen: Option<StreamScreen>,
    /// The first error of the reader, for the message.
    error: Mutex<Option<std::io::Error>>,
}

// SAFETY: an AVIOContext may be used by any one thread at a time; the reader is `Send`, the guard is `Send + Sync`.
unsafe impl Send for Io {}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").field("own_source", &self.source.is_some()).finish_non_exhaustive()
    }
}

impl Io {
    /// Lets libav read from a Rust reader.
    pub(crate) fn from_source(source: Box<dyn Source>, guard: &Arc<Guard>) -> Result<Self, Failure> {
        Self::from_reader(source, true, guard)
    }

    /// Lets libav read from a Rust reader that only goes forward.
    pub(crate) fn from_stream(reader: Box<dyn Read + Send>, guard: &Arc<Guard>) -> Result<Self, Failure> {
        Self::from_reader(Box::new(Forward(reader)), false, guard)
    }

    fn from_reader(source: Box<dyn Source>, rewinds: bool, guard: &Arc<Guard>) -> Result<Self, Failure> {
        // SAFETY: plain allocation; on success the buffer belongs to the context made below, which may replace it.
        let buffer = non_null(unsafe { ffi::av_malloc(BUFFER) }, "av_malloc")?;
        let guard = Arc::clone(guard);
        let mut state = Box::new(SourceState {
            rewinds,
            source: Some(source),
            piece: vec![0; PIECE].into_boxed_slice(),
            guard,
            screen: None,
            error: Mutex::new(None),
        });
        let opaque: *mut SourceState = &raw mut *state;
        let size = c_int::try_from(BUFFER).unwrap_or(c_int::MAX);
        // SAFETY: `buffer` has `size` bytes; `opaque` is boxed, so it stays where it is, and `Io` drops the context first. The
        // callbacks only run inside calls on this context, which `Io` is the only owner of.
        let context = unsafe {
            ffi::avio_alloc_context(
                buffer.as_ptr().cast(),
                size,
                0,
                opaque.cast(),
                Some(read_source),
                None,
                if rewinds { Some(seek_source) } else { None },
            )
        };
        let Some(context) = NonNull::new(context) else {
            // SAFETY: no context took the buffer over.
            unsafe { ffi::av_free(buffer.as_ptr()) };
            return Err(Failure::new(Failure::NO_MEMORY, "avio_alloc_context"));
        };
        let guard = Arc::clone(&state.guard);
        Ok(Self { context, source: Some(state), _guard: guard })
    }

    /// Opens an address with libav's own protocols. Blocks until connected or interrupted.
    pub(crate) fn open_url(url: &CStr, mut options: Dict, guard: &Arc<Guard>) -> Result<Self, Failure> {
        Self::connect(url, &mut options, ffi::AVIO_FLAG_READ, guard)
    }

    /// The same to write to; what is written is not gathered. Options that the protocol does not know stay in `options`.
    pub(crate) fn open_to_write(url: &CStr, options: &mut Dict, guard: &Arc<Guard>) -> Result<Self, Failure> {
        Self::connect(url, options, ffi::AVIO_FLAG_WRITE | ffi::AVIO_FLAG_DIRECT, guard)
    }

    fn connect(url: &CStr, options: &mut Dict, flags: c_int, guard: &Arc<Guard>) -> Result<Self, Failure> {
        let mut context = ptr::null_mut();
        let callback = guard.callback();
        // SAFETY: `url` is NUL-terminated and copied; the callback struct is copied, and its opaque is the guard that `Io`
        // keeps alive; `options` stays the caller's.
        let result = unsafe {
            ffi::avio_open2(&raw mut context, url.as_ptr(), flags, &raw const callback, options.as_mut())
        };
        check(result, "avio_open2")?;
        let context = non_null(context, "avio_open2")?;
        Ok(Self { context, source: None, _guard: Arc::clone(guard) })
    }

    /// The largest piece that goes out as one, if that is limited.
    pub(crate) fn max_packet(&self) -> Option<usize> {
        // SAFETY: the context is live.
        let size = unsafe { (*self.as_ptr()).max_packet_size };
        usize::try_from(size).ok().filter(|size| *size > 0)
    }

    /// Writes all of it, of one that was opened to write.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = c_int::try_from(bytes.len())
            .map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "avio_write"))?;
        // SAFETY: the context is live and ours; libav reads `length` bytes during the calls and keeps none.
        let error = unsafe {
            ffi::avio_write(self.as_ptr(), bytes.as_ptr(), length);
            ffi::avio_flush(self.as_ptr());
            (*self.as_ptr()).error
        };
        check(error, "avio_write").map(drop)
    }

    pub(super) const fn as_ptr(&self) -> *mut ffi::AVIOContext {
        self.context.as_ptr()
    }

    /// Closes it and gives the Rust reader back; `None` for one that only goes forward, and for libav's own protocols.
    pub(crate) fn into_source(mut self) -> Option<Box<dyn Source>> {
        self.source.as_mut().filter(|state| state.rewinds)?.source.take()
    }

    /// Up to `count` bytes that libav has already read ahead of its position.
    pub(crate) fn peek(&self, count: usize) -> Vec<u8> {
        // SAFETY: libav keeps `buf_ptr <= buf_end`, both inside its buffer, whose bytes between them are initialised; they are
        // copied before anything else uses the context.
        unsafe {
            let context = self.as_ptr();
            let (start, end) = ((*context).buf_ptr, (*context).buf_end);
            let held = usize::try_from(end.offset_from(start)).unwrap_or(0);
            if start.is_null() || held == 0 {
                return Vec::new();
            }
            std::slice::from_raw_parts(start, held.min(count)).to_vec()
        }
    }

    /// Has everything libav reads looked at from here on, and what it holds already. False for libav's own protocols.
    pub(crate) fn set_screen(&mut self, mut screen: StreamScreen) -> bool {
        let held = self.peek(usize::MAX);
        let Some(state) = &mut self.source else { return false };
        if let Err(exceeded) = screen.feed(&held) {
            state.guard.set_exceeded(Some(exceeded));
        }
        state.screen = Some(screen);
        true
    }

    /// Whether the bytes are looked at before libav reads them.
    pub(crate) fn is_screened(&self) -> bool {
        self.source.as_ref().is_some_and(|state| state.screen.is_some())
    }

    /// Whether the bytes come from a Rust reader that can be read again.
    pub(crate) fn has_source(&self) -> bool {
        self.source.as_ref().is_some_and(|state| state.rewinds)
    }

    /// Whether libav can seek in it by bytes.
    pub(crate) fn is_seekable(&self) -> bool {
        // SAFETY: the context is live.
        unsafe { (*self.as_ptr()).seekable & ffi::AVIO_SEEKABLE_NORMAL != 0 }
    }

    /// The code of the failure behind an early end of file; 0 if the end was the real one.
    pub(crate) fn error_code(&self) -> c_int {
        // SAFETY: the context is live.
        unsafe { (*self.as_ptr()).error }
    }

    /// The failure of the Rust reader, once.
    pub(crate) fn take_source_error(&self) -> Option<std::io::Error> {
        let state = self.source.as_ref()?;
        state.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        if self.source.is_some() {
            // SAFETY: we are the only owner, and no format context uses it any more (`Input` drops its own first). The buffer
            // may no longer be the one we gave, so the field is freed; then the context, which frees nothing else.
            unsafe {
                ffi::av_freep((&raw mut (*context).buffer).cast());
                ffi::avio_context_free(&raw mut context);
            }
        } else {
            // SAFETY: opened by avio_open2 and owned by us alone. A failing close loses nothing: an input was read, and of an output
            // nothing is held back.
            let _ = unsafe { ffi::avio_closep(&raw mut context) };
        }
    }
}

/// `AVIOContext::read_packet` of a Rust reader.
unsafe extern "C" fn read_source(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    // SAFETY: `opaque` is the boxed state of the `Io` whose context calls this, on the one thread that uses it now, so the
    // mutable borrow is the only one.
    let state = unsafe { &mut *opaque.cast::<SourceState>() };
    let (Ok(length), Some(source)) = (usize::try_from(size), state.source.as_mut()) else {
        return Failure::INVALID_ARGUMENT;
    };
    if state.guard.reason().is_some() || state.guard.exceeded().is_some() {
        return Failure::EXIT;
    }
    let length = length.min(state.piece.len());
    let Some(piece) = state.piece.get_mut(..length) else { return Failure::INVALID_ARGUMENT };
    loop {
        match source.read(piece) {
            Ok(count) => {
                let count = count.min(length);
                let screened = match &mut state.screen {
                    Some(screen) if count == 0 => screen.end(),
                    Some(screen) => screen.feed(piece.get(..count).unwrap_or_default()),
                    None => Ok(()),
                };
                if let Err(exceeded) = screened {
                    state.guard.set_exceeded(Some(exceeded));
                    return Failure::EXIT;
                }
                if count == 0 {
                    return Failure::END;
                }
                // SAFETY: libav gives `size` writable bytes, `count` is at most that and at most the length of `piece`, and
                // its buffer is none of ours.
                unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), buffer, count) };
                return c_int::try_from(count).unwrap_or(c_int::MAX);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let code = error.raw_os_error().filter(|code| *code > 0).unwrap_or(ffi::EIO);
                state.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                return ffi::AVERROR(code);
            }
        }
    }
}

/// `AVIOContext::seek` of a Rust reader.
unsafe extern "C" fn seek_source(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `read_source`.
    let state = unsafe { &mut *opaque.cast::<SourceState>() };
    let Some(source) = state.source.as_mut() else { return i64::from(Failure::INVALID_ARGUMENT) };
    if whence & !ffi::AVSEEK_FORCE != ffi::AVSEEK_SIZE {
        state.screen.iter_mut().for_each(StreamScreen::restart);
    }
    let result = match whence & !ffi::AVSEEK_FORCE {
        ffi::AVSEEK_SIZE => size_of(source.as_mut()),
        ffi::SEEK_SET => match u64::try_from(offset) {
            Ok(offset) => source.seek(SeekFrom::Start(offset)),
            Err(_) => return i64::from(Failure::INVALID_ARGUMENT),
        },
        ffi::SEEK_CUR => source.seek(SeekFrom::Current(offset)),
        ffi::SEEK_END => source.seek(SeekFrom::End(offset)),
        _ => return i64::from(Failure::INVALID_ARGUMENT),
    };
    match result {
        Ok(position) => i64::try_from(position).unwrap_or(i64::MAX),
        Err(error) => {
            i64::from(ffi::AVERROR(error.raw_os_error().filter(|code| *code > 0).unwrap_or(ffi::EIO)))
        }
    }
}

fn size_of(source: &mut dyn Source) -> std::io::Result<u64> {
    let position = source.stream_position()?;
    let size = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(position))?;
    Ok(size)
}
