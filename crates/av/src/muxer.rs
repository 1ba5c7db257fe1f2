//! Writes packets into a container file. One thread at a time; every call may block on the file.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::outgoing::{Clocks, playable};
use crate::sys::{self, Failure, Guard, Output};
use crate::{Error, Interrupt, Packet, TrackInfo};

/// How to write a file.
#[derive(Debug, Clone, Default)]
pub struct MuxerOptions {
    /// libav's name of the container ("flv", "mp4", "mpegts"); by the path's extension if `None`.
    pub format: Option<String>,
    /// libav's options of the muxer, such as `("movflags", "faststart")`. Unknown ones are ignored.
    pub options: Vec<(String, String)>,
    /// Ends blocked calls.
    pub interrupt: Interrupt,
}

/// A container file being written by libavformat.
///
/// Dropping it without [`finish`](Self::finish) leaves the file without its trailer, which for MP4 means unreadable.
///
/// ```no_run
/// use flowcast_av::{Demuxer, Interrupt, Muxer, OpenOptions};
///
/// let mut input = Demuxer::open("in.mkv".as_ref(), &OpenOptions::default(), &Interrupt::new())?;
/// let mut output = Muxer::create("out.flv".as_ref(), None, &input.media().tracks)?;
/// while let Some(packet) = input.read()? {
///     output.write(&packet)?;
/// }
/// output.finish()?;
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct Muxer {
    output: Output,
    /// For each track written: its index in the packets, their clock, and the muxer's clock.
    clocks: Clocks,
    path: PathBuf,
    guard: Arc<Guard>,
}

impl Muxer {
    /// Creates (or replaces) a file and writes the header. The container is `format`, or the one the extension tells. Of
    /// `tracks` the playable ones are written; packets refer to them by [`TrackInfo::index`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no such container, [`Error::InvalidArgument`] for a path with a NUL or without any
    /// playable track, or [`Error::Libav`]: among others, the container may not take a codec.
    ///
    /// # Blocking
    /// On the file system.
    pub fn create(path: &Path, format: Option<&str>, tracks: &[TrackInfo]) -> Result<Self, Error> {
        let options = MuxerOptions { format: format.map(str::to_owned), ..MuxerOptions::default() };
        Self::create_with(path, tracks, &options)
    }

    /// As [`create`](Self::create), with all options.
    ///
    /// # Errors
    /// As for [`create`](Self::create), and [`Error::Cancelled`] or [`Error::Timeout`] by the interrupt.
    ///
    /// # Blocking
    /// On the file system.
    pub fn create_with(path: &Path, tracks: &[TrackInfo], options: &MuxerOptions) -> Result<Self, Error> {
        sys::check_versions()?;
        let url = file_url(path)?;
        let nul = |_| Error::InvalidArgument { message: "the format's name holds a NUL".to_owned() };
        let format = options.format.as_deref().map(CString::new).transpose().map_err(nul)?;
        let chosen = playable(tracks)?;
        let guard = Arc::new(Guard::new(&options.interrupt));
        let failed = |failure: Failure| match failure.operation {
            "avformat_alloc_output_context2" => Error::Unavailable {
                what: "muxer",
                name: options.format.clone().unwrap_or_else(|| extension(path)),
            },
            _ => error(&guard, path, failure, "create"),
        };
        let mut output = Output::create(&url, format.as_deref(), &guard).map_err(failed)?;
        for track in &chosen {
            output.add_track(track).map_err(failed)?;
        }
        output.write_header(&options.options).map_err(failed)?;
        let clocks = Clocks::of(&output, &chosen);
        Ok(Self { output, clocks, path: path.to_owned(), guard })
    }

    /// Writes a packet, with timestamps in its track's time base. Packets of one track come in decoding order; libav orders
    /// tracks among each other, and holds packets back for that (10 s of media at most).
    ///
    /// Packets of tracks that are not written are ignored.
    ///
    /// # Errors
    /// [`Error::Libav`] for timestamps that go back, a full disk and others; [`Error::Cancelled`], [`Error::Timeout`].
    ///
    /// # Blocking
    /// On the file system.
    pub fn write(&mut self, packet: &Packet) -> Result<(), Error> {
        let Some((position, packet)) = self.clocks.place(packet) else { return Ok(()) };
        let result = self.output.write(position, &packet);
        result.map_err(|failure| error(&self.guard, &self.path, failure, "write"))
    }

    /// Writes the trailer and closes the file.
    ///
    /// # Errors
    /// As for [`write`](Self::write). The file is closed in any case.
    ///
    /// # Blocking
    /// On the file system.
    pub fn finish(self) -> Result<(), Error> {
        let Self { output, path, guard, .. } = self;
        output.finish().map_err(|failure| error(&guard, &path, failure, "finish"))
    }
}

fn error(guard: &Guard, path: &Path, failure: Failure, operation: &'static str) -> Error {
    use crate::interrupt::Reason;
    match guard.reason() {
        Some(Reason::Cancelled) => Error::Cancelled { operation },
        Some(Reason::Deadline) => Error::Timeout { operation },
        None => match (failure.operation, failure.system_error()) {
            (
                "avio_open2" | "av_interleaved_write_frame" | "av_write_trailer" | "avio_closep",
                Some(source),
            ) => Error::Io {
                path: path.to_owned(),
                operation: if operation == "create" { "create" } else { "write" },
                source: source.into(),
            },
            _ => failure.into(),
        },
    }
}

/// libav's address of a local file, whatever the path looks like.
fn file_url(path: &Path) -> Result<CString, Error> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
    #[cfg(not(unix))]
    let bytes = path
        .to_str()
        .ok_or_else(|| Error::InvalidArgument { message: "the path is no UTF-8".to_owned() })?
        .as_bytes()
        .to_vec();
    CString::new([b"file:".as_slice(), &bytes].concat())
        .map_err(|_| Error::InvalidArgument { message: "the path holds a NUL byte".to_owned() })
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default()
}
