//! A rendition of HLS as one stream of bytes after the other.
//!
//! In: the address of a playlist. Out: the bytes of its segments, one behind the other as long as they belong together: a *part*. The
//! playlist is read again as often as there is something new in it (RFC 8216, section 6.3.4). On the thread of the input.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Told;
use super::cipher::Decrypted;
use super::playlist::{Key, Map, Media, Playlist, Segment};
use crate::error::Error;
use crate::fetch::{Client, Range, lost, refused_by};
use crate::net::location::Location;

/// Bytes of a playlist at most.
const LONGEST_LIST: u64 = 4 << 20;
/// Bytes of what segments begin with, at most.
const LARGEST_MAP: u64 = 16 << 20;
/// How often in a row a playlist or a segment is asked for.
const TRIES: u32 = 3;
/// Segments after which one that begins with a map begins anew, so that what libav knows of its fragments does not grow for ever.
const LONGEST_PART: u32 = 200;

/// What a reader of a rendition and the input share.
pub(super) type Shared = Arc<Mutex<Rendition>>;

/// One playlist of segments.
pub(super) struct Rendition {
    client: Client,
    location: Location,
    told: Arc<Told>,
    list: Media,
    /// When it was read.
    read_at: Instant,
    /// Whether there was something new in it.
    is_news: bool,
    /// The segment that comes next.
    next: u64,
    /// The segment that is read.
    body: Option<Box<dyn Read + Send>>,
    /// What the segments of this part begin with.
    map: Option<Arc<Map>>,
    /// Segments of this part so far.
    in_part: u32,
    /// What comes next belongs to another part.
    breaks: bool,
    /// It does only because this one is long: it goes on where this one ends.
    goes_on: bool,
    is_over: bool,
    key: Option<(Location, [u8; 16])>,
    /// Why it cannot be read any more.
    failure: Option<Error>,
}

/// Reads one part.
pub(super) struct Part(pub(super) Shared);

impl Rendition {
    /// The rendition whose playlist was read at `location`.
    pub(super) fn new(client: Client, location: Location, list: Media, told: Arc<Told>) -> Self {
        told.note(&list);
        Self {
            next: list.beginning(),
            client,
            location,
            told,
            list,
            read_at: Instant::now(),
            is_news: true,
            body: None,
            map: None,
            in_part: 0,
            breaks: false,
            goes_on: false,
            is_over: false,
            key: None,
            failure: None,
        }
    }

    /// Whether there is another part; waits until that is known.
    pub(super) fn begin_part(&mut self) -> Result<bool, Error> {
        if self.body.is_none() {
            self.in_part = 0;
            self.open_next()?;
        }
        (self.breaks, self.goes_on) = (false, false);
        Ok(self.body.is_some())
    }

    /// Whether the part that has ended goes on in the next one.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Why reading ended early.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.breaks || self.is_over {
                return Ok(0);
            }
            if let Some(body) = &mut self.body {
                let count = body.read(buffer).map_err(|source| lost(&self.location, source))?;
                if count > 0 {
                    return Ok(count);
                }
                self.body = None;
            }
            self.open_next()?;
        }
    }

    /// Opens the next segment, once there is one.
    fn open_next(&mut self) -> Result<(), Error> {
        let mut missed = false;
        let segment = loop {
            // It fell out of the playlist, or the numbers begin anew.
            if self.next < self.list.first || self.next > self.list.end().saturating_add(1) {
                log::warn!("{}: segments were missed", self.location);
                (self.next, missed) = (self.list.beginning(), true);
            }
            match self.list.segment(self.next) {
                Some(segment) if segment.is_gap => (self.next, missed) = (self.next + 1, true),
                Some(segment) => break segment.clone(),
                None if self.list.is_complete => {
                    self.is_over = true;
                    return Ok(());
                }
                None => self.reload()?,
            }
        };
        let is_long = segment.map.is_some() && self.in_part >= LONGEST_PART;
        let is_other = self.in_part > 0 && (missed || segment.is_break || segment.map != self.map);
        let begins = self.in_part == 0 || is_other || is_long;
        let body = self.open(&segment)?;
        self.body = Some(match segment.map.as_ref().filter(|_| begins) {
            Some(map) => Box::new(Cursor::new(self.load_map(map)?).chain(body)),
            None => body,
        });
        if begins {
            self.in_part = 0;
        }
        self.map = segment.map;
        (self.breaks, self.goes_on) = (is_other || is_long, is_long && !is_other);
        self.in_part += 1;
        self.next += 1;
        Ok(())
    }

    fn resolve(&self, uri: &str) -> Result<Location, Error> {
        self.location.join(uri).map_err(|refused| refused_by(&self.location, &refused))
    }

    /// Asks again for what could not be had.
    fn patiently<T>(&self, mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut tries = 1;
        loop {
            match ask() {
                Err(error)
                    if error.is_retryable() && tries < TRIES && !self.client.cancel().is_cancelled() =>
                {
                    log::debug!("{}: {error}; asked again", self.location);
                    tries += 1;
                    self.wait(Instant::now() + self.list.target / 2)?;
                }
                result => return result,
            }
        }
    }

    fn wait(&self, until: Instant) -> Result<(), Error> {
        self.client.cancel().sleep_until(until).map_err(|source| lost(&self.location, source))
    }

    fn open(&mut self, segment: &Segment) -> Result<Box<dyn Read + Send>, Error> {
        let location = self.resolve(&segment.uri)?;
        let key = segment.key.as_ref().map(|key| self.load_key(key)).transpose()?;
        let body = self.patiently(|| self.client.get(&location, segment.range))?.body;
        Ok(match key {
            Some((key, iv)) => {
                let iv = iv.unwrap_or_else(|| u128::from(self.next).to_be_bytes());
                Box::new(Decrypted::new(body, key, iv))
            }
            None => body,
        })
    }

    fn load_key(&mut self, key: &Key) -> Result<([u8; 16], Option<[u8; 16]>), Error> {
        let location = self.resolve(&key.uri)?;
        if let Some((_, known)) = self.key.as_ref().filter(|(known, _)| *known == location) {
            return Ok((*known, key.iv));
        }
        let bytes = self.patiently(|| load(&self.client, &location, None, 16))?;
        let loaded = <[u8; 16]>::try_from(bytes).map_err(|_| {
            lost(
                &location,
                io::Error::new(io::ErrorKind::InvalidData, "the key of a segment has not 16 bytes"),
            )
        })?;
        self.key = Some((location, loaded));
        Ok((loaded, key.iv))
    }

    fn load_map(&mut self, map: &Map) -> Result<Vec<u8>, Error> {
        let location = self.resolve(&map.uri)?;
        let bytes = self.patiently(|| load(&self.client, &location, map.range, LARGEST_MAP))?;
        let Some(key) = &map.key else { return Ok(bytes) };
        let (key, iv) = self.load_key(key)?;
        let mut plain = Vec::new();
        let read = Decrypted::new(&bytes[..], key, iv.unwrap_or_default()).read_to_end(&mut plain);
        read.map(|_| plain).map_err(|source| lost(&location, source))
    }

    /// Reads the playlist again, when it is time for that.
    fn reload(&mut self) -> Result<(), Error> {
        let wait = if self.is_news { self.list.target } else { self.list.target / 2 };
        self.wait(self.read_at + wait)?;
        let (location, list) = self.patiently(|| load_list(&self.client, &self.location))?;
        let Playlist::Media(list) = list else {
            let source = io::Error::new(io::ErrorKind::InvalidData, "the playlist became one of playlists");
            return Err(lost(&self.location, source));
        };
        self.is_news = (list.first, list.end()) != (self.list.first, self.list.end());
        self.told.note(&list);
        (self.read_at, self.location, self.list) = (Instant::now(), location, list);
        Ok(())
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rendition = self.0.lock();
        rendition.read(buffer).map_err(|error| {
            let text = error.to_string();
            rendition.failure = Some(error);
            io::Error::other(text)
        })
    }
}

/// Loads a playlist, and says where it was.
pub(super) fn load_list(client: &Client, location: &Location) -> Result<(Location, Playlist), Error> {
    let response = client.get(location, None)?;
    let list = read_list(response.body, &response.location)?;
    Ok((response.location, list))
}

/// Reads a playlist.
pub(super) fn read_list(body: impl Read, location: &Location) -> Result<Playlist, Error> {
    let bytes = limited(body, location, LONGEST_LIST)?;
    Playlist::parse(&String::from_utf8_lossy(&bytes)).map_err(|reason| {
        let message = format!("the playlist cannot be used: {reason}");
        flowcast_av::Error::InvalidData { input: location.to_string(), message }.into()
    })
}

fn load(client: &Client, location: &Location, range: Option<Range>, most: u64) -> Result<Vec<u8>, Error> {
    limited(client.get(location, range)?.body, location, most)
}

fn limited(body: impl Read, location: &Location, most: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    body.take(most + 1).read_to_end(&mut bytes).map_err(|source| lost(location, source))?;
    if bytes.len() as u64 > most {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("more than {most} bytes of a playlist or key"),
        );
        return Err(lost(location, source));
    }
    Ok(bytes)
}

/// How long nothing may come of an input with such a playlist: `max(3 × target duration, 12 s)`.
pub(super) fn patience(list: &Media) -> Duration {
    (list.target * 3).max(Duration::from_secs(12))
}
