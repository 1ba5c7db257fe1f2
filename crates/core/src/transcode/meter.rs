//! What an encoder has done, counted on its thread and read on others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::stats::{AtomicDrops, AtomicHistogram, DropReason, EncoderDrops, EncodingStats};
use crate::sys::CpuMeter;

/// Counts for one encoder of a stream. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodingMeter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    encoder: Mutex<String>,
    frames: AtomicU64,
    bytes: AtomicU64,
    pixels: AtomicU64,
    /// Bytes of pictures inside the encoder now.
    held: AtomicU64,
    damaged: AtomicU64,
    /// What was left out between decoder and encoder.
    drops: AtomicDrops,
    /// How long pictures took.
    times: AtomicHistogram,
    /// The sums of the stream it works for.
    stream: OnceLock<CpuMeter>,
}

impl EncodingMeter {
    /// Says which encoder is at work.
    pub(super) fn name(&self, encoder: &str) {
        let mut name = self.0.encoder.lock();
        if *name != encoder {
            encoder.clone_into(&mut name);
        }
    }

    /// What it counts from now on is part of the sums of a stream.
    pub(crate) fn counts_for(&self, stream: &CpuMeter) {
        let _ = self.0.stream.set(stream.clone());
    }

    /// Counts a picture that was encoded; or a frame of sound, which has no pixels.
    pub(super) fn frame(&self, bytes: usize, pixels: u64) {
        self.0.frames.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.pixels.fetch_add(pixels, Ordering::Relaxed);
        if let Some(stream) = self.0.stream.get() {
            stream.count_encoded(pixels);
        }
    }

    /// Counts how long a picture took.
    pub(super) fn took(&self, time: Duration) {
        self.0.times.add(time);
    }

    /// Counts tags that the encoder was too slow for.
    pub(crate) fn left_out(&self, tags: u64) {
        if let Some(stream) = self.0.stream.get() {
            stream.count_left_out(tags);
        }
    }

    /// Counts a picture that was left out between decoder and encoder.
    pub(super) fn left_out_because(&self, reason: DropReason) {
        self.0.drops.add(reason, 1);
    }

    /// What was left out, there and before.
    pub(crate) fn drops(&self, before: EncoderDrops) -> EncoderDrops {
        self.0.drops.read(before)
    }

    /// Says how many bytes of pictures the encoder holds.
    pub(super) fn holds(&self, bytes: u64) {
        self.0.held.store(bytes, Ordering::Relaxed);
    }

    /// Counts a packet that could not be decoded, or is damaged as the container says.
    pub(super) fn damaged(&self) {
        self.0.damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// The figures so far; `None` before an encoder was opened.
    pub(crate) fn stats(&self) -> Option<EncodingStats> {
        let encoder = self.0.encoder.lock().clone();
        (!encoder.is_empty()).then(|| EncodingStats {
            encoder,
            frames: self.0.frames.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
            pixels: self.0.pixels.load(Ordering::Relaxed),
            held_bytes: self.0.held.load(Ordering::Relaxed),
            damaged: self.0.damaged.load(Ordering::Relaxed),
            drops: self.drops(EncoderDrops::default()),
            encode_time: self.0.times.read(),
            ..EncodingStats::default()
        })
    }
}
