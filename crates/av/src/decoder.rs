//! Decoders: packets in, frames out. One thread at a time; a push or a pull may take as long as decoding a packet.

use std::collections::VecDeque;

use crate::frame::{AudioFormats, AudioFrame, VideoFormats, VideoFrame};
use crate::limits::{Exceeded, InputLimits};
use crate::screen::PacketScreen;
use crate::sys::{self, DecoderSetup, Failure, RawDecoder, RawFrame};
use crate::{Error, Packet, ThreadMode, TimeBase, TrackInfo, TrackKind};

/// How to decode.
#[derive(Debug, Clone)]
pub struct DecoderOptions {
    /// Threads; 0 lets libav choose. Default 1: the thread that calls does the work, and a frame comes out as early as it can.
    pub threads: u32,
    /// What several threads share. Default [`ThreadMode::Frame`], which holds back a frame for each thread.
    pub thread_mode: ThreadMode,
    /// Pixels of a picture at most; larger ones are [`Error::Damaged`]. Default 8192 x 4608.
    pub max_pixels: u64,
    /// Leaves out what hardly shows in a picture that is made much smaller: deblocking, most of all. For single keyframes; what is decoded from
    /// such pictures gets worse with each. Default false.
    pub draft: bool,
}

impl Default for DecoderOptions {
    fn default() -> Self {
        Self { threads: 1, thread_mode: ThreadMode::Frame, max_pixels: 8192 * 4608, draft: false }
    }
}

/// A decoder of pictures: [`push`](Self::push) a packet, [`pull`](Self::pull) frames until there is none, and so on;
/// [`finish`](Self::finish), pull the rest.
///
/// ```no_run
/// use flowcast_av::{DecoderOptions, Demuxer, Interrupt, OpenOptions, VideoDecoder};
///
/// let mut input = Demuxer::open("intro.mp4".as_ref(), &OpenOptions::default(), &Interrupt::new())?;
/// let track = input.media().video().expect("a picture").clone();
/// let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default())?;
/// input.select(&[track.index]);
/// while let Some(packet) = input.read()? {
///     if let Err(error) = decoder.push(&packet) {
///         if !error.is_damage() {
///             return Err(error);
///         }
///     }
///     while let Some(frame) = decoder.pull()? {
///         println!("{:?}: {:?}", frame.pts(), frame.format());
///     }
/// }
/// # Ok::<(), flowcast_av::Error>(())
/// ```
#[derive(Debug)]
pub struct VideoDecoder {
    core: Core,
    formats: VideoFormats,
    /// One frame in ticks, as the track says.
    frame_ticks: i64,
    /// Where the next picture is due if it does not say.
    next: Option<i64>,
}

impl VideoDecoder {
    /// Opens a decoder for a track with pictures.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this libav has no decoder for the codec, [`Error::InvalidArgument`] for a track without
    /// pictures, [`Error::Damaged`] for a configuration the decoder does not take, [`Error::VersionMismatch`].
    pub fn open(track: &TrackInfo, options: &DecoderOptions) -> Result<Self, Error> {
        if track.kind != TrackKind::Video {
            return Err(Error::InvalidArgument { message: "a track without pictures".to_owned() });
        }
        let rate = track.video.as_ref().and_then(|video| video.frame_rate);
        let frame_ticks =
            rate.map_or(0, |rate| TimeBase::new(rate.den, rate.num).rescale(1, track.time_base));
        let core = Core::open(track, options)?;
        Ok(Self { core, formats: VideoFormats::default(), frame_ticks, next: None })
    }

    /// Gives it a packet in the form a [`Demuxer`](crate::Demuxer) gives it. A new configuration in it holds from there on.
    /// Frames must have been pulled before.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the packet cannot be decoded: the decoder goes on with the next one. [`Error::InvalidArgument`] if
    /// frames have not been pulled, or after [`finish`](Self::finish); [`Error::Libav`] without memory.
    pub fn push(&mut self, packet: &Packet) -> Result<(), Error> {
        self.core.push(packet)
    }

    /// Says that no packet follows: frames that are held back come out.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn finish(&mut self) -> Result<(), Error> {
        self.core.finish()
    }

    /// The next picture in the order they are shown, or `None` if it needs another packet, or has given all after
    /// [`finish`](Self::finish). Pictures a packet says not to show ([`Packet::discard`]) are left out. A picture the input
    /// gives no time (the last ones of some AVI files) follows the one before.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn pull(&mut self) -> Result<Option<VideoFrame>, Error> {
        let Some(raw) = self.core.pull()? else { return Ok(None) };
        let mut frame = VideoFrame::new(raw, &mut self.formats);
        let pts = frame.pts().or(self.next);
        frame.set_pts(pts);
        let length = if frame.duration() > 0 { frame.duration() } else { self.frame_ticks };
        self.next = pts.filter(|_| length > 0).map(|pts| pts.saturating_add(length));
        Ok(Some(frame))
    }

    /// Forgets what it has seen, also [`finish`](Self::finish): for packets from a keyframe elsewhere. Frames not pulled are
    /// lost.
    ///
    /// # Errors
    /// None so far.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.next = None;
        self.core.reset()
    }
}

/// A decoder of samples: as [`VideoDecoder`].
///
/// What a packet says to leave out at its start or end (priming, padding) is left out, to the sample. Times count samples: the
/// clocks of containers are coarser, so a frame follows the one before without gap or overlap unless its time says otherwise by
/// more than two ticks.
#[derive(Debug)]
pub struct AudioDecoder {
    core: Core,
    formats: AudioFormats,
    clock: SampleClock,
}

impl AudioDecoder {
    /// Opens a decoder for a track with sound.
    ///
    /// # Errors
    /// As for [`VideoDecoder::open`].
    pub fn open(track: &TrackInfo, options: &DecoderOptions) -> Result<Self, Error> {
        if track.kind != TrackKind::Audio {
            return Err(Error::InvalidArgument { message: "a track without sound".to_owned() });
        }
        let clock = SampleClock { time_base: track.time_base, next: None };
        Ok(Self { core: Core::open(track, options)?, formats: AudioFormats::default(), clock })
    }

    /// As [`VideoDecoder::push`].
    ///
    /// # Errors
    /// As for [`VideoDecoder::push`].
    pub fn push(&mut self, packet: &Packet) -> Result<(), Error> {
        self.core.push(packet)
    }

    /// As [`VideoDecoder::finish`].
    ///
    /// # Errors
    /// As for [`VideoDecoder::push`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.core.finish()
    }

    /// The next samples, or `None` as for [`VideoDecoder::pull`].
    ///
    /// # Errors
    /// As for [`VideoDecoder::push`].
    pub fn pull(&mut self) -> Result<Option<AudioFrame>, Error> {
        while let Some(raw) = self.core.pull()? {
            let mut frame = AudioFrame::new(raw, &mut self.formats);
            if frame.samples() == 0 || frame.format().sample_rate == 0 {
                continue;
            }
            let placed = self.clock.place(frame.pts(), frame.samples(), frame.format().sample_rate);
            frame.set_pts(placed);
            return Ok(Some(frame));
        }
        Ok(None)
    }

    /// As [`VideoDecoder::reset`]: what follows is decoded as by a decoder just opened.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn reset(&mut self) -> Result<(), Error> {
        self.clock.next = None;
        // Priming that only the decoder knows of (Opus) is left out when it opens, and not again when it is flushed.
        self.core.reopen()
    }
}

/// What decoders of pictures and of samples have in common.
#[derive(Debug)]
struct Core {
    decoder: RawDecoder,
    track: TrackInfo,
    setup: DecoderSetup,
    /// Looks at packets before libav does.
    screen: Option<PacketScreen>,
    /// Frames of a decoder that was replaced by one for a new configuration.
    held: VecDeque<RawFrame>,
    /// Time to show, or else to decode, of the packet pushed last.
    at: Option<i64>,
    finished: bool,
}

impl Core {
    fn open(track: &TrackInfo, options: &DecoderOptions) -> Result<Self, Error> {
        sys::check_versions()?;
        let setup = DecoderSetup {
            threads: options.threads,
            thread_mode: options.thread_mode,
            max_pixels: options.max_pixels,
            draft: options.draft,
        };
        let limits = InputLimits { max_pixels: options.max_pixels, ..InputLimits::default() };
        let screen = PacketScreen::of(track, "", limits);
        if let (Some(screen), Some(config)) = (&screen, &track.config) {
            screen.check_config(config).map_err(|exceeded| too_much(track, None, exceeded))?;
        }
        let decoder = open(track, setup)?;
        Ok(Self {
            decoder,
            track: track.clone(),
            setup,
            screen,
            held: VecDeque::new(),
            at: None,
            finished: false,
        })
    }

    fn push(&mut self, packet: &Packet) -> Result<(), Error> {
        if packet.config.is_some() && packet.config != self.track.config {
            self.check(packet, packet.config.as_deref())?;
            self.configure(packet)?;
        }
        // An empty packet would mean the end to libav.
        if packet.data.is_empty() {
            return Ok(());
        }
        self.at = packet.pts.or(packet.dts);
        self.check(packet, None)?;
        let result = self.decoder.send(Some(packet));
        result.map_err(|failure| self.error(failure))
    }

    /// Refuses what would make libav hold too much: a configuration, or else the packet.
    fn check(&mut self, packet: &Packet, config: Option<&[u8]>) -> Result<(), Error> {
        let Some(screen) = &mut self.screen else { return Ok(()) };
        let checked = match config {
            Some(config) => screen.check_config(config),
            None => screen.check(&packet.data),
        };
        checked.map_err(|exceeded| too_much(&self.track, packet.pts, exceeded))
    }

    /// A decoder that was opened with a configuration follows a new one in a packet; one that was opened without has to be
    /// opened again, because the form of the packets depends on it.
    fn configure(&mut self, packet: &Packet) -> Result<(), Error> {
        let first = self.track.config.is_none();
        self.track.config.clone_from(&packet.config);
        if first {
            self.finish()?;
            while let Some(frame) = self.decoder.receive().map_err(|failure| self.error(failure))? {
                self.held.push_back(frame);
            }
            let held = std::mem::take(&mut self.held);
            self.reopen()?;
            self.held = held;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        self.finished = true;
        self.decoder.send(None).map_err(|failure| self.error(failure))
    }

    fn pull(&mut self) -> Result<Option<RawFrame>, Error> {
        if let Some(frame) = self.held.pop_front() {
            return Ok(Some(frame));
        }
        self.decoder.receive().map_err(|failure| self.error(failure))
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.held.clear();
        self.decoder.flush();
        self.finished = false;
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.held.clear();
        self.decoder = open(&self.track, self.setup)?;
        self.finished = false;
        Ok(())
    }

    /// What a failure means: decoders report damage by many codes, so all are damage but those that cannot be.
    fn error(&self, failure: Failure) -> Error {
        match failure.code {
            Failure::AGAIN => refuse("a packet was pushed before all frames were pulled"),
            Failure::END => refuse("a packet was pushed after the end"),
            Failure::NO_MEMORY => failure.into(),
            _ => Error::Damaged { track: self.track.index, pts: self.at, message: failure.message() },
        }
    }
}

fn open(track: &TrackInfo, setup: DecoderSetup) -> Result<RawDecoder, Error> {
    RawDecoder::open(track, track.config.as_deref(), setup).map_err(|failure| match failure.code {
        Failure::NO_DECODER => Error::Unavailable { what: "decoder", name: track.codec.name().to_owned() },
        Failure::NO_MEMORY => failure.into(),
        _ => Error::Damaged { track: track.index, pts: None, message: failure.message() },
    })
}

fn too_much(track: &TrackInfo, pts: Option<i64>, exceeded: Exceeded) -> Error {
    let message = format!("more than {} {}", exceeded.allowed, Exceeded::what(exceeded.limit));
    Error::Damaged { track: track.index, pts, message }
}

fn refuse(message: &str) -> Error {
    Error::InvalidArgument { message: message.to_owned() }
}

/// Places runs of samples on a line without the rounding of the container's clock.
#[derive(Debug)]
struct SampleClock {
    time_base: TimeBase,
    /// Where the next run begins if it follows the last one, and the rate of that number.
    next: Option<(i64, u32)>,
}

impl SampleClock {
    fn place(&mut self, ticks: Option<i64>, samples: usize, rate: u32) -> Option<i64> {
        let unit = TimeBase::new(1, rate);
        let told = ticks.map(|ticks| self.time_base.rescale(ticks, unit));
        let next = self.next.map(|(next, old)| TimeBase::new(1, old).rescale(next, unit));
        // Both ends of a distance are rounded.
        let tick = self.time_base.rescale(2, unit).saturating_add(1);
        let at = match (next, told) {
            (Some(next), Some(told)) if next.abs_diff(told) <= tick.unsigned_abs() => next,
            (next, told) => told.or(next)?,
        };
        self.next = Some((at.saturating_add(i64::try_from(samples).unwrap_or(0)), rate));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_times_are_undone() {
        let mut clock = SampleClock { time_base: TimeBase::MILLIS, next: None };
        // 1024 samples at 44.1 kHz are 23.2 ms.
        for frame in 0..1000_i64 {
            let millis = TimeBase::new(1, 44_100).rescale(frame * 1024, TimeBase::MILLIS);
            assert_eq!(clock.place(Some(millis), 1024, 44_100), Some(frame * 1024));
        }
    }

    #[test]
    fn real_gaps_stay() {
        let mut clock = SampleClock { time_base: TimeBase::MILLIS, next: None };
        assert_eq!(clock.place(Some(0), 480, 48_000), Some(0));
        assert_eq!(clock.place(Some(30), 480, 48_000), Some(1440));
        assert_eq!(clock.place(None, 480, 48_000), Some(1920));
        assert_eq!(clock.place(Some(20), 480, 48_000), Some(960));
    }

    #[test]
    fn without_any_time_there_is_none() {
        let mut clock = SampleClock { time_base: TimeBase::MILLIS, next: None };
        assert_eq!(clock.place(None, 480, 48_000), None);
    }
}
