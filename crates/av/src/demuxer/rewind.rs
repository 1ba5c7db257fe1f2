//! Going back to the first packet.

use std::time::Instant;

use super::context::read_source;
use super::{Demuxed, Demuxer};
use crate::convert::Converted;
use crate::probe::Opened;
use crate::sys::Input;
use crate::{Error, Packet};

/// What makes a packet known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) track: usize,
    pts: Option<i64>,
    dts: Option<i64>,
    length: usize,
    skip_start: u32,
}

impl Mark {
    pub(super) fn of(packet: &Packet) -> Self {
        Self {
            track: packet.track,
            pts: packet.pts,
            dts: packet.dts,
            length: packet.data.len(),
            skip_start: packet.skip_start,
        }
    }
}

impl Demuxer {
    /// Goes back to the first packet. What follows is what a freshly opened input gives: the same packets, each with the same
    /// timestamps, and the configuration of [`media`](Self::media) holds again.
    ///
    /// MP4 is sought by its index, and the first packet of each track is compared with the one of the first lap; other formats,
    /// and an MP4 that comes back otherwise, are opened again from the same file handle.
    ///
    /// # Errors
    /// [`Error::NotSeekable`] for live inputs; else as for [`open`](Self::open). After an error the demuxer can only be
    /// dropped.
    ///
    /// # Blocking
    /// As for [`open`](Self::open).
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.guard.set_deadline(Instant::now().checked_add(self.options.timeout));
        let result = match self.seek_back() {
            Ok(true) => Ok(()),
            Err(error @ (Error::Timeout { .. } | Error::Cancelled { .. } | Error::NotSeekable { .. })) => {
                Err(error)
            }
            Ok(false) | Err(_) => self.open_again(),
        };
        self.guard.set_deadline(None);
        result
    }

    /// Seeks to the start, for formats with an index of every packet. False if that did not lead to the first packets.
    pub(super) fn seek_back(&mut self) -> Result<bool, Error> {
        let Some(Mark { track, dts: Some(dts), .. }) = self.firsts.first().cloned() else { return Ok(false) };
        if self.broken || !self.media.format.starts_with("mov,") {
            return Ok(false);
        }
        let Some(input) = &mut self.input else { return Err(self.not_seekable()) };
        // The first packets may be of tracks that are not selected; they must come back to be known again.
        let playable: Vec<bool> = self.media.tracks.iter().map(crate::TrackInfo::is_playable).collect();
        input.discard(|index| playable.get(index).copied().unwrap_or(false));
        // By the track of the earliest packet: libav takes the others to the same time, and so to their first packets, too.
        if input.seek(track, dts).is_err() {
            return Ok(false);
        }
        self.ahead.clear();
        for (converter, track) in self.converters.iter_mut().zip(&self.media.tracks) {
            converter.restart(track.config.as_ref());
        }
        let mut expected: Vec<Mark> = self.firsts.clone();
        for _ in 0..self.options.max_probe_packets {
            let Some(packet) = self.read_raw()? else { return Ok(false) };
            let (converted, track) = self.convert(packet);
            let Converted::Packet(packet) = &converted else { return Ok(false) };
            match expected.iter().position(|mark| mark.track == track) {
                Some(0) if expected.first() == Some(&Mark::of(packet)) => {
                    expected.remove(0);
                }
                Some(_) => return Ok(false),
                None => {}
            }
            self.ahead.push_back(Demuxed::Done(converted, track));
            if expected.is_empty() {
                self.apply_selection();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the last keyframe of `track` that is decoded at or before `dts`, in ticks of that track. `false`, and reading goes
    /// on where it was, for formats without an index of every keyframe (all but MP4 and Matroska) and where there is none.
    ///
    /// # Blocking
    /// As for [`open`](Self::open).
    pub fn seek(&mut self, track: usize, dts: i64) -> bool {
        let indexed = ["mov,", "matroska,"].iter().any(|name| self.media.format.starts_with(name));
        let Some(input) = self.input.as_mut().filter(|_| indexed && !self.broken) else { return false };
        self.guard.set_deadline(Instant::now().checked_add(self.options.timeout));
        let sought = input.seek(track, dts).is_ok();
        self.guard.set_deadline(None);
        if !sought {
            return false;
        }
        self.ahead.clear();
        for (converter, track) in self.converters.iter_mut().zip(&self.media.tracks) {
            converter.restart(track.config.as_ref());
        }
        true
    }

    fn open_again(&mut self) -> Result<(), Error> {
        let source = self.input.take().and_then(Input::into_source);
        let Some(source) = source else { return Err(self.not_seekable()) };
        let opened = read_source(source, &self.context, &self.options, &self.guard)?;
        let Opened { input, media, converters, ahead } = opened;
        self.input = Some(input);
        self.broken = false;
        self.converters = converters;
        self.ahead = ahead;
        // A file that is still written to may show more tracks now; the description stays that of the first lap.
        self.converters.truncate(self.media.tracks.len().min(media.tracks.len()));
        self.apply_selection();
        Ok(())
    }
}
