//! The server session against commands as clients send them.

use bytes::Bytes;
use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::command::Command;
use flowcast_rtmp::error::{Error, LimitKind};
use flowcast_rtmp::flv::TagKind;
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::message::{Control, UserControl, type_id};
use flowcast_rtmp::session::{ClientRole, Reject, ServerConfig, ServerEvent};

use crate::util::{Pair, Server, command, commands, connect, message, publish_commands, short_stream};

fn codes(server: &mut Server) -> Vec<(String, f64, u32, String)> {
    commands(&server.sent())
}

fn entry(name: &str, transaction: f64, stream_id: u32, code: &str) -> (String, f64, u32, String) {
    (name.to_owned(), transaction, stream_id, code.to_owned())
}

#[test]
fn connect_is_answered_with_windows_and_success() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    let mut controls = Vec::new();
    let sent = server.sent();
    for message in sent.iter().filter(|message| message.csid == 2) {
        controls.push(Control::parse(message.type_id, &message.payload).unwrap());
        assert_eq!(message.stream_id, 0);
    }
    assert_eq!(
        controls,
        [Control::WindowAckSize(2_500_000), Control::SetPeerBandwidth { window: 2_500_000, limit: 2 }]
    );
    assert_eq!(commands(&sent), [entry("_result", 1.0, 0, "NetConnection.Connect.Success")]);
}

#[test]
fn obs_publishes() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    server.sent();
    let key = || vec![Value::from("key")];
    server.input(&command("releaseStream", 2.0, key(), 0)).unwrap();
    assert_eq!(codes(&mut server), [entry("_result", 2.0, 0, "")]);
    server.input(&command("FCPublish", 3.0, key(), 0)).unwrap();
    assert_eq!(
        codes(&mut server),
        [entry("_result", 3.0, 0, ""), entry("onFCPublish", 0.0, 0, "NetStream.Publish.Start")]
    );
    server.input(&command("createStream", 4.0, Vec::new(), 0)).unwrap();
    let sent = server.sent();
    let result = Command::parse(20, &sent[0].payload, &Limits::before_auth()).unwrap().unwrap();
    assert_eq!((result.transaction, result.arguments), (4.0, vec![Value::from(1.0)]));
    server.input(&command("publish", 5.0, vec![Value::from("key?a=b"), Value::from("live")], 1)).unwrap();
    assert!(server.sent().is_empty(), "decided before Start");
    let events = server.events();
    let Some(ServerEvent::Publish(request)) = events.last() else { panic!("{events:?}") };
    assert_eq!((request.key.reveal(), request.query.as_str()), ("key", "a=b"));
    server.session.accept_publish(server.now);
    assert_eq!(
        codes(&mut server),
        [entry("_result", 5.0, 0, ""), entry("onStatus", 0.0, 1, "NetStream.Publish.Start")]
    );
    server.input(&command("FCUnpublish", 6.0, key(), 0)).unwrap();
    server.input(&command("deleteStream", 7.0, vec![Value::from(1.0)], 0)).unwrap();
    assert_eq!(
        codes(&mut server),
        [
            entry("_result", 6.0, 0, ""),
            entry("onFCUnpublish", 0.0, 0, "NetStream.Unpublish.Success"),
            entry("_result", 7.0, 0, ""),
            entry("onStatus", 0.0, 1, "NetStream.Unpublish.Success")
        ]
    );
    assert_eq!(server.events(), [ServerEvent::Unpublish]);
    assert!(!server.session.is_live());
}

#[test]
fn librtmp_plays() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    server.input(&command("_checkbw", 2.0, Vec::new(), 0)).unwrap();
    server.input(&command("createStream", 3.0, Vec::new(), 0)).unwrap();
    server.input(&command("FCSubscribe", 4.0, vec![Value::from("key")], 0)).unwrap();
    server.input(&command("getStreamLength", 5.0, vec![Value::from("key")], 0)).unwrap();
    server.input(&command("set_playlist", 6.0, Vec::new(), 1)).unwrap();
    let answered: Vec<_> = codes(&mut server).iter().map(|(_, transaction, ..)| *transaction).collect();
    assert_eq!(answered, [1.0, 2.0, 3.0, 4.0, 0.0, 5.0, 6.0]);
    server.input(&command("play", 7.0, vec![Value::from("key"), Value::from(-2000.0)], 1)).unwrap();
    assert!(server.sent().is_empty(), "decided before Start");
    let events = server.events();
    let Some(ServerEvent::Play(request)) = events.last() else { panic!("{events:?}") };
    assert_eq!((request.name.as_str(), request.start, request.reset), ("key", -2000.0, true));
    server.session.accept_play(server.now);
    let sent = server.sent();
    let begin = Control::parse(sent[0].type_id, &sent[0].payload);
    assert_eq!(begin, Some(Control::User(UserControl::StreamBegin(1))));
    assert_eq!(
        commands(&sent),
        [
            entry("_result", 7.0, 0, ""),
            entry("onStatus", 0.0, 1, "NetStream.Play.Reset"),
            entry("onStatus", 0.0, 1, "NetStream.Play.Start")
        ]
    );
    // Media goes out on the message stream that was created, each chunk stream beginning with type 0.
    for tag in short_stream() {
        server.session.send_tag(&tag);
    }
    assert!(server.sent().iter().all(|message| message.stream_id == 1));
}

#[test]
fn status_and_media_use_the_stream_of_the_command() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    for transaction in 2..5 {
        server.input(&command("createStream", f64::from(transaction), Vec::new(), 0)).unwrap();
    }
    server.sent();
    server.input(&command("play", 0.0, vec![Value::from("key")], 2)).unwrap();
    server.session.accept_play(server.now);
    server.session.send_tag(&short_stream()[1]);
    let sent = server.sent();
    assert!(sent.iter().filter(|m| m.csid != 2).all(|m| m.stream_id == 2), "{sent:?}");
    // Another stream of the same connection is not the one that plays.
    server.input(&command("deleteStream", 0.0, vec![Value::from(1.0)], 0)).unwrap();
    server.input(&command("closeStream", 0.0, Vec::new(), 3)).unwrap();
    assert!(server.session.is_live());
    server.input(&command("closeStream", 0.0, Vec::new(), 2)).unwrap();
    assert!(!server.session.is_live());
}

#[test]
fn play_and_delete_stream_in_one_segment() {
    let mut server = Server::new();
    let mut bytes = connect();
    bytes.extend(command("createStream", 2.0, Vec::new(), 0));
    bytes.extend(command("play", 0.0, vec![Value::from("key")], 1));
    bytes.extend(command("deleteStream", 0.0, vec![Value::from(1.0)], 0));
    server.input(&bytes).unwrap();
    assert!(matches!(server.events().last(), Some(ServerEvent::Play(_))));
    server.session.accept_play(server.now);
    assert_eq!(server.events(), [ServerEvent::StopPlay]);
    assert!(!server.session.is_live());
}

#[test]
fn a_client_that_ended_its_stream_may_say_more_and_closes_first() {
    let mut server = Server::publishing();
    server.input(&command("closeStream", 0.0, Vec::new(), 1)).unwrap();
    assert_eq!(server.events(), [ServerEvent::Unpublish]);
    server.sent();
    // GStreamer says it twice; media that was under way is of no interest.
    server.input(&message(6, 9, &[0x27, 1, 0, 0, 0, 1], 1, 128)).unwrap();
    server.input(&command("deleteStream", 8.0, vec![Value::from(1.0)], 0)).unwrap();
    assert_eq!(codes(&mut server), [entry("_result", 8.0, 0, "")]);
    assert!(server.events().is_empty());
    assert!(!server.session.is_finished());
    let limit = server.now + ServerConfig::default().linger;
    assert_eq!(server.session.next_timeout(), Some(limit));
    server.session.handle_timeout(limit).unwrap();
    assert!(server.session.is_finished());
    assert_eq!(server.session.next_timeout(), None);
}

#[test]
fn players_pause_seek_and_choose() {
    let mut server = Server::playing();
    server.input(&command("pause", 0.0, vec![Value::from(true), Value::from(0.0)], 1)).unwrap();
    server.input(&command("pause", 0.0, vec![Value::from(false), Value::from(0.0)], 1)).unwrap();
    server.input(&command("seek", 8.0, vec![Value::from(1000.0)], 1)).unwrap();
    server.input(&command("receiveAudio", 0.0, vec![Value::from(false)], 1)).unwrap();
    server.input(&command("receiveVideo", 0.0, vec![Value::from(true)], 1)).unwrap();
    server.input(&message(2, 4, &[0, 3, 0, 0, 0, 1, 0, 0, 0x0B, 0xB8], 0, 128)).unwrap();
    assert_eq!(
        server.events(),
        [
            ServerEvent::Pause(true),
            ServerEvent::Pause(false),
            ServerEvent::Seek { millis: 1000.0 },
            ServerEvent::ReceiveAudio(false),
            ServerEvent::ReceiveVideo(true),
            ServerEvent::BufferLength { millis: 3000 },
        ]
    );
    assert_eq!(
        codes(&mut server),
        [
            entry("onStatus", 0.0, 1, "NetStream.Pause.Notify"),
            entry("onStatus", 0.0, 1, "NetStream.Unpause.Notify"),
            entry("_result", 8.0, 0, ""),
            entry("onStatus", 0.0, 1, "NetStream.Seek.Notify"),
        ]
    );
}

#[test]
fn every_non_zero_transaction_is_answered() {
    let names = [
        "releaseStream",
        "FCPublish",
        "FCUnpublish",
        "FCSubscribe",
        "createStream",
        "getStreamLength",
        "_checkbw",
        "set_playlist",
        "pause",
        "seek",
        "deleteStream",
        "closeStream",
        "receiveAudio",
        "receiveVideo",
        "somethingElse",
    ];
    for name in names {
        let mut server = Server::new();
        server.input(&connect()).unwrap();
        server.sent();
        server.input(&command(name, 9.0, Vec::new(), 0)).unwrap();
        let answers = codes(&mut server);
        assert!(answers.iter().any(|(_, transaction, ..)| *transaction == 9.0), "{name}");
        server.input(&command(name, 0.0, Vec::new(), 0)).unwrap();
        let quiet = |answer: &str| answer.starts_with("onFC") || name == "createStream";
        assert!(codes(&mut server).iter().all(|(answer, ..)| quiet(answer)), "{name}");
    }
}

#[test]
fn the_rtmp_crate_reuses_the_transaction_of_connect() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    server.sent();
    server.input(&command("releaseStream", 1.0, vec![Value::from("key")], 0)).unwrap();
    server.input(&command("FCPublish", 1.0, vec![Value::from("key")], 0)).unwrap();
    assert_eq!(codes(&mut server), [entry("onFCPublish", 0.0, 0, "NetStream.Publish.Start")]);
    server.input(&command("createStream", 2.0, Vec::new(), 0)).unwrap();
    assert_eq!(codes(&mut server), [entry("_result", 2.0, 0, "")]);
}

#[test]
fn amf3_commands_and_data_that_hold_amf0() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    let wrap = |body: Bytes| [&[0], body.as_ref()].concat();
    let create = wrap(Command::new("createStream", 2.0, Vec::new()).encode());
    server.input(&message(3, type_id::COMMAND_AMF3, &create, 0, 128)).unwrap();
    let publish = wrap(Command::new("publish", 3.0, vec![Value::from("key")]).encode());
    server.input(&message(3, type_id::COMMAND_AMF3, &publish, 1, 128)).unwrap();
    server.session.accept_publish(server.now);
    server.events();
    let metadata = short_stream()[0].body.to_bytes();
    server.input(&message(5, type_id::DATA_AMF3, &wrap(metadata.clone()), 1, 128)).unwrap();
    let events = server.events();
    let [ServerEvent::Tag(tag)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((tag.kind, tag.body.to_bytes()), (TagKind::Script, metadata));
}

#[test]
fn media_is_refused_where_it_has_no_place() {
    let video = message(6, 9, &[0x17, 1, 0, 0, 0, 1], 1, 128);
    for start in [Vec::new(), connect()] {
        let mut server = Server::new();
        server.input(&start).unwrap();
        let error = server.input(&video).unwrap_err();
        assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
        assert_eq!(error.offset(), Some(3073 + start.len() as u64 + video.len() as u64));
    }
    let error = Server::playing().input(&video).unwrap_err();
    assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
    // An aggregate is media too.
    let error = Server::new().input(&message(6, 22, &[9, 0, 0, 0], 1, 128)).unwrap_err();
    assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
}

#[test]
fn a_second_stream_beside_the_first_is_refused_and_the_first_goes_on() {
    for (again, code) in [("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.Failed")] {
        let mut server = Server::publishing();
        server.sent();
        server.input(&command("createStream", 8.0, Vec::new(), 0)).unwrap();
        server.input(&command(again, 9.0, vec![Value::from("other")], 2)).unwrap();
        assert_eq!(codes(&mut server), [entry("_result", 8.0, 0, ""), entry("onStatus", 0.0, 2, code)]);
        server.input(&message(6, 9, &[0x17, 1, 0, 0, 0, 1], 1, 128)).unwrap();
        let events = server.events();
        assert!(matches!(&events[..], [ServerEvent::Tag(_)]), "{events:?}");
    }
    let mut server = Server::playing();
    server.input(&command("publish", 9.0, vec![Value::from("other")], 1)).unwrap();
    assert!(server.session.is_live() && server.events().is_empty());
}

#[test]
fn who_has_ended_its_stream_may_begin_another_one_on_the_same_connection() {
    let mut server = Server::publishing();
    let picture = || message(6, 9, &[0x17, 1, 0, 0, 0, 1], 1, 128);
    // More often than streams may be created at a time.
    for round in 2..20_u32 {
        server.sent();
        let id = f64::from(round);
        let name = format!("key-{round}");
        match round % 3 {
            0 => {
                server.input(&command("FCUnpublish", 5.0, vec![Value::from("k")], 0)).unwrap();
                server.input(&command("closeStream", 0.0, Vec::new(), round - 1)).unwrap();
            }
            1 => {
                server.input(&command("deleteStream", 0.0, vec![Value::from(id - 1.0)], 0)).unwrap();
            }
            // Without its last word.
            _ => server.input(&command("FCUnpublish", 5.0, vec![Value::from("k")], 0)).unwrap(),
        }
        // What was on its way belongs to nobody.
        server.input(&picture()).unwrap();
        server.input(&command("createStream", 6.0, Vec::new(), 0)).unwrap();
        server.input(&command("publish", 0.0, vec![Value::from(name.as_str())], round)).unwrap();
        server.input(&picture()).unwrap();
        let mut events = server.events();
        let Some(ServerEvent::Publish(request)) = events.pop() else { panic!("{round}: {events:?}") };
        assert_eq!(request.key.reveal(), name);
        assert!(matches!(events.pop(), Some(ServerEvent::Unpublish | ServerEvent::Tag(_))), "{round}");
        assert!(!server.session.is_parting() && !server.session.is_live());
        server.session.accept_publish(server.now);
        let events = server.events();
        assert!(matches!(&events[..], [ServerEvent::Tag(_)]), "{round}: {events:?}");
        let told = codes(&mut server);
        assert!(told.iter().any(|(_, _, _, code)| code == "NetStream.Unpublish.Success"), "{told:?}");
        assert_eq!(told.last().unwrap(), &entry("onStatus", 0.0, round, "NetStream.Publish.Start"));
    }
}

#[test]
fn a_player_changes_to_another_stream_and_then_publishes() {
    let mut server = Server::playing();
    server.sent();
    server.input(&command("play", 0.0, vec![Value::from("other")], 1)).unwrap();
    let events = server.events();
    assert!(matches!(&events[..], [ServerEvent::StopPlay, ServerEvent::Play(_)]), "{events:?}");
    server.session.accept_play(server.now);
    assert!(server.session.is_live());
    server.input(&command("deleteStream", 0.0, vec![Value::from(1.0)], 0)).unwrap();
    server.input(&command("createStream", 7.0, Vec::new(), 0)).unwrap();
    server.input(&command("publish", 0.0, vec![Value::from("key")], 2)).unwrap();
    let events = server.events();
    assert!(matches!(&events[..], [ServerEvent::StopPlay, ServerEvent::Publish(_)]), "{events:?}");
}

#[test]
fn who_prepares_another_stream_has_the_limits_and_time_of_those_who_have_none() {
    let leave = || {
        let mut server = Server::publishing();
        server.input(&command("closeStream", 0.0, Vec::new(), 1)).unwrap();
        server
    };
    let mut server = leave();
    server.input(&command("createStream", 6.0, Vec::new(), 0)).unwrap();
    let config = ServerConfig::default();
    server.pass(config.command_timeout / 2);
    server.session.handle_timeout(server.now).unwrap();
    assert!(!server.session.is_finished());
    server.pass(config.command_timeout);
    server.session.handle_timeout(server.now).unwrap();
    assert!(server.session.is_finished(), "it had its stream, so that is no fault");

    let mut server = leave();
    server.input(&command("createStream", 6.0, Vec::new(), 0)).unwrap();
    let before = Limits::before_auth();
    let large = message(6, 9, &vec![0; before.message_bytes + 1], 1, 128);
    let error = server.input(&large).unwrap_err();
    assert_eq!(error.code(), "RTMP_LIMIT_EXCEEDED", "{error}");

    let mut server = leave();
    let create = (0..100).map(|_| server.input(&command("createStream", 6.0, Vec::new(), 0)));
    let allowed = create.take_while(Result::is_ok).count();
    assert_eq!(allowed as u32, config.message_streams);
}

#[test]
fn publish_needs_connect_and_create_stream() {
    let error = Server::new().input(&command("publish", 2.0, vec![Value::from("k")], 1)).unwrap_err();
    assert_eq!(error.code(), "RTMP_PROTOCOL");
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    let error = server.input(&command("publish", 2.0, vec![Value::from("k")], 1)).unwrap_err();
    assert_eq!(error.code(), "RTMP_PROTOCOL");
    // On stream 0 it means the stream that was created.
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    server.input(&command("createStream", 2.0, Vec::new(), 0)).unwrap();
    server.input(&command("publish", 0.0, vec![Value::from("k")], 0)).unwrap();
    server.sent();
    server.session.accept_publish(server.now);
    assert_eq!(codes(&mut server), [entry("onStatus", 0.0, 1, "NetStream.Publish.Start")]);
}

#[test]
fn queries_of_name_and_application() {
    let cases = [
        ("live", "key", "live", "key", ""),
        ("live?app=1", "key", "live", "key", "app=1"),
        ("live?app=1", "key?token=2", "live", "key", "token=2"),
        ("/live/", "a/b", "live", "a/b", ""),
        ("live/key", "", "live", "key", ""),
        ("", "live/key", "live", "key", ""),
        ("live/?x", "key", "live", "key", "x"),
    ];
    for (app, name, expected_app, expected_name, expected_query) in cases {
        let mut server = Server::new();
        let object = Value::object([("app", Value::from(app))]);
        let connect = Command::with_object("connect", 1.0, object, Vec::new()).encode();
        server.input(&message(3, 20, &connect, 0, 128)).unwrap();
        server.input(&command("createStream", 2.0, Vec::new(), 0)).unwrap();
        server.input(&command("publish", 3.0, vec![Value::from(name)], 1)).unwrap();
        let events = server.events();
        let Some(ServerEvent::Publish(request)) = events.last() else { panic!("{events:?}") };
        let seen = (request.app.as_str(), request.key.reveal(), request.query.as_str());
        assert_eq!(seen, (expected_app, expected_name, expected_query));
        assert!(!format!("{events:?}").contains("token"));
    }
}

#[test]
fn rejection_says_status_on_the_stream_and_answers_the_transaction() {
    let mut server = Server::new();
    server.input(&publish_commands("wrong")).unwrap();
    server.sent();
    server.session.reject(Reject::BadName, server.now);
    assert_eq!(
        codes(&mut server),
        [
            entry("onStatus", 0.0, 1, "NetStream.Publish.BadName"),
            entry("_error", 3.0, 0, "NetStream.Publish.BadName")
        ]
    );
    assert!(server.session.is_finished());
    assert_eq!(server.session.next_timeout(), None);
    server.input(&[0xFF; 100]).unwrap();
}

#[test]
fn limits_before_and_after_the_decision() {
    let big = vec![0x17; 70_000];
    let mut server = Server::publishing();
    server.input(&message(6, 9, &big, 1, 128)).unwrap();
    assert_eq!(server.events().len(), 1);
    // Players stay at 64 KiB.
    let Err(Error::Limit { limit, .. }) = Server::playing().input(&message(5, 18, &big, 1, 128)) else {
        panic!("a player sent 70 kB in one message")
    };
    assert_eq!(limit, LimitKind::MessageBytes);
}

#[test]
fn bytes_before_the_decision_are_counted() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    let ping = message(2, 4, &[0, 7, 0, 0, 0, 0], 0, 128);
    let error = (0..10_000).find_map(|_| server.input(&ping).err()).unwrap();
    let Error::Limit { limit, allowed, offset, .. } = error else { panic!("{error}") };
    assert_eq!((limit, allowed), (LimitKind::BytesBeforeAuth, 64_000));
    assert!((64_000..64_100).contains(&offset), "{offset}");
}

#[test]
fn bytes_held_for_the_decision_are_bounded() {
    let config = ServerConfig { held_bytes: 1000, ..ServerConfig::default() };
    let mut server = Server::with_config(config);
    server.input(&publish_commands("key")).unwrap();
    server.input(&[0; 1000]).unwrap();
    assert_eq!(server.session.buffered_bytes(), 1000);
    let Err(Error::Limit { limit, .. }) = server.input(&[0]) else { panic!("held 1001 bytes") };
    assert_eq!(limit, LimitKind::HeldBytes);
    assert_eq!(server.session.buffered_bytes(), 0);
}

#[test]
fn an_error_in_held_bytes_comes_with_the_next_call() {
    for by_timeout in [false, true] {
        let mut server = Server::new();
        server.input(&publish_commands("key")).unwrap();
        server.input(&crate::util::set_chunk_size(0)).unwrap();
        server.session.accept_publish(server.now);
        assert!(server.session.next_timeout().unwrap() <= server.now);
        let result = if by_timeout { server.session.handle_timeout(server.now) } else { server.input(&[]) };
        assert_eq!(result.unwrap_err().code(), "RTMP_PROTOCOL");
        assert!(server.session.is_finished());
    }
}

#[test]
fn answers_nobody_reads_are_bounded() {
    let mut server = Server::publishing();
    let call = command("_checkbw", 9.0, Vec::new(), 0);
    let error = (0..100_000).find_map(|_| server.input(&call).err()).unwrap();
    let Error::Limit { limit, .. } = error else { panic!("{error}") };
    assert_eq!(limit, LimitKind::ReplyBytes);
    assert!(server.session.wire().len() < 70_000);
    // A peer that reads may ask for ever.
    let mut server = Server::publishing();
    for _ in 0..10_000 {
        server.input(&call).unwrap();
        assert_eq!(server.sent().len(), 1);
    }
}

#[test]
fn pings_are_answered_and_windows_of_zero_ignored() {
    let mut server = Server::publishing();
    server.input(&message(2, 5, &[0; 4], 0, 128)).unwrap();
    server.input(&message(2, 4, &[0, 6, 1, 2, 3, 4], 0, 128)).unwrap();
    let sent = server.sent();
    let pong = Control::parse(sent[0].type_id, &sent[0].payload);
    assert_eq!((sent.len(), pong), (1, Some(Control::User(UserControl::PingResponse(0x0102_0304)))));
}

#[test]
fn small_windows_are_acknowledged_once_per_input() {
    let mut server = Server::publishing();
    server.input(&message(2, 5, &1_u32.to_be_bytes(), 0, 128)).unwrap();
    server.sent();
    server.input(&message(6, 9, &[0x27; 50_000], 1, 128)).unwrap();
    let sent = server.sent();
    let received = server.session.received() as u32;
    let ack = Control::parse(sent[0].type_id, &sent[0].payload);
    assert_eq!((sent.len(), ack), (1, Some(Control::Acknowledgement(received))));
}

#[test]
fn acknowledgements_are_unwrapped_and_not_believed_beyond_what_was_sent() {
    let mut server = Server::playing();
    let acknowledge = |sequence: u32| message(2, 3, &sequence.to_be_bytes(), 0, 128);
    server.input(&acknowledge(3073)).unwrap();
    assert_eq!(server.session.acknowledged(), 3073);
    server.input(&acknowledge(u32::MAX)).unwrap();
    server.input(&acknowledge(100)).unwrap();
    assert_eq!(server.session.acknowledged(), 3073);
}

#[test]
fn a_connection_refused_as_a_whole_hears_why() {
    let mut server = Server::new();
    server.session.refuse_connect("Server is busy.");
    assert!(!server.session.is_finished(), "the client has not asked yet");
    server.input(&[connect(), command("createStream", 2.0, Vec::new(), 0)].concat()).unwrap();
    assert_eq!(codes(&mut server), [entry("_error", 1.0, 0, "NetConnection.Connect.Rejected")]);
    assert!(server.session.is_finished() && server.events().is_empty());
    // Later it is too late to say so.
    let mut server = Server::publishing();
    server.session.refuse_connect("Server is busy.");
    assert_eq!(codes(&mut server), [entry("onStatus", 0.0, 1, "NetStream.Unpublish.Success")]);
    assert!(server.session.is_finished());
}

#[test]
fn a_refused_client_of_ours_may_try_again() {
    for (description, again) in [("Too many connections.", true), ("No such application.", false)] {
        let mut pair = Pair::new(ClientRole::Publish, 1);
        pair.server.refuse_connect(description);
        let error = pair.drive().unwrap_err();
        let Error::Rejected { code, .. } = &error else { panic!("{error}") };
        assert_eq!((code.as_str(), error.is_retryable()), ("NetConnection.Connect.Rejected", again));
    }
}

#[test]
fn taking_metadata_back_is_no_data_for_players() {
    let mut server = Server::publishing();
    let clear = b"\x02\0\x0F@clearDataFrame\x02\0\x0AonMetaData";
    server.input(&message(5, 18, clear, 1, 128)).unwrap();
    assert!(server.events().is_empty());
}

#[test]
fn empty_media_messages_say_nothing() {
    let mut server = Server::publishing();
    server.input(&message(6, 9, &[], 1, 128)).unwrap();
    server.input(&message(6, 22, &[1, 2, 3], 1, 128)).unwrap();
    assert!(server.events().is_empty());
}
