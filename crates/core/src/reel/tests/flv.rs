//! FLV files that are reels already, and those that only look like it.

use flowcast_rtmp::flv::FlvWriter;
use proptest::prelude::*;

use super::super::foreign::{Progress, Scan};
use super::*;

/// A file of these tags.
fn file(tags: &[Tag]) -> Vec<u8> {
    let mut content = FlvWriter::header(true, true).to_vec();
    tags.iter().for_each(|tag| FlvWriter::write_tag(tag, &mut content).expect("it fits"));
    content
}

fn moved(tags: &[Tag], by: i64) -> Vec<Tag> {
    let moved = |tag: &Tag| Tag { timestamp: tag.timestamp.saturating_add_millis(by), ..tag.clone() };
    tags.iter().map(moved).collect()
}

fn put(room: &Room, content: &[u8]) -> PathBuf {
    let path = room.dir.path().join("sources/a.flv");
    std::fs::write(&path, content).expect("there is room");
    path
}

/// What the file is as a lap, or why it does not fit.
fn scan(content: &[u8]) -> Result<LapFacts, String> {
    let room = Room::new();
    let file = std::fs::File::open(put(&room, content)).expect("it was just written");
    let mut scan = Scan::open(&file).expect("it is readable").ok_or("no FLV")?;
    loop {
        match scan.step(&file).map_err(|misfit| format!("{misfit:?}"))? {
            Progress::More => {}
            Progress::End(facts) => return Ok(facts),
        }
    }
}

fn whole(seconds: i64) -> Vec<Tag> {
    headers().into_iter().chain(frames(seconds)).collect()
}

#[test]
fn a_fitting_file_gets_an_index_and_nothing_else() {
    let room = Room::new();
    // As a recorder in the middle of a stream writes it, and with the end that libavformat writes.
    let mut tags = moved(&whole(6), 123_456);
    tags.push(video::avc_end_of_sequence(MediaTime::from_millis(129_400)));
    let source = put(&room, &file(&tags));
    let script = Script::of(1);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("it fits");
    settled(&store, &reel);
    assert_eq!(script.opened(), 0);
    assert_eq!(read_all(&reel).expect("it is whole"), frames(6));
    assert_eq!(reel.facts(), Some(facts(6)));
    assert_eq!(reel.headers()[1..], headers()[1..]);
    // What it says of itself, and what its tracks say beyond that.
    let metadata = Metadata::parse(&reel.headers()[0].body.to_bytes()).expect("it was just made");
    assert_eq!((metadata.framerate, metadata.width), (Some(25.0), Some(640.0)));
    assert_eq!((metadata.videocodecid, metadata.audiocodecid), (Some(7.0), Some(10.0)));
    assert_eq!(metadata.audiosamplerate, Some(48_000.0));
    assert_eq!(room.names().len(), 1, "{:?}", room.names());
    assert!(store.stats().bytes < 2000);
    drop((reel, store));

    let store = room.open();
    assert_eq!((store.stats().reels, store.stats().orphans_removed), (1, 0));
    let reel = prepare(&store, &source, &script).expect("it is there");
    assert!(reel.is_complete());
    let mut read = Vec::new();
    reel.read(7, &mut read).expect("it is whole");
    // Cut off under us.
    let open = std::fs::OpenOptions::new().write(true).open(&source).expect("it is ours");
    open.set_len(20_000).expect("it is ours");
    assert!(matches!(read_all(&reel), Err(Error::ReelDamaged { .. })));
    assert_eq!(script.opened(), 0);
    reel.damaged();
    until("the index is gone", || room.names().is_empty());
    // What is there now does not fit.
    let cut = prepare(&store, &source, &script).expect("it is cut");
    settled(&store, &cut);
    assert_eq!((script.opened(), room.names().len()), (1, 2));
    // Another recipe leaves something out.
    let source = put(&room, &file(&tags));
    settled(&store, &store.prepare(&source, Recipe::VIDEO, script.cutter()).expect("it is cut"));
    assert_eq!(script.opened(), 2);
}

#[test]
fn a_file_found_unfit_late_is_cut_and_its_followers_are_told() {
    let room = Room::new();
    let mut tags = whole(90);
    let last = tags.pop().expect("there are many");
    tags.extend([headers().remove(1), last]);
    let content = file(&tags);
    assert!(content.len() > 3 << 20, "several reads");
    let source = put(&room, &content);
    let script = Script::of(5);
    let store = room.open();
    let reel = prepare(&store, &source, &script).expect("its beginning fits");
    until("it is found out", || reel.failure().is_some());
    assert!(matches!(&reel.failure().expect("it was just there"), Error::SourceDamaged { .. }));
    let seen = read_all(&reel).expect("what is there is whole");
    assert_eq!(seen, frames(90)[..seen.len()]);
    assert!(seen.len() > 100);
    let cut = prepare(&store, &source, &script).expect("it is cut");
    settled(&store, &cut);
    assert_eq!((script.opened(), read_all(&cut).expect("it is whole")), (1, frames(5)));
    assert_eq!(room.names().len(), 2);
}

#[test]
fn the_lap_is_exact_where_the_frame_rate_is_and_usual_where_not() {
    let with_rate = |rate: Option<f64>, times: &[i64]| {
        let metadata = Metadata { framerate: rate, ..Metadata::default() };
        let mut tags = vec![metadata.to_tag(MediaTime::ZERO), headers().remove(1)];
        tags.extend(times.iter().enumerate().map(|(n, &ms)| {
            let payload = Bytes::from_static(&[0, 0, 0, 1, 9]);
            video::avc_frame(MediaTime::from_millis(ms), 0, n == 0, payload).expect("it is in range")
        }));
        scan(&file(&tags)).expect("it fits").video.expect("there is video")
    };
    let times = |unit: Unit, count: i64| (0..count).map(|n| unit.to_millis(n)).collect::<Vec<_>>();
    let ntsc = Unit { num: 1001, den: 30_000 };
    let film = Unit { num: 1001, den: 24_000 };
    for (rate, unit) in
        [(29.97, ntsc), (29.970_029_97, ntsc), (23.976, film), (60.0, Unit { num: 1, den: 60 })]
    {
        let lap = with_rate(Some(rate), &times(unit, 1001));
        assert_eq!(lap, VideoLap { unit, length: 1001, frames: 1001 }, "{rate}");
    }
    // Times that are cut off and not rounded.
    let floored: Vec<_> = (0..300).map(|n| n * 1001 / 30).collect();
    assert_eq!(with_rate(Some(29.97), &floored).unit, ntsc);
    // It says nothing, or something else than the frames: the usual step follows the last one.
    let even: Vec<_> = (0..50).map(|n| n * 40).collect();
    for rate in [None, Some(0.0), Some(24.0), Some(f64::NAN), Some(1e9)] {
        let lap = with_rate(rate, &even);
        assert_eq!(lap, VideoLap { unit: Unit::MILLIS, length: 2000, frames: 50 }, "{rate:?}");
    }
    let variable = [0, 33, 66, 100, 900, 933, 966, 2500];
    let lap = with_rate(Some(30.0), &variable);
    assert_eq!(lap, VideoLap { unit: Unit::MILLIS, length: 2533, frames: 8 });
}

/// MPEG-1 layer III, 128 kbit/s, 44.1 kHz.
fn mp3(seconds: i64) -> Vec<Tag> {
    let frame = |n: i64| {
        let at = Unit::sample(44_100).to_millis(n * 1152);
        let payload = [&[0xFF, 0xFB, 0x90, 0][..], &vec![n as u8; 413]].concat();
        audio::mp3_frame(MediaTime::from_millis(at), 44_100, 2, payload.into()).expect("FLV has this rate")
    };
    (0..seconds * 44_100 / 1152).map(frame).collect()
}

#[test]
fn mp3_needs_no_sequence_header() {
    let facts = scan(&file(&mp3(5))).expect("it fits");
    let frames = 5i64 * 44_100 / 1152;
    let audio = AudioLap {
        rate: 44_100,
        frame: 1152,
        priming: 0,
        frames: frames.unsigned_abs(),
        start: 0,
        end: frames * 1152,
    };
    assert_eq!(facts, LapFacts { video: None, audio: Some(audio) });
    // Audio that begins later, to the sample as far as milliseconds can say it.
    let facts = scan(&file(&[whole(3), Vec::new()].concat())).expect("it fits");
    assert_eq!(facts.audio.map(|audio| audio.start), Some(0));
    let late: Vec<_> = frames_of(5, |tag| !tag.is_audio() || tag.timestamp.as_millis() >= 500);
    let audio = scan(&file(&late)).expect("it fits").audio.expect("there is audio");
    assert_eq!(audio.start, 512 * 48);
    assert_eq!(audio.end, audio.start + i64::try_from(audio.frames).expect("few") * 1024);
}

fn frames_of(seconds: i64, keep: impl Fn(&Tag) -> bool) -> Vec<Tag> {
    headers().into_iter().chain(frames(seconds).into_iter().filter(keep)).collect()
}

#[test]
fn what_does_not_fit_is_cut() {
    let ms = |tag: &Tag| tag.timestamp.as_millis();
    let insert = |at: usize, tag: Tag| {
        let mut tags = whole(5);
        tags.insert(at, tag);
        tags
    };
    let without_header = |n: usize| {
        let mut tags = whole(5);
        tags.remove(n);
        tags
    };
    let hevc = tag(TagKind::Video, 0, vec![0x1C, 1, 0, 0, 0, 1]);
    let enhanced = tag(TagKind::Video, 0, vec![0x91, b'h', b'v', b'c', b'1', 0, 0, 0]);
    let speex = tag(TagKind::Audio, 0, vec![0xB2, 1, 2]);
    let script = tag(TagKind::Script, 2000, vec![2, 0, 1, b'x']);
    let mut jumped = whole(3);
    jumped.extend(moved(&frames(3), 60_000));
    let mut back = whole(3);
    back.extend(frames(3));
    let mut apart = whole(5);
    apart.sort_by_key(|tag| (!tag.is_sequence_header() && !tag.is_script(), tag.is_audio()));
    let cases: Vec<(&str, Vec<Tag>)> = vec![
        ("begin with a keyframe", frames_of(5, |tag| !(tag.is_keyframe() && ms(tag) == 0))),
        ("has gaps", frames_of(5, |tag| !tag.is_audio() || !(1000..1100).contains(&ms(tag)))),
        ("do not increase", insert(60, whole(5)[60].clone())),
        ("headers lie among", insert(60, headers().remove(2))),
        ("headers lie among", {
            let mut tags = whole(5);
            tags.swap(2, 3);
            tags
        }),
        ("not the only one", insert(2, headers().remove(1))),
        ("video has no sequence header", without_header(1)),
        ("audio has no sequence header", without_header(2)),
        ("lies among its frames", insert(60, script)),
        ("lies among its frames", insert(60, video::avc_end_of_sequence(MediaTime::from_millis(400)))),
        ("not H.264", insert(3, hevc)),
        ("another form", insert(3, enhanced)),
        ("neither AAC nor MP3", insert(3, speex)),
        ("audio changes", [whole(2), moved(&mp3(1), 2000)].concat()),
        ("clock jumps", jumped),
        ("side by side", back),
        ("side by side", apart),
        ("begin together", frames_of(5, |tag| !tag.is_audio() || ms(tag) >= 1100)),
        ("has no frame", headers()),
        ("fewer than two", headers().into_iter().chain(frames(1).into_iter().take(1)).collect()),
        ("configuration is wrong", {
            let mut tags = whole(5);
            tags[1] = video::avc_sequence_header(Bytes::from_static(&[9; 9]), MediaTime::ZERO);
            tags
        }),
    ];
    scan(&file(&whole(5))).expect("the file they are made of fits");
    for (reason, tags) in cases {
        let unfit = scan(&file(&tags)).expect_err(reason);
        assert!(unfit.contains(reason), "{unfit} is not {reason:?}");
    }
    let content = file(&whole(5));
    let mut wrong = content.clone();
    let end = wrong.len();
    wrong[end - 1] ^= 1;
    for (what, content) in [
        ("cut off", &content[..end - 1]),
        ("cut off in a tag", &content[..end - 30]),
        ("a wrong size behind a tag", &wrong),
        ("something behind it", &[&content[..], b"x"].concat()),
        ("no FLV", b"\0\0\0\x18ftypmp42"),
        ("an empty file", b""),
    ] {
        assert!(scan(content).is_err(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_makes_the_scan_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let mut content = file(&whole(2));
        for (place, value) in flips {
            let place = place.index(content.len());
            content[place] = value;
        }
        content.truncate(len.index(content.len() + 1));
        let _ = scan(&content);
    }
}
