//! Files whose sequence headers change within: what is heard and seen of every lap, and of the items that follow, decodes.

use flowcast::{Config, EventKind, Events, Output, Playlist, ReelStore, Source, StreamHandle};
use kit::rig::engine;
use kit::{Clip, Need, PATIENCE, Peer, directory, need, run, text, wait_until};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENCODING: Duration = Duration::from_secs(60);

/// A second of picture and sound of this size.
fn clip(directory: &Path, name: &str, size: (u32, u32)) -> PathBuf {
    Clip { seconds: 1, b_frames: 0, size, ..Clip::default() }.make(directory, name)
}

/// Two FLV files as one, as a recording that was appended to: the second part brings headers of its own.
fn appended(directory: &Path, name: &str) -> PathBuf {
    const FILE_HEADER: usize = 13;
    let parts = [("part1.flv", (160, 90)), ("part2.flv", (120, 160))];
    let [mut whole, second] =
        parts.map(|(part, size)| std::fs::read(clip(directory, part, size)).expect("a clip"));
    whole.extend_from_slice(&second[FILE_HEADER..]);
    let file = directory.join(name);
    std::fs::write(&file, whole).expect("there is room");
    file
}

/// Two transport streams as one, as a capture card leaves them: parameter sets in the stream change.
fn joined(directory: &Path, name: &str) -> PathBuf {
    let parts = [("part1.ts", (160, 90)), ("part2.ts", (120, 160))];
    let whole: Vec<u8> = parts
        .into_iter()
        .flat_map(|(part, size)| std::fs::read(clip(directory, part, size)).expect("a clip"))
        .collect();
    let file = directory.join(name);
    std::fs::write(&file, whole).expect("there is room");
    file
}

/// ADTS that goes from stereo to 5.1, as broadcasts do.
fn adts(directory: &Path) -> PathBuf {
    let tone = |name: &str, filter: &str| {
        let file = directory.join(name);
        let source = "sine=frequency=440:sample_rate=48000:duration=0.8";
        let arguments = ["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source];
        let arguments =
            arguments.into_iter().chain(["-af", filter, "-c:a", "aac", "-b:a", "96k", text(&file)]);
        run("ffmpeg", arguments, ENCODING);
        std::fs::read(&file).expect("what ffmpeg made")
    };
    let mut whole = tone("stereo.aac", "aformat=channel_layouts=stereo");
    whole.extend(tone("surround.aac", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0"));
    let file = directory.join("changing.aac");
    std::fs::write(&file, whole).expect("there is room");
    file
}

/// That sound under a picture, in a transport stream.
fn surround(directory: &Path, name: &str) -> PathBuf {
    let picture = Clip { seconds: 2, b_frames: 0, audio: false, size: (160, 90), ..Clip::default() }
        .make(directory, "picture.mp4");
    let (sound, file) = (adts(directory), directory.join(name));
    let arguments = ["-nostdin", "-v", "error", "-y", "-i", text(&picture), "-i", text(&sound), "-c", "copy"];
    run("ffmpeg", arguments.into_iter().chain([text(&file)]), ENCODING);
    file
}

/// Waits until as many events as these came.
#[track_caller]
fn wait_events(events: &Events, count: usize, wanted: impl Fn(&EventKind) -> bool) {
    let mut seen = 0;
    let mut told = Vec::new();
    let all = wait_until(3 * PATIENCE, || {
        while let Some(event) = events.try_next() {
            seen += usize::from(wanted(&event.kind));
            told.push(format!("{:?}", event.kind));
        }
        seen >= count
    });
    assert!(all, "{seen} of {count}: {told:#?}");
}

/// What decoders say of a recording's picture and sound.
fn complaints(file: &Path) -> String {
    let arguments = ["-nostdin", "-v", "error", "-i", text(file), "-f", "null", "-"];
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments);
    ffmpeg.wait_success(ENCODING);
    // Where the size changes, ffmpeg's own output counts pictures twice and says so.
    let of_decoder =
        |line: &&str| ["[h264", "[aac", "Error while decoding"].iter().any(|by| line.starts_with(by));
    ffmpeg.errors().lines().filter(of_decoder).collect::<Vec<_>>().join("\n")
}

/// A recording of what `source` gives until `count` events of a kind came; and one of the second half.
fn record(
    mode: &str,
    directory: &Path,
    source: Source,
    count: usize,
    wanted: impl Fn(&EventKind) -> bool + Copy,
) -> [PathBuf; 2] {
    let files = ["whole", "later"].map(|part| directory.join(format!("{mode}-{part}.flv")));
    let reels = (mode == "reel").then(|| ReelStore::new(directory.join("reels")));
    let engine = engine(|config: &mut Config| config.reels = reels);
    let events = engine.events();
    let live: StreamHandle = engine.stream(source).record(&files[0]).start().expect("the stream starts");
    wait_events(&events, count / 2, wanted);
    live.add_output(Output::record(&files[1])).expect("another output");
    wait_events(&events, count - count / 2, wanted);
    live.stop(PATIENCE).expect("it ran");
    files
}

/// Laps or items until there were `count`, in both modes, decode.
#[track_caller]
fn assert_decodes(
    what: &str,
    directory: &Path,
    source: &Source,
    count: usize,
    wanted: fn(&EventKind) -> bool,
) {
    let play = |mode| record(mode, directory, source.clone(), count, wanted);
    let [direct, reel] = std::thread::scope(|scope| {
        let modes = ["direct", "reel"].map(|mode| scope.spawn(move || play(mode)));
        modes.map(|mode| mode.join().expect("both modes play"))
    });
    for file in direct.iter().chain(&reel) {
        assert_eq!(complaints(file), "", "{what} {}", file.display());
    }
}

fn is_lap(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Looped { .. })
}

fn is_item(kind: &EventKind) -> bool {
    matches!(kind, EventKind::ItemStarted { .. })
}

#[test]
fn a_recording_that_was_appended_to_decodes_in_every_lap() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = appended(directory.path(), "appended.flv");
    assert_decodes("appended", directory.path(), &Source::file(file).looped(), 2, is_lap);
}

#[test]
fn joined_transport_streams_decode_in_every_lap() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = joined(directory.path(), "joined.ts");
    assert_decodes("joined", directory.path(), &Source::file(file).looped(), 2, is_lap);
}

#[test]
fn a_track_of_two_sample_descriptions_decodes_in_every_lap() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/header_not_restored/two_stsd.mp4");
    if !file.is_file() || !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    assert_decodes("two descriptions", directory.path(), &Source::file(file).looped(), 2, is_lap);
}

#[test]
fn sound_that_becomes_surround_decodes_in_every_lap() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = surround(directory.path(), "surround.ts");
    assert_decodes("surround", directory.path(), &Source::file(file).looped(), 2, is_lap);
}

#[test]
fn ordinary_items_behind_one_that_changes_decode() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let path = directory.path();
    let items = [
        appended(path, "1.flv"),
        clip(path, "2.mp4", (160, 90)),
        surround(path, "3.ts"),
        path.join("part1.flv"),
    ];
    let list = Source::playlist(Playlist::files(items));
    assert_decodes("list", path, &list, 6, is_item);
}

#[test]
fn sound_that_changes_decodes_under_a_picture() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let path = directory.path();
    let picture = clip(path, "picture.mp4", (160, 90));
    let source = Source::video(picture).looped().with_audio(Playlist::files([adts(path)]));
    assert_decodes("sound list", path, &source, 3, is_item);
}
