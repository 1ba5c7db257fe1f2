//! Aggregate messages: several tags in one.

use bytes::Bytes;
use flowcast_rtmp::flv::{FlvWriter, Tag, TagKind};
use flowcast_rtmp::session::{ClientEvent, ClientRole, ServerEvent};
use flowcast_rtmp::time::MediaTime;

use crate::util::{
    Client, Server, XorShift, audio, command, connect, facts, header, message, publish_commands, video,
};

/// The tags as sub-messages, each as an FLV file has it.
fn aggregate(tags: &[Tag]) -> Vec<u8> {
    let mut out = Vec::new();
    for tag in tags {
        FlvWriter::write_tag(tag, &mut out).unwrap();
    }
    out
}

fn message_at(time: u32, body: &[u8]) -> Vec<u8> {
    let mut out = header(6, time, body.len(), 22, 1);
    for (index, piece) in body.chunks(128).enumerate() {
        if index > 0 {
            out.push(0xC6);
        }
        out.extend_from_slice(piece);
    }
    out
}

fn tags(events: &[ServerEvent]) -> Vec<Tag> {
    let tag = |event: &ServerEvent| {
        if let ServerEvent::Tag(tag) = event { tag.clone() } else { panic!("{event:?}") }
    };
    events.iter().map(tag).collect()
}

fn moved(tags: &[Tag], millis: i64) -> Vec<Tag> {
    let moved = |tag: &Tag| Tag { timestamp: tag.timestamp.saturating_add_millis(millis), ..tag.clone() };
    tags.iter().map(moved).collect()
}

fn some_tags() -> Vec<Tag> {
    vec![video(1000, true, 300), audio(1011, 40), video(1040, false, 9), audio(1034, 1)]
}

#[test]
fn tags_come_out_in_order_with_the_time_of_the_message_at_every_cut() {
    let all = some_tags();
    let bytes = [message_at(5000, &aggregate(&all)), message(6, 9, &[0x27, 1, 0, 0, 0, 7], 1, 128)].concat();
    for step in (1..40).chain([bytes.len()]) {
        let mut server = Server::publishing();
        for piece in bytes.chunks(step) {
            server.input(piece).unwrap();
        }
        let mut seen = tags(&server.events());
        assert_eq!(seen.pop().unwrap().body.len(), 6, "the message behind it");
        assert_eq!(facts(&seen), facts(&moved(&all, 4000)), "pieces of {step}");
        assert!(seen[0].is_keyframe());
    }
}

#[test]
fn times_of_sub_messages_wrap() {
    let first = MediaTime::from_millis((1 << 32) - 20);
    let all: Vec<_> = (0..3)
        .map(|index| Tag { timestamp: first.saturating_add_millis(index * 20), ..audio(0, 5) })
        .collect();
    let mut server = Server::publishing();
    server.input(&message_at(100, &aggregate(&all))).unwrap();
    let times: Vec<_> = tags(&server.events()).iter().map(|tag| tag.timestamp.as_millis()).collect();
    assert_eq!(times, [100, 120, 140]);
}

#[test]
fn data_is_stripped_and_what_is_not_media_passed_over() {
    let script = b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x05";
    let sub = |type_id: u8, body: &[u8]| {
        let mut out = vec![type_id, 0, 0, body.len() as u8, 0, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(body);
        out.extend_from_slice(&(11 + body.len() as u32).to_be_bytes());
        out
    };
    let body = [
        sub(18, script),
        sub(15, &[&[0], &script[..]].concat()),
        // An AMF3 value, a command, chunk size 0, no type at all, and audio that says nothing.
        sub(15, b"\0\x02\0\x01x\x11\x01"),
        sub(20, b"\x02\0\x05close"),
        sub(1, &[0; 4]),
        sub(99, b"?"),
        sub(8, b""),
        sub(8, &[0xAF, 1, 7]),
    ]
    .concat();
    let mut server = Server::publishing();
    server.input(&message_at(0, &body)).unwrap();
    let seen = tags(&server.events());
    let kinds: Vec<_> = seen.iter().map(|tag| tag.kind).collect();
    assert_eq!(kinds, [TagKind::Script, TagKind::Script, TagKind::Audio]);
    for tag in &seen[..2] {
        assert_eq!(tag.body.to_bytes()[..], script[16..]);
        assert!(tag.is_metadata());
    }
}

#[test]
fn back_pointers_are_taken_as_senders_write_them() {
    let all = some_tags();
    let plain = aggregate(&all[..2]);
    let pointer = 11 + all[0].body.len();
    let with = |value: u32| {
        let mut body = plain.clone();
        body[pointer..pointer + 4].copy_from_slice(&value.to_be_bytes());
        body
    };
    let length = all[0].body.len() as u32;
    let last_left_out = plain[..plain.len() - 4].to_vec();
    let cut = plain[..plain.len() - 1].to_vec();
    for body in [with(0), with(length), with(length + 11), last_left_out, cut] {
        let mut server = Server::publishing();
        server.input(&message_at(1000, &body)).unwrap();
        assert_eq!(facts(&tags(&server.events())), facts(&all[..2]));
    }
    for value in [1, length + 1, length + 15, u32::MAX] {
        let error = Server::publishing().input(&message_at(0, &with(value))).unwrap_err();
        assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
    }
}

#[test]
fn nesting_and_sub_messages_that_are_cut_off_are_refused() {
    let inner = aggregate(&some_tags());
    let mut nested = vec![22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    nested[2..4].copy_from_slice(&(inner.len() as u16).to_be_bytes());
    nested.extend_from_slice(&inner);
    // The honest tags before it are not taken either.
    let nested = [inner.clone(), nested].concat();
    let body = some_tags()[0].body.len();
    for bytes in [nested, inner[..11 + body - 1].to_vec(), inner[..12].to_vec()] {
        let mut server = Server::publishing();
        let error = server.input(&message_at(0, &bytes)).unwrap_err();
        assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
        assert!(server.events().is_empty() && server.session.is_finished());
    }
}

#[test]
fn a_tag_keeps_its_own_bytes_only() {
    let tags_in: Vec<_> = (0..100).map(|index| audio(index, 1000)).collect();
    let mut server = Server::publishing();
    server.input(&message_at(0, &aggregate(&tags_in))).unwrap();
    let mut seen = tags(&server.events());
    let last = seen.pop().unwrap();
    drop(seen);
    // A slice of the message would not give a unique buffer.
    let Tag { body, .. } = last;
    assert!(body.payload().is_unique());
}

#[test]
fn aggregates_are_media_where_media_has_no_place() {
    let body = aggregate(&some_tags());
    let before_publish = [connect(), message_at(0, &body)].concat();
    for (mut server, bytes) in [(Server::new(), before_publish), (Server::playing(), message_at(0, &body))] {
        let error = server.input(&bytes).unwrap_err();
        assert_eq!(error.code(), "RTMP_PROTOCOL", "{error}");
    }
    let mut server = Server::publishing();
    server.input(&command("closeStream", 0.0, Vec::new(), 1)).unwrap();
    server.input(&message_at(0, &body)).unwrap();
    assert_eq!(server.events(), [ServerEvent::Unpublish]);
    // Held back with everything else until the decision.
    let mut server = Server::new();
    server.input(&[publish_commands("key"), message_at(0, &body)].concat()).unwrap();
    server.events();
    server.session.accept_publish(server.now);
    assert_eq!(tags(&server.events()).len(), 4);
}

#[test]
fn players_take_them_too() {
    let mut client = Client::new(ClientRole::Play);
    let result = message(3, 20, b"\x02\0\x07_result\0\x3f\xf0\0\0\0\0\0\0\x05\x05", 0, 128);
    client.input(&result).unwrap();
    let stream = b"\x02\0\x07_result\0\x40\x10\0\0\0\0\0\0\x05\0\x3f\xf0\0\0\0\0\0\0";
    client.input(&message(3, 20, stream, 0, 128)).unwrap();
    client.input(&message_at(0, &aggregate(&some_tags()))).unwrap();
    assert!(client.session.is_live(), "media is the start");
    let events = client.events();
    assert_eq!(events.iter().filter(|event| matches!(event, ClientEvent::Tag(_))).count(), 4);
    let mut publisher = Client::new(ClientRole::Publish);
    publisher.input(&message_at(0, &[9; 40])).unwrap();
    assert!(publisher.events().is_empty());
}

#[test]
fn mutations_never_panic_and_yield_no_more_than_their_bytes() {
    let seed = aggregate(&some_tags());
    let mut random = XorShift::new(5);
    let (mut yielded, mut refused) = (0, 0);
    let mut server = Server::publishing();
    for _ in 0..50_000 {
        let mut body = seed.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(body.len());
            match random.below(if body.len() > 1 { 4 } else { 1 }) {
                0 => body[at] ^= 1 << random.below(8),
                1 => body[at] = [0, 8, 9, 18, 22, 0xFF][random.below(6)],
                2 => drop(body.remove(at)),
                _ => body.truncate(at.max(1)),
            }
        }
        if server.input(&message_at(0, &body)).is_err() {
            refused += 1;
            server = Server::publishing();
            continue;
        }
        let bytes: usize = tags(&server.events()).iter().map(|tag| tag.body.len() + 11).sum();
        assert!(bytes <= body.len());
        yielded += usize::from(bytes > 0);
    }
    assert!(yielded > 5000 && refused > 5000, "{yielded} yielded, {refused} refused");
}

#[test]
fn a_million_empty_sub_messages_hold_no_events() {
    let mut server = Server::publishing();
    let body = Bytes::from(vec![0; 15 << 20]);
    server
        .input(&[crate::util::set_chunk_size(1 << 24), message(6, 22, &body, 1, 1 << 24)].concat())
        .unwrap();
    assert!(server.events().is_empty());
}
