//! What a node says of itself, and how often.

use std::time::Duration;

use crate::error::Error;
use crate::options::check_range;

/// What a node says of itself, and how often. All nodes of a cluster need the same [`ttl`](Self::ttl).
///
/// ```
/// use flowcast_redis::NodeOptions;
///
/// let options = NodeOptions::default().with(|options| {
///     options.address = Some("rtmp://10.0.0.5:1935/live".into());
///     options.labels = vec!["gpu".into()];
/// });
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeOptions {
    /// Where other nodes play what is on the air here: `rtmp://HOST[:PORT]/APP`, or `rtmps://…`, without user, password or query. Default `None`:
    /// nothing is pulled from here.
    pub address: Option<String>,
    /// What the node has that others lack: a stream may ask for labels. Each 1 to 64 letters, digits, `-`, `_` and `.`; at most 32. Default none.
    pub labels: Vec<String>,
    /// The version of the program, for others to see; up to 64 characters. Default that of flowcast.
    pub version: String,
    /// How often the node says that it is there: 100 ms to 60 s. Default 2 s.
    pub interval: Duration,
    /// A node that was not heard of for this long is lost: at least twice the interval, up to 5 min. Default 6 s.
    pub ttl: Duration,
    /// A node that is lost is shown for this long: from [`ttl`](Self::ttl) to a week. Default 10 min.
    pub remember: Duration,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            address: None,
            labels: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            interval: Duration::from_secs(2),
            ttl: Duration::from_secs(6),
            remember: Duration::from_secs(600),
        }
    }
}

impl NodeOptions {
    /// The same settings with what `change` does to them.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(address) = &self.address {
            check_address(address)?;
        }
        check_labels("labels", &self.labels)?;
        if self.version.chars().count() > 64 || self.version.chars().any(char::is_control) {
            return Err(Error::config("version", "up to 64 characters without control characters"));
        }
        check_range("interval", self.interval, Duration::from_millis(100), Duration::from_secs(60))?;
        check_range("ttl", self.ttl, self.interval * 2, Duration::from_secs(300))?;
        check_range("remember", self.remember, self.ttl, Duration::from_secs(7 * 86_400))
    }
}

/// Refuses what cannot be a label of a node.
pub(crate) fn check_labels(setting: &'static str, labels: &[String]) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_label = |label: &String| (1..=64).contains(&label.len()) && label.bytes().all(allowed);
    if labels.len() > 32 || !labels.iter().all(is_label) {
        return Err(Error::config(setting, "up to 32 labels of 1 to 64 letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

/// What is secret has no place in it: all nodes see it.
fn check_address(address: &str) -> Result<(), Error> {
    let rest = address.strip_prefix("rtmp://").or_else(|| address.strip_prefix("rtmps://"));
    let is_one = |rest: &str| {
        let mut parts = rest.splitn(2, '/');
        let is_host = parts.next().is_some_and(|host| !host.is_empty());
        is_host && parts.next().is_some_and(|app| !app.trim_matches('/').is_empty())
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#{}\"".contains(&byte);
    if address.len() > 256 || !address.bytes().all(is_plain) || !rest.is_some_and(is_one) {
        let form = "is rtmp://HOST[:PORT]/APP or rtmps://HOST[:PORT]/APP, without user, password and query";
        return Err(Error::config("address", form));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_name() {
        let refused = |change: &dyn Fn(&mut NodeOptions)| match NodeOptions::default().with(change).check() {
            Err(Error::Config { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        for address in ["rtmp://10.0.0.5:1935/live", "rtmps://[2001:db8::1]/live/x"] {
            let options = NodeOptions::default().with(|options| options.address = Some(address.into()));
            assert!(options.check().is_ok(), "{address}");
        }
        for address in
            ["", "10.0.0.5", "rtmp://", "rtmp://host", "rtmp://host/", "rtmp:///live", "http://h/live"]
        {
            assert_eq!(refused(&|options| options.address = Some(address.into())), "address", "{address}");
        }
        for secret in ["rtmp://user:canary@host/live", "rtmp://host/live?token=canary"] {
            let options = NodeOptions::default().with(|options| options.address = Some(secret.into()));
            let error = options.check().map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| !error.contains("canary")));
        }
        assert_eq!(refused(&|options| options.labels = vec!["a b".into()]), "labels");
        assert_eq!(refused(&|options| options.labels = vec!["a".into(); 33]), "labels");
        assert_eq!(refused(&|options| options.version = "x".repeat(65)), "version");
        assert_eq!(refused(&|options| options.interval = Duration::ZERO), "interval");
        assert_eq!(refused(&|options| options.ttl = Duration::from_secs(3)), "ttl");
        assert_eq!(refused(&|options| options.remember = Duration::from_secs(5)), "remember");
    }
}
