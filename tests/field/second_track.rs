//! A second track in an Enhanced RTMP multitrack tag: who has not said that it takes several gets the first one, and stays on the
//! air.

use crate::air::{
    AAC, AVC, Air, frames, headers, pushed, recorded, send, sink, tag, tags, wait_frames, wait_pushed,
};
use flowcast::EventKind;
use flowcast::rtmp::flv::{Tag, TagKind};
use kit::PATIENCE;

/// A multitrack tag: its form, and its tracks with their data.
fn several(kind: TagKind, time: i64, header: bool, form: u8, tracks: &[(u8, &[u8])]) -> Tag {
    let (first, code): (u8, &[u8; 4]) = match kind {
        TagKind::Audio => (0x95, b"mp4a"),
        _ => (0x96, b"avc1"),
    };
    let mut body = vec![first, form << 4 | u8::from(!header)];
    if form != 2 {
        body.extend(code);
    }
    for (id, data) in tracks {
        if form == 2 {
            body.extend(code);
        }
        body.push(*id);
        if form != 0 {
            body.extend(&u32::try_from(data.len()).expect("a short one").to_be_bytes()[1..]);
        }
        body.extend(*data);
    }
    tag(kind, time, &body)
}

/// Publishes `media`, and looks at everything that takes it.
fn publishes(header: &[Tag], media: impl Fn(i64) -> Vec<Tag>, of: &str) {
    let air = Air::start();
    let server = sink();
    let (restream, path) = air.restream(&server, |push| push, |file| file);
    let mut publisher = air.publisher();
    send(&mut publisher, header.iter().cloned().chain(media(0)));
    let (mut plain, mut knows) = (air.player(), air.player_that(true));
    let mut n = 1;
    while server
        .visits()
        .first()
        .is_none_or(|visit| visit.tags.iter().filter(|tag| tag.is_picture()).count() < 30)
    {
        send(&mut publisher, media(n));
        n += 1;
        assert!(n < 20_000, "{of}: nothing is pushed: {}", restream.stats());
    }
    wait_frames(&mut plain, TagKind::Video, 30);
    wait_frames(&mut knows, TagKind::Video, 60);
    wait_pushed(&server, TagKind::Audio, 25);
    assert!(tags(&knows).iter().any(|tag| tag.track() == 1), "{of}: it announced several tracks");
    restream.stop(PATIENCE).expect("it ends well");
    let recording = recorded(&path);
    for (tags, of) in [(tags(&plain), "player"), (recording.iter().collect(), "recording")] {
        for kind in [TagKind::Audio, TagKind::Video] {
            let of_kind: Vec<_> = tags.iter().filter(|tag| tag.kind == kind).collect();
            let own = |tag: &Tag| tag.body.byte(0).is_some_and(|first| first & 0x80 == 0 || first >> 4 == 10);
            assert!(of_kind.iter().all(|tag| own(tag)), "{of}: {of_kind:?}");
            let times: Vec<_> =
                of_kind.iter().filter(|tag| !tag.is_header()).map(|tag| tag.timestamp).collect();
            assert!(times.len() > 20 && times.windows(2).all(|pair| pair[0] < pair[1]), "{of}: {times:?}");
        }
    }
    let times: Vec<_> = pushed(&server)
        .iter()
        .filter(|tag| tag.kind == TagKind::Audio && !tag.header)
        .map(|tag| tag.time)
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{of}: one track of sound: {times:?}");
    let skipped = |kind: &EventKind| matches!(kind, EventKind::OutputTrackSkipped { track: 1, .. });
    // A player, a push and a recording, of pictures and of sound.
    assert_eq!(air.count(skipped), 6, "{of}: once for each output and kind");
}

#[test]
fn beside_plain_tags() {
    let second = |kind, time, header, data: &[u8]| several(kind, time, header, 0, &[(1, data)]);
    let mut header = headers().to_vec();
    header.extend([second(TagKind::Video, 0, true, &AVC[5..]), second(TagKind::Audio, 0, true, &AAC[2..])]);
    let media = |n: i64| {
        let mut tags = frames(n..n + 1, 0, 0);
        tags.push(second(TagKind::Video, n * 40, false, &[0, 0, 0, 9]));
        tags.push(second(TagKind::Audio, n * 40, false, &[9]));
        tags
    };
    publishes(&header, media, "one track");
}

#[test]
fn in_one_tag_with_the_first() {
    for form in [1, 2] {
        let both =
            |kind, time, header, data: &[u8]| several(kind, time, header, form, &[(0, data), (1, data)]);
        let header = [both(TagKind::Video, 0, true, &AVC[5..]), both(TagKind::Audio, 0, true, &AAC[2..])];
        let media = |n: i64| {
            vec![
                both(TagKind::Video, n * 40, false, &[0, 0, 0, 9]),
                both(TagKind::Audio, n * 40, false, &[9]),
            ]
        };
        // Frame type 1 is a keyframe; the form above says so of every picture.
        publishes(&header, media, &format!("form {form}"));
    }
}

#[test]
fn a_track_of_its_own_form_is_recorded_where_that_is_asked_for() {
    let air = Air::start();
    let server = sink();
    let (restream, path) =
        air.restream(&server, |push| push.enhanced().all_tracks(), |file| file.all_tracks());
    let mut publisher = air.publisher();
    let second = |time, header, data: &[u8]| several(TagKind::Audio, time, header, 0, &[(1, data)]);
    send(&mut publisher, headers().into_iter().chain([second(0, true, &AAC[2..])]));
    let mut n = 0;
    while n < 60 || restream.stats().outputs.iter().any(|output| output.bytes_sent < 2_000) {
        send(&mut publisher, frames(n..n + 1, 0, 0).into_iter().chain([second(n * 40, false, &[9])]));
        n += 1;
        assert!(n < 20_000, "{}", restream.stats());
    }
    restream.stop(PATIENCE).expect("it ends well");
    assert!(recorded(&path).iter().filter(|tag| tag.track() == 1).count() > 5);
}
