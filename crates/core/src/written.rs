//! What the forms that settings have in files share.

/// Whether a field need not be written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether this can be written down, and read again: some settings have parts that only the program has.
pub(crate) fn is_data<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> bool {
    serde_json::to_string(value).is_ok_and(|text| serde_json::from_str::<T>(&text).is_ok())
}

/// Whether what is secret is written in clear text, or as `****`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Hidden,
    Shown,
}

/// Lengths of time as people write them: `90s`, `1h 30m`, `250ms`, or a number of seconds; for `#[serde(with)]`.
pub(crate) mod span {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(length: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*length))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        from.deserialize_any(Written)
    }

    /// The same where there may be none; for `#[serde(with)]`.
    pub(crate) mod option {
        use std::time::Duration;

        use serde::de::Deserializer;
        use serde::ser::Serializer;

        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        struct Span(#[serde(with = "crate::written::span")] Duration);

        pub(crate) fn serialize<S: Serializer>(length: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(&length.map(Span), to)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
            let span: Option<Span> = serde::Deserialize::deserialize(from)?;
            Ok(span.map(|span| span.0))
        }
    }

    struct Written;

    impl Visitor<'_> for Written {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a length of time, such as \"90s\", \"1h 30m\" or a number of seconds")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|error| E::custom(format_args!("{text:?} is no length of time: {error}")))
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| E::custom("a length of time cannot be negative"))
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            Duration::try_from_secs_f64(seconds).map_err(E::custom)
        }
    }
}

/// Width and height: `"1280x720"`; for `#[serde(with)]`.
pub(crate) mod size {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>((width, height): &(u32, u32), to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{width}x{height}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<(u32, u32), D::Error> {
        let text = String::deserialize(from)?;
        let number = |side: &str| side.trim().parse::<u32>().ok();
        let sides = text.split_once(['x', 'X']).and_then(|(width, height)| number(width).zip(number(height)));
        sides.ok_or_else(|| D::Error::custom(format_args!("{text:?} is no size, such as \"1280x720\"")))
    }

    /// The same where there may be none; for `#[serde(with)]`.
    pub(crate) mod option {
        use serde::de::Deserializer;
        use serde::ser::Serializer;

        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        struct Size(#[serde(with = "crate::written::size")] (u32, u32));

        pub(crate) fn serialize<S: Serializer>(size: &Option<(u32, u32)>, to: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(&size.map(Size), to)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<(u32, u32)>, D::Error> {
            let size: Option<Size> = serde::Deserialize::deserialize(from)?;
            Ok(size.map(|size| size.0))
        }
    }
}
