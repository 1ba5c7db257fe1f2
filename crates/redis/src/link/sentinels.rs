//! Sentinels: who says which server takes changes.
//!
//! In: addresses of sentinels, and the name under which they watch a server. Out: a connection to the one that takes changes now.

use std::time::{Duration, Instant};

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, ServerErrorKind,
};

use super::security::Security;
use super::server::{introduced, login_shown};
use super::worker::probe;
use crate::error::Error;
use crate::options::RedisOptions;

/// What the URL begins with, and what the crate says of an address in it.
const SCHEMES: [(&str, &str); 2] = [("redis+sentinel://", "redis"), ("rediss+sentinel://", "rediss")];
/// Where a sentinel listens, if nothing else is said.
const PORT: &str = "26379";
/// A system call takes no time of zero.
const SHORTEST: Duration = Duration::from_millis(1);

/// The sentinels of a server.
pub(super) struct Sentinels {
    /// The one that led to the server last is the first.
    all: Vec<Client>,
    /// The name under which they watch it.
    name: String,
    /// How it is spoken to, wherever it is.
    server: ConnectionInfo,
    security: Security,
    /// A key that may be written.
    probe: String,
}

/// The scheme of a URL of sentinels, and the rest of it.
pub(super) fn scheme(url: &str) -> Option<(&'static str, &str)> {
    SCHEMES.iter().find_map(|(scheme, _)| url.strip_prefix(scheme).map(|rest| (*scheme, rest)))
}

impl Sentinels {
    /// Reads what follows the scheme; also the URL, without the password.
    pub(super) fn new(
        scheme: &'static str,
        rest: &str,
        options: &RedisOptions,
    ) -> Result<(Self, String), Error> {
        let malformed = || {
            let form = "redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[/DATABASE]";
            Error::config("url", format!("cannot be read: it is {form}, or rediss+sentinel:// for TLS"))
        };
        let is_tls = scheme == SCHEMES[1].0;
        let one = if is_tls { SCHEMES[1].1 } else { SCHEMES[0].1 };
        let (login, places) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (hosts, path) = places.split_once('/').ok_or_else(malformed)?;
        let (name, database) = path.split_once('/').map_or((path, "0"), |(name, database)| (name, database));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_number = !database.is_empty() && database.bytes().all(|byte| byte.is_ascii_digit());
        if name.is_empty() || !name.bytes().all(allowed) || !is_number {
            return Err(malformed());
        }
        let login = login.map(|login| format!("{login}@")).unwrap_or_default();
        let mut infos = Vec::new();
        let mut shown = Vec::new();
        for host in hosts.split(',') {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
            let host = if has_port { host.to_owned() } else { format!("{host}:{PORT}") };
            let url = format!("{one}://{login}{host}/{database}");
            infos.push(url.as_str().into_connection_info().map_err(|_| malformed())?);
            shown.push(host);
        }
        let server = introduced(infos.first().ok_or_else(malformed)?.clone());
        let shown = format!("{scheme}{}{}/{name}/{database}", login_shown(&server), shown.join(","));
        let security = Security::new(is_tls, options)?;
        let asked = asked(options)?;
        let client = |info: ConnectionInfo| {
            let client = security.client(info.set_redis_settings(asked.clone()));
            client.map_err(|error| Error::config("url", format!("cannot be used: {error}")))
        };
        let all = infos.into_iter().map(client).collect::<Result<_, _>>()?;
        let sentinels = Self { all, name: name.to_owned(), server, security, probe: probe(options) };
        Ok((sentinels, shown))
    }

    /// Asks one after the other, until one leads to a server that takes changes. What time there is, is shared among them.
    pub(super) fn connect(&mut self, patience: Duration) -> RedisResult<Connection> {
        let until = Instant::now() + patience;
        let (mut of_server, mut of_sentinel) = (None, None);
        let mut tried = Vec::new();
        for others in (0..self.all.len()).rev() {
            let left = until.saturating_duration_since(Instant::now());
            let others = u32::try_from(others).unwrap_or(u32::MAX);
            let share = (left / others.saturating_add(2)).max(SHORTEST);
            match self.ask(share) {
                // Another one may know better.
                Ok(address) if tried.contains(&address) => {}
                Ok(address) => {
                    let left = until.saturating_duration_since(Instant::now());
                    let share = (left / others.saturating_add(1)).max(SHORTEST);
                    match self.reach(&address, share) {
                        Ok(connection) => return Ok(connection),
                        Err(error) => of_server = Some(error),
                    }
                    tried.push(address);
                }
                Err(error) => of_sentinel = Some(error),
            }
            self.all.rotate_left(1);
        }
        let nobody = || RedisError::from((ErrorKind::Io, "there is no sentinel"));
        Err(of_server.or(of_sentinel).unwrap_or_else(nobody))
    }

    /// Asks the first sentinel where the server is.
    fn ask(&self, patience: Duration) -> RedisResult<(String, u16)> {
        let until = Instant::now() + patience;
        let nobody = || RedisError::from((ErrorKind::Io, "there is no sentinel"));
        let mut connection = self.all.first().ok_or_else(nobody)?.get_connection_with_timeout(patience)?;
        limit(&connection, until)?;
        let question = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).to_owned();
        let answer: Option<(String, u16)> = question.query(&mut connection)?;
        let unknown = || (ErrorKind::Io, "the sentinel watches no server of this name", self.name.clone());
        answer.ok_or_else(|| unknown().into())
    }

    /// Connects to a server. One that a sentinel takes for what it was before refuses changes: others would be asked in vain if it were kept.
    fn reach(&self, (host, port): &(String, u16), patience: Duration) -> RedisResult<Connection> {
        let until = Instant::now() + patience;
        let address = match self.server.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.clone(), *port),
        };
        let client = self.security.client(self.server.clone().set_addr(address))?;
        let mut connection = client.get_connection_with_timeout(patience)?;
        limit(&connection, until)?;
        let takes_changes: RedisResult<()> =
            redis::cmd("SET").arg(&self.probe).arg(1).arg("PX").arg(1000).query(&mut connection);
        match takes_changes {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) => Err(error),
            Err(error) if error.kind() == ErrorKind::Io => Err(error),
            // What else it refuses is said to whoever asks for it.
            _ => Ok(connection),
        }
    }
}

/// How sentinels are spoken to: their users are not those of the server.
fn asked(options: &RedisOptions) -> Result<RedisConnectionInfo, Error> {
    let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    match (&options.sentinel_user, &options.sentinel_password) {
        (None, None) => Ok(settings),
        (None, Some(password)) => Ok(settings.set_password(password.reveal())),
        (Some(user), Some(password)) => Ok(settings.set_username(user).set_password(password.reveal())),
        (Some(_), None) => Err(Error::config("sentinel_password", "a user has one")),
    }
}

/// An answer has to come by then.
fn limit(connection: &Connection, until: Instant) -> RedisResult<()> {
    let left = until.saturating_duration_since(Instant::now()).max(SHORTEST);
    connection.set_read_timeout(Some(left))?;
    connection.set_write_timeout(Some(left))
}
