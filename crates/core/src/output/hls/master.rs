//! A multivariant playlist: RFC 8216 section 4.3.4. It lists the outputs that carry the same in several qualities.
//!
//! In: what each output says of itself once it has a segment. Out: a file, or an entry of a store, written anew when that changes. Outputs that name the same
//! file share one [`Master`], whichever stream and engine they are of. On the writers' threads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::store::HlsStore;
use crate::files::refuse_replacing;

/// What a store calls it.
pub(super) const NAME: &str = "master.m3u8";
/// Rates are rounded up to this, so that it is not written anew for each byte that a segment is larger than those before.
const STEP: u64 = 50_000;

/// All files that are written.
static FILES: Mutex<Vec<(PathBuf, Weak<Master>)>> = Mutex::new(Vec::new());
/// Outputs are told apart by their order.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What one output says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variant {
    /// Where its playlist is, from the place of the multivariant one.
    pub(super) uri: String,
    /// Bits per second of its largest segment and of all together.
    pub(super) peak: u64,
    pub(super) average: u64,
    /// RFC 6381 names; none if one of its tracks has none.
    pub(super) codecs: Vec<String>,
    pub(super) picture: Option<(u32, u32)>,
    /// Pictures per second.
    pub(super) frame_rate: Option<f64>,
    /// Each segment of its playlist begins with a keyframe.
    pub(super) is_independent: bool,
}

/// A multivariant playlist.
#[derive(Debug, Default)]
pub(super) struct Master {
    variants: Mutex<BTreeMap<u64, Variant>>,
}

/// Where it is written.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    Store(HlsStore),
}

/// The place of one output in it.
#[derive(Debug)]
pub(super) struct Seat {
    master: Arc<Master>,
    place: Place,
    number: u64,
    /// It is listed when its output has ended, too.
    stays: bool,
}

impl Seat {
    /// A place in the playlist of this file.
    ///
    /// # Errors
    ///
    /// Why it may not be written: it is something else, or in use.
    ///
    /// # Blocking
    ///
    /// On the file system.
    pub(super) fn in_file(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        refuse_replacing(&path)?;
        match fs::read(&path) {
            Ok(bytes) if !bytes.starts_with(b"#EXTM3U") => {
                let reason = "is there, and is no playlist";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut files = FILES.lock();
        files.retain(|(_, master)| master.strong_count() > 0);
        let known = files.iter().find(|(known, _)| *known == path).and_then(|(_, master)| master.upgrade());
        let master = known.unwrap_or_else(|| {
            let master = Arc::default();
            files.push((path.clone(), Arc::downgrade(&master)));
            master
        });
        Ok(Self::new(master, Place::File(path)))
    }

    /// A place in the playlist of a store.
    pub(super) fn in_store(store: &HlsStore) -> Self {
        Self::new(store.master().clone(), Place::Store(store.clone()))
    }

    fn new(master: Arc<Master>, place: Place) -> Self {
        Self { master, place, number: NEXT.fetch_add(1, Ordering::Relaxed), stays: false }
    }

    /// The same; what it lists can be played when its output has ended.
    pub(super) fn staying(mut self, stays: bool) -> Self {
        self.stays = stays;
        self
    }

    /// Where a media playlist is, as the multivariant one has to say it.
    pub(super) fn uri_of(&self, playlist: &Path) -> io::Result<String> {
        Ok(match &self.place {
            Place::File(path) => {
                let from = path.parent().unwrap_or(Path::new("/"));
                uri(&relative(from, &std::path::absolute(playlist)?))
            }
            Place::Store(_) => uri(playlist),
        })
    }

    /// What the output is now.
    ///
    /// # Errors
    ///
    /// What the file system said.
    pub(super) fn say(&self, mut variant: Variant) -> io::Result<()> {
        variant.peak = variant.peak.next_multiple_of(STEP);
        variant.average = variant.average.next_multiple_of(STEP);
        let mut variants = self.master.variants.lock();
        if let Some(before) = variants.get(&self.number) {
            let is_same =
                Variant { peak: before.peak, average: before.average, ..variant.clone() } == *before;
            if is_same && before.peak >= variant.peak && self.is_there() {
                return Ok(());
            }
        }
        let mut new = variants.clone();
        // One that stayed goes on.
        new.retain(|_, known| known.uri != variant.uri);
        new.insert(self.number, variant);
        self.write(&new)?;
        *variants = new;
        Ok(())
    }

    /// Whether what was written is still there.
    fn is_there(&self) -> bool {
        match &self.place {
            Place::File(path) => path.exists(),
            Place::Store(_) => true,
        }
    }

    fn write(&self, variants: &BTreeMap<u64, Variant>) -> io::Result<()> {
        let text = text(variants.values());
        match &self.place {
            Place::Store(store) => store.put(NAME.to_owned(), Bytes::from(text)),
            Place::File(path) => {
                let mut partial = path.clone().into_os_string();
                partial.push(".partial");
                let written = fs::File::create(&partial)
                    .and_then(|mut file| file.write_all(text.as_bytes()))
                    .and_then(|()| fs::rename(&partial, path));
                if written.is_err() {
                    let _ = fs::remove_file(&partial);
                }
                written?;
            }
        }
        Ok(())
    }
}

impl Drop for Seat {
    /// An output that ends is not offered any more, unless it is the last one: then what there is stays.
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let mut variants = self.master.variants.lock();
        if variants.len() > 1 && variants.remove(&self.number).is_some() {
            if let Err(error) = self.write(&variants) {
                log::warn!("a multivariant playlist: {error}");
            }
        } else {
            variants.remove(&self.number);
        }
    }
}

fn text<'a>(variants: impl Iterator<Item = &'a Variant>) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n".to_owned();
    let mut variants: Vec<_> = variants.collect();
    // Here it holds for all playlists (RFC 8216 section 4.3.5.1).
    if variants.iter().all(|variant| variant.is_independent) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    // Players begin with the first.
    variants.sort_by_key(|variant| std::cmp::Reverse(variant.peak));
    for variant in variants {
        let Variant { uri, peak, average, codecs, picture, frame_rate, is_independent: _ } = variant;
        // A string takes all that is written to it.
        let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average}");
        if !codecs.is_empty() {
            let _ = write!(text, ",CODECS=\"{}\"", codecs.join(","));
        }
        if let Some((width, height)) = picture {
            let _ = write!(text, ",RESOLUTION={width}x{height}");
        }
        if let Some(rate) = frame_rate {
            let _ = write!(text, ",FRAME-RATE={rate:.3}");
        }
        let _ = writeln!(text, "\n{uri}");
    }
    text
}

/// How a path is written from a directory; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (mut from, mut to) = (from.components().peekable(), to.components().peekable());
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    from.map(|_| Component::ParentDir).chain(to).collect()
}

/// A path as a relative reference of RFC 3986.
fn uri(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(*byte))
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn variant(uri: &str, peak: u64) -> Variant {
        Variant {
            uri: uri.to_owned(),
            peak,
            average: peak / 2,
            codecs: vec!["avc1.64001f".to_owned(), "mp4a.40.2".to_owned()],
            picture: Some((1280, 720)),
            frame_rate: Some(29.97),
            is_independent: true,
        }
    }

    #[test]
    fn outputs_that_name_the_same_file_are_listed_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.m3u8");
        let seats = [Seat::in_file(&path).unwrap(), Seat::in_file(&path).unwrap()];
        let uri = seats[0].uri_of(&directory.path().join("a b/index.m3u8")).unwrap();
        assert_eq!(uri, "a%20b/index.m3u8");
        seats[0].say(variant(&uri, 700_001)).unwrap();
        seats[1].say(variant("720p/index.m3u8", 2_500_000)).unwrap();
        let text = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=2500000,AVERAGE-BANDWIDTH=1250000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970
720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=750000,AVERAGE-BANDWIDTH=350000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970
a%20b/index.m3u8
";
        // 350000.5 is rounded down before it is rounded up.
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        // A smaller segment changes nothing.
        fs::write(&path, "#EXTM3U\n").unwrap();
        seats[1].say(variant("720p/index.m3u8", 2_000_000)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "#EXTM3U\n");
        // One that was deleted comes back.
        fs::remove_file(&path).unwrap();
        seats[1].say(variant("720p/index.m3u8", 2_000_000)).unwrap();
        assert!(path.exists());
        // What was cut between keyframes is not said to be independent.
        let mut cut = variant("720p/index.m3u8", 2_000_000);
        cut.is_independent = false;
        seats[1].say(cut).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("INDEPENDENT"));
        let [first, last] = seats;
        drop(first);
        assert!(!fs::read_to_string(&path).unwrap().contains("a%20b"));
        drop(last);
        assert!(fs::read_to_string(&path).unwrap().contains("720p"), "what there is stays");
    }

    #[test]
    fn what_could_not_be_written_is_written_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("late/all.m3u8");
        let seat = Seat::in_file(&path).unwrap();
        let error = seat.say(variant("a/index.m3u8", 700_000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        fs::create_dir(directory.path().join("late")).unwrap();
        seat.say(variant("a/index.m3u8", 700_000)).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("a/index.m3u8"));
    }

    #[test]
    fn what_stays_is_listed_when_its_output_has_ended_and_once_when_it_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.m3u8");
        let seat = || Seat::in_file(&path).unwrap().staying(true);
        let (first, second) = (seat(), seat());
        first.say(variant("a/index.m3u8", 700_000)).unwrap();
        second.say(variant("b/index.m3u8", 900_000)).unwrap();
        drop(first);
        let again = seat();
        again.say(variant("a/index.m3u8", 700_000)).unwrap();
        drop(second);
        drop(again);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.matches("a/index").count(), text.matches("b/index").count()), (1, 1), "{text}");
    }

    #[test]
    fn a_file_that_is_no_playlist_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.m3u8");
        fs::write(&path, "precious").unwrap();
        assert_eq!(Seat::in_file(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn paths_are_written_from_one_directory_to_another() {
        for (from, to, relation) in [
            ("/www/hls", "/www/hls/720/index.m3u8", "720/index.m3u8"),
            ("/www/hls/a", "/www/hls/720/index.m3u8", "../720/index.m3u8"),
            ("/www", "/srv/index.m3u8", "../srv/index.m3u8"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(relation));
        }
        assert_eq!(uri(Path::new("a%/ü\"")), "a%25/%C3%BC%22");
    }
}
