//! The pictures of one lap: brought into shape, put on the grid, encoded.
//!
//! In: pictures, wherever they come from, with times in ticks of one clock. Out: packets of the plan's codec at a constant frame rate, on the
//! same clock. Pictures pass one at a time: nothing is kept but what filter and encoder hold. Runs on the thread that reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flowcast_av::{ColorInfo, Error as Media, Packet, TimeBase, TrackInfo, VideoFrame, VideoInfo, is_rgb};

use super::decode::{Decoded, FrameStage};
use super::encoders::{Encoders, PictureEncoder, settings, settings_at};
use super::grid::Grid;
use super::length::Length;
use super::meter::EncodingMeter;
use super::plan::VideoPlan;
use super::shaper::Shaper;
use super::shrinker::Shrinker;
use super::steer::{At, Steer, Turn};
use crate::adapt::Dial;
use crate::content::{Eye, Probe};
use crate::error::Error;
use crate::event::EventKind;
use crate::overlay::Painter;
use crate::stats::DropReason;

/// Ticks a second of the clock of what comes out, at least.
const FINEST: u32 = 90_000;

/// Pictures that an encoder took with it when it failed, and that are made up for, at most this many seconds.
const MOST_MADE_UP: i64 = 2;

/// The pictures of a track, on their way to packets.
#[derive(Debug)]
pub(super) struct Pictures {
    plan: VideoPlan,
    /// What is known of the pictures, and their clock.
    input: TrackInfo,
    output: TrackInfo,
    color: ColorInfo,
    encoders: Arc<dyn Encoders>,
    /// The encoders that may be tried, in their order.
    candidates: Vec<String>,
    shaper: Shaper,
    /// Makes pictures smaller that are to be, after everything else.
    shrinker: Shrinker,
    grid: Grid,
    /// What is drawn over the pictures, if anything is.
    painter: Option<Painter>,
    /// How long what comes out waits before it is on the air.
    ahead: Length,
    /// What looks whether there is anything to see.
    eye: Option<Eye>,
    /// Is told how long each picture took.
    meter: EncodingMeter,
    encoder: Encoder,
    /// What its bit rate is.
    steer: Steer,
    /// Places that were left out.
    left_out: u64,
    /// The newest of them, and its picture: a lap ends with it.
    skipped: Option<(VideoFrame, i64)>,
    /// Ticks of one frame, of the clock of what comes out.
    step: i64,
    /// GOPs begin at whole multiples of their length, counted in places of the grid, whatever the encoder does by itself.
    is_aligned: bool,
    /// The configuration that was given out last.
    told: Option<Bytes>,
    /// Where the lap ends, once that is known, of the pictures' clock.
    all_end: Option<i64>,
    stage: Stage,
}

/// An encoder and what it was given.
#[derive(Debug)]
struct Encoder {
    name: String,
    /// How many of the candidates came before it.
    number: usize,
    /// The first of them that did not open, and why.
    instead_of: Option<(String, Media)>,
    inner: Box<dyn PictureEncoder>,
    /// Width and height of the pictures it takes.
    size: (u32, u32),
    /// The first place it was given a picture for, and the last.
    first: Option<i64>,
    last: i64,
    /// The places of pictures it has not given back.
    inside: VecDeque<i64>,
    /// Places were left out: it cannot tell by itself where GOPs begin.
    is_thinned: bool,
    /// Pictures it took.
    taken: i64,
    /// Packets it gave.
    given: i64,
}

/// How far a lap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Taking,
    /// No picture follows; the shaper gives what it holds, then the grid, then the encoder.
    Ending,
    Shaper,
    Grid,
    Encoder,
    Over,
}

impl Pictures {
    /// Opens the encoder for the pictures of `input`: its time base is their clock, and what it says of their orientation,
    /// fields and colours is what is made of them. Its codec does not matter. `dial` sets the bit rate.
    ///
    /// # Errors
    ///
    /// No encoder opens.
    pub(super) fn open(
        input: &TrackInfo,
        plan: &VideoPlan,
        encoders: &Arc<dyn Encoders>,
        dial: &Dial,
    ) -> Result<Self, Error> {
        let video = input.video.as_ref();
        let color = video.map(shown_color).unwrap_or_default();
        let candidates = encoders.candidates(plan.codec, &plan.encoder);
        let rates = (At::wanted(dial, plan), dial.adapts());
        let open = Opening { track: input.index, plan, color: &color, encoders: &**encoders, rates };
        let encoder = open.first_of(&candidates, 0)?;
        let steer = Steer::new(dial, plan, settings(plan, &encoder.name, &color).most_bit_rate());
        let rate = plan.frame_rate;
        let times = FINEST.div_ceil(rate.num());
        let base = TimeBase::new(1, rate.num().saturating_mul(times));
        let step = i64::from(rate.den()) * i64::from(times);
        let mut output = encoder.inner.track().clone();
        output.index = input.index;
        output.time_base = base;
        output.default = true;
        output.programs.clone_from(&input.programs);
        let shaper = Shaper::new(input, plan, encoder.inner.pixel_format());
        let overlays = &plan.drawn.overlays;
        let painter = (!overlays.is_empty()).then(|| Painter::new(overlays, &color));
        Ok(Self {
            plan: plan.clone(),
            input: input.clone(),
            told: output.config.clone(),
            output,
            color,
            encoders: encoders.clone(),
            candidates,
            shaper,
            shrinker: Shrinker::new(input.time_base),
            grid: Grid::new(rate, input.time_base),
            painter,
            ahead: Length::default(),
            eye: None,
            meter: EncodingMeter::default(),
            encoder,
            steer,
            left_out: 0,
            skipped: None,
            step,
            is_aligned: false,
            all_end: None,
            stage: Stage::Taking,
        })
    }

    /// Says how long what comes out waits before it is on the air.
    pub(super) fn on_air_after(&mut self, ahead: &Length) {
        self.ahead = ahead.clone();
    }

    /// Says who is told what the pictures are like, if anybody is.
    pub(super) fn watched_by(&mut self, probe: Option<Probe>) {
        self.eye = probe.map(Eye::new);
    }

    /// Says who is told how long each picture took.
    pub(super) fn measured_by(&mut self, meter: &EncodingMeter) {
        self.meter = meter.clone();
    }

    /// GOPs begin where those of all encoders do whose place 0 is at `origin`; this one begins with the first of them that does not begin before
    /// `time`. Both are times of the clock of the pictures. To be called before the first picture.
    pub(super) fn align(&mut self, origin: i64, time: i64) {
        let gop = i64::from(self.plan.gop_frames.max(1));
        let grid = Grid::new(self.plan.frame_rate, self.input.time_base).at(origin);
        let place = grid.place(time).max(0);
        let first = place.saturating_add(gop - 1) / gop * gop;
        self.grid = grid.from(first);
        self.is_aligned = true;
    }

    /// What comes out.
    pub(super) fn output(&self) -> &TrackInfo {
        &self.output
    }

    /// libav's name of the encoder that is at work.
    pub(super) fn encoder(&self) -> &str {
        &self.encoder.name
    }

    /// The pixel format that the encoder takes.
    pub(super) fn pixel_format(&self) -> &str {
        self.encoder.inner.pixel_format()
    }

    /// Pixels of one picture that comes out.
    pub(super) fn pixels(&self) -> u64 {
        let (width, height) = self.encoder.size;
        u64::from(width) * u64::from(height)
    }

    /// Places that were left out because of the frame rate since this was last asked.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Bytes of the pictures that the encoder has taken and not given back: a byte of light for each pixel, and half a byte of colour.
    pub(super) fn held_bytes(&self) -> u64 {
        let inside = u64::try_from(self.encoder.taken - self.encoder.given).unwrap_or(0);
        inside * self.pixels() * 3 / 2
    }

    /// What has to be reported about encoders that did not open, after [`open`](Self::open), [`rewind`](Self::rewind) and
    /// [`begin_at`](Self::begin_at).
    pub(super) fn take_change(&mut self) -> Option<EventKind> {
        let (from, error) = self.encoder.instead_of.take()?;
        let (to, error) = (self.encoder.name.clone(), Error::Media(error));
        Some(EventKind::EncoderChanged { from, to, error })
    }

    /// Begins another lap with an encoder that remembers nothing.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        self.grid = Grid::new(self.plan.frame_rate, self.input.time_base);
        self.begin()
    }

    /// Goes on elsewhere in the same lap: with the first picture whose packet is decoded at or after `dts`, in ticks of what
    /// comes out. A picture at or before it is to be taken next.
    pub(super) fn begin_at(&mut self, dts: i64) -> Result<(), Error> {
        let delay = self.output.video.as_ref().map_or(0, |video| i64::from(video.b_frames));
        // Finished times are whole milliseconds: what is rounded to this one counts.
        let half = i64::from(self.output.time_base.den / 2000);
        let pts = dts.saturating_add(delay * self.step - half);
        // Reckoned on the clock of what comes out: the file's may be so coarse that a picture before this one would be taken.
        let zero = self
            .grid
            .origin()
            .map_or(pts, |origin| self.input.time_base.rescale(origin, self.output.time_base));
        let step = self.step.max(1);
        let place = pts.saturating_sub(zero).saturating_add(step - 1).div_euclid(step);
        self.grid = self.grid.from(place.max(0));
        self.begin()
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.shaper.reset();
        self.skipped = None;
        self.stage = Stage::Taking;
        // A lap begins with what was said of the track, whatever encoder took over in the one before.
        self.told.clone_from(&self.output.config);
        self.replace_encoder(self.encoder.number)
    }

    /// Opens the first encoder that does, of the candidates from number `from` on, in place of the one there is.
    ///
    /// # Errors
    ///
    /// None opens; then there is none.
    fn replace_encoder(&mut self, from: usize) -> Result<(), Error> {
        // Its session ends first: a device may have none to spare for the next one.
        self.encoder.inner = Box::new(Closed::in_place_of(&*self.encoder.inner));
        let rates = (self.steer.open_at(&self.plan), self.steer.changes());
        let Self { plan, color, .. } = self;
        let open = Opening { track: self.input.index, plan, color, encoders: &*self.encoders, rates };
        self.encoder = open.first_of(&self.candidates, from)?;
        self.shaper.set_pixel_format(self.encoder.inner.pixel_format());
        // What is drawn has places in the size that was planned; without it, pictures are scaled once.
        if self.painter.is_none() && self.plan.drawn.filters.is_empty() {
            self.shaper.set_size(self.encoder.size);
        }
        Ok(())
    }

    /// The next picture on its place of the grid.
    fn next_frame(&mut self) -> Result<Option<(VideoFrame, i64)>, Error> {
        loop {
            if let Some(given) = self.grid.pull()? {
                self.leave_out();
                if given.1.rem_euclid(self.steer.every()) == 0 {
                    return Ok(Some(given));
                }
                self.skipped = Some(given);
                continue;
            }
            if let Some(frame) = self.shaper.pull()? {
                let (time, duration) = (frame.pts(), frame.duration());
                self.grid.push(frame, time, duration);
                (0..self.grid.take_surplus())
                    .for_each(|_| self.meter.left_out_because(DropReason::FrameRate));
                continue;
            }
            self.stage = match self.stage {
                Stage::Taking | Stage::Encoder | Stage::Over => return Ok(None),
                Stage::Ending => {
                    self.shaper.finish()?;
                    Stage::Shaper
                }
                Stage::Shaper => {
                    self.grid.finish(self.all_end);
                    Stage::Grid
                }
                Stage::Grid => Stage::Encoder,
            };
            // The last place is where the lap ends, at whatever frame rate.
            if self.stage == Stage::Encoder
                && let Some(last) = self.skipped.take()
            {
                return Ok(Some(last));
            }
        }
    }

    /// The place that was passed over is not the last one.
    fn leave_out(&mut self) {
        if self.skipped.take().is_some() {
            self.encoder.is_thinned = true;
            self.meter.left_out_because(DropReason::Load);
            self.left_out += 1;
        }
    }

    fn encode(
        &mut self,
        frame: VideoFrame,
        place: i64,
        packets: &mut VecDeque<Packet>,
        notices: &mut Vec<EventKind>,
    ) -> Result<(), Error> {
        let begins = self.begins(place);
        if self.steer.turn(&self.plan, &mut *self.encoder.inner, begins) == Turn::Reopen {
            self.reopen(packets, notices)?;
        }
        let mut frame = self.shaper.convert(frame)?;
        if let Some(painter) = &mut self.painter {
            // After the grid: a picture that is repeated shows what is to be drawn by then.
            painter.paint(&mut frame, self.ahead.get().unwrap_or_default())?;
        }
        let mut from = place;
        loop {
            let mut given = self.shrinker.shrink(&frame, self.encoder.size)?;
            let Err(error) = self.encode_as(&mut given, from..=place, packets) else { return Ok(()) };
            let failed = std::mem::take(&mut self.encoder.name);
            self.encoders.failed(&failed);
            // The next one takes over with this picture, and fills the places of those that are lost with it.
            let lost = self.encoder.inside.front().copied().unwrap_or(place);
            let most = MOST_MADE_UP * i64::from(self.plan.frame_rate.num() / self.plan.frame_rate.den());
            from = lost.clamp(place - most, place);
            // Report why this one failed, not that no other is left.
            if self.replace_encoder(self.encoder.number + 1).is_err() {
                return Err(encoder_failed(&failed, error));
            }
            // Of those between the two it is enough that neither of them is at work.
            self.encoder.instead_of = None;
            let (from, to) = (failed, self.encoder.name.clone());
            notices.push(EventKind::EncoderChanged { from, to, error });
            frame = self.shaper.convert(frame)?;
        }
    }

    /// Whether a GOP begins with the picture of a place: the encoder's first, and each that passes a whole multiple of the length since then; since place 0
    /// where GOPs are aligned.
    fn begins(&self, place: i64) -> bool {
        let Some(first) = self.encoder.first else { return true };
        let gop = i64::from(self.plan.gop_frames.max(1));
        let first = if self.is_aligned { 0 } else { first };
        (place - first).div_euclid(gop) != (self.encoder.last - first).div_euclid(gop)
    }

    /// Ends the encoder, whose bit rate or size cannot be changed, and goes on with one that is as is wanted now, from the next picture on. If none opens like
    /// that, it stays as it was.
    ///
    /// # Errors
    ///
    /// No encoder opens at all.
    fn reopen(&mut self, packets: &mut VecDeque<Packet>, notices: &mut Vec<EventKind>) -> Result<(), Error> {
        let finished = self.encoder.inner.finish().map_err(Error::from).and_then(|()| self.give(packets));
        if let Err(error) = finished {
            let error = encoder_failed(&self.encoder.name, error);
            notices.push(EventKind::SourceFault { error });
        }
        let (number, before) = (self.encoder.number, self.steer.at());
        if let Err(error) = self.replace_encoder(number) {
            log::warn!(
                "an encoder does not open at another bit rate or size: {}",
                crate::error::chain(&error)
            );
            self.steer.refuse(before);
            self.replace_encoder(number)?;
        }
        notices.extend(self.take_change());
        Ok(())
    }

    /// Gives a picture to the encoder, once for each of these places.
    fn encode_as(
        &mut self,
        frame: &mut VideoFrame,
        places: std::ops::RangeInclusive<i64>,
        packets: &mut VecDeque<Packet>,
    ) -> Result<(), Error> {
        let (every, last) = (self.steer.every(), *places.end());
        for place in places.filter(|place| place.rem_euclid(every) == 0 || *place == last) {
            frame.set_pts(Some(place));
            let since = Instant::now();
            if (self.is_aligned || self.encoder.is_thinned) && self.begins(place) {
                self.encoder.inner.push_keyframe(frame)?;
            } else {
                self.encoder.inner.push(frame)?;
            }
            self.encoder.taken += 1;
            self.encoder.inside.push_back(place);
            self.encoder.first.get_or_insert(place);
            self.encoder.last = place;
            self.give(packets)?;
            self.meter.took(since.elapsed());
        }
        Ok(())
    }

    /// Takes what the encoder has.
    fn give(&mut self, packets: &mut VecDeque<Packet>) -> Result<(), Error> {
        while let Some(mut packet) = self.encoder.inner.pull()? {
            let Some(origin) = self.grid.origin() else { return Ok(()) };
            let zero = self.input.time_base.rescale(origin, self.output.time_base);
            let base = self.encoder.inner.track().time_base;
            let ticks = |ticks: i64| zero.saturating_add(base.rescale(ticks, self.output.time_base));
            packet.track = self.output.index;
            packet.pts = packet.pts.map(ticks);
            packet.dts = packet.dts.map(ticks);
            packet.duration = self.step;
            self.steer.gave(&self.plan, packet.data.len());
            let config = packet.config.take().or_else(|| {
                (self.encoder.given == 0).then(|| self.encoder.inner.track().config.clone()).flatten()
            });
            if config.is_some() && config != self.told {
                self.told.clone_from(&config);
                packet.config = config;
            }
            self.encoder.given += 1;
            self.encoder.inside.pop_front();
            packets.push_back(packet);
        }
        Ok(())
    }
}

impl FrameStage for Pictures {
    type Frame = VideoFrame;

    fn take(&mut self, decoded: Decoded<VideoFrame>) {
        match decoded {
            Decoded::Frame(frame) => {
                if let Some(eye) = &mut self.eye {
                    eye.see(&frame);
                }
                self.shaper.push(frame);
            }
            Decoded::End { all_end } => {
                self.stage = Stage::Ending;
                self.all_end = all_end.map(|millis| TimeBase::MILLIS.rescale(millis, self.input.time_base));
            }
        }
    }

    fn work(&mut self, packets: &mut VecDeque<Packet>, notices: &mut Vec<EventKind>) -> Result<bool, Error> {
        if let Some((frame, place)) = self.next_frame()? {
            self.encode(frame, place, packets, notices)?;
            return Ok(true);
        }
        if self.stage != Stage::Encoder {
            return Ok(false);
        }
        self.stage = Stage::Over;
        // What an encoder loses at the end is not encoded again.
        let finished = self.encoder.inner.finish().map_err(Error::from).and_then(|()| self.give(packets));
        if let Err(error) = finished {
            self.encoders.failed(&self.encoder.name);
            let error = encoder_failed(&self.encoder.name, error);
            notices.push(EventKind::SourceFault { error });
        }
        Ok(true)
    }
}

/// What is left of an encoder whose place is about to be taken.
#[derive(Debug)]
struct Closed {
    pixel_format: String,
    track: TrackInfo,
}

impl Closed {
    fn in_place_of(encoder: &dyn PictureEncoder) -> Self {
        Self { pixel_format: encoder.pixel_format().to_owned(), track: encoder.track().clone() }
    }
}

impl PictureEncoder for Closed {
    fn pixel_format(&self) -> &str {
        &self.pixel_format
    }

    fn track(&self) -> &TrackInfo {
        &self.track
    }

    fn push(&mut self, _: &VideoFrame) -> Result<(), Media> {
        Err(Media::Unavailable { what: "encoder", name: self.track.codec.name().to_owned() })
    }

    fn pull(&mut self) -> Result<Option<Packet>, Media> {
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), Media> {
        Ok(())
    }
}

/// What an encoder is opened with.
struct Opening<'a> {
    track: usize,
    plan: &'a VideoPlan,
    color: &'a ColorInfo,
    encoders: &'a dyn Encoders,
    /// What it is to be at, and whether the rate is going to be changed.
    rates: (At, bool),
}

impl Opening<'_> {
    fn first_of(&self, candidates: &[String], from: usize) -> Result<Encoder, Error> {
        let (mut first_failure, mut failure) = (None, None);
        for (number, name) in candidates.iter().enumerate().skip(from) {
            let name = name.clone();
            let (at, changes) = self.rates;
            let settings = settings_at(self.plan, &name, self.color, at, changes);
            match self.encoders.open(self.track, &settings) {
                Ok(inner) => {
                    let instead_of = first_failure.or(failure);
                    let size = (settings.width, settings.height);
                    return Ok(Encoder {
                        name,
                        number,
                        instead_of,
                        inner,
                        size,
                        first: None,
                        last: 0,
                        inside: VecDeque::new(),
                        is_thinned: false,
                        taken: 0,
                        given: 0,
                    });
                }
                Err(error) => {
                    // A device that has no session to spare works all the same.
                    if !matches!(error, Media::NoFreeSession { .. }) {
                        self.encoders.failed(&name);
                    }
                    first_failure = first_failure.or(failure.replace((name, error)));
                }
            }
        }
        let (name, error) = failure.unwrap_or_else(|| {
            let name = self.plan.codec.as_str().to_owned();
            (name.clone(), Media::Unavailable { what: "encoder", name })
        });
        Err(encoder_failed(&name, Error::Media(error)))
    }
}

fn encoder_failed(name: &str, error: Error) -> Error {
    Error::EncoderFailed { encoder: name.to_owned(), source: Arc::new(error) }
}

/// What pictures are shown as after they were brought into shape.
pub(super) fn shown_color(video: &VideoInfo) -> ColorInfo {
    let (color, name) = (&video.color, || Some("bt709".to_owned()));
    let is_tone_mapped = matches!(color.transfer.as_deref(), Some("smpte2084" | "arib-std-b67"));
    let is_rgb = is_rgb(&video.pixel_format);
    let range = (color.range.is_some() || is_rgb).then(|| "tv".to_owned());
    if is_tone_mapped {
        return ColorInfo { range, space: name(), primaries: name(), transfer: name() };
    }
    if is_rgb {
        // The matrix is the one they were converted with; red, green and blue have none.
        let said = |said: &Option<String>| said.clone().or_else(name);
        let (primaries, transfer) = (said(&color.primaries), said(&color.transfer));
        return ColorInfo { range, space: name(), primaries, transfer };
    }
    ColorInfo { range, ..color.clone() }
}
