//! The input, read once from its beginning to its end, whatever is damaged on the way.

use flowcast_av::{MediaInfo, Packet};

use crate::error::Error;
use crate::event::EventKind;
use crate::scan::{Damage, Patience};
use crate::transcode::PacketSource;

/// Passes over damaged places: the input ends where nothing readable follows.
#[derive(Debug)]
pub(super) struct Patient<S> {
    source: S,
    patience: Patience,
    any: bool,
}

impl<S: PacketSource> Patient<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, patience: Patience::default(), any: false }
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
                    self.patience.read();
                    self.any |= packet.is_some();
                    return Ok(packet);
                }
                Err(error) => match self.patience.failed(&error) {
                    Damage::First | Damage::Again => {}
                    Damage::TooMuch if self.any => return Ok(None),
                    Damage::TooMuch | Damage::Final => return Err(error),
                },
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

    fn take_left_out(&mut self) -> u64 {
        self.source.take_left_out()
    }

    fn tell(&mut self, notices: &mut Vec<EventKind>) {
        self.source.tell(notices);
    }
}
