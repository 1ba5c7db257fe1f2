//! Client and server sessions against each other.

use bytes::Bytes;
use flowcast_rtmp::chunk::SharedChunker;
use flowcast_rtmp::error::Error;
use flowcast_rtmp::flv::{Tag, TagKind};
use flowcast_rtmp::session::{ClientEvent, ClientRole, Reject, ServerEvent};
use flowcast_rtmp::time::MediaTime;

use crate::util::{Pair, audio, facts, short_stream, video};

#[test]
fn a_publish_session_in_pieces_of_every_size() {
    for step in [1, 2, 3, 100, 1537, 100_000] {
        let mut pair = Pair::go_live(ClientRole::Publish, step);
        let tags = short_stream();
        for tag in &tags {
            pair.client.send_tag(tag);
        }
        pair.drive().unwrap();
        assert_eq!(facts(&pair.server_tags()), facts(&tags), "step {step}");

        pair.client.finish();
        pair.drive().unwrap();
        assert_eq!(pair.server_events.last(), Some(&ServerEvent::Unpublish));
        assert!(!pair.server.is_live() && pair.client.is_finished());

        let ServerEvent::Connect { app, tc_url } = &pair.server_events[0] else { panic!("no connect") };
        assert_eq!((app.as_str(), tc_url.as_str()), ("live", "rtmp://host/live"));
        let ServerEvent::Publish(request) = &pair.server_events[1] else { panic!("no publish") };
        assert_eq!(
            (request.app.as_str(), request.key.reveal(), request.mode.as_str()),
            ("live", "key", "live")
        );
        assert_eq!(pair.client_events[..2], [ClientEvent::Connected, ClientEvent::Live]);
    }
}

#[test]
fn a_play_session_in_pieces_of_every_size() {
    for step in [1, 2, 3, 100, 1537, 100_000] {
        let mut pair = Pair::go_live(ClientRole::Play, step);
        let tags = short_stream();
        let mut chunker = SharedChunker::new(60_000);
        for (index, tag) in tags.iter().enumerate() {
            if index % 2 == 0 {
                pair.server.send_shared(&chunker.chunk(tag));
            } else {
                chunker.chunk(tag);
                pair.server.send_tag(tag);
            }
        }
        pair.drive().unwrap();
        assert_eq!(facts(&pair.client_tags()), facts(&tags), "step {step}");

        pair.server.send_stream_eof();
        pair.drive().unwrap();
        assert_eq!(pair.client_events.last(), Some(&ClientEvent::StreamEof));
        pair.server.finish();
        pair.drive().unwrap();
        let closed = ClientEvent::Closed { code: "NetStream.Play.UnpublishNotify".into() };
        assert_eq!(pair.client_events.last(), Some(&closed));
        assert!(pair.server.is_finished() && pair.client.is_finished());
    }
}

#[test]
fn a_player_leaves() {
    let mut pair = Pair::go_live(ClientRole::Play, 1000);
    pair.client.finish();
    pair.drive().unwrap();
    assert_eq!(pair.server_events.last(), Some(&ServerEvent::StopPlay));
    assert!(!pair.server.is_live());
}

#[test]
fn nothing_is_said_before_the_decision() {
    for role in [ClientRole::Publish, ClientRole::Play] {
        let mut pair = Pair::new(role, 1000);
        pair.drive().unwrap();
        assert!(!pair.client.is_live() && !pair.server.is_live());
        assert_eq!(pair.client_events, [ClientEvent::Connected]);
    }
}

#[test]
fn refusals_reach_the_client_with_their_code() {
    let cases = [
        (ClientRole::Publish, Reject::BadName, "NetStream.Publish.BadName", false),
        (ClientRole::Publish, Reject::Denied, "NetStream.Publish.Denied", false),
        (ClientRole::Publish, Reject::Busy, "NetStream.Publish.BadName", true),
        (ClientRole::Publish, Reject::NotFound, "NetStream.Publish.BadName", false),
        (ClientRole::Play, Reject::NotFound, "NetStream.Play.StreamNotFound", true),
        (ClientRole::Play, Reject::BadName, "NetStream.Play.StreamNotFound", true),
        (ClientRole::Play, Reject::Denied, "NetStream.Play.Failed", true),
        (ClientRole::Play, Reject::Busy, "NetStream.Play.Failed", true),
        (
            ClientRole::Publish,
            Reject::Custom { code: "NetStream.Publish.Unpaid".into(), description: "no".into() },
            "NetStream.Publish.Unpaid",
            false,
        ),
    ];
    for (role, reason, expected, retryable) in cases {
        for step in [1, 5000] {
            let mut pair = Pair::new(role, step);
            pair.drive().unwrap();
            pair.server.reject(reason.clone(), pair.now);
            assert!(pair.server.is_finished());
            let error = pair.drive().unwrap_err();
            assert_eq!(error.is_retryable(), retryable, "{error}");
            let Error::Rejected { code, .. } = error else { panic!("{error}") };
            assert_eq!(code, expected);
            assert!(pair.client.is_finished() && !pair.client.is_live());
        }
    }
}

#[test]
fn metadata_is_stripped_of_set_data_frame_and_may_change() {
    let mut pair = Pair::go_live(ClientRole::Publish, 1000);
    let tags = short_stream();
    let metadata = tags[0].body.to_bytes();
    pair.client.send_metadata(&metadata, MediaTime::ZERO);
    pair.client.send_tag(&video(0, true, 50));
    pair.client.send_shared(&SharedChunker::new(60_000).chunk(&tags[0]));
    pair.drive().unwrap();
    let wire: &[u8] = b"@setDataFrame";
    assert_eq!(pair.to_server.windows(wire.len()).filter(|window| *window == wire).count(), 2);
    let seen = pair.server_tags();
    assert_eq!(
        seen.iter().map(|tag| tag.kind).collect::<Vec<_>>(),
        [TagKind::Script, TagKind::Video, TagKind::Script]
    );
    assert_eq!(seen[0].body.to_bytes(), metadata);
    assert_eq!(seen[2].body.to_bytes(), metadata);
}

#[test]
fn base_is_taken_off_and_time_is_unwrapped() {
    let mut pair = Pair::go_live(ClientRole::Publish, 100_000);
    let start = 1_000_000_000_000_i64;
    pair.client.set_base(MediaTime::from_millis(start));
    let hour = 3_600_000_i64;
    let times: Vec<_> = (0..3000).map(|index| index * hour / 2).collect();
    for time in &times {
        pair.client.send_tag(&audio(start + time, 20));
    }
    pair.drive().unwrap();
    let seen: Vec<_> = pair.server_tags().iter().map(|tag| tag.timestamp.as_millis()).collect();
    assert_eq!(seen, times, "62 days");
}

#[test]
fn media_in_the_segment_of_the_publish_is_parsed_after_the_decision() {
    for moved in [false, true] {
        let mut pair = Pair::new(ClientRole::Publish, usize::MAX);
        pair.drive().unwrap();
        // What a hasty client would send: media right behind publish.
        let mut hasty = Pair::go_live(ClientRole::Publish, 1000);
        hasty.to_server.clear();
        let tags = short_stream();
        for tag in &tags {
            hasty.client.send_tag(tag);
        }
        hasty.drive().unwrap();
        for piece in hasty.to_server.chunks(700) {
            pair.server.handle_input(pair.now, piece).unwrap();
        }
        assert!(pair.server.poll_event().is_none());
        assert!(pair.server.buffered_bytes() >= hasty.to_server.len());
        let now = pair.now;
        let mut server = pair.server;
        if moved {
            server = std::thread::spawn(move || {
                server.accept_publish(now);
                server
            })
            .join()
            .unwrap();
        } else {
            server.accept_publish(now);
        }
        let mut seen = Vec::new();
        while let Some(ServerEvent::Tag(tag)) = server.poll_event() {
            seen.push(tag);
        }
        assert_eq!(facts(&seen), facts(&tags));
        assert_eq!(server.buffered_bytes(), 0);
    }
}

#[test]
fn acknowledgements_go_both_ways() {
    let mut pair = Pair::go_live(ClientRole::Publish, 60_000);
    for index in 0..200_i64 {
        pair.client.send_tag(&video(index * 40, false, 50_000));
        pair.drive().unwrap();
    }
    let sent = pair.to_server.len() as u64;
    assert_eq!(pair.server.received(), sent);
    assert!(sent - pair.client.acknowledged() <= 1_250_000 + 60_000, "{}", pair.client.acknowledged());

    let mut pair = Pair::go_live(ClientRole::Play, 60_000);
    for index in 0..200_i64 {
        pair.server.send_tag(&video(index * 40, false, 50_000));
        pair.drive().unwrap();
    }
    let sent = pair.to_client.len() as u64;
    assert!(sent - pair.server.acknowledged() <= 1_250_000 + 60_000, "{}", pair.server.acknowledged());
}

#[test]
fn send_calls_out_of_place_do_nothing() {
    let mut pair = Pair::new(ClientRole::Publish, 1000);
    let before = (pair.client.wire().len(), pair.server.wire().len());
    pair.client.send_tag(&video(0, true, 10));
    pair.client.send_metadata(&Bytes::from_static(b"x"), MediaTime::ZERO);
    pair.server.send_tag(&video(0, true, 10));
    pair.server.send_stream_eof();
    pair.server.accept_publish(pair.now);
    pair.server.accept_play(pair.now);
    pair.server.reject(Reject::Denied, pair.now);
    assert_eq!((pair.client.wire().len(), pair.server.wire().len()), before);
    assert!(!pair.server.is_finished());
}

#[test]
fn large_messages_pass_once_accepted() {
    let mut pair = Pair::go_live(ClientRole::Publish, 50_000);
    let tag = Tag::from_wire(TagKind::Video, MediaTime::ZERO, vec![0x17; 3 << 20].into());
    pair.client.send_tag(&tag);
    pair.drive().unwrap();
    assert_eq!(pair.server_tags()[0].body.len(), 3 << 20);
}

#[test]
fn no_key_in_debug_output() {
    let mut pair = Pair::go_live(ClientRole::Publish, 1000);
    pair.client.send_tag(&video(0, true, 10));
    let shown = format!("{:?} {:?}", pair.client, pair.server_events);
    assert!(!shown.contains("\"key\""), "{shown}");
}
