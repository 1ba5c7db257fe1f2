//! What an encoder has done, counted on its thread and read on others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::stats::EncodingStats;

/// Counts for one encoder of a stream. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodingMeter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    encoder: Mutex<String>,
    frames: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
}

impl EncodingMeter {
    /// Says which encoder is at work.
    pub(super) fn name(&self, encoder: &str) {
        let mut name = self.0.encoder.lock();
        if *name != encoder {
            encoder.clone_into(&mut name);
        }
    }

    /// Counts a picture that was encoded, or a frame of sound.
    pub(super) fn frame(&self, bytes: usize) {
        self.0.frames.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
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
            damaged: self.0.damaged.load(Ordering::Relaxed),
            ..EncodingStats::default()
        })
    }
}
