//! What fails on the way leaves what was there, and says what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use flowcast::av::Interrupt;
use flowcast::prepare::{PrepareProgress, PrepareStage, Prepared};
use flowcast::{Error, EventKind, Prepare};

use crate::{names, preparing, quickly};
use kit::{Clip, Need, PATIENCE, SmallDisk, directory, make, need, wait_until};

/// A clip that takes some seconds to encode.
fn long_clip(directory: &Path) -> std::path::PathBuf {
    let clip = "-f lavfi -i testsrc2=s=640x360:r=30:d=60 -f lavfi -i sine=440:d=60";
    make(directory, "long.mp4", &format!("{clip} -c:v mpeg4 -q:v 2 -g 300 -c:a aac"))
}

fn fails(prepare: &Prepare) -> Error {
    prepare.run(|_| {}, &Interrupt::new()).map(|prepared| prepared.path).expect_err("it cannot work")
}

/// Runs it and cancels it from another thread at this stage, once `when` says so.
fn cancelled(prepare: &Prepare, when: impl Fn(&PrepareProgress) -> bool) -> Result<Prepared, Error> {
    let cancel = Interrupt::new();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let handle = cancel.clone();
        scope.spawn(move || {
            if receiver.recv().is_ok() {
                handle.cancel();
            }
        });
        let done = prepare.run(
            |progress| {
                if when(progress) {
                    let _ = sender.send(());
                }
            },
            &cancel,
        );
        drop(sender);
        done
    })
}

#[test]
fn cancelled_at_any_stage_nothing_is_left() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let (clips, outputs) = (directory(), directory());
    let input = long_clip(clips.path());
    let output = outputs.path().join("out.mp4");
    fs::write(&output, "the old one").expect("there is room");
    let prepare = preparing(&input, &output);
    let early = cancelled(&prepare, |progress| progress.stage == PrepareStage::Scanning);
    let midway = cancelled(&prepare, |progress| progress.frames > 30);
    for done in [early, midway] {
        let error = done.expect_err("it was cancelled");
        assert!(matches!(error, Error::Cancelled { .. }) && error.code() == "CANCELLED", "{error:?}");
        assert_eq!(names(outputs.path()), ["out.mp4"]);
        assert_eq!(fs::read(&output).expect("it is there"), b"the old one");
    }
    let cancel = Interrupt::new();
    cancel.cancel();
    assert!(matches!(prepare.run(|_| {}, &cancel), Err(Error::Cancelled { .. })));
}

#[test]
fn progress_rises_to_the_end() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let (clips, outputs) = (directory(), directory());
    let input = long_clip(clips.path());
    let mut told = Vec::new();
    let prepare = preparing(&input, &outputs.path().join("out.mp4"));
    let prepared = prepare.run(|progress| told.push(*progress), &Interrupt::new()).expect("it works");
    let (first, last) = (told.first().expect("it is told"), told.last().expect("it is told"));
    assert_eq!((first.stage, last.stage), (PrepareStage::Scanning, PrepareStage::Finishing));
    assert!(told.len() > 4, "{}", told.len());
    assert!(told.windows(2).all(|pair| pair[0].percent() <= pair[1].percent()));
    assert_eq!(last.frames, prepared.facts.video.as_ref().expect("a picture").packets);
    assert!(
        (last.done.as_secs_f64() - 60.0).abs() < 0.1 && last.total >= Duration::from_secs(59),
        "{last:?}"
    );
}

#[test]
fn a_full_disk() {
    let Some(disk) = SmallDisk::mount().filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clips = directory();
    let input = long_clip(clips.path());
    let output = disk.path().join("out.mp4");
    fs::write(&output, "the old one").expect("there is room for that");
    let error = fails(&preparing(&input, &output).crf(5.0));
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert_eq!(names(disk.path()), ["out.mp4"]);
    assert_eq!(fs::read(&output).expect("it is there"), b"the old one");
    // What is copied fills it as well.
    let clip = Clip { seconds: 20, size: (640, 360), ..Clip::default() }.make(clips.path(), "fits.mp4");
    assert!(fs::metadata(&clip).expect("it is there").len() > 1 << 20, "it has to be too large");
    assert!(matches!(fails(&preparing(&clip, &output)), Error::DiskFull { .. }));
    assert_eq!(names(disk.path()), ["out.mp4"]);
}

#[test]
fn places_that_cannot_be_written() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let input = Clip::default().make(clips.path(), "clip.mp4");
    for output in [clips.path().join("none/out.mp4"), clips.path().to_owned(), "/proc/out.mp4".into()] {
        let error = fails(&preparing(&input, &output));
        assert!(matches!(error, Error::OutputUnwritable { .. }), "{}: {error:?}", output.display());
        assert!(!error.is_retryable());
    }
    if let Some(disk) = SmallDisk::mount() {
        disk.make_read_only();
        let error = fails(&preparing(&input, &disk.path().join("out.mp4")));
        assert_eq!(error.code(), "OUTPUT_UNWRITABLE", "{error:?}");
    }
    let closed = directory();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o500)).expect("it is ours");
    let open = prepare_as_user(&input, &closed.path().join("out.mp4"));
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    if let Some(error) = open {
        assert!(matches!(error, Error::OutputUnwritable { .. }), "{error:?}");
    }
    assert_eq!(names(closed.path()), [""; 0]);
}

/// Root may write anywhere, so it is not asked.
fn prepare_as_user(input: &Path, output: &Path) -> Option<Error> {
    (!rustix::process::geteuid().is_root()).then(|| fails(&preparing(input, output)))
}

#[test]
fn inputs_of_which_nothing_can_be_made() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let output = clips.path().join("out.mp4");
    fs::write(&output, "the old one").expect("there is room");
    let sound = make(clips.path(), "sound.mp3", "-f lavfi -i sine=440:d=2 -c:a mp3");
    let text = clips.path().join("text.mp4");
    fs::write(&text, "no media at all, ".repeat(100)).expect("there is room");
    let whole = fs::read(Clip::default().make(clips.path(), "clip.mp4")).expect("it was made");
    let beheaded = clips.path().join("beheaded.mp4");
    // Its index is at the end, and lost.
    fs::write(&beheaded, &whole[..whole.len() / 2]).expect("there is room");
    let same = |link: &str| {
        let link = clips.path().join(link);
        std::os::unix::fs::symlink("clip.mp4", &link).expect("a new link");
        link
    };
    let cases = [
        (sound, "INPUT_UNUSABLE"),
        (clips.path().join("none.mp4"), "INPUT_NOT_FOUND"),
        (clips.path().to_owned(), "INPUT_NOT_A_FILE"),
        (text, "INPUT_INVALID"),
        (beheaded, "INPUT_INVALID"),
    ];
    for (input, code) in cases {
        let error = fails(&preparing(&input, &output));
        println!("{}: {}", input.display(), flowcast::error::chain(&error));
        assert_eq!(error.code(), code, "{error:?}");
    }
    let clip = clips.path().join("clip.mp4");
    for output in [clip.clone(), same("link.mp4"), clips.path().join(".").join("clip.mp4")] {
        assert_eq!(fails(&preparing(&clip, &output)).code(), "CONFIG_INVALID");
    }
    assert_eq!(fs::read(&clip).expect("it is there"), whole);
    assert_eq!(fs::read(&output).expect("it is there"), b"the old one");
    let mut odd = quickly();
    odd.size = Some((321, 240));
    assert_eq!(fails(&Prepare::new(&clip, &output).encoding(odd)).code(), "CONFIG_INVALID");
    for crf in [f32::NAN, 0.0, 52.0] {
        assert_eq!(fails(&preparing(&clip, &output).crf(crf)).code(), "CONFIG_INVALID", "{crf}");
    }
    assert!(!names(clips.path()).iter().any(|name| name.ends_with(".part")));
}

#[test]
fn a_result_that_is_refused_is_not_kept() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let input = Clip::default().make(clips.path(), "clip.mp4");
    let output = clips.path().join("out.mp4");
    fs::write(&output, "the old one").expect("there is room");
    // Keyframes that are too far apart, because that was asked for.
    let mut encoding = quickly();
    encoding.gop = Duration::from_secs(10);
    encoding.frame_rate = Some(flowcast::encode::FrameRate::whole(25));
    let long = make(clips.path(), "long.mp4", "-f lavfi -i testsrc2=s=320x240:r=25:d=12 -c:v mpeg4 -g 300");
    let platform = || {
        let mut platform = flowcast::Platform::youtube();
        // What is settled keeps to this, what is judged does not.
        platform.gop_max = None;
        platform
    };
    let error = fails(&Prepare::new(&long, &output).platform(platform()).encoding(encoding));
    let Error::ResultRefused { verdict, .. } = &error else { panic!("{error:?}") };
    assert!(verdict.has(flowcast::verdict::ReasonCode::GopSizeLong), "{verdict:?}");
    assert!(error.to_string().contains("gopSizeLong"), "{error}");
    assert_eq!(fs::read(&output).expect("it is there"), b"the old one");
    assert!(!names(clips.path()).iter().any(|name| name.ends_with(".part")));
    assert!(preparing(&input, &output).run(|_| {}, &Interrupt::new()).is_ok());
}

#[test]
fn an_encoder_that_does_not_work_is_replaced_unless_that_is_not_wanted() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let input = make(clips.path(), "old.avi", "-f lavfi -i testsrc2=s=320x240:r=25:d=1 -c:v mpeg4");
    let output = clips.path().join("out.mp4");
    let mut encoding = quickly();
    encoding.encoder = flowcast::encode::EncoderChoice::Named("h264_none".to_owned());
    let with = |encoding| Prepare::new(&input, &output).encoding(encoding);
    let prepared = with(encoding.clone()).run(|_| {}, &Interrupt::new()).expect("software does it");
    assert_eq!(prepared.encoder.as_deref(), Some("libx264"));
    let told =
        |event: &EventKind| matches!(event, EventKind::EncoderChanged { from, .. } if from == "h264_none");
    assert!(prepared.notices.iter().any(told), "{:?}", prepared.notices);
    encoding.fallback = Some(false);
    assert_eq!(fails(&with(encoding)).code(), "ENCODER_FAILED");
}

#[test]
fn two_at_once_of_one_output_both_end_well() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let clips = directory();
    let input = make(clips.path(), "old.avi", "-f lavfi -i testsrc2=s=320x240:r=25:d=4 -c:v mpeg4");
    let outputs = directory();
    let output = outputs.path().join("out.mp4");
    std::thread::scope(|scope| {
        let both =
            [(); 2].map(|()| scope.spawn(|| preparing(&input, &output).run(|_| {}, &Interrupt::new())));
        both.into_iter().for_each(|one| {
            one.join().expect("no panic").expect("it works");
        });
    });
    assert!(wait_until(PATIENCE, || names(outputs.path()) == ["out.mp4"]), "{:?}", names(outputs.path()));
}
