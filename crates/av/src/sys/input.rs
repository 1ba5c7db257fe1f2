//! An open input: `AVFormatContext` on the reading side.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::check::{Failure, check, non_null};
use super::{Dict, Guard, Io, RawPacket, Source, ffi, tracks};
use crate::screen::StreamScreen;
use crate::{InputLimits, MediaInfo};

/// An input whose format is known, but whose header is not read yet.
#[derive(Debug)]
pub(crate) struct Opening {
    io: Option<Io>,
    format: Format,
    guard: Arc<Guard>,
    name: CString,
}

/// One of libav's demuxers: static data of the library.
#[derive(Debug, Clone, Copy)]
struct Format(*const ffi::AVInputFormat);

// SAFETY: AVInputFormats are constants of the library.
unsafe impl Send for Format {}

/// How an input may be opened.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) probe_bytes: u64,
    pub(crate) analyze_micros: u64,
    /// Protocols libav may open by itself, comma separated; `None` for an input that may open nothing.
    pub(crate) protocols: Option<String>,
    /// Formats it may open inside this one, comma separated.
    pub(crate) formats: String,
    /// Options of the demuxer itself.
    pub(crate) options: Vec<(&'static str, String)>,
    /// What it may make libav hold.
    pub(crate) input: InputLimits,
}

/// Pixels of cover art at most, whatever larger pictures are allowed: it is not played.
const COVER_PIXELS: u64 = 4096 * 4096;

impl Opening {
    /// Finds the format by content. `name` is a hint only: its extension may break a tie.
    pub(crate) fn probe(io: Io, name: CString, guard: &Arc<Guard>, limits: &Limits) -> Result<Self, Failure> {
        let mut format = ptr::null();
        let most = u32::try_from(limits.probe_bytes).unwrap_or(u32::MAX).clamp(2048, 1 << 20);
        // SAFETY: the I/O context is live and rewound by the call; `name` is NUL-terminated; `format` receives static data.
        let score = unsafe {
            ffi::av_probe_input_buffer2(io.as_ptr(), &raw mut format, name.as_ptr(), ptr::null_mut(), 0, most)
        };
        check(score, "av_probe_input_buffer2")?;
        if format.is_null() {
            return Err(Failure::new(Failure::INVALID_DATA, "av_probe_input_buffer2"));
        }
        Ok(Self { io: Some(io), format: Format(format), guard: Arc::clone(guard), name })
    }

    /// A format that opens its connections itself (RTSP).
    pub(crate) fn by_format(format: &CStr, name: CString, guard: &Arc<Guard>) -> Result<Self, Failure> {
        // SAFETY: NUL-terminated; the result is null or static data.
        let found = unsafe { ffi::av_find_input_format(format.as_ptr()) };
        if found.is_null() {
            return Err(Failure::new(ffi::AVERROR_DEMUXER_NOT_FOUND, "av_find_input_format"));
        }
        Ok(Self { io: None, format: Format(found), guard: Arc::clone(guard), name })
    }

    /// libav's names of the format, comma separated.
    pub(crate) fn format(&self) -> String {
        // SAFETY: static data with a NUL-terminated name.
        unsafe { ffi::text((*self.format.0).name) }.unwrap_or_default()
    }

    /// Has the bytes of a raw stream looked at before libav reads them.
    pub(crate) fn set_screen(&mut self, screen: StreamScreen) {
        if let Some(io) = &mut self.io {
            io.set_screen(screen);
        }
    }

    /// The first bytes of the input.
    pub(crate) fn peek(&self, count: usize) -> Vec<u8> {
        self.io.as_ref().map(|io| io.peek(count)).unwrap_or_default()
    }

    /// Reads the header.
    pub(crate) fn open(self, limits: &Limits) -> Result<Input, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "avformat_open_input");
        let packet = RawPacket::new()?;
        let mut options = Dict::new();
        options.set("format_whitelist", &limits.formats)?;
        // An empty list would mean that everything is allowed; no protocol is called "none".
        options.set("protocol_whitelist", limits.protocols.as_deref().unwrap_or("none"))?;
        for (key, value) in &limits.options {
            options.set(key, value)?;
        }
        let probe_bytes = i64::try_from(limits.probe_bytes).map_err(refuse)?.max(2048);
        let analyze_micros = i64::try_from(limits.analyze_micros).map_err(refuse)?;
        // SAFETY: plain allocation; avformat_open_input takes it over.
        let context = non_null(unsafe { ffi::avformat_alloc_context() }, "avformat_alloc_context")?;
        let mut raw = context.as_ptr();
        // SAFETY: a fresh context of our own. The guard and the I/O outlive it: `Input` drops them after it, and so does an
        // early return here. On failure avformat_open_input frees the context, but not an I/O context it was given.
        let result = unsafe {
            (*raw).interrupt_callback = self.guard.callback();
            (*raw).probesize = probe_bytes;
            (*raw).max_analyze_duration = analyze_micros;
            // One more than allowed, to be seen: libav leaves out what is beyond, or fails without a reason.
            (*raw).max_streams =
                c_int::try_from(limits.input.max_tracks).unwrap_or(c_int::MAX).saturating_add(1);
            if limits.protocols.is_none() {
                (*raw).opaque = self.guard.opaque();
                (*raw).io_open = Some(super::guard::refuse_open);
            }
            if let Some(io) = &self.io {
                (*raw).pb = io.as_ptr();
            }
            ffi::avformat_open_input(&raw mut raw, self.name.as_ptr(), self.format.0, options.as_mut())
        };
        check(result, "avformat_open_input")?;
        Ok(Input { context, io: self.io, guard: self.guard, packet })
    }
}

/// An open input. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Input {
    context: NonNull<ffi::AVFormatContext>,
    /// Dropped after `context` is closed, which still uses it.
    io: Option<Io>,
    guard: Arc<Guard>,
    /// Room for the packet that is being read; empty between calls.
    packet: RawPacket,
}

// SAFETY: an AVFormatContext may be used by any one thread at a time; what it points to is `Send` (`Io`, `Guard`).
unsafe impl Send for Input {}

impl Input {
    /// Lets libav read and decode packets until it knows the tracks' parameters, of pictures of at most this many pixels. Blocks;
    /// bounded by the limits and the guard.
    pub(crate) fn find_stream_info(&mut self, max_pixels: u64) -> Result<(), Failure> {
        let mut options = Vec::new();
        for stream in self.streams() {
            // SAFETY: a stream of our live context.
            let is_cover = unsafe { (*stream).disposition } & ffi::AV_DISPOSITION_ATTACHED_PIC != 0;
            let most = if is_cover { max_pixels.min(COVER_PIXELS) } else { max_pixels };
            let mut own = Dict::new();
            own.set("max_pixels", &most.min(i64::MAX as u64).to_string())?;
            options.push(own);
        }
        // SAFETY: a live context; as many dictionaries as it has streams, each of the layout of a pointer, which the call may
        // replace and leaves ours.
        let result =
            unsafe { ffi::avformat_find_stream_info(self.context.as_ptr(), options.as_mut_ptr().cast()) };
        check(result, "avformat_find_stream_info").map(drop)
    }

    /// Has packets given as they are in the file, without libav's parsers, or no more.
    pub(crate) fn leave_unparsed(&mut self, unparsed: bool) {
        let flags = ffi::AVFMT_FLAG_NOPARSE | ffi::AVFMT_FLAG_NOFILLIN;
        // SAFETY: a live context; the flags are for the user to set.
        unsafe {
            let now = (*self.context.as_ptr()).flags & !flags;
            (*self.context.as_ptr()).flags = if unparsed { now | flags } else { now };
        }
    }

    /// Whether the bytes were looked at before libav read them.
    pub(crate) fn is_screened(&self) -> bool {
        self.io.as_ref().is_some_and(Io::is_screened)
    }

    /// Whether it can be opened again from the same reader.
    pub(crate) fn has_source(&self) -> bool {
        self.io.as_ref().is_some_and(Io::has_source)
    }

    /// Reads the next packet; `None` at the end. Blocks until there is one, or the guard says stop.
    pub(crate) fn read(&mut self) -> Result<Option<crate::Packet>, Failure> {
        loop {
            if self.guard.reason().is_some() || self.guard.exceeded().is_some() {
                return Err(Failure::new(Failure::EXIT, "av_read_frame"));
            }
            self.packet.clear();
            // SAFETY: a live context and an empty packet of our own.
            let result = unsafe { ffi::av_read_frame(self.context.as_ptr(), self.packet.as_ptr()) };
            match result {
                // Some live inputs say "again" when they have nothing yet, and libav has nothing to wait on. The guard
                // bounds it.
                Failure::AGAIN => std::thread::sleep(std::time::Duration::from_millis(5)),
                Failure::END => {
                    let code = self.io.as_ref().map_or(0, Io::error_code);
                    return if code < 0 && code != Failure::END {
                        Err(Failure::new(code, "av_read_frame"))
                    } else {
                        Ok(None)
                    };
                }
                _ => {
                    check(result, "av_read_frame")?;
                    return self.packet.take().map(Some);
                }
            }
        }
    }

    /// Goes to a packet by the index of the format, by the track it belongs to and its time to decode in ticks.
    pub(crate) fn seek(&mut self, track: usize, dts: i64) -> Result<(), Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "avformat_seek_file");
        let track = c_int::try_from(track).map_err(refuse)?;
        // SAFETY: a live context; a track it does not have is refused by the call.
        let result = unsafe { ffi::avformat_seek_file(self.context.as_ptr(), track, i64::MIN, dts, dts, 0) };
        check(result, "avformat_seek_file").map(drop)
    }

    /// Lets libav leave out the packets of tracks that are not wanted.
    pub(crate) fn discard(&mut self, wanted: impl Fn(usize) -> bool) {
        for (index, stream) in self.streams().enumerate() {
            let discard =
                if wanted(index) { ffi::AVDiscard::AVDISCARD_DEFAULT } else { ffi::AVDiscard::AVDISCARD_ALL };
            // SAFETY: a stream of our live context; the field is ours to set.
            unsafe { (*stream).discard = discard };
        }
    }

    /// What libav knows about the input now.
    pub(crate) fn media(&self) -> MediaInfo {
        let seekable = self.io.as_ref().is_some_and(Io::is_seekable);
        // SAFETY: a live context, not changed during the call.
        unsafe { tracks::media(self.context.as_ptr(), seekable) }
    }

    pub(crate) fn track_count(&self) -> usize {
        self.streams().count()
    }

    fn streams(&self) -> impl Iterator<Item = *mut ffi::AVStream> + use<> {
        let context = self.context.as_ptr();
        // SAFETY: a live context holds `nb_streams` stream pointers.
        let (streams, count) = unsafe { ((*context).streams, (*context).nb_streams) };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: as above: `index` is below the count, and streams are only added while reading, which takes `&mut self`.
        (0..count).map(move |index| unsafe { *streams.add(index) })
    }

    /// Closes it and gives the Rust reader back; `None` for libav's own protocols.
    pub(crate) fn into_source(mut self) -> Option<Box<dyn Source>> {
        let io = self.io.take()?;
        drop(self);
        io.into_source()
    }

    /// The failure of the Rust reader behind it, once.
    pub(crate) fn take_source_error(&self) -> Option<std::io::Error> {
        self.io.as_ref()?.take_source_error()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: we are the only owner. The I/O was given by us (AVFMT_FLAG_CUSTOM_IO), so it is not closed by this, and the
        // fields that hold it and the guard are dropped afterwards.
        unsafe { ffi::avformat_close_input(&raw mut context) };
    }
}
