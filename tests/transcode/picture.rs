//! What every recording has to be like, whatever it was made of.

use std::path::Path;
use std::time::Duration;

use flowcast::Platform;
use flowcast::av::Interrupt;
use flowcast::verdict::Facts;
use flowcast::verdict::Fields;
use flowcast::verdict::{Fix, ScanOptions, Severity, Strictness, facts, verdict};

use kit::{Peer, packet_times, run};

/// The longest GOP: two seconds, or at 29.97 pictures a second 60 pictures, and a recording's whole milliseconds.
const LONGEST_GOP: Duration = Duration::from_millis(2003);

/// What `ffprobe` says of a recording, which it must take without a word.
fn probed(file: &Path) -> Result<String, String> {
    let entries =
        "stream=codec_name,profile,width,height,pix_fmt,field_order,sample_aspect_ratio,sample_rate,channels";
    let wanted = ["-v", "warning", "-show_entries", entries, "-of", "default=nw=1"];
    let file = file.to_str().expect("a path in UTF-8");
    let mut ffprobe = Peer::spawn(Path::new("ffprobe"), wanted.into_iter().chain([file]));
    ffprobe.wait_success(Duration::from_secs(60));
    let complaints = ffprobe.errors();
    if complaints.is_empty() { Ok(ffprobe.output()) } else { Err(format!("ffprobe: {complaints}")) }
}

/// Checks a recording of picture and sound against what platforms take; says what it is.
pub(crate) fn check(file: &Path) -> Result<Facts, String> {
    let probed = probed(file)?;
    let has = |line: &str| probed.lines().any(|found| found == line);
    for wanted in ["codec_name=h264", "pix_fmt=yuv420p", "codec_name=aac", "profile=LC", "channels=2"] {
        if !has(wanted) {
            return Err(format!("ffprobe: no {wanted}, but {probed:?}"));
        }
    }
    if !has("sample_rate=44100") && !has("sample_rate=48000") {
        return Err(format!("ffprobe: {probed:?}"));
    }
    let facts = facts(file, &ScanOptions::default(), &Interrupt::new())
        .map_err(|error| format!("no facts: {}", flowcast::error::chain(&error)))?;
    for platform in [Platform::youtube(), Platform::twitch()] {
        let verdict = verdict(&facts, &platform, Strictness::Lenient);
        let reasons: Vec<_> = verdict.at_least(Severity::Warning).collect();
        // A recording ends where the stream was stopped, not where a lap does.
        let is_whole = verdict.fixes.iter().all(|fix| matches!(fix, Fix::PadTail(_) | Fix::CutTail(_)));
        if verdict.needs_encoding() || !is_whole || !reasons.is_empty() {
            return Err(format!("{}: {:?} {:?} {reasons:#?}", platform.name, verdict.action, verdict.fixes));
        }
    }
    let video = facts.video.as_ref().ok_or("no picture")?;
    if video.width % 2 + video.height % 2 != 0 || video.fields == Fields::Interlaced {
        return Err(format!("{} x {}, {:?}", video.width, video.height, video.fields));
    }
    if video.gop_max > LONGEST_GOP || video.open_gops > 0 || video.damaged > 0 || video.clock.unordered > 0 {
        return Err(format!("GOPs of {:?}, {video:?}", video.gop_max));
    }
    Ok(facts)
}

/// Both tracks decode without a word.
pub(crate) fn decodes(file: &Path) -> Result<(), String> {
    let file = file.to_str().expect("a path in UTF-8");
    let arguments = ["-nostdin", "-v", "warning", "-i", file, "-map", "0", "-f", "null", "-"];
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments);
    ffmpeg.wait_success(Duration::from_secs(60));
    let complaints = ffmpeg.errors();
    if complaints.is_empty() { Ok(()) } else { Err(format!("decoding: {complaints}")) }
}

/// Every packet of both tracks comes as long after the one before as it lasts.
pub(crate) fn is_even(file: &Path, rate: f64, sample_rate: f64) -> Result<(), String> {
    for (kind, step, slack) in [("v", 1000.0 / rate, 1.1), ("a", 1_024_000.0 / sample_rate, 1.6)] {
        let times = packet_times(file, kind);
        if let Some(pair) = times.windows(2).find(|pair| ((pair[1].dts - pair[0].dts) - step).abs() > slack) {
            return Err(format!("{kind}: {pair:?}, not {step:.1} ms apart"));
        }
    }
    Ok(())
}

/// The options x264 wrote into the first picture of a file.
pub(crate) fn x264_options(file: &Path) -> Option<String> {
    const BEGIN: &[u8] = b" - options: ";
    let bytes = std::fs::read(file).ok()?;
    let at = bytes.windows(BEGIN.len()).position(|window| window == BEGIN)? + BEGIN.len();
    let text: Vec<u8> = bytes[at..].iter().copied().take_while(|byte| (32..127).contains(byte)).collect();
    String::from_utf8(text).ok()
}

/// Lines a program prints of two inputs that are compared by a filter.
pub(crate) fn compared(arguments: &[&str]) -> String {
    run("ffmpeg", arguments, Duration::from_secs(180))
}
