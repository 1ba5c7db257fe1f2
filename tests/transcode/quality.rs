//! The picture is as good as what the `ffmpeg` program makes of the same file with the same settings.

use std::path::Path;

use flowcast::stats::SourceMode;
use flowcast::{BitRate, Encoding, Engine, Mode, Profile, Source};

use crate::air::{Server, air, reels};
use crate::clips::{self, Clip, FILM, PICTURES};
use crate::picture::{compared, x264_options};
use kit::{Need, PATIENCE, need, run, turn, wait_until};

/// How much worse it may be, in decibels.
const WORSE: f64 = 0.1;
/// Bits a second, in thousands; the buffer holds a second.
const KBPS: u32 = 400;

/// Clips of which every picture is encoded, and what the program needs to be told to bring them into shape.
const SHAPED: [(&str, &str); 8] = [
    ("asp.avi", ""),
    ("vp9.webm", ""),
    ("hevc.mp4", ""),
    ("mute.avi", ""),
    ("ten-bit.mkv", "scale=432:240:flags=bicubic"),
    ("chroma.mp4", "scale=432:240:flags=bicubic"),
    ("phone.mp4", ""),
    ("fields.mpg", "bwdif=mode=send_frame:deint=interlaced"),
];

fn text(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

/// What the program makes of a clip; with lossless settings it is what both are held against.
fn by_ffmpeg(clip: &Clip, shape: &str, encoder: &str, output: &Path) {
    let file = clip.make();
    let mut arguments = vec!["-nostdin", "-v", "error", "-y", "-i", text(&file), "-map", "0:v:0"];
    let shape = if shape.is_empty() { "null" } else { shape };
    arguments.extend(["-fps_mode", "passthrough", "-vf", shape, "-pix_fmt", "yuv420p", "-bitexact"]);
    arguments.extend(encoder.split_whitespace());
    run("ffmpeg", arguments.into_iter().chain([text(output)]), std::time::Duration::from_secs(120));
}

/// PSNR and SSIM of the first lap of a file, in decibels.
fn likeness(file: &Path, original: &Path) -> (f64, f64) {
    let measure = |filter: &str| {
        let log = file.with_extension("log");
        let graph = format!(
            "[0:v]trim=end_frame={PICTURES},settb=1/25,setpts=N[a];[1:v]trim=end_frame={PICTURES},settb=1/25,setpts=N[b];\
             [a][b]{filter}=stats_file={}",
            text(&log)
        );
        compared(&[
            "-nostdin",
            "-v",
            "error",
            "-i",
            text(file),
            "-i",
            text(original),
            "-lavfi",
            &graph,
            "-f",
            "null",
            "-",
        ]);
        std::fs::read_to_string(&log).expect("the filter's figures")
    };
    let figures = |lines: &str, name: &str| -> Vec<f64> {
        let value = |line: &str| {
            let field = line.split_whitespace().find_map(|field| field.strip_prefix(name))?;
            field.parse::<f64>().ok()
        };
        let found: Vec<f64> = lines.lines().filter_map(value).collect();
        assert_eq!(found.len(), PICTURES, "{}: pictures compared", file.display());
        found
    };
    let mean = |figures: Vec<f64>| figures.iter().sum::<f64>() / figures.len() as f64;
    let error = mean(figures(&measure("psnr"), "mse_avg:"));
    let same = mean(figures(&measure("ssim"), "All:"));
    (10.0 * (255.0f64.powi(2) / error).log10(), -10.0 * (1.0 - same).log10())
}

/// The settings that are not the same.
fn differing<'a>(ours: &'a Option<String>, theirs: &'a Option<String>) -> Vec<(&'a str, &'a str)> {
    let words = |text: &'a Option<String>| text.as_deref().unwrap_or_default().split_whitespace();
    words(ours).zip(words(theirs)).filter(|(ours, theirs)| ours != theirs).collect()
}

/// Has the whole lap encoded into the reel. Before that a busy machine may change encoders in the middle of a lap, and what comes
/// first from an encoder has other bits than what the program has at that place.
fn encoded_ahead(engine: &Engine, source: &Source) -> Result<(), String> {
    let live = engine.stream(source.clone()).without_outputs().start();
    let live = live.map_err(|error| format!("does not start: {}", flowcast::error::chain(&error)))?;
    let whole = || {
        let stats = live.stats();
        let cutting = engine.reel_store_stats().map(|store| store.cutting);
        stats.laps > 0 && stats.mode == SourceMode::Reel && cutting == Some(0)
    };
    if wait_until(6 * PATIENCE, || live.has_ended() || whole()) && !live.has_ended() {
        Ok(())
    } else {
        Err(format!("is not encoded: {}", live.stats()))
    }
}

#[test]
fn the_picture_is_as_good_as_the_programs() {
    if !need(&[Need::Ffmpeg, Need::Media(FILM)]) {
        return;
    }
    let _turn = turn();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let profiles = [
        (
            Profile::Ultra,
            "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -threads 1 -b:v 400k -maxrate 400k \
             -bufsize 400k -g 50 -bf 0",
        ),
        (
            Profile::High,
            "-c:v libx264 -preset fast -profile:v high -threads 2 -b:v 400k -maxrate 400k -bufsize 400k -g 50 -bf 2",
        ),
    ];
    let mut wrong = Vec::new();
    for (profile, settings) in profiles {
        let encoding = || {
            let mut encoding = Encoding::new(profile);
            encoding.video_bit_rate = Some(BitRate::from_kbps(KBPS.into()));
            encoding.vbv_kbits = Some(KBPS);
            encoding
        };
        let clips: Vec<_> = SHAPED
            .iter()
            .filter_map(|(name, shape)| {
                Some((clips::all().into_iter().find(|clip| clip.name == *name)?, *shape))
            })
            .collect();
        assert_eq!(clips.len(), SHAPED.len());
        let engine = reels(&directory.path().join(profile.as_str()));
        let found = std::sync::Mutex::new(Vec::new());
        crate::air::each(&clips, |(clip, shape)| {
            let source = Source::file(clip.make()).looped().mode(Mode::Encode).encoding(encoding());
            encoded_ahead(&engine, &source)?;
            let aired = air(&engine, source, clip.name, Server::Ffmpeg)?;
            let place = |name: &str| directory.path().join(format!("{profile}-{}-{name}", clip.name));
            let (original, theirs) = (place("original.mkv"), place("theirs.mp4"));
            by_ffmpeg(clip, shape, "-c:v ffv1", &original);
            let fixed =
                format!("{settings} -x264-params scenecut=0:open-gop=0:keyint=50:min-keyint=50:vbv-init=0.6");
            by_ffmpeg(clip, shape, &fixed, &theirs);
            let ours = &aired.recordings[0].1;
            let options = (x264_options(ours), x264_options(&theirs));
            let (mine, other) = (likeness(ours, &original), likeness(&theirs, &original));
            let says = format!(
                "{profile} {}: PSNR {:.3} dB, {:+.3}; SSIM {:.3} dB, {:+.3}",
                clip.name,
                mine.0,
                mine.0 - other.0,
                mine.1,
                mine.1 - other.1
            );
            let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if options.0.is_none() || options.0 != options.1 {
                found.push(format!("{says}: settings differ: {:?}", differing(&options.0, &options.1)));
            } else if mine.0 < other.0 - WORSE || mine.1 < other.1 - WORSE {
                found.push(says.clone());
            }
            Ok(says)
        });
        wrong.extend(found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
