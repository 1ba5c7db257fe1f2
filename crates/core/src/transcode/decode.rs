//! From packets to frames.
//!
//! In: packets of one track. Out: [`Decoded`] frames to a [`FrameStage`] that encodes them. A stage does not know where its frames
//! come from: frames that a program makes need no decoder, and one decoder's frames can be shared by several stages. Runs on the
//! thread that reads.

use std::collections::VecDeque;
use std::fmt::Debug;

use flowcast_av::{
    AudioDecoder, AudioFrame, DecoderOptions, Error as Media, Packet, TrackInfo, VideoDecoder, VideoFrame,
};

use crate::error::Error;
use crate::event::EventKind;

/// What comes out of a decoder, or of anything else that has frames.
#[derive(Debug)]
pub(super) enum Decoded<F> {
    /// The next frame. The time of a picture is in ticks of the time base of its track, that of sound is the number of its first
    /// sample.
    Frame(F),
    /// No frame follows in this lap, of which all tracks end at `all_end` milliseconds, if that is known.
    End { all_end: Option<i64> },
}

/// What encodes frames: [`take`](Self::take) one, [`work`](Self::work) until there is nothing to do, take the next one.
pub(super) trait FrameStage {
    /// What it takes: pictures or samples.
    type Frame;

    /// Takes a frame, or the end. All that could be worked must have been.
    fn take(&mut self, decoded: Decoded<Self::Frame>);

    /// Brings one frame through; `false` if it needs another one, or the lap is over.
    ///
    /// # Errors
    ///
    /// [`Error::Media`] of damage, after which it goes on; any other is the end.
    fn work(&mut self, packets: &mut VecDeque<Packet>, notices: &mut Vec<EventKind>) -> Result<bool, Error>;
}

/// A decoder of libav.
pub(super) trait FrameDecoder: Debug + Sized {
    /// What it makes.
    type Frame;

    fn open(track: &TrackInfo) -> Result<Self, Media>;
    fn push(&mut self, packet: &Packet) -> Result<(), Media>;
    fn finish(&mut self) -> Result<(), Media>;
    fn pull(&mut self) -> Result<Option<Self::Frame>, Media>;
}

impl FrameDecoder for VideoDecoder {
    type Frame = VideoFrame;

    fn open(track: &TrackInfo) -> Result<Self, Media> {
        Self::open(track, &DecoderOptions::default())
    }

    fn push(&mut self, packet: &Packet) -> Result<(), Media> {
        Self::push(self, packet)
    }

    fn finish(&mut self) -> Result<(), Media> {
        Self::finish(self)
    }

    fn pull(&mut self) -> Result<Option<VideoFrame>, Media> {
        Self::pull(self)
    }
}

impl FrameDecoder for AudioDecoder {
    type Frame = AudioFrame;

    fn open(track: &TrackInfo) -> Result<Self, Media> {
        Self::open(track, &DecoderOptions::default())
    }

    fn push(&mut self, packet: &Packet) -> Result<(), Media> {
        Self::push(self, packet)
    }

    fn finish(&mut self) -> Result<(), Media> {
        Self::finish(self)
    }

    fn pull(&mut self) -> Result<Option<AudioFrame>, Media> {
        Self::pull(self)
    }
}

/// How far a lap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// No packet follows; the decoder gives what it holds.
    Draining {
        all_end: Option<i64>,
    },
    Over,
}

/// The decoder of a track, with a new one for each lap.
#[derive(Debug)]
pub(super) struct TrackDecoder<D> {
    track: TrackInfo,
    inner: D,
    state: State,
}

impl<D: FrameDecoder> TrackDecoder<D> {
    /// Opens the decoder of a track.
    ///
    /// # Errors
    ///
    /// There is none for it.
    pub(super) fn open(track: &TrackInfo) -> Result<Self, Media> {
        Ok(Self { inner: D::open(track)?, track: track.clone(), state: State::Reading })
    }

    /// Begins again with a decoder that remembers nothing.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub(super) fn rewind(&mut self) -> Result<(), Media> {
        self.inner = D::open(&self.track)?;
        self.state = State::Reading;
        Ok(())
    }

    /// Takes a packet, once all frames were pulled.
    ///
    /// # Errors
    ///
    /// Of damage: it goes on with the next one.
    pub(super) fn push(&mut self, packet: &Packet) -> Result<(), Media> {
        self.inner.push(packet)
    }

    /// No packet follows in this lap, of which all tracks end at `all_end` milliseconds; what the decoder holds is still to be
    /// pulled.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub(super) fn finish(&mut self, all_end: Option<i64>) -> Result<(), Media> {
        self.state = State::Draining { all_end };
        self.inner.finish()
    }

    /// The next frame, or the end, once; `None` if another packet is needed, or the end was given.
    ///
    /// # Errors
    ///
    /// Of damage: it goes on with the next frame.
    fn pull(&mut self) -> Result<Option<Decoded<D::Frame>>, Media> {
        if self.state == State::Over {
            return Ok(None);
        }
        if let Some(frame) = self.inner.pull()? {
            return Ok(Some(Decoded::Frame(frame)));
        }
        let State::Draining { all_end } = self.state else { return Ok(None) };
        self.state = State::Over;
        Ok(Some(Decoded::End { all_end }))
    }

    /// Brings one frame through decoder and stage; `false` if another packet is needed, or the lap is over.
    ///
    /// # Errors
    ///
    /// As for [`FrameStage::work`].
    pub(super) fn work(
        &mut self,
        stage: &mut impl FrameStage<Frame = D::Frame>,
        packets: &mut VecDeque<Packet>,
        notices: &mut Vec<EventKind>,
    ) -> Result<bool, Error> {
        loop {
            if stage.work(packets, notices)? {
                return Ok(true);
            }
            match self.pull()? {
                Some(decoded) => stage.take(decoded),
                None => return Ok(false),
            }
        }
    }
}
