//! One of several encoders of the same pictures.
//!
//! In: pictures that others decoded and scaled, with times of their clock. Out: packets whose keyframes are at the same times as those of
//! all others. Runs on a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use flowcast_av::{Packet, TrackInfo, VideoFrame};

use super::decode::{Decoded, FrameStage};
use super::encoders::Encoders;
use super::pictures::Pictures;
use super::pipeline::Control;
use super::plan::VideoPlan;
use crate::error::Error;
use crate::event::EventKind;

/// Encodes one rendition.
#[derive(Debug)]
pub(crate) struct RenditionEncoder {
    pictures: Pictures,
    control: Control,
    is_aligned: bool,
    packets: VecDeque<Packet>,
}

impl RenditionEncoder {
    /// Opens an encoder for pictures of `track`, which have the size of the plan already.
    ///
    /// # Errors
    ///
    /// None opens.
    pub(crate) fn open(
        track: &TrackInfo,
        plan: &VideoPlan,
        encoders: &Arc<dyn Encoders>,
        control: &Control,
        notices: &mut Vec<EventKind>,
    ) -> Result<Self, Error> {
        let mut pictures = Pictures::open(track, plan, encoders, &control.dial)?;
        pictures.watched_by(control.probe.clone());
        pictures.measured_by(&control.meter);
        notices.extend(pictures.take_change());
        control.meter.name(pictures.encoder());
        Ok(Self { pictures, control: control.clone(), is_aligned: false, packets: VecDeque::new() })
    }

    /// What comes out.
    pub(crate) fn output(&self) -> &TrackInfo {
        self.pictures.output()
    }

    /// Takes a picture; place 0 of the grid of all encoders is at `origin`. What is not told yet of its packets is put into `packets`.
    ///
    /// # Errors
    ///
    /// The encoder failed, and none can take its place.
    pub(crate) fn take(
        &mut self,
        picture: VideoFrame,
        origin: i64,
        packets: &mut Vec<Packet>,
        notices: &mut Vec<EventKind>,
    ) -> Result<(), Error> {
        if !self.is_aligned {
            self.pictures.align(origin, picture.pts().unwrap_or(origin));
            self.is_aligned = true;
        }
        self.pictures.take(Decoded::Frame(picture));
        self.work(packets, notices)
    }

    /// No picture follows; all tracks end at `all_end`, in milliseconds, if that is known.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub(crate) fn finish(
        &mut self,
        all_end: Option<i64>,
        packets: &mut Vec<Packet>,
        notices: &mut Vec<EventKind>,
    ) -> Result<(), Error> {
        self.pictures.take(Decoded::End { all_end });
        self.work(packets, notices)
    }

    fn work(&mut self, packets: &mut Vec<Packet>, notices: &mut Vec<EventKind>) -> Result<(), Error> {
        let mut result = Ok(true);
        while let Ok(true) = result {
            result = self.pictures.work(&mut self.packets, notices);
        }
        let meter = &self.control.meter;
        for packet in self.packets.drain(..) {
            meter.frame(packet.data.len(), self.pictures.pixels());
            packets.push(packet);
        }
        meter.holds(self.pictures.held_bytes());
        meter.name(self.pictures.encoder());
        result.map(|_| ())
    }
}
