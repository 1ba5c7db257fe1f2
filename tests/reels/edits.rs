//! A list that is edited while it is on the air.

use flowcast::av::SampleSpec;
use flowcast::rtmp::flv::TagKind;
use flowcast::{Playlist, Source};
use std::path::Path;
use tempfile::TempDir;

use crate::{Air, assert_headers, assert_steady};
use kit::rig::{Known, both_ways};

/// A clip with a name of its own, long enough that nothing but a command ends it soon.
fn clip(directory: &Path, name: &str, seconds: f64) -> std::path::PathBuf {
    let path = directory.join(name);
    let spec = SampleSpec { width: 160, height: 90, seconds, ..SampleSpec::default() };
    flowcast::av::sample_clip(&path, &spec).expect("libav makes the clip");
    path
}

#[test]
fn commands_and_edits_are_followed_at_once_or_with_the_next_item() {
    let sources = TempDir::new().expect("a temporary directory");
    let [a, b, c, d] = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"].map(|name| clip(sources.path(), name, 60.0));
    let short = clip(sources.path(), "short.mp4", 2.0);
    both_ways(|mode, engine, _| {
        let list = Playlist::files([&a, &b, &c]);
        let air = Air::start(engine, Source::playlist(list.clone()));
        let ids: Vec<_> = list.items().into_iter().map(|item| item.id).collect();
        list.skip();
        air.wait("plays b.mp4");
        air.wait_more(30);
        assert!(list.jump(ids[0]));
        air.wait_times("plays a.mp4", 2);
        // What comes next changes while it is got ready already.
        assert!(list.remove(ids[1]));
        let added = list.insert(1, &d).expect("there is room");
        air.wait_more(30);
        list.skip();
        air.wait("plays d.mp4");
        // The one that plays is taken out, and a short one put behind it.
        assert!(list.remove(added));
        let short = list.insert(1, &short).expect("there is room");
        air.wait_more(30);
        assert_eq!(air.told_of_items().last().map(String::as_str), Some("plays d.mp4"), "it plays on");
        list.skip();
        air.wait("plays short.mp4");
        assert!(list.move_to(short, 0));
        air.wait("plays c.mp4");
        air.wait_more(30);
        let told = air.told_of_items();
        let expected =
            ["plays a.mp4", "plays b.mp4", "plays a.mp4", "plays d.mp4", "plays short.mp4", "plays c.mp4"];
        assert_eq!(told, expected, "{mode}");
        // Emptied, it plays what plays, and then what is put in.
        for item in list.items() {
            assert!(list.remove(item.id));
        }
        list.skip();
        air.wait("stalled");
        list.add(&a).expect("there is room");
        air.wait_times("plays a.mp4", 3);
        air.wait_more(30);
        let tags = air.stop();
        assert_steady(&tags, TagKind::Video, 10_000);
        assert_steady(&tags, TagKind::Audio, 10_000);
        assert_eq!(assert_headers(&tags), 1, "{mode}: all of equal parameters");
    });
}

#[test]
fn a_stream_waits_for_the_first_item_of_an_empty_list() {
    let known = Known::small();
    both_ways(|mode, engine, _| {
        let list = Playlist::new();
        let air = Air::begin(engine, Source::playlist(list.clone()));
        air.wait("stalled");
        assert_eq!(air.pictures(), 0);
        list.add(&known.file).expect("there is room");
        air.wait("plays clip.mp4");
        air.wait_more(100);
        assert!(air.live.stats().cpu_percent < 20.0, "{mode}: {}", air.live.stats());
        let tags = air.stop();
        known.assert_fresh_start(&tags);
    });
}
