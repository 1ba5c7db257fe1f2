//! A file being written: `AVFormatContext` on the writing side.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::check::{Failure, check, non_null};
use super::ffi::{self, by_int, set_enum_field};
use super::memory::Memory;
use super::{Dict, Guard, RawPacket};
use crate::{TimeBase, TrackInfo, TrackKind, Written};

/// A muxer and its file. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Output {
    context: NonNull<ffi::AVFormatContext>,
    packet: RawPacket,
    /// What it writes to, if that is no file; dropped after the context.
    memory: Option<Memory>,
    /// libav's interrupt callback points to it; dropped after the context.
    guard: Arc<Guard>,
    /// The trailer is still to be written, because only that closes the connection of a format that made one.
    owes_trailer: bool,
    is_network: bool,
}

// SAFETY: an AVFormatContext may be used by any one thread at a time; the guard is `Send + Sync`.
unsafe impl Send for Output {}

impl Output {
    /// Picks the muxer by `format` or by the extension of `url`, and creates the file.
    pub(crate) fn create(url: &CStr, format: Option<&CStr>, guard: &Arc<Guard>) -> Result<Self, Failure> {
        let output = Self::new(Some(url), format, guard)?;
        output.open_file(url)?;
        Ok(output)
    }

    /// Writes to memory; `seekable`: whether the muxer may go back in it.
    pub(crate) fn to_memory(format: &CStr, seekable: bool, guard: &Arc<Guard>) -> Result<Self, Failure> {
        let mut output = Self::new(None, Some(format), guard)?;
        let memory = output.memory.insert(Memory::new(seekable)?);
        // SAFETY: a fresh context of ours; the memory outlives it, and `close_file` leaves it alone.
        unsafe {
            let context = output.context.as_ptr();
            (*context).interrupt_callback = output.guard.callback();
            (*context).pb = memory.as_ptr();
            (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        }
        Ok(output)
    }

    /// A format that connects to `url` by itself, when its header is written.
    pub(crate) fn to_network(url: &CStr, format: &CStr, guard: &Arc<Guard>) -> Result<Self, Failure> {
        let mut output = Self::new(Some(url), Some(format), guard)?;
        output.is_network = true;
        // SAFETY: a fresh context of ours, with a format; the guard outlives it.
        unsafe {
            let context = output.context.as_ptr();
            (*context).interrupt_callback = output.guard.callback();
            if (*(*context).oformat).flags & ffi::AVFMT_NOFILE == 0 {
                return Err(Failure::new(Failure::INVALID_ARGUMENT, "avformat_alloc_output_context2"));
            }
        }
        Ok(output)
    }

    fn new(url: Option<&CStr>, format: Option<&CStr>, guard: &Arc<Guard>) -> Result<Self, Failure> {
        let packet = RawPacket::new()?;
        let mut context = ptr::null_mut();
        let format = format.map_or(ptr::null(), CStr::as_ptr);
        let url = url.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: both strings are NUL-terminated or null, and copied; on success `context` is a new context of ours.
        let result =
            unsafe { ffi::avformat_alloc_output_context2(&raw mut context, ptr::null(), format, url) };
        check(result, "avformat_alloc_output_context2")?;
        let context = non_null(context, "avformat_alloc_output_context2")?;
        Ok(Self {
            context,
            packet,
            memory: None,
            guard: Arc::clone(guard),
            owes_trailer: false,
            is_network: false,
        })
    }

    fn open_file(&self, url: &CStr) -> Result<(), Failure> {
        let mut options = Dict::new();
        options.set("protocol_whitelist", "file")?;
        let context = self.context.as_ptr();
        let callback = self.guard.callback();
        // SAFETY: a fresh context of ours with a format; the guard outlives it. `pb` receives an I/O context that `Drop`
        // closes.
        unsafe {
            (*context).interrupt_callback = callback;
            if (*(*context).oformat).flags & ffi::AVFMT_NOFILE != 0 {
                return Ok(());
            }
            let result = ffi::avio_open2(
                &raw mut (*context).pb,
                url.as_ptr(),
                ffi::AVIO_FLAG_WRITE,
                &raw const callback,
                options.as_mut(),
            );
            check(result, "avio_open2").map(drop)
        }
    }

    /// Adds a track. Before [`write_header`](Self::write_header).
    pub(crate) fn add_track(&mut self, track: &TrackInfo) -> Result<(), Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "avformat_new_stream");
        let name = CString::new(track.codec.name())
            .map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "avcodec_descriptor_get_by_name"))?;
        // SAFETY: NUL-terminated; the result is null or static data.
        let descriptor = unsafe { by_int::avcodec_descriptor_get_by_name(name.as_ptr()) };
        if descriptor.is_null() {
            return Err(Failure::new(ffi::AVERROR_ENCODER_NOT_FOUND, "avcodec_descriptor_get_by_name"));
        }
        let time_base = ffi::AVRational {
            num: c_int::try_from(track.time_base.num).map_err(refuse)?,
            den: c_int::try_from(track.time_base.den).map_err(refuse)?,
        };
        // SAFETY: the context is ours and its header is not written; the stream belongs to it and comes with empty parameters.
        // The codec id is one that libav just gave.
        unsafe {
            let stream = ffi::avformat_new_stream(self.context.as_ptr(), ptr::null());
            let stream = non_null(stream, "avformat_new_stream")?.as_ptr();
            (*stream).time_base = time_base;
            let parameters = (*stream).codecpar;
            let kind = match track.kind {
                TrackKind::Video => 0,
                TrackKind::Audio => 1,
                TrackKind::Data => 2,
                TrackKind::Subtitle => 3,
                TrackKind::Attachment => 4,
                TrackKind::Unknown => -1,
            };
            set_enum_field!(parameters, codec_type, kind);
            set_enum_field!(parameters, codec_id, ffi::enum_field!(descriptor, id));
            // libav makes vpcC itself, and has no place for it.
            let is_vpx = matches!(track.codec, crate::Codec::Vp8 | crate::Codec::Vp9);
            if let Some(config) = track.config.as_ref().filter(|_| !is_vpx) {
                set_extradata(parameters, config)?;
            }
            (*parameters).bit_rate = track.bit_rate.and_then(|rate| i64::try_from(rate).ok()).unwrap_or(0);
            if let Some(video) = &track.video {
                (*parameters).width = c_int::try_from(video.width).map_err(refuse)?;
                (*parameters).height = c_int::try_from(video.height).map_err(refuse)?;
                (*parameters).video_delay = c_int::try_from(video.b_frames).map_err(refuse)?;
                let format = CString::new(video.pixel_format.as_str()).unwrap_or_default();
                (*parameters).format = by_int::av_get_pix_fmt(format.as_ptr());
                if let Some(rate) = video.frame_rate {
                    (*stream).avg_frame_rate = rational(rate)?;
                }
                if let Some(aspect) = video.sample_aspect {
                    (*stream).sample_aspect_ratio = rational(aspect)?;
                    (*parameters).sample_aspect_ratio = rational(aspect)?;
                }
                if video.rotation_degrees != 0 {
                    set_rotation(stream, video.rotation_degrees)?;
                }
            }
            if let Some(audio) = &track.audio {
                (*parameters).sample_rate = c_int::try_from(audio.sample_rate).map_err(refuse)?;
                (*parameters).frame_size = c_int::try_from(audio.frame_samples).map_err(refuse)?;
                (*parameters).initial_padding = c_int::try_from(audio.priming_samples).map_err(refuse)?;
                let channels = c_int::try_from(audio.channels).map_err(refuse)?;
                let layout = &raw mut (*parameters).ch_layout;
                let name = CString::new(audio.layout.as_str()).unwrap_or_default();
                if audio.layout.is_empty() || ffi::av_channel_layout_from_string(layout, name.as_ptr()) < 0 {
                    ffi::av_channel_layout_default(layout, channels);
                }
            }
            if track.default {
                (*stream).disposition |= ffi::AV_DISPOSITION_DEFAULT;
            }
        }
        Ok(())
    }

    /// Writes the header. Blocks on the file.
    pub(crate) fn write_header(&mut self, options: &[(String, String)]) -> Result<(), Failure> {
        let mut dict = Dict::new();
        for (key, value) in options {
            dict.set(key, value)?;
        }
        // SAFETY: a context of ours with its tracks; the dictionary stays ours.
        let result = unsafe { ffi::avformat_write_header(self.context.as_ptr(), dict.as_mut()) };
        check(result, "avformat_write_header")?;
        self.owes_trailer = self.is_network;
        Ok(())
    }

    /// The clock the muxer chose for a track, by position. After the header.
    pub(crate) fn time_base(&self, track: usize) -> Option<TimeBase> {
        // SAFETY: a live context holds `nb_streams` stream pointers.
        unsafe {
            let context = self.context.as_ptr();
            if track >= usize::try_from((*context).nb_streams).unwrap_or(0) {
                return None;
            }
            let base = (**(*context).streams.add(track)).time_base;
            Some(TimeBase::new(u32::try_from(base.num).ok()?, u32::try_from(base.den).ok()?))
        }
    }

    /// Hands a packet over; libav orders packets of all tracks by time and may keep it for a while. `track` is the position of
    /// its track, its timestamps are in the clock of [`time_base`](Self::time_base).
    pub(crate) fn write(&mut self, track: usize, packet: &crate::Packet) -> Result<(), Failure> {
        self.packet.fill(track, packet)?;
        // SAFETY: the header is written (`Muxer` sees to that); the packet is ours, and is empty again afterwards.
        let result = unsafe { ffi::av_interleaved_write_frame(self.context.as_ptr(), self.packet.as_ptr()) };
        check(result, "av_interleaved_write_frame").map(drop)
    }

    /// Hands a packet over that follows all others in time; it is written at once, as far as the format can.
    pub(crate) fn write_ordered(&mut self, track: usize, packet: &crate::Packet) -> Result<(), Failure> {
        self.packet.fill(track, packet)?;
        // SAFETY: the header is written (`MemoryMuxer` sees to that); the packet stays ours.
        let result = unsafe { ffi::av_write_frame(self.context.as_ptr(), self.packet.as_ptr()) };
        self.packet.clear();
        check(result, "av_write_frame").map(drop)
    }

    /// Ends what the muxer has begun (a cluster, a packet of several frames of sound), so that it is in what is [taken](Self::take).
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        // SAFETY: the header is written; libav takes null for this of muxers that can, and does nothing for others.
        let result = unsafe { ffi::av_write_frame(self.context.as_ptr(), ptr::null_mut()) };
        check(result, "av_write_frame").map(drop)
    }

    /// Sets an option of the muxer.
    pub(crate) fn set_option(&mut self, name: &CStr, value: &CStr) -> Result<(), Failure> {
        // SAFETY: the context is ours, and its muxer's private data, which begins with a class if the muxer has options, lives as long;
        // both strings are NUL-terminated and are copied.
        let result = unsafe {
            let context = self.context.as_ptr();
            if (*(*context).oformat).priv_class.is_null() {
                return Err(Failure::new(ffi::AVERROR_OPTION_NOT_FOUND, "av_opt_set"));
            }
            ffi::av_opt_set((*context).priv_data, name.as_ptr(), value.as_ptr(), 0)
        };
        check(result, "av_opt_set").map(drop)
    }

    /// What was written to memory since the last call.
    pub(crate) fn take(&mut self) -> Written {
        self.memory.as_mut().map(Memory::take).unwrap_or_default()
    }

    /// Writes what is held back and the trailer to memory. Once, at the end.
    pub(crate) fn write_trailer(&mut self) -> Result<Written, Failure> {
        // SAFETY: the header is written, and `MemoryMuxer` does this once.
        let result = unsafe { ffi::av_write_trailer(self.context.as_ptr()) };
        check(result, "av_write_trailer")?;
        Ok(self.take())
    }

    /// Writes what is held back and the trailer, and closes the file.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        // SAFETY: the header is written, and this consumes the output, so the trailer is written once.
        let result = unsafe { ffi::av_write_trailer(self.context.as_ptr()) };
        check(result, "av_write_trailer")?;
        check(self.close_file(), "avio_closep").map(drop)
    }

    /// Closes the file, once. A failed close is a failed write: buffered bytes are written then.
    fn close_file(&mut self) -> c_int {
        let context = self.context.as_ptr();
        // SAFETY: our own context; `pb` is null, the memory's own, or was opened by avio_open2 in `open_file`. closep clears it.
        unsafe {
            if self.memory.is_some()
                || (*context).pb.is_null()
                || (*(*context).oformat).flags & ffi::AVFMT_NOFILE != 0
            {
                return 0;
            }
            ffi::avio_closep(&raw mut (*context).pb)
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.owes_trailer {
            // SAFETY: the header is written, and nobody else has written a trailer. A goodbye that cannot be said is none.
            let _ = unsafe { ffi::av_write_trailer(self.context.as_ptr()) };
        }
        // What could not be written is lost either way; `finish` reports it.
        let _ = self.close_file();
        // SAFETY: we are the only owner; this frees the streams, the muxer's state and the packets it holds.
        unsafe { ffi::avformat_free_context(self.context.as_ptr()) };
    }
}

fn rational(ratio: crate::Ratio) -> Result<ffi::AVRational, Failure> {
    match (c_int::try_from(ratio.num), c_int::try_from(ratio.den)) {
        (Ok(num), Ok(den)) => Ok(ffi::AVRational { num, den }),
        _ => Err(Failure::new(Failure::INVALID_ARGUMENT, "avformat_new_stream")),
    }
}

/// # Safety
/// `parameters` are live and have no extradata yet.
unsafe fn set_extradata(parameters: *mut ffi::AVCodecParameters, config: &[u8]) -> Result<(), Failure> {
    let size =
        c_int::try_from(config.len()).map_err(|_| Failure::new(Failure::INVALID_ARGUMENT, "av_mallocz"))?;
    let padding = usize::try_from(ffi::AV_INPUT_BUFFER_PADDING_SIZE).unwrap_or(64);
    // SAFETY: a new block of the size that is copied plus zeroed padding; the parameters free it with av_free.
    unsafe {
        let place = non_null(ffi::av_mallocz(config.len() + padding), "av_mallocz")?.cast::<u8>();
        ptr::copy_nonoverlapping(config.as_ptr(), place.as_ptr(), config.len());
        (*parameters).extradata = place.as_ptr();
        (*parameters).extradata_size = size;
    }
    Ok(())
}

/// Gives a track a display matrix that turns the picture clockwise.
///
/// # Safety
/// `stream` is a live stream whose header is not written.
unsafe fn set_rotation(stream: *mut ffi::AVStream, degrees: u16) -> Result<(), Failure> {
    let (sin, cos) = match degrees {
        90 => (1, 0),
        180 => (0, -1),
        270 => (-1, 0),
        _ => (0, 1),
    };
    let one = 1 << 16;
    let matrix: [i32; 9] = [cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30];
    let bytes: Vec<u8> = matrix.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
    // SAFETY: the side data belongs to the stream and has room for exactly these bytes.
    unsafe {
        #[cfg(ffmpeg_6_1)]
        let place = {
            let parameters = (*stream).codecpar;
            let entry = ffi::av_packet_side_data_new(
                &raw mut (*parameters).coded_side_data,
                &raw mut (*parameters).nb_coded_side_data,
                kind,
                bytes.len(),
                0,
            );
            (*non_null(entry, "av_packet_side_data_new")?.as_ptr()).data
        };
        #[cfg(not(ffmpeg_6_1))]
        let place = ffi::av_stream_new_side_data(stream, kind, bytes.len());
        let place = non_null(place, "av_stream_new_side_data")?;
        ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len());
    }
    Ok(())
}
