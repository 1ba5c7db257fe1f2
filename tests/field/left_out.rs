//! Tracks that are left out and damage are told to each stream that plays the file, once: from a reel and directly, of single
//! files, of the later items of lists, and of sound lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::{SampleSpec, sample_clip};
use flowcast::{Engine, EventKind, Events, Playlist, ReelStore, Source, StreamHandle};
use tempfile::TempDir;

use kit::rig::{both_ways, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{Need, PATIENCE, need, run, text, wait_until};

/// A stream on the air, and what it was told.
struct Air {
    events: Events,
    live: StreamHandle,
    server: Scripted,
    told: Vec<String>,
    laps: usize,
}

impl Air {
    #[track_caller]
    fn start(engine: &Engine, source: Source) -> Self {
        let server = Scripted::start(Script::Record);
        let events = engine.events();
        let live = engine.stream(source).to(push(&server)).start().expect("the stream starts");
        Self { events, live, server, told: Vec::new(), laps: 0 }
    }

    /// What was told of tracks and damage once `laps` laps or items have begun.
    #[track_caller]
    fn told(&mut self, laps: usize) -> Vec<String> {
        let is_there = wait_until(3 * PATIENCE, || {
            while let Some(event) = self.events.try_next() {
                if event.stream != self.live.id() {
                    continue;
                }
                match event.kind {
                    EventKind::TrackSkipped { track, reason } => self.told.push(format!("{track}: {reason}")),
                    EventKind::SourceFault { error } => {
                        let error = error.to_string();
                        let reason = error.rsplit("/").next().unwrap_or_default();
                        self.told.push(reason.to_owned());
                    }
                    EventKind::Looped { .. } | EventKind::ItemStarted { .. } => self.laps += 1,
                    _ => {}
                }
            }
            self.laps >= laps
        });
        assert!(is_there, "{} of {laps} laps: {:?}; {}", self.laps, self.told, self.live.stats());
        self.told.clone()
    }

    fn stop(self) {
        self.live.stop(Duration::from_secs(3)).expect("it stops");
        drop(self.server);
    }
}

fn clip(directory: &Path, name: &str, change: impl FnOnce(&mut SampleSpec)) -> PathBuf {
    let path = directory.join(name);
    let mut spec =
        SampleSpec { width: 160, height: 90, seconds: 1.0, gop_frames: 25, ..SampleSpec::default() };
    change(&mut spec);
    sample_clip(&path, &spec).expect("libav makes the clip");
    path
}

/// H.264 with sound of plain samples.
fn pcm(directory: &Path) -> PathBuf {
    let file = directory.join("pcm.mov");
    let picture = ["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1"];
    let sound = ["-f", "lavfi", "-i", "sine=d=1", "-c:a", "pcm_s16le"];
    let video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", text(&file)];
    run("ffmpeg", picture.into_iter().chain(sound).chain(video), Duration::from_secs(60));
    file
}

/// A fragmented MP4 that ends within its last fragment.
fn cut_off(directory: &Path) -> PathBuf {
    let whole = clip(directory, "whole.mp4", |spec| {
        spec.seconds = 3.0;
        spec.muxer.options = vec![("movflags".to_owned(), "frag_keyframe+empty_moov".to_owned())];
    });
    let content = fs::read(&whole).expect("it is there");
    let file = directory.join("cut.mp4");
    fs::write(&file, &content[..content.len() * 7 / 10]).expect("there is room");
    fs::remove_file(whole).expect("it is ours");
    file
}

const PCM: &str = "1: pcm_s16le has no place in FLV, it would have to be encoded";

#[test]
fn tracks_left_out_are_told_once_to_each_stream_and_also_from_a_reel_that_is_there() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let file = pcm(directory.path());
    both_ways(|mode, engine, _| {
        // The second stream finds a reel that is there already.
        for _ in 0..2 {
            let mut air = Air::start(engine, Source::file(&file).looped());
            assert_eq!(air.told(3), [PCM], "{mode}");
            air.stop();
        }
    });
    // So does another process.
    let reels = directory.path().join("reels");
    for _ in 0..2 {
        let engine = engine(|config| config.reels = Some(ReelStore::new(&reels)));
        let mut air = Air::start(&engine, Source::file(&file).looped());
        assert_eq!(air.told(2), [PCM]);
        air.stop();
        engine.shutdown(Duration::from_secs(5));
    }
}

/// H.264 with a track of subtitles and one of timecodes.
fn beside_the_picture(directory: &Path) -> PathBuf {
    let (subtitles, file) = (directory.join("subtitles.srt"), directory.join("subtitles.mov"));
    fs::write(&subtitles, "1\n00:00:00,100 --> 00:00:00,900\nGood evening\n").expect("there is room");
    let picture = ["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-i"];
    let made = ["-map", "0:v", "-map", "1:s", "-c:s", "mov_text", "-timecode", "10:00:00:00"];
    let video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", text(&file)];
    let all = picture.into_iter().chain([text(&subtitles)]).chain(made).chain(video);
    run("ffmpeg", all, Duration::from_secs(60));
    file
}

#[test]
fn subtitles_and_timecodes_are_told_too() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let file = beside_the_picture(directory.path());
    both_ways(|mode, engine, _| {
        let mut air = Air::start(engine, Source::file(&file).looped());
        assert_eq!(
            air.told(3),
            ["1: subtitles are not sent: mov_text", "2: data tracks are not sent"],
            "{mode}"
        );
        air.stop();
    });
}

#[test]
fn so_are_those_of_later_items_of_a_list() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let (file, plain) = (pcm(directory.path()), clip(directory.path(), "a.mp4", |_| {}));
    both_ways(|mode, engine, _| {
        let mut air = Air::start(engine, Source::playlist(Playlist::files([&plain, &file])));
        assert_eq!(air.told(6), [PCM], "{mode}");
        air.stop();
        let mut air = Air::start(engine, Source::playlist(Playlist::files([&file, &plain])));
        assert_eq!(air.told(5), [PCM], "{mode}, as the first item");
        air.stop();
    });
}

#[test]
fn so_are_those_of_a_sound_list() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let directory = TempDir::new().expect("a temporary directory");
    let picture = clip(directory.path(), "picture.mp4", |spec| spec.seconds = 60.0);
    let song = clip(directory.path(), "song.mp4", |_| {});
    // The picture of a file that is played for its sound is not missed.
    let second = directory.path().join("second.mp4");
    let arguments =
        ["-nostdin", "-v", "error", "-i", text(&song), "-map", "0:v", "-map", "0:a", "-map", "0:a"];
    run("ffmpeg", arguments.into_iter().chain(["-c", "copy", text(&second)]), Duration::from_secs(60));
    both_ways(|mode, engine, _| {
        let sound = Playlist::files([&song, &second]);
        let mut air = Air::start(engine, Source::file(&picture).looped().with_audio(sound));
        assert_eq!(air.told(5), ["2: only one track of a kind is sent"], "{mode}");
        air.stop();
    });
}

#[test]
fn damage_is_told_with_and_without_a_reel_in_the_same_words() {
    let directory = TempDir::new().expect("a temporary directory");
    let (file, plain) = (cut_off(directory.path()), clip(directory.path(), "a.mp4", |_| {}));
    both_ways(|mode, engine, _| {
        let mut air = Air::start(engine, Source::file(&file).looped());
        let told = air.told(2);
        println!("{mode}: {told:?}");
        assert_eq!(told.len(), 1, "{mode}: {told:?}");
        assert!(told[0].ends_with("frames are whole, 1 is damaged or cut off"), "{mode}: {told:?}");
        air.stop();
        let mut air = Air::start(engine, Source::playlist(Playlist::files([&plain, &file])));
        assert_eq!(air.told(5), told, "{mode}: in a list");
        air.stop();
    });
}
