//! Files that have to be encoded, looped, held against what the `ffmpeg` program decodes them to.
//!
//! Each picture of a file shows its number as eight black or white bars, which no encoder can blur: so one that is lost, shown
//! twice or out of order is seen.

use std::sync::Arc;

use flowcast_rtmp::flv::writer::FlvWriter;

use super::seams::tools::{Decoded, ffmpeg, need_ffmpeg};
use super::*;
use crate::transcode::{
    EncoderDefaults, Encoders, Encoding, FrameRate, LibavEncoders, Mode, Profile, Settling, Wish,
};

mod faults;
mod joined;
mod live;
mod scans;

/// Laps that are recorded whole.
const LAPS: usize = 4;

const WIDTH: usize = 160;
const HEIGHT: usize = 96;

fn recipes(mode: Mode, encoding: impl Into<Encoding>) -> Recipes {
    recipes_by(mode, encoding, Arc::new(LibavEncoders))
}

fn recipes_by(mode: Mode, encoding: impl Into<Encoding>, encoders: Arc<dyn Encoders>) -> Recipes {
    let defaults = EncoderDefaults { prefer_hardware: false, fallback: true };
    let settling =
        Settling::new(Wish { mode: Some(mode), encoding: encoding.into(), ..Wish::default() }, defaults);
    Recipes::encoded(Tracks::Both, settling, encoders)
}

/// Writes `count` pictures that show their numbers, as raw video.
fn numbered(directory: &Path, count: usize) {
    let mut pictures = Vec::new();
    for number in 0..count {
        let bars = (0..WIDTH).map(|x| if number >> (x * 8 / WIDTH) & 1 == 1 { 220 } else { 30 });
        let row: Vec<u8> = bars.collect();
        for y in 0..HEIGHT {
            // Something that moves, for the encoder to have work.
            let shade = ((y + number) % 16) as u8;
            pictures.extend(row.iter().map(|&pixel| pixel + shade));
        }
        pictures.extend(std::iter::repeat_n(128, WIDTH * HEIGHT / 2));
    }
    std::fs::write(directory.join("pictures.yuv"), pictures).expect("the directory is writable");
}

/// The numbers the pictures of a file show.
fn numbers(directory: &Path, name: &str) -> Vec<usize> {
    let (width, height) = (WIDTH, HEIGHT);
    ffmpeg(
        directory,
        &format!("-i {name} -map 0:v:0 -fps_mode passthrough -pix_fmt gray -f rawvideo shown.gray"),
    );
    let shown = std::fs::read(directory.join("shown.gray")).expect("it was written");
    assert_eq!(shown.len() % (width * height), 0, "pictures of another size");
    let read = |picture: &[u8]| {
        (0..8usize).fold(0, |number, bit| {
            let x = (2 * bit + 1) * width / 16;
            let light: usize = (0..height).map(|y| usize::from(picture[y * width + x])).sum();
            number | usize::from(light / height > 128) << bit
        })
    };
    shown.chunks_exact(width * height).map(read).collect()
}

/// A file that needs encoding.
struct Case {
    name: &'static str,
    /// Pictures of the file.
    pictures: usize,
    /// Options of the pictures as input, and of what they are made to.
    video: &'static str,
    /// The sound's input and codec; none if empty.
    sound: &'static str,
    /// Options of a second call, which makes the file of what the first one made.
    then: &'static str,
    encoding: fn(&mut Encoding),
    /// Which pictures are shown in a lap.
    shown: fn(usize) -> Vec<usize>,
    /// Frames a second.
    rate: f64,
}

const TONE: &str = "-f lavfi -i aevalsrc=exprs='0.8*sin(2*PI*1000*t)*between(mod(t,2),0.5,0.6)'";

fn case(name: &'static str, video: &'static str, sound: &'static str) -> Case {
    Case {
        name,
        pictures: 60,
        video,
        sound,
        then: "",
        encoding: |_| {},
        shown: |count| (0..count).collect(),
        rate: 25.0,
    }
}

fn cases() -> Vec<Case> {
    vec![
        case("asp.avi", "-r 25|-c:v mpeg4 -bf 2 -b:v 1M", ":s=44100:c=stereo:d=2.4|-c:a libmp3lame"),
        case(
            "vp9.webm",
            "-r 25|-c:v libvpx-vp9 -b:v 500k -deadline realtime -cpu-used 8",
            ":s=48000:c=stereo:d=2.4|-c:a libopus",
        ),
        case(
            "hevc.mp4",
            "-r 25|-c:v libx265 -preset ultrafast -x265-params log-level=none",
            ":s=48000:c=stereo:d=2.4|-c:a aac",
        ),
        case(
            "ten-bit.mkv",
            "-r 25|-c:v libx264 -pix_fmt yuv420p10le -bf 2",
            ":s=48000:c=stereo:d=2.4|-c:a aac",
        ),
        case(
            "full-chroma.mp4",
            "-r 25|-c:v libx264 -pix_fmt yuv444p -bf 2",
            ":s=48000:c=stereo:d=2.4|-c:a aac",
        ),
        case(
            "fields.m2ts",
            "-r 25|-c:v mpeg2video -flags +ildct+ilme -top 1 -b:v 2M",
            ":s=48000:c=stereo:d=2.4|-c:a mp2",
        ),
        case("mute.avi", "-r 25|-c:v mpeg4 -b:v 1M", ""),
        case("surround.mkv", "-r 25|-c:v mpeg4 -b:v 1M", ":s=48000:c=5.1:d=2.4|-c:a ac3"),
        Case {
            // ffmpeg leaves a place free in the file, for the delay of its MP3.
            shown: |count| std::iter::once(0).chain(0..count).collect(),
            ..case("mono.avi", "-r 25|-c:v mpeg4 -b:v 1M", ":s=48000:c=mono:d=2.4|-c:a libmp3lame")
        },
        Case {
            rate: 30_000.0 / 1001.0,
            ..case(
                "ntsc.mkv",
                "-r 30000/1001|-c:v mpeg4 -b:v 1M",
                ":s=44100:c=stereo:d=2.002|-c:a libmp3lame",
            )
        },
        Case {
            // Lies on its side in the file.
            then: "-c copy -metadata:s:v:0 rotate=90",
            ..case(
                "turned.mp4",
                "-r 25|-vf transpose=clock -c:v mpeg4 -b:v 1M",
                ":s=48000:c=stereo:d=2.4|-c:a aac",
            )
        },
        Case {
            encoding: |encoding| encoding.frame_rate = Some(FrameRate::whole(25)),
            shown: |count| (0..count).step_by(2).collect(),
            ..case("fifty.mkv", "-r 50|-c:v mpeg4 -b:v 1M", ":s=48000:c=stereo:d=1.2|-c:a libmp3lame")
        },
        Case {
            // After the twentieth, only each third picture; the last one is as long as the file says.
            shown: |count| (0..count - 2).map(|n| if n > 20 { n - n % 3 } else { n }).collect(),
            ..case(
                "vfr.mp4",
                "-r 25|-vf select='not(mod(n,3)*gt(n,20))' -fps_mode vfr -enc_time_base 1:30000 -c:v mpeg4 -b:v 1M",
                ":s=48000:c=stereo:d=2.4|-c:a aac",
            )
        },
        Case {
            encoding: |encoding| *encoding = Encoding::new(Profile::High),
            ..case("high.mkv", "-r 25|-c:v mpeg4 -bf 2 -b:v 1M", ":s=44100:c=stereo:d=2.4|-c:a libmp3lame")
        },
    ]
}

fn make(directory: &Path, case: &Case) {
    numbered(directory, case.pictures);
    let (input, codec) = case.video.split_once('|').expect("input and codec");
    let (tone, sound) = match case.sound.split_once('|') {
        Some((format, codec)) => (format!("{TONE}{format} "), codec.to_owned()),
        None => (String::new(), "-an".to_owned()),
    };
    let picture = format!("-f rawvideo -pix_fmt yuv420p -s {WIDTH}x{HEIGHT} {input} -i pictures.yuv");
    let made = if case.then.is_empty() { case.name } else { "first.mp4" };
    ffmpeg(directory, &format!("{picture} {tone}{codec} -g 12 {sound} {made}"));
    if !case.then.is_empty() {
        ffmpeg(directory, &format!("-i {made} {} {}", case.then, case.name));
    }
}

/// Records some laps, and a little more, as FLV.
fn record(played: &mut Unpaced, directory: &Path) -> Vec<Tag> {
    let laps = |played: &Unpaced| {
        played.notices.iter().filter(|notice| matches!(notice, EventKind::Looped { .. })).count()
    };
    let mut tags = Vec::new();
    while laps(played) < LAPS {
        tags.append(&mut played.play(100));
    }
    tags.append(&mut played.play(500));
    write(&tags, directory);
    tags
}

fn write(tags: &[Tag], directory: &Path) {
    let mut file = FlvWriter::header(true, true).to_vec();
    for tag in tags {
        file.extend_from_slice(&FlvWriter::tag_header(tag).expect("it fits into FLV"));
        file.extend_from_slice(&tag.body.to_bytes());
        file.extend_from_slice(&FlvWriter::tag_trailer(tag));
    }
    std::fs::write(directory.join("recording.flv"), file).expect("the directory is writable");
}

#[test]
fn what_is_encoded_loops_without_a_picture_lost_or_doubled() {
    if !need_ffmpeg() {
        return;
    }
    for case in cases() {
        let scratch = Scratch::new();
        let directory = scratch.0.path();
        make(directory, &case);
        for (way, store) in [("direct", None), ("reel", Some(scratch.store()))] {
            let who = format!("{} {way}", case.name);
            let mut encoding = Encoding::new(Profile::Ultra);
            (case.encoding)(&mut encoding);
            let supply = supply_of(store, recipes(Mode::Encode, encoding));
            let mut played = Unpaced::looped_as(&directory.join(case.name), supply, false);
            assert_eq!(played.sequencer.mode().to_string(), way);
            let tags = record(&mut played, directory);
            check(&who, &case, &tags, directory);
        }
    }
}

fn check(who: &str, case: &Case, tags: &[Tag], directory: &Path) {
    let shown = numbers(directory, "recording.flv");
    let lap = (case.shown)(case.pictures);
    assert!(shown.len() >= LAPS * lap.len(), "{who}: {} pictures", shown.len());
    for (number, shown) in shown.chunks_exact(lap.len()).enumerate() {
        assert_eq!(shown, lap, "{who}: lap {number}");
    }
    let has_sound = !case.sound.is_empty();
    let headers: Vec<_> = tags.iter().filter(|tag| tag.is_sequence_header()).map(|tag| tag.kind).collect();
    assert_eq!(headers.len(), 1 + usize::from(has_sound), "{who}: {headers:?}");
    let decoded = Decoded::of(directory, "recording.flv", "", has_sound, true);
    assert_eq!(decoded.complaints, "", "{who}");
    let step = 1000.0 / case.rate;
    for pair in times(tags, TagKind::Video).windows(2) {
        assert!(((pair[1] - pair[0]) as f64 - step).abs() < 1.0, "{who}: pictures at {pair:?}");
    }
    let first = tags.iter().position(|tag| tag.is_video() && !tag.is_sequence_header());
    assert!(first.is_some_and(|first| tags[first].is_keyframe()), "{who}");
    if !has_sound {
        return;
    }
    let frame = 1_024_000.0 / f64::from(decoded.rate);
    for pair in times(tags, TagKind::Audio).windows(2) {
        assert!(((pair[1] - pair[0]) as f64 - frame).abs() <= 1.5, "{who}: sound at {pair:?}");
    }
    // A beep in each lap, as far from its pictures as in the first one.
    let zero = decoded.frames[0].pts as f64 / 90_000.0;
    let length = lap.len() as f64 / case.rate;
    let beeps = decoded.beeps();
    assert!(beeps.len() >= LAPS, "{who}: beeps at {beeps:?}");
    let off: Vec<_> = beeps
        .iter()
        .take(LAPS)
        .enumerate()
        .map(|(lap, beep)| (beep - zero - lap as f64 * length) * 1000.0)
        .collect();
    // Both decoded by ffmpeg, whose clock begins with the first picture.
    let file = Decoded::of(directory, case.name, "", true, true);
    let in_file = file.beeps()[0] * 1000.0 - file.frames[0].pts as f64 / 90.0;
    eprintln!("{who}: {in_file:.1} ms in the file, {off:.1?}");
    assert!((off[0] - in_file).abs() < 3.0, "{who}: the first beep is {:.1} ms off", off[0] - in_file);
    for off in &off {
        assert!(
            (off - in_file).abs() < frame / 2.0 + 3.0,
            "{who}: beeps at {off:.1} ms, {in_file} in the file"
        );
    }
}

#[test]
fn what_fits_is_copied_byte_by_byte_while_the_other_track_is_encoded() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let video = "-r 25|-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p";
    let case = case("mono.mkv", video, ":s=48000:c=mono:d=2.4|-c:a libmp3lame");
    make(directory, &case);
    let path = directory.join(case.name);
    let video = |recipes: Recipes| {
        let mut played = Unpaced::looped_as(&path, supply_of(None, recipes), false);
        let tags = record(&mut played, directory);
        (tags.iter().filter(|tag| tag.is_video()).map(|tag| tag.body.to_bytes()).collect::<Vec<_>>(), tags)
    };
    let (copied, _) = video(Recipes::copy(Tracks::Video, Carriage::Plain));
    let (beside, tags) = video(recipes(Mode::Auto, Profile::Default));
    let count = copied.len().min(beside.len());
    assert!(count > 60 * LAPS);
    assert!(copied[..count] == beside[..count], "the pictures are others");
    check("mono.mkv auto", &case, &tags, directory);
    let header = tags.iter().find(|tag| tag.is_audio()).expect("it has sound");
    assert!(header.is_sequence_header(), "AAC has a header, MP3 has none");
}

#[test]
fn a_hundred_laps_of_half_a_second_that_are_encoded_each_do_not_drift() {
    let scratch = Scratch::new();
    let spec = SampleSpec {
        width: 64,
        height: 36,
        fps: 30,
        seconds: 0.5,
        gop_frames: 15,
        audio: Some((44_100, 2)),
        ..SampleSpec::default()
    };
    let clip = scratch.clip("clip.mp4", &spec);
    let supply = supply_of(None, recipes(Mode::Encode, Profile::Ultra));
    let mut played = Unpaced::looped_as(&clip, supply, false);
    let (mut first, mut newest, mut counts) = ([0; 2], [0; 2], [0i64; 2]);
    while played.due < 110 * 500 {
        let tags = played.play(1000);
        for (slot, kind) in [TagKind::Video, TagKind::Audio].into_iter().enumerate() {
            for time in times(&tags, kind) {
                assert!(counts[slot] == 0 || time > newest[slot], "{kind:?} at {time}");
                if counts[slot] == 0 {
                    first[slot] = time;
                }
                (newest[slot], counts[slot]) = (time, counts[slot] + 1);
            }
        }
    }
    let laps = played.notices.iter().filter(|notice| matches!(notice, EventKind::Looped { .. })).count();
    assert!(laps >= 100, "{laps}");
    let [video, audio] = counts.map(|count| count - 1);
    let video = newest[0] - first[0] - video * 1000 / 30;
    let audio = newest[1] - first[1] - audio * 1_024_000 / 44_100;
    eprintln!("{laps} laps of half a second: pictures drift by {video} ms, sound by {audio} ms");
    assert!(video.abs() <= 1 && audio.abs() <= 1, "{video} and {audio} ms");
}

#[test]
fn files_of_a_list_become_one_stream() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let first = case("first.mkv", "-r 25|-c:v mpeg4 -bf 2 -b:v 1M", ":s=44100:c=stereo:d=2.4|-c:a aac");
    // Another size, frame rate and sound: the first one's are kept.
    let second = Case {
        pictures: 72,
        ..case(
            "second.webm",
            "-r 30|-vf scale=320:192 -c:v libvpx-vp9 -b:v 800k -deadline realtime -cpu-used 8",
            ":s=48000:c=mono:d=2.4|-c:a libopus",
        )
    };
    let files = [&first, &second].map(|case| {
        make(directory, case);
        directory.join(case.name)
    });
    // It is played without a clock, so the next item cannot be there in time.
    let list = Playlist::files(files).nothing_plays(crate::playlist::NothingPlays::Wait);
    for store in [None, Some(scratch.store())] {
        let supply = supply_of(store, recipes(Mode::Encode, Profile::Ultra));
        // Without a clock it would outrun reels that are still being made.
        while supply.store.is_some()
            && !list.items().iter().all(|item| {
                let ready = supply.ready(&item.path, Use::Item, Duration::ZERO).expect("it can be played");
                ready.item.reel().is_some_and(|reel| reel.is_complete())
            })
        {
            std::thread::yield_now();
        }
        let lane = Lane::new(MetadataRole::Sends { companion: None }, None);
        let sequencer = Sequencer::new(lane, Program::list(list.cursor()), supply);
        let mut played = Unpaced::of(sequencer);
        played.still = Some(Instant::now());
        let tags = played.play(10_500);
        assert_eq!(tags.iter().filter(|tag| tag.is_sequence_header()).count(), 2, "one stream");
        let skipped = played.notices.iter().find(|notice| !matches!(notice, EventKind::ItemStarted { .. }));
        assert!(skipped.is_none(), "{skipped:?}");
        for pair in times(&tags, TagKind::Video).windows(2) {
            assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
        }
        for pair in times(&tags, TagKind::Audio).windows(2) {
            assert!((21..=25).contains(&(pair[1] - pair[0])), "sound at {pair:?}");
        }
        write(&tags, directory);
        let shown = numbers(directory, "recording.flv");
        // 72 pictures in 2.4 s are 60 of 25 a second: each sixth is left out.
        assert!(shown.len() > 240, "{}", shown.len());
        for round in shown.chunks_exact(120) {
            assert!(round[..60].iter().copied().eq(0..60), "{round:?}");
            assert!(round[60..].is_sorted() && round[60] == 0 && round[119] >= 70, "{round:?}");
            assert!(round[60..].windows(2).all(|pair| (1..=2).contains(&(pair[1] - pair[0]))), "{round:?}");
        }
    }
}

#[test]
fn a_file_that_changes_its_form_midway_stays_one_stream() {
    if !need_ffmpeg() {
        return;
    }
    let scratch = Scratch::new();
    let directory = scratch.0.path();
    let video = "-r 25|-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p";
    let first = case("first.ts", video, ":s=44100:c=stereo:d=2.4|-c:a aac");
    // Another size, shape, pixel format, profile and sound; and its clock begins anew.
    let second = case(
        "second.ts",
        "-r 25|-vf scale=320:192 -c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv422p",
        ":s=22050:c=mono:d=2.4|-c:a aac",
    );
    for case in [first, second] {
        make(directory, &case);
    }
    ffmpeg(directory, "-i concat:first.ts|second.ts -c copy joined.ts");
    let file = directory.join("joined.ts");
    let supply = supply_of(None, recipes(Mode::Encode, Profile::Ultra));
    let mut played = Unpaced::looped_as(&file, supply, false);
    let tags = record(&mut played, directory);
    assert_eq!(tags.iter().filter(|tag| tag.is_sequence_header()).count(), 2, "the headers never change");
    let keyframes = frames(&tags, TagKind::Video).into_iter().map(Tag::is_keyframe).collect::<Vec<_>>();
    // 120 pictures of 25 a second in GOPs of two seconds: the encoder does not notice where the form changes.
    let is_regular =
        keyframes.chunks(120).all(|lap| lap.iter().enumerate().all(|(at, key)| *key == (at % 50 == 0)));
    assert!(is_regular, "{keyframes:?}");
    let shown = numbers(directory, "recording.flv");
    for (number, lap) in shown.chunks_exact(120).enumerate() {
        assert!(lap.iter().copied().eq((0..60).chain(0..60)), "lap {number}: {lap:?}");
    }
    assert_eq!(Decoded::of(directory, "recording.flv", "", true, true).complaints, "");
    for pair in times(&tags, TagKind::Video).windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "pictures at {pair:?}");
    }
    for pair in times(&tags, TagKind::Audio).windows(2) {
        assert!((21..=25).contains(&(pair[1] - pair[0])), "sound at {pair:?}");
    }
}
