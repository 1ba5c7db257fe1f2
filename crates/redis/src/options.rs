//! How Redis is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use flowcast_rtmp::key::StreamKey;

use crate::error::Error;

/// How Redis is spoken to.
///
/// ```
/// use std::time::Duration;
/// use flowcast_redis::RedisOptions;
///
/// let options = RedisOptions::default().with(|options| {
///     options.cluster = "europe".into();
///     options.answer = Duration::from_secs(1);
/// });
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// The name of the cluster: nodes with the same name share what is kept. 1 to 64 letters, digits, `-`, `_` and `.`. All keys in Redis begin
    /// with `fc:{NAME}:`. Default `flowcast`.
    pub cluster: String,
    /// How long connecting may take, with TLS and login, and with asking sentinels, among whom the time is shared: 10 ms to 60 s. Names are looked up before, as
    /// long as the system takes for it. Default 5 s.
    pub connect: Duration,
    /// How long an answer may take, 10 ms to 60 s. A connection on which one is late is given up, and another one is made. Default 2 s.
    pub answer: Duration,
    /// How long a call of the program waits in all, behind other calls and for its answers: 10 ms to 10 min. Default 5 s.
    pub call: Duration,
    /// The longest pause between two attempts to connect, 100 ms to 5 min. The first one is 100 ms, each doubles, and each is drawn from its second half, so
    /// that nodes do not come all at once. Default 5 s.
    pub longest_pause: Duration,
    /// A PEM file with the authorities that the server's certificate may be from, for `rediss://`. Default `None`: those of the system.
    pub roots: Option<PathBuf>,
    /// The user of the sentinels, for `redis+sentinel://`, if they have users. Default `None`: the one that a server has before anybody logs in.
    pub sentinel_user: Option<String>,
    /// The password of the sentinels, for `redis+sentinel://`. Default `None`: they have none.
    pub sentinel_password: Option<StreamKey>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            cluster: "flowcast".into(),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(2),
            call: Duration::from_secs(5),
            longest_pause: Duration::from_secs(5),
            roots: None,
            sentinel_user: None,
            sentinel_password: None,
        }
    }
}

impl RedisOptions {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&self.cluster.len()) || !self.cluster.bytes().all(allowed) {
            return Err(Error::config("cluster", "a name has 1 to 64 letters, digits, '-', '_' and '.'"));
        }
        let (short, minute) = (Duration::from_millis(10), Duration::from_secs(60));
        check_range("connect", self.connect, short, minute)?;
        check_range("answer", self.answer, short, minute)?;
        check_range("call", self.call, short, minute * 10)?;
        check_range("longest_pause", self.longest_pause, short * 10, minute * 5)
    }
}

/// Refuses a time outside its range.
pub(crate) fn check_range(
    name: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), Error> {
    if !(least..=most).contains(&value) {
        return Err(Error::config(name, format!("must be from {least:?} to {most:?}, not {value:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_name() {
        let refused = |change: &dyn Fn(&mut RedisOptions)| match RedisOptions::default().with(change).check()
        {
            Err(Error::Config { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        assert!(RedisOptions::default().check().is_ok());
        assert_eq!(refused(&|options| options.cluster = String::new()), "cluster");
        assert_eq!(refused(&|options| options.cluster = "a}b".into()), "cluster");
        assert_eq!(refused(&|options| options.connect = Duration::ZERO), "connect");
        assert_eq!(refused(&|options| options.answer = Duration::MAX), "answer");
        assert_eq!(refused(&|options| options.call = Duration::ZERO), "call");
        assert_eq!(refused(&|options| options.longest_pause = Duration::ZERO), "longest_pause");
    }
}
