//! AMF3 inside AMF0: every marker that is taken, every refusal, every cut.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use flowcast_rtmp::amf0::{AmfError, Value, decode, decode_all};
use flowcast_rtmp::limits::{LimitKind, Limits};

const LIMITS: Limits = Limits::before_auth();

/// The value in `bytes`, which begin after marker 0x11.
fn one(bytes: &[u8]) -> Result<Value, AmfError> {
    let bytes = [&[0x11], bytes].concat();
    let mut rest = bytes.as_slice();
    let value = decode(&mut rest, &LIMITS)?;
    assert!(rest.is_empty(), "{} bytes left behind {value:?}", rest.len());
    Ok(value)
}

fn object(properties: &[(&str, Value)]) -> Value {
    Value::object(properties.iter().cloned())
}

fn samples() -> Vec<(&'static [u8], Value)> {
    let number = Value::Number;
    vec![
        (b"\x00", Value::Undefined),
        (b"\x01", Value::Null),
        (b"\x02", Value::Boolean(false)),
        (b"\x03", Value::Boolean(true)),
        (b"\x04\x00", number(0.0)),
        (b"\x04\x7F", number(127.0)),
        (b"\x04\x81\x00", number(128.0)),
        (b"\x04\x81\x80\x00", number(16_384.0)),
        (b"\x04\x80\xC0\x80\x00", number(2_097_152.0)),
        (b"\x04\xBF\xFF\xFF\xFF", number(268_435_455.0)),
        (b"\x04\xC0\x80\x80\x00", number(-268_435_456.0)),
        (b"\x04\xFF\xFF\xFF\xFF", number(-1.0)),
        (b"\x05\x3F\xF8\0\0\0\0\0\0", number(1.5)),
        (b"\x06\x01", Value::from("")),
        (b"\x06\x05hi", Value::from("hi")),
        (b"\x07\x09<a/>", Value::Xml("<a/>".into())),
        (b"\x0B\x09<a/>", Value::Xml("<a/>".into())),
        (b"\x08\x01\x3F\xF8\0\0\0\0\0\0", Value::Date { millis: 1.5, zone: 0 }),
        (b"\x0C\x07\x01\x02\x03", Value::Unsupported),
        (b"\x09\x01\x01", Value::StrictArray(vec![])),
        (b"\x09\x05\x01\x01\x03", Value::StrictArray(vec![Value::Null, Value::Boolean(true)])),
        // Named and counted values in one array.
        (
            b"\x09\x03\x03k\x06\x03v\x01\x02",
            Value::EcmaArray(vec![("k".into(), Value::from("v")), ("0".into(), Value::Boolean(false))]),
        ),
        // An anonymous dynamic object, as ActionScript's {} is sent.
        (b"\x0A\x0B\x01\x03a\x04\x01\x03b\x01\x01", object(&[("a", number(1.0)), ("b", Value::Null)])),
        (b"\x0A\x0B\x01\x01", object(&[])),
        // A class C with the properties x and y, and z of its own.
        (
            b"\x0A\x2B\x03C\x03x\x03y\x04\x01\x04\x02\x03z\x03\x01",
            Value::TypedObject {
                class: "C".into(),
                properties: vec![
                    ("x".into(), number(1.0)),
                    ("y".into(), number(2.0)),
                    ("z".into(), Value::Boolean(true)),
                ],
            },
        ),
        // Twice the same class: the second time by reference, with its strings.
        (
            b"\x09\x05\x01\x0A\x13\x03C\x03x\x06\x05hi\x0A\x01\x06\x04",
            Value::StrictArray(
                [(); 2]
                    .map(|()| Value::TypedObject {
                        class: "C".into(),
                        properties: vec![("x".into(), Value::from("hi"))],
                    })
                    .to_vec(),
            ),
        ),
    ]
}

#[test]
fn every_marker_comes_out_as_the_nearest_value() {
    for (bytes, value) in samples() {
        assert_eq!(one(bytes), Ok(value), "{bytes:02x?}");
    }
}

#[test]
fn a_value_cut_anywhere_is_truncated() {
    for (bytes, value) in samples() {
        for end in 0..bytes.len() {
            match one(&bytes[..end]) {
                Err(AmfError::Truncated { offset, missing }) => {
                    assert!(offset <= end as u64 + 1 && missing > 0, "{value:?} cut at {end}");
                }
                other => panic!("{value:?} cut at {end}: {other:?}"),
            }
        }
    }
}

#[test]
fn amf0_goes_on_behind_an_amf3_value_and_shares_its_strings() {
    // An AMF0 object with an AMF3 string in it, an AMF0 null, then the same string by reference.
    let bytes = b"\x03\0\x01a\x11\x06\x05hi\0\x01b\x05\0\0\x09\x05\x11\x06\x00";
    let values = decode_all(bytes, &LIMITS).unwrap();
    let first = object(&[("a", Value::from("hi")), ("b", Value::Null)]);
    assert_eq!(values, [first, Value::Null, Value::from("hi")]);
}

#[test]
fn what_cannot_be_told_is_refused_by_name() {
    for marker in [0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x42, 0xFF] {
        assert_eq!(one(&[marker, 3, 0, 1, 1]), Err(AmfError::Amf3 { marker, offset: 1 }));
    }
    // Externalizable.
    assert_eq!(one(b"\x0A\x07\x03C\x01"), Err(AmfError::Amf3 { marker: 0x0A, offset: 1 }));
    // References to objects that exist (an array within itself), and to strings and traits that do not.
    let references: [&[u8]; 8] = [
        b"\x09\x00",
        b"\x0A\x00",
        b"\x08\x00",
        b"\x0C\x02",
        b"\x07\x04",
        b"\x06\x00",
        b"\x0A\x01",
        b"\x0A\x0B\x02",
    ];
    for bytes in references {
        assert!(matches!(one(bytes), Err(AmfError::Reference { .. })), "{bytes:02x?}");
    }
    assert_eq!(one(b"\x09\x03\x01\x09\x00"), Err(AmfError::Reference { offset: 4 }));
}

#[test]
fn nesting_of_100_000_costs_nothing() {
    for opening in [b"\x09\x03\x01".as_slice(), b"\x0A\x0B\x01\x03a", b"\x09\x01\x03a"] {
        let error =
            AmfError::Limit { kind: LimitKind::AmfDepth, limit: 16, offset: 1 + 16 * opening.len() as u64 };
        assert_eq!(one(&opening.repeat(100_000)), Err(error));
    }
    // Depth counts from the outermost AMF0 value.
    let mixed = [b"\x03\0\x01a".repeat(10), vec![0x11], b"\x09\x03\x01".repeat(7)].concat();
    let error = decode_all(&mixed, &LIMITS).unwrap_err();
    assert!(matches!(error, AmfError::Limit { kind: LimitKind::AmfDepth, .. }), "{error}");
}

#[test]
fn counts_that_nothing_follows_are_refused_at_once() {
    // 2^28 - 1 values, bytes, characters, property names.
    for bytes in [b"\x09\xFF\xFF\xFF\xFF", b"\x0C\xFF\xFF\xFF\xFF", b"\x06\xFF\xFF\xFF\xFF"] {
        assert!(matches!(one(bytes), Err(AmfError::Truncated { .. })), "{bytes:02x?}");
    }
    // 2^25 - 1 names, of which each takes a byte: counted as values.
    let names = [b"\x0A\xFF\xFF\xFF\xFB\x01".as_slice(), &[1; 5000]].concat();
    let error = one(&names).unwrap_err();
    assert!(matches!(error, AmfError::Limit { kind: LimitKind::AmfValues, limit: 1024, .. }), "{error}");
}

#[test]
fn strings_repeated_by_reference_are_bounded() {
    // A string of 8191 bytes, said again and again in two bytes.
    let mut bytes = b"\x09\x8F\x7F\x01\x06\xFF\x7F".to_vec();
    bytes.extend([b'x'; 8191]);
    bytes.extend(b"\x06\x00".repeat(1000));
    let error = one(&bytes).unwrap_err();
    assert!(matches!(error, AmfError::Limit { kind: LimitKind::AmfRepeated, .. }), "{error}");
    // The same with the name of a class.
    let mut bytes = b"\x09\x8F\x7F\x01\x0A\x03\xFF\x7F".to_vec();
    bytes.extend([b'x'; 8191]);
    bytes.extend(b"\x0A\x01".repeat(1000));
    let error = one(&bytes).unwrap_err();
    assert!(matches!(error, AmfError::Limit { kind: LimitKind::AmfRepeated, .. }), "{error}");
}

/// Bytes of text in a value.
fn text_bytes(value: &Value) -> usize {
    let inner: usize = match value {
        Value::StrictArray(items) => items.iter().map(text_bytes).sum(),
        other => other
            .properties()
            .unwrap_or_default()
            .iter()
            .map(|(key, value)| key.len() + text_bytes(value))
            .sum(),
    };
    let class = if let Value::TypedObject { class, .. } = value { class.len() } else { 0 };
    inner + class + value.as_str().map_or(0, str::len)
}

#[test]
fn mutations_never_panic_nor_grow() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let seeds: Vec<Vec<u8>> = samples().iter().map(|(bytes, _)| [&[0x11], *bytes].concat()).collect();
    let all = seeds.concat();
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..200_000 {
        let seed = if round % 3 == 0 { &all } else { &seeds[next(seeds.len())] };
        let mut bytes = seed.clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes[at] = [0, 1, 3, 0x0A, 0x0B, 0x11, 0x80, 0xFF][next(8)],
                2 => bytes.insert(at, next(256) as u8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        match decode_all(&bytes, &LIMITS) {
            Ok(values) => {
                decoded += 1;
                // Replacement characters make three bytes of one; indexes of arrays are names that were not sent.
                let text: usize = values.iter().map(text_bytes).sum();
                assert!(text <= 3 * (bytes.len() + (64 << 10)), "{bytes:02x?}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.offset() <= bytes.len() as u64, "{error} {bytes:02x?}");
            }
        }
    }
    assert!(decoded > 10_000 && refused > 10_000, "{decoded} decoded, {refused} refused");
}
