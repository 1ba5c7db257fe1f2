//! Who has no business is told so, and nobody else notices.

use super::*;

#[test]
fn unknown_key_is_refused_with_its_status_before_any_media() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    // A name is no key.
    for key in ["wrong-key", NAME, "studio-ke", "studio-key2"] {
        let client = Client::connect(ClientRole::Publish, &studio.url("live", key));
        assert_eq!(client.refusal(), "NetStream.Publish.BadName", "{key}");
    }
    let tags = media_tags(&studio.clip(Clip { seconds: 1, size: (160, 90), ..Clip::default() }));
    let mut client = Client::connect(ClientRole::Publish, &studio.url("live", "wrong-key"));
    let mut segment = client.publish_command();
    segment.extend(on_the_wire(&tags));
    client.socket.write_all(&segment).expect("an open connection");
    let code = client.refusal();
    assert_eq!(code, "NetStream.Publish.BadName");
    let stats = studio.server.stats();
    assert_eq!((stats.refused_publish, stats.bytes_received, stats.publishers), (5, 0, 0), "{stats:?}");
    assert!(studio.engine.keys().active().is_empty() && studio.engine.streams().is_empty());
    assert!(wait_until(PATIENCE, || studio.server.stats().connections == 0), "{:?}", studio.server.stats());
}

#[test]
fn publishers_of_others_hear_that_their_key_is_unknown() {
    let needs = [Need::Ffmpeg, Need::Gstreamer, Need::Peer("librtmp_publish"), Need::Peer("rml_client")];
    if !need(&needs) {
        return;
    }
    let studio = Studio::start();
    let (file, url) = (studio.clip(Clip::default()), studio.url("live", "wrong-key"));
    let publishers = [
        ffmpeg_publish(&file, &url, 1),
        gst_publish(&file, &url),
        librtmp_publish(&file, &url),
        peer_publish("rml_client", &file, &url),
    ];
    for mut publisher in publishers {
        let status = publisher.wait(PATIENCE);
        assert!(!status.success(), "{}", publisher.report());
    }
    let stats = studio.server.stats();
    assert_eq!((stats.refused_publish, stats.bytes_received), (4, 0), "{stats:?}");
}

#[test]
fn our_own_push_with_an_unknown_key_ends_and_is_not_tried_again() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip::default());
    let engine = Engine::new(Config::default()).expect("the defaults work");
    let events = engine.events();
    let live = engine
        .stream(Source::file(&file).looped())
        .to(Output::rtmp(&format!("rtmp://{}/live", studio.server.address()), "wrong-key"))
        .start()
        .expect("a stream of the clip");
    let ended = live.wait_timeout(PATIENCE).expect("its only output has ended");
    let error = ended.expect_err("it was refused");
    assert!(matches!(error, Error::Rtmp { source: RtmpError::Rejected { .. }, .. }), "{error:?}");
    assert!(!error.is_retryable());
    let retried =
        std::iter::from_fn(|| events.try_next()).any(|e| matches!(e.kind, EventKind::OutputRetrying { .. }));
    assert!(!retried);
    assert_eq!(studio.server.stats().refused_publish, 1);
}

#[test]
fn another_app_is_refused_to_publishers_and_players() {
    let studio = Studio::start();
    let publisher = Client::connect(ClientRole::Publish, &studio.url("other", KEY));
    assert_eq!(publisher.refusal(), "NetStream.Publish.BadName");
    let player = Client::connect(ClientRole::Play, &studio.url("other", NAME));
    assert_eq!(player.refusal(), "NetStream.Play.StreamNotFound");
    let stats = studio.server.stats();
    assert_eq!((stats.refused_publish, stats.refused_play), (1, 1), "{stats:?}");
}

#[test]
fn unknown_name_is_not_found() {
    let studio = Studio::start();
    // Nobody publishes, and a key is no name.
    for name in [NAME, "nobody", KEY] {
        let player = Client::connect(ClientRole::Play, &studio.url("live", name));
        assert_eq!(player.refusal(), "NetStream.Play.StreamNotFound", "{name}");
    }
    let stats = studio.server.stats();
    assert_eq!((stats.refused_play, stats.players), (3, 0), "{stats:?}");
}

#[test]
fn players_of_others_hear_that_there_is_no_such_stream() {
    if !need(&[Need::Ffmpeg, Need::Rtmpdump, Need::Gstreamer]) {
        return;
    }
    let studio = Studio::start();
    let url = studio.url("live", "nobody");
    let players = [
        ffmpeg_play(&url, &studio.file("ffmpeg.flv"), None),
        rtmpdump(&url, &studio.file("rtmpdump.flv"), None),
        gst_play(&url, &studio.file("gst.flv")),
    ];
    for mut player in players {
        let status = player.wait(PATIENCE);
        assert!(!status.success(), "{}", player.report());
    }
    assert_eq!(studio.server.stats().refused_play, 3);
}

#[test]
fn second_publisher_is_refused_and_the_first_goes_on_unharmed() {
    if !need(&[Need::Ffmpeg, Need::Peer("librtmp_publish")]) {
        return;
    }
    let studio = Studio::start();
    let file = studio.clip(Clip { gop: 50, ..Clip::default() });
    let mut first = ffmpeg_publish(&file, &studio.publish_url(), 1);
    let (stream, recording) = studio.record();
    // It is on the air until the others have been refused, however long these take to start.
    first.freeze();
    let client = Client::connect(ClientRole::Publish, &studio.publish_url());
    assert_eq!(client.refusal(), "NetStream.Publish.BadName");
    let mut others =
        [ffmpeg_publish(&file, &studio.publish_url(), 1), librtmp_publish(&file, &studio.publish_url())];
    for other in &mut others {
        assert!(!other.wait(PATIENCE).success(), "{}", other.report());
    }
    assert!(first.is_running(), "the first was to be on the air still\n{}", first.report());
    assert_eq!((studio.server.stats().publishers, studio.server.stats().refused_publish), (1, 3));
    first.thaw();
    first.wait_success(PATIENCE);
    studio.wait_off_air(&stream);
    assert_whole(&recording, &file, Publisher::Exact, &first.report());
    // The name is free again.
    let mut client = Client::connect(ClientRole::Publish, &studio.publish_url());
    let accepted = client.run_until(|client| client.session.is_live());
    assert!(matches!(accepted, Ok(true)), "{accepted:?}");
}

#[test]
fn removing_a_key_takes_its_publisher_off_the_air_and_no_other() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let studio = Studio::start();
    let other_key = studio.engine.keys().issue("other").expect("a free name");
    let file = studio.clip(Clip::default());
    let mut publisher = ffmpeg_publish(&file, &studio.publish_url(), 50);
    let mut other = ffmpeg_publish(&file, &studio.url("live", other_key.reveal()), 50);
    let stream = studio.on_air();
    assert!(wait_until(PATIENCE, || studio.engine.hub().find("other").is_some()), "{}", other.report());
    let mut player = Client::connect(ClientRole::Play, &studio.play_url());
    let is_tag = |event: &ClientEvent| matches!(event, ClientEvent::Tag(_));
    let playing = player.run_until(|client| client.events.iter().any(is_tag));
    assert!(matches!(playing, Ok(true)), "{playing:?}");
    assert!(studio.engine.keys().remove(NAME));
    assert!(wait_until(PATIENCE, || stream.has_ended()), "{}", stream.stats());
    // The publisher's connection is gone, the player is told and gone, the key is unknown, the other stream is on.
    assert!(!publisher.wait(PATIENCE).success(), "{}", publisher.report());
    let over = player.run_until(|client| {
        client.events.iter().any(|event| matches!(event, ClientEvent::StreamEof | ClientEvent::Closed { .. }))
    });
    assert!(matches!(over, Ok(true)), "the player was not told: {over:?}");
    player.assert_closed();
    let again = Client::connect(ClientRole::Publish, &studio.publish_url());
    assert_eq!(again.refusal(), "NetStream.Publish.BadName");
    assert!(other.is_running(), "{}", other.report());
    let names: Vec<_> = studio.engine.keys().active().into_iter().map(|stream| stream.name).collect();
    assert_eq!(names, ["other"]);
}
