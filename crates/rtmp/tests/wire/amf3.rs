//! Messages of types 15 and 17 that hold AMF3 values.

use flowcast_rtmp::amf0::Value;
use flowcast_rtmp::error::Error;
use flowcast_rtmp::flv::{Metadata, TagKind};
use flowcast_rtmp::message::type_id;
use flowcast_rtmp::session::ServerEvent;

use crate::util::{Server, commands, connect, message};

/// A zero byte, an AMF0 name and transaction, then what is given.
fn amf3_command(name: &str, transaction: f64, rest: &[u8], stream_id: u32) -> Vec<u8> {
    let mut body = vec![0, 2, 0, name.len() as u8];
    body.extend_from_slice(name.as_bytes());
    body.push(0);
    body.extend_from_slice(&transaction.to_be_bytes());
    body.extend_from_slice(rest);
    message(3, type_id::COMMAND_AMF3, &body, stream_id, 128)
}

#[test]
fn a_flash_client_with_object_encoding_3_publishes() {
    // {app: "live", objectEncoding: 3}, null, and "key" with AMF3 markers.
    let object = b"\x11\x0A\x0B\x01\x07app\x06\x09live\x1DobjectEncoding\x04\x03\x01";
    let bytes = [
        amf3_command("connect", 1.0, object, 0),
        amf3_command("createStream", 2.0, b"\x11\x01", 0),
        amf3_command("publish", 3.0, b"\x05\x11\x06\x07key\x11\x06\x09live", 1),
    ]
    .concat();
    for step in [1, 3, bytes.len()] {
        let mut server = Server::new();
        for piece in bytes.chunks(step) {
            server.input(piece).unwrap();
        }
        let events = server.events();
        let [ServerEvent::Connect { app, .. }, ServerEvent::Publish(request)] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!((app.as_str(), request.key.reveal(), request.mode.as_str()), ("live", "key", "live"));
        // The answers are AMF0, and say so: objectEncoding 0.
        assert!(
            commands(&server.sent()).iter().any(|(_, _, _, code)| code == "NetConnection.Connect.Success")
        );
    }
}

#[test]
fn amf3_metadata_becomes_amf0() {
    let mut server = Server::publishing();
    let body = b"\0\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x11\x09\x01\x0Bwidth\x04\x8A\x00\x01";
    server.input(&message(5, type_id::DATA_AMF3, body, 1, 128)).unwrap();
    let events = server.events();
    let [ServerEvent::Tag(tag)] = events.as_slice() else { panic!("{events:?}") };
    assert!(tag.kind == TagKind::Script && tag.is_metadata());
    let metadata = Metadata::parse(&tag.body.to_bytes()).unwrap();
    assert_eq!(metadata.width, Some(1280.0));
    // Other data keeps its name and its values.
    server.input(&message(5, type_id::DATA_AMF3, b"\0\x02\0\x06onText\x11\x06\x05hi", 1, 128)).unwrap();
    let events = server.events();
    let [ServerEvent::Tag(tag)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(tag.body.to_bytes()[..], b"\x02\0\x06onText\x02\0\x02hi"[..]);
}

#[test]
fn amf3_that_is_not_taken_ends_the_session() {
    let vector = b"\x11\x0D\x03\0\0\0\0\x01";
    let bytes = [connect(), amf3_command("createStream", 2.0, vector, 0)].concat();
    let error = Server::new().input(&bytes).unwrap_err();
    assert!(matches!(error, Error::Amf { .. }), "{error}");
    let error = Server::publishing().input(&message(5, type_id::DATA_AMF3, vector, 1, 128)).unwrap_err();
    assert!(matches!(error, Error::Amf { .. }), "{error}");
}

#[test]
fn shared_objects_are_passed_over() {
    let mut server = Server::publishing();
    for type_id in [type_id::SHARED_OBJECT, type_id::SHARED_OBJECT_AMF3] {
        server.input(&message(3, type_id, b"\0\x04name\xFF\xFF\xFF\xFF", 0, 128)).unwrap();
    }
    assert!(server.events().is_empty() && server.sent().is_empty());
    server
        .input(&message(
            3,
            20,
            &flowcast_rtmp::command::Command::new("_checkbw", 8.0, vec![Value::Null]).encode(),
            0,
            128,
        ))
        .unwrap();
    assert_eq!(server.sent().len(), 1, "the session goes on");
}
