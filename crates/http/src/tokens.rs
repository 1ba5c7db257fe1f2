//! The tokens that clients of the API show, and what each of them may do.
//!
//! In: secrets of the program, and what requests carry. Out: scopes. Secrets are kept as hashes, and compared so that the time it takes says
//! nothing of them.

use std::fmt;
use std::time::SystemTime;

use flowcast_core::KeyRegistry;
use flowcast_rtmp::key::StreamKey;
use ring::digest::{SHA256, digest};

use crate::error::Error;

/// The shortest secret, in characters.
const SHORTEST: usize = 16;
/// The longest; longer ones are not looked at.
pub(crate) const LONGEST: usize = 512;
/// The most tokens: each request is compared with all of them.
const MOST: usize = 1000;

/// What a token lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// See streams, figures and events, and play everything.
    Watch,
    /// Start, change and stop streams: and with that read and write files of the server, and send to any address. Includes
    /// [`Watch`](Self::Watch).
    Operate,
    /// Issue, list and revoke the keys that publishers need.
    Keys,
}

impl Scope {
    /// Its name: `watch`, `operate`, `keys`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Operate => "operate",
            Self::Keys => "keys",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Watch => 1,
            Self::Operate => 2,
            Self::Keys => 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = [Self::Watch, Self::Operate, Self::Keys].into_iter().find(|scope| scope.as_str() == name);
        known.ok_or_else(|| Error::options("scope", "no such scope: there are watch, operate, keys"))
    }
}

/// Some of the scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scopes(u8);

impl Scopes {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(7);

    fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let bits = scopes.into_iter().fold(0, |bits, scope| bits | scope.bit());
        let includes = if bits & Scope::Operate.bit() != 0 { Scope::Watch.bit() } else { 0 };
        Self(bits | includes)
    }

    pub(crate) const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

/// A secret that clients send as `Authorization: Bearer …`, and what it lets them do.
///
/// ```
/// use flowcast_http::{Scope, Token};
///
/// let secret = Token::random()?; // shown once, to whom it is for
/// let token = Token::new("dashboard", &secret, [Scope::Operate, Scope::Keys]);
/// assert!(!format!("{token:?}").contains(secret.reveal()));
/// # Ok::<(), flowcast_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Token {
    name: String,
    hash: Hash,
    /// What is wrong with the secret.
    trouble: Option<&'static str>,
    scopes: Scopes,
    expires: Option<SystemTime>,
}

impl Token {
    /// A token with this secret: 16 to 512 printable ASCII characters without spaces. The name is for log lines. The secret itself is not kept.
    #[must_use]
    pub fn new(name: impl Into<String>, secret: &StreamKey, scopes: impl IntoIterator<Item = Scope>) -> Self {
        let text = secret.reveal();
        let trouble = if !(SHORTEST..=LONGEST).contains(&text.len()) {
            Some("a secret has 16 to 512 characters")
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Some("a secret is of printable ASCII characters without spaces")
        } else {
            None
        };
        Self { name: name.into(), hash: Hash::of(text), trouble, scopes: Scopes::of(scopes), expires: None }
    }

    /// It is accepted up to `at`. Default: for ever.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// A new random secret of 128 bits.
    ///
    /// # Errors
    ///
    /// [`flowcast_core::Error::System`] if the system gives no random numbers.
    pub fn random() -> Result<StreamKey, flowcast_core::Error> {
        KeyRegistry::random()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy)]
struct Hash([u8; 32]);

impl Hash {
    fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }

    /// All bytes are looked at, wherever the first difference is.
    fn is(&self, other: &Self) -> bool {
        let difference =
            self.0.iter().zip(&other.0).fold(0u8, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
        difference == 0
    }
}

/// All tokens of a router.
#[derive(Debug)]
pub(crate) struct Tokens(Vec<Token>);

impl Tokens {
    /// Refuses what cannot work.
    pub(crate) fn new(tokens: Vec<Token>) -> Result<Self, Error> {
        if tokens.len() > MOST {
            return Err(Error::options("tokens", format!("there are more than {MOST}")));
        }
        for (place, token) in tokens.iter().enumerate() {
            let wrong = |reason: &str| Err(Error::options("tokens", format!("{:?}: {reason}", token.name)));
            if let Some(trouble) = token.trouble {
                return wrong(trouble);
            }
            if token.scopes == Scopes::NONE {
                return wrong("it has no scope");
            }
            if tokens.iter().take(place).any(|other| other.hash.is(&token.hash)) {
                return wrong("another token has the same secret");
            }
        }
        Ok(Self(tokens))
    }

    /// What who sends this secret may do; `None` if no token has it. All tokens are looked at, whichever it is.
    pub(crate) fn scopes_of(&self, secret: &str, now: SystemTime) -> Option<Scopes> {
        let hash = Hash::of(secret);
        let mut found = None;
        for token in &self.0 {
            let is_valid = token.expires.is_none_or(|at| now < at);
            if token.hash.is(&hash) & is_valid {
                found = Some(token.scopes);
            }
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(name: &str, secret: &str, scopes: &[Scope]) -> Token {
        Token::new(name, &secret.into(), scopes.iter().copied())
    }

    #[test]
    fn a_token_is_known_by_its_secret_and_operators_may_watch() {
        let now = SystemTime::now();
        let late = token("late", "secret-of-who-is-late", &[Scope::Keys]).expires_at(now);
        let one = token("one", "secret-of-the-first", &[Scope::Watch]);
        let two = token("two", "secret-of-the-second", &[Scope::Operate]);
        let tokens = Tokens::new(vec![one, two, late]).unwrap();
        let may = |secret: &str, scope| tokens.scopes_of(secret, now).is_some_and(|scopes| scopes.has(scope));
        assert!(may("secret-of-the-first", Scope::Watch) && !may("secret-of-the-first", Scope::Operate));
        assert!(may("secret-of-the-second", Scope::Operate) && may("secret-of-the-second", Scope::Watch));
        assert!(!may("secret-of-the-second", Scope::Keys));
        assert!(tokens.scopes_of("secret-of-who-is-late", now).is_none(), "it has expired");
        assert!(tokens.scopes_of("secret-of-who-is-late", now - Duration::from_secs(1)).is_some());
        for wrong in ["", "secret-of-the-firs", "secret-of-the-first ", "Secret-of-the-first"] {
            assert!(tokens.scopes_of(wrong, now).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn what_can_be_guessed_or_means_nothing_is_refused() {
        let refused = |tokens: Vec<Token>| Tokens::new(tokens).unwrap_err().to_string();
        assert_eq!(
            refused(vec![token("a", "short", &[Scope::Watch])]),
            "tokens: \"a\": a secret has 16 to 512 characters"
        );
        assert!(refused(vec![token("a", "with spaces in between", &[Scope::Watch])]).contains("spaces"));
        assert!(refused(vec![token("a", "long-enough-secret", &[])]).contains("no scope"));
        let twice = || token("a", "long-enough-secret", &[Scope::Watch]);
        assert!(refused(vec![twice(), twice()]).contains("the same secret"));
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let token = token("a", "canary-secret-of-a-token", &[Scope::Watch]);
        assert!(!format!("{token:?} {:?}", Tokens::new(vec![token.clone()]).unwrap()).contains("canary"));
    }
}
