use bytes::Bytes;
use flowcast_rtmp::flv::tag::TagKind;
use flowcast_rtmp::time::MediaTime;

use super::lane::Clock;
use super::*;

#[test]
fn sound_is_counted_in_samples_though_tags_say_milliseconds() {
    let mut clock = Clock::new(44_100);
    let frames: Vec<_> = (0..10_000_i64).map(|n| clock.place(n * 1024 * 1000 / 44_100, 1024)).collect();
    assert!(frames.windows(2).all(|pair| pair[1] - pair[0] == 1024));
}

#[test]
fn a_gap_in_the_sound_stays_a_gap_and_a_clock_that_drifts_is_followed() {
    let mut gap = Clock::new(48_000);
    gap.place(0, 1024);
    assert_eq!(gap.place(21, 1024), 1024);
    assert_eq!(gap.place(1000, 1024), 48_000);
    assert_eq!(gap.place(1021, 1024), 49_024);
    // A sender whose clock is a thousandth fast: never more than a frame off.
    let mut drift = Clock::new(48_000);
    for n in 0..100_000_i64 {
        let ms = n * 1024 * 1000 / 48_000 * 1001 / 1000;
        let off = drift.place(ms, 1024) - ms * 48;
        assert!(off.abs() <= 1024 + 48, "{off} samples at {ms} ms");
    }
}

#[test]
fn times_of_pictures_always_grow() {
    let mut clock = Clock::new(1000);
    let placed: Vec<_> = [0, 40, 40, 41, 30, 200].map(|ms| clock.place(ms, 0)).to_vec();
    assert_eq!(placed, [0, 40, 41, 42, 43, 200]);
}

#[test]
fn a_file_whose_tables_are_full_ends_at_a_keyframe() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("long.mp4");
    let mut file = Mp4File::open(&path, Existing::Refuse, &Arc::default()).expect("it can be created");
    let sound = |ms: i64, body: &'static [u8]| {
        Tag::from_wire(TagKind::Audio, MediaTime::from_millis(ms), Bytes::from_static(body))
    };
    let mut tags = vec![sound(0, &[0xAF, 0, 0x12, 0x10])];
    tags.extend((0..200).map(|n| sound(n * 23, &[0xAF, 1, 0x21, 0x10])));
    file.write(&tags).expect("there is room");
    let next = sound(5000, &[0xAF, 1, 0x21, 0x10]);
    assert!(file.table_bytes() > 0 && !file.is_full() && file.fits(&next));
    file.most = file.table_bytes();
    assert!(
        file.is_full() && file.fits(&next),
        "the next keyframe begins another one, and nothing before it"
    );
    file.most = 1;
    assert!(!file.fits(&next), "no keyframe comes");
}
