//! Stream keys: issued, listed, replaced, revoked. A key is in one answer only: that of the request that made it.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use flowcast_core::{Error, IpNet, KeyEntry, KeyRegistry, KeyRules, KeyStore, Play, PlayAccess, utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Created, Json};
use crate::cluster::ClusterError;
use crate::guard::{Keys, May};
use crate::house::House;
use crate::keys::KeyBook;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Named, Sent, seconds};
use crate::views::Done;

/// The longest time that a key can be given.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;
/// Address ranges of a key.
const MOST_NETS: usize = 100;

/// A name that has a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyLine {
    /// The name that the key publishes under.
    name: String,
    owner: Option<String>,
    /// When the key expires; `null` if it does not.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// The addresses that it may be used from; empty: all.
    publish_from: Vec<String>,
    /// Who may play: `public`, `token`, `nobody`.
    play: &'static str,
    /// Keys that were replaced and are still accepted.
    old_keys: usize,
    /// It is published now.
    is_published: bool,
}

impl KeyLine {
    fn of(entry: KeyEntry, published: &[String]) -> Self {
        Self {
            is_published: published.contains(&entry.name),
            name: entry.name,
            owner: entry.owner,
            expires: entry.expires.map(|at| utc(at).to_string()),
            publish_from: entry.publish_from.iter().map(ToString::to_string).collect(),
            play: entry.play.as_str(),
            old_keys: entry.old_keys,
        }
    }
}

/// The names that have a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<KeyLine>,
}

/// The names that have a key
///
/// The keys themselves are kept nowhere.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", operation_id = "list_keys",
    responses((status = 200, description = "By name", body = KeyList), Problems)
)]
pub(crate) async fn list(_: May<Keys>, State(house): State<House>) -> Outcome<Json<KeyList>> {
    let listed = house.keys(|keys| keys.list()).await?;
    let published: Vec<_> = house.engine.keys().active().into_iter().map(|active| active.name).collect();
    Ok(Json(KeyList { keys: listed.into_iter().map(|entry| KeyLine::of(entry, &published)).collect() }))
}

impl House {
    /// Who says what a key may.
    pub(crate) fn key_store(&self) -> &dyn KeyStore {
        match &self.options.keys {
            Some(keys) => keys.as_ref(),
            None => self.engine.keys(),
        }
    }

    /// Asks those who keep the keys.
    async fn keys<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn KeyBook) -> Result<T, ClusterError> + Send + 'static,
    ) -> Outcome<T> {
        match self.options.keys.clone() {
            Some(keys) => Ok(self.blocking(move |_| ask(keys.as_ref())).await??),
            // From memory.
            None => Ok(ask(self.engine.keys())?),
        }
    }
}

/// A name, and the rules of its key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// The name that the key publishes under: 1 to 128 letters, digits, `-`, `_` and `.`.
    name: String,
    /// Its owner, for the limit per owner.
    #[serde(default)]
    owner: Option<String>,
    /// How long it is accepted. Default: for ever.
    #[serde(default)]
    #[schema(minimum = 1)]
    expires_in_seconds: Option<f64>,
    /// The addresses it may be used from: `192.0.2.0/24`. Default: all.
    #[serde(default)]
    publish_from: Vec<String>,
    /// Who may play: `public` (the default), `token` (a play token is made, too), `nobody`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    play: Option<PlayAccess>,
}

/// A key, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct Issued {
    name: String,
    /// What publishers send. It cannot be shown again.
    key: String,
    /// What players send as `?token=`, if they need one. It cannot be shown again.
    play_token: Option<String>,
}

/// Issues a key
///
/// A random key of 128 bits. It is in this answer, and in no other.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "keys", operation_id = "issue_key", request_body = NewKey,
    responses((status = 201, description = "It is accepted from now on", body = Issued), Problems)
)]
pub(crate) async fn issue(
    _: May<Keys>,
    State(house): State<House>,
    Sent(new): Sent<NewKey>,
) -> Outcome<Created<Issued>> {
    let mut rules = KeyRules::new();
    if let Some(after) = new.expires_in_seconds {
        let after = seconds("expires_in_seconds", after, 1.0..=LONGEST)?;
        rules.expires = SystemTime::now().checked_add(after);
    }
    rules.owner = new.owner;
    rules.publish_from = nets(&new.publish_from)?;
    let (play, play_token) = access(new.play.unwrap_or(PlayAccess::Public))?;
    rules.play = play;
    let name = new.name.clone();
    let key = house.keys(move |keys| keys.issue(&name, rules)).await?.reveal().to_owned();
    Ok(Created(format!("/api/v1/keys/{}", new.name), Issued { name: new.name, key, play_token }))
}

fn nets(texts: &[String]) -> Outcome<Vec<IpNet>> {
    if texts.len() > MOST_NETS {
        return Err(Problem::bad_request("publish_from: at most 100 ranges"));
    }
    let net = |text: &String| {
        let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| address())
    };
    let nets: Result<_, _> = texts.iter().map(net).collect();
    nets.map_err(|_| Problem::bad_request("publish_from: 192.0.2.0/24 and 192.0.2.1 are such"))
}

/// Who may play, with a new token if one is needed.
fn access(play: PlayAccess) -> Outcome<(Play, Option<String>)> {
    Ok(match play {
        PlayAccess::Token => {
            let token = KeyRegistry::random()?;
            let shown = token.reveal().to_owned();
            (Play::Token(token), Some(shown))
        }
        PlayAccess::Nobody => (Play::Nobody, None),
        _ => (Play::Public, None),
    })
}

/// How a key is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement {
    /// How long the key before is still accepted. Default 0.
    #[serde(default)]
    #[schema(minimum = 0)]
    old_valid_for_seconds: f64,
}

/// Gives a name another key
///
/// A publisher that is on the air stays there. The new key is in this answer, and in no other.
#[utoipa::path(
    post, path = "/api/v1/keys/{name}/replace", tag = "keys", operation_id = "replace_key",
    params(("name" = String, Path, description = "The name")), request_body = Replacement,
    responses((status = 200, description = "It is accepted from now on", body = Issued), Problems)
)]
pub(crate) async fn replace(
    _: May<Keys>,
    State(house): State<House>,
    Named(name): Named<String>,
    Sent(how): Sent<Replacement>,
) -> Outcome<Json<Issued>> {
    let old: Duration = seconds("old_valid_for_seconds", how.old_valid_for_seconds, 0.0..=LONGEST)?;
    let key = KeyRegistry::random()?;
    let (asked, new) = (name.clone(), key.clone());
    house.keys(move |keys| keys.replace(&asked, new, old)).await?;
    Ok(Json(Issued { name, key: key.reveal().to_owned(), play_token: None }))
}

/// Who may play.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccess {
    /// `public`, `token` (a new play token is made), `nobody`.
    #[schema(value_type = String)]
    play: PlayAccess,
}

/// Who may play from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Access {
    name: String,
    /// What players send as `?token=`, if they need one. It cannot be shown again.
    play_token: Option<String>,
}

/// Changes who may play
///
/// Current players go on.
#[utoipa::path(
    put, path = "/api/v1/keys/{name}/play", tag = "keys", operation_id = "set_play",
    params(("name" = String, Path, description = "The name")), request_body = NewAccess,
    responses((status = 200, description = "It holds for new players", body = Access), Problems)
)]
pub(crate) async fn set_play(
    _: May<Keys>,
    State(house): State<House>,
    Named(name): Named<String>,
    Sent(new): Sent<NewAccess>,
) -> Outcome<Json<Access>> {
    let (play, play_token) = access(new.play)?;
    let asked = name.clone();
    house.keys(move |keys| keys.set_play(&asked, &play)).await?;
    Ok(Json(Access { name, play_token }))
}

/// Revokes a key
///
/// It is accepted no more, and its publisher is taken off the air.
#[utoipa::path(
    delete, path = "/api/v1/keys/{name}", tag = "keys", operation_id = "revoke_key",
    params(("name" = String, Path, description = "The name")),
    responses((status = 200, description = "The name has no key", body = Done), Problems)
)]
pub(crate) async fn revoke(
    _: May<Keys>,
    State(house): State<House>,
    Named(name): Named<String>,
) -> Outcome<Json<Done>> {
    let asked = name.clone();
    if house.keys(move |keys| keys.remove(&asked)).await? {
        return Ok(Json(Done::YES));
    }
    Err(Error::NoKey { name: name.chars().take(128).collect() }.into())
}
