//! What a request needs a token for: an extractor that each handler names first.
//!
//! In: requests that were admitted. Out: leave, or 401 and 403. Wrong tokens are answered late.

use std::marker::PhantomData;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Client;
use crate::house::House;
use crate::problem::{Outcome, Problem};
use crate::tokens::{LONGEST, Scope, Scopes};

/// A scope that a handler needs.
pub(crate) trait Needs: Send + Sync {
    const SCOPE: Scope;
}

#[derive(Debug)]
pub(crate) struct Watch;
#[derive(Debug)]
pub(crate) struct Operate;
#[derive(Debug)]
pub(crate) struct Keys;

impl Needs for Watch {
    const SCOPE: Scope = Scope::Watch;
}

impl Needs for Operate {
    const SCOPE: Scope = Scope::Operate;
}

impl Needs for Keys {
    const SCOPE: Scope = Scope::Keys;
}

/// Who asks has the scope of `N`.
#[derive(Debug)]
pub(crate) struct May<N>(PhantomData<N>);

impl<N: Needs> FromRequestParts<House> for May<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, house: &House) -> Outcome<Self> {
        let scopes = scopes(parts, house).await?;
        if scopes.has(N::SCOPE) {
            return Ok(Self(PhantomData));
        }
        let detail = format!("this takes a token with the scope {}", N::SCOPE);
        Err(Problem::forbidden("SCOPE_MISSING", detail))
    }
}

/// Whether who asks may watch everything; a wrong token is an error all the same.
pub(crate) async fn may_watch(parts: &Parts, house: &House) -> Outcome<bool> {
    if !parts.headers.contains_key(AUTHORIZATION) && !house.options.open_to_this_machine {
        return Ok(false);
    }
    Ok(scopes(parts, house).await?.has(Scope::Watch))
}

async fn scopes(parts: &Parts, house: &House) -> Outcome<Scopes> {
    let client = parts.extensions.get::<Client>().copied();
    // Put there for every request that gets as far as this.
    let client = client.ok_or_else(|| Problem::internal("nobody knows who asks"))?;
    if house.is_open_to(client, &parts.headers) {
        return Ok(Scopes::ALL);
    }
    if !parts.headers.contains_key(AUTHORIZATION) {
        return Err(Problem::unauthorized("send a token: Authorization: Bearer TOKEN"));
    }
    let sent = bearer(&parts.headers).filter(|secret| secret.len() <= LONGEST);
    let known = sent.and_then(|secret| house.tokens.scopes_of(secret, SystemTime::now()));
    match known {
        Some(scopes) => Ok(scopes),
        None => {
            house.was_wrong(client).await;
            Err(Problem::unauthorized("the token is not accepted"))
        }
    }
}

/// The secret of `Authorization: Bearer SECRET` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, secret) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim_start())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_follows_the_scheme() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, line.parse().unwrap());
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["bEARER  abc"]).as_deref(), Some("abc"));
        for none in [&["Basic abc"][..], &["Bearer"], &[], &["Bearer a", "Bearer b"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}
