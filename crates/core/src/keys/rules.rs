//! The rules of a key: until when, from where, for whom, and who may watch.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use flowcast_rtmp::key::StreamKey;
use ipnet::IpNet;

use crate::error::Error;
use crate::stream::check_name;

/// The rules of a stream key. By default it never expires, may be used from anywhere, has no owner, and everybody who
/// knows the name may play.
///
/// ```
/// # mod flowcast { pub use flowcast_core::*; pub mod keys { pub use flowcast_core::*; } }
/// use std::time::Duration;
/// use flowcast::keys::{KeyRules, Play};
/// let rules = KeyRules::new()
///     .expires_in(Duration::from_secs(3600))
///     .publish_from(["192.0.2.0/24".parse()?, "2001:db8::/32".parse()?])
///     .play(Play::Token("a-token-for-viewers".into()))
///     .owner("alice");
/// # drop(rules);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct KeyRules {
    /// When the key expires: it is no longer accepted, and its publisher is taken off the air. By the system's clock.
    /// Default `None`, never.
    pub expires: Option<SystemTime>,
    /// Addresses it may be used from. IPv4 addresses that arrive as IPv6 addresses count as IPv4. Default empty: all.
    pub publish_from: Vec<IpNet>,
    /// Who may play. Default everybody.
    pub play: Play,
    /// The owner, for [`Config::max_streams_per_owner`](crate::Config): what an owner publishes and what is started
    /// for them count together. Default none, without a limit.
    pub owner: Option<String>,
}

/// Who may play what is published under a name.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Play {
    /// Everybody who knows the name.
    #[default]
    Public,
    /// Everybody who sends this secret: `rtmp://host/live/name?token=…`, or as the query of the application. 4 to 256
    /// letters, digits, `-`, `_`, `.` and `~`, which need no escaping in a URL.
    Token(StreamKey),
    /// Nobody; outputs of the program itself are not players.
    Nobody,
}

impl KeyRules {
    /// Rules that allow everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key expires `after` this call.
    #[must_use]
    pub fn expires_in(self, after: Duration) -> Self {
        match SystemTime::now().checked_add(after) {
            Some(at) => self.expires_at(at),
            None => Self { expires: None, ..self },
        }
    }

    /// The key expires at `at`.
    #[must_use]
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// The key may be used only from these addresses and those given before.
    #[must_use]
    pub fn publish_from(mut self, nets: impl IntoIterator<Item = IpNet>) -> Self {
        self.publish_from.extend(nets);
        self
    }

    /// Who may play.
    #[must_use]
    pub fn play(mut self, play: Play) -> Self {
        self.play = play;
        self
    }

    /// The owner of the key.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Whether a registry would take `key` for `name` with these rules; for key stores of a program's own.
    ///
    /// # Errors
    ///
    /// [`Error::Key`], as for [`KeyRegistry::add_with`](crate::KeyRegistry::add_with).
    pub fn check(&self, name: &str, key: &StreamKey) -> Result<(), Error> {
        check_name(name)?;
        super::check_key(name, key)?;
        match &self.play {
            Play::Token(token) => super::check_token(name, token),
            Play::Public | Play::Nobody => Ok(()),
        }
    }

    /// Whether a publisher at `address` may use the key.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.publish_from.is_empty() || self.publish_from.iter().any(|net| net.contains(&address))
    }

    /// Whether the key has expired at `now`.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_for_both_kinds_of_addresses() {
        let net = |text: &str| text.parse::<IpNet>().expect("a range");
        let rules = KeyRules::new().publish_from([net("192.0.2.0/24"), net("2001:db8::/32")]);
        let allowed = |text: &str| rules.allows(text.parse().expect("an address"));
        assert!(allowed("192.0.2.77") && allowed("::ffff:192.0.2.77") && allowed("2001:db8:1::5"));
        assert!(!allowed("192.0.3.1") && !allowed("::ffff:10.0.0.1") && !allowed("2001:db9::1"));
        assert!(KeyRules::new().allows(net("::1/128").addr()), "no range is every address");
    }

    #[test]
    fn a_key_is_over_at_its_time_and_not_before() {
        let now = SystemTime::now();
        let rules = KeyRules::new().expires_at(now);
        assert!(rules.is_over(now) && !rules.is_over(now - Duration::from_millis(1)));
        assert!(!KeyRules::new().is_over(now));
        assert!(KeyRules::new().expires_in(Duration::MAX).expires.is_none());
    }
}
