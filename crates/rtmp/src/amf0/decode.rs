//! Bytes to values, without recursion.

mod amf3;

use super::{AmfError, Value, marker};
use crate::limits::{LimitKind, Limits};

/// Decodes one value and moves `input` past it.
///
/// Text that is not UTF-8 is taken with replacement characters, because old encoders send Latin-1.
///
/// # Errors
///
/// See [`AmfError`]; `input` is then unchanged. Empty input is [`AmfError::Truncated`].
///
/// ```
/// use flowcast_rtmp::{amf0, limits::Limits};
/// let mut input: &[u8] = &[0x02, 0, 2, b'h', b'i', 0x05];
/// let value = amf0::decode(&mut input, &Limits::before_auth())?;
/// assert_eq!(value.as_str(), Some("hi"));
/// assert_eq!(input, [0x05]);
/// # Ok::<(), amf0::AmfError>(())
/// ```
pub fn decode(input: &mut &[u8], limits: &Limits) -> Result<Value, AmfError> {
    let mut decoder = Decoder::new(input, limits);
    let value = decoder.pull()?.ok_or(AmfError::Truncated { offset: 0, missing: 1 })?;
    *input = decoder.rest();
    Ok(value)
}

/// Decodes all values of a message. The limit on values holds for all of them together.
///
/// # Errors
///
/// See [`AmfError`]: the first thing that is wrong.
pub fn decode_all(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, AmfError> {
    let mut decoder = Decoder::new(bytes, limits);
    let mut values = Vec::new();
    while let Some(value) = decoder.pull()? {
        values.push(value);
    }
    Ok(values)
}

/// Decodes the values of a message one by one.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    position: usize,
    values: usize,
    limits: Limits,
    amf3: amf3::Tables<'a>,
}

impl<'a> Decoder<'a> {
    /// A decoder at the first byte of a message.
    #[must_use]
    pub const fn new(bytes: &'a [u8], limits: &Limits) -> Self {
        Self { bytes, position: 0, values: 0, limits: *limits, amf3: amf3::Tables::new() }
    }

    /// Bytes decoded so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.position as u64
    }

    /// The bytes not yet decoded.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The next value, or `None` at the end of the bytes.
    ///
    /// # Errors
    ///
    /// See [`AmfError`]. What follows a broken value cannot be found: do not go on after an error.
    pub fn pull(&mut self) -> Result<Option<Value>, AmfError> {
        if self.rest().is_empty() { Ok(None) } else { self.value().map(Some) }
    }

    fn value(&mut self) -> Result<Value, AmfError> {
        let mut open: Vec<Container> = Vec::new();
        'values: loop {
            let mut value = match self.item(open.len())? {
                Item::Whole(value) => value,
                Item::Opened(mut container) => {
                    if self.goes_on(&mut container)? {
                        open.push(container);
                        continue;
                    }
                    container.close()
                }
            };
            while let Some(mut container) = open.pop() {
                container.put(value);
                if self.goes_on(&mut container)? {
                    open.push(container);
                    continue 'values;
                }
                value = container.close();
            }
            return Ok(value);
        }
    }

    /// Reads a marker and, unless it opens a container, the value behind it.
    fn item(&mut self, depth: usize) -> Result<Item, AmfError> {
        let offset = self.offset();
        self.count_value(offset)?;
        let marker = self.u8()?;
        let whole = match marker {
            marker::NUMBER => Value::Number(self.f64()?),
            marker::BOOLEAN => Value::Boolean(self.u8()? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::DATE => Value::Date { millis: self.f64()?, zone: i16::from_be_bytes(self.array()?) },
            marker::LONG_STRING => Value::LongString(self.long_text()?),
            marker::UNSUPPORTED => Value::Unsupported,
            marker::XML_DOCUMENT => Value::Xml(self.long_text()?),
            marker::OBJECT | marker::ECMA_ARRAY | marker::STRICT_ARRAY | marker::TYPED_OBJECT => {
                self.within(LimitKind::AmfDepth, depth.saturating_add(1), self.limits.amf_depth, offset)?;
                return self.container(marker).map(Item::Opened);
            }
            marker::REFERENCE => return Err(AmfError::Reference { offset }),
            marker::AVM_PLUS => self.amf3(depth)?,
            // Reserved (MovieClip 4, RecordSet 14), an object's end (9), or unknown.
            _ => return Err(AmfError::Marker { marker, offset }),
        };
        Ok(Item::Whole(whole))
    }

    fn container(&mut self, marker: u8) -> Result<Container, AmfError> {
        let kind = match marker {
            marker::TYPED_OBJECT => Kind::Typed(self.short_text()?),
            marker::ECMA_ARRAY => {
                // The count is a hint that encoders get wrong; the end marker decides.
                self.array::<4>()?;
                Kind::Ecma
            }
            marker::STRICT_ARRAY => {
                let offset = self.offset();
                let count = u32::from_be_bytes(self.array()?);
                // Every value takes a byte at least, so a count beyond the bytes need not be tried.
                let missing = u64::from(count).saturating_sub(self.rest().len() as u64);
                if missing > 0 {
                    return Err(AmfError::Truncated { offset, missing });
                }
                return Ok(Container::Items { items: Vec::new(), left: count });
            }
            _ => Kind::Plain,
        };
        Ok(Container::Properties { kind, properties: Vec::new(), key: String::new() })
    }

    /// Whether another value of `container` follows; reads its name, or the container's end.
    fn goes_on(&mut self, container: &mut Container) -> Result<bool, AmfError> {
        match container {
            Container::Items { left, .. } => {
                let more = *left > 0;
                *left = left.saturating_sub(1);
                Ok(more)
            }
            Container::Properties { key, .. } => {
                *key = self.short_text()?;
                if !key.is_empty() {
                    return Ok(true);
                }
                match self.rest().first() {
                    Some(&marker::OBJECT_END) => {
                        self.take(1)?;
                        Ok(false)
                    }
                    // Odd, but it can be told apart: a property with an empty name.
                    Some(_) => Ok(true),
                    None => Err(AmfError::Truncated { offset: self.offset(), missing: 1 }),
                }
            }
        }
    }

    fn count_value(&mut self, offset: u64) -> Result<(), AmfError> {
        self.values = self.values.saturating_add(1);
        self.within(LimitKind::AmfValues, self.values, self.limits.amf_values, offset)
    }

    fn within(&self, kind: LimitKind, is: usize, limit: usize, offset: u64) -> Result<(), AmfError> {
        if is > limit { Err(AmfError::Limit { kind, limit, offset }) } else { Ok(()) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let rest = self.rest();
        let Some(taken) = rest.get(..length) else {
            let missing = length.saturating_sub(rest.len()) as u64;
            return Err(AmfError::Truncated { offset: self.offset(), missing });
        };
        self.position = self.position.saturating_add(length);
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, AmfError> {
        self.array().map(|[byte]| byte)
    }

    fn f64(&mut self) -> Result<f64, AmfError> {
        self.array().map(f64::from_be_bytes)
    }

    fn short_text(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length)).map(text)
    }

    fn long_text(&mut self) -> Result<String, AmfError> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX)).map(text)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

enum Item {
    Whole(Value),
    Opened(Container),
}

enum Kind {
    Plain,
    Ecma,
    Typed(String),
}

/// An object or array whose end has not been read.
enum Container {
    Properties { kind: Kind, properties: Vec<(String, Value)>, key: String },
    Items { items: Vec<Value>, left: u32 },
}

impl Container {
    fn put(&mut self, value: Value) {
        match self {
            Self::Properties { properties, key, .. } => properties.push((std::mem::take(key), value)),
            Self::Items { items, .. } => items.push(value),
        }
    }

    fn close(self) -> Value {
        match self {
            Self::Items { items, .. } => Value::StrictArray(items),
            Self::Properties { kind: Kind::Plain, properties, .. } => Value::Object(properties),
            Self::Properties { kind: Kind::Ecma, properties, .. } => Value::EcmaArray(properties),
            Self::Properties { kind: Kind::Typed(class), properties, .. } => {
                Value::TypedObject { class, properties }
            }
        }
    }
}
