//! Brings pictures into the shape an encoder takes.
//!
//! In: pictures of any format, which may change from one to the next. Out: pictures of one size and pixel format, upright and
//! whole. Where there is nothing to do there is no filter.

use flowcast_av::{
    Error, FieldOrder, Scaling, TimeBase, TrackInfo, VideoFilter, VideoFormat, VideoFrame, VideoTarget,
};

use super::plan::VideoPlan;

/// [`push`](Self::push) a picture, [`pull`](Self::pull) until there is none; [`finish`](Self::finish), pull the rest.
#[derive(Debug)]
pub(super) struct Shaper {
    target: VideoTarget,
    /// The clock of the pictures.
    base: TimeBase,
    /// What the filter, or none, is right for.
    of: Option<VideoFormat>,
    filter: Option<VideoFilter>,
    /// The filter gives what it holds and goes.
    leaving: bool,
    /// A picture that no filter has taken yet.
    waiting: Option<VideoFrame>,
}

impl Shaper {
    /// For the pictures of a track.
    pub(super) fn new(track: &TrackInfo, plan: &VideoPlan, pixel_format: &str) -> Self {
        let mut shaper = Self::to_size(track, (plan.width, plan.height), pixel_format);
        shaper.target.filters.clone_from(&plan.drawn.filters);
        shaper
    }

    /// For the pictures of a track, which are only brought to this size, upright and whole.
    pub(super) fn to_size(track: &TrackInfo, (width, height): (u32, u32), pixel_format: &str) -> Self {
        let mut target = VideoTarget::new(width, height);
        pixel_format.clone_into(&mut target.pixel_format);
        target.tone_map = true;
        if let Some(video) = &track.video {
            target.rotate_degrees = video.rotation_degrees;
            target.mirrored = video.mirrored;
            target.deinterlace = !matches!(video.field_order, FieldOrder::Unknown | FieldOrder::Progressive);
        }
        Self { target, base: track.time_base, of: None, filter: None, leaving: false, waiting: None }
    }

    /// Forgets what it holds.
    pub(super) fn reset(&mut self) {
        (self.filter, self.of, self.leaving, self.waiting) = (None, None, false, None);
    }

    /// Makes pictures of another pixel format from here on.
    pub(super) fn set_pixel_format(&mut self, name: &str) {
        if self.target.pixel_format != name {
            name.clone_into(&mut self.target.pixel_format);
            (self.filter, self.of, self.leaving) = (None, None, false);
        }
    }

    /// Makes pictures of another size from the next one on; what is held comes out as it was to be.
    pub(super) fn set_size(&mut self, (width, height): (u32, u32)) {
        if (self.target.width, self.target.height) != (width, height) {
            (self.target.width, self.target.height) = (width, height);
            self.of = None;
        }
    }

    /// How pictures are converted from here on, and how many threads share one.
    pub(super) fn set_scaling(&mut self, scaling: Scaling, threads: u32) {
        (self.target.scaling, self.target.threads) = (scaling, threads);
        self.reset();
    }

    /// Takes a picture. All that could be pulled must have been.
    pub(super) fn push(&mut self, frame: VideoFrame) {
        if frame.is_interlaced() && !self.target.deinterlace {
            self.target.deinterlace = true;
            self.of = None;
        }
        self.waiting = Some(frame);
    }

    /// No picture follows.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        if let Some(filter) = &mut self.filter {
            self.leaving = true;
            filter.finish()?;
        }
        Ok(())
    }

    /// The next picture, with times of the clock they came with.
    pub(super) fn pull(&mut self) -> Result<Option<VideoFrame>, Error> {
        loop {
            if let Some(filter) = &mut self.filter {
                if let Some(mut frame) = filter.pull()? {
                    let (from, to) = (filter.time_base(), self.base);
                    if from != to {
                        frame.set_pts(frame.pts().map(|pts| from.rescale(pts, to)));
                    }
                    return Ok(Some(frame));
                }
                if self.leaving {
                    (self.filter, self.of, self.leaving) = (None, None, false);
                }
            }
            let Some(frame) = self.waiting.take() else { return Ok(None) };
            if self.of.as_ref() == Some(frame.format()) {
                match &mut self.filter {
                    Some(filter) => filter.push(frame)?,
                    None => return Ok(Some(frame)),
                }
                continue;
            }
            if self.filter.is_some() {
                self.finish()?;
            } else {
                self.filter = self.open(frame.format())?;
                self.of = Some(frame.format().clone());
            }
            self.waiting = Some(frame);
        }
    }

    fn open(&self, format: &VideoFormat) -> Result<Option<VideoFilter>, Error> {
        match VideoFilter::new(format, self.base, &self.target) {
            // Colours that are a little off are better than no picture.
            Err(Error::Unavailable { what: "filter", name }) if self.target.tone_map => {
                log::warn!("no filter {name}: high dynamic range is taken as it is");
                VideoFilter::new(format, self.base, &VideoTarget { tone_map: false, ..self.target.clone() })
            }
            other => other,
        }
    }

    /// The same picture in the pixel format that is wanted now, if it was shaped before that changed.
    pub(super) fn convert(&self, frame: VideoFrame) -> Result<VideoFrame, Error> {
        if frame.format().pixel_format == self.target.pixel_format {
            return Ok(frame);
        }
        let mut target = VideoTarget::new(self.target.width, self.target.height);
        self.target.pixel_format.clone_into(&mut target.pixel_format);
        let Some(mut filter) = VideoFilter::new(frame.format(), self.base, &target)? else {
            return Ok(frame);
        };
        let (pts, shared) = (frame.pts(), frame.share()?);
        filter.push(frame)?;
        filter.finish()?;
        let mut converted = filter.pull()?.unwrap_or(shared);
        converted.set_pts(pts);
        Ok(converted)
    }
}
