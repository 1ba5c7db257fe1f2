//! Files that need something each, and what becomes of their tracks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::Interrupt;
use flowcast::prepare::Prepared;
use flowcast::prepare::PreparedTrack::{self, Copied, Encoded, Silence};
use flowcast::verdict::{Action, Severity, Strictness, verdict};
use flowcast::{BitRate, Config, Engine, Output, Platform, Prepare, ReelStore, Source};

use crate::{boxes, names, prepare, quickly};
use kit::{
    Need, PATIENCE, directory, frame_hashes, laps, make, media, need, packet_times, run, text, wait_until,
};

const PICTURE: &str = "-f lavfi -i testsrc2=s=320x240:r=25:d=2";
const TONE: &str = "-f lavfi -i sine=440:sample_rate=48000:d=2";
const AAC: &str = "-c:a aac -ac 2 -b:a 96k";
const X264: &str = "-c:v libx264 -preset ultrafast -threads 1 -pix_fmt yuv420p -g 50 -sc_threshold 0";

/// A file: its name, how it is made, what becomes of its tracks, the size of the result, its length in seconds.
type Case = (&'static str, String, PreparedTrack, PreparedTrack, (u32, u32), f64);

fn cases() -> Vec<Case> {
    let both = format!("{PICTURE} {TONE}");
    let tone = |seconds: &str| format!("-f lavfi -i sine=440:sample_rate=48000:d={seconds}");
    let x264 = format!("{X264} {AAC}");
    let usual = (320, 240);
    vec![
        ("fits.mp4", format!("{both} {x264}"), Copied, Copied, usual, 2.0),
        ("fits-b-frames.mkv", format!("{both} {x264} -bf 3 -preset veryfast"), Copied, Copied, usual, 2.0),
        ("adts.ts", format!("{both} {x264}"), Copied, Copied, usual, 2.0),
        ("no-audio.mp4", format!("{PICTURE} {X264}"), Copied, Silence, usual, 2.0),
        ("audio-longer.mp4", format!("{PICTURE} {} {x264}", tone("3.3")), Copied, Copied, usual, 2.0),
        ("audio-shorter.mp4", format!("{PICTURE} {} {x264}", tone("0.7")), Copied, Copied, usual, 2.0),
        (
            "audio-late.mkv",
            format!("{PICTURE} -itsoffset 0.5 {} {x264}", tone("1")),
            Copied,
            Copied,
            usual,
            2.0,
        ),
        ("audio-early.mkv", format!("-itsoffset 0.5 {PICTURE} {TONE} {x264}"), Copied, Copied, usual, 2.0),
        (
            "audio-longer.avi",
            format!("{PICTURE} {} -c:v mpeg4 -c:a mp3", tone("4")),
            Encoded,
            Encoded,
            usual,
            2.0,
        ),
        ("mono-mp3.avi", format!("{both} -c:v mpeg4 -q:v 3 -c:a mp3 -ac 1"), Encoded, Encoded, usual, 2.0),
        (
            "opus.webm",
            format!("{both} -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -c:a libopus"),
            Encoded,
            Encoded,
            usual,
            2.0,
        ),
        (
            "hevc.mp4",
            format!("{both} -c:v libx265 -preset ultrafast -x265-params log-level=none {AAC}"),
            Encoded,
            Copied,
            usual,
            2.0,
        ),
        ("10-bit.mkv", format!("{both} {X264} -pix_fmt yuv420p10le {AAC}"), Encoded, Copied, usual, 2.0),
        ("444.mp4", format!("{both} {X264} -pix_fmt yuv444p {AAC}"), Encoded, Copied, usual, 2.0),
        ("surround.mp4", format!("{both} {X264} -c:a aac -ac 6"), Copied, Encoded, usual, 2.0),
        ("pcm.mkv", format!("{both} {X264} -c:a pcm_s16le -ar 32000"), Copied, Encoded, usual, 2.0),
        (
            "interlaced.ts",
            format!(
                "-f lavfi -i testsrc2=s=320x240:r=50:d=2 {TONE} -vf tinterlace=interleave_top,fieldorder=tff -c:v mpeg2video -flags +ilme+ildct -b:v 2M -c:a mp2"
            ),
            Encoded,
            Encoded,
            usual,
            2.0,
        ),
        ("anamorphic.mp4", format!("{both} -vf setsar=4/3 {x264}"), Encoded, Copied, (426, 240), 2.0),
        (
            "vfr.mkv",
            format!("{both} -vf select=not(mod(n\\,3)*gt(n\\,20)) -fps_mode vfr {x264}"),
            Encoded,
            Copied,
            usual,
            2.0,
        ),
        (
            "120-fps.mp4",
            format!("-f lavfi -i testsrc2=s=320x240:r=120:d=2 {TONE} {x264}"),
            Encoded,
            Copied,
            usual,
            2.0,
        ),
        (
            "long-gop.mp4",
            format!("-f lavfi -i testsrc2=s=320x240:r=25:d=6 -f lavfi -i sine=440:d=6 {x264} -g 250"),
            Encoded,
            Copied,
            usual,
            6.0,
        ),
        (
            "open-gop.mp4",
            format!("{both} {x264} -preset veryfast -bf 3 -g 12 -x264-params open-gop=1"),
            Encoded,
            Copied,
            usual,
            2.0,
        ),
        (
            "odd.avi",
            "-f lavfi -i testsrc2=s=640x480:r=25:d=2 -vf scale=321:243,setsar=1 -pix_fmt yuv444p -c:v ffv1"
                .to_owned(),
            Encoded,
            Silence,
            (322, 244),
            2.0,
        ),
        (
            "small.mp4",
            format!("-f lavfi -i testsrc2=s=128x96:r=25:d=2 {TONE} {x264}"),
            Encoded,
            Copied,
            (320, 240),
            2.0,
        ),
        ("one-frame.mp4", format!("{PICTURE} -frames:v 1 {X264}"), Copied, Silence, usual, 0.04),
        (
            "one-picture.avi",
            "-f lavfi -i testsrc2=s=320x240:r=25 -frames:v 1 -c:v mjpeg".to_owned(),
            Encoded,
            Silence,
            usual,
            0.04,
        ),
    ]
}

/// What a platform takes gladly, with an index in front, decodes without a complaint, and sound and picture end together.
#[track_caller]
fn check(name: &str, prepared: &Prepared, seconds: f64) {
    let (file, facts) = (&prepared.path, &prepared.facts);
    for platform in [Platform::youtube(), Platform::twitch()] {
        let verdict = verdict(facts, &platform, Strictness::Strict);
        let weighty: Vec<_> = verdict.at_least(Severity::Warning).collect();
        assert_eq!(verdict.action, Action::Copy, "{name} for {}: {:?}", platform.name, verdict.reasons);
        assert!(weighty.is_empty(), "{name} for {}: {weighty:?}", platform.name);
    }
    let (video, audio) = (facts.video.as_ref().expect("a picture"), facts.audio.as_ref().expect("sound"));
    assert!((video.length.as_secs_f64() - seconds).abs() < 0.05, "{name}: {:?}", video.length);
    let frame = i64::try_from(audio.frame().as_micros()).expect("some milliseconds");
    let skews = (facts.start_skew_micros(), facts.end_skew_micros());
    for skew in [skews.0, skews.1] {
        assert!(skew.is_some_and(|skew| skew.abs() <= frame), "{name}: {skews:?}");
    }
    assert!(video.gop_max <= Duration::from_millis(2010), "{name}: {:?}", video.gop_max);
    assert_eq!((video.open_gops, video.irregular), (0, 0.0), "{name}");
    assert_eq!((audio.codec.as_str(), audio.channels), ("aac", audio.channels.min(2)), "{name}");
    let boxes = boxes(file);
    let place = |kind: &str| boxes.iter().position(|found| found == kind);
    assert!(place("moov") < place("mdat"), "{name}: {boxes:?}");
    assert_eq!(frame_hashes(file).len() as u64, video.packets, "{name}");
    let sound = ["-nostdin", "-v", "error", "-i", text(file), "-map", "0:a", "-f", "md5", "-"];
    assert!(run("ffmpeg", sound, PATIENCE).starts_with("MD5="), "{name}");
    let steps: Vec<_> = packet_times(file, "a").windows(2).map(|pair| pair[1].dts - pair[0].dts).collect();
    let frame = audio.frame().as_secs_f64() * 1000.0;
    assert!(steps.iter().all(|step| (step - frame).abs() < 1.1), "{name}: a hole in the sound: {steps:?}");
}

/// Loops files by copying, directly and from reels; what is recorded is each file over and over.
fn check_loops(directory: &Path, prepared: &[(String, PathBuf)], seconds: f64) {
    let engine = |reels| {
        let mut config = Config::default();
        config.max_streams = prepared.len();
        config.reels = reels;
        Engine::new(config).expect("usable settings")
    };
    let modes = [("direct", engine(None)), ("reel", engine(Some(ReelStore::new(directory.join("reels")))))];
    let mut streams = Vec::new();
    for (mode, engine) in &modes {
        for (name, file) in prepared {
            let recorded = directory.join(format!("{name}-{mode}.flv"));
            let stream = engine.stream(Source::file(file).looped()).to(Output::record(&recorded));
            let stream = stream.start().unwrap_or_else(|error| panic!("{name}: {error}"));
            streams.push((format!("{name}, {mode}"), file, recorded, stream));
        }
    }
    let wanted = (seconds * 1000.0) as i64;
    for (name, _, _, stream) in &streams {
        let done = wait_until(PATIENCE * 3, || stream.stats().media_time.as_millis() > wanted);
        assert!(done, "{name}: {}", stream.stats());
        assert!(name.ends_with(&stream.stats().mode.to_string()), "{name}: {}", stream.stats());
    }
    // All of them, before the first is looked at: what goes on meanwhile would have to be decoded, too.
    let stopped = streams.into_iter().map(|(name, file, recorded, stream)| {
        stream.stop(PATIENCE).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, file, recorded)
    });
    for (name, file, recorded) in stopped.collect::<Vec<_>>() {
        let found = laps(&frame_hashes(&recorded), &frame_hashes(file));
        let found = found.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(found.seams >= 2, "{name}: {found}");
        let times = packet_times(&recorded, "v");
        assert!(times.windows(2).all(|pair| pair[1].dts > pair[0].dts), "{name}");
        let sound = packet_times(&recorded, "a");
        let longest = sound.windows(2).map(|pair| pair[1].dts - pair[0].dts).fold(0.0, f64::max);
        // Times of FLV are whole milliseconds; no packet is missing.
        assert!(longest < 25.0, "{name}: {longest} ms between two packets of sound");
    }
}

#[test]
fn whatever_it_is_made_of_it_loops_by_copying() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let inputs = directory();
    let outputs = directory();
    let mut loops = Vec::new();
    for (name, arguments, video, audio, size, seconds) in cases() {
        let input = make(inputs.path(), name, &arguments);
        let prepared = prepare(&input, &outputs.path().join(format!("{name}.mp4")));
        let codes: Vec<_> =
            prepared.input.at_least(Severity::Warning).map(|reason| reason.code.as_str()).collect();
        println!(
            "{name}: video {}, audio {} in {:.2?}, {codes:?}",
            prepared.video.as_str(),
            prepared.audio.as_str(),
            prepared.took
        );
        assert_eq!((prepared.video, prepared.audio), (video, audio), "{name}: {:?}", prepared.input.reasons);
        let shown = prepared.facts.video.as_ref().expect("a picture");
        assert_eq!((shown.width, shown.height), size, "{name}");
        check(name, &prepared, seconds);
        if seconds < 3.0 {
            loops.push((name.replace('.', "-"), prepared.path));
        }
    }
    let wanted = cases().iter().map(|(name, ..)| format!("{name}.mp4")).count();
    assert_eq!(names(outputs.path()).len(), wanted, "nothing is left behind: {:?}", names(outputs.path()));
    check_loops(inputs.path(), &loops, 5.0);
}

#[test]
fn clips_of_a_picture_and_of_a_second_stay_within_limits() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let noise = "-f lavfi -i testsrc2=s=640x360:r=25:d=1 -vf noise=alls=60:allf=t -c:v mpeg4 -q:v 2";
    for (name, arguments, frames) in
        [("picture.avi", format!("{noise} -frames:v 1"), 1), ("second.avi", noise.to_owned(), 25)]
    {
        let input = make(clips.path(), name, &arguments);
        let prepared = Prepare::new(&input, clips.path().join(format!("{name}.mp4")))
            .platform(Platform::facebook())
            .encoding(quickly())
            .run(|_| {}, &Interrupt::new());
        let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {}", flowcast::error::chain(&error)));
        let video = prepared.facts.video.expect("a picture");
        assert_eq!(video.packets, frames, "{name}");
        assert!(video.bit_rate.mean <= BitRate::from_kbps(1050), "{name}: {}", video.bit_rate.mean);
    }
}

#[test]
fn silence_lies_beside_the_picture_it_belongs_to() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let picture = format!("-f lavfi -i testsrc2=s=426x240:r=10:d=60 {X264} -g 20");
    let tone = "-f lavfi -i sine=440:sample_rate=48000:d=5";
    let beginning = format!("{tone} {picture} {AAC}");
    for (name, arguments) in [("none.mp4", picture), ("beginning.mp4", beginning)] {
        let input = make(clips.path(), name, &arguments);
        let output = clips.path().join(format!("prepared-{name}"));
        assert_eq!(prepare(&input, &output).video, Copied, "{name}");
        // Kind, time and place of every packet, in the order of the file.
        let shown = ["-show_entries", "packet=codec_type,pts_time,pos", "-of", "csv=p=0", text(&output)];
        let printed = run("ffprobe", ["-v", "error"].into_iter().chain(shown), PATIENCE);
        let mut packets: Vec<(u64, bool, f64)> = printed.lines().filter_map(place).collect();
        packets.sort_by_key(|packet| packet.0);
        assert!(packets.len() > 3000, "{name}: {}", packets.len());
        let mut newest = [0.0_f64; 2];
        for (_, is_video, seconds) in packets {
            newest[usize::from(is_video)] = seconds;
            // A player on the other side of a network would jump to and fro.
            assert!((newest[0] - newest[1]).abs() < 15.0, "{name}: {newest:?}");
        }
    }
}

fn place(line: &str) -> Option<(u64, bool, f64)> {
    let mut fields = line.split(',');
    let is_video = fields.next()? == "video";
    let seconds = fields.next()?.parse().ok()?;
    Some((fields.next()?.parse().ok()?, is_video, seconds))
}

#[test]
fn a_clip_of_a_phone_is_turned() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let flat = make(clips.path(), "flat.mp4", &format!("{PICTURE} {TONE} {X264} {AAC}"));
    let turned = clips.path().join("turned.mp4");
    let arguments = format!("-nostdin -v error -y -display_rotation 90 -i {} -c copy", text(&flat));
    let metadata = format!("-nostdin -v error -y -i {} -c copy -metadata:s:v rotate=90", text(&flat));
    // The option of the input is newer than the metadata it replaces.
    let newer = run("ffmpeg", ["-v", "error", "-h", "full"], PATIENCE).contains("-display_rotation");
    let arguments = if newer { arguments } else { metadata };
    run("ffmpeg", arguments.split(' ').chain([text(&turned)]), PATIENCE);
    let prepared = prepare(&turned, &clips.path().join("upright.mp4"));
    let video = prepared.facts.video.as_ref().expect("a picture");
    assert_eq!((video.width, video.height, video.rotation_degrees), (240, 320, 0));
    assert_eq!((prepared.video, prepared.audio), (Encoded, Copied));
    check("upright.mp4", &prepared, 2.0);
}

#[test]
fn what_is_cut_off_is_prepared_as_far_as_it_goes() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let options = format!("{PICTURE} {TONE} {X264} {AAC} -movflags +faststart");
    let whole = make(clips.path(), "whole.mp4", &options);
    let bytes = std::fs::read(&whole).expect("a file that was made");
    let cut = clips.path().join("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() * 7 / 10]).expect("there is room");
    let prepared = prepare(&cut, &clips.path().join("out.mp4"));
    assert!(prepared.input.has(flowcast::verdict::ReasonCode::Truncated), "{:?}", prepared.input.reasons);
    let length = prepared.facts.video.as_ref().expect("a picture").length.as_secs_f64();
    assert!((1.0..1.8).contains(&length), "{length}");
    check("cut.mp4", &prepared, length);
}

#[test]
fn real_footage() {
    let files = ["bigbuckbunny.mp4", "carphone_pristine.mp4", "matroska/bbb.mkv", "muxjs/test-segment.ts"];
    let outputs = directory();
    let mut loops = Vec::new();
    for name in files {
        if !need(&[Need::Ffmpeg, Need::Media(name)]) {
            continue;
        }
        let input = media(name).expect("it is there");
        let prepared = prepare(&input, &outputs.path().join(name.replace('/', "-") + ".mp4"));
        let length = prepared.facts.video.as_ref().expect("a picture").length.as_secs_f64();
        println!(
            "{name}: video {}, audio {}, {length:.3} s",
            prepared.video.as_str(),
            prepared.audio.as_str()
        );
        check(name, &prepared, length);
        if length < 5.0 {
            loops.push((name.replace(['/', '.'], "-"), prepared.path));
        }
    }
    if !loops.is_empty() {
        check_loops(outputs.path(), &loops, 13.0);
    }
}

#[test]
fn quality_has_its_limit_and_force_encodes() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    // Noise is as many bits as one lets it have.
    let noise = "-f lavfi -i nullsrc=s=640x360:r=30:d=6,geq=random(1)*255:128:128";
    let input = make(clips.path(), "noise.mkv", &format!("{noise} {TONE} -c:v ffv1 -pix_fmt yuv420p {AAC}"));
    let prepared = prepare(&input, &clips.path().join("noise.mp4"));
    let rate = prepared.facts.video.as_ref().expect("a picture").bit_rate;
    println!("noise: {}, {} in the densest two seconds", rate.mean, rate.peak_2s);
    // Six seconds at the limit of 4,000, and what a full buffer of one second gives away.
    assert!((3_500_000..4_700_000).contains(&rate.mean.bps()), "{rate:?}");
    assert!(rate.peak_2s <= BitRate::from_kbps(6300), "{rate:?}");
    check("noise.mkv", &prepared, 6.0);

    let fits = make(clips.path(), "fits.mp4", &format!("{PICTURE} {TONE} {X264} {AAC}"));
    let forced = crate::preparing(&fits, &clips.path().join("forced.mp4")).crf(30.0).force();
    let forced = forced.run(|_| {}, &Interrupt::new()).expect("it can be encoded");
    assert_eq!((forced.video, forced.audio), (Encoded, Encoded));
    check("forced.mp4", &forced, 2.0);
}

/// Samples from the beginning of the picture on.
const START: &str = "aresample=48000:async=1:first_pts=0";

/// When a file's sound is louder than a whisper: the first and the last time, in seconds.
fn heard(file: &Path) -> (f64, f64) {
    let raw = file.with_extension("raw");
    let arguments =
        ["-nostdin", "-v", "error", "-y", "-i", text(file), "-map", "0:a", "-ac", "1", "-af", START];
    run("ffmpeg", arguments.into_iter().chain(["-f", "f32le", text(&raw)]), PATIENCE);
    let bytes = std::fs::read(&raw).expect("it was written");
    let samples =
        bytes.chunks_exact(4).map(|sample| f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]));
    let loud: Vec<_> =
        samples.enumerate().filter(|(_, sample)| sample.abs() > 0.02).map(|(place, _)| place).collect();
    let second = |place: Option<&usize>| *place.expect("there is sound") as f64 / 48_000.0;
    (second(loud.first()), second(loud.last()))
}

#[test]
fn sound_stays_where_it_belongs() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let tone = |seconds: &str| format!("-f lavfi -i sine=440:sample_rate=48000:d={seconds}");
    let sounds = [("aac", AAC), ("flac", "-c:a flac"), ("mp3", "-c:a mp3 -ar 44100")];
    for (codec, options) in sounds {
        let late = format!("{PICTURE} -itsoffset 0.5 {} {X264} {options}", tone("1"));
        let early = format!("-itsoffset 0.52 {PICTURE} {} {X264} {options}", tone("2"));
        for (name, arguments, wanted) in [("late", late, (0.5, 1.5)), ("early", early, (0.0, 1.48))] {
            let input = make(clips.path(), &format!("{name}-{codec}.mkv"), &arguments);
            let prepared = prepare(&input, &clips.path().join(format!("{name}-{codec}.mp4")));
            let found = heard(&prepared.path);
            println!("{name} {codec}: {found:.3?}, audio {}", prepared.audio.as_str());
            assert!((found.0 - wanted.0).abs() < 0.005, "{name} {codec}: {found:?}");
            assert!((found.1 - wanted.1).abs() < 0.005, "{name} {codec}: {found:?}");
            check(name, &prepared, 2.0);
        }
    }
}

#[test]
fn what_is_damaged_is_prepared_or_refused() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let outputs = directory();
    let both = "-f lavfi -i testsrc2=s=320x240:r=25:d=3 -f lavfi -i sine=440:d=3";
    let kinds = [
        ("mp4", format!("{X264} {AAC} -movflags +faststart")),
        ("ts", "-c:v mpeg2video -c:a mp2".to_owned()),
        ("mkv", format!("{X264} -bf 2 -c:a libopus")),
        ("avi", "-c:v mpeg4 -c:a mp3".to_owned()),
    ];
    let whole = kinds.map(|(kind, options)| {
        let file = make(clips.path(), &format!("whole.{kind}"), &format!("{both} {options}"));
        (kind, std::fs::read(file).expect("it was made"))
    });
    // A generator of its own, so that a failure comes again.
    let mut state = 7u64;
    let mut below = move |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % limit
    };
    let (mut done, mut checked) = (0, 0);
    for number in 0..40 {
        let (kind, mut bytes) = whole[number % whole.len()].clone();
        if number % 3 == 0 {
            bytes.truncate(200 + below(bytes.len() - 200));
        }
        for _ in 0..[1, 5, 50, 400][number / 4 % 4] {
            let place = below(bytes.len());
            bytes[place] ^= 1 << below(8);
        }
        let input = clips.path().join(format!("damaged-{number}.{kind}"));
        std::fs::write(&input, bytes).expect("there is room");
        let output = outputs.path().join(format!("{number}.mp4"));
        match crate::preparing(&input, &output).run(|_| {}, &Interrupt::new()) {
            Ok(prepared) => {
                done += 1;
                // What is copied is not decoded: damage that only a decoder sees stays in it.
                if [prepared.video, prepared.audio].contains(&Copied) {
                    continue;
                }
                let length = prepared.facts.video.as_ref().expect("a picture").length.as_secs_f64();
                check(&format!("{number}.{kind}"), &prepared, length);
                checked += 1;
            }
            Err(error) => {
                println!("{number}.{kind}: {}", flowcast::error::chain(&error));
                assert!(
                    matches!(error, flowcast::Error::Media(_) | flowcast::Error::InputUnusable { .. }),
                    "{number}.{kind}: {error:?}"
                );
            }
        }
    }
    println!("{done} of 40 damaged files prepared, {checked} of them encoded");
    assert_eq!(names(outputs.path()).len(), done, "nothing is left of the others");
    assert!(done >= 30 && checked >= 20, "only {done} and {checked}");
}
