//! Frames before the sequence header of their codec, or with one that says nothing: nothing goes out that cannot be decoded.

use crate::air::{AAC, AVC, Air, headers, recorded, send, sink, tag, tags, wait_frames, wait_pushed};
use flowcast::rtmp::flv::{Tag, TagKind};
use flowcast::{EventKind, Output};
use kit::PATIENCE;

/// Frame `n` of 40 ms in these forms, a keyframe every ten.
fn frames(numbers: std::ops::Range<i64>, video: [&[u8]; 2], audio: &[u8]) -> Vec<Tag> {
    let frame = |n: i64| {
        let head = video[usize::from(n % 10 != 0)];
        [tag(TagKind::Video, n * 40, head), tag(TagKind::Audio, n * 40, audio)]
    };
    numbers.flat_map(frame).collect()
}

/// No frame of a kind before the header of that kind.
#[track_caller]
fn assert_in_order(media: &[&Tag], of: &str) {
    for kind in [TagKind::Video, TagKind::Audio] {
        let of_kind: Vec<_> = media.iter().filter(|tag| tag.kind == kind).collect();
        let header = of_kind.iter().position(|tag| tag.is_sequence_header());
        let frame = of_kind.iter().position(|tag| !tag.is_header());
        assert!(
            header.is_some() && frame.is_some() && header < frame,
            "{of}, {kind:?}: {header:?}, {frame:?}"
        );
        let usable = of_kind
            .iter()
            .filter(|tag| tag.is_sequence_header())
            .all(|tag| tag.body.len() > 6 || tag.is_audio());
        assert!(usable, "{of}: an empty header");
    }
}

/// A second of frames, useless headers, half a second of frames, the headers, frames.
fn late(useless: [Tag; 2], header: [Tag; 2], video: [&[u8]; 2], audio: &[u8], unasked: bool) {
    let air = Air::start();
    let server = sink();
    let (restream, restreamed) =
        air.restream(&server, |push| if unasked { push.enhanced_always() } else { push }, |file| file);
    let mut publisher = air.publisher();
    send(&mut publisher, frames(0..25, video, audio));
    let stream = air.stream();
    let path = air.directory.path().join("from-the-beginning.flv");
    let recording = stream.add_output(Output::record(&path)).expect("a running stream");
    let mut player = air.player();
    send(&mut publisher, useless.into_iter().chain(frames(25..37, video, audio)));
    send(&mut publisher, header.into_iter().chain(frames(37..40, video, audio)));
    let mut n = 40;
    let mut left_out = 0;
    let told = |kind: &EventKind| match kind {
        EventKind::HeaderCame { left_out, .. } => Some(*left_out),
        _ => None,
    };
    left_out += air.told(told);
    assert_eq!(left_out, 38, "37 frames and a header");
    while tags(&player).iter().filter(|tag| tag.is_video() && !tag.is_header()).count() < 10 || n < 80 {
        send(&mut publisher, frames(n..n + 1, video, audio));
        n += 1;
        let _ = player.send();
        assert!(matches!(player.read(), Ok(true)), "the player is thrown out");
        assert!(n < 2_000, "nothing comes: {:?}", tags(&player));
    }
    wait_frames(&mut player, TagKind::Audio, 10);
    assert_in_order(&tags(&player), "player");
    while server.visits().first().is_none_or(|visit| !visit.tags.iter().any(|tag| tag.is_picture())) {
        send(&mut publisher, frames(n..n + 1, video, audio));
        n += 1;
        assert!(n < 20_000, "nothing is pushed: {}", restream.stats());
    }
    wait_pushed(&server, TagKind::Audio, 1);
    drop(publisher);
    restream.stop(PATIENCE).expect("it ends well");
    stream.remove_output(recording).expect("it is there");
    for (path, of) in [(path, "recording"), (restreamed, "recording of the restream")] {
        assert_in_order(&recorded(&path).iter().collect::<Vec<_>>(), of);
    }
    assert_eq!(air.count(|kind| matches!(kind, EventKind::HeaderMissing { .. })), 2, "each track once");
}

#[test]
fn of_h264_and_aac() {
    let useless = [
        tag(TagKind::Video, 0, &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 31, 0xFF, 0xE0, 0]),
        tag(TagKind::Audio, 0, &[0xAF, 0]),
    ];
    assert_ne!((AVC.len(), AAC.len()), (0, 0));
    late(
        useless,
        headers(),
        [&[0x17, 1, 0, 0, 0, 0x65, 1], &[0x27, 1, 0, 0, 0, 0x41, 1]],
        &[0xAF, 1, 0x21, 1],
        false,
    );
}

#[test]
fn of_av1_and_opus() {
    let useless = [tag(TagKind::Video, 0, b"\x90av01"), tag(TagKind::Audio, 0, b"\x90Opus")];
    let header = [
        tag(TagKind::Video, 0, b"\x90av01\x81\0\x0c\0"),
        tag(TagKind::Audio, 0, b"\x90OpusOpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"),
    ];
    late(useless, header, [b"\x91av01key", b"\xa1av01inter"], b"\x91Opussound", true);
}

#[test]
fn parameter_sets_in_keyframes_become_the_header() {
    let air = Air::start();
    let server = sink();
    let (restream, restreamed) = air.restream(&server, |push| push, |file| file);
    let mut publisher = air.publisher();
    let key = [
        0x17, 1, 0, 0, 0, 0, 0, 0, 8, 0x67, 66, 0xC0, 13, 0xDA, 5, 6, 0xC4, 0, 0, 0, 4, 0x68, 0xCE, 0x3C,
        0x80, 0, 0, 0, 2, 0x65, 0x88,
    ];
    let empty = tag(TagKind::Video, 0, &[0x17, 0, 0, 0, 0, 1, 66, 0xC0, 13, 0xFF, 0xE0, 0]);
    send(&mut publisher, [empty, tag(TagKind::Audio, 0, AAC)]);
    let mut n = 0;
    while server.visits().first().is_none_or(|visit| !visit.tags.iter().any(|tag| tag.is_picture())) {
        send(&mut publisher, frames(n..n + 1, [&key, &[0x27, 1, 0, 0, 0, 0x41, 1]], &[0xAF, 1, 0x21, 1]));
        n += 1;
        assert!(n < 20_000, "nothing is pushed: {}", restream.stats());
    }
    wait_pushed(&server, TagKind::Audio, 1);
    drop(publisher);
    restream.stop(PATIENCE).expect("it ends well");
    let media = recorded(&restreamed);
    assert_in_order(&media.iter().collect::<Vec<_>>(), "recording of the restream");
    let headers: Vec<_> = media.iter().filter(|tag| tag.is_video() && tag.is_sequence_header()).collect();
    let [header] = headers[..] else { panic!("{headers:?}") };
    assert_eq!(
        header.body.to_bytes(),
        [0x17, 0, 0, 0, 0, 1, 66, 0xC0, 13, 0xFF, 0xE1, 0, 8]
            .into_iter()
            .chain(key[9..17].iter().copied())
            .chain([1, 0, 4])
            .chain(key[21..25].iter().copied())
            .collect::<Vec<u8>>()
    );
}
