//! AMF3 values inside AMF0, behind marker 0x11: what Flash clients with object encoding 3 send in messages of type 15
//! and 17. Specification: *Action Message Format – AMF 3*, Adobe, 2013.
//!
//! Values come out as the AMF0 values nearest to them. Taken are undefined, null, truth values, integers, doubles,
//! text, XML, dates, arrays and objects; a byte array becomes [`Value::Unsupported`]. References to earlier strings and
//! traits work, within a bound on the bytes they repeat. References to earlier objects are refused, as in AMF0: they can
//! make values of unbounded size. Vectors, dictionaries and externalizable objects are refused as well.

use super::super::{AmfError, Value};
use super::{Decoder, text};
use crate::limits::LimitKind;

mod marker {
    pub(super) const UNDEFINED: u8 = 0x00;
    pub(super) const NULL: u8 = 0x01;
    pub(super) const FALSE: u8 = 0x02;
    pub(super) const TRUE: u8 = 0x03;
    pub(super) const INTEGER: u8 = 0x04;
    pub(super) const DOUBLE: u8 = 0x05;
    pub(super) const STRING: u8 = 0x06;
    pub(super) const XML_DOCUMENT: u8 = 0x07;
    pub(super) const DATE: u8 = 0x08;
    pub(super) const ARRAY: u8 = 0x09;
    pub(super) const OBJECT: u8 = 0x0A;
    pub(super) const XML: u8 = 0x0B;
    pub(super) const BYTE_ARRAY: u8 = 0x0C;
}

/// Bytes that a message may repeat by reference: strings, and names of properties and classes.
const MAX_REPEATED: usize = 64 << 10;

/// What later values of a message can refer to.
#[derive(Clone, Debug)]
pub(super) struct Tables<'a> {
    strings: Vec<&'a [u8]>,
    traits: Vec<Traits<'a>>,
    repeated: usize,
}

impl Tables<'_> {
    pub(super) const fn new() -> Self {
        Self { strings: Vec::new(), traits: Vec::new(), repeated: 0 }
    }
}

/// The class of an object.
#[derive(Clone, Debug)]
struct Traits<'a> {
    class: &'a [u8],
    /// Names of the properties that every object of the class has, in order.
    names: Vec<&'a [u8]>,
    /// Whether an object may have other properties after those.
    dynamic: bool,
}

enum Item<'a> {
    Whole(Value),
    Opened(Container<'a>),
}

/// An object or array whose end has not been read.
enum Container<'a> {
    Object {
        /// Index of its traits.
        traits: usize,
        /// Named properties read so far.
        sealed: usize,
        properties: Vec<(String, Value)>,
        key: &'a [u8],
    },
    Array {
        /// The values that have names.
        properties: Vec<(String, Value)>,
        /// The name of the next one; empty once the values without names have begun.
        key: &'a [u8],
        items: Vec<Value>,
        left: u32,
    },
}

impl Container<'_> {
    fn put(&mut self, value: Value) {
        match self {
            Self::Array { key: [], items, .. } => items.push(value),
            Self::Object { properties, key, .. } | Self::Array { properties, key, .. } => {
                properties.push((text(key), value));
            }
        }
    }
}

impl<'a> Decoder<'a> {
    /// The AMF3 value behind marker 0x11, `depth` AMF0 containers deep.
    pub(super) fn amf3(&mut self, depth: usize) -> Result<Value, AmfError> {
        let mut open: Vec<Container<'a>> = Vec::new();
        'values: loop {
            let mut value = match self.amf3_item(depth.saturating_add(open.len()))? {
                Item::Whole(value) => value,
                Item::Opened(mut container) => {
                    if self.amf3_goes_on(&mut container)? {
                        open.push(container);
                        continue;
                    }
                    self.amf3_close(container)?
                }
            };
            while let Some(mut container) = open.pop() {
                container.put(value);
                if self.amf3_goes_on(&mut container)? {
                    open.push(container);
                    continue 'values;
                }
                value = self.amf3_close(container)?;
            }
            return Ok(value);
        }
    }

    fn amf3_item(&mut self, depth: usize) -> Result<Item<'a>, AmfError> {
        let offset = self.offset();
        self.count_value(offset)?;
        let marker = self.u8()?;
        let whole = match marker {
            marker::UNDEFINED => Value::Undefined,
            marker::NULL => Value::Null,
            marker::FALSE => Value::Boolean(false),
            marker::TRUE => Value::Boolean(true),
            // 29 bits with a sign: the shifts extend it.
            marker::INTEGER => Value::Number(f64::from((self.u29()? << 3) as i32 >> 3)),
            marker::DOUBLE => Value::Number(self.f64()?),
            marker::STRING => Value::String(text(self.amf3_text()?)),
            marker::XML_DOCUMENT | marker::XML => {
                let length = self.amf3_length(offset)?;
                Value::Xml(text(self.take(length)?))
            }
            marker::DATE => {
                self.amf3_length(offset)?;
                Value::Date { millis: self.f64()?, zone: 0 }
            }
            marker::BYTE_ARRAY => {
                let length = self.amf3_length(offset)?;
                self.take(length)?;
                Value::Unsupported
            }
            marker::ARRAY | marker::OBJECT => {
                let depth = depth.saturating_add(1);
                self.within(LimitKind::AmfDepth, depth, self.limits.amf_depth, offset)?;
                let container =
                    if marker == marker::ARRAY { self.amf3_array(offset) } else { self.amf3_object(offset) };
                return container.map(Item::Opened);
            }
            _ => return Err(AmfError::Amf3 { marker, offset }),
        };
        Ok(Item::Whole(whole))
    }

    fn amf3_array(&mut self, offset: u64) -> Result<Container<'a>, AmfError> {
        let count = self.amf3_length(offset)?;
        // Every value takes a byte at least, so a count beyond the bytes need not be tried.
        let missing = count.saturating_sub(self.rest().len()) as u64;
        if missing > 0 {
            return Err(AmfError::Truncated { offset, missing });
        }
        let left = u32::try_from(count).unwrap_or(u32::MAX);
        // Any name but the empty one, which means that those with names are through.
        Ok(Container::Array { properties: Vec::new(), key: b"?", items: Vec::new(), left })
    }

    fn amf3_object(&mut self, offset: u64) -> Result<Container<'a>, AmfError> {
        let head = self.u29()?;
        let traits = if head & 1 == 0 {
            return Err(AmfError::Reference { offset });
        } else if head & 2 == 0 {
            let index = usize::try_from(head >> 2).unwrap_or(usize::MAX);
            if index >= self.amf3.traits.len() {
                return Err(AmfError::Reference { offset });
            }
            index
        } else if head & 4 != 0 {
            // Externalizable: only the class itself knows how many bytes follow.
            return Err(AmfError::Amf3 { marker: marker::OBJECT, offset });
        } else {
            let class = self.amf3_text()?;
            let mut names = Vec::new();
            for _ in 0..head >> 4 {
                // Names count as values do, since they take memory without one.
                self.count_value(offset)?;
                names.push(self.amf3_text()?);
            }
            self.amf3.traits.push(Traits { class, names, dynamic: head & 8 != 0 });
            self.amf3.traits.len().saturating_sub(1)
        };
        Ok(Container::Object { traits, sealed: 0, properties: Vec::new(), key: &[] })
    }

    /// Whether another value of `container` follows; reads its name if it has one.
    fn amf3_goes_on(&mut self, container: &mut Container<'a>) -> Result<bool, AmfError> {
        match container {
            Container::Array { key, left, .. } => {
                if !key.is_empty() {
                    *key = self.amf3_text()?;
                    if !key.is_empty() {
                        return Ok(true);
                    }
                }
                let more = *left > 0;
                *left = left.saturating_sub(1);
                Ok(more)
            }
            Container::Object { traits, sealed, key, .. } => {
                let class = self.amf3.traits.get(*traits);
                let (name, dynamic) =
                    class.map_or((None, false), |class| (class.names.get(*sealed).copied(), class.dynamic));
                if let Some(name) = name {
                    *sealed = sealed.saturating_add(1);
                    *key = name;
                    self.repeat(name.len())?;
                    return Ok(true);
                }
                if dynamic {
                    *key = self.amf3_text()?;
                }
                Ok(dynamic && !key.is_empty())
            }
        }
    }

    fn amf3_close(&mut self, container: Container<'a>) -> Result<Value, AmfError> {
        Ok(match container {
            Container::Array { properties, items, .. } if properties.is_empty() => Value::StrictArray(items),
            Container::Array { mut properties, items, .. } => {
                properties
                    .extend(items.into_iter().enumerate().map(|(index, value)| (index.to_string(), value)));
                Value::EcmaArray(properties)
            }
            Container::Object { traits, properties, .. } => {
                let class = self.amf3.traits.get(traits).map_or(&[][..], |traits| traits.class);
                if class.is_empty() {
                    Value::Object(properties)
                } else {
                    self.repeat(class.len())?;
                    Value::TypedObject { class: text(class), properties }
                }
            }
        })
    }

    /// An integer of one to four bytes, of which the first three say whether another follows.
    fn u29(&mut self) -> Result<u32, AmfError> {
        let mut value = 0;
        for _ in 0..3 {
            let byte = self.u8()?;
            value = value << 7 | u32::from(byte & 0x7F);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u32::from(self.u8()?))
    }

    /// The length (or whatever is in its place) of a value that could be a reference to an earlier one.
    fn amf3_length(&mut self, offset: u64) -> Result<usize, AmfError> {
        let head = self.u29()?;
        if head & 1 == 0 {
            return Err(AmfError::Reference { offset });
        }
        Ok(usize::try_from(head >> 1).unwrap_or(usize::MAX))
    }

    /// Text, or a reference to earlier text.
    fn amf3_text(&mut self) -> Result<&'a [u8], AmfError> {
        let offset = self.offset();
        let head = self.u29()?;
        let number = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if head & 1 == 0 {
            let text = self.amf3.strings.get(number).copied().ok_or(AmfError::Reference { offset })?;
            self.repeat(text.len())?;
            return Ok(text);
        }
        let text = self.take(number)?;
        if !text.is_empty() {
            self.amf3.strings.push(text);
        }
        Ok(text)
    }

    /// Counts bytes that come out without having come in again.
    fn repeat(&mut self, bytes: usize) -> Result<(), AmfError> {
        self.amf3.repeated = self.amf3.repeated.saturating_add(bytes);
        self.within(LimitKind::AmfRepeated, self.amf3.repeated, MAX_REPEATED, self.offset())
    }
}
