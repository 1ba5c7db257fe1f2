//! Enhanced RTMP between sessions: capabilities, reconnect requests, digests, and tags that pass as they are.

use bytes::Bytes;
use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::capability::{CodecSupport, Extended};
use flowcast_rtmp::command::Command;
use flowcast_rtmp::flv::{Tag, TagKind};
use flowcast_rtmp::limits::Limits;
use flowcast_rtmp::session::{ClientConfig, ClientEvent, ClientRole, HandshakeForm, ServerEvent};
use flowcast_rtmp::time::MediaTime;

use crate::util::{Client, Pair, Server, command, connect, facts, message};

fn enhanced() -> ClientConfig {
    ClientConfig { enhanced: true, ..ClientConfig::default() }
}

/// `connect` with more in its object.
fn connect_with(more: &[(&str, Value)]) -> Vec<u8> {
    let object = [("app", Value::from("live"))].into_iter().chain(more.iter().cloned());
    message(3, 20, &Command::with_object("connect", 1.0, Value::object(object), Vec::new()).encode(), 0, 128)
}

/// The object in the server's answer to `connect` that says who it is.
fn properties(server: &mut Server) -> Value {
    let sent = server.sent();
    let answer = sent.iter().find(|message| message.type_id == 20).unwrap();
    Command::parse(20, &answer.payload, &Limits::before_auth()).unwrap().unwrap().object
}

#[test]
fn a_server_says_what_it_can_to_those_that_speak_of_it() {
    let mut server = Server::new();
    server.input(&connect()).unwrap();
    let plain = properties(&mut server);
    assert!(
        plain.get("fmsVer").is_some() && plain.get("capsEx").is_none() && plain.get("fourCcList").is_none()
    );
    assert!(!server.session.capabilities().is_announced());
    let list = || Value::StrictArray(vec![Value::from("hvc1")]);
    let map = || Value::object([("av01", Value::from(2.0))]);
    let announcements = [
        ("fourCcList", list()),
        ("videoFourCcInfoMap", map()),
        ("audioFourCcInfoMap", map()),
        ("capsEx", Value::from(0.0)),
    ];
    for announcement in announcements {
        let mut server = Server::new();
        server.input(&connect_with(&[announcement])).unwrap();
        let said = properties(&mut server);
        assert_eq!(said.get("capsEx"), Some(&Value::Number(15.0)));
        for map in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
            assert_eq!(said.get(map).and_then(|map| map.get("*")), Some(&Value::Number(4.0)), "forwards all");
        }
        assert!(matches!(said.get("fourCcList"), Some(Value::StrictArray(codes)) if codes.len() > 10));
        assert!(server.session.capabilities().is_announced());
    }
}

#[test]
fn requests_carry_what_the_client_announced() {
    for kind in ["publish", "play"] {
        let map = Value::object([("hvc1", Value::from(1.0))]);
        let mut server = Server::new();
        server.input(&connect_with(&[("videoFourCcInfoMap", map), ("capsEx", Value::from(3.0))])).unwrap();
        server.input(&command("createStream", 2.0, Vec::new(), 0)).unwrap();
        server.input(&command(kind, 3.0, vec![Value::from("key")], 1)).unwrap();
        let events = server.events();
        let capabilities = match events.last() {
            Some(ServerEvent::Publish(request)) => &request.capabilities,
            Some(ServerEvent::Play(request)) => &request.capabilities,
            other => panic!("{other:?}"),
        };
        assert!(capabilities.codec(TagKind::Video, *b"hvc1").contains(CodecSupport::DECODE));
        assert_eq!(capabilities.codec(TagKind::Video, *b"av01"), CodecSupport::default());
        assert!(capabilities.extended().contains(Extended::RECONNECT));
        assert!(!capabilities.extended().contains(Extended::MOD_EX));
    }
}

#[test]
fn two_of_us_know_of_each_other_if_the_client_wants_it() {
    for role in [ClientRole::Publish, ClientRole::Play] {
        let mut pair = Pair::with_config(role, 7, enhanced());
        pair.accept(role);
        assert!(pair.client.capabilities().extended().contains(Extended::MULTITRACK));
        assert!(pair.server.capabilities().extended().contains(Extended::RECONNECT));
        let mut plain = Pair::new(role, 7);
        plain.accept(role);
        assert!(!plain.client.capabilities().is_announced() && !plain.server.capabilities().is_announced());
        // The bytes of a plain client are the same as ever.
        assert!(!plain.to_server.windows(10).any(|bytes| bytes == b"fourCcList"));
    }
}

fn requested(pair: &Pair) -> Vec<(Option<&str>, &str)> {
    pair.client_events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::ReconnectRequest { url, description } => {
                Some((url.as_deref(), description.as_str()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_reconnect_request_reaches_the_client_and_both_go_on() {
    for step in [1, 5000] {
        let mut pair = Pair::with_config(ClientRole::Publish, step, enhanced());
        assert!(!pair.server.request_reconnect(None, "too early"));
        pair.accept(ClientRole::Publish);
        assert!(pair.server.request_reconnect(None, "update"));
        assert!(pair.server.request_reconnect(Some("rtmps://other:444/app?token=canary"), ""));
        pair.drive().unwrap();
        let expected = [(None, "update"), (Some("rtmps://other:444/app?token=canary"), "")];
        assert_eq!(requested(&pair), expected);
        assert!(!format!("{:?}", pair.client_events).contains("canary"));
        assert!(pair.client.is_live() && pair.server.is_live());
        pair.client.send_tag(&crate::util::video(0, true, 10));
        pair.drive().unwrap();
        assert_eq!(pair.server_tags().len(), 1);
        pair.server.finish();
        assert!(!pair.server.request_reconnect(None, "too late"));
    }
}

#[test]
fn only_clients_that_announced_it_are_asked() {
    let mut pair = Pair::new(ClientRole::Play, 5000);
    pair.accept(ClientRole::Play);
    assert!(!pair.server.request_reconnect(None, "update"));
    let mut server = Server::new();
    server.input(&connect_with(&[("capsEx", Value::from(14.0))])).unwrap();
    server.sent();
    assert!(!server.session.request_reconnect(None, "update"));
    assert!(server.sent().is_empty());
}

#[test]
fn urls_of_reconnect_requests_are_made_whole() {
    // The client's own is rtmp://host/live.
    let cases = [
        ("rtmp://a.b:1936/x", "rtmp://a.b:1936/x"),
        ("//192.0.2.0/realtimeapp", "rtmp://192.0.2.0/realtimeapp"),
        ("/realtimeapp", "rtmp://host/realtimeapp"),
        ("other/app", "rtmp://host/other/app"),
        ("", "rtmp://host/live"),
    ];
    for (reference, whole) in cases {
        let mut pair = Pair::with_config(ClientRole::Play, 5000, enhanced());
        pair.accept(ClientRole::Play);
        assert!(pair.server.request_reconnect(Some(reference), ""));
        pair.drive().unwrap();
        assert_eq!(requested(&pair), [(Some(whole), "")], "{reference}");
    }
}

#[test]
fn a_plain_client_takes_the_request_for_any_status() {
    let mut client = Client::new(ClientRole::Publish);
    let info = Value::object([
        ("level", Value::from("status")),
        ("code", Value::from("NetConnection.Connect.ReconnectRequest")),
        ("tcUrl", Value::from("rtmp://elsewhere/app")),
    ]);
    client.input(&command("onStatus", 0.0, vec![info], 0)).unwrap();
    let events = client.events();
    assert!(
        matches!(events.as_slice(), [ClientEvent::Status { code, .. }] if code.ends_with("ReconnectRequest")),
        "{events:?}"
    );
}

/// HEVC with its `colorInfo`, a second track, ModEx, and Opus: as encoders send them.
fn enhanced_stream() -> Vec<Tag> {
    let bodies: [(TagKind, &'static [u8]); 8] = [
        (TagKind::Video, b"\x90hvc1config"),
        (TagKind::Video, b"\x94hvc1\x02\0\x09colorInfo"),
        (TagKind::Video, b"\x96\x00av01\x01config"),
        (TagKind::Audio, b"\x90OpusOpusHead"),
        (TagKind::Audio, b"\x94Opus\x01\x02\0\0\0\x03"),
        (TagKind::Video, b"\x91hvc1\0\0\x28data"),
        (TagKind::Video, b"\x97\x02\x07\xA1\x20\x03hvc1data"),
        (TagKind::Video, b"\x96\x01av01\x01data"),
    ];
    let tag = |(kind, body)| Tag::from_wire(kind, MediaTime::ZERO, Bytes::from_static(body));
    bodies.map(tag).to_vec()
}

#[test]
fn enhanced_tags_pass_unchanged_whether_announced_or_not() {
    for config in [ClientConfig::default(), enhanced()] {
        for role in [ClientRole::Publish, ClientRole::Play] {
            let mut pair = Pair::with_config(role, 3, config.clone());
            pair.accept(role);
            for tag in enhanced_stream() {
                match role {
                    ClientRole::Publish => pair.client.send_tag(&tag),
                    ClientRole::Play => pair.server.send_tag(&tag),
                }
            }
            pair.drive().unwrap();
            let seen = if role == ClientRole::Publish { pair.server_tags() } else { pair.client_tags() };
            assert_eq!(facts(&seen), facts(&enhanced_stream()));
            let flags = |tags: &[Tag]| tags.iter().map(|tag| tag.flags).collect::<Vec<_>>();
            assert_eq!(flags(&seen), flags(&enhanced_stream()));
        }
    }
}

#[test]
fn a_session_with_digests_goes_live() {
    for step in [1, 1000] {
        let config = ClientConfig { handshake: HandshakeForm::Digest, ..ClientConfig::default() };
        let mut pair = Pair::with_config(ClientRole::Publish, step, config);
        pair.accept(ClientRole::Publish);
        assert_ne!(pair.to_server[5..9], [0; 4]);
        assert_ne!(pair.to_client[5..9], [0; 4]);
    }
}
