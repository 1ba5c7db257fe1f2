//! A program that draws and goes live: in this process with flowcast, or through a pipe to the `ffmpeg` program. Or the conversion alone.
#![allow(clippy::print_stdout, reason = "scripts read it")]

#[allow(dead_code, reason = "only the pictures are drawn here")]
#[path = "../../../../examples/frames/drawing.rs"]
mod drawing;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use drawing::Scene;
use flowcast::av::{ColorInfo, FramePool, Scaling, TimeBase, VideoFilter, VideoFormat, VideoTarget};
use flowcast::encode::FrameRate;
use flowcast::frames::{Frames, PixelFormat, VideoFormat as Drawn, When};
use flowcast::{Config, Encoding, Engine, Profile};
use flowcast_bench::process;
use flowcast_bench::support::{Result, exit, seconds};
use serde_json::json;

const SIZE: (u32, u32) = (1280, 720);
const FPS: u32 = 30;
/// Pictures before the measured ones.
const WARM: u32 = 2 * FPS;

/// Draws 1280x720 at 30 a second, and prints what that cost, converting and encoding included, as a JSON object.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Encode in this process, to a file
    Flow {
        file: PathBuf,
        #[arg(long, default_value = "20", value_parser = seconds)]
        seconds: Duration,
        /// As of `Frames::quality`
        #[arg(long, default_value_t = 80)]
        quality: u32,
    },
    /// Pipe the same pixels to `ffmpeg`, with the same settings of the encoder, to a file
    Pipe {
        file: PathBuf,
        #[arg(long, default_value = "20", value_parser = seconds)]
        seconds: Duration,
    },
    /// Only draw
    Draw {
        #[arg(long, default_value = "20", value_parser = seconds)]
        seconds: Duration,
    },
    /// Only convert RGBA to I420, as fast as it goes
    Convert {
        #[arg(long, default_value_t = 600)]
        pictures: u32,
        #[arg(long, default_value_t = 1)]
        threads: u32,
    },
}

/// What was used between two looks.
struct Used {
    cpu: Duration,
    child: u64,
}

/// Ticks of CPU time of a process, user and system, and its resident memory in KiB.
fn child(id: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    (ticks(11) + ticks(12), kib)
}

/// Draws in real time for so long, and hands each picture over; looks at what is used after the first pictures and after the last.
fn perform(
    length: Duration,
    id: Option<u32>,
    mut next: impl FnMut(&Scene, u32) -> Result<()>,
) -> Result<serde_json::Value> {
    let scene = Scene::new(SIZE, f64::from(FPS));
    let pictures = WARM + (length.as_secs_f64() * f64::from(FPS)) as u32;
    let began = Instant::now();
    let look = || Used { cpu: process::cpu_time(), child: id.map_or(0, |id| child(id).0) };
    let mut before = look();
    for number in 0..pictures {
        let time = Duration::from_secs(1) * number / FPS;
        while let Some(early) = time.checked_sub(began.elapsed()).filter(|early| !early.is_zero()) {
            std::thread::sleep(early);
        }
        if number == WARM {
            before = look();
        }
        next(&scene, number)?;
    }
    let after = look();
    let own = (after.cpu - before.cpu).as_secs_f64() * 1e3;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let children = (after.child - before.child) as f64 * 1e3 / ticks;
    let seconds = length.as_secs_f64();
    Ok(json!({
        "own_ms_per_second": own / seconds,
        "child_ms_per_second": children / seconds,
        "ms_per_second": (own + children) / seconds,
        "rss_kib": process::status("VmRSS") + id.map_or(0, |id| child(id).1),
    }))
}

fn flow(file: &Path, length: Duration, quality: u32) -> Result<serde_json::Value> {
    let engine = Engine::new(Config::default())?;
    let drawn = Drawn::new(PixelFormat::Rgba, SIZE.0, SIZE.1, FrameRate::whole(FPS));
    let (sink, source) = Frames::new(drawn).quality(quality).open()?;
    let live = engine.stream(source.encoding(Encoding::new(Profile::Ultra))).record(file).start()?;
    let mut report = perform(length, None, |scene, number| {
        let mut frame = sink.frame()?;
        let stride = frame.stride(0);
        scene.draw(number, frame.plane_mut(0), stride);
        Ok(sink.send(frame, When::At(Duration::from_secs(1) * number / FPS))?)
    })?;
    let frames = sink.stats();
    report["repeated"] = frames.repeated.into();
    report["dropped"] = (frames.dropped + frames.skipped).into();
    live.stop(Duration::from_secs(5))?;
    Ok(report)
}

fn pipe(file: &Path, length: Duration) -> Result<serde_json::Value> {
    let size = format!("{}x{}", SIZE.0, SIZE.1);
    let rate = FPS.to_string();
    // As `Profile::Ultra` is, live.
    let mut ffmpeg = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgba", "-s", &size, "-r", &rate,
        ])
        .args(["-i", "pipe:0", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-profile:v", "baseline", "-pix_fmt", "yuv420p", "-threads", "1", "-bf", "0"])
        .args(["-g", "60", "-keyint_min", "60", "-sc_threshold", "0"])
        .args(["-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "500k", "-f", "flv"])
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = ffmpeg.stdin.take().ok_or("ffmpeg has no input")?;
    let mut pixels = vec![0; (4 * SIZE.0 * SIZE.1) as usize];
    let report = perform(length, Some(ffmpeg.id()), |scene, number| {
        scene.draw(number, &mut pixels, 4 * SIZE.0 as usize);
        Ok(input.write_all(&pixels)?)
    });
    drop(input);
    ffmpeg.wait()?;
    report
}

fn draw(length: Duration) -> Result<serde_json::Value> {
    let mut pixels = vec![0; (4 * SIZE.0 * SIZE.1) as usize];
    perform(length, None, |scene, number| {
        scene.draw(number, &mut pixels, 4 * SIZE.0 as usize);
        Ok(())
    })
}

/// CPU time of each way of converting, in milliseconds a picture.
fn convert(pictures: u32, threads: u32) -> Result<serde_json::Value> {
    let format = VideoFormat {
        width: SIZE.0,
        height: SIZE.1,
        pixel_format: "rgba".to_owned(),
        sample_aspect: None,
        color: ColorInfo::default(),
    };
    let (pool, scene) = (FramePool::new(&format)?, Scene::new(SIZE, f64::from(FPS)));
    let ways = [
        ("fast", Scaling::Fast),
        ("bilinear", Scaling::Bilinear),
        ("bicubic", Scaling::Bicubic),
        ("accurate", Scaling::Accurate),
    ];
    let mut report = json!({ "threads": threads });
    for (name, scaling) in ways {
        let mut target = VideoTarget::new(SIZE.0, SIZE.1);
        (target.scaling, target.threads) = (scaling, threads);
        let mut filter = VideoFilter::new(&format, TimeBase::MILLIS, &target)?.ok_or("nothing to convert")?;
        let mut canvas = pool.get()?;
        let stride = canvas.stride(0);
        scene.draw(1, canvas.plane_mut(0), stride);
        let picture = canvas.into_frame();
        let (mut cpu, mut began) = (process::cpu_time(), Instant::now());
        for number in 0..pictures + WARM {
            if number == WARM {
                (cpu, began) = (process::cpu_time(), Instant::now());
            }
            filter.push(picture.share()?)?;
            filter.pull()?.ok_or("no picture came out")?;
        }
        let each = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(pictures);
        report[name] = json!({ "cpu_ms": each(process::cpu_time() - cpu), "ms": each(began.elapsed()) });
    }
    Ok(report)
}

fn main() -> ExitCode {
    exit(run())
}

fn run() -> Result<()> {
    let report = match Cli::parse().what {
        What::Flow { file, seconds, quality } => flow(&file, seconds, quality)?,
        What::Pipe { file, seconds } => pipe(&file, seconds)?,
        What::Draw { seconds } => draw(seconds)?,
        What::Convert { pictures, threads } => convert(pictures, threads)?,
    };
    println!("{report}");
    Ok(())
}
