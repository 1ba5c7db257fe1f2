//! A reel that grows slower than it is played: the stream encodes by itself until the reel is there, and nobody notices.

use flowcast::{BitRate, Encoding, Mode, Profile, ReelStore, Source};

use crate::air::{Server, air};
use crate::clips::{self, FILM};
use crate::picture;
use crate::shown::pictures;
use kit::rig::engine;
use kit::{Need, need, packet_times, turn};

#[test]
fn a_stream_that_outruns_its_reel_is_taken_by_platforms() {
    if !need(&[Need::Ffmpeg, Need::Media(FILM)]) {
        return;
    }
    let _turn = turn();
    let mut wrong = Vec::new();
    for (number, kilobytes) in [20, 30, 40].into_iter().enumerate() {
        let clip = clips::all()[0];
        let file = clip.make();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut store = ReelStore::new(directory.path());
        // The stream takes 66 kB a second.
        store.bytes_per_second = Some(1000 * kilobytes);
        let engine = engine(|config| config.reels = Some(store));
        let mut encoding = Encoding::new(Profile::Ultra);
        encoding.video_bit_rate = Some(BitRate::from_kbps(400));
        let source = Source::file(&file).looped().mode(Mode::Encode).encoding(encoding);
        let aired = air(&engine, source, &format!("slow-{number}"), Server::Ffmpeg)
            .unwrap_or_else(|why| panic!("{kilobytes} kB/s: {why}"));
        assert!(
            aired.told.iter().any(|told| told.starts_with("ModeChanged")),
            "{kilobytes} kB/s: the reel was fast enough: {:#?}",
            aired.told
        );
        for (by, recording) in &aired.recordings {
            let (shown, complaints) = pictures(recording, clip.size);
            let numbers: Vec<_> = shown.iter().map(|shown| shown.number).collect();
            let in_order = numbers.iter().enumerate().all(|(at, number)| at % clips::PICTURES == *number);
            let checked = picture::check(recording).and_then(|_| picture::decodes(recording));
            let times = packet_times(recording, "v");
            let keys: Vec<_> =
                times.iter().enumerate().filter(|(_, time)| time.keyframe).map(|(at, _)| at).collect();
            let found = format!(
                "{kilobytes} kB/s: {by}: {checked:?}, in order {in_order}, {complaints:?}, keyframes {keys:?}"
            );
            println!("{found}");
            if checked.is_err() || !in_order || !complaints.is_empty() {
                wrong.push(format!("{found}: {:?}", aired.told));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
