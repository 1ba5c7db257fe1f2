//! What plays now, for the listeners of an Icecast server.
//!
//! In: the file of the item that begins. Out: its title, by the request that Icecast takes beside the sound: `/admin/metadata`, with the source's own
//! name and password. On a thread that lives as long as there is something to say; the newest title counts, and one that is not taken is lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowcast_av::{Demuxer, Interrupt, OpenOptions};
use flowcast_rtmp::url::percent_decoded;
use parking_lot::Mutex;

use super::address::{Address, bracketed};
use super::dial::percent;
use super::worker::RESOLVER;
use crate::config::{Config, ConnectConfig};
use crate::error::Error;
use crate::fetch::{Cancel, Client, Dial};
use crate::net::location::Location;
use crate::net::reach::{Judge, Reach};
use crate::net::tls::TlsRoots;
use crate::sys::spawn;

const STACK: usize = 512 << 10;
/// The longest title that is sent, in bytes.
const LONGEST: usize = 512;
/// How long the server may take to answer.
const SILENCE: Duration = Duration::from_secs(5);

/// Tells an Icecast server what plays.
#[derive(Debug)]
pub(super) struct Titles {
    address: Arc<Address>,
    connect: ConnectConfig,
    state: Arc<Mutex<State>>,
    cancel: Cancel,
    /// What plays, as far as it is an item of a list.
    playing: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    next: Option<PathBuf>,
    is_running: bool,
}

impl Titles {
    /// Of a mount point; `playing` is what plays already.
    pub(super) fn new(address: Arc<Address>, config: &Config, playing: Option<PathBuf>) -> Self {
        let connect = config.connect.clone();
        Self { address, connect, state: Arc::default(), cancel: Cancel::default(), playing }
    }

    /// An item begins. It is said at once if there is a connection.
    pub(super) fn begins(&mut self, path: &Path, is_live: bool) {
        self.playing = Some(path.to_owned());
        if is_live {
            self.say();
        }
    }

    /// Says what plays.
    pub(super) fn say(&self) {
        let Some(playing) = self.playing.clone() else { return };
        let mut state = self.state.lock();
        state.next = Some(playing);
        if state.is_running {
            return;
        }
        let (address, connect) = (self.address.clone(), self.connect.clone());
        let (shared, cancel) = (self.state.clone(), self.cancel.clone());
        let started = spawn("fu-title", STACK, move || {
            while let Some(path) = next(&shared) {
                if let Err(error) = update(&address, connect.clone(), cancel.clone(), &title_of(&path)) {
                    log::warn!("{}: what plays cannot be said: {error}", address.peer());
                }
            }
        });
        match started {
            Ok(_) => state.is_running = true,
            Err(error) => log::warn!("{}: what plays cannot be said: {error}", self.address.peer()),
        }
    }
}

impl Drop for Titles {
    fn drop(&mut self) {
        self.state.lock().next = None;
        self.cancel.cancel();
    }
}

/// The next file, unless there is none: then the thread ends.
fn next(state: &Mutex<State>) -> Option<PathBuf> {
    let mut state = state.lock();
    let next = state.next.take();
    state.is_running = next.is_some();
    next
}

/// What a file says it is, else its name.
fn title_of(path: &Path) -> String {
    let interrupt = Interrupt::new();
    let file = Demuxer::open(path, &OpenOptions::default(), &interrupt).ok();
    let metadata = file.map(|file| file.media().metadata.clone()).unwrap_or_default();
    let said = |name: &str| {
        let is_it =
            |(key, value): &&(String, String)| key.eq_ignore_ascii_case(name) && !value.trim().is_empty();
        metadata.iter().find(is_it).map(|(_, value)| value.trim())
    };
    let named = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let title = match (said("artist"), said("title")) {
        (Some(artist), Some(title)) => format!("{artist} - {title}"),
        (None, Some(title)) => title.to_owned(),
        _ => named(),
    };
    shortened(&title)
}

/// Without control characters, and not too long.
fn shortened(title: &str) -> String {
    let mut title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = title.len().min(LONGEST);
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    title.truncate(end);
    title
}

/// Where the request is made, with the login.
fn request(address: &Address, title: &str) -> String {
    let scheme = if address.setting("tls") == Some("1") { "https" } else { "http" };
    let login = address.login.as_ref().map_or(String::new(), |(user, password)| {
        let user = if user.reveal().is_empty() { "source" } else { user.reveal() };
        format!("{}:{}@", percent(user), percent(password.reveal()))
    });
    let (host, port) = (bracketed(&address.host), address.port);
    let mount = percent(&String::from_utf8_lossy(&percent_decoded(address.path.reveal())));
    let song = percent(title);
    format!(
        "{scheme}://{login}{host}:{port}/admin/metadata?mode=updinfo&charset=UTF-8&mount={mount}&song={song}"
    )
}

fn update(address: &Address, connect: ConnectConfig, cancel: Cancel, title: &str) -> Result<(), Error> {
    let dial = Dial {
        reach: Arc::new(Judge::new(Reach::any())),
        roots: TlsRoots::Platform,
        connect,
        resolver: RESOLVER.clone(),
        cancel,
    };
    let Ok(location) = Location::parse(&request(address, title)) else { return Ok(()) };
    Client::new(dial, SILENCE).get(&location, None).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_mount_point_and_the_title_and_logs_in_as_the_source() {
        let address = Address::parse("icecast://:hush%20hush@[::1]:8000/night/live.mp3").expect("it is one");
        let request = request(&address, "Röyksopp - \"49 %\"");
        let place = "/admin/metadata?mode=updinfo&charset=UTF-8&mount=%2Fnight%2Flive%2Emp3";
        let song = "&song=R%C3%B6yksopp%20%2D%20%2249%20%25%22";
        assert_eq!(request, format!("http://source:hush%20hush@[::1]:8000{place}{song}"));
        assert!(Location::parse(&request).is_ok());
    }

    #[test]
    fn titles_are_of_one_line_and_short() {
        assert_eq!(shortened("a\nb\0"), "a b ");
        assert_eq!(shortened(&"ä".repeat(400)).len(), LONGEST);
        assert_eq!(title_of(Path::new("/nowhere/Artist - Song.m4a")), "Artist - Song");
    }
}
