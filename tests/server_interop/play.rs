//! Programs of others play, from a keyframe on.

use super::*;

/// Somebody joins in the middle of a GOP, plays over loop points until the publisher ends, and then ends by itself.
fn plays(needs: &[Need], play: impl Fn(&str, &Path) -> Peer) {
    if !need(&[Need::Ffmpeg]) || !need(needs) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip::default());
    let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 3);
    let stream = studio.on_air();
    // Past the first keyframe but one.
    assert!(wait_until(PATIENCE, || stream.stats().media_time.as_millis() > 1_000), "{}", stream.stats());
    let played = studio.file("played.flv");
    let mut player = publisher.frozen(|| {
        let player = play(&studio.play_url(), &played);
        studio.wait_players(1);
        player
    });
    publisher.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    player.wait(PATIENCE);
    let (recorded, frames) = (frame_hashes(&played), frame_hashes(&file));
    let found = laps(&recorded, &frames).unwrap_or_else(|why| panic!("{why}\n{}", player.report()));
    assert_eq!(found.first % 25, 0, "{found}: it must begin with a keyframe\n{}", player.report());
    assert!(found.seams >= 1, "{found}\n{}", player.report());
    let end = (found.first + recorded.len()) % frames.len();
    assert_eq!((end, found.cut), (0, 0), "{found}: it must end with the last frame\n{}", player.report());
    assert_times(&played, &["v", "a"], Publisher::Exact, &player.report());
    let sound = kit::packet_hashes(&played, "a");
    let original = kit::packet_hashes(&file, "a");
    sound_laps(&sound, &original, original.len() - 1)
        .unwrap_or_else(|why| panic!("{why}\n{}", player.report()));
    let stats = studio.server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0), "{stats:?}\n{}", player.report());
    assert!(wait_until(PATIENCE, || studio.server.stats().connections == 0), "{:?}", studio.server.stats());
}

#[test]
fn ffmpeg_plays() {
    plays(&[], |url, file| ffmpeg_play(url, file, None));
}

#[test]
fn rtmpdump_plays() {
    plays(&[Need::Rtmpdump], |url, file| rtmpdump(url, file, None));
}

#[test]
fn gstreamer_plays() {
    plays(&[Need::Gstreamer], gst_play);
}

#[test]
fn xiu_plays() {
    plays(&[Need::Peer("xiu_client")], |url, file| peer_play("xiu_client", url, file));
}

#[test]
fn rml_plays() {
    plays(&[Need::Peer("rml_client")], |url, file| peer_play("rml_client", url, file));
}

/// Somebody who joins while nothing new comes still gets the GOP that has begun, from its keyframe on and from time zero.
#[test]
fn a_player_in_the_middle_of_a_gop_gets_all_of_it() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let tags = media_tags(&studio.clip(Clip { seconds: 3, gop: 25, ..Clip::default() }));
    let is_join = |tag: &Tag| tag.is_keyframe() && tag.is_video() && !tag.is_sequence_header();
    let joins: Vec<_> = tags.iter().enumerate().filter(|(_, tag)| is_join(tag)).map(|(at, _)| at).collect();
    assert_eq!(joins.len(), 3);
    // Up to the middle of the last GOP.
    let sent = &tags[..(joins[2] + tags.len()) / 2];
    let mut publisher = Client::connect(ClientRole::Publish, &studio.publish_url());
    let live = publisher.run_until(|client| client.session.is_live());
    assert!(matches!(live, Ok(true)), "{live:?}");
    sent.iter().for_each(|tag| publisher.session.send_tag(tag));
    publisher.send();
    let stream = studio.on_air();
    let last = sent.iter().map(|tag| tag.timestamp).max().expect("tags");
    assert!(wait_until(PATIENCE, || stream.stats().media_time == last), "{}", stream.stats());
    let headers = tags.iter().filter(|tag| tag.is_sequence_header()).map(|tag| (0, tag.body.to_bytes()));
    let zero = tags[joins[2]].timestamp;
    let gop = sent[joins[2]..].iter().filter(|tag| tag.timestamp >= zero);
    let gop = gop.map(|tag| (tag.timestamp.millis_since(zero), tag.body.to_bytes()));
    let expected: Vec<_> = headers.chain(gop).collect();
    let mut player = Client::connect(ClientRole::Play, &studio.play_url());
    let played = |client: &Client| {
        let tags = client.events.iter().filter_map(|event| match event {
            ClientEvent::Tag(tag) if tag.kind != TagKind::Script => Some(tag),
            _ => None,
        });
        tags.map(|tag| (tag.timestamp.as_millis(), tag.body.to_bytes())).collect::<Vec<_>>()
    };
    let got = player.run_until(|client| played(client).len() >= expected.len());
    assert!(matches!(got, Ok(true)), "{got:?}");
    assert!(played(&player) == expected, "other tags, or at other times");
}
