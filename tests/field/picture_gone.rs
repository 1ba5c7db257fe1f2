//! The picture stops and the sound goes on, or one of the two never comes: who begins then begins with what there is.

use crate::air::{
    Air, frames, headers, key, picture, pushed, recorded, send, sink, sound, tags, wait_frames, wait_pushed,
};
use flowcast::Output;
use flowcast::rtmp::flv::{Tag, TagKind};
use kit::scripted::Scripted;
use kit::{PATIENCE, Session, wait_until};
use std::net::TcpStream;
use std::path::Path;

/// Sends sound, a tag at a time from number `n` on, until the player and the push have this many, and the recording is under way.
fn send_sound(
    publisher: &mut Session<TcpStream>,
    n: &mut i64,
    player: &mut Session<TcpStream>,
    server: &Scripted,
    recording: &Path,
) {
    let sounds = |player: &Session<TcpStream>| {
        tags(player).iter().filter(|tag| tag.is_audio() && !tag.is_header()).count()
    };
    let all = wait_until(PATIENCE, || {
        send(publisher, [sound(*n * 40)]);
        *n += 1;
        let _ = player.send();
        assert!(matches!(player.read(), Ok(true)), "the player is thrown out");
        let pushed = server.visits().first().map_or(0, |visit| visit.tags.len());
        let size = std::fs::metadata(recording).map_or(0, |facts| facts.len());
        sounds(player) >= 20 && pushed >= 20 && size > 500
    });
    assert!(all, "player: {} sounds, push: {:?}", sounds(player), server.visits());
}

/// Sound first, and of the pictures first a keyframe, behind its header.
#[track_caller]
fn assert_sound_then_picture(media: &[&Tag], of: &str) {
    let frames: Vec<_> = media.iter().filter(|tag| !tag.is_header()).collect();
    let first = frames.iter().position(|tag| tag.is_video());
    let first = first.unwrap_or_else(|| panic!("{of}: no picture"));
    assert!(first >= 10 && frames[first].is_keyframe(), "{of}: {first} sounds, then {:?}", frames[first]);
    assert!(frames[..first].iter().all(|tag| tag.is_audio()), "{of}");
    let header = media.iter().position(|tag| tag.is_video() && tag.is_sequence_header());
    let picture = media.iter().position(|tag| tag.is_keyframe());
    assert!(header < picture, "{of}: {header:?}, {picture:?}");
}

#[test]
fn who_begins_while_the_picture_is_gone_gets_sound_and_then_the_picture() {
    let air = Air::start();
    let mut publisher = air.publisher();
    send(&mut publisher, headers().into_iter().chain(frames(0..25, 0, 0)));
    // The picture stops after a second; the last keyframe is out of reach.
    send(&mut publisher, (25..500).map(|n| sound(n * 40)));
    let stream = air.stream();
    let all = || stream.stats().media_time.as_millis() >= 499 * 40;
    assert!(wait_until(PATIENCE, all), "{}", stream.stats());
    let mut player = air.player();
    let path = air.directory.path().join("late.flv");
    let recording = stream.add_output(Output::record(&path)).expect("a running stream");
    let server = sink();
    let (restream, restreamed) = air.restream(&server, |push| push, |file| file);
    let mut n = 500;
    send_sound(&mut publisher, &mut n, &mut player, &server, &restreamed);
    send_sound(&mut publisher, &mut n, &mut player, &server, &path);
    // It is back, and what of it needs earlier pictures is left out.
    send(&mut publisher, [picture(n * 40), key(n * 40 + 40), picture(n * 40 + 80), sound(n * 40 + 90)]);
    wait_frames(&mut player, TagKind::Video, 2);
    wait_pushed(&server, TagKind::Video, 2);
    assert_sound_then_picture(&tags(&player), "player");
    let seen = pushed(&server);
    let first = seen.iter().find(|tag| tag.is_picture());
    assert!(first.is_some_and(|tag| tag.keyframe), "{first:?}");
    drop(publisher);
    restream.stop(PATIENCE).expect("it ends well");
    stream.remove_output(recording).expect("it is there");
    for (path, of) in [(path, "recording"), (restreamed, "recording of the restream")] {
        assert_sound_then_picture(&recorded(&path).iter().collect::<Vec<_>>(), of);
    }
}

#[test]
fn a_picture_that_is_announced_and_never_comes_leaves_the_sound() {
    let air = Air::start();
    let server = sink();
    let (restream, path) = air.restream(&server, |push| push, |file| file);
    let mut publisher = air.publisher();
    send(&mut publisher, headers());
    send(&mut publisher, (0..25).map(|n| sound(n * 40)));
    let mut player = air.player();
    send_sound(&mut publisher, &mut 25, &mut player, &server, &path);
    restream.stop(PATIENCE).expect("it ends well");
    let sounds = recorded(&path).iter().filter(|tag| tag.is_audio() && !tag.is_header()).count();
    assert!(sounds >= 10, "{sounds} sounds");
}

#[test]
fn sound_that_stops_or_never_comes_holds_nothing_up() {
    let air = Air::start();
    let server = sink();
    let (restream, path) = air.restream(&server, |push| push, |file| file);
    let mut publisher = air.publisher();
    let with_sound = frames(0..10, 0, 0);
    send(&mut publisher, headers().into_iter().chain(with_sound));
    let mut n = 10;
    let mut player = air.player();
    let live = wait_until(PATIENCE, || {
        send(&mut publisher, frames(n..n + 1, 0, 0).into_iter().filter(Tag::is_video));
        n += 1;
        server
            .visits()
            .first()
            .is_some_and(|visit| visit.tags.iter().filter(|tag| tag.is_picture()).count() > 5)
    });
    assert!(live, "{}", restream.stats());
    wait_frames(&mut player, TagKind::Video, 10);
    restream.stop(PATIENCE).expect("it ends well");
    assert!(recorded(&path).iter().filter(|tag| tag.is_video() && !tag.is_header()).count() > 5);
}
