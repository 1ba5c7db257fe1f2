//! Raw pictures and samples.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int, enum_field, set_enum_field};
use super::layout::Sound;

/// An owned `AVFrame`: its properties, and references to the buffers it shows.
#[derive(Debug)]
pub(crate) struct RawFrame(NonNull<ffi::AVFrame>);

// SAFETY: an AVFrame is plain heap data; its buffers are counted atomically.
unsafe impl Send for RawFrame {}

impl RawFrame {
    /// A frame without buffers.
    pub(crate) fn empty() -> Result<Self, Failure> {
        // SAFETY: plain allocation.
        Ok(Self(non_null(unsafe { ffi::av_frame_alloc() }, "av_frame_alloc")?))
    }

    /// Room for a picture, black. Sizes are in pixels and above 0.
    pub(crate) fn black(width: u32, height: u32, pixel_format: &str) -> Result<Self, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_frame_get_buffer");
        let frame = Self::empty()?;
        // SAFETY: our own empty frame; get_buffer allocates what the fields ask for, and those buffers are filled. The array of
        // distances is our own.
        unsafe {
            let raw = frame.as_ptr();
            (*raw).width = c_int::try_from(width).map_err(refuse)?;
            (*raw).height = c_int::try_from(height).map_err(refuse)?;
            (*raw).format = super::kind::pixel_format(pixel_format)?;
            check(ffi::av_frame_get_buffer(raw, 0), "av_frame_get_buffer")?;
            let mut strides = [0; 4];
            for (stride, line) in strides.iter_mut().zip((*raw).linesize) {
                *stride = isize::try_from(line).unwrap_or(0);
            }
            let (data, format) = ((*raw).data.as_ptr(), (*raw).format);
            let (width, height) = ((*raw).width, (*raw).height);
            // Range 1 is limited ("tv").
            let result = by_int::av_image_fill_black(data, strides.as_ptr(), format, 1, width, height);
            check(result, "av_image_fill_black")?;
        }
        Ok(frame)
    }

    /// Room for `samples` samples per channel, silent.
    pub(crate) fn silence(samples: usize, sound: &Sound) -> Result<Self, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_frame_get_buffer");
        let frame = Self::empty()?;
        let count = c_int::try_from(samples).map_err(refuse)?;
        // SAFETY: as for `picture`; the buffers hold `count` samples for each channel in each plane of `extended_data`.
        unsafe {
            let raw = frame.as_ptr();
            (*raw).nb_samples = count;
            (*raw).format = sound.format;
            (*raw).sample_rate = sound.rate;
            sound.layout.copy_to(&raw mut (*raw).ch_layout)?;
            check(ffi::av_frame_get_buffer(raw, 0), "av_frame_get_buffer")?;
            let channels = (*raw).ch_layout.nb_channels;
            let data = (*raw).extended_data;
            check(
                by_int::av_samples_set_silence(data, 0, count, channels, sound.format),
                "av_samples_set_silence",
            )?;
        }
        Ok(frame)
    }

    /// Another frame that shows the same buffers.
    pub(crate) fn share(&self) -> Result<Self, Failure> {
        let other = Self::empty()?;
        // SAFETY: an empty frame of ours, and this one, which owns its buffers.
        check(unsafe { ffi::av_frame_ref(other.as_ptr(), self.as_ptr()) }, "av_frame_ref")?;
        Ok(other)
    }

    pub(super) const fn as_ptr(&self) -> *mut ffi::AVFrame {
        self.0.as_ptr()
    }

    pub(crate) fn pts(&self) -> Option<i64> {
        // SAFETY: our own frame.
        timestamp(unsafe { (*self.as_ptr()).pts })
    }

    pub(crate) fn set_pts(&mut self, pts: Option<i64>) {
        // SAFETY: our own frame.
        unsafe { (*self.as_ptr()).pts = pts.unwrap_or(ffi::AV_NOPTS_VALUE) };
    }

    /// The time to show a decoder made out of the times to show and to decode it was given.
    pub(super) fn take_best_pts(&mut self) {
        // SAFETY: our own frame.
        unsafe { (*self.as_ptr()).pts = (*self.as_ptr()).best_effort_timestamp };
    }

    /// In ticks of the clock of `pts`; 0 if unknown.
    pub(crate) fn duration(&self) -> i64 {
        // SAFETY: our own frame.
        unsafe {
            #[cfg(ffmpeg_6_0)]
            let duration = (*self.as_ptr()).duration;
            #[cfg(not(ffmpeg_6_0))]
            let duration = (*self.as_ptr()).pkt_duration;
            duration.max(0)
        }
    }

    /// Sets the duration to unknown.
    pub(crate) fn forget_duration(&mut self) {
        // SAFETY: our own frame.
        unsafe {
            #[cfg(ffmpeg_6_0)]
            {
                (*self.as_ptr()).duration = 0;
            }
            #[cfg(not(ffmpeg_6_0))]
            {
                (*self.as_ptr()).pkt_duration = 0;
            }
        }
    }

    /// Samples per channel.
    pub(crate) fn samples(&self) -> usize {
        // SAFETY: our own frame.
        usize::try_from(unsafe { (*self.as_ptr()).nb_samples }).unwrap_or(0)
    }

    /// Shows fewer samples than it has room for.
    pub(crate) fn cut_samples(&mut self, samples: usize) {
        let samples = samples.min(self.samples());
        // SAFETY: our own frame, which has at least as many.
        unsafe { (*self.as_ptr()).nb_samples = c_int::try_from(samples).unwrap_or(0) };
    }

    pub(crate) fn is_interlaced(&self) -> bool {
        // SAFETY: our own frame.
        unsafe {
            #[cfg(ffmpeg_6_1)]
            return (*self.as_ptr()).flags & ffi::AV_FRAME_FLAG_INTERLACED as c_int != 0;
            #[cfg(not(ffmpeg_6_1))]
            return (*self.as_ptr()).interlaced_frame != 0;
        }
    }

    pub(crate) fn is_keyframe(&self) -> bool {
        // SAFETY: our own frame.
        unsafe {
            #[cfg(ffmpeg_6_1)]
            return (*self.as_ptr()).flags & ffi::AV_FRAME_FLAG_KEY as c_int != 0;
            #[cfg(not(ffmpeg_6_1))]
            return (*self.as_ptr()).key_frame != 0;
        }
    }

    pub(crate) fn is_corrupt(&self) -> bool {
        // SAFETY: our own frame.
        unsafe {
            (*self.as_ptr()).decode_error_flags != 0
                || (*self.as_ptr()).flags & ffi::AV_FRAME_FLAG_CORRUPT as c_int != 0
        }
    }

    /// Says whether an encoder must make a keyframe of it; if not, the choice is the encoder's, whatever the picture was coded
    /// as before.
    pub(crate) fn force_keyframe(&mut self, force: bool) {
        let kind = if force {
            ffi::AVPictureType::AV_PICTURE_TYPE_I
        } else {
            ffi::AVPictureType::AV_PICTURE_TYPE_NONE
        };
        // SAFETY: our own frame, and a value of the headers.
        unsafe { set_enum_field!(self.as_ptr(), pict_type, kind as c_int) };
    }

    /// Bytes from one row of a plane to the next; 0 for a plane it does not have.
    pub(crate) fn stride(&self, plane: usize) -> usize {
        // SAFETY: our own frame.
        let strides = unsafe { (*self.as_ptr()).linesize };
        strides.get(plane).and_then(|&stride| usize::try_from(stride).ok()).unwrap_or(0)
    }

    /// Rows of a plane of a picture of 8 bits a sample; 0 for a plane it does not have.
    pub(crate) fn rows(&self, plane: usize) -> usize {
        let frame = self.as_ptr();
        // SAFETY: our own frame; the description is null or static data.
        unsafe {
            let description = by_int::av_pix_fmt_desc_get((*frame).format);
            if description.is_null() || plane >= 4 || (*frame).data[plane].is_null() {
                return 0;
            }
            let height = usize::try_from((*frame).height).unwrap_or(0);
            let shift = if matches!(plane, 1 | 2) { (*description).log2_chroma_h } else { 0 };
            height.div_ceil(1 << shift)
        }
    }

    /// The bytes of a plane of a picture of a pool, rows with what is behind them; none if others show them, too.
    pub(crate) fn plane_mut(&mut self, plane: usize) -> &mut [u8] {
        let length = self.stride(plane) * self.rows(plane);
        let frame = self.as_ptr();
        // SAFETY: our own frame, whose buffers nobody else refers to; a plane that is there has `stride` bytes for each of its rows,
        // and they were written to before (a pool's memory is zeroed). The borrow of the frame is that of the bytes.
        unsafe {
            if length == 0 || ffi::av_frame_is_writable(frame) <= 0 {
                return &mut [];
            }
            std::slice::from_raw_parts_mut((*frame).data[plane], length)
        }
    }

    /// Copies one plane of an 8-bit 4:2:0 picture into it, row by row. `plane` is 0 (Y), 1 (U) or 2 (V); `rows` are tightly
    /// packed rows of `width` bytes and must fill the plane.
    pub(crate) fn fill_plane(&mut self, plane: usize, rows: &[u8], width: usize) -> Result<(), Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_frame_make_writable");
        // SAFETY: our own frame with buffers. make_writable gives it buffers that are not shared. A plane of a 4:2:0 picture has
        // `linesize` bytes for each of its rows; what is written is checked against its size first.
        unsafe {
            let frame = self.as_ptr();
            check(ffi::av_frame_make_writable(frame), "av_frame_make_writable")?;
            let (full_width, full_height) = ((*frame).width, (*frame).height);
            let shrink = |size: c_int| if plane == 0 { size } else { (size + 1) / 2 };
            let plane_width = usize::try_from(shrink(full_width)).map_err(|_| refuse())?;
            let plane_height = usize::try_from(shrink(full_height)).map_err(|_| refuse())?;
            if plane > 2 || width != plane_width || rows.len() != plane_width * plane_height {
                return Err(refuse());
            }
            let stride = usize::try_from((*frame).linesize[plane]).map_err(|_| refuse())?;
            let base = (*frame).data[plane];
            for (row, bytes) in rows.chunks_exact(width).enumerate() {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(row * stride), width);
            }
        }
        Ok(())
    }

    /// Gives it buffers that no other frame shows, with rows from top to bottom; the pixels are copied if that takes others.
    pub(crate) fn make_own(&mut self) -> Result<(), Failure> {
        let frame = self.as_ptr();
        // SAFETY: our own frame with buffers.
        let is_upside_down = unsafe { (*frame).linesize.iter().any(|line| *line < 0) };
        if !is_upside_down {
            // SAFETY: our own frame with buffers, or none: then it fails.
            return check(unsafe { ffi::av_frame_make_writable(frame) }, "av_frame_make_writable").map(drop);
        }
        let other = Self::empty()?;
        // SAFETY: two frames of ours; the other one gets room for the same size and format before anything is copied into it. The names of
        // enums stay numbers.
        unsafe {
            let to = other.as_ptr();
            ((*to).width, (*to).height, (*to).format) = ((*frame).width, (*frame).height, (*frame).format);
            check(ffi::av_frame_get_buffer(to, 0), "av_frame_get_buffer")?;
            check(ffi::av_frame_copy(to, frame), "av_frame_copy")?;
            check(ffi::av_frame_copy_props(to, frame), "av_frame_copy_props")?;
        }
        *self = other;
        Ok(())
    }

    /// The bytes of a plane of an 8-bit picture that no other frame shows: see [`make_own`](Self::make_own).
    pub(crate) fn own_plane(&mut self, plane: usize) -> Result<PlaneMut<'_>, Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_frame_is_writable");
        let frame = self.as_ptr();
        // SAFETY: our own frame. A plane of a frame in memory has `linesize` bytes for each of its rows but the last, which has as many as its
        // pixels need; their number is asked of libav. The buffers are not shared, and are borrowed together with the frame.
        unsafe {
            if plane > 3 || (*frame).data[plane].is_null() || ffi::av_frame_is_writable(frame) <= 0 {
                return Err(refuse());
            }
            let stride = usize::try_from((*frame).linesize[plane]).map_err(|_| refuse())?;
            let format = (*frame).format;
            let index = c_int::try_from(plane).map_err(|_| refuse())?;
            let used = by_int::av_image_get_linesize(format, (*frame).width, index);
            let used = usize::try_from(used).map_err(|_| refuse())?;
            let mut shrink = [0; 2];
            let [across, down] = &mut shrink;
            check(
                by_int::av_pix_fmt_get_chroma_sub_sample(format, across, down),
                "av_pix_fmt_get_chroma_sub_sample",
            )?;
            let height = u32::try_from((*frame).height).map_err(|_| refuse())?;
            let rows = if matches!(plane, 1 | 2) { height.div_ceil(1 << *down) } else { height } as usize;
            if stride == 0 || used > stride || rows == 0 {
                return Err(refuse());
            }
            let bytes = std::slice::from_raw_parts_mut((*frame).data[plane], stride * (rows - 1) + used);
            Ok(PlaneMut { bytes, stride })
        }
    }

    /// Copies the samples of one channel into a frame of 32-bit float, planar or not; they must be as many as it has.
    pub(crate) fn fill_channel(&mut self, channel: usize, samples: &[f32]) -> Result<(), Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_frame_make_writable");
        // SAFETY: our own frame, made writable first. Planar: one plane of `nb_samples` floats for each channel. Else: one
        // plane of that many floats times the channels. `extended_data` points to all planes; all bounds are checked.
        unsafe {
            let frame = self.as_ptr();
            check(ffi::av_frame_make_writable(frame), "av_frame_make_writable")?;
            let channels = usize::try_from((*frame).ch_layout.nb_channels).map_err(|_| refuse())?;
            if channel >= channels || samples.len() != self.samples() {
                return Err(refuse());
            }
            if (*frame).format == ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP as c_int {
                let plane = *(*frame).extended_data.add(channel);
                std::ptr::copy_nonoverlapping(samples.as_ptr(), plane.cast::<f32>(), samples.len());
            } else if (*frame).format == ffi::AVSampleFormat::AV_SAMPLE_FMT_FLT as c_int {
                let plane = (*(*frame).extended_data).cast::<f32>();
                for (index, sample) in samples.iter().enumerate() {
                    plane.add(index * channels + channel).write(*sample);
                }
            } else {
                return Err(refuse());
            }
        }
        Ok(())
    }

    /// Copies the samples of one channel out of a frame of 32-bit float, planar or not; there must be as many as it has.
    pub(crate) fn read_channel(&self, channel: usize, samples: &mut [f32]) -> Result<(), Failure> {
        let refuse = || Failure::new(Failure::INVALID_ARGUMENT, "av_frame");
        // SAFETY: our own frame that holds samples; planes and bounds are as in `fill_channel`, and only read.
        unsafe {
            let frame = self.as_ptr();
            let channels = usize::try_from((*frame).ch_layout.nb_channels).map_err(|_| refuse())?;
            if channel >= channels || samples.len() != self.samples() {
                return Err(refuse());
            }
            if (*frame).format == ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP as c_int {
                let plane = *(*frame).extended_data.add(channel);
                std::ptr::copy_nonoverlapping(plane.cast::<f32>(), samples.as_mut_ptr(), samples.len());
            } else if (*frame).format == ffi::AVSampleFormat::AV_SAMPLE_FMT_FLT as c_int {
                let plane = (*(*frame).extended_data).cast::<f32>();
                for (index, sample) in samples.iter_mut().enumerate() {
                    *sample = plane.add(index * channels + channel).read();
                }
            } else {
                return Err(refuse());
            }
        }
        Ok(())
    }

    /// The pixels, rows and planes without padding, one plane after the other.
    pub(crate) fn copy_pixels(&self) -> Result<Vec<u8>, Failure> {
        let frame = self.as_ptr();
        // SAFETY: our own frame that holds a picture of its width, height and format; the vector has the room libav asks for.
        unsafe {
            let (format, width, height) = ((*frame).format, (*frame).width, (*frame).height);
            let size = check(
                by_int::av_image_get_buffer_size(format, width, height, 1),
                "av_image_get_buffer_size",
            )?;
            let mut pixels = vec![0; usize::try_from(size).unwrap_or(0)];
            let (data, strides) = ((*frame).data.as_ptr().cast(), (*frame).linesize.as_ptr());
            let result = by_int::av_image_copy_to_buffer(
                pixels.as_mut_ptr(),
                size,
                data,
                strides,
                format,
                width,
                height,
                1,
            );
            check(result, "av_image_copy_to_buffer")?;
            Ok(pixels)
        }
    }

    /// The samples, all channels of one sample behind each other, in the frame's sample format.
    pub(crate) fn copy_samples(&self) -> Vec<u8> {
        let frame = self.as_ptr();
        // SAFETY: our own frame that holds samples: for planar formats `samples` times `bytes` in one plane for each
        // channel, else that times the channels in one plane.
        unsafe {
            let bytes = usize::try_from(by_int::av_get_bytes_per_sample((*frame).format)).unwrap_or(0);
            let channels = usize::try_from((*frame).ch_layout.nb_channels).unwrap_or(0);
            let samples = self.samples();
            if by_int::av_sample_fmt_is_planar((*frame).format) == 0 {
                return std::slice::from_raw_parts(*(*frame).extended_data, samples * bytes * channels)
                    .to_vec();
            }
            let mut mixed = vec![0; samples * bytes * channels];
            for channel in 0..channels {
                let plane = std::slice::from_raw_parts(*(*frame).extended_data.add(channel), samples * bytes);
                for (index, sample) in plane.chunks_exact(bytes.max(1)).enumerate() {
                    let at = (index * channels + channel) * bytes;
                    mixed[at..at + bytes].copy_from_slice(sample);
                }
            }
            mixed
        }
    }

    /// Whether it holds a picture, or samples, that can be read from here; not one in the memory of a device.
    pub(super) fn has_data(&self) -> bool {
        // SAFETY: our own frame.
        unsafe { !(*self.as_ptr()).data[0].is_null() && (*self.as_ptr()).hw_frames_ctx.is_null() }
    }

    /// What tells pictures of one kind from those of another.
    pub(crate) fn picture_key(&self) -> PictureKey {
        let frame = self.as_ptr();
        // SAFETY: our own frame; enums are read as `int`.
        unsafe {
            let aspect = (*frame).sample_aspect_ratio;
            PictureKey {
                width: (*frame).width,
                height: (*frame).height,
                format: (*frame).format,
                aspect: (aspect.num, aspect.den),
                range: enum_field!(frame, color_range),
                space: enum_field!(frame, colorspace),
                primaries: enum_field!(frame, color_primaries),
                transfer: enum_field!(frame, color_trc),
            }
        }
    }

    /// What tells samples of one kind from those of another.
    pub(crate) fn sound_key(&self) -> SoundKey {
        let frame = self.as_ptr();
        // SAFETY: our own frame; which part of the union is valid depends on `order`, and a map has an entry for each channel.
        unsafe {
            let layout = &raw const (*frame).ch_layout;
            let order = enum_field!(layout, order);
            let channels = (*layout).nb_channels;
            let mut which = 0;
            if order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_CUSTOM as c_int {
                for index in 0..usize::try_from(channels).unwrap_or(0) {
                    let channel = enum_field!((*layout).u.map.add(index), id);
                    which = u64::rotate_left(which, 7) ^ u64::from(channel.unsigned_abs());
                }
            } else if order != ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC as c_int {
                which = (*layout).u.mask;
            }
            SoundKey { rate: (*frame).sample_rate, format: (*frame).format, order, channels, which }
        }
    }
}

impl Drop for RawFrame {
    fn drop(&mut self) {
        let mut frame = self.as_ptr();
        // SAFETY: our own frame; this drops its references too.
        unsafe { ffi::av_frame_free(&raw mut frame) };
    }
}

/// The rows of a plane.
#[derive(Debug)]
pub(crate) struct PlaneMut<'a> {
    /// All rows; the last one without padding.
    pub(crate) bytes: &'a mut [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
}

/// Everything of a picture that an encoder or a filter is set up for, as libav's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureKey {
    pub(super) width: c_int,
    pub(super) height: c_int,
    pub(super) format: c_int,
    pub(super) aspect: (c_int, c_int),
    pub(super) range: c_int,
    pub(super) space: c_int,
    pub(super) primaries: c_int,
    pub(super) transfer: c_int,
}

/// The same for samples. `which` tells the channels: a mask, or something made of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SoundKey {
    rate: c_int,
    format: c_int,
    order: c_int,
    channels: c_int,
    which: u64,
}

fn timestamp(value: i64) -> Option<i64> {
    (value != ffi::AV_NOPTS_VALUE).then_some(value)
}
