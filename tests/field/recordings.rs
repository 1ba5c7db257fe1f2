//! Recordings: what they are written over, what a killed process loses, what a full disk and large pictures cost.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowcast::av::Interrupt;
use flowcast::output::FileFormat;
use flowcast::{
    Engine, Error, EventKind, Existing, Output, OutputId, Playlist, Prepare, ReelStore, Source, StreamRef,
};

use kit::bystander::at_most;
use kit::rig::{Known, engine, outputs, push, read_flv, wait_ended, wait_event};
use kit::scripted::{Script, Scripted, Seen};
use kit::{
    Need, PATIENCE, Peer, SmallDisk, alone, directory, flv_tags, need, role_arguments, run, text, wait_until,
};

/// Other names of a file: a hard link, a symbolic one, and a way around.
fn names(file: &Path) -> Vec<PathBuf> {
    let beside = |name: &str| file.with_file_name(name);
    fs::hard_link(file, beside("hard.mp4")).expect("the file system has links");
    std::os::unix::fs::symlink(file, beside("soft.mp4")).expect("the file system has links");
    let around = file.parent().and_then(Path::parent).expect("it is in a directory of its own");
    let around = around.join(file.parent().and_then(Path::file_name).expect("it has a name")).join(".");
    let around = around.join(file.file_name().expect("it has a name"));
    vec![file.to_owned(), beside("hard.mp4"), beside("soft.mp4"), around]
}

/// All ways to treat a file that is there.
const ALL: [Existing; 4] = [Existing::Number, Existing::Refuse, Existing::Append, Existing::Replace];

#[track_caller]
fn refused(error: &Error, kinds: &[ErrorKind], what: &str) {
    let Error::Recording { source, .. } = error else { panic!("{what}: {error:?}") };
    assert!(kinds.contains(&source.kind()), "{what}: {source:?}");
    assert_eq!((error.code(), error.is_retryable()), ("RECORDING_FAILED", false), "{what}");
}

fn recorded(stream: &StreamRef, output: OutputId) -> PathBuf {
    let path = || stream.stats().outputs.iter().find(|it| it.id == output).and_then(|it| it.path.clone());
    assert!(wait_until(PATIENCE, || path().is_some()), "it has no file");
    path().expect("it has a file")
}

fn grows(path: &Path, from: u64) -> bool {
    wait_until(PATIENCE, || fs::metadata(path).is_ok_and(|facts| facts.len() > from))
}

/// Nothing that this source is made from is recorded over, at the start or later, by whatever name.
#[track_caller]
fn is_safe(engine: &Engine, what: &str, source: &Source, file: &Path) {
    let content = fs::read(file).expect("it is there");
    let safe = file.with_file_name("safe.flv");
    let live = engine.stream(source.clone()).record(&safe).start().expect("it starts");
    let output = outputs(&live)[0];
    for name in names(file) {
        for existing in ALL {
            let output = || Output::record(&name).existing(existing);
            let what = format!("{what}: {} with {existing:?}", name.display());
            let error = live.add_output(output()).expect_err(&what);
            refused(&error, &[ErrorKind::InvalidInput], &what);
            let error = engine.stream(source.clone()).to(output()).start().expect_err(&what);
            refused(&error, &[ErrorKind::InvalidInput], &what);
        }
    }
    assert!(fs::read(file).is_ok_and(|now| now == content), "{what}: the file was changed");
    assert!(grows(&recorded(&live, output), 1000), "{what}: not on the air");
    for name in ["hard.mp4", "soft.mp4"] {
        fs::remove_file(file.with_file_name(name)).expect("it is ours");
    }
    live.stop(PATIENCE).expect("it stops");
}

#[test]
fn what_is_on_the_air_is_not_recorded_over() {
    let (clip, other) = (Known::small(), Known::small());
    let file = || clip.file.clone();
    let list = Playlist::files([other.file.clone(), file()]);
    for with_reels in [false, true] {
        let engine = engine(|config| {
            config.max_streams = 100;
            config.max_streams_per_owner = 100;
            config.reels = with_reels.then(|| ReelStore::new(other.beside("reels")));
        });
        is_safe(&engine, "a file", &Source::file(file()).looped(), &clip.file);
        is_safe(&engine, "an item", &Source::playlist(list.clone()), &clip.file);
        let music = Source::video(&other.file).looped().with_audio(list.clone());
        is_safe(&engine, "a song", &music, &clip.file);
    }
}

#[test]
fn files_of_other_streams_and_of_reels_are_not_recorded_over() {
    let clip = Known::small();
    let reels = clip.beside("reels");
    let playing = engine(|config| config.reels = Some(ReelStore::new(&reels)));
    let live = playing.stream(Source::file(&clip.file).looped()).record(clip.beside("a.flv")).start();
    let live = live.expect("it starts");
    let reel = || {
        let entries = fs::read_dir(&reels).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.into_iter().find(|path| path.extension().is_some_and(|it| it == "flv"))
    };
    assert!(wait_until(PATIENCE, || reel().is_some()), "there is no reel");
    let reel = reel().expect("there is one");
    let link = clip.beside("link.flv");
    fs::hard_link(&reel, &link).expect("the file system has links");
    let content = [&clip.file, &reel].map(|file| fs::read(file).expect("it is there"));

    // Of another engine of the process, too.
    let second = Known::small();
    let recording = engine(|_| {});
    let beside = recording.stream(Source::file(&second.file).looped()).record(second.beside("b.flv"));
    let beside = beside.start().expect("it starts");
    for existing in ALL {
        for path in [&reel, &link] {
            let error =
                beside.add_output(Output::record(path).existing(existing)).expect_err("it is a reel's");
            refused(&error, &[ErrorKind::InvalidInput], "a reel");
        }
        let added = beside.add_output(Output::record(&clip.file).existing(existing));
        match existing {
            // It goes beside it, and harms nothing.
            Existing::Number => assert_ne!(recorded(&beside, added.expect("it has a number")), clip.file),
            Existing::Refuse => {
                refused(&added.expect_err("it exists"), &[ErrorKind::AlreadyExists], "refuse")
            }
            _ => refused(&added.expect_err("it is played"), &[ErrorKind::ResourceBusy], "another stream's"),
        }
    }
    assert_eq!(content, [&clip.file, &reel].map(|file| fs::read(file).expect("it is there")));
    // A file that is prepared does not take the name of one on the air, or of a recording.
    for output in [&clip.file, &recorded(&live, outputs(&live)[0])] {
        let error =
            Prepare::new(&second.file, output).run(|_| {}, &Interrupt::new()).expect_err("it is in use");
        let Error::OutputUnwritable { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), ErrorKind::ResourceBusy);
    }
    live.stop(PATIENCE).expect("it stops");
    // Nobody plays it any more.
    let flv = Output::record(&clip.file).format(FileFormat::Flv).existing(Existing::Replace);
    beside.add_output(flv).expect("it is free");
    assert!(wait_until(PATIENCE, || fs::read(&clip.file).is_ok_and(|now| now.starts_with(b"FLV"))));
    beside.stop(PATIENCE).expect("it stops");
}

#[test]
fn an_item_that_is_being_recorded_is_left_out() {
    let clip = Known::small();
    let list = Playlist::files([clip.file.clone()]);
    let engine = engine(|_| {});
    let events = engine.events();
    let live = engine.stream(Source::playlist(list.clone())).record(clip.beside("own.flv")).start();
    let live = live.expect("it starts");
    let own = recorded(&live, outputs(&live)[0]);
    list.add(&own).expect("there is room");
    wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::ItemSkipped { path, error } if *path == own => {
            assert_eq!(error.code(), "FILE_IN_USE");
            Some(())
        }
        _ => None,
    });
    live.stop(PATIENCE).expect("it stops");
    clip.assert_gapless(&read_flv(&own));
}

#[test]
fn recordings_of_one_name_do_not_meet() {
    let clip = Known::small();
    let (one, two) = (engine(|_| {}), engine(|_| {}));
    let events = one.events();
    let path = clip.beside("archive.flv");
    let record = |engine: &Engine| engine.stream(Source::file(&clip.file).looped()).record(&path).start();
    let (first, second) = (record(&one).expect("it starts"), record(&two).expect("it starts"));
    let third = first.add_output(Output::record(&path)).expect("it has a number");
    let paths = [
        recorded(&first, outputs(&first)[0]),
        recorded(&second, outputs(&second)[0]),
        recorded(&first, third),
    ];
    assert_eq!(paths, ["archive.flv", "archive-1.flv", "archive-2.flv"].map(|name| clip.beside(name)));
    let told = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::RecordingOpened { output, path } if *output == third => Some(path.clone()),
        _ => None,
    });
    assert_eq!(told, paths[2]);
    for existing in [Existing::Append, Existing::Replace] {
        let error = second.add_output(Output::record(&path).existing(existing)).expect_err("it is recorded");
        refused(&error, &[ErrorKind::ResourceBusy], "a recording");
    }
    assert!(paths.iter().all(|path| grows(path, 20_000)));
    first.stop(PATIENCE).expect("it stops");
    second.stop(PATIENCE).expect("it stops");
    paths.iter().for_each(|path| _ = clip.assert_gapless(&read_flv(path)));
    // The name is free again, and nothing of what has it is lost.
    let before = paths.each_ref().map(|path| fs::read(path).expect("it is there"));
    let again = record(&one).expect("it starts");
    assert_eq!(recorded(&again, outputs(&again)[0]), clip.beside("archive-3.flv"));
    again.stop(PATIENCE).expect("it stops");
    assert_eq!(before, paths.each_ref().map(|path| fs::read(path).expect("it is there")));
}

#[test]
fn a_recording_goes_on_behind_what_a_crash_left() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let path = clip.beside("day.flv");
    let record = |least: u64| {
        let output = Output::record(&path).existing(Existing::Append);
        let live = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect("it starts");
        assert!(grows(&path, least));
        live.stop(PATIENCE).expect("it stops");
    };
    record(30_000);
    let first = fs::read(&path).expect("it is there");
    // Half a tag is missing at the end.
    fs::write(&path, &first[..first.len() - 20]).expect("there is room");
    record(first.len() as u64 + 30_000);
    let tags = read_flv(&path);
    let pictures: Vec<_> = tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).collect();
    assert!(pictures.windows(2).all(|pair| pair[1] > pair[0]), "{pictures:?}");
    let steps = pictures.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.clone().all(|step| step <= 120), "{:?}", steps.max());
    let decoded = kit::decode(&path);
    assert!(decoded.frames.len() >= pictures.len() - 1, "{} of {}", decoded.frames.len(), pictures.len());
    // Another format is not touched.
    let other = clip.beside("other.flv");
    fs::copy(&clip.file, &other).expect("there is room");
    let output = Output::record(&other).existing(Existing::Append);
    let error = engine.stream(Source::file(&clip.file).looped()).to(output).start().expect_err("it is MP4");
    refused(&error, &[ErrorKind::InvalidData], "MP4");
    assert_eq!(fs::read(&other).expect("it is there"), fs::read(&clip.file).expect("it is there"));
}

/// The tags of a file that may be cut off.
fn read_cut(file: &Path) -> Vec<Seen> {
    flv_tags(file).iter().map(|tag| Seen::new(tag, Instant::now())).collect()
}

const KILLED: &str = "recordings::a_killed_process_loses_a_second_at_most";
/// What a killed process may lose.
const MOST_LOST: Duration = Duration::from_secs(1);

#[test]
fn a_killed_process_loses_a_second_at_most() {
    if alone("recorded") {
        let given = |name| std::env::var(name).expect("what to do");
        let (clip, file, to) = (given("RECORDED_CLIP"), given("RECORDED_FILE"), given("RECORDED_TO"));
        let engine = engine(|_| {});
        let stream = engine.stream(Source::file(clip).looped()).to(Output::rtmp(&to, "key")).record(file);
        // Until it is killed.
        let _ = stream.start().expect("it starts").wait();
        return;
    }
    let (clip, began) = (Known::small(), Instant::now());
    at_most(Duration::ZERO, began);
    let random = |below: u64| RandomState::new().hash_one(below) % below;
    let mut children: Vec<_> = (0..4)
        .map(|number| {
            let (server, file) = (Scripted::start(Script::Record), clip.beside(&format!("{number}.flv")));
            let (program, arguments) = role_arguments("recorded", KILLED);
            let to = server.url();
            let what = [("RECORDED_CLIP", &clip.file), ("RECORDED_FILE", &file)];
            let mut environment: Vec<_> = what.map(|(name, path)| (name, path.as_os_str())).to_vec();
            environment.push(("RECORDED_TO", to.as_ref()));
            (Peer::spawn_with(&program, arguments, &environment), server, file)
        })
        .collect();
    for (child, server, file) in &mut children {
        let pictures = 20 + random(60) as usize;
        assert!(wait_until(PATIENCE, || server.count() > 0), "{}", child.report());
        assert!(server.wait_pictures(0, pictures, PATIENCE), "{}", child.report());
        let pause = Instant::now() + Duration::from_millis(random(300));
        wait_until(PATIENCE, || Instant::now() >= pause);
        let sent = server.visits()[0].tags.clone();
        child.kill();
        let kept = read_cut(file);
        let last = |tags: &[Seen]| tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).max();
        let (sent, kept_to) = (last(&sent).expect("pictures were sent"), last(&kept).expect("some are kept"));
        eprintln!("sent {sent} ms, kept {kept_to} ms: {} ms lost", sent - kept_to);
        // A machine that stands still lets the disk wait, too.
        let most = at_most(MOST_LOST, pause.checked_sub(MOST_LOST).unwrap_or(began)).as_millis() as i64;
        assert!(sent - kept_to <= most, "{} ms lost, {most} may be", sent - kept_to);
        clip.assert_gapless(&kept);
    }
}

#[test]
fn pictures_of_any_size_are_recorded() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = directory();
    let file = directory.path().join("large.mp4");
    // Noise without loss is as large as its samples: ten megabytes a picture.
    let picture = "color=gray:size=3456x1944:rate=1,noise=alls=100:allf=t+u";
    let arguments = ["-nostdin", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine"];
    let coding =
        ["-frames:v", "3", "-shortest", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-g", "2"];
    run("ffmpeg", arguments.into_iter().chain(coding).chain(["-c:a", "aac", text(&file)]), PATIENCE * 3);
    let clip = Known::of(directory, file);
    for reels in [None, Some(ReelStore::new(clip.beside("reels")))] {
        let path = clip.beside(if reels.is_some() { "reel.flv" } else { "direct.flv" });
        let engine = engine(|config| config.reels = reels);
        let events = engine.events();
        let stream = engine.stream(Source::file(&clip.file).looped()).record(&path).start();
        let stream = stream.expect("it starts");
        let size = fs::metadata(&clip.file).expect("it is there").len();
        assert!(size > 3 * (8 << 20), "{size} bytes are too few for this test");
        assert!(grows(&path, size), "{:?}", stream.stats());
        stream.stop(PATIENCE).expect("it stops");
        let recorded: Vec<_> =
            read_flv(&path).into_iter().filter(Seen::is_picture).map(|tag| tag.hash).collect();
        assert!(recorded.len() >= 3, "{} pictures", recorded.len());
        for (number, hash) in recorded.iter().enumerate() {
            assert_eq!(*hash, clip.pictures()[number % 3], "picture {number}");
        }
        while let Some(event) = events.next_timeout(Duration::ZERO) {
            assert!(!matches!(event.kind, EventKind::OutputDropped { .. }), "{event:?}");
        }
    }
}

#[test]
fn reels_go_before_a_recording_does() {
    let Some(disk) = SmallDisk::mount_of(24).filter(|_| need(&[Need::Ffmpeg])) else { return };
    let clip = Known::heavy();
    let reel = fs::metadata(&clip.file).expect("it is there").len();
    let items: Vec<_> = (0..6).map(|number| clip.beside(&format!("{number}.mp4"))).collect();
    items.iter().for_each(|item| fs::copy(&clip.file, item).map(drop).expect("there is room"));
    let engine = engine(|config| config.reels = Some(ReelStore::new(disk.path().join("reels"))));
    let server = Scripted::start(Script::Record);
    let events = engine.events();
    let live = engine.stream(Source::playlist(Playlist::files(items))).to(push(&server)).start();
    let live = live.expect("it starts");
    // The store fills the disk as far as it may.
    let stats = || engine.reel_store_stats().expect("there is a store");
    assert!(wait_until(PATIENCE, || stats().reels >= 3), "{:?}", stats());
    let path = disk.path().join("recorded.flv");
    let output = live.add_output(Output::record(&path)).expect("there is room");
    let error = wait_ended(&events, output, PATIENCE * 3).expect("the disk is full in the end");
    let Error::Recording { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    // All is the recording's but for what is being played, and what comes next.
    let recorded = fs::metadata(&path).expect("it is there").len();
    eprintln!("{recorded} bytes recorded, a reel has {reel}; {:?}", stats());
    assert!(recorded > (24 << 20) - 2 * reel - (2 << 20), "{recorded} bytes, {:?}", stats());
    clip.assert_gapless(&read_flv(&path));
    // The stream goes on all the same.
    let pictures = server.visits()[0].tags.iter().filter(|tag| tag.is_picture()).count();
    assert!(server.wait_pictures(0, pictures + 60, PATIENCE), "{:?}", live.stats());
    assert_eq!(server.count(), 1);
    live.stop(PATIENCE).expect("it stops");
    clip.assert_gapless(&server.visits()[0].tags);
}

#[test]
fn the_list_that_is_played_is_not_recorded_over() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let list = clip.beside("list.m3u");
    let written = format!("{}\n", clip.file.display());
    fs::write(&list, &written).expect("there is room");
    let playlist = || Playlist::m3u(&list).expect("a list");
    for source in [Source::playlist(playlist()), Source::video(&clip.file).looped().with_audio(playlist())] {
        for existing in [Existing::Replace, Existing::Append] {
            let output = Output::record(&list).existing(existing);
            let error = engine.stream(source.clone()).to(output.clone()).start().expect_err("it is the list");
            assert_eq!(error.code(), "RECORDING_FAILED", "{error:?}");
            let beside = Output::record(clip.beside("beside.flv"));
            let live = engine.stream(source.clone()).to(beside).start().expect("it starts");
            let error = live.add_output(output).expect_err("it is the list");
            assert_eq!(error.code(), "RECORDING_FAILED", "{error:?}");
            live.stop(PATIENCE).expect("it stops");
            assert_eq!(fs::read_to_string(&list).expect("it is there"), written);
        }
    }
}
