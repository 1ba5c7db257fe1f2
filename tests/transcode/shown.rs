//! What a file shows and sounds like, as the `ffmpeg` program decodes it: the number of each picture, and the beeps.

use std::path::Path;
use std::time::Duration;

use crate::clips::{BARS, RATE};
use kit::{Peer, run};

const DECODING: Duration = Duration::from_secs(120);
/// Samples a second beeps are looked for in.
const SAMPLES: f64 = 8000.0;

/// One picture of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    /// When it is shown, in milliseconds.
    pub(crate) at: f64,
    /// Its number.
    pub(crate) number: usize,
}

fn text(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

/// The bytes `ffmpeg` makes of a file, and what it complains of.
fn decoded(file: &Path, options: &str) -> (Vec<u8>, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("decoded");
    let arguments = ["-nostdin", "-v", "warning", "-y", "-i", text(file)].into_iter();
    let arguments = arguments.chain(options.split_whitespace()).chain([text(&output)]);
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments);
    ffmpeg.wait_success(DECODING);
    (std::fs::read(&output).unwrap_or_default(), ffmpeg.errors())
}

/// The pictures of a file of this shown size, in the order they are shown; what the decoder complained of.
pub(crate) fn pictures(file: &Path, (width, height): (u32, u32)) -> (Vec<Shown>, String) {
    let (width, height) = (width as usize, height as usize);
    // One row through the middle of the bars is enough.
    let row = height - BARS / 2;
    let options =
        format!("-map 0:v:0 -fps_mode passthrough -vf crop={width}:2:0:{row} -pix_fmt gray -f rawvideo");
    let (rows, complaints) = decoded(file, &options);
    assert_eq!(rows.len() % (2 * width), 0, "{}: pictures of another size", file.display());
    let read = |row: &[u8]| {
        let light = |bit: usize| row[(2 * bit + 1) * width / 16] > 128;
        (0..8).fold(0, |number, bit| number | usize::from(light(bit)) << bit)
    };
    let numbers: Vec<usize> = rows.chunks_exact(2 * width).map(read).collect();
    let ask = |entries: &str| {
        let wanted = ["-v", "quiet", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0"];
        run("ffprobe", wanted.into_iter().chain([text(file)]), DECODING)
    };
    // The program that decodes lets the file's clock begin at zero.
    let zero: f64 = ask("format=start_time").trim().parse().unwrap_or(0.0);
    let printed = ask("frame=best_effort_timestamp_time");
    let times: Vec<Option<f64>> = printed
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.split(',').next()?.trim().parse().ok().map(|seconds: f64| (seconds - zero) * 1000.0))
        .collect();
    let mut last = -1000.0 / RATE;
    let shown = numbers.into_iter().enumerate().map(|(place, number)| {
        // Of some pictures a file does not say when they are shown.
        last = times.get(place).copied().flatten().unwrap_or(last + 1000.0 / RATE);
        Shown { at: last, number }
    });
    (shown.collect(), complaints)
}

/// When beeps begin, in milliseconds of the file's own clock.
pub(crate) fn beeps(file: &Path) -> Vec<f64> {
    let options = format!(
        "-map 0:a:0 -af aresample={SAMPLES}:async=1:first_pts=0,bandpass=f=1000:width_type=h:w=200,\
         aformat=sample_fmts=flt:channel_layouts=mono -f f32le"
    );
    let (samples, _) = decoded(file, &options);
    let samples: Vec<f32> =
        samples.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).abs()).collect();
    let loudest = samples.iter().copied().fold(0.0, f32::max);
    let mut found: Vec<f64> = Vec::new();
    for (number, sample) in samples.iter().enumerate() {
        let at = number as f64 * 1000.0 / SAMPLES;
        if *sample > loudest / 2.0 && found.last().is_none_or(|last| at - last > 500.0) {
            found.push(at);
        }
    }
    found
}

/// The times of lap after lap of a file's pictures: which number is shown at each place of a constant rate.
pub(crate) fn expected(file: &[Shown], rate: f64, places: usize) -> Vec<usize> {
    let first = file.first().map_or(0.0, |shown| shown.at);
    let place = |shown: &Shown| ((shown.at - first) * rate / 1000.0).round() as usize;
    let at = |wanted: usize| file.iter().rev().find(|shown| place(shown) <= wanted);
    (0..places).filter_map(|wanted| at(wanted).map(|shown| shown.number)).collect()
}
