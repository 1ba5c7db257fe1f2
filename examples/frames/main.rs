//! A program that makes its own stream: a clock, a bouncing logo and a tone that follows it, drawn and played in Rust.
//!
//! Without arguments it is the demo: it goes live to the embedded server, plays the stream back in process, decodes it, and checks which
//! pictures arrive.
mod demo;
mod drawing;
#[path = "../loop_file/player.rs"]
mod player;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::TypedValueParser;
use drawing::{CHANNELS, SAMPLE_RATE, Scene, samples_of};
use flowcast::encode::FrameRate;
use flowcast::error::chain;
use flowcast::frames::{AudioFormat, FrameSink, FrameStats, Frames, PixelFormat, VideoFormat, When};
use flowcast::mix::{MixInput, Mixer};
use flowcast::{BitRate, Config, Encoding, Engine, Error, Playlist, Profile};
use serde::Serialize;
use support::outputs::OutputArgs;
use support::print::{out, round};
use support::progress::Progress;
use support::{Result, cli, events, print, process};

/// Draws a clock and a bouncing logo, plays a tone that follows it, and sends both to RTMP servers, recordings and HLS.
///
/// Without arguments it is a demo: it goes live to the embedded server, plays the stream back and checks which pictures arrive.
#[derive(Parser)]
#[command(name = "frames", max_term_width = cli::WIDTH)]
struct Cli {
    /// End after this many seconds; otherwise at Ctrl-C
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = cli::seconds)]
    seconds: Option<Duration>,

    /// Width and height of the pictures that are drawn
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = size)]
    size: (u32, u32),

    /// Pictures a second, 1 to 60
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=60))]
    fps: u32,

    /// Settings of the encoder
    #[arg(long, value_name = "NAME", default_value = "ultra", value_parser = profiles())]
    profile: Profile,

    /// Bit rate of the picture, such as 2500k or 6M; otherwise as the profile says
    #[arg(long = "bitrate", value_name = "RATE")]
    bit_rate: Option<BitRate>,

    /// A file that is looped while the program gives nothing
    #[arg(long, value_name = "FILE")]
    fallback: Option<std::path::PathBuf>,

    /// No sound of its own: silence is sent, or what is mixed
    #[arg(long)]
    silent: bool,

    /// Also play the music of this directory, under the tone
    #[arg(long, value_name = "DIR")]
    mix: Option<std::path::PathBuf>,

    /// How loud that is, in decibels
    #[arg(long, value_name = "DB", default_value = "-12", allow_negative_numbers = true, requires = "mix")]
    gain: f64,

    /// Print one JSON object with the figures as the last line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    outputs: OutputArgs,
}

fn size(text: &str) -> std::result::Result<(u32, u32), &'static str> {
    let sides =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides
        .filter(|(width, height)| (384..=4096).contains(width) && (128..=4096).contains(height))
        .ok_or("width and height are needed, such as 1280x720, at least 384x128")
}

fn profiles() -> impl TypedValueParser<Value = Profile> {
    clap::builder::PossibleValuesParser::new(Profile::NAMES).try_map(|name| name.parse::<Profile>())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    pictures: u64,
    repeated: u64,
    replaced: u64,
    dropped: u64,
    encoded: u64,
    bytes_sent: u64,
    cpu_ms_per_stream_second: f64,
    rss_kb: u64,
    reconnects: u64,
}

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    support::exit(if cli.outputs.is_empty() { demo::run(cli.json) } else { run(&cli) })
}

/// The pictures of the program, and its sound.
fn frames(size: (u32, u32), fps: u32, silent: bool) -> Frames {
    let rate = FrameRate::whole(fps);
    let frames = Frames::new(VideoFormat::new(PixelFormat::Rgba, size.0, size.1, rate));
    if silent { frames } else { frames.audio(AudioFormat::f32(SAMPLE_RATE, CHANNELS)) }
}

/// Draws and plays until `stop`, or until the stream has ended. It goes by its own clock, as a renderer does.
fn perform(sink: &FrameSink, stop: &AtomicBool) -> std::result::Result<(), Error> {
    let format = sink.video_format();
    let rate = format.rate().as_f64();
    let mut scene = Scene::new(format.size(), rate);
    let mut samples = Vec::new();
    let began = Instant::now();
    for number in 0_u32.. {
        let time = Duration::from_secs_f64(f64::from(number) / rate);
        while !stop.load(Ordering::Relaxed)
            && let Some(early) = time.checked_sub(began.elapsed())
            && !early.is_zero()
        {
            std::thread::park_timeout(early);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut frame = sink.frame()?;
        let stride = frame.stride(0);
        scene.draw(number, frame.plane_mut(0), stride);
        sink.send(frame, When::At(time))?;
        if sink.audio_format().is_some() {
            scene.play(number, samples_of(number, rate), &mut samples);
            sink.send_samples(&samples[..], When::At(time))?;
        }
    }
    Ok(())
}

/// The program on a thread of its own, and what it was told at its end.
fn start_program(
    sink: FrameSink,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<std::result::Result<FrameStats, Error>> {
    std::thread::spawn(move || match perform(&sink, &stop) {
        Ok(()) | Err(Error::Ended) => Ok(sink.stats()),
        Err(error) => Err(error),
    })
}

fn run(cli: &Cli) -> Result<()> {
    let stop = support::stop_flag()?;
    let engine = Engine::new(Config::from_env()?)?;
    let happened = engine.events();
    let mut encoding = Encoding::new(cli.profile);
    encoding.video_bit_rate = cli.bit_rate;
    let (sink, source) = frames(cli.size, cli.fps, cli.silent).open()?;
    let mut source = source.encoding(encoding);
    if let Some(file) = &cli.fallback {
        source = source.fallback(file);
    }
    if let Some(music) = &cli.mix {
        let music = MixInput::playlist(Playlist::dir(music)?.shuffled()).gain_db(cli.gain);
        source = source.with_mix(Mixer::new().input("tone", MixInput::source()).input("music", music));
    }
    let live = cli.outputs.add(engine.stream(source), 0)?.start()?;
    let (cpu_before, began) = (process::cpu_time(), Instant::now());
    let done = Arc::<AtomicBool>::default();
    let program = start_program(sink.clone(), done.clone());

    let progress = Progress::default();
    let deadline = cli.seconds.and_then(|seconds| began.checked_add(seconds));
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        if let Some(event) = happened.next_timeout(Duration::from_millis(200)) {
            events::text(&event).iter().for_each(|text| progress.say(text));
        }
        if live.has_ended() {
            break;
        }
        if progress.is_shown() {
            let frames = sink.stats();
            progress.show(format!(
                "{:.0} s  {} pictures, {} repeated, {} dropped  {}",
                began.elapsed().as_secs_f64(),
                frames.pictures,
                frames.repeated,
                frames.dropped,
                live.stats()
            ));
        }
    }
    progress.clear();
    let (elapsed, cpu, rss_kb) = (began.elapsed(), process::cpu_time() - cpu_before, process::rss_kb());
    done.store(true, Ordering::Relaxed);
    let failure = live.wait_timeout(Duration::ZERO).and_then(std::result::Result::err);
    let stats = live.stats();
    drop(sink);
    // What was drawn last is sent; then the stream is complete.
    let ended = live.wait_timeout(Duration::from_secs(5));
    let frames = program.join().map_err(|_| "the program panicked")??;
    engine.shutdown(Duration::from_secs(5));
    let report = Report {
        seconds: round(elapsed.as_secs_f64(), 2),
        pictures: frames.pictures,
        repeated: frames.repeated,
        replaced: frames.replaced,
        dropped: frames.dropped,
        encoded: stats.encoding.as_ref().map_or(0, |encoding| encoding.frames),
        bytes_sent: stats.bytes_sent,
        cpu_ms_per_stream_second: round(cpu.as_secs_f64() * 1000.0 / elapsed.as_secs_f64(), 3),
        rss_kb,
        reconnects: stats.reconnects,
    };
    if cli.json {
        print::json(&report)?;
    } else {
        out!(
            "{} pictures in {} s, {} repeated, {} replaced, {} dropped; {} KB sent, {} ms of CPU per second, {} MiB",
            report.pictures,
            report.seconds,
            report.repeated,
            report.replaced,
            report.dropped,
            report.bytes_sent / 1000,
            report.cpu_ms_per_stream_second,
            report.rss_kb / 1024
        )?;
    }
    match failure.or(ended.and_then(std::result::Result::err)) {
        Some(error) => Err(chain(&error).into()),
        None if report.bytes_sent == 0 => Err("no output was ever on the air".into()),
        None => Ok(()),
    }
}
