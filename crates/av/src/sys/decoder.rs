//! An open decoder: `AVCodecContext` on the decoding side.

use std::ffi::{CString, c_int};
use std::ptr::NonNull;

use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int, enum_field, set_enum_field};
use super::kind::{self, Color};
use super::layout::Layout;
use super::{RawFrame, RawPacket};
use crate::{AudioInfo, Packet, ThreadMode, TrackInfo, VideoInfo};

/// An open decoder. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct RawDecoder {
    context: NonNull<ffi::AVCodecContext>,
    /// Room for what is sent; empty between calls.
    packet: RawPacket,
    /// Room for what is received; empty between calls.
    frame: Option<RawFrame>,
}

// SAFETY: an AVCodecContext may be used by any one thread at a time; its own threads are its business.
unsafe impl Send for RawDecoder {}

/// How to decode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecoderSetup {
    pub(crate) threads: u32,
    pub(crate) thread_mode: ThreadMode,
    /// Pixels of a picture at most.
    pub(crate) max_pixels: u64,
    /// Without deblocking, and with what else libav calls fast.
    pub(crate) draft: bool,
}

/// `AVDISCARD_ALL`.
const DISCARD_ALL: c_int = 48;

fn number<T: TryInto<c_int>>(value: T) -> Result<c_int, Failure> {
    value.try_into().map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "avcodec_open2"))
}

impl RawDecoder {
    /// Opens libav's first decoder for the codec of a track. `config` is the track's configuration.
    pub(crate) fn open(
        track: &TrackInfo,
        config: Option<&[u8]>,
        setup: DecoderSetup,
    ) -> Result<Self, Failure> {
        let missing = Failure::new(ffi::AVERROR_DECODER_NOT_FOUND, "avcodec_find_decoder");
        let name = CString::new(track.codec.name()).map_err(|_| missing)?;
        // SAFETY: a NUL-terminated name; results are null or static data. The context is a plain allocation.
        let (context, codec) = unsafe {
            let descriptor = by_int::avcodec_descriptor_get_by_name(name.as_ptr());
            if descriptor.is_null() {
                return Err(missing);
            }
            let codec = by_int::avcodec_find_decoder(enum_field!(descriptor, id));
            if codec.is_null() {
                return Err(missing);
            }
            (non_null(ffi::avcodec_alloc_context3(codec), "avcodec_alloc_context3")?, codec)
        };
        // Owned from here on, so that every early return frees it.
        let decoder = Self { context, packet: RawPacket::new()?, frame: None };
        let raw = decoder.context.as_ptr();
        // SAFETY: our own context, not yet open; these are the fields for the user to set.
        unsafe {
            (*raw).pkt_timebase =
                ffi::AVRational { num: number(track.time_base.num)?, den: number(track.time_base.den)? };
            (*raw).codec_tag = track.codec_tag;
            (*raw).bits_per_coded_sample = number(track.coded_bits)?;
            (*raw).block_align = number(track.block_bytes)?;
            (*raw).bit_rate = track.bit_rate.and_then(|rate| i64::try_from(rate).ok()).unwrap_or(0);
            (*raw).thread_count = number(setup.threads)?;
            (*raw).thread_type = match setup.thread_mode {
                ThreadMode::Frame => ffi::FF_THREAD_FRAME as c_int,
                ThreadMode::Slice => ffi::FF_THREAD_SLICE as c_int,
            };
            (*raw).max_pixels = i64::try_from(setup.max_pixels).unwrap_or(i64::MAX);
            if setup.draft {
                set_enum_field!(raw, skip_loop_filter, DISCARD_ALL);
                (*raw).flags2 |= ffi::AV_CODEC_FLAG2_FAST as c_int;
            }
        }
        decoder.set_config(config.unwrap_or_default())?;
        if let Some(video) = &track.video {
            decoder.set_video(video)?;
        }
        if let Some(audio) = &track.audio {
            decoder.set_audio(audio)?;
        }
        // SAFETY: our own context and a codec of libav's tables; no options.
        let result = unsafe { ffi::avcodec_open2(raw, codec, std::ptr::null_mut()) };
        check(result, "avcodec_open2")?;
        Ok(decoder)
    }

    fn set_config(&self, config: &[u8]) -> Result<(), Failure> {
        if config.is_empty() {
            return Ok(());
        }
        let padding = usize::try_from(ffi::AV_INPUT_BUFFER_PADDING_SIZE).unwrap_or(64);
        let raw = self.context.as_ptr();
        // SAFETY: a new block of the size that is copied plus zeroed padding; the context, which has none yet, frees it.
        unsafe {
            let place = non_null(ffi::av_mallocz(config.len() + padding), "av_mallocz")?.cast::<u8>();
            std::ptr::copy_nonoverlapping(config.as_ptr(), place.as_ptr(), config.len());
            (*raw).extradata = place.as_ptr();
            (*raw).extradata_size = number(config.len())?;
        }
        Ok(())
    }

    fn set_video(&self, video: &VideoInfo) -> Result<(), Failure> {
        let raw = self.context.as_ptr();
        let color = Color::of(&video.color);
        // SAFETY: our own context, not yet open; the numbers of enums come from libav's own tables.
        unsafe {
            (*raw).width = number(video.width)?;
            (*raw).height = number(video.height)?;
            (*raw).has_b_frames = number(video.b_frames)?;
            if let Ok(format) = kind::pixel_format(&video.pixel_format) {
                set_enum_field!(raw, pix_fmt, format);
            }
            if let Some(rate) = video.frame_rate {
                (*raw).framerate = ffi::AVRational { num: number(rate.num)?, den: number(rate.den)? };
            }
            if let Some(aspect) = video.sample_aspect {
                (*raw).sample_aspect_ratio =
                    ffi::AVRational { num: number(aspect.num)?, den: number(aspect.den)? };
            }
            set_enum_field!(raw, color_range, color.range);
            set_enum_field!(raw, colorspace, color.space);
            set_enum_field!(raw, color_primaries, color.primaries);
            set_enum_field!(raw, color_trc, color.transfer);
        }
        Ok(())
    }

    fn set_audio(&self, audio: &AudioInfo) -> Result<(), Failure> {
        let raw = self.context.as_ptr();
        // SAFETY: our own context, not yet open, with an empty layout.
        unsafe {
            (*raw).sample_rate = number(audio.sample_rate)?;
            (*raw).frame_size = number(audio.frame_samples)?;
            if audio.channels > 0 {
                Layout::named(&audio.layout, audio.channels)?.copy_to(&raw mut (*raw).ch_layout)?;
            }
        }
        Ok(())
    }

    /// Gives it a packet, which is copied: libav reads beyond the end of what it is given. Nothing stands for the end.
    pub(crate) fn send(&mut self, packet: Option<&Packet>) -> Result<(), Failure> {
        let raw = match packet {
            Some(packet) => {
                self.packet.fill(0, packet)?;
                self.packet.as_ptr().cast_const()
            }
            None => std::ptr::null(),
        };
        // SAFETY: our own open context; the packet is ours or null. libav takes a reference.
        let result = unsafe { ffi::avcodec_send_packet(self.context.as_ptr(), raw) };
        self.packet.clear();
        check(result, "avcodec_send_packet").map(drop)
    }

    /// The next frame; `None` if it needs more packets, or is at its end.
    pub(crate) fn receive(&mut self) -> Result<Option<RawFrame>, Failure> {
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => RawFrame::empty()?,
        };
        // SAFETY: our own open context and an empty frame of ours, which libav empties first in any case.
        let result = unsafe { ffi::avcodec_receive_frame(self.context.as_ptr(), frame.as_ptr()) };
        if result < 0 {
            self.frame = Some(frame);
            return match result {
                Failure::AGAIN | Failure::END => Ok(None),
                _ => check(result, "avcodec_receive_frame").map(|_| None),
            };
        }
        frame.take_best_pts();
        frame.force_keyframe(false);
        Ok(Some(frame))
    }

    /// Forgets what it has seen, for packets from elsewhere.
    pub(crate) fn flush(&mut self) {
        // SAFETY: our own open context.
        unsafe { ffi::avcodec_flush_buffers(self.context.as_ptr()) };
    }
}

impl Drop for RawDecoder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: our own context; this closes it, ends its threads and frees the extradata.
        unsafe { ffi::avcodec_free_context(&raw mut context) };
    }
}
