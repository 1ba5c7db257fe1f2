//! Values to bytes, without recursion.

use bytes::{BufMut, BytesMut};

use super::{Value, marker};

/// Appends `value` to `out`.
///
/// A [`Value::String`] of more than 65,535 bytes is written as a long string. Names of properties and classes end
/// there, at a character, and a long string at 4 GiB: AMF0 has no longer ones.
///
/// ```
/// use bytes::BytesMut;
/// use flowcast_rtmp::amf0::{Value, encode};
/// let mut out = BytesMut::new();
/// encode(&Value::from("hi"), &mut out);
/// assert_eq!(&out[..], [0x02, 0, 2, b'h', b'i']);
/// ```
pub fn encode(value: &Value, out: &mut BytesMut) {
    let mut open = Vec::new();
    begin(value, out, &mut open);
    while let Some(container) = open.last_mut() {
        let next = match container {
            Open::Items(items) => items.next(),
            Open::Properties(properties) => match properties.next() {
                Some((key, value)) => {
                    put_short_text(key, out);
                    Some(value)
                }
                None => {
                    out.put_slice(&[0, 0, marker::OBJECT_END]);
                    None
                }
            },
        };
        match next {
            Some(value) => begin(value, out, &mut open),
            None => {
                open.pop();
            }
        }
    }
}

/// Appends values one after the other, as a command or a script tag holds them.
pub fn encode_all<'a>(values: impl IntoIterator<Item = &'a Value>, out: &mut BytesMut) {
    for value in values {
        encode(value, out);
    }
}

/// A container whose end has not been written.
enum Open<'a> {
    Properties(std::slice::Iter<'a, (String, Value)>),
    Items(std::iter::Take<std::slice::Iter<'a, Value>>),
}

fn begin<'a>(value: &'a Value, out: &mut BytesMut, open: &mut Vec<Open<'a>>) {
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(truth) => out.put_slice(&[marker::BOOLEAN, u8::from(*truth)]),
        Value::String(text) if text.len() <= usize::from(u16::MAX) => {
            out.put_u8(marker::STRING);
            put_short_text(text, out);
        }
        Value::String(text) | Value::LongString(text) => put_long_text(marker::LONG_STRING, text, out),
        Value::Xml(text) => put_long_text(marker::XML_DOCUMENT, text, out),
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
        Value::Unsupported => out.put_u8(marker::UNSUPPORTED),
        Value::Date { millis, zone } => {
            out.put_u8(marker::DATE);
            out.put_f64(*millis);
            out.put_i16(*zone);
        }
        Value::Object(properties) => {
            out.put_u8(marker::OBJECT);
            open.push(Open::Properties(properties.iter()));
        }
        Value::TypedObject { class, properties } => {
            out.put_u8(marker::TYPED_OBJECT);
            put_short_text(class, out);
            open.push(Open::Properties(properties.iter()));
        }
        Value::EcmaArray(properties) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
            open.push(Open::Properties(properties.iter()));
        }
        Value::StrictArray(items) => {
            let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(count);
            open.push(Open::Items(items.iter().take(usize::try_from(count).unwrap_or(usize::MAX))));
        }
    }
}

fn put_short_text(text: &str, out: &mut BytesMut) {
    let text = up_to(text, usize::from(u16::MAX));
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn put_long_text(marker: u8, text: &str, out: &mut BytesMut) {
    let text = up_to(text, usize::try_from(u32::MAX).unwrap_or(usize::MAX));
    out.put_u8(marker);
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}

/// The longest beginning of `text` of at most `length` bytes that ends at a character.
fn up_to(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}
