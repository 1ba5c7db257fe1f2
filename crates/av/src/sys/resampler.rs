//! Conversion of rate, channels and sample format: `SwrContext`.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use super::RawFrame;
use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int};
use super::layout::Sound;

/// What goes into a conversion.
#[derive(Debug)]
pub(crate) enum Feed<'a> {
    /// The samples of a frame from the given one on.
    Frame(&'a RawFrame, usize),
    /// Nothing new: what is held already.
    Held,
    /// Nothing, and nothing will follow.
    End,
}

/// An open converter. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct RawResampler {
    context: NonNull<ffi::SwrContext>,
    from: Sound,
    to: Sound,
}

// SAFETY: an SwrContext may be used by any one thread at a time.
unsafe impl Send for RawResampler {}

impl RawResampler {
    pub(crate) fn open(from: Sound, to: Sound) -> Result<Self, Failure> {
        let mut context = ptr::null_mut();
        // SAFETY: valid layouts, which are copied; the numbers are libav's own. The context is new and ours.
        let result = unsafe {
            by_int::swr_alloc_set_opts2(
                &raw mut context,
                to.layout.as_ptr(),
                to.format,
                to.rate,
                from.layout.as_ptr(),
                from.format,
                from.rate,
                0,
                ptr::null_mut(),
            )
        };
        check(result, "swr_alloc_set_opts2")?;
        let context = non_null(context, "swr_alloc_set_opts2")?;
        let resampler = Self { context, from, to };
        // SAFETY: our own context with all its options.
        check(unsafe { ffi::swr_init(resampler.context.as_ptr()) }, "swr_init")?;
        Ok(resampler)
    }

    /// What it takes.
    pub(crate) const fn from(&self) -> &Sound {
        &self.from
    }

    /// What it makes.
    pub(crate) const fn to(&self) -> &Sound {
        &self.to
    }

    /// Converts into `to` from its sample number `filled` on, as far as there is room and input; what has no room is held.
    /// Gives the number of samples written.
    pub(crate) fn convert(
        &mut self,
        feed: Feed<'_>,
        to: &mut RawFrame,
        filled: usize,
    ) -> Result<usize, Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "swr_convert");
        let room = to.samples().checked_sub(filled).ok_or_else(refuse)?;
        let mut places = planes(to, &self.to, filled).ok_or_else(refuse)?;
        // Without a pointer libav takes the input as ended.
        let (mut sources, count) = match feed {
            Feed::Frame(frame, skip) => {
                let count = frame.samples().checked_sub(skip).ok_or_else(refuse)?;
                (Some(planes(frame, &self.from, skip).ok_or_else(refuse)?), count)
            }
            Feed::Held => (Some(places), 0),
            Feed::End => (None, 0),
        };
        let number = |value: usize| c_int::try_from(value).map_err(|_| refuse());
        let sources = sources.as_mut().map_or(ptr::null_mut(), |planes| planes.as_mut_ptr().cast());
        // SAFETY: our own open context. `planes` has checked that both frames are of the format the context was opened for;
        // so there are pointers for all channels, with room for `room` samples and with `count` samples behind them. What is
        // given with a count of 0 is not read. The array of places is only read.
        let result = unsafe {
            ffi::swr_convert(
                self.context.as_ptr(),
                places.as_mut_ptr(),
                number(room)?,
                sources,
                number(count)?,
            )
        };
        check(result, "swr_convert").map(|written| usize::try_from(written).unwrap_or(0))
    }
}

/// Channels libswresample knows at most (`SWR_CH_MAX`).
const MOST_CHANNELS: usize = 64;

/// Where each plane of a frame begins, from a sample on. `None` if the frame is not of this kind.
fn planes(frame: &RawFrame, sound: &Sound, skip: usize) -> Option<[*mut u8; MOST_CHANNELS]> {
    let raw = frame.as_ptr();
    let mut planes = [ptr::null_mut(); MOST_CHANNELS];
    // SAFETY: our own frame; `extended_data` points to one plane for each channel (planar), or to one. The offset is within the
    // plane, because it is at most the number of samples the frame has.
    unsafe {
        let channels = usize::try_from((*raw).ch_layout.nb_channels).ok()?;
        // Channels are counted, not compared: a frame may leave open which ones it has, where the converter was told.
        let is_alike =
            (*raw).format == sound.format && u32::try_from(channels) == Ok(sound.layout.channels());
        if !is_alike || channels > MOST_CHANNELS || skip > frame.samples() {
            return None;
        }
        let bytes = usize::try_from(by_int::av_get_bytes_per_sample(sound.format)).ok()?;
        let (count, step) = if by_int::av_sample_fmt_is_planar(sound.format) == 0 {
            (1, bytes * channels)
        } else {
            (channels, bytes)
        };
        for (index, plane) in planes.iter_mut().take(count).enumerate() {
            *plane = (*(*raw).extended_data.add(index)).add(skip * step);
        }
    }
    Some(planes)
}

impl Drop for RawResampler {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: our own context.
        unsafe { ffi::swr_free(&raw mut context) };
    }
}
