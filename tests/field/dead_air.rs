//! Lists with items that cannot be played: what can be played is on the air all the time, and each failure is told once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::SampleSpec;
use flowcast::playlist::NothingPlays;
use flowcast::rtmp::flv::TagKind;
use flowcast::{Engine, EventKind, Events, Playlist, Source, StreamHandle};

use kit::bystander::at_most;
use kit::rig::{Known, both_ways, push};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, box_at, wait_until};

/// A second, a keyframe each second.
fn clip(seconds: f64, options: &[(&str, &str)]) -> Known {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut spec = SampleSpec { width: 160, height: 90, seconds, gop_frames: 25, ..SampleSpec::default() };
    spec.muxer.options = options;
    Known::made(&spec)
}

/// A stream on the air, and what is told of it.
struct Air {
    server: Scripted,
    events: Events,
    live: StreamHandle,
    heard: Vec<EventKind>,
}

impl Air {
    #[track_caller]
    fn start(engine: &Engine, source: Source) -> Self {
        let server = Scripted::start(Script::Record);
        let events = engine.events();
        let live = engine.stream(source).to(push(&server)).start().expect("the stream starts");
        Self { server, events, live, heard: Vec::new() }
    }

    fn hear(&mut self) -> &[EventKind] {
        while let Some(event) = self.events.try_next() {
            if event.stream == self.live.id() {
                self.heard.push(event.kind);
            }
        }
        &self.heard
    }

    #[track_caller]
    fn wait(&mut self, what: &str, is_it: impl Fn(&EventKind) -> bool) {
        let told = wait_until(2 * PATIENCE, || self.hear().iter().any(&is_it));
        assert!(told, "{what} is not told, but {:#?}; {}", self.heard, self.live.stats());
    }

    fn count(&mut self, is_it: impl Fn(&EventKind) -> bool) -> usize {
        self.hear().iter().filter(|kind| is_it(kind)).count()
    }

    fn pictures(&self) -> usize {
        let visits = self.server.visits();
        visits.first().map_or(0, |visit| visit.tags.iter().filter(|tag| tag.is_picture()).count())
    }

    #[track_caller]
    fn wait_pictures(&self, pictures: usize) {
        assert!(self.server.wait_pictures(0, pictures, 3 * PATIENCE), "off the air: {}", self.live.stats());
    }
}

fn is_skip(kind: &EventKind) -> bool {
    matches!(kind, EventKind::ItemSkipped { .. })
}

fn is_stuck(kind: &EventKind) -> bool {
    matches!(kind, EventKind::PlaylistStalled { .. })
}

fn is_resumed(kind: &EventKind) -> bool {
    matches!(kind, EventKind::PlaylistResumed { .. })
}

fn plays(name: &str) -> impl Fn(&EventKind) -> bool + '_ {
    move |kind| matches!(kind, EventKind::ItemStarted { path } if path.ends_with(name))
}

/// Files of every kind that cannot be played, `each` of a kind.
fn broken(directory: &Path, each: usize) -> Vec<PathBuf> {
    let whole = clip(1.0, &[("movflags", "faststart")]);
    let content = fs::read(&whole.file).expect("it is there");
    let mdat = box_at(&content, b"mdat");
    let text = "no media at all\n".repeat(500);
    // Plain samples, which no FLV holds.
    let mut wav =
        b"RIFF\x24\x1f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0".to_vec();
    wav.extend(b"data\x40\x1f\0\0");
    wav.extend(vec![128; 8000]);
    let kinds: [(&str, Option<&[u8]>); 5] = [
        ("missing.mp4", None),
        ("empty.mp4", Some(b"")),
        ("text.mp4", Some(text.as_bytes())),
        // The index is whole, and nothing of what it points to is there.
        ("hollow.mp4", Some(&content[..mdat + 8])),
        ("plain.wav", Some(&wav)),
    ];
    let mut files = Vec::new();
    for number in 0..each {
        for (name, content) in kinds {
            let file = directory.join(format!("{number}-{name}"));
            if let Some(content) = content {
                fs::write(&file, content).expect("there is room");
            }
            files.push(file);
        }
    }
    files
}

/// The one good item is on the air nearly as much as a stream beside it that plays nothing else.
fn assert_no_dead_air(engine: &Engine, mode: &str, list: Playlist, good: &Known, bad: usize) {
    let beside = Air::start(engine, Source::file(&good.file).looped());
    beside.wait_pictures(1);
    let mut air = Air::start(engine, Source::playlist(list));
    air.wait_pictures(1);
    let (before, base) = (beside.pictures(), air.pictures());
    beside.wait_pictures(before + 150);
    let (there, here) = (beside.pictures() - before, air.pictures() - base);
    assert!(here * 10 >= there * 7, "{mode}: {here} pictures, {there} beside it; {}", air.live.stats());
    // Hundreds of files are opened, however slow the machine is.
    let skipped = wait_until(PATIENCE * 5, || air.count(is_skip) >= bad);
    assert!(skipped, "{mode}: {} of {bad} were looked at", air.count(is_skip));
    assert_eq!(air.count(is_skip), bad, "{mode}: each is told once");
    let is_fault = |kind: &EventKind| matches!(kind, EventKind::SourceStalled { .. }) || is_stuck(kind);
    assert_eq!(air.count(is_fault), 0, "{mode}: {:#?}", air.heard);
}

#[test]
fn a_good_item_among_hundreds_of_bad_ones_stays_on_the_air() {
    let good = clip(1.0, &[]);
    let bad = broken(good.directory.path(), 60);
    both_ways(|mode, engine, _| {
        let list = Playlist::files([good.file.clone()].into_iter().chain(bad.clone()));
        assert_no_dead_air(engine, mode, list, &good, bad.len());
    });
}

#[test]
fn so_does_one_in_random_order_and_with_weights() {
    let good = clip(1.0, &[]);
    let bad = broken(good.directory.path(), 30);
    both_ways(|mode, engine, _| {
        let list = Playlist::new().shuffled();
        list.add(&good.file).expect("there is room");
        for (number, file) in bad.iter().enumerate() {
            list.add_weighted(file, 1 + number as u32 % 3).expect("there is room");
        }
        assert_no_dead_air(engine, mode, list, &good, bad.len());
    });
}

#[test]
fn a_list_begins_with_an_item_that_gives_something() {
    let good = clip(1.0, &[]);
    let bad = broken(good.directory.path(), 1);
    both_ways(|mode, engine, _| {
        // Among the bad ones is an index without its media, which opens well.
        let list = Playlist::files(bad.iter().chain([&good.file]));
        let mut air = Air::start(engine, Source::playlist(list));
        air.wait("an item", |kind| matches!(kind, EventKind::ItemStarted { .. }));
        let first = air.heard.iter().find(|kind| matches!(kind, EventKind::ItemStarted { .. }));
        assert!(first.is_some_and(plays("clip.mp4")), "{mode}: {:#?}", air.heard);
        assert_eq!(air.count(is_skip), bad.len(), "{mode}: {:#?}", air.heard);
    });
}

#[test]
fn the_last_item_goes_round_when_the_others_are_gone_and_the_list_goes_on_when_one_is_back() {
    both_ways(|mode, engine, _| {
        let (first, second) = (clip(2.0, &[]), clip(1.0, &[]));
        let hidden = second.beside("hidden.mp4");
        fs::rename(&second.file, &hidden).expect("the same directory");
        let list = Playlist::files([&first.file, &second.file, &first.beside("missing.mp4")]);
        let id = list.items()[0].id;
        let mut air = Air::start(engine, Source::playlist(list.clone()));
        air.wait_pictures(5);
        assert!(list.remove(id), "what plays is not in the list any more");
        air.wait("that nothing can be played", is_stuck);
        let before = air.pictures();
        air.wait_pictures(before + 60);
        assert_eq!(air.count(is_stuck), 1, "{mode}");
        assert_eq!(air.count(is_skip), 2, "{mode}: {:#?}", air.heard);
        fs::rename(&hidden, &second.file).expect("the same directory");
        air.wait("that the list goes on", is_resumed);
        assert_eq!(air.count(|kind| matches!(kind, EventKind::SourceStalled { .. })), 0, "{mode}");
        let before = air.pictures();
        air.wait_pictures(before + 50);
        assert_eq!((air.count(is_stuck), air.count(is_resumed)), (1, 1), "{mode}");
    });
}

#[test]
fn a_list_whose_files_are_all_gone_says_so_once() {
    both_ways(|mode, engine, _| {
        let clips: Vec<_> = (0..4).map(|_| clip(1.0, &[])).collect();
        let list = Playlist::files(clips.iter().map(|clip| clip.file.clone()));
        let mut air = Air::start(engine, Source::playlist(list.nothing_plays(NothingPlays::Wait)));
        air.wait_pictures(5);
        for clip in &clips {
            fs::rename(&clip.file, clip.beside("hidden.mp4")).expect("the same directory");
        }
        let stalled = |kind: &EventKind| match kind {
            EventKind::SourceStalled { after } => *after >= Duration::from_secs(2),
            _ => false,
        };
        air.wait("that nothing can be played", is_stuck);
        air.wait("that nothing comes", stalled);
        // They are tried again meanwhile.
        fs::rename(clips[2].beside("hidden.mp4"), &clips[2].file).expect("the same directory");
        air.wait("that the list goes on", is_resumed);
        let before = air.pictures();
        air.wait_pictures(before + 50);
        assert_eq!((air.count(is_stuck), air.count(is_resumed)), (1, 1), "{mode}");
        assert!(air.count(is_skip) <= 4, "{mode}: {:#?}", air.heard);
        let empty = |kind: &EventKind| matches!(kind, EventKind::SourceStalled { after } if after.is_zero());
        assert_eq!(air.count(empty), 0, "{mode}");
    });
}

#[test]
fn a_jump_to_a_bad_item_leaves_the_air_to_the_next_good_one() {
    let clips = [clip(60.0, &[]), clip(60.0, &[])];
    let missing = clips[0].beside("missing.mp4");
    let last = clips[0].beside("last.mp4");
    fs::copy(&clips[1].file, &last).expect("there is room");
    both_ways(|mode, engine, _| {
        let list = Playlist::files([&clips[0].file, &missing, &last]);
        let ids: Vec<_> = list.items().into_iter().map(|item| item.id).collect();
        let mut air = Air::start(engine, Source::playlist(list.clone()));
        air.wait_pictures(5);
        assert!(list.jump(ids[1]));
        air.wait("the next good one", plays("last.mp4"));
        // Nothing else is left: it begins anew.
        assert!(list.remove(ids[0]) && list.remove(ids[1]));
        let before = air.pictures();
        air.wait_pictures(before + 20);
        list.skip();
        let again = wait_until(PATIENCE, || air.count(plays("last.mp4")) == 2);
        assert!(again, "{mode}: {:#?}", air.heard);
        assert_eq!(air.count(is_skip), 1, "{mode}");
        let before = air.pictures();
        air.wait_pictures(before + 20);
        let visits = air.server.visits();
        let times: Vec<_> =
            visits[0].tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).collect();
        assert!(times.windows(2).all(|pair| (1..=60).contains(&(pair[1] - pair[0]))), "{mode}");
    });
}

#[test]
fn sound_goes_on_behind_bad_items_of_a_sound_list() {
    let picture = clip(2.0, &[]);
    let bad = broken(picture.directory.path(), 40);
    // So long that most of the others are looked at before it ends, also on a busy machine.
    let song = picture.beside("song.mp4");
    fs::copy(clip(6.0, &[]).file, &song).expect("there is room");
    both_ways(|mode, engine, _| {
        let sound = Playlist::files([song.clone()].into_iter().chain(bad.clone()));
        let began = std::time::Instant::now();
        at_most(Duration::ZERO, began);
        let mut air = Air::start(engine, Source::file(&picture.file).looped().with_audio(sound));
        air.wait_pictures(350);
        let visits = air.server.visits();
        let mut counts = std::collections::HashMap::new();
        let sound: Vec<_> =
            visits[0].tags.iter().filter(|tag| tag.kind == TagKind::Audio && !tag.header).collect();
        for tag in &sound {
            *counts.entry(tag.hash).or_insert(0usize) += 1;
        }
        // A frame of silence comes again and again, one of the song's once a lap.
        let silent = counts.values().max().copied().unwrap_or(0);
        assert!(sound.len() > 200, "{mode}: {} frames of sound", sound.len());
        // What the machine takes from everybody may be silent, too: a frame lasts 21 ms.
        let lost = at_most(Duration::ZERO, began).as_millis() / 21;
        assert!(silent as u128 <= 12 + lost, "{mode}: {silent} of {} frames are silent", sound.len());
        let skipped = wait_until(PATIENCE * 5, || air.count(is_skip) >= bad.len());
        assert!(skipped && air.count(is_skip) == bad.len(), "{mode}: {}", air.count(is_skip));
    });
}

#[test]
fn an_emptied_list_rests_and_says_for_how_long_nothing_came() {
    let known = clip(1.0, &[]);
    both_ways(|mode, engine, _| {
        let list = Playlist::files([&known.file]);
        let mut air = Air::start(engine, Source::playlist(list.clone()));
        air.wait_pictures(5);
        assert!(list.remove(list.items()[0].id));
        air.wait("that the list is empty", |kind| {
            matches!(kind, EventKind::PlaylistStalled { items: 0, .. })
        });
        air.wait(
            "that nothing comes",
            |kind| matches!(kind, EventKind::SourceStalled { after } if *after >= Duration::from_secs(2)),
        );
        list.add(&known.file).expect("there is room");
        air.wait("that the list goes on", is_resumed);
        let before = air.pictures();
        air.wait_pictures(before + 30);
        assert_eq!(air.count(is_stuck), 1, "{mode}: {:#?}", air.heard);
    });
}
