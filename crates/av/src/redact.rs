//! Keeps secrets out of errors and log lines: addresses, and the parts of them that are in use.

use std::sync::{Arc, Mutex, PoisonError};

/// An address as it may be shown: user info, the last path segment (a stream key, on RTMP) and the query are `****`.
pub(crate) fn address(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "****".to_owned() };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // By the last '@': a password may hold one. A password may hold '/', too: then the '@' is in what looks like the path.
    let (authority, path) = match (authority.rsplit_once('@'), path.rsplit_once('@')) {
        (_, Some((_, after))) => match after.find('/') {
            Some(at) => after.split_at(at),
            None => (after, ""),
        },
        (Some((_, host)), None) => (host, path),
        (None, None) => (authority, path),
    };
    let bare = path.split(['?', '#']).next().unwrap_or_default();
    match bare.rsplit_once('/') {
        Some((parent, last)) if !last.is_empty() || bare.len() < path.len() => {
            format!("{scheme}://{authority}{parent}/****")
        }
        Some(_) => format!("{scheme}://{authority}{bare}"),
        None if path.is_empty() => format!("{scheme}://{authority}"),
        None => format!("{scheme}://{authority}/****"),
    }
}

/// A log line with every address redacted, and every part of an address in use replaced.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from_colon) = rest.split_at(at);
        let scheme =
            before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+').map_or(0, |last| last + 1);
        // The separator may be longer than one byte.
        let scheme = (scheme..=before.len()).find(|at| before.is_char_boundary(*at)).unwrap_or(before.len());
        let end = from_colon
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '<' | '>' | ','))
            .unwrap_or(from_colon.len());
        let (kept, name) = before.split_at(scheme);
        let (url, after) = from_colon.split_at(end);
        out.push_str(kept);
        out.push_str(&address(&format!("{name}{url}")));
        rest = after;
    }
    out.push_str(rest);
    // A login that is sent is in no address.
    if let Some(at) = out.find("Authorization: ") {
        out.truncate(at);
        out.push_str("Authorization: ****");
    }
    for secret in IN_USE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if out.contains(secret.as_ref()) {
            out = out.replace(secret.as_ref(), "****");
        }
    }
    out
}

/// Parts of addresses in use that must not appear in log lines.
static IN_USE: Mutex<Vec<Arc<str>>> = Mutex::new(Vec::new());

/// Shorter parts would blank ordinary words, and protect nothing.
const SHORTEST: usize = 4;

/// Keeps the secret parts of an address out of the log while it lives.
#[derive(Default)]
pub(crate) struct Secrets(Vec<Arc<str>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(****)")
    }
}

impl Secrets {
    /// The user info, the last path segment and the query of an address.
    pub(crate) fn of_address(url: &str) -> Self {
        Self::of_address_and(url, std::iter::empty())
    }

    /// The same, and other words.
    pub(crate) fn of_address_and<'a>(url: &'a str, others: impl Iterator<Item = &'a str>) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let mut parts: Vec<_> = others.collect();
        if let Some((user, host)) = rest.rsplit_once('@') {
            parts.push(user);
            parts.extend(user.split(':'));
            parts.push(host.rsplit_once('/').map_or("", |(_, last)| last));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if let Some((_, last)) = path.rsplit_once('/') {
            parts.push(last);
        }
        if let Some((_, last)) = rest.rsplit_once('/') {
            parts.push(last);
        }
        parts.push(query);
        parts.extend(query.split('&').filter_map(|pair| pair.split_once('=').map(|(_, value)| value)));
        let mut secrets: Vec<Arc<str>> =
            parts.into_iter().filter(|part| part.len() >= SHORTEST).map(Arc::from).collect();
        // Longest first, so that a part of another part does not leave the remainder behind.
        secrets.sort_by_key(|part| std::cmp::Reverse(part.len()));
        secrets.dedup();
        let mut list = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        list.extend(secrets.iter().cloned());
        list.sort_by_key(|part| std::cmp::Reverse(part.len()));
        drop(list);
        Self(secrets)
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let mut list = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in &self.0 {
            if let Some(at) = list.iter().position(|known| Arc::ptr_eq(known, secret)) {
                list.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, shown) in [
            ("rtmp://a.example/live/KEY", "rtmp://a.example/live/****"),
            ("rtmp://a.example:1936/live/KEY?x=1", "rtmp://a.example:1936/live/****"),
            ("rtmp://user:pa@ss@a.example/live/KEY", "rtmp://a.example/live/****"),
            ("rtmp://user:p/ss@a.example/live/KEY", "rtmp://a.example/live/****"),
            ("https://a.example/", "https://a.example/"),
            ("https://a.example/?token=1", "https://a.example/****"),
            ("https://a.example", "https://a.example"),
            ("https://a.example?token=1", "https://a.example/****"),
            ("srt://a.example:9000?passphrase=secret", "srt://a.example:9000/****"),
            ("no address", "****"),
        ] {
            assert_eq!(address(url), shown, "{url}");
        }
    }

    #[test]
    fn lines() {
        assert_eq!(
            line("Opening 'rtmp://h/live/KEY' for reading"),
            "Opening 'rtmp://h/live/****' for reading"
        );
        assert_eq!(line("two rtmp://h/a/K http://h/b?c é://x"), "two rtmp://h/a/**** http://h/**** é://x");
        assert_eq!(line("nothing"), "nothing");
        assert_eq!(line("PUT /m\r\nAuthorization: Basic aHVzaA==\r\nx"), "PUT /m\r\nAuthorization: ****");
    }

    #[test]
    fn parts_in_use_are_blanked_and_given_up() {
        let text = "Sending publish command for 'canary-4711'";
        let secrets = Secrets::of_address("rtmp://h/live/canary-4711?token=hush-hush");
        assert_eq!(line(text), "Sending publish command for '****'");
        assert_eq!(line("fname = canary-4711?token=hush-hush"), "fname = ****");
        assert_eq!(line("token hush-hush"), "token ****");
        drop(secrets);
        assert_eq!(line(text), text);
    }
}
