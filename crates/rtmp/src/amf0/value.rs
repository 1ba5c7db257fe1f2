//! One AMF0 value in memory.

/// An AMF0 value. Properties keep the order they had on the wire, and may repeat.
///
/// ```
/// use flowcast_rtmp::amf0::Value;
/// let command = Value::object([("app", Value::from("live")), ("audioCodecs", Value::from(1024.0))]);
/// assert_eq!(command.get("app").and_then(Value::as_str), Some("live"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// An IEEE 754 double; AMF0 has no other numbers.
    Number(f64),
    /// True or false; any byte but 0 is true.
    Boolean(bool),
    /// Text of at most 65,535 bytes on the wire. A longer one is encoded as [`Value::LongString`].
    String(String),
    /// An anonymous object.
    Object(Vec<(String, Self)>),
    /// Null.
    Null,
    /// Undefined; some peers say it where others say null.
    Undefined,
    /// An object that announces how many properties it has (and is often wrong); `onMetaData` is one.
    EcmaArray(Vec<(String, Self)>),
    /// Values without names.
    StrictArray(Vec<Self>),
    /// A point in time.
    Date {
        /// Milliseconds since 1970-01-01 UTC.
        millis: f64,
        /// Time zone in minutes. Reserved: should be 0 and means nothing.
        zone: i16,
    },
    /// Text with a 32 bit length.
    LongString(String),
    /// An XML document as text.
    Xml(String),
    /// An object of a named class.
    TypedObject {
        /// The class, as the sender calls it.
        class: String,
        /// Its properties.
        properties: Vec<(String, Self)>,
    },
    /// "The sender could not encode this".
    Unsupported,
}

impl Value {
    /// An anonymous object of these properties.
    #[must_use]
    pub fn object<K: Into<String>>(properties: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(properties.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The text of a string, long string or XML document.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::LongString(text) | Self::Xml(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    #[must_use]
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Whether this is null or undefined, which peers use alike.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        matches!(self, Self::Null | Self::Undefined)
    }

    /// The properties of an object, ECMA array or typed object, in the order of the wire.
    #[must_use]
    pub fn properties(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) | Self::TypedObject { properties, .. } => {
                Some(properties)
            }
            _ => None,
        }
    }

    /// The first property called `key`, if this has properties and that one is among them.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.properties()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
