//! Every clip on the air: encoded into its reel, encoded as it plays, and only where it has to be.

use std::path::Path;
use std::time::Duration;

use flowcast::{BitRate, Encoding, Engine, Mode, Platform, Profile, Source};

use crate::air::{Aired, SEAMS, Server, air, each, reels};
use crate::bits::windows;
use crate::clips::{self, Clip, FILM, PICTURES, RATE};
use crate::picture;
use crate::shown::{Shown, beeps, expected, pictures};
use kit::rig::engine;
use kit::{Need, Nginx, need, packet_hashes, run, turn};

/// Bits a second the pictures are encoded to, in thousands.
const KBPS: u32 = 400;

/// How far a beep may be from where it is in the file, in milliseconds: half a frame of AAC, and how exactly it is heard.
const IN_STEP: f64 = 15.0;

fn encoding() -> Encoding {
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.video_bit_rate = Some(BitRate::from_kbps(KBPS.into()));
    encoding
}

/// How a clip is put on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Encoded,
    Filled,
    Auto,
}

fn source(file: &Path, clip: &Clip, way: Way) -> Source {
    let mut encoding = encoding();
    encoding.filler = way == Way::Filled;
    let mode = if way == Way::Auto { Mode::Auto } else { Mode::Encode };
    let source = Source::file(file).looped().mode(mode).encoding(encoding);
    match way {
        // They ask for sound by themselves.
        Way::Auto => source.platform(Platform::youtube()).platform(Platform::twitch()),
        _ if clip.audio.is_empty() => source.with_silence(),
        _ => source,
    }
}

fn all_on_air(engine: &Engine, server: Server<'_>, way: Way) {
    each(&clips::all(), |clip| {
        let file = clip.make();
        let who = format!("{} ({}) {way:?}", clip.name, clip.what);
        air(engine, source(&file, clip, way), clip.name, server)
            .and_then(|aired| check(&aired, clip, &file, way))
            .map(|found| format!("{who}: {found}"))
            .map_err(|why| format!("{who}: {why}"))
    });
}

#[test]
fn what_platforms_do_not_take_is_encoded_once_and_taken() {
    if !need(&[Need::Ffmpeg, Need::Nginx, Need::Media(FILM)]) {
        return;
    }
    let _turn = turn();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nginx = Nginx::start(&["live"]);
    all_on_air(&reels(directory.path()), Server::Nginx(&nginx), Way::Encoded);
}

#[test]
fn what_is_filled_up_keeps_its_bit_rate_as_it_plays() {
    if !need(&[Need::Ffmpeg, Need::Media(FILM)]) {
        return;
    }
    let _turn = turn();
    all_on_air(&engine(|_| {}), Server::Ffmpeg, Way::Filled);
}

#[test]
fn only_what_does_not_fit_is_encoded() {
    if !need(&[Need::Ffmpeg, Need::Nginx, Need::Media(FILM)]) {
        return;
    }
    let _turn = turn();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nginx = Nginx::start(&["live"]);
    all_on_air(&reels(directory.path()), Server::Nginx(&nginx), Way::Auto);
}

/// Checks what became of a clip; says what is worth to be known.
fn check(aired: &Aired, clip: &Clip, file: &Path, way: Way) -> Result<String, String> {
    if aired.stats.drops + aired.stats.reconnects > 0 {
        return Err(format!("{} drops, {} reconnects", aired.stats.drops, aired.stats.reconnects));
    }
    let original = Original { pictures: pictures(file, clip.size).0, beep: beep(clip, file) };
    let mut found = format!("{}", aired.stats.mode);
    for (by, recording) in &aired.recordings {
        check_one(recording, file, clip, way, &original)
            .map(|words| found += &format!("; {by}: {words}"))
            .map_err(|why| format!("{by}: {why}; told {:?}", aired.told))?;
    }
    Ok(found)
}

struct Original {
    pictures: Vec<Shown>,
    /// When it beeps, from its first picture on.
    beep: Option<f64>,
}

fn beep(clip: &Clip, file: &Path) -> Option<f64> {
    if clip.audio.is_empty() {
        return None;
    }
    let first = pictures(file, clip.size).0.first().map_or(0.0, |shown| shown.at);
    beeps(file).first().map(|beep| beep - first)
}

fn check_one(
    recording: &Path,
    file: &Path,
    clip: &Clip,
    way: Way,
    original: &Original,
) -> Result<String, String> {
    let facts = picture::check(recording)?;
    picture::decodes(recording)?;
    let audio = facts.audio.as_ref().ok_or("no sound")?;
    let (kept_video, kept_audio) = if way == Way::Auto { clip.kept } else { (false, false) };
    picture::is_even(recording, RATE, f64::from(audio.sample_rate))?;
    let (shown, complaints) = pictures(recording, clip.size);
    if !complaints.is_empty() {
        return Err(format!("decoding the picture: {complaints}"));
    }
    let lap = lap(&shown, clip, &original.pictures)?;
    let beeps = in_step(recording, &shown, lap, original)?;
    let options = picture::x264_options(recording).unwrap_or_default();
    let encoded = options.contains(&format!("bitrate={KBPS}")) && options.contains("vbv_maxrate");
    if encoded == kept_video {
        return Err(format!("the picture should be kept: {kept_video}, but x264 says {options:?}"));
    }
    let mut words = format!("laps of {lap} pictures, {beeps}");
    if !kept_video {
        words += &bits(recording, way)?;
    }
    if !clip.audio.is_empty() && has_sound_of(recording, file) != kept_audio {
        return Err(format!("the sound should be kept: {kept_audio}"));
    }
    if kept_audio {
        words += ", sound kept";
    }
    Ok(words)
}

/// Whether a recording's packets of sound are the file's.
fn has_sound_of(recording: &Path, file: &Path) -> bool {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Without what some containers put before each packet.
    let packets = directory.path().join("packets.mka");
    let [from, to] = [file, &packets].map(|path| path.to_str().expect("a path in UTF-8"));
    let arguments = ["-nostdin", "-v", "error", "-y", "-i", from, "-map", "0:a:0", "-c", "copy", to];
    run("ffmpeg", arguments, Duration::from_secs(60));
    let original = packet_hashes(&packets, "a");
    let recorded = packet_hashes(recording, "a");
    // It may begin and be joined with silence.
    let kept = recorded.iter().filter(|packet| original.contains(packet)).count();
    kept * 10 > recorded.len() * 9
}

/// Every lap shows the file's pictures, each where it belongs; says how many places a lap has.
fn lap(shown: &[Shown], clip: &Clip, file: &[Shown]) -> Result<usize, String> {
    let numbers: Vec<usize> = shown.iter().map(|shown| shown.number).collect();
    let ends = numbers.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]).map(|(at, _)| at + 1);
    let ends: Vec<usize> = ends.collect();
    let Some(&lap) = ends.first() else { return Err(format!("no loop point: {numbers:?}")) };
    if ends.len() < SEAMS as usize {
        return Err(format!("loop points at {ends:?}"));
    }
    let wanted = expected(file, RATE, lap);
    // Stopped between a picture and those that are shown before it, the last few are not all there.
    let whole = numbers.len().saturating_sub(4);
    for (number, shown) in numbers[..whole].chunks(lap).enumerate() {
        // What a broken end shows is up to the decoder, but it is the same in each lap.
        let is_right = if clip.is_damaged() { numbers.starts_with(shown) } else { wanted.starts_with(shown) };
        if !is_right {
            return Err(format!("lap {number} is {shown:?} and should be {wanted:?}"));
        }
    }
    let least = if clip.is_damaged() { PICTURES * 3 / 5 } else { PICTURES - usize::from(clip.is_uneven()) };
    let most = if clip.is_uneven() { PICTURES + 3 } else { PICTURES };
    if !(least..=most).contains(&lap) || clip.is_damaged() && numbers[..20] != wanted[..20] {
        return Err(format!("{lap} pictures in a lap: {:?}", &numbers[..lap]));
    }
    Ok(lap)
}

/// The beep of each lap is as far from its pictures as in the file.
fn in_step(recording: &Path, shown: &[Shown], lap: usize, original: &Original) -> Result<String, String> {
    let Some(in_file) = original.beep else { return Ok("silence".to_owned()) };
    let first = shown.first().map_or(0.0, |shown| shown.at);
    let length = lap as f64 * 1000.0 / RATE;
    let off: Vec<f64> = beeps(recording)
        .iter()
        .enumerate()
        .map(|(lap, beep)| beep - first - lap as f64 * length - in_file)
        .collect();
    if off.len() <= SEAMS as usize || off.iter().any(|off| off.abs() > IN_STEP) {
        return Err(format!("beeps are {off:.1?} ms from where they are in the file, {in_file:.1} ms"));
    }
    Ok(format!("sound off by {off:.1?} ms"))
}

/// At most a tenth over the bit rate in any two seconds after the first buffer's, and filled up at most a tenth under it.
fn bits(recording: &Path, way: Way) -> Result<String, String> {
    let windows = windows(recording, 1000.0);
    let target = f64::from(KBPS);
    let is_right = windows.most <= 1.1 * target && (way != Way::Filled || windows.least >= 0.9 * target);
    if !is_right {
        return Err(format!("of {target} kbit/s {windows:.0?}"));
    }
    Ok(format!(", {:.0} to {:.0} of {target} kbit/s", windows.least, windows.most))
}
