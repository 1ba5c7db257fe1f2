//! Writes packets into a container whose bytes the caller gets. Nothing here blocks.

use std::ffi::CString;
use std::sync::Arc;

use crate::outgoing::{Clocks, playable};
use crate::sys::{self, Failure, Guard, Output};
use crate::{Error, Interrupt, Packet, TrackInfo};

/// What was written since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// What goes behind all that was written before.
    pub appended: Vec<u8>,
    /// What replaces bytes of what was taken before, each with where it begins, in the order it was written.
    pub amended: Vec<(u64, Vec<u8>)>,
}

/// A container being written by libavformat, to memory: what was written is taken after each packet, or less often.
///
/// ```no_run
/// use flowcast_av::{Demuxer, Interrupt, MemoryMuxer, OpenOptions};
///
/// let mut input = Demuxer::open("in.mkv".as_ref(), &OpenOptions::default(), &Interrupt::new())?;
/// let mut output = MemoryMuxer::create("mpegts", false, &input.media().tracks, &[])?;
/// while let Some(packet) = input.read()? {
///     output.write(&packet)?;
///     let bytes = output.take().appended; // to be sent, or kept
///     # drop(bytes);
/// }
/// let rest = output.finish()?;
/// # drop(rest);
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryMuxer {
    output: Output,
    /// For each track written: its index in the packets, their clock, and the muxer's clock.
    clocks: Clocks,
}

impl MemoryMuxer {
    /// Whether the linked libav can write this format (by its name in libav: "matroska", "mpegts").
    #[must_use]
    pub fn is_available(format: &str) -> bool {
        let guard = Arc::new(Guard::new(&Interrupt::new()));
        CString::new(format).is_ok_and(|format| Output::to_memory(&format, false, &guard).is_ok())
    }

    /// Writes the header of a container. `seekable` is whether the muxer may go back and amend what was written, which some do at the end. Of
    /// `tracks` the playable ones are written; packets refer to them by [`TrackInfo::index`]. `options` are libav's of the muxer; unknown ones
    /// are ignored.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if libav has no such muxer, [`Error::InvalidArgument`] without any playable track, or [`Error::Libav`]: among
    /// others, the container may not take a codec.
    pub fn create(
        format: &str,
        seekable: bool,
        tracks: &[TrackInfo],
        options: &[(String, String)],
    ) -> Result<Self, Error> {
        sys::check_versions()?;
        let unavailable = || Error::Unavailable { what: "muxer", name: format.to_owned() };
        let name = CString::new(format).map_err(|_| unavailable())?;
        let chosen = playable(tracks)?;
        let guard = Arc::new(Guard::new(&Interrupt::new()));
        let mut output = Output::to_memory(&name, seekable, &guard).map_err(|failure: Failure| {
            if failure.operation == "avformat_alloc_output_context2" { unavailable() } else { failure.into() }
        })?;
        for track in &chosen {
            output.add_track(track)?;
        }
        output.write_header(options)?;
        let clocks = Clocks::of(&output, &chosen);
        Ok(Self { output, clocks })
    }

    /// Writes a packet, with timestamps in its track's time base. Packets come in the order they are to be written: nothing is held back to
    /// order tracks among each other. Packets of tracks that are not written are ignored.
    ///
    /// # Errors
    /// [`Error::Libav`], for timestamps that go back and others.
    pub fn write(&mut self, packet: &Packet) -> Result<(), Error> {
        let Some((position, packet)) = self.clocks.place(packet) else { return Ok(()) };
        Ok(self.output.write_ordered(position, &packet)?)
    }

    /// Ends what is begun in the container, such as a cluster of Matroska, so that what is taken next is playable up to the last packet.
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn flush(&mut self) -> Result<(), Error> {
        Ok(self.output.flush()?)
    }

    /// Changes an option of the muxer between packets, as libav's own segmenters do: with `mpegts_flags` and `+resend_headers`, an MPEG-TS muxer
    /// writes its tables anew with the next packet.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a NUL, [`Error::Libav`] for an option or a value that the muxer does not know.
    pub fn set_option(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let text = |text: &str| {
            CString::new(text)
                .map_err(|_| Error::InvalidArgument { message: "an option has a NUL".to_owned() })
        };
        Ok(self.output.set_option(&text(name)?, &text(value)?)?)
    }

    /// What was written since the last call.
    #[must_use]
    pub fn take(&mut self) -> Written {
        self.output.take()
    }

    /// Writes the trailer, and gives what was written since the last [`take`](Self::take).
    ///
    /// # Errors
    /// [`Error::Libav`].
    pub fn finish(mut self) -> Result<Written, Error> {
        Ok(self.output.write_trailer()?)
    }
}
