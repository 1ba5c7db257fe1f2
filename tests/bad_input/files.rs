//! Files that cannot be played.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::av::{Error as AvError, SampleSpec, sample_clip};
use flowcast::{Engine, Error, Output, Source};

use crate::{Beside, chain};
use kit::rig::{Known, engine, threads_and_descriptors};
use kit::{Need, box_at, make, need, run, wait_until};

/// Every refusal, none of which waits for anything, comes within this.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Starting a stream of the file is refused; gives the error. Says what the program sees.
fn refused(engine: &Engine, clip: &Known, what: &str, file: &Path) -> Error {
    let recording = clip.beside("refused.flv");
    fs::write(&recording, "what was recorded yesterday").expect("a file in the directory");
    let running = engine.running();
    let began = Instant::now();
    let started = engine.stream(Source::file(file).looped()).to(Output::record(&recording)).start();
    let took = began.elapsed();
    let Err(error) = started else { panic!("{what}: it started") };
    println!("{what}: {} after {took:?}: {}", error.code(), chain(&error));
    assert!(took <= AT_ONCE, "{what}: refused only after {took:?}");
    assert!(
        chain(&error).contains(file.file_name().expect("a name").to_str().expect("UTF-8")),
        "{what}: {error}"
    );
    assert_eq!(engine.running(), running, "{what}: it keeps a place");
    let kept = fs::read(&recording).expect("the recording of yesterday");
    assert_eq!(kept, b"what was recorded yesterday", "{what}: a refused start replaced a recording");
    error
}

fn media(error: &Error) -> &AvError {
    let Error::Media(error) = error else { panic!("{error:?}") };
    error
}

#[test]
fn files_that_are_no_media() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);
    let before = threads_and_descriptors();
    let file = |name: &str, content: &[u8]| {
        let path = clip.beside(name);
        fs::write(&path, content).expect("a file in the directory");
        path
    };

    let error = refused(&engine, &clip, "missing", &clip.beside("missing.mp4"));
    assert!(matches!(media(&error), AvError::NotFound { .. }));
    assert_eq!((error.code(), error.is_retryable()), ("INPUT_NOT_FOUND", false));

    let error = refused(&engine, &clip, "empty", &file("empty.mp4", b""));
    assert!(matches!(media(&error), AvError::Empty { .. }));
    assert_eq!((error.code(), error.is_retryable()), ("INPUT_EMPTY", false));

    let text = "It was a bright cold day in April, and the clocks were striking thirteen.\n".repeat(500);
    let error = refused(&engine, &clip, "text", &file("text.mp4", text.as_bytes()));
    assert!(matches!(error.code(), "INPUT_INVALID" | "FORMAT_UNSUPPORTED"), "{error:?}");
    assert!(!error.is_retryable());

    let noise: Vec<u8> =
        (0..200_000u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect();
    let error = refused(&engine, &clip, "noise", &file("noise.mp4", &noise));
    assert!(
        matches!(error.code(), "INPUT_INVALID" | "FORMAT_UNSUPPORTED" | "NO_PLAYABLE_TRACK"),
        "{error:?}"
    );

    let error = refused(&engine, &clip, "directory", clip.directory.path());
    assert!(matches!(media(&error), AvError::NotAFile { kind: "directory", .. }));
    assert_eq!(error.code(), "INPUT_NOT_A_FILE");

    let error = refused(&engine, &clip, "/dev/zero", Path::new("/dev/zero"));
    assert!(matches!(media(&error), AvError::NotAFile { kind: "device", .. }));

    let fifo = clip.beside("fifo.mp4");
    run("mkfifo", [&fifo], AT_ONCE);
    let error = refused(&engine, &clip, "FIFO", &fifo);
    assert!(matches!(media(&error), AvError::NotAFile { kind: "FIFO", .. }));

    let playlist =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", clip.file.display());
    let error = refused(&engine, &clip, "HLS playlist", &file("playlist.mp4", playlist.as_bytes()));
    assert!(matches!(error.code(), "FORMAT_UNSUPPORTED" | "PROTOCOL_REFUSED" | "INPUT_INVALID"), "{error:?}");

    let same = wait_until(Duration::from_secs(5), || {
        let now = threads_and_descriptors();
        now.0 <= before.0 && now.1 <= before.1
    });
    // Other tests of this program have threads and descriptors, too: this says something only where none runs.
    println!("threads and descriptors as before: {same}");
    beside.assert_unharmed(&clip);
}

fn cut(file: &Path, to: PathBuf, bytes: usize) -> PathBuf {
    let content = fs::read(file).expect("a file that can be read");
    fs::write(&to, &content[..bytes]).expect("a file in the directory");
    to
}

/// Where the box of this type begins.
fn find_box(file: &Path, kind: &[u8; 4]) -> usize {
    let content = fs::read(file).expect("a file that can be read");
    box_at(&content, kind)
}

#[test]
fn files_that_are_cut_off() {
    let clip = Known::made(&SampleSpec {
        seconds: 4.0,
        gop_frames: 12,
        bitrate: 4_000_000,
        ..SampleSpec::default()
    });
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);

    // The index comes last: nothing can be played without it.
    assert!(find_box(&clip.file, b"mdat") < find_box(&clip.file, b"moov"));
    let moov = find_box(&clip.file, b"moov");
    for (what, bytes) in [("no moov", moov), ("half the moov", moov + 400), ("32 bytes", 32), ("4 bytes", 4)]
    {
        let file = cut(&clip.file, clip.beside("cut.mp4"), bytes);
        let error = refused(&engine, &clip, what, &file);
        // A moov that is cut off may still be read, without the tracks it was to describe.
        let expected = if what == "half the moov" { "NO_PLAYABLE_TRACK" } else { "INPUT_INVALID" };
        assert!(error.code() == "INPUT_INVALID" || error.code() == expected, "{what}: {error:?}");
        assert!(matches!(media(&error), AvError::InvalidData { .. } | AvError::NoPlayableTrack { .. }));
        assert!(!error.is_retryable(), "{what}");
    }
    beside.assert_unharmed(&clip);
}

#[test]
fn nothing_that_can_be_sent() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clip = Known::small();
    let engine = engine(|_| {});
    let beside = Beside::start(&engine, &clip);
    let file = make(
        clip.directory.path(),
        "vp9-vorbis.webm",
        "-f lavfi -t 1 -i testsrc2=size=160x90:rate=10 -f lavfi -t 1 -i sine \
         -c:v libvpx-vp9 -deadline realtime -c:a libvorbis",
    );
    let error = refused(&engine, &clip, "VP9 and Vorbis", &file);
    assert!(
        matches!(&error, Error::NoPlayableTrack { found, .. } if found.contains("vp9") && found.contains("vorbis"))
    );
    assert_eq!((error.code(), error.is_retryable()), ("NO_PLAYABLE_TRACK", false));

    // Of a file with both, what can be sent is sent, and the program is told what is left out.
    let mixed = clip.beside("mixed.mkv");
    let arguments = [
        "-nostdin",
        "-v",
        "error",
        "-i",
        clip.file.to_str().expect("UTF-8"),
        "-i",
        file.to_str().expect("UTF-8"),
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c",
        "copy",
        mixed.to_str().expect("UTF-8"),
    ];
    run("ffmpeg", arguments, Duration::from_secs(30));
    let events = engine.events();
    let recording = clip.beside("mixed.flv");
    let live =
        engine.stream(Source::file(&mixed)).record(&recording).start().expect("its picture can be sent");
    let skipped = kit::rig::wait_event(&events, AT_ONCE, |event| match &event.kind {
        flowcast::EventKind::TrackSkipped { track, reason } if event.stream == live.id() => {
            Some((*track, reason.clone()))
        }
        _ => None,
    });
    println!("skipped: {skipped:?}");
    assert_eq!(skipped.0, 1);
    live.stop(AT_ONCE).expect("it stops");
    beside.assert_unharmed(&clip);
}

#[test]
fn a_file_that_may_not_be_read() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let path = clip.beside("a\0b.mp4");
    let started = engine.stream(Source::file(&path)).record(clip.beside("out.flv")).start();
    assert_eq!(started.expect_err("a path with NUL").code(), "INVALID_ARGUMENT");
    if rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let locked = clip.beside("locked.mp4");
    sample_clip(&locked, &SampleSpec::default()).expect("a clip");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("its owner may");
    let started = engine.stream(Source::file(&locked)).record(clip.beside("out.flv")).start();
    assert_eq!(started.expect_err("it may not be read").code(), "INPUT_IO");
}

#[test]
fn a_sparse_file_of_a_hundred_gigabytes() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let path = clip.beside("sparse.mp4");
    let file = File::create(&path).expect("a file in the directory");
    file.set_len(100 << 30).expect("a sparse file");
    (&file).write_all(&[0, 0, 0, 24]).expect("it can be written");
    let error = refused(&engine, &clip, "100 GB of zeros", &path);
    assert!(matches!(error.code(), "INPUT_INVALID" | "FORMAT_UNSUPPORTED" | "TIMEOUT"), "{error:?}");
}
