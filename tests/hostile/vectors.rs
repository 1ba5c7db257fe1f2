//! Bytes that no honest client sends after a good handshake, by name.

use crate::wire::{
    AUDIO, COMMAND, DATA, Random, VIDEO, chunk_size, command, connect, connect_body, connect_then,
    create_stream, header, header_at, message, message_in, number, string,
};

/// A stranger's input before publish or play.
pub(crate) fn before_auth() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |depth: usize| connect_then(&b"\x03\0\x01a".repeat(depth));
    let many_streams: Vec<u8> = (0..65_000_u16)
        .flat_map(|csid| {
            [vec![1], csid.to_le_bytes().into(), vec![0, 0, 0, 0, 0, 64, 9, 1, 0, 0, 0, 0]].concat()
        })
        .collect();
    let extended = {
        let mut bytes = header_at(6, 0xff_ffff, 300, VIDEO, 1);
        for part in [128, 128, 44] {
            bytes.extend(0xffff_fff0_u32.to_be_bytes());
            bytes.resize(bytes.len() + part, 0);
            bytes.push(0xc6);
        }
        bytes
    };
    let with = |head: Vec<u8>, body: &[u8]| [head, body.to_vec()].concat();
    let answered = |bytes: Vec<u8>| [connect(), create_stream(), bytes].concat();
    vec![
        ("command of one value", message(3, COMMAND, &[5], 0)),
        ("command of no value", header(3, 0, COMMAND, 0)),
        ("AMF nesting of 4,000", nested(4_000)),
        ("AMF nesting of 10,000", nested(10_000)),
        ("AMF nesting of 100,000", nested(100_000)),
        ("array of 2^32 - 1", connect_then(b"\x0a\xff\xff\xff\xff")),
        ("ECMA array of 2^32 - 1", connect_then(b"\x08\xff\xff\xff\xff")),
        (
            "array of 2^32 - 1 nulls, as far as they go",
            connect_then(&with(b"\x0a\xff\xff\xff\xff".into(), &[5; 60_000])),
        ),
        ("nested arrays", connect_then(&b"\x0a\0\0\0\x01".repeat(10_000))),
        ("long string of 4 GiB", connect_then(&with(b"\x0c\xff\xff\xff\xff".into(), &[b'x'; 50]))),
        ("XML of 4 GiB", connect_then(b"\x0f\xff\xff\xff\xff<a>")),
        ("reference", connect_then(b"\x07\0\0")),
        ("chunk size 0", with(chunk_size(0), &connect())),
        ("chunk size 1", with(chunk_size(1), &message_in(1, 3, COMMAND, &connect_body("live"), 0))),
        (
            "chunk size 2^31 - 1",
            with(chunk_size(0x7fff_ffff), &message_in(1 << 30, 3, COMMAND, &connect_body("live"), 0)),
        ),
        ("chunk size with its top bit", chunk_size(0x8000_0001)),
        ("message of 16 MiB begun", with(header(6, 0xff_ffff, VIDEO, 1), &[0; 128])),
        (
            "message of 64 KiB on every chunk stream",
            (2..64).flat_map(|csid| with(header(csid, 65_536, VIDEO, 1), &[0; 128])).collect(),
        ),
        (
            "message shrinks midway",
            [header(6, 1000, VIDEO, 1), vec![0; 128], header(6, 10, VIDEO, 1), vec![0; 20]].concat(),
        ),
        (
            "legal interleaving of media",
            [
                header(6, 200, VIDEO, 1),
                vec![0x17; 128],
                header(4, 10, AUDIO, 1),
                vec![0xaf; 10],
                vec![0xc6],
                vec![0x17; 72],
            ]
            .concat(),
        ),
        ("65,000 chunk streams", many_streams),
        ("type 3 first", with(vec![0xc5], &[0; 64])),
        ("extended timestamps on type 3", extended),
        ("window of 0", message(2, 5, &[0; 4], 0)),
        ("publish without connect", command("publish", 2.0, &["studio-key"], 1)),
        ("connect twice", [connect(), connect()].concat()),
        (
            "createStream 1,000 times",
            (2..1002).fold(connect(), |bytes, id| {
                [bytes, command("createStream", f64::from(id), &[], 0)].concat()
            }),
        ),
        ("application of 60,000 letters", message(3, COMMAND, &connect_body(&"a".repeat(60_000)), 0)),
        ("publish before createStream", [connect(), command("publish", 2.0, &["studio-key"], 1)].concat()),
        ("key of 60,000 letters", answered(command("publish", 3.0, &[&"k".repeat(60_000)], 1))),
        (
            "transaction that is no number",
            message(3, COMMAND, &[string("connect"), number(f64::NAN)].concat(), 0),
        ),
        ("aggregate with sizes that lie", message(6, 22, &with(b"\x09\xff\xff\xff".into(), &[0; 60]), 1)),
        ("media before connect", message(6, VIDEO, &[0x17; 5000], 1)),
        ("media before publish", answered(message(6, VIDEO, &[0x17; 5000], 1))),
        ("metadata before publish", answered(message(4, DATA, &string("onMetaData"), 1))),
        ("pings without end", message(2, 4, b"\0\x06\0\0\0\x01", 0).repeat(10_000)),
        ("calls without end", with(connect(), &command("_checkbw", 7.0, &[], 0).repeat(4_000))),
        ("empty messages without end", with(connect(), &header(5, 0, 0, 0).repeat(20_000))),
        ("aborts without end", message(2, 2, &[0, 0, 0, 3], 0).repeat(10_000)),
        ("random bytes", Random::new(1).bytes(65_536)),
    ]
}
