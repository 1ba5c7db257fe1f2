//! Enums that stand for fixed words: one table gives each value its word, and each word its value.

/// A text that is no name of what was asked for. `Display` lists the names there are.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod error { pub use flowcast_core::*; } }
/// use flowcast::Profile;
///
/// let unknown = "best".parse::<Profile>().expect_err("there is no such profile");
/// assert!(unknown.known().contains(&"ultra"));
/// assert!(unknown.to_string().starts_with("no such profile: there are copy, ultra, "));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such {what}: there are {}", .known.join(", "))]
pub struct UnknownName {
    what: &'static str,
    known: &'static [&'static str],
}

impl UnknownName {
    pub(crate) const fn new(what: &'static str, known: &'static [&'static str]) -> Self {
        Self { what, known }
    }

    /// What was asked for: "profile", "platform" and so on.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// The names there are.
    #[must_use]
    pub const fn known(&self) -> &'static [&'static str] {
        self.known
    }
}

/// Gives an enum its words: `ALL`, `NAMES`, `as_str`, `Display` and `FromStr`, and with the feature `serde` the same words there. What is
/// written and what is read cannot differ.
macro_rules! words {
    ($name:ident, $what:literal, $first:ident = $first_word:literal $(, $variant:ident = $word:literal)* $(,)?) => {
        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[Self::$first $(, Self::$variant)*];
            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$first_word $(, $word)*];

            #[doc = concat!("Its name, which is also what is printed and parsed: `", $first_word, "`" $(, ", `", $word, "`")*, ".")]
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == name);
                known.ok_or($crate::words::UnknownName::new($what, Self::NAMES))
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(from)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Gives a grade that is `Good`, or `Fair` or `Bad` with reasons, its word, its reasons and `Display`.
macro_rules! graded {
    ($name:ident, $reasons:ident: $reason:ty) => {
        impl $name {
            /// Why it is not good; empty if it is.
            #[must_use]
            pub fn $reasons(&self) -> &[$reason] {
                match self {
                    Self::Good => &[],
                    Self::Fair(reasons) | Self::Bad(reasons) => reasons,
                }
            }

            /// `good`, `fair` or `bad`.
            #[must_use]
            pub const fn as_str(&self) -> &'static str {
                match self {
                    Self::Good => "good",
                    Self::Fair(_) => "fair",
                    Self::Bad(_) => "bad",
                }
            }
        }

        /// `good`, or `fair: ` and why, one reason after the other with semicolons between them.
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())?;
                for (number, reason) in self.$reasons().iter().enumerate() {
                    write!(f, "{}{reason}", if number == 0 { ": " } else { "; " })?;
                }
                Ok(())
            }
        }
    };
}

pub(crate) use {graded, words};

#[cfg(test)]
mod tests {
    use crate::stats::OutputPhase;

    #[test]
    fn each_word_is_read_as_it_is_written_and_others_are_refused_with_a_list() {
        for phase in OutputPhase::ALL {
            assert_eq!(phase.to_string().parse(), Ok(*phase));
        }
        let unknown = "alive".parse::<OutputPhase>().expect_err("it is no phase");
        assert_eq!(
            unknown.to_string(),
            "no such phase of an output: there are connecting, waiting, resting, live, ended"
        );
        assert_eq!((unknown.what(), unknown.known()), ("phase of an output", OutputPhase::NAMES));
        assert_eq!(format!("{:>6}|", OutputPhase::Live), "  live|");
    }
}
