//! Packets, and libav's reference-counted buffers as `Bytes`.

use std::ffi::c_int;
use std::ptr::NonNull;

use bytes::Bytes;

use super::check::{Failure, check, non_null};
use super::ffi;

/// An owned `AVPacket`: room for one packet, used again and again.
#[derive(Debug)]
pub(crate) struct RawPacket(NonNull<ffi::AVPacket>);

// SAFETY: an AVPacket is plain heap data; the buffers in it are counted atomically.
unsafe impl Send for RawPacket {}

impl RawPacket {
    pub(crate) fn new() -> Result<Self, Failure> {
        // SAFETY: plain allocation.
        Ok(Self(non_null(unsafe { ffi::av_packet_alloc() }, "av_packet_alloc")?))
    }

    pub(super) const fn as_ptr(&self) -> *mut ffi::AVPacket {
        self.0.as_ptr()
    }

    /// Empties it. Reading into a packet that still holds data would leak the data.
    pub(super) fn clear(&mut self) {
        // SAFETY: our own packet; unref drops its references and sets every field to its default.
        unsafe { ffi::av_packet_unref(self.as_ptr()) };
    }

    pub(crate) fn track(&self) -> usize {
        // SAFETY: our own packet.
        usize::try_from(unsafe { (*self.as_ptr()).stream_index }).unwrap_or(usize::MAX)
    }

    /// Moves what is in it out as a packet that owns the buffer, and leaves it empty.
    pub(crate) fn take(&mut self) -> Result<crate::Packet, Failure> {
        let track = self.track();
        let packet = self.as_ptr();
        let config = self.side_data(ffi::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA as c_int);
        let (skip_start, skip_end) =
            skip_samples(&self.side_data(ffi::AVPacketSideDataType::AV_PKT_DATA_SKIP_SAMPLES as c_int));
        // SAFETY: our own packet; only plain fields are read.
        let (pts, dts, duration, flags) =
            unsafe { ((*packet).pts, (*packet).dts, (*packet).duration, (*packet).flags) };
        let data = self.take_data()?;
        self.clear();
        Ok(crate::Packet {
            track,
            pts: timestamp(pts),
            dts: timestamp(dts),
            duration: duration.max(0),
            keyframe: flags & ffi::AV_PKT_FLAG_KEY != 0,
            corrupt: flags & ffi::AV_PKT_FLAG_CORRUPT != 0,
            discard: flags & ffi::AV_PKT_FLAG_DISCARD != 0,
            data,
            config: (!config.is_empty()).then(|| Bytes::from(config)),
            skip_start,
            skip_end,
        })
    }

    fn take_data(&mut self) -> Result<Bytes, Failure> {
        let packet = self.as_ptr();
        // SAFETY: our own packet. After make_refcounted `data` lies in the buffer `buf` refers to. The reference is moved into
        // `Buffer` and cleared here, so that exactly one owner remains.
        unsafe {
            let Ok(length @ 1..) = usize::try_from((*packet).size) else { return Ok(Bytes::new()) };
            check(ffi::av_packet_make_refcounted(packet), "av_packet_make_refcounted")?;
            let buffer = non_null((*packet).buf, "av_packet_make_refcounted")?;
            let data = non_null((*packet).data, "av_packet_make_refcounted")?;
            (*packet).buf = std::ptr::null_mut();
            (*packet).data = std::ptr::null_mut();
            (*packet).size = 0;
            Ok(Bytes::from_owner(Buffer { buffer, data, length }))
        }
    }

    fn side_data(&self, kind: c_int) -> Vec<u8> {
        let mut size = 0;
        // SAFETY: our own packet; what is returned points into it and is copied before it changes.
        unsafe {
            let data = ffi::by_int::av_packet_get_side_data(self.as_ptr(), kind, &raw mut size);
            if data.is_null() || size == 0 {
                return Vec::new();
            }
            std::slice::from_raw_parts(data, size).to_vec()
        }
    }

    /// Fills it with a copy of a packet's bytes and properties. For encoders and muxers, which may keep a reference.
    pub(crate) fn fill(&mut self, track: usize, packet: &crate::Packet) -> Result<(), Failure> {
        self.clear();
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "av_new_packet");
        let size = c_int::try_from(packet.data.len()).map_err(refuse)?;
        // SAFETY: our own, empty packet. av_new_packet gives it `size` writable bytes (and padding); the source is a slice of
        // that length elsewhere.
        unsafe {
            check(ffi::av_new_packet(self.as_ptr(), size), "av_new_packet")?;
            std::ptr::copy_nonoverlapping(packet.data.as_ptr(), (*self.as_ptr()).data, packet.data.len());
            let raw = self.as_ptr();
            (*raw).stream_index = c_int::try_from(track).map_err(refuse)?;
            (*raw).pts = packet.pts.unwrap_or(ffi::AV_NOPTS_VALUE);
            (*raw).dts = packet.dts.unwrap_or(ffi::AV_NOPTS_VALUE);
            (*raw).duration = packet.duration;
            (*raw).flags = if packet.keyframe { ffi::AV_PKT_FLAG_KEY } else { 0 }
                | if packet.discard { ffi::AV_PKT_FLAG_DISCARD } else { 0 };
        }
        if let Some(config) = &packet.config {
            self.add_side_data(ffi::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA, config)?;
        }
        if packet.skip_start != 0 || packet.skip_end != 0 {
            let mut skip = [0; 10];
            skip[..4].copy_from_slice(&packet.skip_start.to_le_bytes());
            skip[4..8].copy_from_slice(&packet.skip_end.to_le_bytes());
            self.add_side_data(ffi::AVPacketSideDataType::AV_PKT_DATA_SKIP_SAMPLES, &skip)?;
        }
        Ok(())
    }

    fn add_side_data(&mut self, kind: ffi::AVPacketSideDataType, data: &[u8]) -> Result<(), Failure> {
        // SAFETY: our own packet, which owns the new side data of exactly `data.len()` bytes that we fill.
        unsafe {
            let place = ffi::av_packet_new_side_data(self.as_ptr(), kind, data.len());
            let place = non_null(place, "av_packet_new_side_data")?;
            std::ptr::copy_nonoverlapping(data.as_ptr(), place.as_ptr(), data.len());
        }
        Ok(())
    }
}

impl Drop for RawPacket {
    fn drop(&mut self) {
        let mut packet = self.as_ptr();
        // SAFETY: our own packet; this drops its references too.
        unsafe { ffi::av_packet_free(&raw mut packet) };
    }
}

/// A part of one of libav's buffers, and one reference to the buffer.
struct Buffer {
    buffer: NonNull<ffi::AVBufferRef>,
    data: NonNull<u8>,
    length: usize,
}

// SAFETY: the buffer's count is atomic, its free function may run on any thread (libav's own threads rely on that), and the
// bytes are only read.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Buffer {}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `data` and `length` are the packet's, inside the buffer we hold a reference to; libav does not write to a
        // buffer that has other references.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffer = self.buffer.as_ptr();
        // SAFETY: this reference is ours.
        unsafe { ffi::av_buffer_unref(&raw mut buffer) };
    }
}

fn timestamp(value: i64) -> Option<i64> {
    (value != ffi::AV_NOPTS_VALUE).then_some(value)
}

/// `AV_PKT_DATA_SKIP_SAMPLES`: two little-endian counts.
fn skip_samples(data: &[u8]) -> (u32, u32) {
    match data {
        [a, b, c, d, e, f, g, h, ..] => {
            (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
        }
        _ => (0, 0),
    }
}
