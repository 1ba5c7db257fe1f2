//! An open encoder: `AVCodecContext` on the encoding side.

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use bytes::Bytes;

use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int, set_enum_field};
use super::{Dict, RawFrame, RawPacket};
use crate::{Packet, Ratio, TimeBase};

/// An open encoder. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct RawEncoder {
    context: NonNull<ffi::AVCodecContext>,
    packet: RawPacket,
}

// SAFETY: an AVCodecContext may be used by any one thread at a time; its own threads are its business.
unsafe impl Send for RawEncoder {}

/// What to set on a video encoder.
#[derive(Debug)]
pub(crate) struct VideoSetup<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frame_rate: Ratio,
    pub(crate) gop_frames: u32,
    pub(crate) b_frames: u32,
    pub(crate) bit_rate: u64,
    pub(crate) threads: u32,
    /// The encoder's own options; unknown ones are ignored.
    pub(crate) options: &'a [(&'a str, &'a str)],
}

/// What to set on an audio encoder.
#[derive(Debug)]
pub(crate) struct AudioSetup {
    pub(crate) sample_rate: u32,
    pub(crate) channels: u32,
    pub(crate) bit_rate: u64,
}

/// What an open encoder says about its output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) time_base: TimeBase,
    pub(crate) config: Option<Bytes>,
    pub(crate) delay: u32,
    pub(crate) frame_samples: u32,
    pub(crate) priming_samples: u32,
}

fn number<T: TryInto<c_int>>(value: T) -> Result<c_int, Failure> {
    value.try_into().map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "avcodec_open2"))
}

impl RawEncoder {
    /// An encoder by libav's name for it, or libav's first one for the codec.
    fn allocate(
        name: Option<&CStr>,
        codec: &CStr,
    ) -> Result<(NonNull<ffi::AVCodecContext>, *const ffi::AVCodec), Failure> {
        let missing = Failure::new(ffi::AVERROR_ENCODER_NOT_FOUND, "avcodec_find_encoder");
        // SAFETY: NUL-terminated names; results are null or static data. The context is a plain allocation.
        unsafe {
            let encoder = match name {
                Some(name) => ffi::avcodec_find_encoder_by_name(name.as_ptr()),
                None => {
                    let descriptor = by_int::avcodec_descriptor_get_by_name(codec.as_ptr());
                    if descriptor.is_null() {
                        return Err(missing);
                    }
                    by_int::avcodec_find_encoder(ffi::enum_field!(descriptor, id))
                }
            };
            if encoder.is_null() {
                return Err(missing);
            }
            let context = non_null(ffi::avcodec_alloc_context3(encoder), "avcodec_alloc_context3")?;
            Ok((context, encoder))
        }
    }

    /// Opens a video encoder for 8-bit 4:2:0 pictures. Its clock ticks once per frame.
    pub(crate) fn video(name: Option<&CStr>, codec: &CStr, setup: &VideoSetup<'_>) -> Result<Self, Failure> {
        let (context, codec) = Self::allocate(name, codec)?;
        // Owned from here on, so that every early return frees it.
        let mut encoder = Self { context, packet: RawPacket::new()? };
        let raw = encoder.context.as_ptr();
        // SAFETY: our own context, not yet open; these are the fields for the user to set.
        unsafe {
            (*raw).width = number(setup.width)?;
            (*raw).height = number(setup.height)?;
            set_enum_field!(raw, pix_fmt, by_int::av_get_pix_fmt(c"yuv420p".as_ptr()));
            let rate =
                ffi::AVRational { num: number(setup.frame_rate.num)?, den: number(setup.frame_rate.den)? };
            (*raw).framerate = rate;
            (*raw).time_base = ffi::AVRational { num: rate.den, den: rate.num };
            (*raw).gop_size = number(setup.gop_frames)?;
            (*raw).keyint_min = number(setup.gop_frames)?;
            (*raw).max_b_frames = number(setup.b_frames)?;
            (*raw).bit_rate = i64::try_from(setup.bit_rate).unwrap_or(0);
            (*raw).thread_count = number(setup.threads)?;
        }
        encoder.open(codec, setup.options)?;
        Ok(encoder)
    }

    /// Opens an audio encoder for planar 32-bit float samples. Its clock ticks once per sample.
    pub(crate) fn audio(name: Option<&CStr>, codec: &CStr, setup: &AudioSetup) -> Result<Self, Failure> {
        let (context, codec) = Self::allocate(name, codec)?;
        let mut encoder = Self { context, packet: RawPacket::new()? };
        let raw = encoder.context.as_ptr();
        // SAFETY: as for `video`.
        unsafe {
            set_enum_field!(raw, sample_fmt, ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP as c_int);
            (*raw).sample_rate = number(setup.sample_rate)?;
            (*raw).time_base = ffi::AVRational { num: 1, den: number(setup.sample_rate)? };
            (*raw).bit_rate = i64::try_from(setup.bit_rate).unwrap_or(0);
            ffi::av_channel_layout_default(&raw mut (*raw).ch_layout, number(setup.channels)?);
        }
        encoder.open(codec, &[])?;
        Ok(encoder)
    }

    fn open(&mut self, codec: *const ffi::AVCodec, options: &[(&str, &str)]) -> Result<(), Failure> {
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
                frame_samples: unsigned((*raw).frame_size),
                priming_samples: unsigned((*raw).initial_padding),
            }
        }
    }

    /// Gives it a frame, or `None` for the end. libav keeps its own reference to the frame's buffers.
    pub(crate) fn send(&mut self, frame: Option<&RawFrame>) -> Result<(), Failure> {
        let frame = frame.map_or(std::ptr::null(), |frame| frame.as_ptr().cast_const());
        // SAFETY: our own open context; the frame is live or null.
        check(unsafe { ffi::avcodec_send_frame(self.context.as_ptr(), frame) }, "avcodec_send_frame")
            .map(drop)
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

impl Drop for RawEncoder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: our own context; this closes it and ends its threads.
        unsafe { ffi::avcodec_free_context(&raw mut context) };
    }
}
