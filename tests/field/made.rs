//! Files made for these tests, and what recordings of them hold.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flowcast::{Engine, EventKind, Source};

use kit::rig::wait_event;
use kit::{PATIENCE, run, text};

/// Records a source to its end; what was told on the way.
pub(crate) fn record(engine: &Engine, source: Source, file: &Path) -> Vec<EventKind> {
    let events = engine.events();
    let live = engine.stream(source).record(file).start().expect("it plays");
    let mut told = Vec::new();
    wait_event(&events, 2 * PATIENCE, |event| {
        if event.stream != live.id() {
            return None;
        }
        told.push(event.kind.clone());
        matches!(event.kind, EventKind::Ended { .. }).then_some(())
    });
    told
}

/// The pitch of a file's sound in hertz, as its decoder hears it; `None` if there is no sound.
pub(crate) fn pitch(file: &Path) -> Option<f64> {
    let kinds = ["-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", text(file)];
    if !run("ffprobe", kinds, PATIENCE).contains("audio") {
        return None;
    }
    let samples = file.with_extension("samples");
    let arguments =
        ["-nostdin", "-v", "error", "-y", "-i", text(file), "-map", "0:a:0", "-ac", "1", "-ar", "48000"];
    run("ffmpeg", arguments.into_iter().chain(["-f", "s16le", text(&samples)]), Duration::from_secs(60));
    let bytes = fs::read(&samples).expect("samples");
    let samples: Vec<i16> =
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    // From the middle on: the beginning fades in.
    let part = samples.get(samples.len() / 4..samples.len() * 3 / 4).unwrap_or_default();
    let rising = part.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    Some(rising as f64 * 48_000.0 / part.len().max(1) as f64)
}
