//! The logins of Adobe's and Limelight's servers (`authmod=adobe`, `authmod=llnw`): three connections, of which the first
//! two are refused with a question.
//!
//! In: the text of a refusal, and the user and password of the address. Out: what the next connection adds to its app.
//!
//! No specification describes it. What is here is what FFmpeg (`libavformat/rtmpproto.c`) and librtmp (`rtmp.c`) agree on.

use std::fmt;

use md5::{Digest, Md5};

use crate::error::LoginError;
use crate::url::Destination;

/// Longest value of a question that is repeated in the answer, bytes.
const MAX_VALUE: usize = 512;

/// What the next connection says to a server that asks for a login; see
/// [`ClientEvent::Login`](crate::session::ClientEvent::Login). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginAnswer {
    /// What is added to the query of the app.
    query: String,
    /// It answers a question; otherwise it only names the user.
    is_final: bool,
}

impl LoginAnswer {
    /// The app, or a URL that ends with it, with the answer.
    pub(super) fn added_to(&self, app: &str) -> String {
        let sign = if app.contains('?') { '&' } else { '?' };
        format!("{app}{sign}{}", self.query)
    }
}

impl fmt::Debug for LoginAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginAnswer(****)")
    }
}

/// How a server asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Adobe,
    Limelight,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Adobe => "adobe",
            Self::Limelight => "llnw",
        }
    }
}

/// Whether the text of a refused `connect` asks for a login.
pub(super) fn is_asked(text: &str) -> bool {
    text.contains("authmod=")
}

/// Answers the text of a refused `connect`. `before` is what this connection had said, `nonce` a number to be used once.
pub(super) fn answer(
    text: &str,
    destination: &Destination,
    before: Option<&LoginAnswer>,
    nonce: u32,
) -> Result<LoginAnswer, LoginError> {
    let method = text.split_once("authmod=").map_or("", |(_, rest)| rest);
    let end =
        method.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(method.len());
    let method = match method.get(..end).unwrap_or_default() {
        "adobe" => Method::Adobe,
        "llnw" => Method::Limelight,
        _ => return Err(LoginError::Unsupported),
    };
    let (user, password) = destination.login().ok_or(LoginError::Missing)?;
    let password = password.reveal();
    let refused = text.contains("reason=authfailed") || text.contains("reason=nosuchuser");
    if refused || before.is_some_and(|before| before.is_final) {
        return Err(LoginError::Refused);
    }
    let named = format!("authmod={}&user={}", method.name(), in_query(&user));
    let Some((_, question)) = text.split_once("?reason=needauth") else {
        return match before {
            // The user was named, and the server asks the same again.
            Some(_) => Err(LoginError::Unusable),
            None => Ok(LoginAnswer { query: named, is_final: false }),
        };
    };
    let value = |name: &str| -> Result<Option<&str>, LoginError> {
        let pairs = question.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value.trim());
        let is_usable = |value: &str| {
            value.len() <= MAX_VALUE
                && !value.chars().any(|c| c.is_control() || c.is_whitespace() || c == '?')
        };
        if found.is_some_and(|value| !is_usable(value)) { Err(LoginError::Unusable) } else { Ok(found) }
    };
    let nonce = format!("{nonce:08x}");
    let answer = match method {
        Method::Adobe => {
            let salt = value("salt")?.unwrap_or_default();
            let (challenge, opaque) = (value("challenge")?, value("opaque")?);
            let secret = base64(&digest(&[&user, salt, password]));
            let asked = opaque.or(challenge).ok_or(LoginError::Unusable)?;
            let response = base64(&digest(&[&secret, asked, &nonce]));
            let opaque = opaque.map(|opaque| format!("&opaque={opaque}")).unwrap_or_default();
            format!("&challenge={nonce}&response={response}{opaque}")
        }
        Method::Limelight => {
            /// How often the server's nonce has been used.
            const COUNT: &str = "00000001";
            let asked = value("nonce")?.ok_or(LoginError::Unusable)?;
            let app = destination.app();
            let app = app.split_once('?').map_or(app, |(app, _)| app);
            let instance = if app.contains('/') { "" } else { "/_definst_" };
            let secret = hexadecimal(&digest(&[&user, ":live:", password]));
            let place = hexadecimal(&digest(&["publish:/", app, instance]));
            let told = format!("{secret}:{asked}:{COUNT}:{nonce}:auth:{place}");
            let response = hexadecimal(&digest(&[&told]));
            format!("&nonce={asked}&cnonce={nonce}&nc={COUNT}&response={response}")
        }
    };
    Ok(LoginAnswer { query: named + &answer, is_final: true })
}

/// A user name within a query: what would end it there is encoded, all else stays as servers know it.
fn in_query(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for c in user.chars() {
        match c {
            '&' | '=' | '?' | '#' | '%' | '+' | ' ' => out.push_str(&format!("%{:02X}", u32::from(c))),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// MD5, which is what these servers want.
fn digest(parts: &[&str]) -> [u8; 16] {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part.as_bytes()));
    hash.finalize().into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'=');
            out.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    const SECOND: &str = "[ AccessManager.Reject ] : [ authmod=adobe ] : \
                          ?reason=needauth&user=joe&salt=c2FsdA==&challenge=Y2hhbA==&opaque=b3BhcXVl";

    fn destination(userinfo: &str) -> Destination {
        Destination::parse(&format!("rtmp://{userinfo}host/live/key")).expect("a URL")
    }

    /// What the answer is, joined to the app.
    fn said(text: &str, userinfo: &str, before: Option<&LoginAnswer>) -> Result<String, LoginError> {
        let answer = answer(text, &destination(userinfo), before, 0x0102_abcd)?;
        Ok(answer.added_to("live"))
    }

    fn named() -> LoginAnswer {
        answer(FIRST, &destination("joe:pass@"), None, 0).expect("it says who it is")
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{7ff}?", "378/"),
        ];
        for (bytes, text) in pairs {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(hexadecimal(&digest(&["a", "bc"])), "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn adobe_asks_who_it_is_and_then_for_a_proof() {
        assert_eq!(said(FIRST, "joe:pass@", None).as_deref(), Ok("live?authmod=adobe&user=joe"));
        let app = named().added_to("live?x=1");
        assert_eq!(app, "live?x=1&authmod=adobe&user=joe");
        // base64(md5("joe" "c2FsdA==" "pass")), then with the opaque text and the nonce; by Python's hashlib.
        let proof = said(SECOND, "joe:pass@", Some(&named()));
        let expected = "live?authmod=adobe&user=joe&challenge=0102abcd&response=W6utIjHjMdq3YpSH6lcTKw==&opaque=b3BhcXVl";
        assert_eq!(proof.as_deref(), Ok(expected));
        // Without an opaque text the challenge takes its place.
        let without = SECOND.replace("&opaque=b3BhcXVl", "");
        let expected = "live?authmod=adobe&user=joe&challenge=0102abcd&response=gl3Ew8DxiwSdOutjCWUFvA==";
        assert_eq!(said(&without, "joe:pass@", Some(&named())).as_deref(), Ok(expected));
    }

    #[test]
    fn limelight_asks_for_a_digest_as_http_does() {
        let first = FIRST.replace("adobe", "llnw");
        assert_eq!(said(&first, "joe:pass@", None).as_deref(), Ok("live?authmod=llnw&user=joe"));
        let second = "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user=joe&nonce=abc123";
        let expected = "live?authmod=llnw&user=joe&nonce=abc123&cnonce=0102abcd&nc=00000001&response=8f285b8bcfaf939f293cab6aee215c2a";
        assert_eq!(said(second, "joe:pass@", Some(&named())).as_deref(), Ok(expected));
    }

    #[test]
    fn what_cannot_be_answered_has_its_reason() {
        let failed = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=x";
        let nobody = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=nosuchuser&user=joe";
        let proof = answer(SECOND, &destination("joe:pass@"), Some(&named()), 7).expect("a proof");
        let long = format!("authmod=adobe ?reason=needauth&opaque={}", "x".repeat(600));
        for (text, userinfo, before, reason) in [
            (FIRST, "", None, LoginError::Missing),
            (SECOND, "", None, LoginError::Missing),
            (FIRST, "joe:pass@", Some(&named()), LoginError::Unusable),
            (failed, "joe:pass@", Some(&proof), LoginError::Refused),
            (nobody, "joe:pass@", Some(&named()), LoginError::Refused),
            (SECOND, "joe:pass@", Some(&proof), LoginError::Refused),
            ("[ need auth; authmod=kerberos ]", "joe:pass@", None, LoginError::Unsupported),
            ("authmod=", "joe:pass@", None, LoginError::Unsupported),
            ("authmod=adobe ?reason=needauth&user=joe", "joe:pass@", None, LoginError::Unusable),
            ("authmod=llnw ?reason=needauth&user=joe", "joe:pass@", None, LoginError::Unusable),
            (&long, "joe:pass@", None, LoginError::Unusable),
        ] {
            assert_eq!(said(text, userinfo, before), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_user_does_not_end_the_query_it_is_in() {
        assert_eq!(in_query("joe@x.com"), "joe@x.com");
        assert_eq!(in_query("a&b=c?d#e%f g+h"), "a%26b%3Dc%3Fd%23e%25f%20g%2Bh");
    }
}
