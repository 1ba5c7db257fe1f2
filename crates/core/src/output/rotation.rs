//! When a push goes on with a new connection, as planned.
//!
//! In: how long a platform keeps a connection or a broadcast, as data. Out: the same, for the driver of the push and for files.

use std::time::Duration;

use super::IfTaken;
use crate::error::Error;

/// The range of [`Rotation::after`], and the longest [`Rotation::pause`].
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(23 * 24 * 3600);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// When a push goes on with a new connection, before the platform ends the one it has; see [`Output::rotate`](crate::Output::rotate).
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod output { pub use flowcast_core::*; } }
/// use std::time::Duration;
///
/// use flowcast::output::{IfTaken, Rotation};
///
/// let daily = Rotation::after(Duration::from_secs(24 * 3600)).with(|it| it.if_taken = IfTaken::Keep);
/// assert!(daily.after < Rotation::TWITCH.after);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(remote = "Self", default, deny_unknown_fields)
)]
pub struct Rotation {
    /// The longest a connection is on the air, by the clock or by the times in it, whichever is further; 10 s to 23 days. With a
    /// [`pause`](Self::pause), the longest a row of connections is with less than that between them: a shorter break does not end a broadcast. Connections
    /// that began together are not rotated together: each is rotated earlier by a random part of a twentieth of this, and of an hour
    /// at most. Default 23 days.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub after: Duration,
    /// Zero lets the new connection take over at a keyframe, with no tag doubled or lost. More is a break on purpose: the push says
    /// goodbye, and is dialled again after this long, so that the platform ends the broadcast and begins another. An output and its
    /// [backup](crate::Output::backup) pause at the same time. At most an hour. Default zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::written::span"))]
    pub pause: Duration,
    /// What happens if the server does not let the new connection in because the one on the air has its name. Default [`IfTaken::Break`].
    pub if_taken: IfTaken,
}

crate::settings::settings!(Rotation);

impl Default for Rotation {
    fn default() -> Self {
        Self::after(LONGEST)
    }
}

impl Rotation {
    /// For YouTube: after 11 h 50 min, with a pause of 90 s. YouTube keeps no archive of a broadcast of more than 12 hours
    /// (support.google.com/youtube/answer/6247592), and a connection that takes over without a gap does not end a broadcast. With auto-stop
    /// switched on there, the pause does.
    pub const YOUTUBE: Self =
        Self { pause: Duration::from_secs(90), ..Self::after(Duration::from_secs(12 * HOUR - 10 * MINUTE)) };
    /// For Twitch: after 47 h 50 min. A broadcast is cut after 48 hours (help.upstream.so; livereacting.com).
    pub const TWITCH: Self = Self::after(Duration::from_secs(48 * HOUR - 10 * MINUTE));
    /// For Facebook: after 7 h 50 min. A broadcast is cut after 8 hours (livereacting.com; help.upstream.so).
    pub const FACEBOOK: Self = Self::after(Duration::from_secs(8 * HOUR - 10 * MINUTE));
    /// For Instagram: after 3 h 50 min. A broadcast is cut after 4 hours, for some accounts after one (livereacting.com; restream.io).
    pub const INSTAGRAM: Self = Self::after(Duration::from_secs(4 * HOUR - 10 * MINUTE));
    /// For LinkedIn: after 3 h 50 min. A broadcast is cut after 4 hours (livereacting.com; restream.io).
    pub const LINKEDIN: Self = Self::after(Duration::from_secs(4 * HOUR - 10 * MINUTE));

    /// After this long, without a pause; where the server takes one publisher of a name, with a break.
    #[must_use]
    pub const fn after(after: Duration) -> Self {
        Self { after, pause: Duration::ZERO, if_taken: IfTaken::Break }
    }

    /// All that cannot work.
    pub(super) fn problems(&self) -> Vec<Error> {
        let mut found = Vec::new();
        let mut fail = |name, reason: &str| found.push(Error::Config { name, reason: reason.to_owned() });
        if !(SHORTEST..=LONGEST).contains(&self.after) {
            fail("rotate.after", "must be 10 s to 23 days");
        }
        if self.pause > LONGEST_PAUSE {
            fail("rotate.pause", "must be at most an hour");
        }
        if !self.pause.is_zero() && self.if_taken != IfTaken::Break {
            fail(
                "rotate.if_taken",
                "has no effect with a pause: the connection on the air always ends first",
            );
        }
        found
    }
}

/// The name of a preset, a length of time, or a table of the fields.
#[cfg(feature = "serde")]
mod written {
    use std::fmt;

    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    use super::Rotation;

    const PRESETS: [(&str, Rotation); 5] = [
        ("youtube", Rotation::YOUTUBE),
        ("twitch", Rotation::TWITCH),
        ("facebook", Rotation::FACEBOOK),
        ("instagram", Rotation::INSTAGRAM),
        ("linkedin", Rotation::LINKEDIN),
    ];

    impl Serialize for Rotation {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            if *self == Self::after(self.after) {
                return crate::written::span::serialize(&self.after, to);
            }
            match PRESETS.iter().find(|(_, preset)| preset == self) {
                Some((name, _)) => to.serialize_str(name),
                None => Self::serialize(self, to),
            }
        }
    }

    impl<'de> Deserialize<'de> for Rotation {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Written)
        }
    }

    struct Written;

    impl<'de> Visitor<'de> for Written {
        type Value = Rotation;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let names = PRESETS.map(|(name, _)| format!("{name:?}")).join(", ");
            write!(
                f,
                "{names}, a length of time such as \"11h 50m\", or a table of `after`, `pause` and `if_taken`"
            )
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Rotation, E> {
            match PRESETS.iter().find(|(name, _)| *name == text) {
                Some((_, preset)) => Ok(*preset),
                None => humantime::parse_duration(text)
                    .map(Rotation::after)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rotation, A::Error> {
            Rotation::deserialize(MapAccessDeserializer::new(map))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named_and_the_presets_can() {
        let names = |rotation: Rotation| -> Vec<_> {
            let name = |error: &Error| match error {
                Error::Config { name, .. } => *name,
                other => panic!("{other}"),
            };
            rotation.problems().iter().map(name).collect()
        };
        assert_eq!(names(Rotation::after(Duration::from_secs(9))), ["rotate.after"]);
        assert_eq!(names(Rotation::after(LONGEST + SHORTEST)), ["rotate.after"]);
        let all = Rotation { after: Duration::ZERO, pause: Duration::MAX, if_taken: IfTaken::Keep };
        assert_eq!(names(all), ["rotate.after", "rotate.pause", "rotate.if_taken"]);
        for preset in [
            Rotation::YOUTUBE,
            Rotation::TWITCH,
            Rotation::FACEBOOK,
            Rotation::INSTAGRAM,
            Rotation::LINKEDIN,
            Rotation::default(),
        ] {
            assert!(preset.problems().is_empty(), "{preset:?}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn it_is_written_as_a_name_a_length_or_a_table() {
        let half_a_day = Rotation::after(Duration::from_secs(12 * HOUR));
        let kept = half_a_day.with(|it| it.if_taken = IfTaken::Keep);
        for (text, rotation, back) in [
            (r#""youtube""#, Rotation::YOUTUBE, r#""youtube""#),
            (r#""twitch""#, Rotation::TWITCH, r#""1day 23h 50m""#),
            (r#""12h""#, half_a_day, r#""12h""#),
            (r#"{"after":"12h"}"#, half_a_day, r#""12h""#),
            (
                r#"{"after":"12h","if_taken":"keep"}"#,
                kept,
                r#"{"after":"12h","pause":"0s","if_taken":"keep"}"#,
            ),
        ] {
            let read: Rotation = serde_json::from_str(text).expect(text);
            assert_eq!((read, serde_json::to_string(&read).expect("it can be").as_str()), (rotation, back));
        }
        let text = r#"{"server":"rtmp://host/live","key":"key","rotate":"youtube"}"#;
        let output: crate::output::Output = serde_json::from_str(text).expect("an output");
        assert_eq!(output, crate::output::Output::rtmp("rtmp://host/live", "key").rotate(Rotation::YOUTUBE));
        let back = serde_json::to_string(&output).expect("it can be");
        assert!(back.contains(r#""rotate":"youtube""#) && !back.contains(r#"/key""#), "{back}");
        for (text, named) in
            [(r#""never""#, "youtube"), (r#"{"after":"12h","gap":"1s"}"#, "gap"), ("true", "table")]
        {
            let error = serde_json::from_str::<Rotation>(text).expect_err(text).to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
