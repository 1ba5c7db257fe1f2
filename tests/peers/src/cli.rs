//! The command lines. Servers: `[--listen ADDR] [--record DIR] [--seconds N]`. Clients: `publish URL FILE` or
//! `play URL FILE [--seconds N]`.
//!
//! A server prints `listening ADDR`, then `publish APP/NAME FILE` and `end APP/NAME TAGS` per publisher, and ends after its
//! seconds or when its standard input closes. A client prints `live`, then `done TAGS`.

use crate::Failure;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a server was told.
#[derive(Clone, Debug)]
pub struct ServerArguments {
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// Where to record what is published.
    pub record: Option<PathBuf>,
    seconds: Option<Duration>,
}

impl ServerArguments {
    /// Reads the command line and sees to the process's end.
    pub fn from_command_line() -> Result<Self, Failure> {
        let mut arguments =
            Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), record: None, seconds: None };
        let mut given = std::env::args().skip(1);
        while let Some(name) = given.next() {
            let value = given.next().ok_or_else(|| format!("{name}: a value is missing"))?;
            match name.as_str() {
                "--listen" => arguments.listen = value.parse()?,
                "--record" => arguments.record = Some(value.into()),
                "--seconds" => arguments.seconds = Some(Duration::from_secs_f64(value.parse()?)),
                _ => return Err(format!("unknown argument: {name}").into()),
            }
        }
        arguments.end_with_the_caller();
        Ok(arguments)
    }

    fn end_with_the_caller(&self) {
        std::thread::spawn(|| {
            let mut input = std::io::stdin().lock();
            let mut byte = [0];
            while matches!(input.read(&mut byte), Ok(1)) {}
            std::process::exit(0);
        });
        end_after(self.seconds);
    }
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Send a file.
    Publish,
    /// Receive into a file.
    Play,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub struct ClientArguments {
    /// Publish or play.
    pub role: Role,
    /// `HOST:PORT` of the server.
    pub server: String,
    /// The app.
    pub app: String,
    /// Stream name or key.
    pub name: String,
    /// What is sent or written.
    pub file: PathBuf,
}

impl ClientArguments {
    /// Reads the command line and sees to the process's end.
    pub fn from_command_line() -> Result<Self, Failure> {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let (role, url, file, seconds) = match given.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["publish", url, file] => (Role::Publish, url, file, None),
            ["play", url, file] => (Role::Play, url, file, None),
            ["play", url, file, "--seconds", seconds] => (Role::Play, url, file, Some(seconds)),
            _ => return Err("usage: publish URL FILE | play URL FILE [--seconds N]".into()),
        };
        end_after(seconds.map(|s| s.parse().map(Duration::from_secs_f64)).transpose()?);
        let mut parts =
            url.strip_prefix("rtmp://").ok_or("not an rtmp:// URL")?.splitn(3, '/').map(String::from);
        let (Some(server), Some(app), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("the URL needs a host, an app and a stream name".into());
        };
        Ok(Self { role, server, app, name, file: file.into() })
    }
}

fn end_after(seconds: Option<Duration>) {
    if let Some(seconds) = seconds {
        std::thread::spawn(move || {
            std::thread::sleep(seconds);
            std::process::exit(0);
        });
    }
}
