//! The input, read once from its beginning to its end, whatever is damaged on the way.

use flowcast_av::{Error as Media, MediaInfo, Packet};

use crate::error::Error;
use crate::event::EventKind;
use crate::transcode::packets::{PacketSource, is_final};

/// Places in a row that may be damaged before the rest is given up.
const MOST_DAMAGED: u32 = 16;

/// Passes over damaged places: the input ends where nothing readable follows.
#[derive(Debug)]
pub(super) struct Patient<S> {
    source: S,
    in_a_row: u32,
    any: bool,
}

impl<S: PacketSource> Patient<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, in_a_row: 0, any: false }
    }
}

impl<S: PacketSource> PacketSource for Patient<S> {
    fn media(&self) -> &MediaInfo {
        self.source.media()
    }

    fn select(&mut self, tracks: &[usize]) {
        self.source.select(tracks);
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            match self.source.read() {
                Ok(packet) => {
                    self.in_a_row = 0;
                    self.any |= packet.is_some();
                    return Ok(packet);
                }
                // Not one place is damaged then, but every packet.
                Err(Error::Media(error @ Media::MissingTimestamps { .. })) => return Err(error.into()),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) if self.in_a_row >= MOST_DAMAGED => {
                    return if self.any { Ok(None) } else { Err(error) };
                }
                Err(_) => self.in_a_row += 1,
            }
        }
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.source.rewind()
    }

    fn seek(&mut self, track: usize, dts: i64) -> bool {
        self.source.seek(track, dts)
    }

    fn encodes(&self) -> bool {
        self.source.encodes()
    }

    fn tell(&mut self, notices: &mut Vec<EventKind>) {
        self.source.tell(notices);
    }
}
