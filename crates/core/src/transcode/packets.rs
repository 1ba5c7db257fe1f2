//! Where a reader's packets come from: a file, or what is made of one.

use flowcast_av::{Demuxer, MediaInfo, Packet};

use crate::error::Error;
use crate::event::EventKind;

/// Gives the packets of an input, lap after lap. Made on one thread and used on another.
pub(crate) trait PacketSource: Send + std::fmt::Debug {
    /// What comes out.
    fn media(&self) -> &MediaInfo;

    /// Leaves out all tracks but these.
    fn select(&mut self, tracks: &[usize]);

    /// The next packet, or `None` at the end of the lap.
    ///
    /// # Errors
    ///
    /// [`Error::Media`] of a damaged place: there may be more behind it. For some errors there is not, see
    /// [`Patience`](crate::scan::Patience).
    fn read(&mut self) -> Result<Option<Packet>, Error>;

    /// Begins the next lap: the same packets, and the configuration of [`media`](Self::media) holds again.
    ///
    /// # Errors
    ///
    /// The input cannot go back; it can only be dropped.
    fn rewind(&mut self) -> Result<(), Error>;

    /// Goes to a keyframe at or before `dts`, in ticks of `track`; `false`, and reading goes on where it was, where the input
    /// has no index.
    fn seek(&mut self, track: usize, dts: i64) -> bool;

    /// A packet that was read and not handed out yet, once nothing more will be read of this lap.
    fn rest(&mut self) -> Option<Packet> {
        None
    }

    /// Bytes of packets that were read and not handed out yet.
    fn bytes_held(&self) -> usize {
        0
    }

    /// Whether any of it is encoded.
    fn encodes(&self) -> bool {
        false
    }

    /// Pictures that it left out on purpose since it was last asked: they are not missing.
    fn take_left_out(&mut self) -> u64 {
        0
    }

    /// Puts what there is to tell since the last time into `notices`.
    fn tell(&mut self, notices: &mut Vec<EventKind>) {
        let _ = notices;
    }
}

impl PacketSource for Demuxer {
    fn media(&self) -> &MediaInfo {
        Self::media(self)
    }

    fn select(&mut self, tracks: &[usize]) {
        Self::select(self, tracks);
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        Ok(Self::read(self)?)
    }

    fn rewind(&mut self) -> Result<(), Error> {
        Ok(Self::rewind(self)?)
    }

    fn seek(&mut self, track: usize, dts: i64) -> bool {
        Self::seek(self, track, dts)
    }
}
