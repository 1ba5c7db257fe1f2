//! The reel's own file is damaged under a stream.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use flowcast::Source;
use flowcast::stats::SourceMode;

use crate::{Air, only_reel, with_reels};
use kit::rig::Known;

#[test]
fn a_reel_that_is_damaged_under_a_stream_is_left_without_a_jump() {
    let clip = Known::small();
    let what = ["emptied", "cut in two", "written over", "removed"];
    let streams = what.map(|what| {
        let directory = clip.beside(what);
        let engine = with_reels(&directory);
        let air = Air::start(&engine, Source::file(&clip.file).looped());
        assert_eq!(air.live.stats().mode, SourceMode::Reel);
        let data = only_reel(&directory);
        let size = fs::metadata(&data).expect("it is there").len();
        let file = OpenOptions::new().write(true).open(&data).expect("it is there");
        match what {
            "emptied" => drop(File::create(&data).expect("it can be emptied")),
            "cut in two" => file.set_len(size / 2).expect("it can be cut"),
            "written over" => file.write_all_at(&vec![0; size as usize], 0).expect("it can be written"),
            _ => fs::remove_file(&data).expect("it can be removed"),
        }
        (what, engine, directory, air)
    });
    for (what, engine, directory, air) in streams {
        if what == "removed" {
            // The stream has it open, and needs no name.
            air.wait_times("lap", 3);
            assert_eq!(air.told(), [""; 0]);
        } else {
            air.wait("direct REEL_DAMAGED");
            air.wait_mode(SourceMode::Direct);
            air.wait_times("lap", 3);
            assert_eq!(air.told(), ["direct REEL_DAMAGED"], "{what}");
        }
        // Who comes next gets a reel that is whole.
        let next = Air::start(&engine, Source::file(&clip.file).looped());
        assert_eq!(next.live.stats().mode, SourceMode::Reel, "{what}");
        next.wait_times("lap", 1);
        if what != "removed" {
            assert!(fs::metadata(only_reel(&directory)).expect("it is there").len() > 10_000, "{what}");
        }
        assert_eq!(next.told(), [""; 0], "{what}");
        clip.assert_gapless(&next.stop());
        let pictures = clip.assert_gapless(&air.stop());
        println!("{what}: {pictures} pictures without a gap");
    }
}
