//! An open encoder: `AVCodecContext` on the encoding side.

use std::ffi::{CStr, CString, c_int};
use std::ptr::NonNull;

use bytes::Bytes;

use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int, set_enum_field};
use super::kind::{self, Color};
use super::layout::Sound;
use super::upload::Upload;
use super::{Dict, RawFrame, RawPacket};
use crate::{ColorInfo, Packet, Ratio, ThreadMode, TimeBase};

/// An open encoder. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct RawEncoder {
    context: NonNull<ffi::AVCodecContext>,
    packet: RawPacket,
    /// `AVPixelFormat` of the pictures it is given.
    format: c_int,
    /// For an encoder that takes pictures on a device only.
    upload: Option<Upload>,
    /// It has been given a frame, and the end.
    sent: (bool, bool),
}

// SAFETY: an AVCodecContext may be used by any one thread at a time; its own threads are its business.
unsafe impl Send for RawEncoder {}

/// What to set on a video encoder.
#[derive(Debug)]
pub(crate) struct VideoSetup<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frame_rate: Ratio,
    pub(crate) time_base: TimeBase,
    /// libav's name; `None` for 8-bit 4:2:0 in the order the encoder takes.
    pub(crate) pixel_format: Option<&'a str>,
    pub(crate) color: &'a ColorInfo,
    pub(crate) gop_frames: u32,
    pub(crate) b_frames: u32,
    pub(crate) refs: Option<u32>,
    pub(crate) rates: Rates,
    pub(crate) threads: u32,
    pub(crate) thread_mode: ThreadMode,
    /// The encoder's own options; unknown ones are ignored.
    pub(crate) options: &'a [(&'static str, String)],
}

/// Bits per second and bits; 0 where nothing is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) average: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) buffer: u64,
    /// Quality for encoders that take it as a number of libav's own.
    pub(crate) quality: u32,
}

/// Whether libav has an encoder of this name.
pub(crate) fn has_encoder(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: NUL-terminated; the result is null or static data.
    !unsafe { ffi::avcodec_find_encoder_by_name(name.as_ptr()) }.is_null()
}

/// Whether an encoder takes this value for an option of its own; `None` if it has no such option.
#[cfg(test)]
pub(crate) fn option_fits(encoder: &str, key: &str, value: &str) -> Option<bool> {
    let text = |text: &str| CString::new(text).expect("no NUL");
    let (encoder, key, value) = (text(encoder), text(key), text(value));
    // SAFETY: NUL-terminated strings; the context is a plain allocation with the defaults of a codec that is there, is never
    // opened, and freed here.
    let result = unsafe {
        let codec = ffi::avcodec_find_encoder_by_name(encoder.as_ptr());
        assert!(!codec.is_null(), "no such encoder");
        let mut context = ffi::avcodec_alloc_context3(codec);
        assert!(!context.is_null(), "no memory");
        let result = ffi::av_opt_set((*context).priv_data, key.as_ptr(), value.as_ptr(), 0);
        ffi::avcodec_free_context(&raw mut context);
        result
    };
    (result != ffi::AVERROR_OPTION_NOT_FOUND).then_some(result >= 0)
}

/// What an open encoder says about its output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) time_base: TimeBase,
    pub(crate) config: Option<Bytes>,
    pub(crate) delay: u32,
    /// Of the pictures it takes.
    pub(crate) pixel_format: String,
    pub(crate) frame_samples: u32,
    pub(crate) priming_samples: u32,
}

fn number<T: TryInto<c_int>>(value: T) -> Result<c_int, Failure> {
    value.try_into().map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "avcodec_open2"))
}

impl RawEncoder {
    /// An encoder of the codec by libav's name for it, or libav's first one.
    fn allocate(
        name: Option<&CStr>,
        codec: &CStr,
    ) -> Result<(NonNull<ffi::AVCodecContext>, *const ffi::AVCodec), Failure> {
        let missing = Failure::new(ffi::AVERROR_ENCODER_NOT_FOUND, "avcodec_find_encoder");
        // SAFETY: NUL-terminated names; results are null or static data. The context is a plain allocation.
        unsafe {
            let descriptor = by_int::avcodec_descriptor_get_by_name(codec.as_ptr());
            if descriptor.is_null() {
                return Err(missing);
            }
            let id = ffi::enum_field!(descriptor, id);
            let encoder = match name {
                Some(name) => ffi::avcodec_find_encoder_by_name(name.as_ptr()),
                None => by_int::avcodec_find_encoder(id),
            };
            if encoder.is_null() || ffi::enum_field!(encoder, id) != id {
                return Err(missing);
            }
            let context = non_null(ffi::avcodec_alloc_context3(encoder), "avcodec_alloc_context3")?;
            Ok((context, encoder))
        }
    }

    /// Opens a video encoder.
    pub(crate) fn video(name: Option<&CStr>, codec: &CStr, setup: &VideoSetup<'_>) -> Result<Self, Failure> {
        let (context, codec) = Self::allocate(name, codec)?;
        // Owned from here on, so that every early return frees it.
        let mut encoder =
            Self { context, packet: RawPacket::new()?, format: -1, upload: None, sent: (false, false) };
        let raw = encoder.context.as_ptr();
        encoder.format = match setup.pixel_format {
            Some(name) => kind::pixel_format(name)?,
            None => usual_format(codec)?,
        };
        let color = Color::of(setup.color);
        encoder.set_rates(&setup.rates);
        // SAFETY: our own context, not yet open; these are the fields for the user to set. The numbers of enums come from
        // libav's own tables.
        unsafe {
            (*raw).width = number(setup.width)?;
            (*raw).height = number(setup.height)?;
            set_enum_field!(raw, pix_fmt, encoder.format);
            set_enum_field!(raw, color_range, color.range);
            set_enum_field!(raw, colorspace, color.space);
            set_enum_field!(raw, color_primaries, color.primaries);
            set_enum_field!(raw, color_trc, color.transfer);
            (*raw).framerate =
                ffi::AVRational { num: number(setup.frame_rate.num)?, den: number(setup.frame_rate.den)? };
            (*raw).time_base =
                ffi::AVRational { num: number(setup.time_base.num)?, den: number(setup.time_base.den)? };
            (*raw).gop_size = number(setup.gop_frames)?;
            (*raw).keyint_min = number(setup.gop_frames)?;
            (*raw).max_b_frames = number(setup.b_frames)?;
            if let Some(refs) = setup.refs {
                (*raw).refs = number(refs)?;
            }
            (*raw).global_quality = number(setup.rates.quality)?;
            (*raw).thread_count = number(setup.threads)?;
            (*raw).thread_type = match setup.thread_mode {
                ThreadMode::Frame => ffi::FF_THREAD_FRAME as c_int,
                ThreadMode::Slice => ffi::FF_THREAD_SLICE as c_int,
            };
            (*raw).flags |= ffi::AV_CODEC_FLAG_CLOSED_GOP.cast_signed();
        }
        encoder.set_upload(codec)?;
        encoder.open(codec, setup.options)?;
        Ok(encoder)
    }

    /// Opens an audio encoder. Its clock ticks once per sample.
    pub(crate) fn audio(
        name: Option<&CStr>,
        codec: &CStr,
        sound: &Sound,
        bit_rate: u64,
        options: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let (context, codec) = Self::allocate(name, codec)?;
        let mut encoder =
            Self { context, packet: RawPacket::new()?, format: -1, upload: None, sent: (false, false) };
        let raw = encoder.context.as_ptr();
        // SAFETY: as for `video`; the layout of the context is empty.
        unsafe {
            set_enum_field!(raw, sample_fmt, sound.format);
            (*raw).sample_rate = sound.rate;
            (*raw).time_base = ffi::AVRational { num: 1, den: sound.rate };
            (*raw).bit_rate = i64::try_from(bit_rate).unwrap_or(0);
            sound.layout.copy_to(&raw mut (*raw).ch_layout)?;
        }
        encoder.open(codec, options)?;
        Ok(encoder)
    }

    /// Prepares the way to the device if the encoder takes its pictures from there only.
    fn set_upload(&mut self, codec: *const ffi::AVCodec) -> Result<(), Failure> {
        let device = kind::pixel_format("vaapi").unwrap_or(-1);
        if formats(codec) != [device] {
            return Ok(());
        }
        let raw = self.context.as_ptr();
        // SAFETY: our own context, not yet open, which owns the reference to the pool it is given.
        unsafe {
            let upload = Upload::vaapi((*raw).width, (*raw).height, self.format, device)?;
            (*raw).hw_frames_ctx = upload.share()?;
            set_enum_field!(raw, pix_fmt, device);
            self.upload = Some(upload);
        }
        Ok(())
    }

    fn open(&mut self, codec: *const ffi::AVCodec, options: &[(&str, String)]) -> Result<(), Failure> {
        let mut dict = Dict::new();
        for (key, value) in options {
            dict.set(key, value)?;
        }
        // SAFETY: our own context and a codec of libav's tables; the dictionary stays ours. Configuration goes to extradata,
        // as MP4 and FLV want it.
        let result = unsafe {
            (*self.context.as_ptr()).flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
            ffi::avcodec_open2(self.context.as_ptr(), codec, dict.as_mut())
        };
        check(result, "avcodec_open2").map(drop)
    }

    /// What the encoder says about its output.
    pub(crate) fn output(&self) -> Output {
        // SAFETY: our own open context; extradata is `extradata_size` bytes and is copied.
        unsafe {
            let raw = self.context.as_ptr();
            let size = usize::try_from((*raw).extradata_size).unwrap_or(0);
            let config = (size > 0 && !(*raw).extradata.is_null())
                .then(|| Bytes::copy_from_slice(std::slice::from_raw_parts((*raw).extradata, size)));
            let unsigned = |value: c_int| u32::try_from(value).unwrap_or(0);
            Output {
                time_base: TimeBase::new(unsigned((*raw).time_base.num), unsigned((*raw).time_base.den)),
                config,
                delay: unsigned((*raw).has_b_frames),
                pixel_format: kind::pixel_format_name(self.format),
                frame_samples: unsigned((*raw).frame_size),
                priming_samples: unsigned((*raw).initial_padding),
            }
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        // SAFETY: our own open context, whose codec is static data with a NUL-terminated name.
        unsafe { ffi::text((*(*self.context.as_ptr()).codec).name) }.unwrap_or_default()
    }

    /// Says how bits are to be spent. Of an open encoder, some look at it before each frame, the others never again.
    pub(crate) fn set_rates(&mut self, rates: &Rates) {
        let rate = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let raw = self.context.as_ptr();
        // SAFETY: our own context, which no other thread uses: these fields are for the user to set, before it is opened and between
        // two frames.
        unsafe {
            (*raw).bit_rate = rate(rates.average);
            (*raw).rc_min_rate = rate(rates.least);
            (*raw).rc_max_rate = rate(rates.most);
            (*raw).rc_buffer_size = c_int::try_from(rates.buffer).unwrap_or(c_int::MAX);
        }
    }

    /// Whether a picture is of the size and pixel format it was opened for.
    pub(crate) fn takes(&self, frame: &RawFrame) -> bool {
        let (raw, key) = (self.context.as_ptr(), frame.picture_key());
        // SAFETY: our own open context.
        unsafe {
            key.width == (*raw).width
                && key.height == (*raw).height
                && key.format == self.format
                && frame.has_data()
        }
    }

    /// Gives it a frame, or `None` for the end. libav keeps its own reference to the frame's buffers.
    pub(crate) fn send(&mut self, frame: Option<&RawFrame>) -> Result<(), Failure> {
        let uploaded = match (&self.upload, frame) {
            (Some(upload), Some(frame)) => Some(upload.put(frame)?),
            _ => None,
        };
        let frame = uploaded.as_ref().or(frame);
        let frame = frame.map_or(std::ptr::null(), |frame| frame.as_ptr().cast_const());
        // SAFETY: our own open context; the frame is live or null.
        check(unsafe { ffi::avcodec_send_frame(self.context.as_ptr(), frame) }, "avcodec_send_frame")?;
        if frame.is_null() {
            self.sent.1 = true;
        } else {
            self.sent.0 = true;
        }
        Ok(())
    }

    /// The next packet; `None` if it needs more frames, or is at its end. The packet's track is 0.
    pub(crate) fn receive(&mut self) -> Result<Option<Packet>, Failure> {
        self.packet.clear();
        // SAFETY: our own open context and an empty packet of ours.
        let result = unsafe { ffi::avcodec_receive_packet(self.context.as_ptr(), self.packet.as_ptr()) };
        match result {
            Failure::AGAIN | Failure::END => Ok(None),
            _ => {
                check(result, "avcodec_receive_packet")?;
                self.packet.take().map(Some)
            }
        }
    }
}

impl RawEncoder {
    /// SVT-AV1 (up to 1.4 at least) waits for ever when it is closed before it has had a picture and the end, and given all.
    fn bring_to_an_end(&mut self) -> Result<(), Failure> {
        if !self.sent.0 {
            // SAFETY: our own context.
            let (width, height) =
                unsafe { ((*self.context.as_ptr()).width, (*self.context.as_ptr()).height) };
            let name = kind::pixel_format_name(self.format);
            let mut frame = RawFrame::black(width.unsigned_abs(), height.unsigned_abs(), &name)?;
            frame.set_pts(Some(0));
            self.send(Some(&frame))?;
        }
        if !self.sent.1 {
            self.send(None)?;
        }
        while self.receive()?.is_some() {}
        Ok(())
    }

    fn is_open(&self) -> bool {
        // SAFETY: our own context.
        unsafe { ffi::avcodec_is_open(self.context.as_ptr()) != 0 }
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        if self.is_open() && self.name() == "libsvtav1" {
            // What fails here fails again below, where nothing can be done about it.
            let _ = self.bring_to_an_end();
        }
        let mut context = self.context.as_ptr();
        // SAFETY: our own context; this closes it and ends its threads.
        unsafe { ffi::avcodec_free_context(&raw mut context) };
    }
}

/// The order of bytes an encoder takes 8-bit 4:2:0 in: three planes, or two if it does not take that.
fn usual_format(codec: *const ffi::AVCodec) -> Result<c_int, Failure> {
    let [planar, paired] = [kind::pixel_format("yuv420p")?, kind::pixel_format("nv12")?];
    let formats = formats(codec);
    if formats.is_empty() || formats.contains(&planar) {
        return Ok(planar);
    }
    // What is uploaded is of the second kind, too.
    if formats.contains(&paired) || formats == [kind::pixel_format("vaapi").unwrap_or(-1)] {
        return Ok(paired);
    }
    Err(Failure::new(Failure::NO_SYSTEM, "avcodec_open2"))
}

/// The pixel formats an encoder takes; none if it does not say.
fn formats(codec: *const ffi::AVCodec) -> Vec<c_int> {
    let mut formats = Vec::new();
    // SAFETY: a codec of libav's tables, whose list of formats is static and ends with -1 (`AV_PIX_FMT_NONE`).
    unsafe {
        #[cfg(not(ffmpeg_7_1))]
        let mut place = (*codec).pix_fmts.cast::<c_int>();
        #[cfg(ffmpeg_7_1)]
        let mut place = {
            let mut list = std::ptr::null();
            let what = ffi::AVCodecConfig::AV_CODEC_CONFIG_PIX_FORMAT as c_int;
            let count = std::ptr::null_mut();
            by_int::avcodec_get_supported_config(std::ptr::null(), codec, what, 0, &raw mut list, count);
            list.cast::<c_int>()
        };
        while !place.is_null() && *place != -1 {
            formats.push(*place);
            place = place.add(1);
        }
    }
    formats
}
