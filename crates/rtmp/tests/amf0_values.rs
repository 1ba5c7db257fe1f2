//! AMF0: every marker, every limit, every cut.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use bytes::BytesMut;
use flowcast_rtmp::amf0::{AmfError, Decoder, Value, decode, decode_all, encode, encode_all};
use flowcast_rtmp::limits::{LimitKind, Limits};
use proptest::prelude::*;

const LIMITS: Limits = Limits::before_auth();

fn one(bytes: &[u8]) -> Result<Value, AmfError> {
    let mut rest = bytes;
    let value = decode(&mut rest, &LIMITS)?;
    assert!(rest.is_empty(), "{} bytes left behind {value:?}", rest.len());
    Ok(value)
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    out.to_vec()
}

fn property(key: &str, value: Value) -> (String, Value) {
    (key.to_owned(), value)
}

/// Each marker with its bytes as the specification has them.
fn samples() -> Vec<(Value, Vec<u8>)> {
    let pairs: Vec<(Value, &[u8])> = vec![
        (Value::Number(1.5), b"\x00\x3F\xF8\0\0\0\0\0\0"),
        (Value::Boolean(true), b"\x01\x01"),
        (Value::Boolean(false), b"\x01\x00"),
        (Value::String("caf\u{e9}".into()), b"\x02\0\x05caf\xC3\xA9"),
        (Value::String(String::new()), b"\x02\0\0"),
        (Value::object([("a", Value::Null), ("", Value::Undefined)]), b"\x03\0\x01a\x05\0\0\x06\0\0\x09"),
        (Value::Object(vec![]), b"\x03\0\0\x09"),
        (Value::Null, b"\x05"),
        (Value::Undefined, b"\x06"),
        (
            Value::EcmaArray(vec![property("n", Value::Number(0.0))]),
            b"\x08\0\0\0\x01\0\x01n\0\0\0\0\0\0\0\0\0\0\0\x09",
        ),
        (Value::StrictArray(vec![Value::Null, Value::Boolean(true)]), b"\x0A\0\0\0\x02\x05\x01\x01"),
        (Value::StrictArray(vec![]), b"\x0A\0\0\0\0"),
        (Value::Date { millis: 1.5, zone: -60 }, b"\x0B\x3F\xF8\0\0\0\0\0\0\xFF\xC4"),
        (Value::LongString("hi".into()), b"\x0C\0\0\0\x02hi"),
        (Value::Unsupported, b"\x0D"),
        (Value::Xml("<a/>".into()), b"\x0F\0\0\0\x04<a/>"),
        (
            Value::TypedObject { class: "C".into(), properties: vec![property("x", Value::Null)] },
            b"\x10\0\x01C\0\x01x\x05\0\0\x09",
        ),
    ];
    pairs.into_iter().map(|(value, bytes)| (value, bytes.to_vec())).collect()
}

#[test]
fn every_marker_has_the_bytes_of_the_specification() {
    for (value, bytes) in samples() {
        assert_eq!(bytes_of(&value), bytes, "{value:?}");
        assert_eq!(one(&bytes), Ok(value));
    }
}

#[test]
fn a_message_cut_anywhere_is_truncated_and_says_where() {
    for (value, bytes) in samples() {
        for end in 0..bytes.len() {
            let mut rest = &bytes[..end];
            match decode(&mut rest, &LIMITS) {
                Err(AmfError::Truncated { offset, missing }) => {
                    assert!(
                        offset <= end as u64 && missing > 0,
                        "{value:?} cut at {end}: {offset} {missing}"
                    );
                    assert!(end as u64 + missing <= bytes.len() as u64, "{value:?} cut at {end}: {missing}");
                    assert_eq!(rest.len(), end, "input moved by an error");
                }
                other => panic!("{value:?} cut at {end}: {other:?}"),
            }
        }
    }
}

#[test]
fn references_amf3_and_reserved_markers_are_refused_by_name() {
    assert_eq!(one(b"\x07\0\0"), Err(AmfError::Reference { offset: 0 }));
    assert_eq!(one(b"\x11\x42"), Err(AmfError::Amf3 { marker: 0x42, offset: 1 }));
    for marker in [0x04, 0x0E, 0x09, 0x12, 0x42, 0xFF] {
        assert_eq!(one(&[marker, 0, 0, 0]), Err(AmfError::Marker { marker, offset: 0 }));
    }
    // Inside of a container the offset is that of the marker.
    let inside = one(b"\x03\0\x01a\x05\0\x01b\x07\0\0\0\0\x09");
    assert_eq!(inside, Err(AmfError::Reference { offset: 8 }));
    assert_eq!(inside.unwrap_err().offset(), 8);
}

#[test]
fn nesting_of_100_000_costs_nothing() {
    let openings: [&[u8]; 4] =
        [b"\x03\0\x01a", b"\x08\0\0\0\x01\0\x01a", b"\x0A\0\0\0\x01", b"\x10\0\x01C\0\x01a"];
    for opening in openings {
        let bytes = opening.repeat(100_000);
        let offset = 16 * opening.len() as u64;
        let error = AmfError::Limit { kind: LimitKind::AmfDepth, limit: 16, offset };
        assert_eq!(one(&bytes), Err(error));
    }
}

#[test]
fn sixteen_levels_are_taken() {
    let mut value = Value::Null;
    for _ in 0..16 {
        value = Value::StrictArray(vec![value]);
    }
    assert_eq!(one(&bytes_of(&value)), Ok(value.clone()));
    let deeper = bytes_of(&Value::object([("a", value)]));
    assert!(matches!(one(&deeper), Err(AmfError::Limit { kind: LimitKind::AmfDepth, .. })));
}

#[test]
fn counts_that_nothing_follows_are_refused_at_once() {
    let strict = one(b"\x0A\xFF\xFF\xFF\xFF\x05\x05");
    assert_eq!(strict, Err(AmfError::Truncated { offset: 1, missing: u64::from(u32::MAX) - 2 }));
    // An ECMA array's count is a hint: the end marker decides.
    assert_eq!(one(b"\x08\xFF\xFF\xFF\xFF\0\0\x09"), Ok(Value::EcmaArray(vec![])));
    assert_eq!(
        one(b"\x08\0\0\0\0\0\x01a\x05\0\0\x09"),
        Ok(Value::EcmaArray(vec![property("a", Value::Null)]))
    );
    // Lengths of text are held against the bytes before anything is allocated.
    assert!(matches!(one(b"\x0C\xFF\xFF\xFF\xFFab"), Err(AmfError::Truncated { .. })));
}

#[test]
fn the_1025th_value_is_refused_wherever_it_stands() {
    assert_eq!(decode_all(&[0x05; 1024], &LIMITS).unwrap().len(), 1024);
    let error = |offset| AmfError::Limit { kind: LimitKind::AmfValues, limit: 1024, offset };
    assert_eq!(decode_all(&[0x05; 1025], &LIMITS), Err(error(1024)));
    let mut array = vec![0x0A, 0, 0, 4, 0];
    array.extend([0x05; 1024]);
    assert_eq!(decode_all(&array, &LIMITS), Err(error(5 + 1023)));
}

#[test]
fn text_that_is_not_utf_8_is_replaced() {
    assert_eq!(one(b"\x02\0\x04caf\xE9").unwrap().as_str(), Some("caf\u{FFFD}"));
}

#[test]
fn any_byte_but_zero_is_true() {
    assert_eq!(one(b"\x01\x80").unwrap().as_bool(), Some(true));
}

#[test]
fn over_long_text_becomes_a_long_string_and_names_end_at_a_character() {
    let text = "x".repeat(65_536);
    assert_eq!(one(&bytes_of(&Value::from(text.as_str()))), Ok(Value::LongString(text)));
    let fits = "y".repeat(65_535);
    assert_eq!(one(&bytes_of(&Value::from(fits.as_str()))), Ok(Value::String(fits.clone())));
    let name = format!("{}\u{e9}\u{e9}", &fits[..65_534]);
    let value = one(&bytes_of(&Value::object([(name, Value::Null)]))).unwrap();
    assert_eq!(value.properties().unwrap()[0].0, fits[..65_534]);
}

#[test]
fn a_value_much_deeper_than_the_limit_is_still_encoded() {
    let mut value = Value::Null;
    for _ in 0..1_000 {
        value = Value::StrictArray(vec![value]);
    }
    assert_eq!(bytes_of(&value).len(), 5 * 1_000 + 1);
}

#[test]
fn a_command_is_decoded_value_by_value() {
    let command = [
        Value::from("connect"),
        Value::from(1.0),
        Value::object([("app", Value::from("live")), ("fpad", Value::from(false))]),
    ];
    let mut bytes = BytesMut::new();
    encode_all(&command, &mut bytes);
    let mut decoder = Decoder::new(&bytes, &LIMITS);
    assert_eq!(decoder.pull().unwrap().unwrap().as_str(), Some("connect"));
    assert_eq!((decoder.offset(), decoder.rest().len()), (10, bytes.len() - 10));
    assert_eq!(decoder.pull().unwrap().unwrap().as_number(), Some(1.0));
    let object = decoder.pull().unwrap().unwrap();
    assert_eq!(object.get("app").and_then(Value::as_str), Some("live"));
    assert_eq!((object.get("nothing"), object.as_number(), object.is_nothing()), (None, None, false));
    assert_eq!(decoder.pull(), Ok(None));
}

fn number() -> impl Strategy<Value = f64> {
    // NaN does not equal itself; its bits are kept all the same.
    any::<f64>().prop_filter("NaN", |number| !number.is_nan())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        number().prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::String),
        ".{0,20}".prop_map(Value::LongString),
        ".{0,20}".prop_map(Value::Xml),
        (number(), any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let properties = prop::collection::vec((".{0,8}", inner.clone()), 0..6);
        prop_oneof![
            properties.clone().prop_map(Value::Object),
            properties.clone().prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            (".{0,8}", properties).prop_map(|(class, properties)| Value::TypedObject { class, properties }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(values in prop::collection::vec(value(), 0..4)) {
        let mut bytes = BytesMut::new();
        encode_all(&values, &mut bytes);
        prop_assert_eq!(decode_all(&bytes, &LIMITS), Ok(values));
    }

    #[test]
    fn a_cut_value_never_decodes(value in value(), cut in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&value);
        let mut rest = &bytes[..cut.index(bytes.len())];
        let is_truncated = matches!(decode(&mut rest, &LIMITS), Err(AmfError::Truncated { .. }));
        prop_assert!(is_truncated);
    }
}

#[test]
fn nan_keeps_its_bits() {
    let bits = 0x7FF8_0000_0000_1234;
    let decoded = one(&bytes_of(&Value::Number(f64::from_bits(bits)))).unwrap();
    assert_eq!(decoded.as_number().unwrap().to_bits(), bits);
}
